#include "client/verb.h"

/*
 * get and exec: a token for a script
 *
 * The token comes as text/plain, so that the common case parses no JSON, and goes from the wire's
 * memory, which is wiped, to standard output without a buffer of stdio between them.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "client/ask.h"
#include "client/message.h"
#include "client/protocol.h"
#include "client/words.h"

#define TOKEN_VARIABLE "COZE_API_TOKEN"
#define BASE_VARIABLE  "COZE_API_BASE"
#define BASE_SIZE      1024

static struct iovec token_piece(const char *text) {
        return (struct iovec){ (void *) text, strlen(text) };
}

/* Writes everything to standard output. An exit code. */
static int token_print(struct iovec *iov, int n) {
        while (n > 0) {
                ssize_t written = writev(STDOUT_FILENO, iov, n);

                if (written < 0 && errno == EINTR)
                        continue;
                if (written < 0) {
                        say(_("cannot write to standard output: %s"), message_errno(errno));
                        return EXIT_FAILED;
                }
                for (; n > 0 && (size_t) written >= iov->iov_len; iov++, n--)
                        written -= (ssize_t) iov->iov_len;
                if (n > 0) {
                        iov->iov_base = (char *) iov->iov_base + written;
                        iov->iov_len -= (size_t) written;
                }
        }
        return EXIT_DONE;
}

static int token_make_path(const struct call *call, struct wire_path *path) {
        int r;

        r = wire_path_begin(path, PROTOCOL_PATH_TOKEN, call->name, "");
        if (r == 0 && call->subject)
                r = wire_path_add(path, "subject", call->subject);
        if (r == 0 && call->min_ttl_s >= 0)
                r = wire_path_add_number(path, "min_ttl", call->min_ttl_s);
        if (r == 0 && call->wait_s >= 0)
                r = wire_path_add_number(path, "wait", call->wait_s);
        if (r == 0 && call->rejected)
                r = wire_path_add(path, "rejected", call->rejected);
        return r;
}

/* An exit code; EXIT_DONE with an answer that holds a token: as JSON with FORM_JSON, else the bare
 * token, which is fit for a header, a shell and the environment. */
static int token_get(const struct call *call, struct wire_answer *ret) {
        const bool json = call->form == FORM_JSON;
        int64_t wait_s = call->wait_s >= 0 ? call->wait_s : PROTOCOL_WAIT_DEFAULT_S;
        struct wire_path path;
        struct wire_request request = {
                .method = "GET",
                .path = path.text,
                .accept = json ? "application/json" : "text/plain",
                .timeout_us = (wait_s + ASK_TIMEOUT_S) * INT64_C(1000000),
        };
        struct iovec pieces[ASK_JSON_PIECES];
        int r;

        if (token_make_path(call, &path) < 0) {
                say(_("%s: the subject is longer than %d bytes"), call->name, PROTOCOL_SUBJECT_MAX);
                return EXIT_USAGE;
        }
        r = ask(call, &request, ret);
        if (r != EXIT_DONE)
                return r;
        if (strcmp(ret->content_type, request.accept) == 0 &&
            (json ? ask_json_pieces(ret->body, ret->body_len, pieces)
                  : ret->body_len <= PROTOCOL_TOKEN_MAX &&
                             words_is_token(ret->body, ret->body_len)))
                return EXIT_DONE;
        wire_answer_done(ret);
        say(_("%s: what the daemon sent is not a token: is bearerctl (%s) older or newer than bearerd?"),
            call->name, BEARERD_VERSION);
        return EXIT_FAILED;
}

/* The provider's API, as the daemon tells it: "https://api.coze.cn". False: not known. */
static bool token_get_base(const struct call *call, char ret[BASE_SIZE]) {
        AUTO(wire_answer_done) struct wire_answer answer = { 0 };
        AUTO(ask_json_putp) struct json_object *o = NULL;
        struct wire_path path;
        const struct wire_request request = ASK_GET(path.text);
        const char *url;

        if (wire_path_begin(&path, PROTOCOL_PATH_CREDENTIALS "/", call->name, "") < 0 ||
            ask_quietly(call, &request, &answer) < 0 || answer.status != 200)
                return false;
        o = ask_json(&answer);
        url = member_text(o, "api_url");
        if (!url || strlen(url) >= BASE_SIZE || !words_is_token(url, strlen(url)))
                return false;
        strcpy(ret, url);
        return true;
}

static int token_print_env(const struct call *call, const char *token) {
        char base[BASE_SIZE], *quoted, *quoted_base = NULL;
        struct iovec iov[6];
        int n = 0, r;

        quoted = words_quote(token);
        if (quoted && token_get_base(call, base))
                quoted_base = words_quote(base);
        if (!quoted) {
                say(_("out of memory"));
                return EXIT_FAILED;
        }
        iov[n++] = token_piece(TOKEN_VARIABLE "=");
        iov[n++] = token_piece(quoted);
        iov[n++] = token_piece("\n");
        if (quoted_base) {
                iov[n++] = token_piece(BASE_VARIABLE "=");
                iov[n++] = token_piece(quoted_base);
                iov[n++] = token_piece("\n");
        }
        r = token_print(iov, n);
        explicit_bzero(quoted, strlen(quoted));
        free(quoted);
        free(quoted_base);
        return r;
}

int verb_get(const struct call *call) {
        AUTO(wire_answer_done) struct wire_answer answer = { 0 };
        struct iovec iov[ASK_JSON_PIECES];
        int r;

        r = token_get(call, &answer);
        if (r != EXIT_DONE)
                return r;
        if (call->form == FORM_ENV)
                return token_print_env(call, answer.body);
        if (call->form == FORM_JSON)
                (void) ask_json_pieces(answer.body, answer.body_len, iov); /* it is an object */
        else {
                iov[0] = token_piece(call->form == FORM_HEADER ? "Authorization: Bearer " : "");
                iov[1] = (struct iovec){ answer.body, answer.body_len };
                iov[2] = token_piece("\n");
        }
        return token_print(iov, 3);
}

int verb_exec(const struct call *call) {
        struct wire_answer answer = { 0 };
        char base[BASE_SIZE];
        int r;

        r = token_get(call, &answer);
        if (r != EXIT_DONE)
                return r;
        r = setenv(TOKEN_VARIABLE, answer.body, 1);
        wire_answer_done(&answer);
        if (r == 0 && token_get_base(call, base))
                r = setenv(BASE_VARIABLE, base, 1);
        if (r < 0) {
                say(_("cannot set the environment: %s"), message_errno(errno));
                return EXIT_FAILED;
        }
        (void) execvp(call->command[0], call->command);
        r = errno;
        say(_("%s: cannot run it: %s"), call->command[0], message_errno(r));
        return r == ENOENT ? EXIT_NO_COMMAND : EXIT_NOT_EXECUTABLE;
}
