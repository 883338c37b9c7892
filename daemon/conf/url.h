#pragma once
/*
 * URLs as the configuration may hold them: http and https, no user or password
 *
 * Threading: pure functions.
 * Sources:   RFC 3986 section 3; RFC 6761 section 6.3 (localhost).
 */

#include <stdbool.h>

#include "base/why.h"

#define URL_MAX      2048 /* bytes */
#define URL_HOST_MAX 256  /* bytes, NUL included; RFC 1035 allows 253 */

struct url {
        bool tls;                /* https */
        char host[URL_HOST_MAX]; /* in lower case; IPv6 in its brackets */
        unsigned port;           /* the scheme's own when none is written */
        const char
                *rest; /* path, query and fragment as written, "" if none; points into the text */
};

/* 0, or -EINVAL with a sentence that does not quote the URL. */
int url_parse(const char *text, struct why *why, struct url *ret);

/* The same for a base to which paths are added: no query, no fragment, and *ret in one spelling
 * (lower case, no default port, no slash at the end). The caller frees *ret.
 * 0, -EINVAL, -ENOMEM. */
int url_parse_base(const char *text, struct why *why, char **ret);

/* The host, and the port unless it is the scheme's own. The caller frees *ret. 0 or -ENOMEM. */
int url_authority(const struct url *u, char **ret);

/* True when the host is this machine itself: localhost and names below it, 127.0.0.0/8, ::1. */
bool url_is_loopback(const struct url *u);
