#include "client/verb.h"

/*
 * watch: what happens, until it is told to stop
 *
 * On a terminal the table of status, drawn anew whenever something has happened, and once in a while since times pass; below
 * it the last events. What does not fit is cut: those that are well go first, then old events. In a pipe, or with --json,
 * each event's JSON on a line. A daemon that goes away is waited for.
 */

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/ask.h"
#include "client/columns.h"
#include "client/credential.h"
#include "client/events.h"
#include "client/frame.h"
#include "client/message.h"
#include "client/overview.h"
#include "client/protocol.h"
#include "client/screen.h"
#include "client/words.h"

#define WATCH_DRAW_MS   1000 /* how long a drawn table stays, as times pass */
#define WATCH_RETURN_MS 200  /* before asking a daemon again that has hung up */
#define WATCH_AWAY_MS   1000
#define WATCH_LINES     8 /* events below the table */
#define WATCH_LINE_SIZE 512
#define WATCH_SUBJECT   32 /* columns of it that are shown */
#define WATCH_LEAST     3  /* of them, however small the screen is */

struct watch {
        const struct call *call;
        char socket[WIRE_SOCKET_MAX];
        struct wire_path path;
        struct events events;
        struct screen screen;
        bool drawn; /* a table, for a person */
        bool away;  /* the daemon is, and it has been said */
        char lines[WATCH_LINES][WATCH_LINE_SIZE];
        size_t n_lines;
};

static const struct {
        const char *type; /* of the event */
        const char *shown;
} watch_types[] = {
        { "token", N_("new token") },
        { "authorization_required", N_("unauthorized") },
        { "failing", N_("failing") },
        { "recovered", N_("recovered") },
};

static const char *watch_type(const char *type) {
        for (size_t i = 0; i < sizeof(watch_types) / sizeof(watch_types[0]); i++)
                if (strcmp(type, watch_types[i].type) == 0)
                        return _(watch_types[i].shown);
        return type; /* of a newer daemon */
}

/* "bot", or "bot (alice)". Returns `ret`. */
static char *watch_who(struct json_object *o, char ret[ASK_SHOWN_SIZE]) {
        const char *text = member_text(o, "subject");
        char credential[ASK_SHOWN_SIZE], subject[ASK_SHOWN_SIZE];

        (void) ask_shown(o, "credential", credential);
        (void) ask_shown(o, "subject", subject);
        if (text && *text)
                (void) snprintf(ret, ASK_SHOWN_SIZE, "%.64s (%.*s)", credential,
                                (int) columns_fit(subject, WATCH_SUBJECT), subject);
        else
                (void) snprintf(ret, ASK_SHOWN_SIZE, "%s", credential);
        return ret;
}

/* "14:02:11  failing  bot (alice): coze.cn could not ..." */
static void watch_note(struct watch *w, const char *type, struct json_object *o) {
        char who[ASK_SHOWN_SIZE], reason[ASK_SHOWN_SIZE], text[3 * ASK_SHOWN_SIZE];
        char clock[16] = "", when[WORDS_SPAN_SIZE];
        time_t at = (time_t) member_number(o, "at");
        const char *translated, *verb;
        struct tm tm;

        if (w->n_lines == WATCH_LINES) {
                memmove(w->lines[0], w->lines[1], sizeof(w->lines) - sizeof(w->lines[0]));
                w->n_lines--;
        }
        if (localtime_r(&at, &tm))
                (void) strftime(clock, sizeof(clock), "%H:%M:%S", &tm);
        (void) watch_who(o, who);
        translated = ask_translate(o, &verb);
        type = watch_type(type);
        if (member_text(o, "error_description"))
                (void) snprintf(text, sizeof(text), "%s  %s  %s: %s", clock, type, who,
                                translated ? translated
                                           : ask_shown(o, "error_description", reason));
        else if (member_number(o, "expires_at") >= 0)
                (void) snprintf(text, sizeof(text), _("%s  %s  %s, ends %s"), clock, type, who,
                                words_when(member_number(o, "expires_at"), at, when));
        else
                (void) snprintf(text, sizeof(text), "%s  %s  %s", clock, type, who);
        (void) words_clean(text, w->lines[w->n_lines++],
                           sizeof(w->lines[0])); /* cuts whole characters */
}

/* A line, and no more. */
static void watch_print_note(const struct watch *w, const char *line) {
        (void) printf("%.*s\n", (int) columns_fit(line, w->screen.columns - 1), line);
}

