#include "api/stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/credentials.h"
#include "api/server.h"
#include "base/err.h"
#include "base/json.h"

#define STREAM_BLOCK 4096 /* bytes that libmicrohttpd takes at once from one without chunks */

static const char stream_greeting[] =
        ": bearerd\nretry: 1000\n\n"; /* ms, for a reader's reconnect */
static const char stream_comment[] = ":\n\n";

struct stream {
        struct streams *of;
        struct list_link link;
        const struct caller *caller;
        struct MHD_Connection *connection;
        int fd;
        char *credential; /* NULL: all; owned */
        char *subject;    /* NULL: see struct stream_filter; owned */

        unsigned generation; /* of the configuration that it was judged by last */
        uint64_t number;     /* of the last event that it has had, or that was not for it */
        const char *reason;  /* to send the state; NULL: to go on from `number` */
        struct feed_event *event;
        struct secret *state; /* to be sent */
        struct secret *sent;  /* the state that is being sent */
        const char *piece;    /* being sent: of the event, of the state, or a constant */
        size_t left;          /* bytes of it */

        bool suspended;         /* has nothing to send */
        bool beat;              /* is to send a comment */
        bool gone;              /* its peer has hung up, or there is no memory: no more */
        struct message message; /* to the loop and back */
};

/* --- what is for whom --- */

static bool stream_may_see(const struct stream *s, const char *subject) {
        if (s->subject)
                return strcmp(s->subject, subject) == 0;
        return !*subject || s->caller->is_admin;
}

static bool stream_may_use(const struct stream *s, const char *credential) {
        const struct conf_credential *c = caller_find_credential(
                s->caller, server_conf(s->of->server), credential);

        return c && caller_may_use(s->caller, c);
}

static bool stream_wants(const struct stream *s, const struct feed_event *e) {
        return (!s->credential || strcmp(s->credential, e->credential) == 0) &&
               stream_may_see(s, e->subject) && stream_may_use(s, e->credential);
}

/* --- pieces --- */

static void stream_take_piece(struct stream *s, const char *piece, size_t len) {
        s->piece = piece;
        s->left = len;
}

static void stream_drop_piece(struct stream *s) {
        s->event = feed_release(s->of->feed, s->event);
        s->sent = secret_unref(s->sent);
        stream_take_piece(s, NULL, 0);
}

/* Between two pieces: nothing of the next one is out. */
static bool stream_is_between(const struct stream *s) {
        return !s->piece || (s->event && s->piece == s->event->text);
}

/* The configuration in force may be another one than it has begun with: what it was going to send is void then, and it starts
 * over from the state. False: what it reads is gone, or not for it any more; who comes back is told why. */
static bool stream_follow(struct stream *s) {
        if (!server_knows(s->of->server, s->caller) || !s->caller->socket)
                return false;
        if (s->generation == s->caller->generation)
                return true;
        if (s->credential && !stream_may_use(s, s->credential))
                return false;
        s->generation = s->caller->generation;
        stream_drop_piece(s);
        s->state = secret_unref(s->state);
        s->reason = STREAM_RELOADED;
        return true;
}

/* The next event that is for it; false: there is none. */
static bool stream_find_event(struct stream *s) {
        struct feed_event *e;
        bool lost;

        while ((e = feed_next(s->of->feed, s->number, &lost))) {
                s->number = e->number;
                if (stream_wants(s, e)) {
                        s->event = e;
                        stream_take_piece(s, e->text, e->len);
                        return true;
                }
                feed_release(s->of->feed, e);
        }
        if (lost)
                s->reason = STREAM_LOST;
        return false;
}

static struct json_object *stream_state_object(const struct stream *s,
                                               const struct broker *broker) {
        const struct server_parts *p = server_parts(s->of->server);
        struct json_object *o = json_object_new_object();
        int r = 0;

        if (!o)
                return NULL;
        r |= json_object_object_add(o, "event", json_object_new_string("state"));
        r |= json_object_object_add(o, "at", json_object_new_int64(clock_wall(p->clock).s));
        r |= json_object_object_add(o, "reason", json_object_new_string(s->reason));
        r |= json_object_object_add(
                o, "credentials",
                credentials_array(broker, broker_conf(broker), s->caller, s->credential));
        return r < 0 ? json_wipe(o) : o;
}

