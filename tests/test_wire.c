#include "client/wire.h"

/*
 * The other end is a thread that plays a script: it reads the request, sends the bytes of a row,
 * in one piece or byte by byte, and closes.
 */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "check_main.h"
#include "client/protocol.h"

#define TIMEOUT_US INT64_C(20000000) /* never reached: for a test that would hang */

/* Names and paths */

static const struct {
        const char *name;
        bool ok;
} names[] = {
        { "bot", true },          { "coze.cn", true },       { "a_b-c.9", true }, { "", false },
        { ".hidden", false },     { "-x", false },           { "a/b", false },    { "a b", false },
        { "bot?x=1", false },     { "bot%2e", false },       { "a~b", false },    { "..", false },
        { "bot\r\nX: y", false }, { "\xe6\x89\xa3", false },
};

START_TEST(name)
{ ck_assert_int_eq(wire_is_name(names[_i].name), names[_i].ok); }
END_TEST

START_TEST(name_length)
{
        char text[PROTOCOL_NAME_MAX + 2];

        memset(text, 'x', sizeof(text));
        text[PROTOCOL_NAME_MAX + 1] = '\0';
        ck_assert(!wire_is_name(text));
        text[PROTOCOL_NAME_MAX] = '\0';
        ck_assert(wire_is_name(text));
}
END_TEST

static const struct {
        const char *value, *encoded;
} values[] = {
        { "alice", "alice" },
        { "", "" },
        { "a b&c=d", "a%20b%26c%3Dd" },
        { "x/y?z#", "x%2Fy%3Fz%23" },
        { "-._~", "-._~" },
        { "%41", "%2541" },
        { "\xe6\x89\xa3", "%E6%89%A3" },
        { "\r\nHost: x", "%0D%0AHost%3A%20x" },
        { "\x7f\xff", "%7F%FF" },
};

START_TEST(path_value)
{
        struct wire_path path;
        char expected[128];

        ck_assert_int_eq(wire_path_begin(&path, PROTOCOL_PATH_TOKEN, "bot", ""), 0);
        ck_assert_int_eq(wire_path_add(&path, "subject", values[_i].value), 0);
        ck_assert_int_eq(wire_path_add_number(&path, "wait", -1), 0);
        (void) snprintf(expected, sizeof(expected), "/v1/token/bot?subject=%s&wait=-1",
                        values[_i].encoded);
        ck_assert_str_eq(path.text, expected);
        ck_assert_uint_eq(path.len, strlen(expected));
}
END_TEST

START_TEST(path_is_bounded)
{
        struct wire_path path;
        char value[WIRE_PATH_MAX], before[WIRE_PATH_MAX];

        ck_assert_int_eq(wire_path_begin(&path, "/", "bot/", ""), -EINVAL);
        ck_assert_int_eq(wire_path_begin(&path, PROTOCOL_PATH_CREDENTIALS "/", "bot", "/secret"),
                         0);
        ck_assert_str_eq(path.text, "/v1/credentials/bot/secret");
        memset(value, '/', sizeof(value));
        value[PROTOCOL_SUBJECT_MAX] = '\0';
        ck_assert_int_eq(wire_path_add(&path, "subject", value), 0); /* the longest subject fits */
        strcpy(before, path.text);
        value[PROTOCOL_SUBJECT_MAX] = '/';
        value[sizeof(value) - 1] = '\0';
        ck_assert_int_eq(wire_path_add(&path, "subject", value), -ENOBUFS);
        ck_assert_str_eq(path.text, before);
}
END_TEST

/* The socket */

