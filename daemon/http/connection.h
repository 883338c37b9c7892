#pragma once
/*
 * How a connection to a provider is made
 *
 * What the transport and the probe have in common, so that the one cannot succeed where the other
 * fails: https only (http to loopback, where the configuration allows it), TLS 1.2 or better,
 * verified, no redirects followed, the proxy that the environment names but for loopback.
 *
 * Threading: any; one easy handle belongs to one thread.
 */

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>

struct connection {
        const char *url;
        const char *ca_file; /* NULL: the system's bundle */
        bool allow_http;     /* to a loopback address */
        int64_t timeout_us;  /* of the whole exchange */
};

/* Sets the options on `easy`, which keeps no pointer. 0; -ENOMEM; -EOPNOTSUPP: a libcurl without an
 * option that we rely on. */
int connection_set(CURL *easy, const struct connection *c);

/* The file of CA certificates it is verified with; static, or `c`'s own. */
const char *connection_ca_file(const struct connection *c);

/* True when the host of the URL is this machine itself. */
bool connection_is_loopback(const char *url);
