#pragma once
/*
 * Loopback: where the browser comes back to when the redirect_uri is on this machine
 *
 * While an authorization waits whose redirect_uri is http on a loopback host, the daemon listens at
 * that host and port, hands what the browser brings to the authorization, and shows a page that
 * tells how it ended. The socket is closed as soon as nothing waits any more; who still takes a
 * page gets it. An https redirect_uri is the web app's that has the certificate, also on loopback.
 *
 * Anybody on this machine, and any web page in a browser on it, can reach such a port. So nothing
 * happens without the state of a waiting authorization under its own host and path; neither state
 * nor code appears on a page or in the log; connections are few and short.
 *
 * Threading: loop thread only.
 * Sources:   RFC 8252 sections 7.3 and 8.3; design.md section 4.
 */

#include <systemd/sd-event.h>

#include "base/why.h"
#include "broker/authorization.h"
#include "conf/conf.h"

#define LOOPBACK_CONNECTIONS_MAX 32 /* at once, for each address */
#define LOOPBACK_IDLE_S          10
#define LOOPBACK_WAIT_US         (30 * US_PER_S) /* of a page, for the end of the authorization */
#define LOOPBACK_LEAVE_US        (5 * US_PER_S)  /* to take a page after the socket is closed */

/* Bytes for each connection. Browsers send the cookies of this host whatever port has set them, and
 * libmicrohttpd keeps each twice: 8 KiB would turn away who develops web apps here. */
#define LOOPBACK_CONNECTION_MEMORY 32768

struct loopback;

struct loopback_parts { /* all borrowed */
        const struct conf *conf;
        struct authorizations *authorizations;
        sd_event *event;
};

int loopback_new(const struct loopback_parts *parts, struct loopback **ret); /* 0, -ENOMEM */

struct loopback_uses;

/* Gets ready for another configuration, and takes it over, when the broker has. 0, -ENOMEM. */
int loopback_prepare(struct loopback *l, const struct conf *conf, struct loopback_uses **ret);
void loopback_adopt(struct loopback *l, struct loopback_uses *uses);
struct loopback_uses *loopback_uses_free(struct loopback_uses *uses); /* not adopted */

/* After the authorizations have been stopped, so that no browser waits. Returns NULL. */
struct loopback *loopback_free(struct loopback *l);

/* So many authorizations of this credential wait now: opens or closes what it needs. Also from
 * within a request that is served here. */
void loopback_pending(struct loopback *l, const struct conf_credential *c, size_t n);

/* Does the daemon listen for this credential now? The sentence is empty unless it should listen
 * somewhere and cannot. */
bool loopback_listens(const struct loopback *l, const struct conf_credential *c,
                      struct why *ret_warning);
