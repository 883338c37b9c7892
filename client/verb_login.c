#include "client/verb.h"

/*
 * login: a person authorizes a credential
 *
 * The daemon does the work; here the person is shown what to do, and three things are waited for
 * at once: the daemon's word that it is over (a long poll that is asked again and again, through
 * restarts of the daemon), an address that the person pastes, and a signal, which cancels.
 */

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "client/authorization.h"
#include "client/message.h"
#include "client/prompt.h"
#include "client/protocol.h"

#define LOGIN_PATIENCE_MS 60000 /* how long a daemon may be away */
#define LOGIN_RETRY_MS    1000  /* between two questions */
#define LOGIN_TICK_MS     1000  /* of the countdown */
#define LOGIN_SLEEP_MS    60000 /* longest, whatever Retry-After says */
#define LOGIN_UPSTREAM_S  (PROTOCOL_WAIT_DEFAULT_S + ASK_TIMEOUT_S) /* the provider is asked */
#define LOGIN_LINE_SIZE   8192                                      /* of what is pasted */
#define LOGIN_SIGNAL_BASE 128 /* with a signal's number, the exit code that shells have */

struct login {
        const struct call *call;
        struct screen screen;
        struct json_object *o; /* as the daemon has last told */
        char who[ASK_SENTENCE_SIZE];
        int64_t deadline_ms; /* of --wait */

        int signal_fd;
        sigset_t mask_before;

        struct wire_path path; /* of the long poll */
        struct wire_request request;
        int answer_fd;     /* its answer comes here; -1: it is not under way */
        int64_t ask_ms;    /* when to ask next */
        int64_t answer_ms; /* when to give up an answer */
        int64_t lost_ms;   /* since when the daemon has not been heard; -1: it has */

        bool pasting;
        size_t line_len;
        char line[LOGIN_LINE_SIZE]; /* wiped: an address holds a code */
};

static int64_t login_now_ms(void) {
        struct timespec t;

        (void) clock_gettime(CLOCK_BOOTTIME, &t); /* cannot fail on Linux */
        return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

/* Clears the countdown, so that something else can be said. */
static void login_clear(const struct login *l) {
        screen_status(&l->screen, "");
}

/* The start */

static int login_check(struct json_object *o) {
        const char *url = member_text(o, "authorization_url"),
                   *page = member_text(o, "verification_uri");

        if (!authorization_is_pending(o) || (url && prompt_is_address(url)) ||
            (!url && page && prompt_is_address(page) && member_text(o, "user_code")))
                return EXIT_DONE;
        say(_("what the daemon sent holds no address to open: is bearerctl (%s) older or newer than "
              "bearerd?"),
            BEARERD_VERSION);
        return EXIT_FAILED;
}

static int login_start(struct login *l) {
        AUTO(wire_answer_done) struct wire_answer answer = { 0 };
        AUTO(ask_json_putp) struct json_object *body = json_object_new_object();
        struct wire_path path;
        struct wire_request request = { .method = "POST",
                                        .path = path.text,
                                        .accept = "application/json",
                                        .timeout_us = LOGIN_UPSTREAM_S * INT64_C(1000000) };
        const char *subject = l->call->subject ? l->call->subject : "";
        int r;

        if (json_object_object_add(body, "subject", json_object_new_string(subject)) < 0) {
                say(_("out of memory"));
                return EXIT_FAILED;
        }
        request.body = ask_line(body);
        request.body_len = strlen(request.body);
        (void) wire_path_begin(&path, PROTOCOL_PATH_CREDENTIALS "/", l->call->name,
                               "/authorizations"); /* a valid name */
        r = ask(l->call, &request, &answer);
        if (r != EXIT_DONE)
                return r;
        l->o = authorization_read(&answer);
        return l->o ? login_check(l->o) : EXIT_FAILED;
}

/* From here on a signal cancels. One that is ignored, as nohup(1) has SIGHUP, stays so. */
static int login_catch_signals(struct login *l) {
        static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
        struct sigaction before;
        sigset_t caught;

        (void) sigemptyset(&caught); /* none of these can fail: the arguments are valid */
        for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
                (void) sigaction(signals[i], NULL, &before);
                if (before.sa_handler != SIG_IGN)
                        (void) sigaddset(&caught, signals[i]);
        }
        (void) sigprocmask(SIG_BLOCK, &caught, &l->mask_before);
        l->signal_fd = signalfd(-1, &caught, SFD_CLOEXEC | SFD_NONBLOCK);
        if (l->signal_fd >= 0)
                return EXIT_DONE;
        say(_("cannot wait for signals: %s"), message_errno(errno));
        return EXIT_FAILED;
}