/* On the loop: what the credentials are doing now, and behind which event that is. */
static int stream_make_state(struct stream *s, const struct broker *broker) {
        AUTO(json_wipep) struct json_object *o = stream_state_object(s, broker);
        AUTO(secret_unrefp) struct secret *data = NULL, *text = NULL;
        char head[FEED_ID_SIZE + 32], id[FEED_ID_SIZE];
        uint64_t number = feed_last(s->of->feed);
        int len, r;

        r = o ? json_to_secret(o, &data) : RAISE(-ENOMEM);
        if (r < 0)
                return PASS(r);
        len = snprintf(head, sizeof(head),
                       "id: %s\nevent: state\ndata: ", feed_id(s->of->feed, number, id));
        text = secret_new_reserved((size_t) len + secret_len(data) + 2);
        if (!text)
                return RAISE(-ENOMEM);
        r = secret_append(text, head, (size_t) len);
        if (r == 0)
                r = secret_append(text, secret_text(data), secret_len(data));
        if (r == 0)
                r = secret_append(text, "\n\n", 2);
        if (r < 0)
                return PASS(r);
        s->state = TAKE(text);
        s->number = number;
        s->reason = NULL;
        return 0;
}

/* --- libmicrohttpd asks for more --- */

static void stream_suspend(struct stream *s) {
        s->suspended = true;
        server_suspend(s->of->server, s->connection);
}

static void stream_resume(struct stream *s) {
        s->suspended = false;
        server_resume(s->of->server, s->caller, s->connection);
}

static void stream_state_is_there(struct message *m) {
        struct stream *s = list_entry(m, struct stream, message);

        server_resume(s->of->server, s->caller, s->connection);
}

static void stream_state_run(struct message *m) {
        struct stream *s = list_entry(m, struct stream, message);

        if (stream_make_state(s, server_parts(s->of->server)->broker) < 0)
                s->gone = true;
        s->message.run = stream_state_is_there;
        server_post(s->of->server, &s->message);
}

/* Suspended, but not to be woken by news: the loop has it. */
static void stream_ask_state(struct stream *s) {
        s->message.run = stream_state_run;
        server_suspend(s->of->server, s->connection);
        inbox_post(server_parts(s->of->server)->loop, &s->message);
}

/* False: it has nothing to send. */
static bool stream_find_piece(struct stream *s) {
        if (s->state) {
                s->sent = TAKE(s->state);
                stream_take_piece(s, secret_text(s->sent), secret_len(s->sent));
        } else if (s->reason || !stream_find_event(s)) {
                if (!s->beat || s->reason)
                        return false;
                stream_take_piece(s, stream_comment, sizeof(stream_comment) - 1);
        }
        s->beat = false;
        return true;
}

static ssize_t stream_read(void *cls, uint64_t pos, char *buf, size_t max) {
        struct stream *s = cls;
        size_t n;

        (void) pos;
        if (s->gone)
                return MHD_CONTENT_READER_END_WITH_ERROR;
        if (s->left == 0 && s->piece)
                stream_drop_piece(s);
        if (stream_is_between(s) && (s->of->stopping || !stream_follow(s)))
                return MHD_CONTENT_READER_END_OF_STREAM;
        if (!s->piece && !stream_find_piece(s)) {
                if (s->reason)
                        stream_ask_state(s);
                else
                        stream_suspend(s);
                return 0;
        }
        n = s->left < max ? s->left : max;
        memcpy(buf, s->piece, n);
        s->piece += n;
        s->left -= n;
        return (ssize_t) n;
}

/* --- one stream --- */

static bool streams_are_too_many(const struct streams *ss, uid_t uid) {
        size_t n = 0;

        for (struct list_link *l = ss->list.next; l != &ss->list; l = l->next)
                n += list_entry(l, struct stream, link)->caller->peer.uid == uid;
        return n >= STREAMS_PER_UID;
}

