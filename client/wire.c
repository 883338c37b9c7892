#include "client/wire.h"

/*
 * An answer is read into one block: head, then body behind it, so that the common answer costs one
 * allocation, one poll() and one recv(). A block that grows is copied, wiped and freed. Chunks are
 * decoded in place: the decoded body ends at `body_end`, what is not yet decoded begins at `raw`.
 *
 * Bytes behind the end of an answer are an error, not the start of the next one: we never send
 * a second request before the first is answered, so a length has been wrong, and a token that is
 * cut short must not be handed out.
 */

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "client/protocol.h"

#define WIRE_FIRST_CAPACITY 4096 /* holds all but unusually long tokens and lists */

_Static_assert(sizeof(((struct sockaddr_un *) 0)->sun_path) == WIRE_SOCKET_MAX, "sun_path");

void (*wire_release_hook)(const void *bytes, size_t capacity);

static void wire_release(char *memory, size_t capacity) {
        if (!memory)
                return;
        explicit_bzero(memory, capacity);
        if (wire_release_hook)
                wire_release_hook(memory, capacity);
        free(memory);
}

void wire_answer_done(struct wire_answer *answer) {
        wire_release(answer->memory, answer->capacity);
        *answer = (struct wire_answer){ 0 };
}

/* The request's path */

static bool wire_is_plain(char c) { /* RFC 3986 section 2.3; the letters of a name are among them */
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '-' || c == '.' || c == '_' || c == '~';
}

bool wire_is_name(const char *name) {
        size_t n = strlen(name);

        if (n == 0 || n > PROTOCOL_NAME_MAX || name[0] == '.' || name[0] == '-')
                return false;
        for (size_t i = 0; i < n; i++)
                if (!wire_is_plain(name[i]) || name[i] == '~')
                        return false;
        return true;
}

int wire_path_begin(struct wire_path *path, const char *prefix, const char *name,
                    const char *suffix) {
        int n;

        if (!wire_is_name(name))
                return -EINVAL;
        n = snprintf(path->text, sizeof(path->text), "%s%s%s", prefix, name, suffix);
        if (n < 0 || (size_t) n >= sizeof(path->text))
                return -EINVAL;
        path->len = (size_t) n;
        return 0;
}

int wire_path_add(struct wire_path *path, const char *key, const char *value) {
        static const char digits[] = "0123456789ABCDEF";
        const size_t most = 1 + strlen(key) + 1 +
                            3 * strlen(value); /* "?key=" and all of it encoded */
        char *p = path->text + path->len;

        if (most >= sizeof(path->text) - path->len)
                return -ENOBUFS;
        *p++ = memchr(path->text, '?', path->len) ? '&' : '?';
        p = stpcpy(p, key);
        *p++ = '=';
        for (; *value; value++) {
                unsigned char c = (unsigned char) *value;

                if (wire_is_plain(*value)) {
                        *p++ = *value;
                        continue;
                }
                *p++ = '%';
                *p++ = digits[c >> 4];
                *p++ = digits[c & 15];
        }
        *p = '\0';
        path->len = (size_t) (p - path->text);
        return 0;
}

int wire_path_add_number(struct wire_path *path, const char *key, int64_t value) {
        char text[24];

        (void) snprintf(text, sizeof(text), "%" PRId64, value); /* always fits */
        return wire_path_add(path, key, text);
}

/* The connection */

int wire_find_socket(char ret[WIRE_SOCKET_MAX]) {
        const char *named = secure_getenv(PROTOCOL_SOCKET_ENV);
        const char *runtime = secure_getenv("XDG_RUNTIME_DIR");
        char path[WIRE_SOCKET_MAX];
        int n;

        if (named && *named) {
                if (strlen(named) >= WIRE_SOCKET_MAX)
                        return -ENAMETOOLONG;
                strcpy(ret, named);
                return 0;
        }
        if (runtime && *runtime == '/') {
                n = snprintf(path, sizeof(path), "%s/%s", runtime, PROTOCOL_SOCKET_USER);
                if (n > 0 && (size_t) n < sizeof(path) && access(path, F_OK) == 0) {
                        strcpy(ret, path);
                        return 0;
                }
        }
        strcpy(ret, PROTOCOL_SOCKET_SYSTEM);
        return 0;
}

