/*
 * The transport against a server of our own: threads with plain sockets, and with TLS on
 * certificates made here.
 */
#include "http/curl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/crypto.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/text.h"
#include "check_main.h"
#include "memory_search.h"

#define REQUEST_MAX 8192 /* bytes that the server reads of one */

/* ---- the server ---- */

enum script {
        SCRIPT_ANSWER,      /* each request, then closes */
        SCRIPT_KEEP,        /* each request, and keeps the connection */
        SCRIPT_CLOSE_IDLE,  /* answers the first request of a connection, then closes it unasked */
        SCRIPT_DROP_SECOND, /* answers a connection's first request, reads the second and closes */
        SCRIPT_DROP,        /* reads a request and closes */
        SCRIPT_MUTE,        /* reads a request and is silent */
        SCRIPT_GREET,       /* speaks first, as a server of something else does, and closes */
        SCRIPT_CHATTER,     /* answers with more header lines than anybody reads */
        SCRIPT_DEAF,        /* accepts and does nothing */
};

struct server {
        enum script script;
        const char *answer;
        size_t fill; /* bytes 'x' behind the answer */
        SSL_CTX *tls;
        bool rude; /* closes without TLS's close_notify */

        int fd;
        uint16_t port;
        pthread_t thread;
        atomic_int connections, requests, open, most_open;
        sem_t closed; /* a connection was */
        pthread_mutex_t mutex;
        char request[REQUEST_MAX]; /* the last one; guarded by mutex */
};

struct peer {
        struct server *server;
        int fd;
        SSL *ssl;
};

static ssize_t peer_read(struct peer *p, char *buffer, size_t size) {
        return p->ssl ? SSL_read(p->ssl, buffer, (int) size) : read(p->fd, buffer, size);
}

static void peer_write(struct peer *p, const char *text, size_t len) {
        while (len > 0) {
                ssize_t n = p->ssl ? SSL_write(p->ssl, text, (int) len)
                                   : send(p->fd, text, len, MSG_NOSIGNAL);

                if (n <= 0)
                        return;
                text += n;
                len -= (size_t) n;
        }
}

/* Headers and as much of a body as they announce. False: the peer closed. */
static bool peer_read_request(struct peer *p) {
        char text[REQUEST_MAX] = "";
        size_t len = 0, length = 0;

        for (;;) {
                char *end = strstr(text, "\r\n\r\n"), *announced = strstr(text, "Content-Length: ");
                ssize_t n;

                if (end && announced)
                        length = strtoul(announced + strlen("Content-Length: "), NULL, 10);
                if (end && len >= (size_t) (end + 4 - text) + length)
                        break;
                n = peer_read(p, text + len, sizeof(text) - 1 - len);
                if (n <= 0)
                        return false;
                len += (size_t) n;
                text[len] = '\0';
        }
        pthread_mutex_lock(&p->server->mutex);
        memcpy(p->server->request, text, sizeof(text));
        pthread_mutex_unlock(&p->server->mutex);
        atomic_fetch_add(&p->server->requests, 1);
        return true;
}

static void peer_answer(struct peer *p) {
        char chunk[1024];

        memset(chunk, 'x', sizeof(chunk));
        peer_write(p, p->server->answer, strlen(p->server->answer));
        for (size_t left = p->server->fill; left > 0;) {
                size_t n = left < sizeof(chunk) ? left : sizeof(chunk);

                peer_write(p, chunk, n);
                left -= n;
        }
}

/* Until the client hangs up. */
static void peer_drain(struct peer *p) {
        char text[REQUEST_MAX];

        while (read(p->fd, text, sizeof(text)) > 0)
                ;
}

static void peer_serve(struct peer *p) {
        enum script script = p->server->script;

        if (script == SCRIPT_DEAF) {
                peer_drain(p);
                return;
        }
        if (script == SCRIPT_GREET) {
                peer_answer(p);
                return;
        }
        for (int n = 1; peer_read_request(p); n++) {
                if (script == SCRIPT_DROP || (script == SCRIPT_DROP_SECOND && n == 2))
                        return;
                if (script == SCRIPT_CHATTER) {
                        peer_write(p, "HTTP/1.1 200 OK\r\n", 17);
                        for (int i = 0; i < 20000; i++)
                                peer_write(p, "X: y\r\n", 6);
                        return;
                }
                if (script == SCRIPT_MUTE) {
                        peer_drain(p);
                        return;
                }
                peer_answer(p);
                if (script == SCRIPT_ANSWER || script == SCRIPT_CLOSE_IDLE)
                        return;
        }
}

static void *peer_run(void *userdata) {
        struct peer *p = userdata;
        struct server *s = p->server;
        int now = atomic_fetch_add(&s->open, 1) + 1, most = atomic_load(&s->most_open);

        while (now > most && !atomic_compare_exchange_weak(&s->most_open, &most, now))
                ;
        if (s->tls && s->script != SCRIPT_DEAF) {
                p->ssl = SSL_new(s->tls);
                SSL_set_fd(p->ssl, p->fd);
        }
        if (!p->ssl || SSL_accept(p->ssl) == 1) {
                peer_serve(p);
                if (p->ssl && !s->rude)
                        (void) SSL_shutdown(p->ssl);
        }
        SSL_free(p->ssl);
        atomic_fetch_sub(&s->open, 1);
        (void) shutdown(p->fd, SHUT_WR);
        close(p->fd);
        free(p);
        OPENSSL_thread_stop(); /* the process may end before this thread does */
        sem_post(&s->closed);
        return NULL;
}