/* The end */

static int login_conclude(const struct login *l) {
        const int code = authorization_exit_code(l->o);
        int r;

        login_clear(l);
        if (l->call->form == FORM_JSON)
                r = ask_print_object(l->o);
        else {
                authorization_explain(l->call, l->o);
                r = finish();
        }
        return code == EXIT_DONE ? r : code;
}

/* --wait has run out. */
static int login_leave(const struct login *l) {
        int r;

        login_clear(l);
        if (l->call->form == FORM_JSON)
                r = ask_print_object(l->o);
        else {
                say(_("%s: not yet authorized; the authorization stays open: bearerctl "
                      "authorizations %s"),
                    l->who, l->call->name);
                r = finish();
        }
        return r == EXIT_DONE ? authorization_exit_code(l->o) : r;
}

/* A second signal ends us at once, as if nothing had been caught. */
static int login_cancel(struct login *l) {
        struct signalfd_siginfo info = { .ssi_signo = SIGINT };
        int r;

        (void) !read(l->signal_fd, &info, sizeof(info)); /* it is there: poll() said so */
        (void) sigprocmask(SIG_SETMASK, &l->mask_before, NULL);
        login_clear(l);
        if (l->screen.terminal)
                (void) putchar('\n'); /* behind ^C */
        (void) fflush(stdout);
        r = authorization_cancel(l->call, member_text(l->o, "id"));
        if (l->call->form == FORM_JSON) {
                (void) json_object_object_add(l->o, "state", json_object_new_string("cancelled"));
                (void) ask_print_object(l->o); /* the exit code is taken */
        } else if (r == EXIT_DONE)
                say(_("%s: cancelled"), l->who);
        return LOGIN_SIGNAL_BASE + (int) info.ssi_signo;
}

/* The daemon's word */

/* Takes what the daemon tells of an authorization; of another one it is no news. An exit code. */
static int login_learn(struct login *l, const struct wire_answer *answer) {
        struct json_object *o = authorization_read(answer);

        if (!o)
                return EXIT_FAILED;
        if (member_is(o, "id", member_text(l->o, "id"))) {
                json_object_put(l->o);
                l->o = o;
        } else
                json_object_put(o);
        return EXIT_DONE;
}

static int login_hear(struct login *l, const struct wire_answer *answer) {
        char command[ASK_SENTENCE_SIZE];

        if (l->lost_ms >= 0) {
                login_clear(l);
                say(_("the daemon is back"));
        }
        l->lost_ms = -1;
        switch (answer->status) {
        case 200:
                return login_learn(l, answer);
        case 404:
                login_clear(l);
                say(_("%s: the daemon knows nothing of this authorization any more: it was "
                      "restarted"),
                    l->who);
                say(_("to start again: %s"), ask_command(l->call, "login", command));
                return EXIT_AUTHORIZE;
        case 429:
        case 503: /* not now */
                l->ask_ms = login_now_ms() + (answer->retry_after_s > 0
                                                      ? answer->retry_after_s * 1000
                                                      : LOGIN_RETRY_MS);
                return EXIT_DONE;
        default:
                login_clear(l);
                return ask_explain(l->call, answer);
        }
}

static void login_make_question(struct login *l, int64_t wait_s) {
        (void) authorization_path(&l->path, member_text(l->o, "id")); /* it is one */
        (void) wire_path_add_number(&l->path, "wait", wait_s);        /* fits */
        l->request = (struct wire_request){ .method = "GET",
                                            .path = l->path.text,
                                            .accept = "application/json",
                                            .timeout_us = ASK_TIMEOUT_S * INT64_C(1000000) };
}

/* The daemon is away: it is given time, then asked a last time, so that it is said what is wrong.
 * An exit code. */
static int login_lose(struct login *l) {
        AUTO(wire_answer_done) struct wire_answer answer = { 0 };
        const int64_t now = login_now_ms();
        int r;

        if (l->lost_ms < 0) {
                l->lost_ms = now;
                login_clear(l);
                say(_("the daemon is gone; waiting for it to come back"));
        }
        l->ask_ms = now + LOGIN_RETRY_MS;
        if (now - l->lost_ms < LOGIN_PATIENCE_MS)
                return EXIT_DONE;
        login_clear(l);
        login_make_question(l, 0);
        r = ask_any(l->call, &l->request, &answer);
        return r == EXIT_DONE ? login_hear(l, &answer) : r;
}