START_TEST(socket_choice)
{
        char dir[] = "/tmp/wire-XXXXXX", path[WIRE_SOCKET_MAX], file[64], found[WIRE_SOCKET_MAX];
        char longest[WIRE_SOCKET_MAX + 1];

        ck_assert_ptr_nonnull(mkdtemp(dir));
        (void) snprintf(path, sizeof(path), "%s/bearerd", dir);
        (void) snprintf(file, sizeof(file), "%s/bearerd/bearerd.sock", dir);

        unsetenv(PROTOCOL_SOCKET_ENV);
        unsetenv("XDG_RUNTIME_DIR");
        ck_assert_int_eq(wire_find_socket(found), 0);
        ck_assert_str_eq(found, PROTOCOL_SOCKET_SYSTEM);

        setenv("XDG_RUNTIME_DIR", dir, 1);
        ck_assert_int_eq(wire_find_socket(found), 0);
        ck_assert_str_eq(found, PROTOCOL_SOCKET_SYSTEM); /* the user has no daemon */

        ck_assert_int_eq(mkdir(path, 0700), 0);
        fclose(fopen(file, "w"));
        ck_assert_int_eq(wire_find_socket(found), 0);
        ck_assert_str_eq(found, file);

        setenv(PROTOCOL_SOCKET_ENV, "", 1); /* empty is unset */
        ck_assert_int_eq(wire_find_socket(found), 0);
        ck_assert_str_eq(found, file);

        setenv(PROTOCOL_SOCKET_ENV, "/elsewhere.sock", 1);
        ck_assert_int_eq(wire_find_socket(found), 0);
        ck_assert_str_eq(found, "/elsewhere.sock");

        memset(longest, 'x', sizeof(longest));
        longest[WIRE_SOCKET_MAX] = '\0';
        setenv(PROTOCOL_SOCKET_ENV, longest, 1);
        ck_assert_int_eq(wire_find_socket(found), -ENAMETOOLONG);
        ck_assert_str_eq(found, "/elsewhere.sock"); /* untouched */
        longest[WIRE_SOCKET_MAX - 1] = '\0';
        setenv(PROTOCOL_SOCKET_ENV, longest, 1);
        ck_assert_int_eq(wire_find_socket(found), 0);

        setenv(PROTOCOL_SOCKET_ENV, "", 1);
        ck_assert_int_eq(chdir(dir), 0); /* a relative one is ignored: XDG specification */
        setenv("XDG_RUNTIME_DIR", ".", 1);
        ck_assert_int_eq(wire_find_socket(found), 0);
        ck_assert_str_eq(found, PROTOCOL_SOCKET_SYSTEM);

        ck_assert_int_eq(chdir("/"), 0);
        ck_assert_int_eq(unlink(file), 0);
        ck_assert_int_eq(rmdir(path), 0);
        ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

START_TEST(connect_refusals)
{
        char longest[WIRE_SOCKET_MAX + 1];
        int fd = -7;

        memset(longest, 'x', sizeof(longest));
        longest[WIRE_SOCKET_MAX] = '\0';
        ck_assert_int_eq(wire_connect("", TIMEOUT_US, &fd), -EINVAL);
        ck_assert_int_eq(wire_connect(longest, TIMEOUT_US, &fd), -ENAMETOOLONG);
        ck_assert_int_eq(wire_connect("/nonexistent/socket", TIMEOUT_US, &fd), -ENOENT);
        ck_assert_int_eq(wire_connect("/proc/version", TIMEOUT_US, &fd), -ECONNREFUSED);
        ck_assert_int_eq(fd, -7);
}
END_TEST

/* A daemon whose backlog is full: the next caller waits as long as it said, not for ever. */
START_TEST(connect_to_full_backlog)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        char dir[] = "/tmp/wire-XXXXXX";
        int listener, fds[8], n = 0, r = 0;

        ck_assert_ptr_nonnull(mkdtemp(dir));
        (void) snprintf(address.sun_path, sizeof(address.sun_path), "%s/s", dir);
        listener = socket(AF_UNIX, SOCK_STREAM, 0);
        ck_assert_int_eq(bind(listener, (struct sockaddr *) &address, sizeof(address)), 0);
        ck_assert_int_eq(listen(listener, 0), 0);
        while (n < 8 && (r = wire_connect(address.sun_path, 20000, &fds[n])) == 0) {
                ck_assert(fcntl(fds[n], F_GETFD) & FD_CLOEXEC);
                n++;
        }
        ck_assert_int_ge(n, 1);
        ck_assert_int_eq(r, -ETIMEDOUT);
        while (n > 0)
                close(fds[--n]);
        close(listener);
        unlink(address.sun_path);
        rmdir(dir);
}
END_TEST

/* Answers */

struct script {
        int fd;
        const char *bytes;
        size_t len;
        bool bytewise;
        bool deaf; /* answer and close without reading the request */
        char request[WIRE_PATH_MAX + 1024];
        size_t request_len;
};

static void read_request(struct script *s) {
        size_t want = 0;

        while (s->request_len + 1 < sizeof(s->request)) {
                ssize_t n = read(s->fd, s->request + s->request_len,
                                 sizeof(s->request) - 1 - s->request_len);
                char *end, *length;

                if (n <= 0)
                        break;
                s->request_len += (size_t) n;
                s->request[s->request_len] = '\0';
                end = strstr(s->request, "\r\n\r\n");
                if (!end)
                        continue;
                length = strstr(s->request, "Content-Length: ");
                want = (size_t) (end + 4 - s->request) + (length ? (size_t) atoi(length + 16) : 0);
                if (s->request_len >= want)
                        break;
        }
}

