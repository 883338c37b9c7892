/*
 * bearerctl: the command line of bearerd
 *
 * Two tables say all of it, verbs and options. The parser, the help texts and "did you mean" are
 * made from them.
 */

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "client/message.h"
#include "client/protocol.h"
#include "client/verb.h"
#include "client/wire.h"
#include "client/words.h"

#define N_ELEMENTS(a)    (sizeof(a) / sizeof((a)[0]))
#define LOGIN_WAIT_MAX_S 86400 /* longer than any authorization is open */
#define NEAR             3     /* slips within which a word is taken for a misspelling */

void say(const char *format, ...) {
        char line[4096];
        va_list ap;

        va_start(ap, format);
        (void) vsnprintf(line, sizeof(line), format, ap); /* a longer one is cut */
        va_end(ap);
        (void) fprintf(stderr, "bearerctl: %s\n", line);
}

/* Options */

enum option_id {
        OPTION_SUBJECT,
        OPTION_MIN_TTL,
        OPTION_WAIT,
        OPTION_REJECTED,
        OPTION_HEADER,
        OPTION_JSON,
        OPTION_ENV,
        OPTION_EXPIRES_AT,
        OPTION_NO_BROWSER,
        OPTION_SUBJECTS,
        OPTION_CANCEL,
        OPTION_PID,
        OPTION_USER,
        OPTION_OFFLINE,
        OPTION_SOCKET,
        OPTION_HELP,
        OPTION_VERSION,
};

#define BIT(id)        (1u << (id))
#define OPTIONS_ALWAYS (BIT(OPTION_SOCKET) | BIT(OPTION_HELP) | BIT(OPTION_VERSION))

struct parsed {
        struct call call;
        int64_t wait_max_s; /* of the verb */
        bool help, version;
};

static int option_subject(struct parsed *p, const char *value) {
        if (strlen(value) > PROTOCOL_SUBJECT_MAX) {
                say(_("--subject: at most %d bytes"), PROTOCOL_SUBJECT_MAX);
                return -EINVAL;
        }
        p->call.subject = *value ? value : NULL; /* the empty one is the credential itself */
        return 0;
}

static int option_span(const char *name, const char *value, int64_t max_s, int64_t *ret_s) {
        int64_t s;

        if (words_parse_span(value, &s) < 0) {
                say(_("%s: \"%s\" is not a time span: write it with a unit, as 90s, 15min or 12h"),
                    name, value);
                return -EINVAL;
        }
        if (s > max_s) {
                char most[WORDS_SPAN_SIZE];

                say(_("%s: %s is too long: at most %s"), name, value,
                    words_span_typed(max_s, most));
                return -EINVAL;
        }
        *ret_s = s;
        return 0;
}

static int option_min_ttl(struct parsed *p, const char *value) {
        return option_span("--min-ttl", value, INT32_MAX, &p->call.min_ttl_s);
}

static int option_wait(struct parsed *p, const char *value) {
        return option_span("--wait", value, p->wait_max_s, &p->call.wait_s);
}

static int option_rejected(struct parsed *p, const char *value) {
        if (!words_is_fingerprint(value)) {
                say(_("--rejected: 16 hex digits, as Bearer-Fingerprint and --json give them, "
                      "never the token itself"));
                return -EINVAL;
        }
        p->call.rejected = value;
        return 0;
}

static int option_form(struct parsed *p, enum form form) {
        if (p->call.form != FORM_PLAIN && p->call.form != form) {
                say(_("one of --header, --json and --env, not two"));
                return -EINVAL;
        }
        p->call.form = form;
        return 0;
}

static int option_header(struct parsed *p, const char *value) {
        (void) value;
        return option_form(p, FORM_HEADER);
}

static int option_json(struct parsed *p, const char *value) {
        (void) value;
        return option_form(p, FORM_JSON);
}

static int option_env(struct parsed *p, const char *value) {
        (void) value;
        return option_form(p, FORM_ENV);
}