/* --- a frame --- */

/* The first `n` of a list, those that are not well before all others; the list itself if it has no more. NULL: out of memory. */
static struct json_object *watch_choose(struct json_object *list, size_t n) {
        const size_t all = json_object_array_length(list);
        struct json_object *chosen;
        char text[ASK_SHOWN_SIZE];

        if (n >= all)
                return json_object_get(list);
        chosen = json_object_new_array();
        for (int well = false; chosen && well <= true; well++)
                for (size_t i = 0; i < all && json_object_array_length(chosen) < n; i++) {
                        struct json_object *o = json_object_array_get_idx(list, i);

                        if ((credential_attention(o, time(NULL), text) == NULL) == well)
                                (void) json_object_array_add(chosen, json_object_get(o));
                }
        return chosen;
}

static void watch_print_list(struct json_object *list, size_t n) {
        AUTO(ask_json_putp) struct json_object *chosen = watch_choose(list, n);
        const size_t all = json_object_array_length(list);

        if (!chosen)
                return;
        overview_print(chosen, time(NULL));
        if (n < all)
                (void) printf(_("and %zu more: bearerctl status shows all\n"), all - n);
}

/* As many as the screen has room for: what stands below the table grows with them. */
static void watch_fit_list(struct json_object *list, int room, struct frame *f) {
        size_t n = json_object_array_length(list);

        for (;;) {
                int over;

                if (!frame_begin(f))
                        return;
                watch_print_list(list, n);
                frame_end(f);
                over = frame_lines(f) - room;
                if (over <= 0 || n <= 1)
                        return;
                n = n > (size_t) over + 1 ? n - (size_t) over : n / 2;
        }
}

/* EXIT_DONE: *ret is an answer with a list. Else it has been said why. */
static int watch_ask(const struct watch *w, struct wire_answer *ret) {
        const struct wire_request request = ASK_GET(PROTOCOL_PATH_CREDENTIALS);

        return ask(w->call, &request, ret);
}

static void watch_draw_list(const struct watch *w, int room, struct frame *f) {
        AUTO(wire_answer_done) struct wire_answer answer = { 0 };
        AUTO(ask_json_putp) struct json_object *o = NULL;
        struct json_object *list = NULL;

        if (!frame_begin(f))
                return;
        if (watch_ask(w, &answer) == EXIT_DONE) {
                o = ask_json(&answer);
                if (ask_list(o, "credentials", &list) && json_object_array_length(list) == 0)
                        say(_("there is no credential that you may use: the operator adds a "
                              "[credential NAME] section, or allows you in one"));
        }
        frame_end(f);
        if (list && json_object_array_length(list) > 0)
                watch_fit_list(list, room, f);
}

/* What is wrong, if so it is, is said in the frame; the next one may be better. */
static void watch_draw_state(const struct watch *w, int room, struct frame *f) {
        struct call call = *w->call;

        if (!w->away && !call.name) {
                watch_draw_list(w, room, f);
                return;
        }
        if (!frame_begin(f))
                return;
        call.form = FORM_PLAIN;
        if (w->away)
                (void) puts(_("The daemon is away; waiting for it."));
        else
                (void) verb_status(&call);
        frame_end(f);
}

/* The last events, below a blank line. */
static void watch_draw_notes(const struct watch *w, size_t n, struct frame *f) {
        if (n == 0 || !frame_begin(f))
                return;
        (void) putchar('\n');
        for (size_t i = w->n_lines - n; i < w->n_lines; i++)
                watch_print_note(w, w->lines[i]);
        frame_end(f);
}

static int watch_draw(struct watch *w) {
        struct frame state = { 0 }, notes = { 0 };
        size_t n = w->n_lines < WATCH_LEAST ? w->n_lines : WATCH_LEAST;
        int room;

        screen_look(&w->screen); /* it may have another size */
        room = w->screen.rows - (n > 0 ? (int) n + 1 : 0);
        watch_draw_state(w, room, &state);
        room = w->screen.rows - frame_lines(&state) - 1;
        if (room > (int) n)
                n = (size_t) room < w->n_lines ? (size_t) room : w->n_lines;
        watch_draw_notes(w, n, &notes);
        frame_show(&state, &notes, &w->screen);
        frame_done(&state);
        frame_done(&notes);
        return finish();
}

