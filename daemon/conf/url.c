#include "conf/url.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/auto.h"
#include "base/err.h"

static unsigned url_default_port(const struct url *u) {
        return u->tls ? 443 : 80;
}

/* Reads the host that is `len` bytes long into u->host. */
static int url_parse_host(const char *p, size_t len, struct why *why, struct url *u) {
        struct in6_addr address;
        char bare[URL_HOST_MAX];

        if (len == 0 || len >= URL_HOST_MAX)
                return why_set(why, RAISE(-EINVAL), "has no host, or one that is too long");
        for (size_t i = 0; i < len; i++)
                u->host[i] = p[i] >= 'A' && p[i] <= 'Z' ? (char) (p[i] - 'A' + 'a') : p[i];
        u->host[len] = '\0';
        if (*p == '[') {
                memcpy(bare, u->host + 1, len);
                bare[len - 2] = '\0';
                if (inet_pton(AF_INET6, bare, &address) != 1)
                        return why_set(why, RAISE(-EINVAL), "has no IPv6 address between [ and ]");
                return 0;
        }
        if (strspn(u->host, "abcdefghijklmnopqrstuvwxyz0123456789-._") != len || *u->host == '.' ||
            *u->host == '-' || strstr(u->host, ".."))
                return why_set(why, RAISE(-EINVAL), "has a host that is no name and no address");
        return 0;
}

static int url_parse_port(const char *p, const char *end, struct why *why, unsigned *ret) {
        unsigned port = 0;

        for (; p < end && *p >= '0' && *p <= '9' && port <= 65535; p++)
                port = 10 * port + (unsigned) (*p - '0');
        if (p < end || port == 0 || port > 65535)
                return why_set(why, RAISE(-EINVAL), "has a port that is no number from 1 to 65535");
        *ret = port;
        return 0;
}

int url_parse(const char *text, struct why *why, struct url *ret) {
        struct url u = { 0 };
        const char *host, *end, *host_end;
        int r;

        if (strlen(text) > URL_MAX)
                return why_set(why, RAISE(-EINVAL), "is longer than %d bytes", URL_MAX);
        for (const char *p = text; *p; p++)
                if (*p <= ' ' || *p >= 0x7f || strchr("\"<>\\^`{|}", *p))
                        return why_set(why, RAISE(-EINVAL),
                                       "has a character that no URL has: write it as %%XX");
        u.tls = strncasecmp(text, "https://", 8) == 0;
        if (!u.tls && strncasecmp(text, "http://", 7) != 0)
                return why_set(why, RAISE(-EINVAL), "must be a URL that starts with https://");
        host = text + (u.tls ? 8 : 7);
        end = host + strcspn(host, "/?#");
        if (memchr(host, '@', (size_t) (end - host)))
                return why_set(why, RAISE(-EINVAL), "must not have a user or password in its URL");
        host_end = *host == '[' ? memchr(host, ']', (size_t) (end - host)) : NULL;
        if (*host == '[' && !host_end)
                return why_set(why, RAISE(-EINVAL), "has a [ without its ]");
        if (host_end)
                host_end++;
        else
                host_end = host + strcspn(host, ":/?#");
        r = url_parse_host(host, (size_t) (host_end - host), why, &u);
        if (r < 0)
                return PASS(r);
        u.port = url_default_port(&u);
        if (host_end < end && *host_end != ':')
                return why_set(why, RAISE(-EINVAL), "has something behind the ] that is no port");
        if (host_end < end)
                r = url_parse_port(host_end + 1, end, why, &u.port);
        if (r < 0)
                return PASS(r);
        u.rest = end;
        *ret = u;
        return 0;
}

int url_authority(const struct url *u, char **ret) {
        char *text;
        int n;

        if (u->port == url_default_port(u))
                n = asprintf(&text, "%s", u->host);
        else
                n = asprintf(&text, "%s:%u", u->host, u->port);
        if (n < 0)
                return RAISE(-ENOMEM);
        *ret = text;
        return 0;
}

int url_parse_base(const char *text, struct why *why, char **ret) {
        AUTO(auto_freep) char *authority = NULL;
        struct url u = { 0 };
        size_t len;
        char *base;
        int r;

        r = url_parse(text, why, &u);
        if (r < 0)
                return PASS(r);
        len = strlen(u.rest);
        if (strcspn(u.rest, "?#") != len)
                return why_set(why, RAISE(-EINVAL), "must not have a ? or # in its URL");
        while (len > 0 && u.rest[len - 1] == '/')
                len--;
        r = url_authority(&u, &authority);
        if (r < 0)
                return PASS(r);
        if (asprintf(&base, "http%s://%s%.*s", u.tls ? "s" : "", authority, (int) len, u.rest) < 0)
                return RAISE(-ENOMEM);
        *ret = base;
        return 0;
}

bool url_is_loopback(const struct url *u) {
        static const char suffix[] = ".localhost";
        size_t n = strlen(u->host);
        struct in_addr address;

        if (strcmp(u->host, "localhost") == 0 || strcmp(u->host, "[::1]") == 0)
                return true;
        if (n > strlen(suffix) && strcmp(u->host + n - strlen(suffix), suffix) == 0)
                return true;
        return inet_pton(AF_INET, u->host, &address) == 1 && ntohl(address.s_addr) >> 24 == 127;
}
