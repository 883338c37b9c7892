#include "client/verb.h"

/*
 * set: hand the daemon a new static token
 *
 * It is read from standard input, never from an argument, which everybody could see in ps. At a
 * terminal the echo is off while it is typed, and comes back whatever ends the typing.
 */

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "client/ask.h"
#include "client/message.h"
#include "client/protocol.h"
#include "client/words.h"

#define SET_INPUT_MAX (PROTOCOL_TOKEN_MAX + 16) /* room for the blanks around a token */
#define SET_BODY_SIZE (PROTOCOL_TOKEN_MAX + 64)

static volatile sig_atomic_t set_signal;

static void set_on_signal(int signal) {
        set_signal = signal;
}

/* Reads to the end. The length; -EMSGSIZE; what read(2) said. */
static ssize_t set_read_file(char input[SET_INPUT_MAX]) {
        size_t n = 0;

        while (n < SET_INPUT_MAX) {
                ssize_t got = read(STDIN_FILENO, input + n, SET_INPUT_MAX - n);

                if (got < 0 && errno == EINTR)
                        continue;
                if (got < 0)
                        return -errno;
                if (got == 0)
                        return (ssize_t) n;
                n += (size_t) got;
        }
        return -EMSGSIZE;
}

/* Reads one line, while `mask` lets signals come. The length; -EINTR; what read(2) said. */
static ssize_t set_read_line(const char *name, const sigset_t *mask, char input[SET_INPUT_MAX]) {
        struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
        ssize_t n;

        (void) fprintf(stderr, _("Token for %s (it is not shown): "), name);
        if (ppoll(&p, 1, NULL, mask) < 0)
                return -errno;
        n = read(STDIN_FILENO, input, SET_INPUT_MAX);
        return n < 0 ? -errno : n;
}

/* The same without echo. Signals are blocked but for the waiting, so that none is lost or leaves
 * the terminal as it is; they take effect once the echo is back. */
static ssize_t set_read_terminal(const char *name, char input[SET_INPUT_MAX]) {
        static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP };
        const struct sigaction caught = { .sa_handler = set_on_signal };
        struct sigaction before[sizeof(signals) / sizeof(signals[0])];
        struct termios shown, hidden;
        sigset_t blocked, mask;
        ssize_t n;

        if (tcgetattr(STDIN_FILENO, &shown) < 0)
                return -errno;
        (void) sigemptyset(&blocked); /* none of these can fail: the arguments are valid */
        for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
                (void) sigaddset(&blocked, signals[i]);
        (void) sigprocmask(SIG_BLOCK, &blocked, &mask);
        for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
                (void) sigaction(signals[i], &caught, &before[i]);

        hidden = shown;
        hidden.c_lflag &= ~(tcflag_t) ECHO;
        hidden.c_lflag |= ECHONL;
        n = tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden) < 0 ? -errno
                                                            : set_read_line(name, &mask, input);
        (void) tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown); /* nothing better is left to try */

        for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
                (void) sigaction(signals[i], &before[i], NULL);
        if (set_signal) {
                (void) fputc('\n', stderr);
                (void) raise(set_signal); /* ends us as it would have without the handler */
        }
        (void) sigprocmask(SIG_SETMASK, &mask, NULL);
        return n;
}

static bool set_is_blank(char c) {
        return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Finds the token between blanks. An exit code. */
static int set_find_token(const char *input, size_t len, const char **ret, size_t *ret_len) {
        while (len > 0 && set_is_blank(input[len - 1]))
                len--;
        for (; len > 0 && set_is_blank(*input); input++)
                len--;
        if (len == 0) {
                say(_("no token on standard input: bearerctl set NAME < FILE, or type it at a "
                      "terminal"));
                return EXIT_USAGE;
        }
        if (len > PROTOCOL_TOKEN_MAX || !words_is_token(input, len)) {
                say(_("that is not a token: it must be one word of at most %d printable characters, "
                      "without \"Bearer\" and without quotes"),
                    PROTOCOL_TOKEN_MAX);
                return EXIT_USAGE;
        }
        *ret = input;
        *ret_len = len;
        return EXIT_DONE;
}

/* The token needs no escapes: words_is_token() lets no quote, backslash or control character
 * pass. */
static size_t set_make_body(char body[SET_BODY_SIZE], const char *token, size_t len,
                            int64_t expires_at) {
        char *p = stpcpy(body, "{\"token\":\"");

        p = (char *) mempcpy(p, token, len);
        p = stpcpy(p, "\"");
        if (expires_at >= 0)
                p += sprintf(p, ",\"expires_at\":%" PRId64, expires_at);
        p = stpcpy(p, "}");
        return (size_t) (p - body);
}

static int set_send(const struct call *call, const char *token, size_t len) {
        AUTO(wire_answer_done) struct wire_answer answer = { 0 };
        char body[SET_BODY_SIZE];
        struct wire_path path;
        struct wire_request request = {
                .method = "PUT",
                .path = path.text,
                .accept = "application/json",
                .body = body,
                .body_len = set_make_body(body, token, len, call->expires_at),
                .timeout_us = ASK_TIMEOUT_S * INT64_C(1000000),
        };
        int r;

        (void) wire_path_begin(&path, PROTOCOL_PATH_CREDENTIALS "/", call->name,
                               "/secret"); /* a valid name */
        r = ask(call, &request, &answer);
        explicit_bzero(body, sizeof(body));
        return r;
}

int verb_set(const struct call *call) {
        const bool terminal = isatty(STDIN_FILENO);
        char input[SET_INPUT_MAX];
        const char *token;
        size_t len;
        ssize_t n;
        int r;

        n = terminal ? set_read_terminal(call->name, input) : set_read_file(input);
        if (n == -EMSGSIZE) {
                say(_("more than %d bytes on standard input: that is not a token"),
                    PROTOCOL_TOKEN_MAX);
                r = EXIT_USAGE;
        } else if (n < 0) {
                say(_("cannot read standard input: %s"), message_errno((int) -n));
                r = EXIT_FAILED;
        } else
                r = set_find_token(input, (size_t) n, &token, &len);
        if (r == EXIT_DONE)
                r = set_send(call, token, len);
        explicit_bzero(input, sizeof(input));
        if (r == EXIT_DONE && terminal)
                (void) fprintf(stderr, _("%s has its new token.\n"), call->name);
        return r;
}