static int option_expires_at(struct parsed *p, const char *value) {
        const int64_t now = time(NULL);
        int64_t at;

        if (words_parse_date(value, &at) < 0) {
                say(_("--expires-at: \"%s\" is no date: write 2027-01-31, \"2027-01-31 18:00\", "
                      "2027-01-31T10:00:00Z or UNIX seconds"),
                    value);
                return -EINVAL;
        }
        if (at <= now) {
                say(_("--expires-at: %s has passed: make a new token"), value);
                return -EINVAL;
        }
        if (at / 100 > now) { /* some 5000 years */
                say(_("--expires-at: %s is too far away: UNIX seconds are meant, not milliseconds"),
                    value);
                return -EINVAL;
        }
        p->call.expires_at = at;
        return 0;
}

static int option_no_browser(struct parsed *p, const char *value) {
        (void) value;
        p->call.no_browser = true;
        return 0;
}

static int option_subjects(struct parsed *p, const char *value) {
        (void) value;
        p->call.subjects = true;
        return 0;
}

static int option_cancel(struct parsed *p, const char *value) {
        p->call.cancel = value;
        return 0;
}

static int option_pid(struct parsed *p, const char *value) {
        char *end;
        long pid = strtol(value, &end, 10);

        if (*value < '0' || *value > '9' || *end || pid < 1 || pid > INT32_MAX) {
                say(_("--pid: \"%s\" is not the number of a process"), value);
                return -EINVAL;
        }
        p->call.pid = pid;
        return 0;
}

static int option_user(struct parsed *p, const char *value) {
        (void) value;
        p->call.user = true;
        return 0;
}

static int option_offline(struct parsed *p, const char *value) {
        (void) value;
        p->call.offline = true;
        return 0;
}

static int option_socket(struct parsed *p, const char *value) {
        if (!*value || strlen(value) >= WIRE_SOCKET_MAX) {
                say(_("--socket: a path of 1 to %d bytes"), WIRE_SOCKET_MAX - 1);
                return -EINVAL;
        }
        p->call.socket = value;
        return 0;
}

static int option_help(struct parsed *p, const char *value) {
        (void) value;
        p->help = true;
        return 0;
}

static int option_version(struct parsed *p, const char *value) {
        (void) value;
        p->version = true;
        return 0;
}

static const struct option {
        const char *name;
        char letter;       /* 0: none */
        const char *value; /* NULL: takes none */
        int (*take)(struct parsed *p, const char *value);
        const char *help;
} options[] = {
        [OPTION_SUBJECT] = { "--subject", 0, "S", option_subject,
                             N_("the end user below the credential (default: none)") },
        [OPTION_MIN_TTL] = { "--min-ttl", 0, "SPAN", option_min_ttl,
                             N_("the token must be good for this long (default: 60s)") },
        [OPTION_WAIT] = { "--wait", 0, "SPAN", option_wait,
                          N_("wait this long (default: 30s; login: until it ends)") },
        [OPTION_REJECTED] = { "--rejected", 0, "FINGERPRINT", option_rejected,
                              N_("the API refused that token: renew it") },
        [OPTION_HEADER] = { "--header", 0, NULL, option_header,
                            N_("print an Authorization header") },
        [OPTION_JSON] = { "--json", 0, NULL, option_json, N_("print JSON, for a program") },
        [OPTION_ENV] = { "--env", 0, NULL, option_env,
                         N_("print COZE_API_TOKEN=... and COZE_API_BASE=...") },
        [OPTION_EXPIRES_AT] = { "--expires-at", 0, "DATE", option_expires_at,
                                N_("when the token expires: 2027-01-31, or UNIX seconds") },
        [OPTION_NO_BROWSER] = { "--no-browser", 0, NULL, option_no_browser,
                                N_("print the address, do not open it") },
        [OPTION_SUBJECTS] = { "--subjects", 0, NULL, option_subjects,
                              N_("all end users below the credential") },
        [OPTION_CANCEL] = { "--cancel", 0, "ID", option_cancel, N_("end this one") },
        [OPTION_PID] = { "--pid", 0, "PID", option_pid, N_("another process than this one") },
        [OPTION_USER] = { "--user", 0, NULL, option_user,
                          N_("the configuration of bearerd --user, not the system's") },
        [OPTION_OFFLINE] = { "--offline", 0, NULL, option_offline,
                             N_("ask nobody: the configuration and its keys alone") },
        [OPTION_SOCKET] = { "--socket", 0, "PATH", option_socket,
                            N_("the daemon's socket (default: see bearerctl(1))") },
        [OPTION_HELP] = { "--help", 'h', NULL, option_help, N_("print help") },
        [OPTION_VERSION] = { "--version", 'V', NULL, option_version, N_("print the version") },
};