static void *play(void *arg) {
        struct script *s = arg;
        const size_t step = s->bytewise ? 1 : s->len;

        if (!s->deaf)
                read_request(s);
        for (size_t i = 0; i < s->len; i += step)
                if (send(s->fd, s->bytes + i, step, MSG_NOSIGNAL) < 0)
                        break; /* the client has seen enough */
        close(s->fd);
        return NULL;
}

static int call(struct script *s, const struct wire_request *request, struct wire_answer *ret) {
        pthread_t thread;
        int pair[2], r;

        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        s->fd = pair[1];
        ck_assert_int_eq(pthread_create(&thread, NULL, play, s), 0);
        if (s->deaf)
                pthread_join(thread, NULL); /* the answer lies there, the other end is closed */
        r = wire_call(pair[0], request, ret);
        close(pair[0]);
        if (!s->deaf)
                pthread_join(thread, NULL);
        return r;
}

static const struct wire_request plain_request = {
        .method = "GET", .path = "/v1/token/bot", .accept = "text/plain", .timeout_us = TIMEOUT_US
};

#define OK    "HTTP/1.1 200 OK\r\n"
#define CHUNK OK "Transfer-Encoding: chunked\r\n\r\n"

static const struct {
        const char *bytes;
        int status;
        const char *body;
        int64_t expires_at, retry_after_s;
        const char *fingerprint, *content_type;
} answers[] = {
        /* well-formed */
        { OK "Content-Length: 5\r\n\r\nhello", 200, "hello", -1, -1, "", "" },
        { OK "content-LENGTH:5  \r\n\r\nhello", 200, "hello", -1, -1, "", "" },
        { OK "Content-Length: 0\r\n\r\n", 200, "", -1, -1, "", "" },
        { OK "Content-Length: 00000000005\r\n\r\nhello", 200, "hello", -1, -1, "", "" },
        { OK "\r\nuntil close", 200, "until close", -1, -1, "", "" },
        { "HTTP/1.0 200 OK\r\n\r\nold", 200, "old", -1, -1, "", "" },
        { "HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx", 200, "x", -1, -1, "", "" },
        { "HTTP/1.1 204 No Content\r\n\r\n", 204, "", -1, -1, "", "" },
        { "HTTP/1.1 100 Continue\r\n\r\n" OK "Content-Length: 1\r\n\r\nx", 200, "x", -1, -1, "",
          "" },
        { "HTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 102 P\r\n\r\n" OK "\r\nx", 200, "x", -1,
          -1, "", "" },
        { OK "Bearer-Expires-At: 1795400000\r\nBearer-Fingerprint: 9f86d081884c7d65\r\n"
             "Content-Type: Text/PLAIN; charset=utf-8\r\nContent-Length: 3\r\n\r\nczs",
          200, "czs", 1795400000, -1, "9f86d081884c7d65", "text/plain" },
        { OK "bearer-expires-at: 0\r\nContent-Length: 0\r\n\r\n", 200, "", 0, -1, "", "" },
        { "HTTP/1.1 503 Busy\r\nRetry-After: 17\r\nContent-Length: 2\r\n\r\n{}", 503, "{}", -1, 17,
          "", "" },
        { "HTTP/1.1 503 Busy\r\nRetry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\n\r\n{}", 503, "{}",
          -1, -1, "", "" },
        { CHUNK "5\r\nhello\r\n0\r\n\r\n", 200, "hello", -1, -1, "", "" },
        { CHUNK "1\r\nh\r\n0004;x=y\r\nello\r\n000;last\r\nTrailer: t\r\n\r\n", 200, "hello", -1,
          -1, "", "" },
        { CHUNK "b\r\nhello world\r\nA\r\n0123456789\r\n0\r\n\r\n", 200, "hello world0123456789",
          -1, -1, "", "" },
        { CHUNK "2\r\n\r\n\r\n0\r\n\r\n", 200, "\r\n", -1, -1, "", "" },
        { CHUNK "0\r\n\r\n", 200, "", -1, -1, "", "" },
};