int stream_new(struct streams *ss, const struct caller *caller, struct MHD_Connection *connection,
               const struct stream_filter *filter, const char *last_id, struct stream **ret) {
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(
                connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        struct stream *s;
        int r;

        if (streams_are_too_many(ss, caller->peer.uid))
                return -EUSERS;
        s = calloc(1, sizeof(*s));
        if (!s)
                return RAISE(-ENOMEM);
        s->of = ss;
        s->caller = caller;
        s->connection = connection;
        s->generation = caller->generation;
        s->fd = -1;
        s->credential = filter->credential ? strdup(filter->credential) : NULL;
        s->subject = filter->subject ? strdup(filter->subject) : NULL;
        list_init(&s->link);
        if ((filter->credential && !s->credential) || (filter->subject && !s->subject)) {
                stream_free(s);
                return RAISE(-ENOMEM);
        }
        if (!last_id)
                s->reason = STREAM_CONNECTED;
        else if (feed_find(ss->feed, last_id, &s->number) < 0)
                s->reason = STREAM_LOST;
        r = server_watch_peer(ss->server, info->connect_fd, s);
        if (r < 0) {
                stream_free(s);
                return PASS(r);
        }
        s->fd = info->connect_fd;
        if (atomic_fetch_add(&ss->n, 1) == 0)
                ss->next_beat = mono_add(clock_mono(server_parts(ss->server)->clock),
                                         STREAM_BEAT_US);
        list_append(&ss->list, &s->link);
        *ret = s;
        return 0;
}

struct stream *stream_free(struct stream *s) {
        if (!s)
                return NULL;
        stream_drop_piece(s);
        secret_unref(s->state);
        if (s->fd >= 0) {
                server_unwatch_peer(s->of->server, s->fd);
                atomic_fetch_sub(&s->of->n, 1);
        }
        list_remove(&s->link);
        free(s->credential);
        free(s->subject);
        free(s);
        return NULL;
}

struct MHD_Response *stream_open(struct stream *s, const struct broker *broker) {
        struct MHD_Response *response;

        if (s->reason && stream_make_state(s, broker) < 0)
                return NULL;
        response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, stream_read, s,
                                                     NULL);
        if (!response)
                return NULL;
        if (MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "text/event-stream") !=
                    MHD_YES ||
            MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store") !=
                    MHD_YES) {
                MHD_destroy_response(response);
                return NULL;
        }
        stream_take_piece(s, stream_greeting, sizeof(stream_greeting) - 1);
        return response;
}

/* --- all of them --- */

static void streams_read_news(struct message *m) {
        struct streams *ss = list_entry(m, struct streams, news);

        atomic_store(&ss->news_posted, false);
        for (struct list_link *l = ss->list.next; l != &ss->list; l = l->next) {
                struct stream *s = list_entry(l, struct stream, link);

                if (s->suspended && (stream_find_event(s) || s->reason))
                        stream_resume(s);
        }
}

void streams_init(struct streams *ss, struct server *server, struct feed *feed) {
        *ss = (struct streams){ .server = server, .feed = feed };
        list_init(&ss->list);
        ss->news.run = streams_read_news;
}

void streams_news(struct streams *ss) {
        if (atomic_load(&ss->n) > 0 && !atomic_exchange(&ss->news_posted, true))
                server_post(ss->server, &ss->news);
}

void streams_beat(struct streams *ss, mono_t now) {
        if (list_is_empty(&ss->list) || mono_before(now, ss->next_beat))
                return;
        ss->next_beat = mono_add(now, STREAM_BEAT_US);
        for (struct list_link *l = ss->list.next; l != &ss->list; l = l->next) {
                struct stream *s = list_entry(l, struct stream, link);

                if (!s->suspended)
                        continue; /* it is busy */
                s->beat = true;
                stream_resume(s);
        }
}

void streams_hung_up(struct streams *ss, const void *what) {
        for (struct list_link *l = ss->list.next; l != &ss->list; l = l->next) {
                struct stream *s = list_entry(l, struct stream, link);

                if (s != what)
                        continue;
                server_unwatch_peer(ss->server, s->fd); /* it would be told again and again */
                s->gone = true;
                if (s->suspended)
                        stream_resume(s);
                return;
        }
}

static void streams_wake(struct streams *ss) {
        for (struct list_link *l = ss->list.next; l != &ss->list; l = l->next) {
                struct stream *s = list_entry(l, struct stream, link);

                if (s->suspended)
                        stream_resume(s);
        }
}

void streams_reloaded(struct streams *ss) {
        streams_wake(ss); /* stream_follow() does the rest */
}

void streams_stop(struct streams *ss) {
        ss->stopping = true;
        streams_wake(ss);
}
