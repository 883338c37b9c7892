/*
 * bearer_watch(): what happens to credentials, as it happens
 *
 * GET /v1/events on a connection of its own, driven by bearer_process(). When the daemon hangs up, or
 * is silent for longer than its heartbeat allows, the watch comes back with the last id that it has
 * seen. Tokens that something has happened to are asked for anew at their next use.
 *
 * Threading: bearer_lock; callbacks without it.
 * Sources:   the HTML standard, server-sent events.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/libbearer/client.h"
#include "client/libbearer/json.h"
#include "client/protocol.h"

#define WATCH_SILENCE_US   INT64_C(60000000) /* the heartbeat comes each 15 s */
#define WATCH_FIRST_PAUSE  INT64_C(10000)
#define WATCH_PAUSE_MAX_US INT64_C(1000000)
#define WATCH_EVENT_MAX    1048576

struct bearer_event {
        struct bearer_event *next;
        struct bearer_watch *watch;
        struct failure failure; /* failure.r < 0: the watch is over */
        char type[32], credential[PROTOCOL_NAME_MAX + 1], subject[PROTOCOL_SUBJECT_MAX + 1];
        char fingerprint[TOKEN_FINGERPRINT];
        char json[];
};

/* Its length. */
static size_t watch_request(const struct bearer_watch *w, char ret[WATCH_REQUEST_SIZE]) {
        return (size_t) snprintf(
                ret, WATCH_REQUEST_SIZE,
                "GET %s HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n%s%s%s\r\n",
                w->path, *w->last_id ? PROTOCOL_HEADER_LAST_EVENT_ID ": " : "", w->last_id,
                *w->last_id ? "\r\n" : ""); /* fits: each part is bounded */
}