/* Verbs */

static int verb_help(const struct call *call);

static const struct verb {
        const char *name;
        const char *operands; /* for the usage line */
        const char *help;
        int (*run)(const struct call *call);
        unsigned options;
        int least, most;    /* operands */
        int64_t wait_max_s; /* 0: as long as the daemon waits */
        bool file;          /* the operand is one; else a name */
        bool command;       /* a command follows them */
        bool secret;        /* a token passes through: no core dump, no debugger */
} verbs[] = {
        { "get", "NAME", N_("print a token that is still good"), verb_get,
          BIT(OPTION_SUBJECT) | BIT(OPTION_MIN_TTL) | BIT(OPTION_WAIT) | BIT(OPTION_REJECTED) |
                  BIT(OPTION_HEADER) | BIT(OPTION_JSON) | BIT(OPTION_ENV),
          .least = 1, .most = 1, .secret = true },
        { "exec", "NAME -- COMMAND...", N_("run a command with the token in its environment"),
          verb_exec, BIT(OPTION_SUBJECT) | BIT(OPTION_MIN_TTL) | BIT(OPTION_WAIT), .least = 1,
          .most = 1, .command = true, .secret = true },
        { "set", "NAME", N_("hand over a new static token, on standard input"), verb_set,
          BIT(OPTION_EXPIRES_AT), .least = 1, .most = 1, .secret = true },
        { "login", "NAME", N_("have a person authorize it, by browser or by code"), verb_login,
          BIT(OPTION_SUBJECT) | BIT(OPTION_NO_BROWSER) | BIT(OPTION_WAIT) | BIT(OPTION_JSON),
          .least = 1, .most = 1, .wait_max_s = LOGIN_WAIT_MAX_S, .secret = true },
        { "logout", "NAME", N_("forget its grant and tokens"), verb_logout, BIT(OPTION_SUBJECT),
          .least = 1, .most = 1 },
        { "authorizations", "[NAME]", N_("who is being asked to authorize"), verb_authorizations,
          BIT(OPTION_CANCEL) | BIT(OPTION_JSON), .most = 1 },
        { "list", "", N_("names of the credentials that you may use"), verb_list, .options = 0 },
        { "status", "[NAME]", N_("their state, and what needs attention"), verb_status,
          BIT(OPTION_SUBJECTS) | BIT(OPTION_JSON), .most = 1 },
        { "watch", "[NAME]", N_("what happens to them, as it happens"), verb_watch,
          BIT(OPTION_SUBJECT) | BIT(OPTION_JSON), .most = 1 },
        { "explain", "NAME", N_("which rule lets a process in, or keeps it out"), verb_explain,
          BIT(OPTION_PID) | BIT(OPTION_JSON), .least = 1, .most = 1 },
        { "check", "[FILE]", N_("what keeps tokens away, and what to do"), verb_check,
          BIT(OPTION_USER) | BIT(OPTION_OFFLINE) | BIT(OPTION_JSON), .most = 1, .file = true },
        { "reload", "", N_("have the daemon read its configuration again"), verb_reload,
          .options = BIT(OPTION_JSON) },
        { "rekey", "[FILE]", N_("seal all grants with a new key"), verb_rekey, BIT(OPTION_USER),
          .most = 1, .file = true },
        { "health", "", N_("tell whether the daemon runs and every token is good"), verb_health,
          .options = 0 },
        { "help", "[VERB]", N_("this text, or the options of a verb"), verb_help, .most = 1 },
};

static const struct verb *verb_find(const char *name) {
        for (size_t i = 0; i < N_ELEMENTS(verbs); i++)
                if (strcmp(verbs[i].name, name) == 0)
                        return &verbs[i];
        return NULL;
}

/* Help */

static void help_print_options(unsigned set) {
        for (size_t i = 0; i < N_ELEMENTS(options); i++) {
                const struct option *o = &options[i];
                char left[32];

                if (!(set & BIT(i)))
                        continue;
                (void) snprintf(left, sizeof(left), "%s%s%s", o->name, o->value ? " " : "",
                                o->value ? o->value : "");
                (void) printf("  %-23s %s\n", left, _(o->help));
        }
}