static int login_ask(struct login *l) {
        const int64_t now = login_now_ms(), left_ms = l->deadline_ms - now;
        const int64_t wait_s = left_ms < PROTOCOL_WATCH_MAX_S * 1000 ? (left_ms + 999) / 1000
                                                                     : PROTOCOL_WATCH_MAX_S;

        login_make_question(l, wait_s);
        l->ask_ms = now + LOGIN_RETRY_MS; /* also if the daemon answers at once */
        l->answer_ms = now + (wait_s + ASK_TIMEOUT_S) * 1000;
        if (ask_begin(l->call, &l->request, &l->answer_fd) == 0)
                return EXIT_DONE;
        return login_lose(l);
}

static void login_hang_up(struct login *l) {
        if (l->answer_fd >= 0)
                (void) close(l->answer_fd); /* nothing of ours is in it */
        l->answer_fd = -1;
}

static int login_take_answer(struct login *l) {
        AUTO(wire_answer_done) struct wire_answer answer = { 0 };
        int r;

        r = ask_end(l->answer_fd, &l->request, &answer);
        l->answer_fd = -1;
        return r < 0 ? login_lose(l) : login_hear(l, &answer);
}

/* The address that is pasted */

/* Asks while a signal may come: *ret_signal. 0 or a negative errno. */
static int login_exchange(const struct login *l, const struct wire_request *request,
                          struct wire_answer *ret, bool *ret_signal) {
        struct pollfd p[] = { { .fd = l->signal_fd, .events = POLLIN }, { .events = POLLIN } };
        int r;

        r = ask_begin(l->call, request, &p[1].fd);
        if (r < 0)
                return r;
        do
                r = poll(p, 2, (int) (request->timeout_us / 1000));
        while (r < 0 && errno == EINTR);
        *ret_signal = p[0].revents != 0;
        if (r > 0 && !*ret_signal)
                return ask_end(p[1].fd, request, ret);
        (void) close(p[1].fd); /* the answer is not wanted any more */
        return r == 0 ? -ETIMEDOUT : r < 0 ? -EIO : 0;
}

/* Hands the address to the daemon. An exit code; EXIT_DONE also if it was not liked, which has
 * been said. */
static int login_deliver(struct login *l, const char *address) {
        AUTO(wire_answer_done) struct wire_answer answer = { 0 };
        struct json_object *body = json_object_new_object();
        struct wire_request request = { .method = "POST",
                                        .path = PROTOCOL_PATH_CALLBACK,
                                        .accept = "application/json",
                                        .timeout_us = LOGIN_UPSTREAM_S * INT64_C(1000000) };
        struct json_object *url = json_object_new_string(address);
        bool interrupted = false;
        int r = -ENOMEM;

        if (json_object_object_add(body, "url", url) == 0) {
                request.body = ask_line(body);
                request.body_len = strlen(request.body);
                r = login_exchange(l, &request, &answer, &interrupted);
                explicit_bzero((void *) request.body, request.body_len);
                explicit_bzero((void *) json_object_get_string(url), strlen(address));
        }
        json_object_put(body);
        if (interrupted)
                return EXIT_DONE; /* the signal is still there to be read */
        if (r < 0)
                say(_("the address could not be handed over: %s: paste it again"),
                    message_errno(-r));
        else if (answer.status >= 200 && answer.status <= 299)
                return login_learn(l, &answer);
        else {
                (void) ask_explain(l->call, &answer);
                say(_("still waiting: paste another address, or press Ctrl-C"));
        }
        return EXIT_DONE;
}

static int login_take_line(struct login *l, char *line) {
        char *end;

        line += strspn(line, " \t");
        for (end = line + strlen(line); end > line && strchr(" \t\r", end[-1]); end--)
                ;
        *end = '\0';
        if (!*line)
                return EXIT_DONE;
        if (prompt_is_address(line))
                return login_deliver(l, line);
        say(_("that is not the address of a page: copy all of it, from http to the end"));
        return EXIT_DONE;
}

