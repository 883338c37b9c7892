/*
 * Refresh tokens, codes and assertions are single use, so a request must never reach a provider
 * twice. libcurl repeats a POST by itself when a reused connection dies before the first byte of
 * an answer (7.88: Curl_retry_request() in lib/transfer.c), unless the body has to be rewound and
 * cannot be. So the body is handed over by a read callback without a seek callback: once a byte
 * of it has been taken, the request fails instead. The same callback is what tells "not sent"
 * from "unknown": without its body a request has no effect. Connections are reused in a burst
 * only (CURLOPT_MAXAGE_CONN): one that idled may be dead unseen, and a refresh token sent down it
 * would end in doubt.
 *
 * libcurl copies headers, bodies and answers into memory of its own; all of that is wiped when
 * released, by the functions given to curl_global_init_mem(), and OpenSSL is asked to do the same
 * with what it decrypts.
 *
 * curl_multi_timeout() is asked after each call into libcurl instead of setting
 * CURLMOPT_TIMERFUNCTION: that one reports changes only, so a timer that fires a little early
 * would be the last one.
 */
#include "http/curl.h"

#include <assert.h>
#include <curl/curl.h>
#include <inttypes.h>
#include <malloc.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>

#include "base/err.h"
#include "base/text.h"
#include "base/why.h"
#include "http/connection.h"
#include "http/date.h"

#define CURL_BODY_FIRST    4096  /* bytes reserved for an answer at first */
#define CURL_HEADERS_MAX   65536 /* bytes of an answer's header lines */
#define CURL_UPLOAD_BUFFER 16384 /* bytes; the least that libcurl takes */
#define CURL_PER_HOST_MAX                                                                          \
        (HTTP_CONNECTIONS_MAX / 2) /* a hanging provider leaves room for the others */

/* One request and what has come of it so far. */
struct call {
        struct transport_curl *owner;
        LIST_ENTRY(call) others;
        CURL *easy;
        struct http_request *req;
        struct curl_slist *headers;
        size_t taken;        /* bytes of the request's body that libcurl has taken */
        struct secret *body; /* of the answer */
        size_t header_bytes;
        bool headers_complete; /* those of the final answer */
        bool too_large;
        http_done_fn *done;
        void *user;
        char error[CURL_ERROR_SIZE];
};

struct transport_curl {
        struct transport transport;
        const struct clock *clock;
        char *user_agent;
        CURLM *multi;
        sd_event *event;
        sd_event_source *timer;
        LIST_HEAD(, call) calls;
};

static void *curl_alloc_realloc(void *old, size_t size) {
        size_t old_size = old ? malloc_usable_size(old) : 0;
        void *p;

        if (old_size >= size && old)
                return old;
        p = malloc(size);
        if (!p)
                return NULL;
        if (old) {
                memcpy(p, old, old_size);
                secret_wipe(old, old_size);
                free(old);
        }
        return p;
}

static void curl_alloc_free(void *p) {
        if (p)
                secret_wipe(p, malloc_usable_size(p));
        free(p);
}

static void call_wipe_headers(struct curl_slist *headers) {
        for (struct curl_slist *h = headers; h; h = h->next)
                secret_wipe(h->data, strlen(h->data));
        curl_slist_free_all(headers);
}

static struct call *call_free(struct call *c) {
        if (!c)
                return NULL;
        if (c->easy) {
                (void) curl_multi_remove_handle(c->owner->multi, c->easy); /* may not be in it */
                curl_easy_cleanup(c->easy);
        }
        call_wipe_headers(c->headers);
        http_request_free(c->req);
        secret_unref(c->body);
        free(c);
        return NULL;
}
AUTO_DEFINE(struct call, call_free)

static size_t call_on_read(char *buffer, size_t size, size_t n, void *userdata) {
        struct call *c = userdata;
        size_t left = secret_len(c->req->body) - c->taken, room = size * n;

        if (left > room)
                left = room;
        memcpy(buffer, secret_text(c->req->body) + c->taken, left);
        c->taken += left;
        return left;
}

static size_t call_on_header(char *line, size_t size, size_t n, void *userdata) {
        struct call *c = userdata;
        size_t len = size * n;
        long status = 0;

        c->header_bytes += len;
        if (c->header_bytes > CURL_HEADERS_MAX)
                return 0; /* ends the transfer */
        if (len >= 5 && memcmp(line, "HTTP/", 5) == 0)
                c->headers_complete = false;
        if (len > 0 && (line[0] == '\r' || line[0] == '\n')) {
                (void) curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
                c->headers_complete = status >= 200;
        }
        return len;
}

