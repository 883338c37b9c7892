#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "base/err.h"
#include "conf/builder.h"
#include "conf/option.h"

#define SOCKET_PATH_MAX (sizeof(((struct sockaddr_un *) NULL)->sun_path) - 1) /* bytes; 107 */

struct conf_socket *conf_socket_free(struct conf_socket *s) {
        if (!s)
                return NULL;
        free(s->name);
        free(s->path);
        free(s->credentials);
        free(s);
        return NULL;
}

static void socket_check_path(const struct builder *b, const struct section *s, const char *key,
                              const struct conf_socket *socket) {
        const struct setting *setting = section_get(s, key);

        if (!socket->path) {
                if (!setting && s->kind == SECTION_SOCKET)
                        report_key(b->report, true, s, key, "is required");
                return;
        }
        if (strlen(socket->path) > SOCKET_PATH_MAX)
                report_key(
                        b->report, true, s, key,
                        "is longer than %zu bytes, which is all that a Unix socket's path can have",
                        SOCKET_PATH_MAX);
        for (size_t i = 0; i < b->conf->n_sockets; i++) {
                const struct conf_socket *other = b->conf->sockets[i];

                if (other->path && strcmp(other->path, socket->path) == 0)
                        report_key(b->report, true, s, key,
                                   "is the same as that of %s%s: each needs its own",
                                   *other->name ? "socket " : "[daemon]", other->name);
        }
}

/* Where everybody may connect the group does not matter: so it is in containers, which have no such group. */
static void socket_check_group(const struct builder *b, const struct section *s,
                               const struct conf_socket *socket) {
        const char *standard = option_standard(option_find(s->kind, "socket_group"), b->scope);

        if (standard && *standard && !section_get(s, "socket_group") &&
            socket->group == (gid_t) -1 && (socket->mode >> 3 & 07) != (socket->mode & 07))
                report_key(b->report, false, s, "socket_group",
                           "the default, %s, names a group that does not exist here", standard);
}

static int socket_set_credentials(const struct builder *b, const struct section *s,
                                  struct conf_socket *socket) {
        const struct setting *setting = section_get(s, "credentials");
        struct conf_list names = { 0 };
        int r;

        if (!setting)
                return 0;
        socket->restricted = true;
        r = value_words(NULL, setting->value, NULL, &names);
        if (r == -EINVAL)
                return 0; /* reported as a value already */
        if (r < 0)
                return PASS(r);
        socket->credentials = calloc(names.n, sizeof(struct conf_credential *));
        for (size_t i = 0; socket->credentials && i < names.n; i++) {
                const struct conf_credential *c = builder_refer(b, s, setting, names.words[i]);

                if (c)
                        socket->credentials[socket->n_credentials++] = c;
        }
        conf_list_done(&names);
        return socket->credentials ? 0 : RAISE(-ENOMEM);
}

/* `main_socket` gives the defaults; NULL: this is the main one. */
static int socket_build(struct builder *b, const struct section *s,
                        const struct conf_socket *main_socket) {
        AUTO(conf_socket_freep) struct conf_socket *socket = calloc(1, sizeof(*socket));
        int r;

        if (!socket)
                return RAISE(-ENOMEM);
        socket->owner = main_socket ? main_socket->owner : (uid_t) -1;
        socket->group = main_socket ? main_socket->group : (gid_t) -1;
        socket->mode = main_socket ? main_socket->mode : 0;
        socket->name = strdup(s->name);
        if (!socket->name)
                return RAISE(-ENOMEM);
        option_check_keys(s, b->report);
        option_apply(s, TARGET_NONE, NULL, b->scope, b->report);
        option_apply(s, TARGET_SOCKET, socket, b->scope, b->report);
        socket_check_path(b, s, s->kind == SECTION_DAEMON ? "socket" : "path", socket);
        if (s->kind == SECTION_DAEMON)
                socket_check_group(b, s, socket);
        r = socket_set_credentials(b, s, socket);
        if (r < 0)
                return PASS(r);
        b->conf->sockets[b->conf->n_sockets++] = TAKE(socket);
        return 0;
}

int builder_add_sockets(struct builder *b) {
        int r;

        b->conf->sockets = calloc(builder_count(b, SECTION_SOCKET) + 1,
                                  sizeof(struct conf_socket *));
        if (!b->conf->sockets)
                return RAISE(-ENOMEM);
        r = socket_build(b, b->settings->sections[0], NULL);
        for (size_t i = 0; r == 0 && i < b->settings->n_sections; i++)
                if (b->settings->sections[i]->kind == SECTION_SOCKET)
                        r = socket_build(b, b->settings->sections[i], b->conf->sockets[0]);
        return PASS(r);
}
