#include "client/events.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "client/protocol.h"

#define EVENTS_CONNECT_US INT64_C(5000000)
#define EVENTS_READ       4096 /* bytes at once, at least */

static int64_t events_now(void) {
        struct timespec t;

        (void) clock_gettime(CLOCK_BOOTTIME, &t); /* cannot fail on Linux */
        return t.tv_sec;
}

void events_close(struct events *e) {
        if (e->fd >= 0)
                (void) close(e->fd);
        e->fd = -1;
        e->begin = e->used = 0;
        e->status = 0;
}

void events_done(struct events *e) {
        events_close(e);
        free(e->buffer);
        *e = EVENTS_NONE;
}

int events_open(struct events *e, const char *socket_path, const struct wire_path *path) {
        char request[WIRE_PATH_MAX + EVENTS_ID_SIZE + 128];
        int n, r;

        events_close(e);
        n = snprintf(
                request, sizeof(request),
                "GET %s HTTP/1.0\r\nHost: localhost\r\nAccept: text/event-stream\r\n%s%s%s\r\n",
                path->text, *e->id ? PROTOCOL_HEADER_LAST_EVENT_ID ": " : "", e->id,
                *e->id ? "\r\n" : "");
        if (n < 0 || (size_t) n >= sizeof(request))
                return -EINVAL;
        r = wire_connect(socket_path, EVENTS_CONNECT_US, &e->fd);
        if (r < 0)
                return r;
        e->heard = events_now();
        /* a new connection has room for all of it; if it has gone, reading tells */
        (void) !send(e->fd, request, (size_t) n, MSG_NOSIGNAL);
        return 0;
}

/* --- bytes and lines --- */

static int events_make_room(struct events *e) {
        size_t capacity = e->capacity ? 2 * e->capacity : 4 * EVENTS_READ;
        char *buffer;

        if (e->begin > 0) {
                memmove(e->buffer, e->buffer + e->begin, e->used - e->begin);
                e->used -= e->begin;
                e->begin = 0;
        }
        if (e->capacity - e->used > EVENTS_READ)
                return 0;
        if (capacity > EVENTS_LINE_MAX)
                return -EBADMSG;
        buffer = realloc(e->buffer, capacity); /* it holds no secret */
        if (!buffer)
                return -ENOMEM;
        e->buffer = buffer;
        e->capacity = capacity;
        return 0;
}

/* Reads some more. 0; -ETIMEDOUT; -ECONNRESET: that was all. */
static int events_fill(struct events *e, int timeout_ms) {
        struct pollfd p = { .fd = e->fd, .events = POLLIN };
        ssize_t n;
        int r;

        r = poll(&p, 1, timeout_ms);
        if (r == 0)
                return events_now() - e->heard > EVENTS_SILENCE_S ? -ECONNRESET : -ETIMEDOUT;
        if (r < 0)
                return errno == EINTR ? -ETIMEDOUT : -errno;
        r = events_make_room(e);
        if (r < 0)
                return r;
        n = read(e->fd, e->buffer + e->used, e->capacity - e->used - 1);
        if (n < 0)
                return errno == EINTR ? -ETIMEDOUT : -errno;
        if (n == 0)
                return -ECONNRESET;
        e->used += (size_t) n;
        e->heard = events_now();
        return 0;
}

/* The end of a head or an event, "\n\n", from `begin` on; NULL: not all of it is there. */
static char *events_find_end(const struct events *e, const char *end) {
        return e->used > e->begin
                       ? memmem(e->buffer + e->begin, e->used - e->begin, end, strlen(end))
                       : NULL;
}

/* --- the head --- */

/* 0: it is a stream; else as events_next(). */
static int events_take_head(struct events *e) {
        char *end = events_find_end(e, "\r\n\r\n"), *head = e->buffer + e->begin;

        if (!end)
                return e->used - e->begin > WIRE_HEAD_MAX ? -EBADMSG : -EAGAIN;
        *end = '\0';
        if (strncmp(head, "HTTP/1.", 7) != 0 || strlen(head) < 12)
                return -EBADMSG;
        e->status = atoi(head + 9);
        e->begin = (size_t) (end + 4 - e->buffer);
        if (e->status == 200)
                return strcasestr(head, "text/event-stream") ? 0 : -EBADMSG;
        return -EPROTO;
}

/* The rest of an answer that is no stream, as a text. */
static int events_take_body(struct events *e, const char **ret_data) {
        int r;

        do {
                r = e->used - e->begin > WIRE_BODY_MAX ? -ECONNRESET
                                                       : events_fill(e, EVENTS_SILENCE_S * 1000);
        } while (r == 0);
        if (events_make_room(e) < 0)
                return -ENOMEM;
        e->buffer[e->used] = '\0';
        *ret_data = e->buffer + e->begin;
        return -EPROTO;
}

/* --- events --- */

/* Takes what is there up to the next empty line. 1: an event; 0: something else, say a comment. */
static int events_take(struct events *e, char *end, char ret_type[EVENTS_TYPE_SIZE],
                       const char **ret_data) {
        char *line = e->buffer + e->begin, *next;
        const char *data = NULL, *id = NULL, *type = "message";

        e->begin = (size_t) (end + 2 - e->buffer);
        for (; line < end; line = next) {
                next = memchr(line, '\n', (size_t) (end - line));
                next = next ? next + 1 : end + 1;
                next[-1] = '\0';
                if (strncmp(line, "id: ", 4) == 0)
                        id = line + 4;
                else if (strncmp(line, "event: ", 7) == 0)
                        type = line + 7;
                else if (strncmp(line, "data: ", 6) == 0)
                        data = line + 6;
        }
        if (id && strlen(id) < sizeof(e->id))
                strcpy(e->id, id);
        if (!data)
                return 0;
        (void) snprintf(ret_type, EVENTS_TYPE_SIZE, "%s", type);
        *ret_data = data;
        return 1;
}

int events_next(struct events *e, int timeout_ms, char ret_type[EVENTS_TYPE_SIZE],
                const char **ret_data) {
        char *end;
        int r;

        if (e->fd < 0)
                return -ECONNRESET;
        for (;;) {
                r = e->status ? 0 : events_take_head(e);
                if (r == -EPROTO)
                        return events_take_body(e, ret_data);
                if (r < 0 && r != -EAGAIN)
                        return r;
                while (r == 0 && (end = events_find_end(e, "\n\n")))
                        if (events_take(e, end, ret_type, ret_data) > 0)
                                return 0;
                r = events_fill(e, timeout_ms);
                if (r < 0)
                        return r;
        }
}