/* Makes room for the largest answer there may be. The old memory is wiped. */
static int call_grow(struct call *c) {
        struct secret *larger = secret_new_reserved(HTTP_BODY_MAX);

        if (!larger)
                return RAISE(-ENOMEM);
        (void) secret_append(larger, secret_text(c->body), secret_len(c->body)); /* it fits */
        secret_unref(c->body);
        c->body = larger;
        return 0;
}

static size_t call_on_write(char *bytes, size_t size, size_t n, void *userdata) {
        struct call *c = userdata;
        size_t len = size * n, room = HTTP_BODY_MAX - secret_len(c->body);

        c->too_large = len > room;
        if (c->too_large)
                len = room;
        if (secret_append(c->body, bytes, len) == -ENOBUFS) {
                if (call_grow(c) < 0)
                        return 0;
                (void) secret_append(c->body, bytes, len); /* it fits now */
        }
        return c->too_large ? 0 : len; /* 0 ends the transfer */
}

static CURLcode call_on_ssl_ctx(CURL *easy, void *ssl_ctx, void *userdata) {
        (void) easy;
        (void) userdata;
        SSL_CTX_set_options(ssl_ctx, SSL_OP_CLEANSE_PLAINTEXT);
        return CURLE_OK;
}

/* The URL up to its path: what a person wants to see of it. */
static int call_origin(const struct call *c, const char **ret) {
        const char *host = strstr(c->req->url, "://");

        *ret = c->req->url;
        return (int) strcspn(host ? host + 3 : *ret, "/?#") + (host ? (int) (host + 3 - *ret) : 0);
}

static int call_add_header(struct call *c, const char *line) {
        struct curl_slist *longer = curl_slist_append(c->headers, line); /* copies */

        if (!longer)
                return RAISE(-ENOMEM);
        c->headers = longer;
        return 0;
}

static int call_make_headers(struct call *c) {
        const struct secret *value = c->req->authorization;
        AUTO(secret_unrefp) struct secret *line = NULL;

        if (call_add_header(c, "Content-Type: application/json") < 0 ||
            call_add_header(c, "Accept: application/json") < 0 || call_add_header(c, "Expect:") < 0)
                return -ENOMEM;
        if (!value)
                return 0;
        if (secret_len(value) == 0 ||
            !text_is_printable_utf8(secret_text(value), secret_len(value)))
                return RAISE(-EINVAL);
        line = secret_new_reserved(strlen("Authorization: ") + secret_len(value));
        if (!line)
                return RAISE(-ENOMEM);
        (void) secret_append_text(line, "Authorization: "); /* it fits */
        (void) secret_append(line, secret_text(value), secret_len(value));
        return call_add_header(c, secret_text(line));
}

static int64_t call_timeout_us(const struct call *c) {
        return c->req->timeout_us > 0 ? c->req->timeout_us : HTTP_TIMEOUT_US;
}

#define CALL_SET(option, ...)                                                                      \
        (code = code != CURLE_OK ? code : curl_easy_setopt(c->easy, option, __VA_ARGS__))

static int call_set_request(struct call *c) {
        CURLcode code = CURLE_OK;

        CALL_SET(CURLOPT_PRIVATE, c);
        CALL_SET(CURLOPT_ERRORBUFFER, c->error);
        CALL_SET(CURLOPT_POST, 1L);
        CALL_SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) secret_len(c->req->body));
        CALL_SET(CURLOPT_READFUNCTION, call_on_read);
        CALL_SET(CURLOPT_READDATA, c);
        CALL_SET(CURLOPT_UPLOAD_BUFFERSIZE, (long) CURL_UPLOAD_BUFFER);
        CALL_SET(CURLOPT_HTTPHEADER, c->headers);
        CALL_SET(CURLOPT_USERAGENT, c->owner->user_agent);
        CALL_SET(CURLOPT_HEADERFUNCTION, call_on_header);
        CALL_SET(CURLOPT_HEADERDATA, c);
        CALL_SET(CURLOPT_WRITEFUNCTION, call_on_write);
        CALL_SET(CURLOPT_WRITEDATA, c);
        return code == CURLE_OK              ? 0
               : code == CURLE_OUT_OF_MEMORY ? RAISE(-ENOMEM)
                                             : RAISE(-EOPNOTSUPP);
}