static const struct {
        const char *bytes;
        int ret;
        bool late; /* bytes behind the end: unseen if they come later, which is no harm then */
} refusals[] = {
        /* cut short: nothing of it may be used */
        { "", -ECONNRESET, false },
        { "H", -ECONNRESET, false },
        { "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", -ECONNRESET, false },
        { OK "Content-Length: 5\r\n\r\nhell", -ECONNRESET, false },
        { OK "Content-Length: 5\r\n\r\n", -ECONNRESET, false },
        { CHUNK "", -ECONNRESET, false },
        { CHUNK "5", -ECONNRESET, false },
        { CHUNK "5\r\nhel", -ECONNRESET, false },
        { CHUNK "5\r\nhello\r\n", -ECONNRESET, false },
        { CHUNK "5\r\nhello\r\n0\r\n", -ECONNRESET, false },
        { CHUNK "5\r\nhello\r\n0\r\nTrailer: t\r\n", -ECONNRESET, false },
        { "HTTP/1.1 100 Continue\r\n\r\n", -ECONNRESET, false },

        /* not HTTP */
        { "SSH-2.0-OpenSSH_9.2p1\r\n\r\n", -EBADMSG, false },
        { "\r\n\r\n", -EBADMSG, false },
        { "HTTP/2 200 OK\r\n\r\n", -EBADMSG, false },
        { "HTTP/1.2 200 OK\r\n\r\n", -EBADMSG, false },
        { "HTTP/1.1200 OK\r\n\r\n", -EBADMSG, false },
        { "HTTP/1.1 20 OK\r\n\r\n", -EBADMSG, false },
        { "HTTP/1.1 2000 OK\r\n\r\n", -EBADMSG, false },
        { "HTTP/1.1 -20 OK\r\n\r\n", -EBADMSG, false },
        { "HTTP/1.1 099 OK\r\n\r\n", -EBADMSG, false },
        { "HTTP/1.1 600 OK\r\n\r\n", -EBADMSG, false },
        { "HTTP/1.1 \r\n\r\n", -EBADMSG, false },
        { "http/1.1 200 OK\r\n\r\n", -EBADMSG, false },
        { " HTTP/1.1 200 OK\r\n\r\n", -EBADMSG, false },
        { "HTTP/1.1 101 Switching Protocols\r\n\r\n", -EBADMSG, false },
        { OK "no colon\r\n\r\n", -EBADMSG, false },
        { OK ": no name\r\n\r\n", -EBADMSG, false },
        { OK "Content-Length : 5\r\n\r\nhello", -EBADMSG, false }, /* RFC 9112 section 5.1 */
        { OK "X: y\r\n folded\r\n\r\n", -EBADMSG, false },
        { OK "X: lone\rreturn\r\n\r\n", -EBADMSG, false },
        { OK "X: lone\nContent-Length: 5\r\n\r\nhello", -EBADMSG, false },
        { OK "X: bell\a\r\n\r\n", -EBADMSG, false },

        /* lengths that lie */
        { OK "Content-Length: 4\r\n\r\nhello", -EBADMSG, true }, /* a token would be cut */
        { OK "Content-Length: -1\r\n\r\nhello", -EBADMSG, false },
        { OK "Content-Length: +5\r\n\r\nhello", -EBADMSG, false },
        { OK "Content-Length: 0x5\r\n\r\nhello", -EBADMSG, false },
        { OK "Content-Length: 5 5\r\n\r\nhello", -EBADMSG, false },
        { OK "Content-Length: 5, 5\r\n\r\nhello", -EBADMSG, false },
        { OK "Content-Length:\r\n\r\nhello", -EBADMSG, false },
        { OK "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", -EBADMSG, false },
        { OK "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", -EBADMSG, false },
        { OK "Content-Length: 18446744073709551621\r\n\r\nhello", -EBADMSG, false },
        { OK "Content-Length: 9223372036854775807\r\n\r\nhello", -EMSGSIZE, false },
        { OK "Content-Length: 1048577\r\n\r\nhello", -EMSGSIZE, false },
        { OK "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
          -EBADMSG, false },
        { OK "Transfer-Encoding: gzip, chunked\r\n\r\n", -EBADMSG, false },
        { OK "Transfer-Encoding: identity\r\n\r\n", -EBADMSG, false },
        { OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", -EBADMSG,
          false },
        { "HTTP/1.1 204 No Content\r\n\r\nhello", -EBADMSG, true },
        { CHUNK "\r\n", -EBADMSG, false },
        { CHUNK ";x\r\n", -EBADMSG, false },
        { CHUNK "g\r\n", -EBADMSG, false },
        { CHUNK "-1\r\n", -EBADMSG, false },
        { CHUNK " 5\r\nhello\r\n0\r\n\r\n", -EBADMSG, false },
        { CHUNK "5\nhello\r\n0\r\n\r\n", -EBADMSG, false },
        { CHUNK "4\r\nhello\r\n0\r\n\r\n", -EBADMSG, false },
        { CHUNK "6\r\nhello\r\n0\r\n\r\n", -EBADMSG, false },
        { CHUNK "5\r\nhello\r\n0\r\n\r\nmore", -EBADMSG, true },
        { CHUNK "ffffffffffffffff\r\nhello", -EMSGSIZE, false },
        { CHUNK "10000000000000000000005\r\nhello", -EMSGSIZE, false },
        { CHUNK "100001\r\nhello", -EMSGSIZE, false }, /* 1 MiB and one byte */

        /* our own headers, damaged */
        { OK "Bearer-Expires-At: soon\r\n\r\n", -EBADMSG, false },
        { OK "Bearer-Expires-At: -5\r\n\r\n", -EBADMSG, false },
        { OK "Bearer-Expires-At: 99999999999999999999\r\n\r\n", -EBADMSG, false },
        { OK "Bearer-Expires-In: 1.5\r\n\r\n", -EBADMSG, false },
        { OK "Bearer-Expires-In: -1\r\n\r\n", -EBADMSG, false },
        { OK "Bearer-Fingerprint: 9f86d081884c7d6\r\n\r\n", -EBADMSG, false },
        { OK "Bearer-Fingerprint: 9f86d081884c7d6G\r\n\r\n", -EBADMSG, false },
        { OK "Bearer-Fingerprint: 9f86d081884c7d65 9f86d081884c7d65\r\n\r\n", -EBADMSG, false },
        { "HTTP/1.1 503 Busy\r\nRetry-After: 99999999999\r\n\r\n", -EBADMSG, false },
};

