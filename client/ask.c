#include "client/ask.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/advice.h"
#include "client/message.h"
#include "client/protocol.h"
#include "client/words.h"

#define ASK_JSON_DEPTH 16

/* Answers */

struct json_object *ask_json(const struct wire_answer *answer) {
        struct json_tokener *tokener;
        struct json_object *o = NULL;

        if (strcmp(answer->content_type, "application/json") != 0 || answer->body_len > INT_MAX)
                return NULL;
        tokener = json_tokener_new_ex(ASK_JSON_DEPTH);
        if (!tokener)
                return NULL;
        json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
        o = json_tokener_parse_ex(tokener, answer->body, (int) answer->body_len);
        json_tokener_free(tokener);
        if (json_object_is_type(o, json_type_object))
                return o;
        json_object_put(o);
        return NULL;
}

char *ask_shown(struct json_object *o, const char *key, char ret[ASK_SHOWN_SIZE]) {
        const char *text = member_text(o, key);

        return words_clean(text && *text ? text : "-", ret, ASK_SHOWN_SIZE);
}

bool ask_list(struct json_object *o, const char *key, struct json_object **ret) {
        *ret = member_array(o, key);
        if (*ret)
                return true;
        say(_("what the daemon sent is not a list of %s: is bearerctl (%s) older or newer than bearerd?"),
            key, BEARERD_VERSION);
        return false;
}

const char *ask_line(struct json_object *o) {
        return json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN |
                                                         JSON_C_TO_STRING_NOSLASHESCAPE);
}

bool ask_json_pieces(const char *json, size_t len, struct iovec ret[ASK_JSON_PIECES]) {
        static const char blank[] = " \t\r\n", head[] = "{\"version\":" ASK_JSON_VERSION ",";
        size_t begin = 0;

        while (len > 0 && strchr(blank, json[len - 1]))
                len--;
        while (begin < len && strchr(blank, json[begin]))
                begin++;
        if (len - begin < 2 || json[begin] != '{' || json[len - 1] != '}')
                return false;
        do
                begin++;
        while (strchr(blank, json[begin])); /* no further than to the brace */
        ret[0] = (struct iovec){ (void *) head, sizeof(head) - 1 - (begin == len - 1) };
        ret[1] = (struct iovec){ (void *) (json + begin), len - begin };
        ret[2] = (struct iovec){ (void *) "\n", 1 };
        return true;
}

int ask_print_json(const char *json, size_t len) {
        struct iovec pieces[ASK_JSON_PIECES];

        if (!ask_json_pieces(json, len, pieces)) {
                say(_("what the daemon sent is no JSON object: is bearerctl (%s) older or newer than "
                      "bearerd?"),
                    BEARERD_VERSION);
                return EXIT_FAILED;
        }
        for (size_t i = 0; i < ASK_JSON_PIECES; i++)
                (void) fwrite(pieces[i].iov_base, 1, pieces[i].iov_len, stdout);
        return finish();
}

int ask_print_object(struct json_object *o) {
        const char *line = ask_line(o);

        return ask_print_json(line, strlen(line));
}

/* What went wrong */

static int ask_explain_unreachable(const char *socket, int r) {
        struct stat s;

        if (r == -EACCES || r == -EPERM) {
                say(_("you may not connect to %s: join the group that owns it "
                      "(see ls -l; then log in again), or ask for socket_mode and socket_group"),
                    socket);
                return EXIT_DENIED;
        }
        if (r == -ENAMETOOLONG) {
                say(_("the socket's path is longer than %d bytes: %s"), WIRE_SOCKET_MAX - 1,
                    socket);
                return EXIT_USAGE;
        }
        if (r == -ETIMEDOUT)
                say(_("the daemon at %s takes no more connections: it hangs or is overrun; "
                      "see journalctl -u bearerd"),
                    socket);
        else if (stat(socket, &s) == 0 && !S_ISSOCK(s.st_mode))
                say(_("%s is not a socket"), socket);
        else
                say(_("no daemon at %s: %s\n"
                      "  the system's:  systemctl start bearerd\n"
                      "  your own:      bearerd --user\n"
                      "  another one:   --socket PATH, or set %s"),
                    socket, message_errno(-r), PROTOCOL_SOCKET_ENV);
        return EXIT_UNREACHABLE;
}

