#include "server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "directory.h"
#include "memory.h"

#define CUT_MISSING 64 /* bytes that a cut answer promises and does not send */

struct server {
        struct MHD_Daemon *daemon;
        struct server_settings settings;
        int fd; /* of libmicrohttpd once it runs */
};

struct upload { /* one request while its body arrives */
        char *body;
        size_t size, room;
        bool too_large;
};

const char *fields_find(const struct fields *fields, const char *name) {
        for (size_t i = 0; i < fields->n && i < SERVER_FIELDS_MAX; i++) {
                if (strcasecmp(fields->field[i].name, name) == 0)
                        return fields->field[i].value;
        }
        return NULL;
}

const char *fields_duplicate(const struct fields *fields) {
        for (size_t i = 0; i < fields->n && i < SERVER_FIELDS_MAX; i++) {
                for (size_t j = 0; j < i; j++) {
                        if (strcasecmp(fields->field[i].name, fields->field[j].name) == 0)
                                return fields->field[i].name;
                }
        }
        return NULL;
}

static enum MHD_Result fields_add(void *user, enum MHD_ValueKind kind, const char *name,
                                  const char *value) {
        struct fields *fields = user;

        (void) kind; /* each list is asked for alone */
        if (fields->n < SERVER_FIELDS_MAX)
                fields->field[fields->n] = (struct field){ name, value ? value : "" };
        fields->n++;
        return MHD_YES;
}

static void upload_append(struct upload *u, const char *data, size_t size) {
        if (u->size + size > SERVER_BODY_MAX) {
                u->too_large = true;
                return;
        }
        if (u->size + size + 1 > u->room) {
                u->room = 2 * (u->size + size + 1);
                u->body = must(realloc(u->body, u->room));
        }
        memcpy(u->body + u->size, data, size);
        u->size += size;
        u->body[u->size] = '\0';
}

/* Content-Length is what `total` says; the data end earlier and the connection with them. */
static ssize_t cut_read(void *user, uint64_t position, char *buffer, size_t room) {
        const struct answer *a = user;
        size_t n = a->size - position;

        if (n == 0)
                return MHD_CONTENT_READER_END_WITH_ERROR;
        n = n < room ? n : room;
        memcpy(buffer, a->body + position, n);
        return (ssize_t) n;
}

static void cut_free(void *user) {
        answer_done(user);
        free(user);
}

static struct MHD_Response *answer_response(struct answer *a) {
        struct answer *copy;

        if (a->delivery == ANSWER_CUT) {
                copy = must(calloc(1, sizeof(*copy)));
                copy->body = TAKE(a->body);
                copy->size = a->size;
                return must(MHD_create_response_from_callback(copy->size + CUT_MISSING, 4096,
                                                              cut_read, copy, cut_free));
        }
        return must(MHD_create_response_from_buffer(a->size, TAKE(a->body), MHD_RESPMEM_MUST_FREE));
}

static void answer_headers(const struct answer *a, struct MHD_Response *response) {
        const struct {
                const char *name, *value;
        } headers[] = {
                { "Content-Type", a->size ? a->content_type : NULL },
                { "Location", a->location },
                { "Retry-After", a->retry_after },
                { "Allow", a->allow },
                { "X-Tt-Logid", a->logid },
        };
        char date[64];
        struct tm tm;

        for (size_t i = 0; i < N_ELEMENTS(headers); i++) {
                if (headers[i].value)
                        MHD_add_response_header(response, headers[i].name, headers[i].value);
        }
        if (a->no_date)
                return;
        gmtime_r(&(time_t){ (time_t) a->date_s }, &tm);
        strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
        MHD_add_response_header(response, "Date", date);
}

static enum MHD_Result server_answer(struct MHD_Connection *connection, struct answer *a) {
        struct MHD_Response *response;
        enum MHD_Result result;

        if (a->delivery == ANSWER_NONE)
                return MHD_NO;
        response = answer_response(a);
        answer_headers(a, response);
        result = MHD_queue_response(connection, a->status, response);
        MHD_destroy_response(response);
        return result;
}