static struct connection call_connection(const struct call *c) {
        return (struct connection){ c->req->url, c->req->ca_file, c->req->allow_http,
                                    call_timeout_us(c) };
}

static int call_set_connection(struct call *c) {
        const struct connection connection = call_connection(c);
        CURLcode code = CURLE_OK;
        int r;

        r = connection_set(c->easy, &connection);
        if (r < 0)
                return PASS(r);
        CALL_SET(CURLOPT_MAXAGE_CONN, (long) HTTP_IDLE_S);
        CALL_SET(CURLOPT_SSL_CTX_FUNCTION, call_on_ssl_ctx);
        return code == CURLE_OK              ? 0
               : code == CURLE_OUT_OF_MEMORY ? RAISE(-ENOMEM)
                                             : RAISE(-EOPNOTSUPP);
}

static const char *call_header(const struct call *c, const char *name) {
        struct curl_header *header;

        if (curl_easy_header(c->easy, name, 0, CURLH_HEADER, -1, &header) != CURLHE_OK)
                return NULL;
        return header->value;
}

/* Seconds, or a date relative to the Date header (to our clock if there was none). */
static int64_t call_retry_after(const struct call *c, const struct http_response *resp) {
        const char *text = call_header(c, "Retry-After");
        int64_t s;
        wall_t then;
        int r;

        if (!text)
                return -1;
        r = text_parse_int64(text, &s);
        if (r == -ERANGE)
                return HTTP_RETRY_AFTER_MAX_US;
        if (r < 0) {
                if (date_parse(text, &then) < 0)
                        return -1;
                s = then.s - (resp->has_date ? resp->date.s : clock_wall(c->owner->clock).s);
                if (s < 0)
                        s = 0;
        }
        if (s < 0)
                return -1;
        return s < HTTP_RETRY_AFTER_MAX_US / US_PER_S ? s * US_PER_S : HTTP_RETRY_AFTER_MAX_US;
}

static void call_answer(struct call *c, struct http_response *resp) {
        const char *date = call_header(c, "Date");
        const char *type = call_header(c, "Content-Type");
        const char *logid = call_header(c, "X-Tt-Logid");
        long status = 0;

        (void) curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
        resp->outcome = HTTP_ANSWERED;
        resp->status = (int) status;
        resp->body = c->body;
        resp->too_large = c->too_large;
        if (type)
                why_clean(type, strlen(type), resp->content_type, sizeof(resp->content_type));
        if (logid)
                why_clean(logid, strlen(logid), resp->logid, sizeof(resp->logid));
        resp->has_date = date && date_parse(date, &resp->date) == 0;
        resp->retry_after_us = call_retry_after(c, resp);
}

/* "Connection refused" and the like, or what libcurl said. */
static const char *call_detail(const struct call *c, CURLcode code) {
        long error = 0;

        (void) curl_easy_getinfo(c->easy, CURLINFO_OS_ERRNO, &error);
        if (code == CURLE_COULDNT_CONNECT && error > 0)
                return strerrordesc_np((int) error);
        return c->error[0] ? c->error : curl_easy_strerror(code);
}