static int64_t wire_now_us(void) {
        struct timespec t;

        (void) clock_gettime(CLOCK_BOOTTIME, &t); /* cannot fail on Linux */
        return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
}

static int64_t wire_deadline(int64_t timeout_us) {
        int64_t deadline;

        return __builtin_add_overflow(wire_now_us(), timeout_us, &deadline) ? INT64_MAX : deadline;
}

/* A Unix socket connects at once, unless the backlog is full: then connect() waits as long as a
 * send may. */
int wire_connect(const char *socket_path, int64_t timeout_us, int *ret_fd) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        struct timeval patience = { .tv_sec = timeout_us / 1000000,
                                    .tv_usec = timeout_us % 1000000 };
        int fd, r;

        if (!*socket_path)
                return -EINVAL;
        if (strlen(socket_path) >= sizeof(address.sun_path))
                return -ENAMETOOLONG;
        strcpy(address.sun_path, socket_path);

        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -errno;
        r = setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
        while (r == 0) {
                r = connect(fd, (const struct sockaddr *) &address, sizeof(address));
                if (r == 0) {
                        *ret_fd = fd;
                        return 0;
                }
                if (errno == EINTR)
                        r = 0;
        }
        r = errno == EAGAIN ? -ETIMEDOUT : -errno;
        (void) close(fd); /* nothing was sent */
        return r;
}

static int wire_wait(int fd, short events, int64_t deadline) {
        struct pollfd p = { .fd = fd, .events = events };

        for (;;) {
                int64_t left_ms = (deadline - wire_now_us() + 999) / 1000;
                int r;

                if (left_ms <= 0)
                        return -ETIMEDOUT;
                r = poll(&p, 1, left_ms > 3600000 ? 3600000 : (int) left_ms);
                if (r > 0)
                        return 0;
                if (r < 0 && errno != EINTR)
                        return -errno;
        }
}

static int wire_send_pieces(int fd, struct iovec iov[2], int64_t deadline) {
        struct msghdr message = { .msg_iov = iov, .msg_iovlen = 2 };

        while (iov[0].iov_len + iov[1].iov_len > 0) {
                ssize_t n = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
                size_t sent;
                int r;

                if (n < 0) {
                        if (errno == EPIPE || errno == ECONNRESET)
                                return 0; /* it may have answered all the same: receive on */
                        if (errno == EINTR)
                                continue;
                        if (errno != EAGAIN)
                                return -errno;
                        r = wire_wait(fd, POLLOUT, deadline);
                        if (r < 0)
                                return r;
                        continue;
                }
                sent = (size_t) n;
                for (int i = 0; i < 2; i++) {
                        size_t k = sent < iov[i].iov_len ? sent : iov[i].iov_len;

                        iov[i].iov_base = (char *) iov[i].iov_base + k;
                        iov[i].iov_len -= k;
                        sent -= k;
                }
        }
        return 0;
}

int wire_format_head(const struct wire_request *request, char ret[WIRE_REQUEST_HEAD_MAX],
                     size_t *ret_len) {
        char about_body[96] = "";
        int n;

        for (const char *p = request->path; *p; p++)
                if ((unsigned char) *p <= 0x20 || *p == 0x7f)
                        return -EINVAL;
        if (request->body)
                (void) snprintf(about_body, sizeof(about_body),
                                "Content-Type: application/json\r\nContent-Length: %zu\r\n",
                                request->body_len); /* always fits */
        n = snprintf(ret, WIRE_REQUEST_HEAD_MAX,
                     "%s %s HTTP/1.1\r\nHost: localhost\r\nAccept: %s\r\n%s%s\r\n", request->method,
                     request->path, request->accept, about_body,
                     request->keep ? "" : "Connection: close\r\n");
        if (n < 0 || n >= WIRE_REQUEST_HEAD_MAX)
                return -EINVAL;
        *ret_len = (size_t) n;
        return 0;
}