static void *server_run(void *userdata) {
        struct server *s = userdata;
        int fd;

        while ((fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
                struct peer *p = calloc(1, sizeof(*p));
                pthread_t thread;

                p->server = s;
                p->fd = fd;
                atomic_fetch_add(&s->connections, 1);
                pthread_create(&thread, NULL, peer_run, p);
                pthread_detach(thread);
        }
        return NULL;
}

static int listen_on_loopback(uint16_t *ret_port) {
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
        socklen_t len = sizeof(a);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(bind(fd, (struct sockaddr *) &a, sizeof(a)), 0);
        ck_assert_int_eq(listen(fd, 512), 0);
        ck_assert_int_eq(getsockname(fd, (struct sockaddr *) &a, &len), 0);
        *ret_port = ntohs(a.sin_port);
        return fd;
}

static void server_start(struct server *s) {
        s->fd = listen_on_loopback(&s->port);
        sem_init(&s->closed, 0, 0);
        pthread_mutex_init(&s->mutex, NULL);
        ck_assert_int_eq(pthread_create(&s->thread, NULL, server_run, s), 0);
}

/* Its connections end when the transport closes them, so that goes first. */
static void server_stop(struct server *s) {
        (void) shutdown(s->fd, SHUT_RDWR);
        pthread_join(s->thread, NULL);
        close(s->fd);
        for (int n = atomic_load(&s->connections); n > 0; n--)
                sem_wait(&s->closed);
}

/* ---- the client ---- */

struct outcome {
        bool done;
        int calls;
        struct http_response resp;
        char body[HTTP_BODY_MAX + 1];
};

static struct outcome got;
static sd_event *event;
static struct transport *transport;

static wall_t clock_of_test(void *self) {
        (void) self;
        return (wall_t){ 784111777 }; /* Sun, 06 Nov 1994 08:49:37 GMT */
}

static const struct clock test_clock = { NULL, clock_of_test, NULL };

static void start(void) {
        (void) signal(SIGPIPE, SIG_IGN); /* as the daemon does */
        memset(&got, 0, sizeof(got));
        ck_assert_int_ge(sd_event_new(&event), 0);
        ck_assert_int_eq(transport_curl_new(event, &test_clock, "bearerd/test", &transport), 0);
}

static void stop(void) {
        transport = transport_curl_free(transport);
        event = sd_event_unref(event);
}

static void on_done(void *user, const struct http_response *resp) {
        struct outcome *o = user;

        o->done = true;
        o->calls++;
        o->resp = *resp;
        if (resp->body)
                memcpy(o->body, secret_text(resp->body), secret_len(resp->body) + 1);
}

static struct http_request *request_new(const char *url) {
        struct http_request *req = calloc(1, sizeof(*req));

        req->url = strdup(url);
        req->body = secret_new("{\"grant_type\":\"refresh_token\"}", 30);
        req->allow_http = true;
        return req;
}

static char *url_of(const struct server *s, const char *scheme, char ret[64]) {
        (void) snprintf(ret, 64, "%s://127.0.0.1:%u/token", scheme, s->port);
        return ret;
}

static void wait_for(const struct outcome *o) {
        while (!o->done)
                ck_assert_int_ge(sd_event_run(event, UINT64_MAX), 0);
}

static void ask(struct http_request *req, struct outcome *o) {
        o->done = false;
        ck_assert_int_eq(transport->send(transport->self, req, on_done, o), 0);
        ck_assert(!o->done); /* never from within send() */
        wait_for(o);
}

/* ---- plain HTTP ---- */

#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"

static const struct {
        enum script script;
        const char *answer;
        size_t fill;
        enum http_outcome outcome;
        int status;
        const char *body; /* NULL: not compared */
        const char *type, *logid;
        int64_t date, retry_after_us; /* -1: absent */
        const char *problem;          /* part of it */
} exchanges[] = {
        { SCRIPT_ANSWER, OK "\r\n{}", 0, HTTP_ANSWERED, 200, "{}", "", "", -1, -1, "" },
        { SCRIPT_ANSWER,
          OK "Content-Type: application/json; charset=utf-8\r\nX-Tt-Logid: 2024ABC\r\n"
             "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n{}",
          0, HTTP_ANSWERED, 200, "{}", "application/json; charset=utf-8", "2024ABC", 784111777, -1,
          "" },
        { SCRIPT_ANSWER,
          OK "CONTENT-TYPE: text/html\r\nx-tt-logid: low\r\n"
             "date: Sunday, 06-Nov-94 08:49:37 GMT\r\n\r\n{}",
          0, HTTP_ANSWERED, 200, "{}", "text/html", "low", 784111777, -1, "" },
        { SCRIPT_ANSWER, OK "X-Tt-Logid: a\x01\xff\x62\r\nDate: yesterday\r\n\r\n{}", 0,
          HTTP_ANSWERED, 200, "{}", "", "a??b", -1, -1, "" },
        { SCRIPT_ANSWER, "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", 0, HTTP_ANSWERED, 500, "",
          "", "", -1, -1, "" },
        { SCRIPT_ANSWER, "HTTP/1.1 204 No\r\n\r\n", 0, HTTP_ANSWERED, 204, "", "", "", -1, -1, "" },
        { SCRIPT_ANSWER, "HTTP/1.0 200 OK\r\n\r\nuntil the end", 0, HTTP_ANSWERED, 200,
          "until the end", "", "", -1, -1, "" },
        { SCRIPT_ANSWER,
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", 0,
          HTTP_ANSWERED, 200, "{}", "", "", -1, -1, "" },
        { SCRIPT_ANSWER, "HTTP/1.1 100 Continue\r\n\r\n" OK "\r\n{}", 0, HTTP_ANSWERED, 200, "{}",
          "", "", -1, -1, "" },

        /* a redirect is an answer, not followed */
        { SCRIPT_ANSWER,
          "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", 0,
          HTTP_ANSWERED, 302, "", "", "", -1, -1, "" },

        /* Retry-After */
        { SCRIPT_ANSWER, OK "Retry-After: 120\r\n\r\n{}", 0, HTTP_ANSWERED, 200, "{}", "", "", -1,
          120 * US_PER_S, "" },
        { SCRIPT_ANSWER, OK "Retry-After: 0\r\n\r\n{}", 0, HTTP_ANSWERED, 200, "{}", "", "", -1, 0,
          "" },
        { SCRIPT_ANSWER, OK "Retry-After: -5\r\n\r\n{}", 0, HTTP_ANSWERED, 200, "{}", "", "", -1,
          -1, "" },
        { SCRIPT_ANSWER, OK "Retry-After: soon\r\n\r\n{}", 0, HTTP_ANSWERED, 200, "{}", "", "", -1,
          -1, "" },
        { SCRIPT_ANSWER, OK "Retry-After: 99999999999999999999\r\n\r\n{}", 0, HTTP_ANSWERED, 200,
          "{}", "", "", -1, HTTP_RETRY_AFTER_MAX_US, "" },
        { SCRIPT_ANSWER, OK "Retry-After: 9223372036854775807\r\n\r\n{}", 0, HTTP_ANSWERED, 200,
          "{}", "", "", -1, HTTP_RETRY_AFTER_MAX_US, "" },
        { SCRIPT_ANSWER, /* relative to the server's own clock */
          OK "Date: Tue, 06 Nov 2029 08:00:00 GMT\r\n"
             "Retry-After: Tue, 06 Nov 2029 08:01:30 GMT\r\n\r\n{}",
          0, HTTP_ANSWERED, 200, "{}", "", "", 1888646400, 90 * US_PER_S, "" },
        { SCRIPT_ANSWER, /* relative to ours: there is no Date */
          OK "Retry-After: Sun, 06 Nov 1994 08:49:47 GMT\r\n\r\n{}", 0, HTTP_ANSWERED, 200, "{}",
          "", "", -1, 10 * US_PER_S, "" },
        { SCRIPT_ANSWER, OK "Retry-After: Sun, 06 Nov 1994 08:00:00 GMT\r\n\r\n{}", 0,
          HTTP_ANSWERED, 200, "{}", "", "", -1, 0, "" },

        /* the size of a body */
        { SCRIPT_ANSWER, "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", 5000, HTTP_ANSWERED,
          200, NULL, "", "", -1, -1, "" },
        { SCRIPT_ANSWER, "HTTP/1.1 200 OK\r\nContent-Length: 65536\r\n\r\n", HTTP_BODY_MAX,
          HTTP_ANSWERED, 200, NULL, "", "", -1, -1, "" },
        { SCRIPT_ANSWER, "HTTP/1.1 502 Bad\r\n\r\n", HTTP_BODY_MAX + 1, HTTP_ANSWERED, 502, NULL,
          "", "", -1, -1, "" },
        { SCRIPT_ANSWER, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", 1000000,
          HTTP_ANSWERED, 200, NULL, "", "", -1, -1, "" },

        /* the provider may have acted on these */
        { SCRIPT_DROP, "", 0, HTTP_UNKNOWN, 0, NULL, "", "", -1, -1, "closed the connection" },
        { SCRIPT_ANSWER, "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"access_token\":", 0,
          HTTP_UNKNOWN, 0, NULL, "", "", -1, -1, "closed the connection" },
        { SCRIPT_ANSWER, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"a\"", 0,
          HTTP_UNKNOWN, 0, NULL, "", "", -1, -1, "" },
        { SCRIPT_ANSWER, "HTTP/1.1 200 OK\r\nContent-Len", 0, HTTP_UNKNOWN, 0, NULL, "", "", -1, -1,
          "closed the connection" },
        { SCRIPT_ANSWER, "HTTP/1.1 100 Continue\r\n\r\n", 0, HTTP_UNKNOWN, 0, NULL, "", "", -1, -1,
          "closed the connection" },
        { SCRIPT_ANSWER, "{\"access_token\":\"x\"}", 0, HTTP_UNKNOWN, 0, NULL, "", "", -1, -1, "" },
        { SCRIPT_ANSWER, "HTTP/1.1 200 OK\r\nX: ", 200000, HTTP_UNKNOWN, 0, NULL, "", "", -1, -1,
          "" },
        { SCRIPT_CHATTER, "", 0, HTTP_UNKNOWN, 0, NULL, "", "", -1, -1, "too large" },
        { SCRIPT_MUTE, "", 0, HTTP_UNKNOWN, 0, NULL, "", "", -1, -1,
          "no complete answer from http://127.0.0.1:" },
};

START_TEST(exchange)
{
        struct server s = { .script = exchanges[_i].script,
                            .answer = exchanges[_i].answer,
                            .fill = exchanges[_i].fill };
        struct http_request *req;
        char url[64];

        server_start(&s);
        req = request_new(url_of(&s, "http", url));
        if (s.script == SCRIPT_MUTE)
                req->timeout_us = 200 * US_PER_MS;
        ask(req, &got);
        ck_assert_msg(got.resp.outcome == exchanges[_i].outcome, "%u: %s", got.resp.outcome,
                      got.resp.problem);
        ck_assert_int_eq(got.resp.status, exchanges[_i].status);
        ck_assert_str_eq(got.resp.content_type, exchanges[_i].type);
        ck_assert_str_eq(got.resp.logid, exchanges[_i].logid);
        ck_assert_int_eq(got.resp.has_date ? got.resp.date.s : -1, exchanges[_i].date);
        ck_assert_int_eq(got.resp.retry_after_us, exchanges[_i].retry_after_us);
        ck_assert_msg(strstr(got.resp.problem, exchanges[_i].problem), "%s", got.resp.problem);
        ck_assert_int_eq(!*got.resp.problem, got.resp.outcome == HTTP_ANSWERED);
        if (exchanges[_i].body)
                ck_assert_str_eq(got.body, exchanges[_i].body);
        if (exchanges[_i].fill && got.resp.outcome == HTTP_ANSWERED) {
                bool cut = exchanges[_i].fill > HTTP_BODY_MAX;

                ck_assert_int_eq(got.resp.too_large, cut);
                ck_assert_uint_eq(strspn(got.body, "x"), cut ? HTTP_BODY_MAX : exchanges[_i].fill);
        }
        ck_assert_int_eq(s.requests, 1);
        stop();
        server_stop(&s);
}
END_TEST

/* ---- what is sent ---- */

START_TEST(request_bytes)
{
        struct server s = { .script = SCRIPT_ANSWER, .answer = OK "\r\n{}" };
        struct http_request *req;
        char url[64], expected[512];

        server_start(&s);
        req = request_new(url_of(&s, "http", url));
        if (_i)
                req->authorization = secret_new("Bearer abc", 10);
        ask(req, &got);
        (void) snprintf(expected, sizeof(expected),
                        "POST /token HTTP/1.1\r\n"
                        "Host: 127.0.0.1:%u\r\n"
                        "User-Agent: bearerd/test\r\n"
                        "Content-Type: application/json\r\n"
                        "Accept: application/json\r\n"
                        "%s"
                        "Content-Length: 30\r\n"
                        "\r\n"
                        "{\"grant_type\":\"refresh_token\"}",
                        s.port, _i ? "Authorization: Bearer abc\r\n" : "");
        stop();
        server_stop(&s);
        ck_assert_str_eq(s.request, expected);
}
END_TEST

static const struct {
        const char *value;
        size_t len;
} bad_authorizations[] = {
        { "", 0 },
        { "Bearer a\r\nX: y", 14 },
        { "Bearer a\nb", 10 },
        { "Bearer \0", 8 },
};

START_TEST(authorization_refused)
{
        struct http_request *req = request_new("http://127.0.0.1:1/");

        req->authorization = secret_new(bad_authorizations[_i].value, bad_authorizations[_i].len);
        ck_assert_int_eq(transport->send(transport->self, req, on_done, &got), -EINVAL);
        ck_assert(!got.done);
        stop();
}
END_TEST

/* A body larger than any buffer between. */
START_TEST(request_large)
{
        struct server s = { .script = SCRIPT_MUTE, .answer = "" };
        struct http_request *req;
        char url[64];

        server_start(&s);
        req = request_new(url_of(&s, "http", url));
        secret_unref(req->body);
        req->body = secret_new_reserved(4000000);
        for (int i = 0; i < 1000000; i++)
                (void) secret_append(req->body, "[[]]", 4);
        req->timeout_us = 300 * US_PER_MS; /* the server stops reading */
        ask(req, &got);
        ck_assert_int_eq(got.resp.outcome, HTTP_UNKNOWN);
        stop();
        server_stop(&s);
}
END_TEST

/* ---- not sent ---- */

#define LABEL_16 "abcdefghijklmnop"

static const struct {
        const char *before, *behind; /* the URL around the port, where nobody listens */
        bool allow_http;
        const char *ca_file;
        const char *problem;
} unsent[] = {
        { "http://127.0.0.1:", "/token", true, NULL, "Connection refused" },
        { "https://127.0.0.1:", "/token", false, NULL, "Connection refused" },
        { "http://localhost:", "/token", true, NULL, "cannot connect to http://localhost:" },
        { "http://127.0.0.1:", "/token", false, NULL, "https: is needed" },
        { "http://192.0.2.1:", "/token", true, NULL, "https: is needed" },
        { "http://127.0.0.1.example:", "/", true, NULL, "https: is needed" },
        { "http://128.0.0.1:", "/", true, NULL, "https: is needed" },
        { "http://localhost@192.0.2.1:", "/", true, NULL, "https: is needed" },
        { "ftp://127.0.0.1:", "/", true, NULL, "https: is needed" },
        { "file:///etc/hostname#", "", true, NULL, "https: is needed" },
        { "https://", ":port/", false, NULL, "https: is needed" },
        { "", "://", false, NULL, "refused to call" },
        { "https://" LABEL_16 LABEL_16 LABEL_16 LABEL_16 ":", "/", false, NULL,
          "cannot resolve the host of https://abcdef" }, /* no name: too long by one letter */
};

START_TEST(not_sent)
{
        struct http_request *req;
        char url[160];
        uint16_t port;

        close(listen_on_loopback(&port));
        (void) snprintf(url, sizeof(url), "%s%u%s", unsent[_i].before, port, unsent[_i].behind);
        req = request_new(url);
        req->allow_http = unsent[_i].allow_http;
        ask(req, &got);
        ck_assert_int_eq(got.resp.outcome, HTTP_NOT_SENT);
        ck_assert_msg(strstr(got.resp.problem, unsent[_i].problem), "%s", got.resp.problem);
        ck_assert_int_eq(got.resp.status, 0);
        ck_assert_ptr_null(got.resp.body);
        stop();
}
END_TEST

/* ---- TLS ---- */

enum authority {
        CA_OURS,
        CA_OTHER,
        CA_NAMESAKE,
        CA_SYSTEM,
        CA_MISSING,
        CA_GARBAGE
};

static const struct {
        enum authority trusted;
        const char *name; /* in the certificate */
        long valid_s;     /* from now; negative: ended then */
        int version_max;  /* 0: any */
        enum script script;
        bool tls; /* the server speaks it */
        bool rude;
        const char *answer;
        enum http_outcome outcome;
        const char *problem;
} handshakes[] = {
        { CA_OURS, "IP:127.0.0.1", 3600, 0, SCRIPT_ANSWER, true, false, OK "\r\n{}", HTTP_ANSWERED,
          "" },
        { CA_OURS, "IP:127.0.0.1", 3600, TLS1_2_VERSION, SCRIPT_ANSWER, true, false, OK "\r\n{}",
          HTTP_ANSWERED, "" },
        { CA_OURS, "IP:127.0.0.1", 3600, 0, SCRIPT_ANSWER, true, true, OK "\r\n{}", HTTP_ANSWERED,
          "" },
        { CA_OURS, "IP:127.0.0.1", 3600, 0, SCRIPT_DROP, true, false, "", HTTP_UNKNOWN,
          "closed the connection" },
        { CA_OURS, "IP:127.0.0.1", 3600, 0, SCRIPT_ANSWER, true, true,
          "HTTP/1.0 200 OK\r\n\r\n{\"access", HTTP_ANSWERED, "" }, /* cut: the dialect finds out */
        { CA_OURS, "IP:127.0.0.1", 3600, TLS1_1_VERSION, SCRIPT_ANSWER, true, false, OK "\r\n{}",
          HTTP_NOT_SENT, "TLS with https://127.0.0.1:" },
        { CA_OURS, "IP:127.0.0.2", 3600, 0, SCRIPT_ANSWER, true, false, OK "\r\n{}", HTTP_NOT_SENT,
          "the certificate of https://127.0.0.1:" },
        { CA_OURS, "DNS:localhost", 3600, 0, SCRIPT_ANSWER, true, false, OK "\r\n{}", HTTP_NOT_SENT,
          "the certificate of https://127.0.0.1:" },
        { CA_OURS, "IP:127.0.0.1", -60, 0, SCRIPT_ANSWER, true, false, OK "\r\n{}", HTTP_NOT_SENT,
          "expired" },
        { CA_OTHER, "IP:127.0.0.1", 3600, 0, SCRIPT_ANSWER, true, false, OK "\r\n{}", HTTP_NOT_SENT,
          "not trusted by other.pem" },
        { CA_NAMESAKE, "IP:127.0.0.1", 3600, 0, SCRIPT_ANSWER, true, false, OK "\r\n{}",
          HTTP_NOT_SENT, "signed by namesake.pem" },
        { CA_SYSTEM, "IP:127.0.0.1", 3600, 0, SCRIPT_ANSWER, true, false, OK "\r\n{}",
          HTTP_NOT_SENT, "not trusted by /" },
        { CA_MISSING, "IP:127.0.0.1", 3600, 0, SCRIPT_ANSWER, true, false, OK "\r\n{}",
          HTTP_NOT_SENT, "cannot use the CA file missing.pem" },
        { CA_GARBAGE, "IP:127.0.0.1", 3600, 0, SCRIPT_ANSWER, true, false, OK "\r\n{}",
          HTTP_NOT_SENT, "cannot use the CA file garbage.pem" },
        { CA_OURS, "IP:127.0.0.1", 3600, 0, SCRIPT_GREET, false, false, "220 mail\r\n",
          HTTP_NOT_SENT, "TLS with https://127.0.0.1:" },
        { CA_OURS, "IP:127.0.0.1", 3600, 0, SCRIPT_DEAF, true, false, "", HTTP_NOT_SENT,
          "no connection to https://127.0.0.1:" },
};

static void certificate_extend(X509 *certificate, X509 *issuer, int nid, const char *value) {
        X509V3_CTX ctx;
        X509_EXTENSION *e;

        X509V3_set_ctx(&ctx, issuer, certificate, NULL, NULL, 0);
        e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
        ck_assert_ptr_nonnull(e);
        X509_add_ext(certificate, e, -1);
        X509_EXTENSION_free(e);
}

/* Signed by `issuer`, by itself when that is NULL. `name`: its subjectAltName, NULL for an
 * authority. */
static X509 *certificate_new(const char *subject, const char *name, long valid_s, EVP_PKEY *key,
                             X509 *issuer, EVP_PKEY *issuer_key) {
        X509 *c = X509_new();
        X509_NAME *n = X509_get_subject_name(c);

        X509_set_version(c, X509_VERSION_3);
        ASN1_INTEGER_set(X509_get_serialNumber(c), issuer ? 2 : 1);
        X509_gmtime_adj(X509_getm_notBefore(c), -86400);
        X509_gmtime_adj(X509_getm_notAfter(c), valid_s);
        X509_NAME_add_entry_by_txt(n, "CN", MBSTRING_ASC, (const unsigned char *) subject, -1, -1,
                                   0);
        X509_set_issuer_name(c, issuer ? X509_get_subject_name(issuer) : n);
        X509_set_pubkey(c, key);
        certificate_extend(c, issuer ? issuer : c, NID_basic_constraints,
                           name ? "critical,CA:FALSE" : "critical,CA:TRUE");
        if (name)
                certificate_extend(c, issuer, NID_subject_alt_name, name);
        ck_assert_int_gt(X509_sign(c, issuer ? issuer_key : key, EVP_sha256()), 0);
        return c;
}

static void certificate_write(X509 *c, const char *path) {
        FILE *f = fopen(path, "we");

        ck_assert_ptr_nonnull(f);
        ck_assert_int_eq(PEM_write_X509(f, c), 1);
        ck_assert_int_eq(fclose(f), 0);
}

static char directory[] = "/tmp/bearerd-test-curl-XXXXXX";

static void enter_directory(void) {
        (void) strcpy(strrchr(directory, '-'), "-XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(directory));
        ck_assert_int_eq(chdir(directory), 0);
}

static void leave_directory(void) {
        static const char *const files[] = { "ours.pem", "other.pem", "namesake.pem",
                                             "garbage.pem" };

        for (size_t i = 0; i < N_ELEMENTS(files); i++)
                (void) unlink(files[i]); /* not every test makes all */
        ck_assert_int_eq(chdir("/"), 0);
        ck_assert_int_eq(rmdir(directory), 0);
}

/* Leaves ours.pem, other.pem, namesake.pem and garbage.pem in the directory. */
static SSL_CTX *tls_new(const char *name, long valid_s, int version_max) {
        EVP_PKEY *ca_key = EVP_EC_gen("P-256"), *key = EVP_EC_gen("P-256");
        X509 *ca = certificate_new("Test CA", NULL, 3600, ca_key, NULL, NULL);
        X509 *other = certificate_new("Other CA", NULL, 3600, key, NULL, NULL);
        X509 *namesake = certificate_new("Test CA", NULL, 3600, key, NULL, NULL);
        X509 *leaf = certificate_new("server", name, valid_s, key, ca, ca_key);
        SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
        FILE *garbage = fopen("garbage.pem", "we");

        ck_assert_int_gt(fputs("not a certificate\n", garbage), 0);
        ck_assert_int_eq(fclose(garbage), 0);
        certificate_write(ca, "ours.pem");
        certificate_write(other, "other.pem");
        certificate_write(namesake, "namesake.pem");
        ck_assert_int_eq(SSL_CTX_use_certificate(ctx, leaf), 1);
        ck_assert_int_eq(SSL_CTX_use_PrivateKey(ctx, key), 1);
        SSL_CTX_set_min_proto_version(ctx, TLS1_VERSION);
        SSL_CTX_set_max_proto_version(ctx, version_max);
        ck_assert_int_eq(SSL_CTX_set_cipher_list(ctx, "DEFAULT@SECLEVEL=0"), 1);
        X509_free(ca);
        X509_free(other);
        X509_free(namesake);
        X509_free(leaf);
        EVP_PKEY_free(ca_key);
        EVP_PKEY_free(key);
        return ctx;
}

START_TEST(tls)
{
        static const char *const files[] = {
                [CA_OURS] = "ours.pem",         [CA_OTHER] = "other.pem",
                [CA_NAMESAKE] = "namesake.pem", [CA_SYSTEM] = NULL,
                [CA_MISSING] = "missing.pem",   [CA_GARBAGE] = "garbage.pem"
        };
        SSL_CTX *ctx = tls_new(handshakes[_i].name, handshakes[_i].valid_s,
                               handshakes[_i].version_max);
        struct server s = { .script = handshakes[_i].script,
                            .answer = handshakes[_i].answer,
                            .tls = handshakes[_i].tls ? ctx : NULL,
                            .rude = handshakes[_i].rude };
        struct http_request *req;
        char url[64];

        server_start(&s);
        req = request_new(url_of(&s, "https", url));
        req->ca_file = files[handshakes[_i].trusted];
        if (s.script == SCRIPT_DEAF)
                req->timeout_us = 200 * US_PER_MS;
        ask(req, &got);
        ck_assert_msg(got.resp.outcome == handshakes[_i].outcome, "%u: %s", got.resp.outcome,
                      got.resp.problem);
        ck_assert_msg(strstr(got.resp.problem, handshakes[_i].problem), "%s", got.resp.problem);
        ck_assert_int_eq(s.requests, handshakes[_i].outcome == HTTP_NOT_SENT ? 0 : 1);
        stop();
        server_stop(&s);
        SSL_CTX_free(ctx);
}
END_TEST

/* ---- connections ---- */

START_TEST(connection_reused)
{
        SSL_CTX *ctx = tls_new("IP:127.0.0.1", 3600, 0);
        struct server s = { .script = SCRIPT_KEEP, .answer = OK "\r\n{}", .tls = _i ? ctx : NULL };
        char url[64];

        server_start(&s);
        url_of(&s, _i ? "https" : "http", url);
        for (int i = 0; i < 5; i++) {
                struct http_request *req = request_new(url);

                req->ca_file = "ours.pem";
                ask(req, &got);
                ck_assert_int_eq(got.resp.outcome, HTTP_ANSWERED);
        }
        ck_assert_int_eq(s.connections, 1);
        ck_assert_int_eq(s.requests, 5);
        stop();
        server_stop(&s);
        SSL_CTX_free(ctx);
}
END_TEST

/* A server that closed an idle connection: the next request goes over a new one. */
START_TEST(connection_closed_idle)
{
        struct server s = { .script = SCRIPT_CLOSE_IDLE, .answer = OK "\r\n{}" };
        char url[64];

        server_start(&s);
        url_of(&s, "http", url);
        for (int i = 0; i < 3; i++) {
                ask(request_new(url), &got);
                ck_assert_int_eq(got.resp.outcome, HTTP_ANSWERED);
                sem_wait(&s.closed);
        }
        ck_assert_int_eq(s.connections, 3);
        ck_assert_int_eq(s.requests, 3);
        stop();
        atomic_store(&s.connections, 0);
        server_stop(&s);
}
END_TEST

/* A reused connection that dies without an answer: the request must not be presented again. */
START_TEST(never_twice)
{
        SSL_CTX *ctx = tls_new("IP:127.0.0.1", 3600, 0);
        struct server s = { .script = SCRIPT_DROP_SECOND,
                            .answer = OK "\r\n{}",
                            .tls = _i ? ctx : NULL };
        struct http_request *req;
        char url[64];

        server_start(&s);
        url_of(&s, _i ? "https" : "http", url);
        for (int i = 0; i < 2; i++) {
                req = request_new(url);
                req->ca_file = "ours.pem";
                ask(req, &got);
                ck_assert_int_eq(got.resp.outcome, i == 0 ? HTTP_ANSWERED : HTTP_UNKNOWN);
        }
        ck_assert_int_eq(s.requests, 2);
        ck_assert_msg(strstr(got.resp.problem, "closed the connection"), "%s", got.resp.problem);
        stop();
        server_stop(&s);
        SSL_CTX_free(ctx);
}
END_TEST

/* The environment's proxy is not for loopback addresses. */
START_TEST(no_proxy_to_loopback)
{
        struct server s = { .script = SCRIPT_ANSWER, .answer = OK "\r\n{}" };
        char url[64];
        uint16_t port;

        close(listen_on_loopback(&port));
        (void) snprintf(url, sizeof(url), "http://127.0.0.1:%u", port);
        setenv("http_proxy", url, 1);
        setenv("all_proxy", url, 1);
        server_start(&s);
        ask(request_new(url_of(&s, "http", url)), &got);
        ck_assert_int_eq(got.resp.outcome, HTTP_ANSWERED);
        stop();
        server_stop(&s);
}
END_TEST

#define MANY 300

START_TEST(many_at_once)
{
        struct server s = { .script = SCRIPT_KEEP, .answer = OK "\r\n{}" };
        static struct outcome outcomes[MANY];
        char url[64];

        memset(outcomes, 0, sizeof(outcomes));
        server_start(&s);
        url_of(&s, "http", url);
        for (size_t i = 0; i < MANY; i++)
                ck_assert_int_eq(
                        transport->send(transport->self, request_new(url), on_done, &outcomes[i]),
                        0);
        for (size_t i = 0; i < MANY; i++) {
                wait_for(&outcomes[i]);
                ck_assert_int_eq(outcomes[i].resp.outcome, HTTP_ANSWERED);
                ck_assert_int_eq(outcomes[i].calls, 1);
        }
        ck_assert_int_eq(s.requests, MANY);
        ck_assert_int_le(s.most_open, HTTP_CONNECTIONS_MAX);
        stop();
        server_stop(&s);
}
END_TEST

/* One provider hangs with more calls than it may have connections; another is served meanwhile. */
START_TEST(hanging_neighbour)
{
        struct server mute = { .script = SCRIPT_MUTE, .answer = "" };
        struct server s = { .script = SCRIPT_ANSWER, .answer = OK "\r\n{}" };
        static struct outcome outcomes[MANY];
        char url[64];

        memset(outcomes, 0, sizeof(outcomes));
        server_start(&mute);
        server_start(&s);
        url_of(&mute, "http", url);
        for (size_t i = 0; i < MANY; i++)
                ck_assert_int_eq(
                        transport->send(transport->self, request_new(url), on_done, &outcomes[i]),
                        0);
        ask(request_new(url_of(&s, "http", url)), &got);
        ck_assert_int_eq(got.resp.outcome, HTTP_ANSWERED);
        for (size_t i = 0; i < MANY; i++)
                ck_assert(!outcomes[i].done);
        stop();
        server_stop(&s);
        server_stop(&mute);
}
END_TEST

/* Calls that wait for a connection end in time, too: not sent. */
START_TEST(queued_time_out)
{
        struct server mute = { .script = SCRIPT_MUTE, .answer = "" };
        static struct outcome outcomes[MANY];
        int unsent_calls = 0;
        char url[64];

        memset(outcomes, 0, sizeof(outcomes));
        server_start(&mute);
        url_of(&mute, "http", url);
        for (size_t i = 0; i < MANY; i++) {
                struct http_request *req = request_new(url);

                req->timeout_us = 500 * US_PER_MS;
                ck_assert_int_eq(transport->send(transport->self, req, on_done, &outcomes[i]), 0);
        }
        for (size_t i = 0; i < MANY; i++) {
                wait_for(&outcomes[i]);
                ck_assert_int_ne(outcomes[i].resp.outcome, HTTP_ANSWERED);
                unsent_calls += outcomes[i].resp.outcome == HTTP_NOT_SENT;
        }
        ck_assert_int_gt(unsent_calls, 0); /* how many got a turn is a matter of speed */
        stop();
        server_stop(&mute);
}
END_TEST

/* ---- cancel() ---- */

static struct outcome others[3];

static void cancel_others(void *user, const struct http_response *resp) {
        on_done(user, resp);
        for (size_t i = 0; i < N_ELEMENTS(others); i++)
                transport->cancel(transport->self, &others[i]);
        transport->cancel(transport->self, user); /* itself: too late, no effect */
}

START_TEST(cancel)
{
        struct server s = { .script = SCRIPT_ANSWER, .answer = OK "\r\n{}" };
        char url[64];

        memset(others, 0, sizeof(others));
        server_start(&s);
        url_of(&s, "http", url);
        transport->cancel(transport->self, &got); /* unknown */
        for (size_t i = 0; i < N_ELEMENTS(others); i++)
                ck_assert_int_eq(
                        transport->send(transport->self, request_new(url), on_done, &others[i]), 0);
        transport->cancel(transport->self, &others[0]); /* before anything was sent */
        ask(request_new(url), &got);
        for (size_t i = 1; i < N_ELEMENTS(others); i++)
                transport->cancel(transport->self, &others[i]); /* at any stage */
        ask(request_new(url), &got);
        ck_assert_int_eq(others[0].calls, 0);
        ck_assert_int_le(others[1].calls + others[2].calls, 2);
        ck_assert_int_eq(got.calls, 2);
        stop();
        server_stop(&s);
}
END_TEST

/* Whichever ends first cancels the others, also those whose end is known already. */
START_TEST(cancel_within_done)
{
        struct server s = { .script = SCRIPT_ANSWER, .answer = OK "\r\n{}" };
        struct server mute = { .script = SCRIPT_MUTE, .answer = "" };
        int calls = 0;
        char url[64];

        memset(others, 0, sizeof(others));
        server_start(&s);
        server_start(&mute);
        for (size_t i = 0; i < N_ELEMENTS(others); i++)
                ck_assert_int_eq(transport->send(transport->self,
                                                 request_new(url_of(i ? &s : &mute, "http", url)),
                                                 cancel_others, &others[i]),
                                 0);
        for (; calls == 0; calls = others[0].calls + others[1].calls + others[2].calls)
                ck_assert_int_ge(sd_event_run(event, UINT64_MAX), 0);
        ask(request_new(url_of(&s, "http", url)), &got);
        ck_assert_int_eq(others[0].calls + others[1].calls + others[2].calls, 1);
        stop();
        server_stop(&s);
        server_stop(&mute);
}
END_TEST

static char next_url[64];

static void send_another(void *user, const struct http_response *resp) {
        struct outcome *o = user;
        int before = o->calls + 1;

        on_done(user, resp);
        o->done = before == 3;
        if (before < 3)
                ck_assert_int_eq(
                        transport->send(transport->self, request_new(next_url), send_another, user),
                        0);
        ck_assert_int_eq(o->calls, before);
}

START_TEST(send_within_done)
{
        struct server s = { .script = SCRIPT_KEEP, .answer = OK "\r\n{}" };

        server_start(&s);
        url_of(&s, "http", next_url);
        ck_assert_int_eq(
                transport->send(transport->self, request_new(next_url), send_another, &got), 0);
        wait_for(&got);
        ck_assert_int_eq(s.requests, 3);
        stop();
        server_stop(&s);
}
END_TEST

START_TEST(free_under_way)
{
        struct server s = { .script = SCRIPT_MUTE, .answer = "" };
        char url[64];

        server_start(&s);
        url_of(&s, "http", url);
        for (int i = 0; i < 5; i++)
                ck_assert_int_eq(transport->send(transport->self, request_new(url), on_done, &got),
                                 0);
        while (atomic_load(&s.requests) < 5)
                ck_assert_int_ge(sd_event_run(event, 10000), 0);
        stop();
        ck_assert(!got.done);
        server_stop(&s);
}
END_TEST

/* ---- nothing is left in memory ---- */

/* Masked, so that the program itself does not hold what is looked for. */
static const char sent_canary[MEMORY_CANARY_SIZE] =
        "\x07\x10\x13\x07\x10\x06\x1d\x78\x01\x1a\x1e\x10"
        "\x1b\x78\x16\x14\x1b\x14\x07\x0c\x78\x64\x62\x6d";
static const char received_canary[MEMORY_CANARY_SIZE] =
        "\x14\x16\x16\x10\x06\x06\x78\x01\x1a\x1e\x10\x1b"
        "\x78\x16\x14\x1b\x14\x07\x0c\x78\x67\x66\x61\x60";

static struct secret *unmask(const char *canary) {
        struct secret *s = secret_new_reserved(256);

        (void) secret_append_text(s, "{\"access_token\":\"");
        memory_unmask(canary, s);
        (void) secret_append_text(s, "\"}");
        return s;
}

/* A server in another process, as its memory is not ours. Answers one request; returns its
 * process. */
static pid_t fork_server(SSL_CTX *ctx, uint16_t *ret_port) {
        struct server s = { .script = SCRIPT_ANSWER, .tls = ctx };
        struct secret *body;
        struct peer p = { .server = &s };
        char answer[512];
        pid_t pid;

        s.fd = listen_on_loopback(ret_port);
        pid = fork();
        ck_assert_int_ge(pid, 0);
        if (pid > 0) {
                close(s.fd);
                return pid;
        }
        body = unmask(received_canary);
        (void) snprintf(answer, sizeof(answer), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s",
                        secret_len(body), secret_text(body));
        s.answer = answer;
        pthread_mutex_init(&s.mutex, NULL);
        p.fd = accept(s.fd, NULL, NULL);
        if (ctx) {
                p.ssl = SSL_new(ctx);
                SSL_set_fd(p.ssl, p.fd);
                if (SSL_accept(p.ssl) != 1)
                        _exit(1);
        }
        peer_serve(&p);
        if (p.ssl)
                (void) SSL_shutdown(p.ssl);
        _exit(0);
}

static void count_while_answered(void *user, const struct http_response *resp) {
        struct outcome *o = user;

        o->done = true;
        o->resp = *resp;
        o->calls = memory_count(received_canary);
}

START_TEST(nothing_left)
{
        SSL_CTX *ctx = tls_new("IP:127.0.0.1", 3600, 0);
        struct http_request *req;
        int status = 0;
        char url[64];
        uint16_t port;
        pid_t pid;

        pid = fork_server(_i ? ctx : NULL, &port);
        (void) snprintf(url, sizeof(url), "%s://127.0.0.1:%u/", _i ? "https" : "http", port);
        req = request_new(url);
        secret_unref(req->body);
        req->body = unmask(sent_canary);
        req->authorization = secret_new_reserved(300);
        (void) secret_append_text(req->authorization, "Bearer ");
        (void) secret_append(req->authorization, secret_text(req->body), secret_len(req->body));
        req->ca_file = "ours.pem";
        ck_assert_int_ge(memory_count(sent_canary), 2); /* it can be found */
        ck_assert_int_eq(transport->send(transport->self, req, count_while_answered, &got), 0);
        wait_for(&got);
        ck_assert_int_eq(got.resp.outcome, HTTP_ANSWERED);
        ck_assert_int_ge(got.calls, 1);
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert_int_eq(status, 0);
        stop();
        ck_assert_int_eq(memory_count(sent_canary), 0);
        ck_assert_int_eq(memory_count(received_canary), 0);
        SSL_CTX_free(ctx);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_set_timeout(tc, 60);
        tcase_add_checked_fixture(tc, enter_directory, leave_directory);
        tcase_add_checked_fixture(tc, start, NULL); /* each test stops it before its server */
        tcase_add_loop_test(tc, exchange, 0, N_ELEMENTS(exchanges));
        tcase_add_loop_test(tc, request_bytes, 0, 2);
        tcase_add_loop_test(tc, authorization_refused, 0, N_ELEMENTS(bad_authorizations));
        tcase_add_test(tc, request_large);
        tcase_add_loop_test(tc, not_sent, 0, N_ELEMENTS(unsent));
        tcase_add_loop_test(tc, tls, 0, N_ELEMENTS(handshakes));
        tcase_add_loop_test(tc, connection_reused, 0, 2);
        tcase_add_test(tc, connection_closed_idle);
        tcase_add_loop_test(tc, never_twice, 0, 2);
        tcase_add_test(tc, no_proxy_to_loopback);
        tcase_add_test(tc, many_at_once);
        tcase_add_test(tc, hanging_neighbour);
        tcase_add_test(tc, queued_time_out);
        tcase_add_test(tc, cancel);
        tcase_add_test(tc, cancel_within_done);
        tcase_add_test(tc, send_within_done);
        tcase_add_test(tc, free_under_way);
        if (memory_is_searchable())
                tcase_add_loop_test(tc, nothing_left, 0, 2);
}

CHECK_MAIN("curl", add_tests)