static void help_print(void) {
        (void) puts(_("Usage: bearerctl [--socket PATH] VERB [ARGUMENT...]\n"
                      "Ask bearerd, the local token broker, for Coze access tokens.\n"));
        for (size_t i = 0; i < N_ELEMENTS(verbs); i++) {
                char left[40];

                (void) snprintf(left, sizeof(left), "%s %s", verbs[i].name, verbs[i].operands);
                (void) printf("  %-25s %s\n", left, _(verbs[i].help));
        }
        (void) puts(_(
                "\nExample: bearerctl exec bot -- python3 app.py\n"
                "\nExit codes: 0 done, 1 failed, 2 usage, 3 daemon not reachable,\n"
                "4 access denied, 5 authorization required, 6 upstream failed. See man bearerctl"));
}

static void help_print_verb(const struct verb *verb) {
        const char *help = _(verb->help);
        char usage[80];

        (void) snprintf(usage, sizeof(usage), "%s%s%s%s", verb->name,
                        verb->options ? " [OPTION...]" : "", *verb->operands ? " " : "",
                        verb->operands);
        (void) printf(_("Usage: bearerctl %s\n%c%s.\n\n"), usage, toupper((unsigned char) help[0]),
                      help + 1);
        help_print_options(verb->options | OPTIONS_ALWAYS);
}

/* Standard output may be a full disk: what was printed must have arrived. */
int finish(void) {
        if (fflush(stdout) == 0 && !ferror(stdout))
                return EXIT_DONE;
        say(_("cannot write to standard output: %m"));
        return EXIT_FAILED;
}

/* "unknown verb "stats": did you mean status?" */
static int usage_unknown_verb(const char *word) {
        const char *nearest = NULL;
        unsigned best = NEAR;

        for (size_t i = 0; i < N_ELEMENTS(verbs); i++) {
                unsigned d = words_distance(word, verbs[i].name);

                if (d < best) {
                        best = d;
                        nearest = verbs[i].name;
                }
        }
        if (nearest)
                say(_("unknown verb \"%s\": did you mean %s?"), word, nearest);
        else
                say(_("unknown verb \"%s\": bearerctl --help lists them"), word);
        return EXIT_USAGE;
}

static int usage_unknown_option(const struct verb *verb, const char *word) {
        const unsigned set = verb ? OPTIONS_ALWAYS | verb->options : ~0u;
        const char *nearest = NULL;
        unsigned best = NEAR;

        for (size_t i = 0; i < N_ELEMENTS(options); i++) {
                unsigned d = words_distance(word, options[i].name);

                if (set & BIT(i) && d < best) {
                        best = d;
                        nearest = options[i].name;
                }
        }
        if (nearest)
                say(_("unknown option %s: did you mean %s?"), word, nearest);
        else if (verb)
                say(_("%s: unknown option %s: bearerctl help %s lists them"), verb->name, word,
                    verb->name);
        else
                say(_("unknown option %s: bearerctl help VERB lists them"), word);
        return EXIT_USAGE;
}

static int verb_help(const struct call *call) {
        const struct verb *verb;

        if (!call->name) {
                help_print();
                return finish();
        }
        verb = verb_find(call->name);
        if (!verb)
                return usage_unknown_verb(call->name);
        help_print_verb(verb);
        return finish();
}

/* The command line */

static int parse_option(struct parsed *p, const struct verb *verb, char **argv, int *i) {
        const unsigned set = OPTIONS_ALWAYS | (verb ? verb->options : 0);
        const char *word = argv[*i], *equals = strchr(word, '=');
        size_t len = equals ? (size_t) (equals - word) : strlen(word);
        const char *value = equals ? equals + 1 : NULL;

        for (size_t k = 0; k < N_ELEMENTS(options); k++) {
                const struct option *o = &options[k];
                const bool letter = o->letter && word[1] == o->letter && !word[2];

                if (!letter && (strlen(o->name) != len || strncmp(o->name, word, len) != 0))
                        continue;
                if (!(set & BIT(k))) {
                        if (verb)
                                say(_("%s takes no %s: bearerctl help %s lists its options"),
                                    verb->name, o->name, verb->name);
                        else
                                say(_("%s comes after the verb"), o->name);
                        return EXIT_USAGE;
                }
                if (!o->value && value) {
                        say(_("%s takes no value"), o->name);
                        return EXIT_USAGE;
                }
                if (o->value && !value)
                        value = argv[++*i];
                if (o->value && !value) {
                        say(_("%s needs a value: %s %s"), o->name, o->name, o->value);
                        return EXIT_USAGE;
                }
                return o->take(p, value) < 0 ? EXIT_USAGE : EXIT_DONE;
        }
        return usage_unknown_option(verb, word);
}