static void call_explain(const struct call *c, CURLcode code, char *ret, size_t size) {
        const char *origin, *detail = call_detail(c, code);
        const struct connection connection = call_connection(c);
        const char *ca = connection_ca_file(&connection);
        int n = call_origin(c, &origin);
        char text[2 * HTTP_PROBLEM_MAX], span[32];

        if (!detail)
                detail = curl_easy_strerror(code);
#define EXPLAIN(...) (void) snprintf(text, sizeof(text), __VA_ARGS__) /* cut is fine */
        switch ((int) code) {
        case CURLE_COULDNT_RESOLVE_HOST:
                EXPLAIN("cannot resolve the host of %.*s: check the name, the DNS and the network",
                        n, origin);
                break;
        case CURLE_COULDNT_RESOLVE_PROXY:
                EXPLAIN("cannot resolve the proxy for %.*s: check https_proxy", n, origin);
                break;
        case CURLE_COULDNT_CONNECT:
                EXPLAIN("cannot connect to %.*s: %s", n, origin, detail);
                break;
        case CURLE_OPERATION_TIMEDOUT:
                text_format_span(call_timeout_us(c), span, sizeof(span));
                if (c->taken > 0)
                        EXPLAIN("no complete answer from %.*s within %s", n, origin, span);
                else
                        EXPLAIN("no connection to %.*s in time (%s for the whole call)", n, origin,
                                span);
                break;
        case CURLE_PEER_FAILED_VERIFICATION:
                EXPLAIN("the certificate of %.*s is not trusted by %s: %s", n, origin, ca, detail);
                break;
        case CURLE_SSL_CACERT_BADFILE:
                EXPLAIN("cannot use the CA file %s: it must hold certificates in PEM", ca);
                break;
        case CURLE_SSL_CONNECT_ERROR: /* also a CA of the same name with another key */
                EXPLAIN("TLS with %.*s failed: %s; certificates must be signed by %s", n, origin,
                        detail, ca);
                break;
        case CURLE_UNSUPPORTED_PROTOCOL:
        case CURLE_URL_MALFORMAT:
                EXPLAIN("refused to call %.*s: https: is needed (http: to a loopback address with "
                        "allow_http)",
                        n, origin);
                break;
        case CURLE_OK: /* the connection was closed within the header */
        case CURLE_GOT_NOTHING:
        case CURLE_PARTIAL_FILE:
        case CURLE_RECV_ERROR:
        case CURLE_SEND_ERROR:
        case CURLE_SEND_FAIL_REWIND:
                EXPLAIN("%.*s closed the connection before its answer was complete", n, origin);
                break;
        case CURLE_WRITE_ERROR:
                EXPLAIN("the answer of %.*s is too large to be read", n, origin);
                break;
        default:
                EXPLAIN("the call to %.*s failed: %s", n, origin, detail);
        }
#undef EXPLAIN
        why_clean(text, strlen(text), ret, size);
}

/* The end of a call that libcurl has reported. done() may send and cancel others. */
static void call_finish(struct call *c, CURLcode code) {
        struct http_response resp = { .retry_after_us = -1 };

        LIST_REMOVE(c, others);
        if (c->headers_complete && (code == CURLE_OK || c->too_large)) {
                call_answer(c, &resp);
        } else {
                resp.outcome = c->taken > 0 ? HTTP_UNKNOWN : HTTP_NOT_SENT;
                call_explain(c, code, resp.problem, sizeof(resp.problem));
        }
        c->done(c->user, &resp);
        call_free(c);
}

/* Sets the timer to when libcurl wants to be called next. */
static void transport_arm(struct transport_curl *t) {
        long ms = -1;

        (void) curl_multi_timeout(t->multi, &ms);
        if (ms >= 0)
                (void) sd_event_source_set_time_relative(t->timer, (uint64_t) ms * 1000);
        (void) sd_event_source_set_enabled(t->timer, ms >= 0 ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}

/* Lets libcurl work, then delivers what has ended. From the loop only. */
static void transport_act(struct transport_curl *t, curl_socket_t fd, int events) {
        struct CURLMsg *message;
        int running, left;

        (void) curl_multi_socket_action(t->multi, fd, events, &running);
        while ((message = curl_multi_info_read(t->multi, &left))) {
                CURLcode code = message->data.result;
                char *c = NULL;

                if (message->msg != CURLMSG_DONE)
                        continue;
                (void) curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &c);
                call_finish((struct call *) (void *) c, code);
        }
        transport_arm(t);
}

static int transport_on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        (void) source;
        (void) usec;
        transport_act(userdata, CURL_SOCKET_TIMEOUT, 0);
        return 0;
}

static int transport_on_io(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        int what = 0;

        (void) source;
        if (events & (EPOLLIN | EPOLLHUP | EPOLLRDHUP))
                what |= CURL_CSELECT_IN;
        if (events & EPOLLOUT)
                what |= CURL_CSELECT_OUT;
        if (events & EPOLLERR)
                what |= CURL_CSELECT_ERR;
        transport_act(userdata, fd, what);
        return 0;
}

/* Never fails: that would end every transfer. Without its source a call runs into its time-out. */
static int transport_on_socket(CURL *easy, curl_socket_t fd, int what, void *userdata,
                               void *source_of_fd) {
        struct transport_curl *t = userdata;
        sd_event_source *source = source_of_fd;
        uint32_t events = (what & CURL_POLL_IN ? EPOLLIN : 0U) |
                          (what & CURL_POLL_OUT ? EPOLLOUT : 0U);

        (void) easy;
        if (what == CURL_POLL_REMOVE) {
                sd_event_source_disable_unref(source);
                return 0;
        }
        if (source) {
                (void) sd_event_source_set_io_events(source, events);
                return 0;
        }
        if (sd_event_add_io(t->event, &source, fd, events, transport_on_io, t) >= 0)
                (void) curl_multi_assign(t->multi, fd, source);
        return 0;
}