void watch_hang_up(struct bearer_watch *w) {
        if (w->fd >= 0) {
                if (w->client->epoll_fd >= 0)
                        (void) epoll_ctl(w->client->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
                (void) close(w->fd); /* nothing more is expected from there */
        }
        w->fd = -1;
        wire_reading_done(&w->reading);
}

static void watch_pause(struct bearer_watch *w, int64_t now_us) {
        watch_hang_up(w);
        w->wakes_us = now_us + w->pause_us;
        w->pause_us = w->pause_us * 2 < WATCH_PAUSE_MAX_US ? w->pause_us * 2 : WATCH_PAUSE_MAX_US;
}

static struct bearer_watch *watch_unref(struct bearer_watch *w) {
        if (--w->refs == 0)
                free(w);
        return NULL;
}

static void watch_queue(struct bearer_watch *w, struct bearer_event *e) {
        struct bearer_event **end = &w->client->events;

        while (*end)
                end = &(*end)->next;
        e->next = NULL;
        e->watch = w;
        w->refs++;
        *end = e;
}

static struct bearer_event *watch_event_new(size_t len) {
        struct bearer_event *e = calloc(1, sizeof(*e) + len + 1);

        if (e)
                e->failure.retry_after_s = -1;
        return e;
}

static void watch_token_changed(struct bearer *client, const struct bearer_event *e) {
        char rest[PROTOCOL_SUBJECT_MAX + 8] = "";

        if (!*e->credential)
                return;
        if (*e->subject)
                (void) snprintf(rest, sizeof(rest), "\n%s\n0\n\n", e->subject);
        client_make_due(client, e->credential, rest, e->fingerprint);
}

/* One event: `text` of its lines, each ended by a line feed. False: out of memory. */
static bool watch_take(struct bearer_watch *w, char *text, size_t len) {
        char *data = NULL, *type = NULL, *id = NULL, *next;
        struct bearer_event *e = NULL;

        for (char *line = text; line < text + len; line = next) {
                next = memchr(line, '\n', (size_t) (text + len - line));
                *next++ = '\0';
                if (next - line >= 2 && next[-2] == '\r')
                        next[-2] = '\0';
                if (strncmp(line, "data:", 5) == 0)
                        data = line + 5 + (line[5] == ' ');
                else if (strncmp(line, "event:", 6) == 0)
                        type = line + 6 + (line[6] == ' ');
                else if (strncmp(line, "id:", 3) == 0 && strlen(line) < WATCH_ID_SIZE + 3)
                        id = line + 3 + (line[3] == ' ');
        }
        if (data && type) {
                e = watch_event_new(strlen(data));
                if (!e)
                        return false; /* it will come again: its id is not noted yet */
        }
        if (id)
                strcpy(w->last_id, id);
        if (!e)
                return true; /* a comment */
        strcpy(e->json, data);
        (void) snprintf(e->type, sizeof(e->type), "%s", type);
        (void) json_member(data, "credential", e->credential, sizeof(e->credential));
        (void) json_member(data, "subject", e->subject, sizeof(e->subject));
        (void) json_member(data, "fingerprint", e->fingerprint, sizeof(e->fingerprint));
        watch_token_changed(w->client, e);
        watch_queue(w, e);
        return true;
}

/* Takes the events that are whole. How many bytes they were; -ENOMEM. */
static ssize_t watch_take_all(struct bearer_watch *w, char *body, size_t len) {
        size_t taken = 0;

        for (;;) {
                char *end = len > taken ? memmem(body + taken, len - taken, "\n\n", 2) : NULL;

                if (!end)
                        return (ssize_t) taken;
                if (!watch_take(w, body + taken, (size_t) (end - body) + 1 - taken))
                        return -ENOMEM;
                taken = (size_t) (end - body) + 2;
        }
}

/* What has come of a body whose end nobody knows. False: out of memory. */
static bool watch_consume(struct bearer_watch *w) {
        struct wire_reading *rd = &w->reading;
        ssize_t n;

        if (rd->state == WIRE_HEAD || rd->state == WIRE_COUNTED || rd->head.answer.status != 200)
                return true;
        w->pause_us = WATCH_FIRST_PAUSE;
        n = watch_take_all(w, rd->memory + rd->body, rd->body_end - rd->body);
        if (n < 0)
                return false;
        memmove(rd->memory + rd->body, rd->memory + rd->body + n, rd->used - rd->body - (size_t) n);
        rd->used -= (size_t) n;
        rd->body_end -= (size_t) n;
        return true;
}

static void watch_refused(struct bearer_watch *w, const struct wire_answer *a) {
        struct bearer_event *e = watch_event_new(0);

        if (!e)
                return; /* it is refused again, when there is memory to say so */
        w->over = true;
        e->failure.r = a->status == 403 ? -EACCES : a->status == 404 ? -ENOENT : -EINVAL;
        client_describe(a, e->failure.text);
        watch_queue(w, e);
}

static void watch_connect(struct bearer_watch *w, int64_t now_us) {
        char request[WATCH_REQUEST_SIZE];
        const size_t len = watch_request(w, request);
        struct epoll_event event = { .events = EPOLLIN };

        if (link_connect(w->client->link.path, &w->fd) < 0) {
                w->fd = -1;
                watch_pause(w, now_us);
                return;
        }
        wire_reading_begin(&w->reading, &(struct wire_request){ .answer_max = WATCH_EVENT_MAX });
        /* a new socket takes a request at once, or not at all */
        if (send(w->fd, request, len, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t) len ||
            epoll_ctl(w->client->epoll_fd, EPOLL_CTL_ADD, w->fd, &event) < 0) {
                watch_pause(w, now_us);
                return;
        }
        w->wakes_us = now_us + WATCH_SILENCE_US;
}

static void watch_read(struct bearer_watch *w, int64_t now_us) {
        struct wire_answer answer;
        size_t used;
        int r;

        for (;;) {
                used = w->reading.used;
                r = wire_receive_some(w->fd, &w->reading, &answer);
                if (r == 1) {
                        if (answer.status == 400 || answer.status == 403 || answer.status == 404)
                                watch_refused(w, &answer);
                        else if (answer.status == 200)
                                (void) watch_take_all(w, answer.body,
                                                      answer.body_len); /* the rest of it */
                        wire_answer_done(&answer);
                }
                if (r != 0) {
                        watch_pause(w, now_us);
                        return;
                }
                if (w->reading.used == used)
                        break;
                w->wakes_us = now_us + WATCH_SILENCE_US;
                if (!watch_consume(w)) {
                        watch_pause(w, now_us);
                        return;
                }
        }
        if (now_us >= w->wakes_us)
                watch_pause(w, now_us);
}

void watch_step(struct bearer_watch *w) {
        const int64_t now_us = token_now_us();

        if (w->over)
                return;
        if (w->fd < 0 && now_us >= w->wakes_us)
                watch_connect(w, now_us);
        if (w->fd >= 0)
                watch_read(w, now_us);
}

int watch_call_back(struct bearer *client) {
        int n = 0;

        while (client->events) {
                struct bearer_event *e = client->events;
                struct bearer_watch *w = e->watch;

                client->events = e->next;
                if (w->callback) {
                        bearer_watch_callback *callback = w->callback;
                        void *user = w->user;

                        (void) pthread_mutex_unlock(&bearer_lock);
                        if (e->failure.r < 0)
                                (void) thread_fail_as(&e->failure);
                        callback(user, e->failure.r, e->failure.r < 0 ? NULL : e);
                        n++;
                        (void) pthread_mutex_lock(&bearer_lock);
                }
                free(e);
                (void) watch_unref(w);
        }
        return n;
}

void watch_drop_all(struct bearer *client) {
        while (client->events) {
                struct bearer_event *e = client->events;

                client->events = e->next;
                (void) watch_unref(e->watch);
                free(e);
        }
        while (client->watches) {
                struct bearer_watch *w = client->watches;

                client->watches = w->next;
                watch_hang_up(w);
                (void) watch_unref(w);
        }
}

int bearer_watch(struct bearer *client, const char *credential, bearer_watch_callback *callback,
                 void *user, struct bearer_watch **ret_watch) {
        struct bearer_watch *w;
        int r, cancel_state;

        if (!client || !callback || (credential && !wire_is_name(credential)))
                return thread_fail(-EINVAL, "no client, no callback, or no name of a credential");
        w = calloc(1, sizeof(*w));
        if (!w)
                return thread_fail(-ENOMEM, NULL);
        w->client = client;
        w->callback = callback;
        w->user = user;
        w->refs = 1;
        w->fd = -1;
        w->pause_us = WATCH_FIRST_PAUSE;
        (void) snprintf(w->path, sizeof(w->path), PROTOCOL_PATH_EVENTS "%s%s",
                        credential ? "?credential=" : "", credential ? credential : "");
        cancel_state = thread_enter();
        r = loop_open(client);
        if (r == 0) {
                w->next = client->watches;
                client->watches = w;
                watch_step(w);
                loop_arm(client);
                if (ret_watch)
                        *ret_watch = w;
        }
        thread_leave(cancel_state);
        if (r < 0) {
                free(w);
                return thread_fail(r, NULL);
        }
        return 0;
}

struct bearer_watch *bearer_watch_cancel(struct bearer_watch *w) {
        struct bearer_watch **p;
        int cancel_state;

        if (!w)
                return NULL;
        cancel_state = thread_enter();
        for (p = &w->client->watches; *p != w; p = &(*p)->next)
                ;
        *p = w->next;
        watch_hang_up(w);
        w->callback = NULL; /* what is queued is not told any more */
        (void) watch_unref(w);
        thread_leave(cancel_state);
        return NULL;
}

const char *bearer_event_type(const struct bearer_event *e) {
        return e->type;
}

const char *bearer_event_credential(const struct bearer_event *e) {
        return e->credential;
}

const char *bearer_event_subject(const struct bearer_event *e) {
        return e->subject;
}

const char *bearer_event_fingerprint(const struct bearer_event *e) {
        return e->fingerprint;
}

const char *bearer_event_json(const struct bearer_event *e) {
        return e->json;
}
