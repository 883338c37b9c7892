#include "api/target.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "conf/url.h"

static void target_add_v4(struct target *t, struct in_addr ip, unsigned port) {
        struct target_address *a = &t->addresses[t->n_addresses++];
        char text[INET_ADDRSTRLEN] = "";

        a->at.v4 = (struct sockaddr_in){
                .sin_family = AF_INET,
                .sin_port = htons((uint16_t) port),
                .sin_addr = ip,
        };
        (void) inet_ntop(AF_INET, &ip, text, sizeof(text)); /* there is room */
        (void) snprintf(a->name, sizeof(a->name), "%s:%u", text, port);
}

static void target_add_v6(struct target *t, unsigned port) {
        struct target_address *a = &t->addresses[t->n_addresses++];

        a->at.v6 = (struct sockaddr_in6){
                .sin6_family = AF_INET6,
                .sin6_port = htons((uint16_t) port),
                .sin6_addr = IN6ADDR_LOOPBACK_INIT,
        };
        (void) snprintf(a->name, sizeof(a->name), "[::1]:%u", port);
}

int target_init(struct target *t, const char *redirect_uri) {
        struct in_addr ip = { htonl(INADDR_LOOPBACK) };
        bool is_v4;
        struct url u;
        int r;

        *t = (struct target){ 0 };
        if (url_parse(redirect_uri, NULL, &u) < 0 || u.tls || !url_is_loopback(&u))
                return 0;
        t->path = *u.rest == '/' ? strndup(u.rest, strcspn(u.rest, "?#")) : strdup("/");
        if (!t->path)
                return RAISE(-ENOMEM);
        r = url_authority(&u, &t->authority);
        if (r < 0)
                return PASS(r);
        is_v4 = inet_pton(AF_INET, u.host, &ip) == 1; /* if not, it stays 127.0.0.1 */
        if (u.host[0] != '[')
                target_add_v4(t, ip, u.port);
        if (!is_v4)
                target_add_v6(t, u.port);
        return 0;
}

void target_done(struct target *t) {
        free(t->authority);
        free(t->path);
        *t = (struct target){ 0 };
}

bool target_has_host(const struct target *t, const char *host) {
        return t->authority && host && strcasecmp(t->authority, host) == 0;
}

bool target_has_path(const struct target *t, const char *path) {
        return t->path && strcmp(t->path, path) == 0;
}