static int transport_curl_send(void *self, struct http_request *request, http_done_fn *done,
                               void *user) {
        AUTO(http_request_freep) struct http_request *req = request;
        AUTO(call_freep) struct call *c = NULL;
        struct transport_curl *t = self;
        int r;

        assert(req->url && req->body && secret_len(req->body) > 0);
        c = calloc(1, sizeof(*c));
        if (!c)
                return RAISE(-ENOMEM);
        c->owner = t;
        c->req = TAKE(req);
        c->done = done;
        c->user = user;
        c->easy = curl_easy_init();
        c->body = secret_new_reserved(CURL_BODY_FIRST);
        if (!c->easy || !c->body)
                return RAISE(-ENOMEM);
        r = call_make_headers(c);
        if (r < 0)
                return PASS(r);
        r = call_set_request(c);
        if (r < 0)
                return PASS(r);
        r = call_set_connection(c);
        if (r < 0)
                return PASS(r);
        if (curl_multi_add_handle(t->multi, c->easy) != CURLM_OK)
                return RAISE(-ENOMEM);
        LIST_INSERT_HEAD(&t->calls, c, others);
        c = NULL; /* the list's */
        transport_arm(t);
        return 0;
}

static void transport_curl_cancel(void *self, void *user) {
        struct transport_curl *t = self;
        struct call *c, *next;

        for (c = LIST_FIRST(&t->calls); c; c = next) {
                next = LIST_NEXT(c, others);
                if (c->user != user)
                        continue;
                LIST_REMOVE(c, others);
                call_free(c);
        }
        transport_arm(t);
}

static int transport_set_up(struct transport_curl *t) {
        CURLMcode code = CURLM_OK;
        int r;

#define SET(option, value)                                                                         \
        (code = code != CURLM_OK ? code : curl_multi_setopt(t->multi, option, value))
        SET(CURLMOPT_SOCKETFUNCTION, transport_on_socket);
        SET(CURLMOPT_SOCKETDATA, t);
        SET(CURLMOPT_MAX_TOTAL_CONNECTIONS, (long) HTTP_CONNECTIONS_MAX);
        SET(CURLMOPT_MAX_HOST_CONNECTIONS, (long) CURL_PER_HOST_MAX);
        SET(CURLMOPT_MAXCONNECTS, (long) HTTP_CONNECTIONS_MAX);
#undef SET
        if (code != CURLM_OK)
                return RAISE(-EOPNOTSUPP);
        r = sd_event_add_time_relative(t->event, &t->timer, CLOCK_MONOTONIC, 0, 1,
                                       transport_on_timer, t);
        if (r < 0)
                return RAISE(r);
        (void) sd_event_source_set_description(t->timer, "curl-timer");
        transport_arm(t);
        return 0;
}

int transport_curl_new(sd_event *event, const struct clock *clock, const char *user_agent,
                       struct transport **ret) {
        struct transport_curl *t;
        int r;

        if (curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, curl_alloc_free, curl_alloc_realloc,
                                 strdup, calloc) != CURLE_OK)
                return RAISE(-ENOMEM);
        t = calloc(1, sizeof(*t));
        if (!t) {
                curl_global_cleanup();
                return RAISE(-ENOMEM);
        }
        t->transport = (struct transport){ transport_curl_send, transport_curl_cancel, t };
        t->clock = clock;
        t->event = sd_event_ref(event);
        t->user_agent = strdup(user_agent);
        t->multi = curl_multi_init();
        r = t->user_agent && t->multi ? transport_set_up(t) : RAISE(-ENOMEM);
        if (r < 0) {
                transport_curl_free(&t->transport);
                return PASS(r);
        }
        *ret = &t->transport;
        return 0;
}

struct transport *transport_curl_free(struct transport *transport) {
        struct transport_curl *t;

        if (!transport)
                return NULL;
        t = transport->self;
        for (struct call *c; (c = LIST_FIRST(&t->calls));) {
                LIST_REMOVE(c, others);
                call_free(c);
        }
        curl_multi_cleanup(t->multi);
        sd_event_source_disable_unref(t->timer);
        sd_event_unref(t->event);
        free(t->user_agent);
        free(t);
        curl_global_cleanup();
        return NULL;
}