static int parse_operand(struct parsed *p, const struct verb *verb, const char *word) {
        if (verb->file) {
                p->call.file = word;
                return EXIT_DONE;
        }
        if (verb->run != verb_help && !wire_is_name(word)) {
                say(_("\"%s\" is not the name of a credential: 1 to %d of A-Z a-z 0-9 . _ -"), word,
                    PROTOCOL_NAME_MAX);
                return EXIT_USAGE;
        }
        p->call.name = word;
        return EXIT_DONE;
}

/* Fills *p; *ret_verb is NULL if there is none. EXIT_DONE, or it has been said what is wrong. */
static int parse(char **argv, struct parsed *p, const struct verb **ret_verb) {
        const struct verb *verb = NULL;
        bool only_operands = false;
        int operands = 0, r = EXIT_DONE;

        for (int i = 1; argv[i] && r == EXIT_DONE && !p->help && !p->version; i++) {
                char *word = argv[i];

                if (!only_operands && strcmp(word, "--") == 0)
                        only_operands = true;
                else if (!only_operands && word[0] == '-' && word[1])
                        r = parse_option(p, verb, argv, &i);
                else if (!verb) {
                        verb = verb_find(word);
                        if (!verb)
                                r = usage_unknown_verb(word);
                        else
                                p->wait_max_s = verb->wait_max_s ? verb->wait_max_s
                                                                 : PROTOCOL_WAIT_MAX_S;
                } else if (operands < verb->most) {
                        operands++;
                        r = parse_operand(p, verb, word);
                } else if (verb->command) {
                        p->call.command = &argv[i]; /* the rest is its own */
                        break;
                } else {
                        say(_("%s: \"%s\" is one argument too many"), verb->name, word);
                        r = EXIT_USAGE;
                }
        }
        *ret_verb = verb;
        if (r != EXIT_DONE || p->help || p->version)
                return r;
        if (!verb) {
                say(_("which verb? bearerctl --help lists them"));
                return EXIT_USAGE;
        }
        if (operands < verb->least || (verb->command && !p->call.command)) {
                say(_("%s: something is missing: bearerctl %s %s"), verb->name, verb->name,
                    verb->operands);
                return EXIT_USAGE;
        }
        return EXIT_DONE;
}

/* Where a standard stream is closed, the next thing to be opened, say the daemon's socket, would take its place and get what
 * is meant for it. What holds the place fails as the stream would; the command of exec does not get it. */
static void hold_standard_streams(void) {
        for (int fd = 0; fd <= 2; fd++)
                if (fcntl(fd, F_GETFD) < 0)
                        (void) open("/dev/null", (fd == 0 ? O_WRONLY : O_RDONLY) |
                                                         O_CLOEXEC); /* the least free: fd */
}

int main(int argc, char **argv) {
        struct parsed p = { .call = { .min_ttl_s = -1, .wait_s = -1, .expires_at = -1 } };
        const struct verb *verb = NULL;
        int r;

        hold_standard_streams();
        r = argc > 0 ? parse(argv, &p, &verb) : EXIT_USAGE;
        if (r != EXIT_DONE)
                return r;
        if (p.version) {
                (void) puts("bearerctl " BEARERD_VERSION);
                return finish();
        }
        if (p.help) {
                if (verb)
                        help_print_verb(verb);
                else
                        help_print();
                return finish();
        }
        if (verb->secret)
                (void) prctl(PR_SET_DUMPABLE, 0); /* a second line of defence; fails nowhere */
        return verb->run(&p.call);
}