static int wire_send_until(int fd, const struct wire_request *request, int64_t deadline) {
        char head[WIRE_REQUEST_HEAD_MAX];
        struct iovec iov[2];
        size_t len;
        int r;

        r = wire_format_head(request, head, &len);
        if (r < 0)
                return r;
        iov[0] = (struct iovec){ head, len };
        iov[1] = request->body ? (struct iovec){ (void *) request->body, request->body_len }
                               : (struct iovec){ head, 0 };
        return wire_send_pieces(fd, iov, deadline);
}

/* The answer's head */

static bool wire_is_digits(const char *p) {
        return *p && p[strspn(p, "0123456789")] == '\0';
}

/* A number without sign, of at most `max`. 0 or -EBADMSG. */
static int wire_parse_number(const char *p, int64_t max, int64_t *ret) {
        intmax_t v;

        if (!wire_is_digits(p))
                return -EBADMSG;
        errno = 0;
        v = strtoimax(p, NULL, 10);
        if (errno == ERANGE || v > max)
                return -EBADMSG;
        *ret = v;
        return 0;
}

static int wire_parse_status(const char *line, struct wire_head *head) {
        int64_t status;
        char digits[4];
        int r;

        if (strncmp(line, "HTTP/1.", 7) != 0 || (line[7] != '0' && line[7] != '1') ||
            line[8] != ' ' || strlen(line) < 12 || (line[12] != ' ' && line[12] != '\0'))
                return -EBADMSG;
        memcpy(digits, line + 9, 3);
        digits[3] = '\0';
        r = wire_parse_number(digits, 599, &status);
        if (r < 0 || status < 100)
                return -EBADMSG;
        head->answer.status = (int) status;
        head->close = line[7] == '0';
        return 0;
}

static int wire_take_length(struct wire_head *head, const char *value) {
        if (head->length >= 0)
                return -EBADMSG;
        return wire_parse_number(value, INT64_MAX, &head->length);
}

static int wire_take_encoding(struct wire_head *head, const char *value) {
        if (head->chunked || strcasecmp(value, "chunked") != 0)
                return -EBADMSG;
        head->chunked = true;
        return 0;
}

static int wire_take_connection(struct wire_head *head, const char *value) {
        if (strcasestr(value, "close"))
                head->close = true;
        return 0;
}

static int wire_take_type(struct wire_head *head, const char *value) {
        size_t n = strcspn(value, "; \t");

        if (n >= WIRE_TYPE_SIZE)
                n = WIRE_TYPE_SIZE - 1;
        for (size_t i = 0; i < n; i++)
                head->answer.content_type[i] = (char) (value[i] >= 'A' && value[i] <= 'Z'
                                                               ? value[i] + 32
                                                               : value[i]);
        head->answer.content_type[n] = '\0';
        return 0;
}

static int wire_take_expires_at(struct wire_head *head, const char *value) {
        return wire_parse_number(value, INT64_MAX, &head->answer.expires_at);
}

static int wire_take_expires_in(struct wire_head *head, const char *value) {
        return wire_parse_number(value, INT64_MAX, &head->answer.expires_in_s);
}

static int wire_take_fingerprint(struct wire_head *head, const char *value) {
        if (strlen(value) != WIRE_FINGERPRINT_LEN ||
            value[strspn(value, "0123456789abcdef")] != '\0')
                return -EBADMSG;
        strcpy(head->answer.fingerprint, value);
        return 0;
}