static int watch_take(struct watch *w, const char *type, const char *data) {
        AUTO(ask_json_putp) struct json_object *o = NULL;

        w->away = false;
        if (!w->drawn)
                return ask_print_json(data, strlen(data));
        o = json_tokener_parse(data);
        if (strcmp(type, "state") != 0 && json_object_is_type(o, json_type_object))
                watch_note(w, type, o);
        return watch_draw(w);
}

/* What an answer that is no stream means; EXIT_DONE: come back later. */
static int watch_explain(const struct watch *w, const char *body) {
        char text[WIRE_BODY_MAX / 16];
        struct wire_answer answer = { .status = w->events.status,
                                      .expires_at = -1,
                                      .retry_after_s = -1,
                                      .content_type = "application/json",
                                      .body = text };

        answer.body_len = (size_t) snprintf(text, sizeof(text), "%s", body);
        if (answer.body_len >= sizeof(text))
                answer.body_len = sizeof(text) - 1;
        return ask_explain(w->call, &answer);
}

static void watch_pause(long ms) {
        const struct timespec pause = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

        (void) nanosleep(&pause, NULL); /* a signal may cut it short */
}

static int watch_reconnect(struct watch *w) {
        int r = events_open(&w->events, w->socket, &w->path);

        if (r == 0)
                return EXIT_DONE;
        if (!w->away && !w->drawn)
                say(_("the daemon is away (%s); waiting for it"), message_errno(-r));
        w->away = true;
        watch_pause(WATCH_AWAY_MS);
        return w->drawn ? watch_draw(w) : EXIT_DONE;
}

/* Nobody reads what is written: as with SIGPIPE, but without waiting for something to write. */
static bool watch_is_over(void) {
        struct pollfd p = { .fd = STDOUT_FILENO };

        return poll(&p, 1, 0) > 0 && p.revents & (POLLERR | POLLHUP);
}

/* One turn. EXIT_DONE: go on. */
static int watch_turn(struct watch *w) {
        char type[EVENTS_TYPE_SIZE];
        const char *data;
        int r;

        if (watch_is_over())
                return EXIT_FAILED;
        if (w->events.fd < 0)
                return watch_reconnect(w);
        r = events_next(&w->events, WATCH_DRAW_MS, type, &data);
        if (r == 0)
                return watch_take(w, type, data);
        if (r == -EPROTO || r == -EBADMSG || r == -ENOMEM)
                frames_end(); /* what is said now is to stay */
        if (r == -EPROTO)
                return watch_explain(w, data);
        if (r == -EBADMSG || r == -ENOMEM) {
                say("%s",
                    r == -ENOMEM
                            ? _("out of memory")
                            : _("what came is no stream of events: is that bearerd's socket?"));
                return EXIT_FAILED;
        }
        if (r == -ETIMEDOUT)
                return w->drawn ? watch_draw(w) : EXIT_DONE;
        events_close(&w->events);
        watch_pause(WATCH_RETURN_MS);
        return EXIT_DONE;
}

int verb_watch(const struct call *call) {
        struct watch w = { .call = call,
                           .path = { .text = PROTOCOL_PATH_EVENTS,
                                     .len = sizeof(PROTOCOL_PATH_EVENTS) - 1 },
                           .events = EVENTS_NONE };
        const struct wire_request alive = ASK_GET(PROTOCOL_PATH_HEALTHZ);
        AUTO(wire_answer_done) struct wire_answer answer = { 0 };
        int r;

        r = ask(call, &alive, &answer); /* says what is wrong with the socket, if so it is */
        if (r != EXIT_DONE)
                return r;
        if (call->socket)
                (void) snprintf(w.socket, sizeof(w.socket), "%s",
                                call->socket); /* it has just fitted */
        else
                (void) wire_find_socket(w.socket); /* the same */
        if ((call->name && wire_path_add(&w.path, "credential", call->name) < 0) ||
            (call->subject && wire_path_add(&w.path, "subject", call->subject) < 0)) {
                say(_("the subject is too long"));
                return EXIT_USAGE;
        }
        screen_look(&w.screen);
        w.drawn = w.screen.terminal && call->form != FORM_JSON;
        if (w.drawn)
                frames_begin();
        do
                r = watch_turn(&w);
        while (r == EXIT_DONE);
        frames_end();
        events_done(&w.events);
        return r;
}