static int ask_explain_broken(const char *socket, int r) {
        switch (r) {
        case -ECONNRESET:
                say(_("the daemon at %s hung up before it had answered: see journalctl -u bearerd, "
                      "then try again"),
                    socket);
                return EXIT_UNREACHABLE;
        case -ETIMEDOUT:
                say(_("the daemon at %s did not answer in time: see journalctl -u bearerd"),
                    socket);
                return EXIT_UNREACHABLE;
        case -EBADMSG:
                say(_("what came from %s is not an answer of bearerd: is that its socket?"),
                    socket);
                return EXIT_FAILED;
        case -EMSGSIZE:
                say(_("the answer from %s is too large to be one of bearerd: is that its socket?"),
                    socket);
                return EXIT_FAILED;
        default:
                say(_("talking to %s failed: %s"), socket, message_errno(-r));
                return EXIT_FAILED;
        }
}

static int ask_exit_code(int status) {
        switch (status) {
        case 403:
                return EXIT_DENIED;
        case 409:
                return EXIT_AUTHORIZE;
        case 502:
        case 503:
        case 504:
                return EXIT_UPSTREAM;
        default:
                return EXIT_FAILED;
        }
}

char *ask_refusal(struct json_object *o, char ret[ASK_SENTENCE_SIZE]) {
        const char *texts[] = { member_text(o, "error"), member_text(o, "message"),
                                member_text(o, "logid") };
        char error[128], message[ASK_SENTENCE_SIZE / 2], logid[128], status[32] = "";
        int64_t n = member_number(o, "status");

        words_clean(texts[0] ? texts[0] : "", error, sizeof(error));
        words_clean(texts[1] ? texts[1] : "", message, sizeof(message));
        words_clean(texts[2] ? texts[2] : "", logid, sizeof(logid));
        if (n > 0)
                (void) snprintf(status, sizeof(status), "HTTP %" PRId64, n);
        (void) snprintf(ret, ASK_SENTENCE_SIZE, "%s%s%s%s%s%s%s", status,
                        *status && *error ? " " : "", error,
                        (*status || *error) && *message ? ": " : "", message,
                        *logid ? "; logid " : "", logid);
        return ret;
}

char *ask_command(const struct call *call, const char *verb, char ret[ASK_SENTENCE_SIZE]) {
        char subject[PROTOCOL_SUBJECT_MAX + 1] = "";
        char *quoted = NULL;

        if (call->subject)
                quoted = words_quote(words_clean(call->subject, subject, sizeof(subject)));
        (void) snprintf(ret, ASK_SENTENCE_SIZE, "bearerctl %s %s%s%s", verb, call->name,
                        quoted ? " --subject " : "", quoted ? quoted : "");
        free(quoted);
        return ret;
}

/* What the daemon says is English: it stands in logs and in JSON, too. Who reads another language is
 * told before, in that one, what it comes to and what to do. */