static int wire_take_retry_after(struct wire_head *head, const char *value) {
        if (wire_is_digits(value)) /* the other form is a date, which the daemon never sends */
                return wire_parse_number(value, INT32_MAX, &head->answer.retry_after_s);
        return 0;
}

static const struct {
        const char *name;
        int (*take)(struct wire_head *head, const char *value);
} wire_headers[] = {
        { "Content-Length", wire_take_length },
        { "Transfer-Encoding", wire_take_encoding },
        { "Connection", wire_take_connection },
        { "Content-Type", wire_take_type },
        { PROTOCOL_HEADER_EXPIRES_AT, wire_take_expires_at },
        { PROTOCOL_HEADER_EXPIRES_IN, wire_take_expires_in },
        { PROTOCOL_HEADER_FINGERPRINT, wire_take_fingerprint },
        { "Retry-After", wire_take_retry_after },
};

static int wire_parse_header(char *line, struct wire_head *head) {
        char *colon = strchr(line, ':'), *value, *end;

        if (!colon || colon == line)
                return -EBADMSG;
        *colon = '\0';
        if (strpbrk(line,
                    " \t\"(),/;<=>?@[\\]{}")) /* also a folded line, and a blank before the colon */
                return -EBADMSG;
        value = colon + 1 + strspn(colon + 1, " \t");
        for (end = value + strlen(value); end > value && (end[-1] == ' ' || end[-1] == '\t'); end--)
                ;
        *end = '\0';
        for (size_t i = 0; i < sizeof(wire_headers) / sizeof(wire_headers[0]); i++)
                if (strcasecmp(line, wire_headers[i].name) == 0)
                        return wire_headers[i].take(head, value);
        return 0;
}

/* `text` is the whole head; its last four bytes are the empty line. Lines are cut in place. */
static int wire_parse_head(char *text, size_t len, struct wire_head *head) {
        char *const end = text + len - 2;
        bool first = true;
        int r;

        *head = (struct wire_head){
                .answer = { .expires_at = -1, .expires_in_s = -1, .retry_after_s = -1 },
                .length = -1
        };
        for (char *line = text, *next; line < end; line = next, first = false) {
                next = memmem(line, (size_t) (end + 2 - line), "\r\n", 2);
                *next = '\0';
                for (const char *p = line; p < next; p++)
                        if (((unsigned char) *p < 0x20 && *p != '\t') || *p == 0x7f)
                                return -EBADMSG; /* also a lone CR, LF or NUL */
                next += 2;
                r = first ? wire_parse_status(line, head) : wire_parse_header(line, head);
                if (r < 0)
                        return r;
        }
        if (first || (head->chunked && head->length >= 0))
                return -EBADMSG;
        return 0;
}

/* Reading */

void wire_reading_begin(struct wire_reading *rd, const struct wire_request *request) {
        *rd = (struct wire_reading){
                .keep = request->keep,
                .body_max = request->answer_max ? request->answer_max : WIRE_BODY_MAX,
        };
}

void wire_reading_done(struct wire_reading *rd) {
        wire_release(rd->memory, rd->capacity);
        *rd = (struct wire_reading){ 0 };
}

/* One byte more than `room` is kept free, for the NUL behind the body. */
static int wire_reserve(struct wire_reading *rd, size_t room) {
        size_t capacity = rd->capacity ? rd->capacity : WIRE_FIRST_CAPACITY;
        char *memory;

        if (rd->memory && rd->capacity - rd->used > room)
                return 0;
        while (capacity - rd->used <= room)
                capacity *= 2;
        memory = malloc(capacity);
        if (!memory)
                return -ENOMEM;
        if (rd->memory)
                memcpy(memory, rd->memory, rd->used);
        wire_release(rd->memory, rd->capacity);
        rd->memory = memory;
        rd->capacity = capacity;
        return 0;
}

