#pragma once
/*
 * Target: where a redirect_uri leads, if that is this machine
 *
 * The addresses to listen at, and what a request has to say that was meant for it.
 *
 * Threading: pure functions.
 * Sources:   RFC 8252 section 7.3; RFC 6761 section 6.3 (localhost); RFC 9110 section 7.2 (Host).
 */

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

#define TARGET_ADDRESSES_MAX 2 /* localhost is both families */

struct target_address {
        union {
                struct sockaddr any;
                struct sockaddr_in v4;
                struct sockaddr_in6 v6;
        } at;
        char name[INET6_ADDRSTRLEN + 8]; /* "127.0.0.1:8080", "[::1]:8080" */
};

struct target {
        char *authority; /* what the Host header has to say; NULL: it leads elsewhere */
        char *path;      /* as it is written, without the query */
        struct target_address addresses[TARGET_ADDRESSES_MAX];
        size_t n_addresses;
};

/* Leads elsewhere unless it is http on a loopback host: for https the certificate is the web app's.
 * 0 or -ENOMEM; target_done() in both cases. */
int target_init(struct target *t, const char *redirect_uri);
void target_done(struct target *t);

/* Was a request with this Host header (NULL: it has none) meant for it? */
bool target_has_host(const struct target *t, const char *host);
bool target_has_path(const struct target *t, const char *path);