static const struct {
        const char *error;
        const char *said; /* part of what the daemon says, where that makes a difference */
        const char *verb; /* that helps, or NULL; with the subject, if it is login */
        const char *sentence;
} ask_errors[] = {
        { PROTOCOL_AUTHORIZATION_REQUIRED, "bearerctl set", "set",
          N_("a new token is needed, made by hand in Coze's console") },
        { PROTOCOL_AUTHORIZATION_REQUIRED, "", "login", N_("a person must authorize it") },
        { PROTOCOL_ACCESS_DENIED, "administrator", NULL,
          N_("this is for administrators: see admin_users and admin_groups in bearerd.conf(5)") },
        { PROTOCOL_ACCESS_DENIED, "", "explain",
          N_("you may not use it: see allow_users, allow_groups and allow_units in bearerd.conf(5)") },
        { PROTOCOL_NOT_FOUND, "no credential is called", NULL,
          N_("there is no such credential here: bearerctl list shows those that you may use") },
        { PROTOCOL_NOT_FOUND, "nothing to forget", NULL, N_("there is nothing to forget") },
        { PROTOCOL_NOT_FOUND, "", NULL, N_("there is no such thing any more") },
        { PROTOCOL_INVALID_REQUEST, "min_ttl", NULL,
          N_("no token lives that long: ask for less (--min-ttl), or raise token_lifetime") },
        { PROTOCOL_INVALID_REQUEST, "of type", NULL,
          N_("that is not for credentials of this type") },
        { PROTOCOL_INVALID_REQUEST, "subject", NULL,
          N_("it has no subjects, or not this one (--subject)") },
        { PROTOCOL_INVALID_REQUEST, "", NULL, N_("the request must be another one") },
        { PROTOCOL_INVALID_SCOPE, "", NULL, N_("the scope is wider than what is allowed") },
        { PROTOCOL_SLOW_DOWN, "", NULL, N_("too much at once: ask for less at the same time") },
        { PROTOCOL_UPSTREAM_ERROR, "", NULL,
          N_("Coze has refused: is it the right region (coze.cn and coze.com share nothing)? "
             "bearerctl check looks at the configuration") },
        { PROTOCOL_TEMPORARILY_UNAVAILABLE, "", NULL,
          N_("Coze fails for now; bearerd keeps trying: ask again later") },
        { PROTOCOL_UPSTREAM_TIMEOUT, "", NULL,
          N_("Coze did not answer in time: ask again, or wait longer (--wait)") },
        { PROTOCOL_SERVER_ERROR, "", NULL,
          N_("the daemon lacks memory or disk space: see journalctl -u bearerd") },
};

const char *ask_translate(struct json_object *o, const char **ret_verb) {
        const char *said = member_text(o, "error_description"), *advice;

        *ret_verb = NULL;
        if (!said || message_is_english())
                return NULL;
        advice = advice_translate(said);
        if (advice && !member_is(o, "error", PROTOCOL_AUTHORIZATION_REQUIRED))
                return advice;
        for (size_t i = 0; i < sizeof(ask_errors) / sizeof(ask_errors[0]); i++)
                if (member_is(o, "error", ask_errors[i].error) &&
                    strstr(said, ask_errors[i].said)) {
                        *ret_verb = ask_errors[i].verb;
                        return _(ask_errors[i].sentence);
                }
        return NULL; /* of a newer daemon */
}

/* False: there is no more to say than what the daemon says. */
static bool ask_lead(const struct call *call, struct json_object *o) {
        struct call about = { .name = call->name };
        char command[ASK_SENTENCE_SIZE];
        const char *verb, *sentence = ask_translate(o, &verb);

        if (!sentence)
                return false;
        if (verb && strcmp(verb, "login") == 0)
                about.subject = call->subject;
        if (call->name && verb)
                say(_("%s: %s: %s"), call->name, sentence, ask_command(&about, verb, command));
        else if (call->name)
                say("%s: %s", call->name, sentence);
        else
                say("%s", sentence);
        return true;
}

/* The daemon's own sentence, or what can be said without one. */
static void ask_describe(struct json_object *o, int status, char ret[ASK_SENTENCE_SIZE]) {
        const char *text = member_text(o, "error_description"), *error = member_text(o, "error");
        char code[128];

        if (text) {
                (void) words_clean(text, ret, ASK_SENTENCE_SIZE);
                return;
        }
        (void) snprintf(ret, ASK_SENTENCE_SIZE, _("HTTP %d: %s; see journalctl -u bearerd"), status,
                        error ? words_clean(error, code, sizeof(code))
                              : _("the daemon says no more"));
}