/* How the body's end will be known, once the head is there. */
static int wire_expect_body(struct wire_reading *rd) {
        struct wire_head *head = &rd->head;

        if (head->answer.status == 204 || head->answer.status == 304)
                head->length = 0;
        else if (head->chunked) {
                rd->state = WIRE_CHUNK_SIZE;
                return 1;
        }
        if (head->length < 0) {
                head->close = true;
                rd->state = WIRE_UNTIL_CLOSE;
                return 1;
        }
        if ((uint64_t) head->length > rd->body_max)
                return -EMSGSIZE;
        rd->body_end = rd->body + (size_t) head->length;
        rd->state = WIRE_COUNTED;
        return 1;
}

/* Each of the functions below: 1: done, the state has changed; 0: more bytes are needed; negative
 * errno. */

static int wire_read_head(struct wire_reading *rd) {
        int r;

        for (;;) {
                char *end = rd->used ? memmem(rd->memory, rd->used, "\r\n\r\n", 4) : NULL;
                size_t len;

                if (!end)
                        return rd->used >= WIRE_HEAD_MAX ? -EMSGSIZE : 0;
                len = (size_t) (end - rd->memory) + 4;
                if (len > WIRE_HEAD_MAX)
                        return -EMSGSIZE;
                r = wire_parse_head(rd->memory, len, &rd->head);
                if (r < 0)
                        return r;
                if (rd->head.answer.status >= 200) {
                        rd->body = rd->body_end = len;
                        return wire_expect_body(rd);
                }
                if (rd->head.answer.status == 101) /* nobody asked for another protocol */
                        return -EBADMSG;
                rd->used -= len; /* an interim answer: the real one follows */
                memmove(rd->memory, rd->memory + len, rd->used);
        }
}

static int wire_read_counted(struct wire_reading *rd) {
        if (rd->used < rd->body_end)
                return 0;
        return rd->used > rd->body_end ? -EBADMSG : 1;
}

static int wire_read_until_close(struct wire_reading *rd, bool ended) {
        if (rd->used - rd->body > rd->body_max)
                return -EMSGSIZE;
        rd->body_end = rd->used;
        return ended;
}

static int wire_hex(char c) {
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        if (c >= 'A' && c <= 'F')
                return c - 'A' + 10;
        return -1;
}

/* "1a2b" or "1a2b;name=value". The size must lie within what the body may still grow. */
static int wire_parse_chunk_size(const char *line, size_t len, size_t max, size_t *ret) {
        size_t size = 0, i;

        for (i = 0; i < len && line[i] != ';'; i++) {
                int digit = wire_hex(line[i]);

                if (digit < 0)
                        return -EBADMSG;
                size = size * 16 + (size_t) digit;
                if (size > max)
                        return -EMSGSIZE;
        }
        if (i == 0)
                return -EBADMSG;
        *ret = size;
        return 0;
}

/* Takes one line, one run of data or one line end from the undecoded bytes [*raw, used). */
static int wire_decode_step(struct wire_reading *rd, size_t *raw) {
        char *from = rd->memory + *raw, *eol;
        size_t n = rd->used - *raw;
        int r;

        if (rd->state == WIRE_CHUNK_DATA) {
                if (n > rd->chunk_left)
                        n = rd->chunk_left;
                memmove(rd->memory + rd->body_end, from, n);
                rd->body_end += n;
                *raw += n;
                rd->chunk_left -= n;
                if (rd->chunk_left > 0)
                        return 0;
                rd->state = WIRE_CHUNK_DATA_END;
                return 1;
        }
        eol = memmem(from, n, "\r\n", 2);
        if (!eol)
                return n > WIRE_CHUNK_LINE_MAX ? -EBADMSG : 0;
        n = (size_t) (eol - from);
        if (n > WIRE_CHUNK_LINE_MAX)
                return -EBADMSG;
        *raw += n + 2;
        if (rd->state == WIRE_CHUNK_DATA_END) {
                rd->state = WIRE_CHUNK_SIZE;
                return n == 0 ? 1 : -EBADMSG;
        }
        if (rd->state == WIRE_CHUNK_TRAILER) {
                rd->trailer += n;
                if (n == 0)
                        rd->state = WIRE_CHUNK_DONE;
                return rd->trailer > WIRE_HEAD_MAX ? -EMSGSIZE : n > 0;
        }
        r = wire_parse_chunk_size(from, n, rd->body_max - (rd->body_end - rd->body),
                                  &rd->chunk_left);
        if (r < 0)
                return r;
        rd->state = rd->chunk_left > 0 ? WIRE_CHUNK_DATA : WIRE_CHUNK_TRAILER;
        return 1;
}