/* Reads what was typed; each line is an address. */
static int login_read(struct login *l) {
        ssize_t n = read(STDIN_FILENO, l->line + l->line_len, sizeof(l->line) - l->line_len - 1);
        int r = EXIT_DONE;
        char *eol;

        if (n <= 0) {
                l->pasting = n < 0 && errno == EINTR; /* Ctrl-D: nothing more will come */
                return EXIT_DONE;
        }
        l->line_len += (size_t) n;
        while (r == EXIT_DONE && (eol = memchr(l->line, '\n', l->line_len))) {
                const size_t used = (size_t) (eol + 1 - l->line);

                *eol = '\0';
                r = login_take_line(l, l->line);
                memmove(l->line, l->line + used, l->line_len - used);
                l->line_len -= used;
        }
        if (l->line_len == sizeof(l->line) - 1) {
                say(_("that is too long for an address: paste it alone"));
                l->line_len = 0;
        }
        explicit_bzero(l->line + l->line_len, sizeof(l->line) - l->line_len);
        return r;
}

/* Waiting */

/* A job in the background neither reads from the terminal nor writes its countdown there. */
static bool login_is_foreground(int fd) {
        return tcgetpgrp(fd) == getpgrp();
}

static int login_timeout(const struct login *l, bool counting) {
        const int64_t now = login_now_ms();
        int64_t until = l->answer_fd >= 0 ? l->answer_ms : l->ask_ms;

        if (l->deadline_ms < until)
                until = l->deadline_ms;
        if ((counting || l->pasting) && now + LOGIN_TICK_MS < until)
                until = now + LOGIN_TICK_MS;
        if (until > now + LOGIN_SLEEP_MS)
                until = now + LOGIN_SLEEP_MS;
        return until > now ? (int) (until - now) : 0;
}

/* Waits for one thing and deals with it. An exit code. */
static int login_step(struct login *l, bool *ret_signal) {
        const int64_t expires_at = member_number(l->o, "expires_at");
        const bool counting = l->screen.terminal && !l->pasting && expires_at >= 0;
        struct pollfd p[] = {
                { .fd = l->signal_fd, .events = POLLIN },
                { .fd = l->answer_fd, .events = POLLIN },
                { .fd = l->pasting && login_is_foreground(STDIN_FILENO) ? STDIN_FILENO : -1,
                  .events = POLLIN },
        };
        int n;

        if (counting && login_is_foreground(STDOUT_FILENO))
                prompt_count_down(&l->screen, expires_at - time(NULL));
        n = poll(p, sizeof(p) / sizeof(p[0]), login_timeout(l, counting));
        if (n < 0 && errno != EINTR) {
                say(_("cannot wait: %s"), message_errno(errno));
                return EXIT_FAILED;
        }
        if (n > 0 && p[0].revents) {
                *ret_signal = true;
                return EXIT_DONE;
        }
        if (n > 0 && p[1].revents)
                return login_take_answer(l);
        if (n > 0 && p[2].revents)
                return login_read(l);
        if (l->answer_fd >= 0 && login_now_ms() >= l->answer_ms) {
                login_hang_up(l);
                return login_lose(l);
        }
        return EXIT_DONE;
}

static int login_wait(struct login *l) {
        bool interrupted = false;
        int r;

        for (;;) {
                if (!authorization_is_pending(l->o))
                        return login_conclude(l);
                if (login_now_ms() >= l->deadline_ms)
                        return login_leave(l);
                r = EXIT_DONE;
                if (l->answer_fd < 0 && login_now_ms() >= l->ask_ms)
                        r = login_ask(l);
                if (r == EXIT_DONE)
                        r = login_step(l, &interrupted);
                if (interrupted)
                        return login_cancel(l);
                if (r != EXIT_DONE)
                        return r;
        }
}

static void login_done(struct login *l) {
        login_hang_up(l);
        if (l->signal_fd >= 0)
                (void) close(l->signal_fd); /* only read from */
        json_object_put(l->o);
        explicit_bzero(l->line, sizeof(l->line));
}

int verb_login(const struct call *call) {
        AUTO(login_done)
        struct login l = { .call = call,
                           .signal_fd = -1,
                           .answer_fd = -1,
                           .lost_ms = -1,
                           .deadline_ms = INT64_MAX };
        int r;

        screen_look(&l.screen);
        l.screen.terminal = l.screen.terminal && call->form != FORM_JSON;
        (void) authorization_who(call, l.who);
        r = login_start(&l);
        if (r == EXIT_DONE)
                r = login_catch_signals(&l);
        if (r != EXIT_DONE)
                return r;
        if (call->wait_s >= 0)
                l.deadline_ms = login_now_ms() + call->wait_s * 1000;
        if (call->form == FORM_JSON)
                (void) ask_print_object(l.o); /* a full disk is told of at the end, too */
        else if (authorization_is_pending(l.o))
                l.pasting = prompt_show(call, &l.screen, l.o);
        (void) fflush(stdout); /* it may be a while until finish() */
        return login_wait(&l);
}