int ask_explain(const struct call *call, const struct wire_answer *answer) {
        AUTO(ask_json_putp) struct json_object *o = ask_json(answer);
        struct json_object *upstream;
        char sentence[ASK_SENTENCE_SIZE];

        ask_describe(o, answer->status, sentence);
        if (ask_lead(call, o))
                say(_("the daemon said: %s"), sentence);
        else if (call->name && !strstr(sentence, call->name))
                say("%s: %s", call->name, sentence);
        else
                say("%s", sentence);
        if (json_object_object_get_ex(o, "upstream", &upstream) &&
            json_object_is_type(upstream, json_type_object) && *ask_refusal(upstream, sentence))
                say(_("the provider said: %s"), sentence);
        if (answer->retry_after_s >= 0) {
                char span[WORDS_SPAN_SIZE];

                say(_("try again in %s"), words_span(answer->retry_after_s, span));
        }
        return ask_exit_code(answer->status);
}

/* The question */

static int ask_connect(const struct call *call, char socket[WIRE_SOCKET_MAX], int *ret_fd) {
        int r;

        if (call->socket) {
                if (strlen(call->socket) >= WIRE_SOCKET_MAX)
                        return -ENAMETOOLONG;
                strcpy(socket, call->socket);
        } else {
                strcpy(socket, "$" PROTOCOL_SOCKET_ENV); /* shown if its value does not fit */
                r = wire_find_socket(socket);
                if (r < 0)
                        return r;
        }
        return wire_connect(socket, ASK_CONNECT_US, ret_fd);
}

/* The connection was closed without an answer, as when the daemon is being restarted: the next one is its successor's. Only
 * what may be done twice (RFC 9110 section 9.2.2). */
static bool ask_may_repeat(const struct wire_request *request, int r) {
        return r == -ECONNRESET &&
               (strcmp(request->method, "GET") == 0 || strcmp(request->method, "PUT") == 0);
}

int ask_begin(const struct call *call, const struct wire_request *request, int *ret_fd) {
        char socket[WIRE_SOCKET_MAX];
        int fd, r;

        r = ask_connect(call, socket, &fd);
        if (r < 0)
                return r;
        r = wire_send(fd, request);
        if (r < 0) {
                (void) close(fd); /* the question is lost */
                return r;
        }
        *ret_fd = fd;
        return 0;
}

int ask_end(int fd, const struct wire_request *request, struct wire_answer *ret) {
        int r = wire_receive(fd, request, ret);

        (void) close(fd); /* one question, one connection */
        return r;
}

int ask_quietly(const struct call *call, const struct wire_request *request,
                struct wire_answer *ret) {
        int fd, r;

        r = ask_begin(call, request, &fd);
        if (r < 0)
                return r;
        r = ask_end(fd, request, ret);
        if (!ask_may_repeat(request, r))
                return r;
        r = ask_begin(call, request, &fd);
        return r < 0 ? r : ask_end(fd, request, ret);
}

int ask_any(const struct call *call, const struct wire_request *request, struct wire_answer *ret) {
        char socket[WIRE_SOCKET_MAX] = "";
        int fd, r;

        r = ask_connect(call, socket, &fd);
        if (r < 0)
                return ask_explain_unreachable(*socket ? socket : call->socket, r);
        r = wire_call(fd, request, ret);
        (void) close(fd); /* one question, one connection */
        if (ask_may_repeat(request, r)) {
                r = ask_connect(call, socket, &fd);
                if (r < 0)
                        return ask_explain_unreachable(*socket ? socket : call->socket, r);
                r = wire_call(fd, request, ret);
                (void) close(fd);
        }
        return r < 0 ? ask_explain_broken(socket, r) : EXIT_DONE;
}

int ask(const struct call *call, const struct wire_request *request, struct wire_answer *ret) {
        struct wire_answer answer;
        int r;

        r = ask_any(call, request, &answer);
        if (r != EXIT_DONE)
                return r;
        if (answer.status < 200 || answer.status > 299) {
                r = ask_explain(call, &answer);
                wire_answer_done(&answer);
                return r;
        }
        *ret = answer;
        return EXIT_DONE;
}