static int wire_read_chunked(struct wire_reading *rd) {
        size_t raw = rd->body_end;
        int r;

        do
                r = wire_decode_step(rd, &raw);
        while (r > 0);
        if (r < 0)
                return r;
        memmove(rd->memory + rd->body_end, rd->memory + raw, rd->used - raw);
        rd->used -= raw - rd->body_end;
        if (rd->state != WIRE_CHUNK_DONE)
                return 0;
        return rd->used > rd->body_end ? -EBADMSG : 1;
}

static int wire_read_on(struct wire_reading *rd, bool ended) {
        int r = 1;

        if (rd->state == WIRE_HEAD)
                r = wire_read_head(rd);
        if (r == 1 && rd->state == WIRE_COUNTED)
                r = wire_read_counted(rd);
        else if (r == 1 && rd->state == WIRE_UNTIL_CLOSE)
                r = wire_read_until_close(rd, ended);
        else if (r == 1)
                r = wire_read_chunked(rd);
        return r == 0 && ended ? -ECONNRESET : r;
}

static int wire_fill(struct wire_reading *rd, int fd) {
        size_t room = rd->state == WIRE_COUNTED ? rd->body_end - rd->used : 1;
        ssize_t n;
        int r;

        r = wire_reserve(rd, room);
        if (r < 0)
                return r;
        do
                n = recv(fd, rd->memory + rd->used, rd->capacity - rd->used - 1, MSG_DONTWAIT);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return errno == EAGAIN ? 0 : -errno;
        rd->used += (size_t) n;
        return wire_read_on(rd, n == 0);
}

int wire_receive_some(int fd, struct wire_reading *rd, struct wire_answer *ret) {
        int r;

        r = wire_fill(rd, fd);
        if (r < 0)
                wire_reading_done(rd);
        if (r <= 0)
                return r;
        *ret = rd->head.answer;
        ret->keep = rd->keep && !rd->head.close;
        ret->memory = rd->memory;
        ret->capacity = rd->capacity;
        ret->body = rd->memory + rd->body;
        ret->body_len = rd->body_end - rd->body;
        ret->body[ret->body_len] = '\0';
        *rd = (struct wire_reading){ 0 };
        return 1;
}

static int wire_receive_until(int fd, const struct wire_request *request, int64_t deadline,
                              struct wire_answer *ret) {
        struct wire_reading rd;
        int r;

        wire_reading_begin(&rd, request);
        do {
                r = wire_wait(fd, POLLIN, deadline);
                if (r < 0) {
                        wire_reading_done(&rd);
                        return r;
                }
                r = wire_receive_some(fd, &rd, ret);
        } while (r == 0);
        return r < 0 ? r : 0;
}

int wire_send(int fd, const struct wire_request *request) {
        return wire_send_until(fd, request, wire_deadline(request->timeout_us));
}

int wire_receive(int fd, const struct wire_request *request, struct wire_answer *ret) {
        return wire_receive_until(fd, request, wire_deadline(request->timeout_us), ret);
}

int wire_call(int fd, const struct wire_request *request, struct wire_answer *ret) {
        const int64_t deadline = wire_deadline(request->timeout_us);
        int r;

        r = wire_send_until(fd, request, deadline);
        if (r < 0)
                return r;
        return wire_receive_until(fd, request, deadline, ret);
}