static void check_answer(int i, bool bytewise) {
        struct script s = { .bytes = answers[i].bytes,
                            .len = strlen(answers[i].bytes),
                            .bytewise = bytewise };
        struct wire_answer a;

        ck_assert_int_eq(call(&s, &plain_request, &a), 0);
        ck_assert_int_eq(a.status, answers[i].status);
        ck_assert_str_eq(a.body, answers[i].body);
        ck_assert_uint_eq(a.body_len, strlen(answers[i].body));
        ck_assert_int_eq(a.expires_at, answers[i].expires_at);
        ck_assert_int_eq(a.retry_after_s, answers[i].retry_after_s);
        ck_assert_str_eq(a.fingerprint, answers[i].fingerprint);
        ck_assert_str_eq(a.content_type, answers[i].content_type);
        ck_assert(!a.keep); /* it was not asked for */
        wire_answer_done(&a);
        wire_answer_done(&a);
        ck_assert_ptr_null(a.memory);
}

START_TEST(answer)
{ check_answer(_i, false); }
END_TEST

START_TEST(expires_in)
{
        struct script s = { .bytes = OK "bearer-expires-in: 3541\r\nContent-Length: 0\r\n\r\n" };
        struct wire_answer a;

        s.len = strlen(s.bytes);
        ck_assert_int_eq(call(&s, &plain_request, &a), 0);
        ck_assert_int_eq(a.expires_in_s, 3541);
        wire_answer_done(&a);
        s = (struct script){ .bytes = OK "\r\n", .len = strlen(OK "\r\n") };
        ck_assert_int_eq(call(&s, &plain_request, &a), 0);
        ck_assert_int_eq(a.expires_in_s, -1);
        wire_answer_done(&a);
}
END_TEST

START_TEST(answer_bytewise)
{ check_answer(_i, true); }
END_TEST

static void check_refusal(int i, bool bytewise) {
        static const struct wire_answer untouched = { .status = -5 };
        struct script s = { .bytes = refusals[i].bytes,
                            .len = strlen(refusals[i].bytes),
                            .bytewise = bytewise };
        struct wire_answer a = untouched;
        int r;

        r = call(&s, &plain_request, &a);
        if (r == 0 && bytewise && refusals[i].late) {
                wire_answer_done(&a);
                return;
        }
        ck_assert_int_eq(r, refusals[i].ret);
        ck_assert(memcmp(&a, &untouched, sizeof(a)) == 0);
}

START_TEST(refusal)
{ check_refusal(_i, false); }
END_TEST

START_TEST(refusal_bytewise)
{ check_refusal(_i, true); }
END_TEST

START_TEST(nul_in_head)
{
        static const char bytes[] = OK "X: a\0b\r\nContent-Length: 1\r\n\r\nx";
        struct script s = { .bytes = bytes, .len = sizeof(bytes) - 1 };
        struct wire_answer a;

        ck_assert_int_eq(call(&s, &plain_request, &a), -EBADMSG);
}
END_TEST