static enum MHD_Result server_receive(void *user, struct MHD_Connection *connection,
                                      const char *url, const char *method, const char *version,
                                      const char *data, size_t *data_size, void **request) {
        struct server *s = user;
        struct upload *u = *request;
        struct answer a = { 0 };
        struct request rq;
        enum MHD_Result result;

        if (!u) {
                u = must(calloc(1, sizeof(*u)));
                upload_append(u, "", 0);
                *request = u;
                return MHD_YES;
        }
        if (*data_size > 0) {
                upload_append(u, data, *data_size);
                *data_size = 0;
                return MHD_YES;
        }
        rq = (struct request){ .method = method,
                               .path = url,
                               .version = version,
                               .body = u->body,
                               .size = u->size,
                               .too_large = u->too_large };
        MHD_get_connection_values(connection, MHD_HEADER_KIND, fields_add, &rq.headers);
        MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, fields_add, &rq.query);
        s->settings.handle(s->settings.user, &rq, &a);
        result = server_answer(connection, &a);
        answer_done(&a);
        return result;
}

static void server_forget(void *user, struct MHD_Connection *connection, void **request,
                          enum MHD_RequestTerminationCode why) {
        struct upload *u = *request;

        (void) user;
        (void) connection;
        (void) why;
        if (!u)
                return;
        free(u->body);
        free(u);
        *request = NULL;
}

/* libmicrohttpd refuses what is no HTTP by itself; its log is the only place where that shows. */
__attribute__((format(printf, 2, 0))) static void server_log(void *user, const char *format,
                                                             va_list ap) {
        struct server *s = user;
        char text[256];

        vsnprintf(text, sizeof(text), format, ap);
        if (strncmp(text, "Error processing request", 24) == 0)
                s->settings.complain(s->settings.user, "the request is no valid HTTP/1.1");
}

struct server *server_bind(unsigned port, unsigned *ret_port) {
        struct server *s = must(calloc(1, sizeof(*s)));
        struct sockaddr_in address = { .sin_family = AF_INET,
                                       .sin_port = htons((uint16_t) port),
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t size = sizeof(address);

        s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (s->fd < 0 ||
            setsockopt(s->fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int)) < 0 ||
            bind(s->fd, (struct sockaddr *) &address, size) < 0 || listen(s->fd, SOMAXCONN) < 0 ||
            getsockname(s->fd, (struct sockaddr *) &address, &size) < 0)
                directory_die("cannot listen on 127.0.0.1 port %u: %s", port, strerror(errno));
        *ret_port = ntohs(address.sin_port);
        return s;
}

void server_start(struct server *s, const struct server_settings *settings) {
        unsigned flags = MHD_USE_POLL_INTERNAL_THREAD | MHD_USE_THREAD_PER_CONNECTION |
                         MHD_USE_ERROR_LOG | MHD_USE_SUPPRESS_DATE_NO_CLOCK;
        struct MHD_OptionItem tls[] = {
                { MHD_OPTION_HTTPS_MEM_KEY, 0, (void *) (uintptr_t) settings->key },
                { MHD_OPTION_HTTPS_MEM_CERT, 0, (void *) (uintptr_t) settings->certificate },
                { MHD_OPTION_END, 0, NULL },
        };

        s->settings = *settings;
        if (settings->key)
                flags |= MHD_USE_TLS;
        else
                tls[0] = tls[2];
        s->daemon = MHD_start_daemon(
                flags, 0, NULL, NULL, server_receive, s, MHD_OPTION_EXTERNAL_LOGGER, server_log, s,
                MHD_OPTION_LISTEN_SOCKET, s->fd, MHD_OPTION_NOTIFY_COMPLETED, server_forget, s,
                MHD_OPTION_THREAD_STACK_SIZE, (size_t) 512 * 1024, MHD_OPTION_CONNECTION_LIMIT,
                2000U, MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
        if (!s->daemon)
                directory_die("libmicrohttpd does not start; is it built with TLS?");
}

struct server *server_free(struct server *s) {
        if (s->daemon)
                MHD_stop_daemon(s->daemon); /* closes the listening socket */
        free(s);
        return NULL;
}
