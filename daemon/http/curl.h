#pragma once
/*
 * The transport over libcurl's multi interface
 *
 * One long-lived multi handle on the daemon's event loop: connections are kept and shared, the CA
 * bundle is parsed once (performance.md section 8). At most HTTP_CONNECTIONS_MAX connections are
 * open; further requests queue, their time-out running.
 *
 * Threading: loop thread only. libcurl resolves names in threads of its own; nothing waits for
 *            them.
 */

#include <systemd/sd-event.h>

#include "base/auto.h"
#include "base/clock.h"
#include "http/transport.h"

#define HTTP_CONNECTIONS_MAX 64
#define HTTP_IDLE_S          15   /* a connection idle for longer is not used again */
#define HTTP_CA_CACHE_S      3600 /* a changed CA file is noticed after this long */

/* `clock` is the time against which a Retry-After date is read when the answer has no Date of
 * its own; `user_agent` is copied. To be made before any other part of the process uses
 * libcurl. 0, -ENOMEM, -EOPNOTSUPP (a libcurl without OpenSSL or an option we rely on). */
int transport_curl_new(sd_event *event, const struct clock *clock, const char *user_agent,
                       struct transport **ret);

/* Drops what is under way without calling done(), closes the connections. Not from within
 * done(). Returns NULL. */
struct transport *transport_curl_free(struct transport *transport);
AUTO_DEFINE(struct transport, transport_curl_free)