/* The other end answers and closes before we have written. What it said counts. */
START_TEST(answer_before_request)
{
        struct script s = { .bytes = OK "Content-Length: 3\r\n\r\n413", .deaf = true };
        struct wire_answer a;

        s.len = strlen(s.bytes);
        ck_assert_int_eq(call(&s, &plain_request, &a), 0);
        ck_assert_str_eq(a.body, "413");
        wire_answer_done(&a);
        s = (struct script){ .bytes = "", .deaf = true };
        ck_assert_int_eq(call(&s, &plain_request, &a), -ECONNRESET);
}
END_TEST

static const struct {
        const char *start; /* what stands before the filling */
        size_t filling, max;
        const char *end;
        int ret;
} sizes[] = {
        /* the head may have 8192 bytes: 17 for the status line, 3 for "X: ", 4 for the end */
        { OK "X: ", WIRE_HEAD_MAX - 17 - 3 - 4, 0, "\r\n\r\n", 0 },
        { OK "X: ", WIRE_HEAD_MAX - 17 - 3 - 3, 0, "\r\n\r\n", -EMSGSIZE },
        { OK "X: ", 1000000, 0, "\r\n\r\n", -EMSGSIZE },
        { "", 1000000, 0, "", -EMSGSIZE },
        { OK "\r\n", WIRE_BODY_MAX, 0, "", 0 },
        { OK "\r\n", WIRE_BODY_MAX + 1, 0, "", -EMSGSIZE },
        { OK "\r\n", 10, 10, "", 0 },
        { OK "\r\n", 11, 10, "", -EMSGSIZE },
        { OK "\r\n", 3000000, 4000000, "", 0 },
        { OK "Content-Length: 3000000\r\n\r\n", 3000000, 4000000, "", 0 },
        { OK "Content-Length: 3000001\r\n\r\n", 3000000, 4000000, "", -ECONNRESET },
        { OK "Content-Length: 5000000\r\n\r\n", 5000000, 4000000, "", -EMSGSIZE },
        { CHUNK "2dc6c0\r\n", 3000000, 4000000, "\r\n0\r\n\r\n", 0 },
        { CHUNK "2dc6c0\r\n", 3000000, 3000000, "\r\n1\r\nx\r\n0\r\n\r\n", -EMSGSIZE },
        { CHUNK "1;", 255, 0, "\r\nx\r\n0\r\n\r\n", -EBADMSG },
        { CHUNK "1;", 254, 0, "\r\nx\r\n0\r\n\r\n", 0 },
        { CHUNK "0\r\nX: ", WIRE_HEAD_MAX, 0, "\r\n\r\n", -EBADMSG },
};

START_TEST(size)
{
        const size_t before = strlen(sizes[_i].start), after = strlen(sizes[_i].end);
        struct wire_request request = plain_request;
        struct wire_answer a = { .status = -5 };
        struct script s = { .len = before + sizes[_i].filling + after };
        char *bytes = malloc(s.len + 1);

        memcpy(bytes, sizes[_i].start, before);
        memset(bytes + before, 'f', sizes[_i].filling);
        memcpy(bytes + before + sizes[_i].filling, sizes[_i].end, after);
        s.bytes = bytes;
        request.answer_max = sizes[_i].max;
        ck_assert_int_eq(call(&s, &request, &a), sizes[_i].ret);
        if (sizes[_i].ret == 0) {
                if (strchr(sizes[_i].start, ':') == NULL && !sizes[_i].end[0])
                        ck_assert_uint_eq(a.body_len, sizes[_i].filling);
                ck_assert(!a.body[a.body_len]);
                wire_answer_done(&a);
        } else
                ck_assert_int_eq(a.status, -5);
        free(bytes);
}
END_TEST

START_TEST(many_tiny_chunks)
{
        enum {
                N = 20000
        };
        struct script s = { .len = strlen(CHUNK) + 6 * N + 5 };
        struct wire_answer a;
        char *bytes = malloc(s.len + 1), *p = stpcpy(bytes, CHUNK);

        for (int i = 0; i < N; i++)
                p += sprintf(p, "1\r\n%c\r\n", 'a' + i % 26);
        strcpy(p, "0\r\n\r\n");
        s.bytes = bytes;
        ck_assert_int_eq(call(&s, &plain_request, &a), 0);
        ck_assert_uint_eq(a.body_len, N);
        for (int i = 0; i < N; i++)
                ck_assert_int_eq(a.body[i], 'a' + i % 26);
        wire_answer_done(&a);
        free(bytes);
}
END_TEST

START_TEST(trailer_is_bounded)
{
        char bytes[2 * WIRE_HEAD_MAX], *p = stpcpy(bytes, CHUNK "0\r\n");
        struct script s = { .bytes = bytes };
        struct wire_answer a;

        for (int i = 0; i <= WIRE_HEAD_MAX / 16; i++)
                p = stpcpy(p, "Trailer: 9 bytes\r\n"); /* 16 and the line end */
        p = stpcpy(p, "\r\n");
        s.len = (size_t) (p - bytes);
        ck_assert_int_eq(call(&s, &plain_request, &a), -EMSGSIZE);
}
END_TEST

/* Requests */

START_TEST(request_bytes)
{
        struct script s = { .bytes = OK "Content-Length: 0\r\n\r\n" };
        struct wire_request request = plain_request;
        struct wire_answer a;

        s.len = strlen(s.bytes);
        ck_assert_int_eq(call(&s, &request, &a), 0);
        ck_assert_str_eq(s.request, "GET /v1/token/bot HTTP/1.1\r\nHost: localhost\r\n"
                                    "Accept: text/plain\r\nConnection: close\r\n\r\n");
        wire_answer_done(&a);

        request.method = "PUT";
        request.accept = "application/json";
        request.body = "{\"token\":\"x\"}";
        request.body_len = 13;
        request.keep = true;
        s.request_len = 0;
        ck_assert_int_eq(call(&s, &request, &a), 0);
        ck_assert_str_eq(s.request, "PUT /v1/token/bot HTTP/1.1\r\nHost: localhost\r\n"
                                    "Accept: application/json\r\nContent-Type: application/json\r\n"
                                    "Content-Length: 13\r\n\r\n{\"token\":\"x\"}");
        ck_assert(a.keep);
        wire_answer_done(&a);
}
END_TEST

static const char *const bad_paths[] = { "/a b", "/a\r\nHost: x", "/a\tb", "/a\x7f", "/\x01" };

START_TEST(request_injection)
{
        struct script s = { .bytes = OK "\r\n", .len = 0 };
        struct wire_request request = plain_request;
        struct wire_answer a;

        request.path = bad_paths[_i];
        ck_assert_int_eq(call(&s, &request, &a), -EINVAL);
        ck_assert_uint_eq(s.request_len, 0);
}
END_TEST

/* A request goes out although it does not fit into the socket at once. */
START_TEST(request_larger_than_the_socket)
{
        enum {
                LEN = 2000
        };
        struct script s = { .bytes = OK "Content-Length: 0\r\n\r\n" };
        struct wire_request request = plain_request;
        struct wire_answer a;
        char body[LEN];
        int pair[2], small = 1;
        pthread_t thread;

        memset(body, 'b', LEN);
        s.len = strlen(s.bytes);
        request.body = body;
        request.body_len = LEN;
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
        (void) setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
        s.fd = pair[1];
        ck_assert_int_eq(pthread_create(&thread, NULL, play, &s), 0);
        ck_assert_int_eq(wire_call(pair[0], &request, &a), 0);
        pthread_join(thread, NULL);
        close(pair[0]);
        ck_assert_int_eq(memcmp(s.request + s.request_len - LEN, body, LEN), 0);
        wire_answer_done(&a);
}
END_TEST

START_TEST(timeouts)
{
        static char body[4 << 20]; /* more than any socket buffer */
        struct wire_request request = plain_request;
        struct wire_answer a = { .status = -5 };
        int pair[2];

        request.timeout_us = 20000;
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
        ck_assert_int_eq(wire_call(pair[0], &request, &a), -ETIMEDOUT); /* never answered */
        ck_assert_int_eq(write(pair[1], "HTTP/1.1 2", 10), 10);
        ck_assert_int_eq(wire_call(pair[0], &request, &a), -ETIMEDOUT); /* begun, never ended */
        request.body = body;
        request.body_len = sizeof(body);
        ck_assert_int_eq(wire_call(pair[0], &request, &a), -ETIMEDOUT); /* never read */
        ck_assert_int_eq(a.status, -5);
        close(pair[0]);
        close(pair[1]);
}
END_TEST

/* A kept connection */

static const struct {
        const char *bytes;
        bool keep;
} keeps[] = {
        { OK "Content-Length: 1\r\n\r\nx", true },
        { OK "Content-Length: 1\r\nConnection: keep-alive\r\n\r\nx", true },
        { OK "Content-Length: 1\r\nConnection: Close\r\n\r\nx", false },
        { OK "Content-Length: 1\r\nConnection: x, close\r\n\r\nx", false },
        { "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", false },
        { CHUNK "1\r\nx\r\n0\r\n\r\n", true },
        { OK "\r\nx", false },
};

START_TEST(kept)
{
        struct wire_request request = plain_request;
        struct wire_answer a;
        struct script s = { .bytes = keeps[_i].bytes, .len = strlen(keeps[_i].bytes) };

        request.keep = true;
        ck_assert_int_eq(call(&s, &request, &a), 0);
        ck_assert_int_eq(a.keep, keeps[_i].keep);
        wire_answer_done(&a);
}
END_TEST

START_TEST(two_calls_on_one_connection)
{
        static const char bytes[] = OK "Content-Length: 1\r\n\r\nx";
        struct wire_request request = plain_request;
        struct wire_answer a;
        int pair[2];

        request.keep = true;
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
        for (int i = 0; i < 2; i++) {
                ck_assert_int_eq(write(pair[1], bytes, sizeof(bytes) - 1), sizeof(bytes) - 1);
                ck_assert_int_eq(wire_call(pair[0], &request, &a), 0);
                ck_assert(a.keep);
                ck_assert_str_eq(a.body, "x");
                wire_answer_done(&a);
        }
        close(pair[1]);
        ck_assert_int_eq(wire_call(pair[0], &request, &a), -ECONNRESET); /* gone stale */
        close(pair[0]);
}
END_TEST

/* Wiping */

static const char canary[] = "czs_canary_that_must_not_survive";
static int releases, leaks;

static void look_at_release(const void *bytes, size_t capacity) {
        releases++;
        leaks += memmem(bytes, capacity, "canary", 6) != NULL;
}

static const struct {
        const char *head;
        bool fails;
} wiped[] = {
        { OK "Content-Length: 9032\r\n\r\n", false },
        { OK "\r\n", false },
        { CHUNK "2348\r\n", true },                  /* never ends */
        { OK "Content-Length: 9033\r\n\r\n", true }, /* cut short */
        { OK "Content-Length: 9031\r\n\r\n", true }, /* too long */
};

/* The answer outgrows its first block: both must be wiped, whether it is handed out or refused. */
START_TEST(wipes_every_block)
{
        struct wire_answer a = { 0 };
        char bytes[9032 + 128];
        struct script s = { .bytes = bytes };
        char *p = stpcpy(bytes, wiped[_i].head);
        int r;

        for (size_t i = 0; i < 9000; i += sizeof(canary) - 1)
                memcpy(p + i, canary, sizeof(canary) - 1);
        p[9000] = 'x';
        memset(p + 9000, 'x', 32);
        s.len = (size_t) (p - bytes) + 9032;
        releases = leaks = 0;
        wire_release_hook = look_at_release;
        r = call(&s, &plain_request, &a);
        ck_assert_int_eq(r < 0, wiped[_i].fails);
        if (r == 0)
                ck_assert_ptr_nonnull(memmem(a.memory, a.capacity, "canary", 6)); /* it was there */
        wire_answer_done(&a);
        wire_release_hook = NULL;
        ck_assert_int_ge(releases, 2);
        ck_assert_int_eq(leaks, 0);
}
END_TEST

static void add(TCase *tc) {
        tcase_set_timeout(tc, 60);
        tcase_add_loop_test(tc, name, 0, N_ELEMENTS(names));
        tcase_add_test(tc, name_length);
        tcase_add_loop_test(tc, path_value, 0, N_ELEMENTS(values));
        tcase_add_test(tc, path_is_bounded);
        tcase_add_test(tc, socket_choice);
        tcase_add_test(tc, connect_refusals);
        tcase_add_test(tc, connect_to_full_backlog);
        tcase_add_loop_test(tc, answer, 0, N_ELEMENTS(answers));
        tcase_add_test(tc, expires_in);
        tcase_add_loop_test(tc, answer_bytewise, 0, N_ELEMENTS(answers));
        tcase_add_loop_test(tc, refusal, 0, N_ELEMENTS(refusals));
        tcase_add_loop_test(tc, refusal_bytewise, 0, N_ELEMENTS(refusals));
        tcase_add_test(tc, nul_in_head);
        tcase_add_test(tc, answer_before_request);
        tcase_add_loop_test(tc, size, 0, N_ELEMENTS(sizes));
        tcase_add_test(tc, many_tiny_chunks);
        tcase_add_test(tc, trailer_is_bounded);
        tcase_add_test(tc, request_bytes);
        tcase_add_loop_test(tc, request_injection, 0, N_ELEMENTS(bad_paths));
        tcase_add_test(tc, request_larger_than_the_socket);
        tcase_add_test(tc, timeouts);
        tcase_add_loop_test(tc, kept, 0, N_ELEMENTS(keeps));
        tcase_add_test(tc, two_calls_on_one_connection);
        tcase_add_loop_test(tc, wipes_every_block, 0, N_ELEMENTS(wiped));
}

CHECK_MAIN("wire", add)
