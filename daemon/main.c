#include <getopt.h>
#include <grp.h>
#include <inttypes.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>

#include "api/audit.h"
#include "api/feed.h"
#include "api/loopback.h"
#include "api/server.h"
#include "api/sockets.h"
#include "api/unit_socket.h"
#include "base/auto.h"
#include "base/err.h"
#include "base/list.h"
#include "base/log.h"
#include "base/sandbox.h"
#include "base/wipe.h"
#include "broker/broker.h"
#include "check/check.h"
#include "conf/conf.h"
#include "hook/hook.h"
#include "http/curl.h"
#include "service/reload.h"
#include "store/rekey.h"
#include "store/sqlite.h"

/*
 * bearerd: arguments, hardening, wiring, the loop, the exit code
 *
 * The loop (this thread) owns the broker and everything below it; the server has a thread of its own; the store
 * writes in a third. They meet in inboxes, and in the cache.
 */

struct options {
        const char *config; /* NULL: the default file */
        enum conf_scope scope;
        const char *new_key; /* NULL: one that takes the place of key_file */
        bool check, diagnose, offline, rekey;
};

#define STATUS_MAX       (WHY_MAX + 256)
#define STATUS_PAUSE_US  (200 * US_PER_MS) /* changes that come together are told together */
#define STATUS_NAMES     3                 /* credentials in trouble that are named */
#define STOP_PATIENCE_US (5 * US_PER_S)    /* for the provider to answer those who wait */

struct daemon {
        const struct options *options;
        struct conf *conf;
        char *file; /* where the configuration is, or would be */
        sd_event *event;
        sd_event_source *timer;
        struct inbox *inbox;
        struct timers *timers;
        struct transport *transport;
        struct store *store;
        struct cache *cache;
        struct audit *audit;
        struct feed *feed;
        struct hooks *hooks;
        struct broker *broker;
        struct loopback *loopback;
        struct unit_sockets *unit_sockets;
        struct server *server;
        struct sockets *sockets;
        struct reload *reload;
        int *fds;
        bool stopping, quiet, server_stopped, broker_stopped;
        sd_event_source *patience;

        /* what the service manager is told */
        bool is_told;     /* somebody listens */
        unsigned changes; /* that it knows of */
        sd_event_source *status_timer;
        char status[STATUS_MAX], refusal[WHY_MAX];
        bool refused; /* the last reload was */
        sd_event_source *watchdog;
        uint64_t watchdog_us;
        bool awaits_pong;
        struct message pong;
        struct message stopped;
};

static const char help[] =
        "bearerd [OPTIONS]\n"
        "\n"
        "Holds credentials, obtains and renews access tokens, and hands them to local processes.\n"
        "\n"
        "  --config FILE  read FILE instead of /etc/bearerd/bearerd.conf\n"
        "  --user         run for one person: configuration, state and socket in the XDG directories\n"
        "  --check        check the configuration, say what is wrong and how to mend it, and exit\n"
        "  --diagnose     the same and more, as far as to a token, one fact a line: what bearerctl check reads\n"
        "  --offline      with --diagnose: ask nobody\n"
        "  --rekey        seal all that is stored under a new key, and exit; bearerd must be stopped\n"
        "  --new-key FILE with --rekey: take the key from FILE, or make it there, and leave key_file alone\n"
        "  --help, --version\n"
        "\n"
        "Then: bearerctl get NAME, or curl --unix-socket /run/bearerd/bearerd.sock http://localhost/v1/token/NAME\n"
        "See bearerd(8), bearerd.conf(5), bearerctl(1).\n";

/* 0: go on; 1: done, exit with success; -EINVAL: said what is wrong. */
static int parse_arguments(int argc, char *argv[], struct options *ret) {
        static const struct option options[] = {
                { "config", required_argument, NULL, 'c' },  { "user", no_argument, NULL, 'u' },
                { "check", no_argument, NULL, 'k' },         { "rekey", no_argument, NULL, 'r' },
                { "diagnose", no_argument, NULL, 'd' },      { "offline", no_argument, NULL, 'o' },
                { "new-key", required_argument, NULL, 'n' }, { "help", no_argument, NULL, 'h' },
                { "version", no_argument, NULL, 'v' },       { 0 },
        };
        int c;

        while ((c = getopt_long(argc, argv, "c:h", options, NULL)) != -1)
                switch (c) {
                case 'c':
                        ret->config = optarg;
                        break;
                case 'u':
                        ret->scope = CONF_USER;
                        break;
                case 'k':
                        ret->check = true;
                        break;
                case 'd':
                        ret->diagnose = true;
                        break;
                case 'o':
                        ret->offline = true;
                        break;
                case 'r':
                        ret->rekey = true;
                        break;
                case 'n':
                        ret->new_key = optarg;
                        break;
                case 'h':
                        (void) fputs(help, stdout);
                        return 1;
                case 'v':
                        (void) puts("bearerd " BEARERD_VERSION);
                        return 1;
                default:
                        (void) fputs("Try: bearerd --help\n", stderr);
                        return -EINVAL;
                }
        if (optind < argc) {
                (void) fprintf(stderr, "bearerd: unexpected argument: %s\nTry: bearerd --help\n",
                               argv[optind]);
                return -EINVAL;
        }
        if (ret->new_key && !ret->rekey) {
                (void) fputs("bearerd: --new-key goes with --rekey\nTry: bearerd --help\n", stderr);
                return -EINVAL;
        }
        if (ret->offline && !ret->diagnose) {
                (void) fputs("bearerd: --offline goes with --diagnose\nTry: bearerd --help\n",
                             stderr);
                return -EINVAL;
        }
        return 0;
}

/* --- configuration --- */

static void print_report(const struct conf_report *report) {
        for (size_t i = 0; i < report->n; i++)
                (void) fprintf(stderr, "%s: %s\n",
                               report->problems[i].is_error ? "error" : "warning",
                               report->problems[i].text);
}

static void log_report(const struct conf_report *report) {
        char quoted[WHY_MAX + 3];

        for (size_t i = 0; i < report->n; i++)
                log_write(report->problems[i].is_error ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING,
                          "event=configuration problem=%s",
                          log_quote(report->problems[i].text, quoted, sizeof(quoted)));
}

/* The journal may not know any more whose line it is when it gets to reading it: the manager does. */
static void tell_of_mistake(const struct conf_report *report, int r) {
        const char *first = conf_report_first_error(report);

        if (first)
                (void) sd_notifyf(0, "STATUS=%s\nERRNO=%d", first, -r);
}

static int load(const struct options *options, struct conf **ret) {
        struct conf_report report = { 0 };
        int r;

        r = reload_read(options->config, options->scope, &report, ret);
        if (options->check || options->rekey)
                print_report(&report);
        else {
                log_report(&report);
                if (r < 0)
                        tell_of_mistake(&report, r);
        }
        conf_report_done(&report);
        return PASS(r);
}

static int check(const struct options *options) {
        AUTO(conf_freep) struct conf *conf = NULL;

        if (load(options, &conf) < 0) {
                (void) fputs("The configuration has errors; bearerd would not start with it.\n",
                             stderr);
                return EXIT_FAILURE;
        }
        (void) printf("The configuration is good: %zu credential%s, %zu socket%s.\n",
                      conf->n_credentials, conf->n_credentials == 1 ? "" : "s", conf->n_sockets,
                      conf->n_sockets == 1 ? "" : "s");
        return EXIT_SUCCESS;
}

/* Where the service has what LoadCredential= names. */
static int name_credentials_directory(enum conf_scope scope) {
        const char *runtime = getenv("XDG_RUNTIME_DIR");
        char directory[PATH_MAX] = "/run/credentials/bearerd.service";

        if (scope == CONF_USER)
                (void) snprintf(directory, sizeof(directory), "%s/credentials/bearerd.service",
                                runtime ? runtime : "/run"); /* cut, it is not there either */
        return setenv("CREDENTIALS_DIRECTORY", directory, 0);
}

/* What the service sees is seen as its user: files of other owners are not what it would take. */
static int become_service_user(const struct options *options) {
        const struct passwd *p;

        if (geteuid() != 0 || options->config || options->scope != CONF_SYSTEM)
                return 0;
        p = getpwnam("bearerd");
        if (!p)
                return 0;
        return initgroups(p->pw_name, p->pw_gid) < 0 || setgid(p->pw_gid) < 0 ||
                               setuid(p->pw_uid) < 0
                       ? RAISE(-errno)
                       : sandbox_harden(); /* a change of user takes some of it back */
}

static int diagnose_with(const struct options *options, struct check_parts *parts) {
        AUTO(sd_event_unrefp) sd_event *event = NULL;
        AUTO(transport_curl_freep) struct transport *transport = NULL;
        int r;

        r = sd_event_new(&event);
        if (r < 0)
                return RAISE(r);
        r = transport_curl_new(event, &clock_system, "bearerd/" BEARERD_VERSION, &transport);
        if (r < 0)
                return PASS(r);
        parts->event = event;
        parts->transport = transport;
        parts->clock = &clock_system;
        parts->random = &random_system;
        parts->offline = options->offline;
        parts->out = stdout;
        return check_run(parts);
}

static int diagnose(const struct options *options) {
        AUTO(conf_freep) struct conf *conf = NULL;
        AUTO(auto_freep) char *standard = NULL;
        struct conf_report report = { 0 };
        struct check_parts parts = { .file = options->config, .report = &report };
        int r;

        (void) signal(SIGPIPE, SIG_IGN);
        if (become_service_user(options) < 0 || name_credentials_directory(options->scope) < 0) {
                (void) fprintf(stderr, "bearerd: cannot look as the service does: %s\n",
                               strerror(errno));
                return EXIT_FAILURE;
        }
        if (!options->config && conf_default_path(options->scope, &standard) == 0)
                parts.file = standard;
        r = reload_look(options->config, options->scope, &report, &conf);
        parts.conf = conf;
        if (r == 0 || r == -EINVAL)
                r = diagnose_with(options, &parts);
        conf_report_done(&report);
        if (r < 0 && r != -EPIPE) /* who read has left */
                (void) fprintf(stderr, "bearerd: cannot check: %s (%s)\n", strerror(-r),
                               err_origin());
        if (r < 0)
                return EXIT_FAILURE;
        return EXIT_SUCCESS;
}

static int rekey(const struct options *options) {
        AUTO(conf_freep) struct conf *conf = NULL;
        struct why why = { "" };
        size_t rows;

        if (load(options, &conf) < 0) {
                (void) fputs("The configuration has errors; nothing was changed.\n", stderr);
                return EXIT_FAILURE;
        }
        if (store_sqlite_rekey(conf->state_dir, conf->key_file, options->new_key, &why, &rows) <
            0) {
                (void) fprintf(stderr, "bearerd: %s\n", why.text);
                return EXIT_FAILURE;
        }
        (void) printf("Resealed %zu secret%s in %s under a new key.\n", rows, rows == 1 ? "" : "s",
                      conf->state_dir);
        if (options->new_key)
                (void) printf("It is in %s: put it in the place of %s before bearerd starts.\n",
                              options->new_key, conf->key_file);
        else
                (void) printf(
                        "%s was replaced; backups made before are still sealed under the old one.\n",
                        conf->key_file);
        return EXIT_SUCCESS;
}

/* --- the loop --- */

static int arm_timer(struct daemon *d) {
        mono_t next = timers_next(d->timers);

        if (next.us == INT64_MAX)
                return sd_event_source_set_enabled(d->timer, SD_EVENT_OFF);
        (void) sd_event_source_set_time(
                d->timer, (uint64_t) next.us); /* fails only for a source that is no timer */
        return sd_event_source_set_enabled(d->timer, SD_EVENT_ONESHOT);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        struct daemon *d = userdata;

        (void) source;
        (void) usec;
        timers_run(d->timers, clock_mono(&clock_system));
        return 0;
}

static int on_inbox(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        struct daemon *d = userdata;

        (void) source;
        (void) fd;
        (void) revents;
        inbox_run(d->inbox);
        return 0;
}

/* The end comes when the last answer is out and no refresh token is on its way. */
static void end_when_all_is_done(struct daemon *d) {
        if (d->server_stopped && d->quiet)
                (void) sd_event_exit(d->event, 0); /* fails only for an event loop that has ended */
}

static void on_quiet(void *user) {
        struct daemon *d = user;

        d->quiet = true;
        end_when_all_is_done(d);
}

static void stop_broker(struct daemon *d) {
        if (!d->broker_stopped)
                broker_stop(d->broker, on_quiet, d);
        d->broker_stopped = true;
}

static void on_stopped(struct message *m) {
        struct daemon *d = list_entry(m, struct daemon, stopped);

        d->server_stopped = true;
        if (unit_sockets_visits(d->unit_sockets) == 0)
                stop_broker(d);
        end_when_all_is_done(d);
}

static int on_no_patience(sd_event_source *source, uint64_t usec, void *userdata) {
        (void) source;
        (void) usec;
        stop_broker(userdata);
        return 0;
}

/* Nobody new is accepted, and callers have a moment for what they wait for; a second signal ends that. */
static int on_stop_signal(sd_event_source *source, const struct signalfd_siginfo *si,
                          void *userdata) {
        struct daemon *d = userdata;

        (void) source;
        if (d->stopping) {
                stop_broker(d);
                return 0;
        }
        d->stopping = true;
        log_info("event=stopping signal=%u", si->ssi_signo);
        (void) sd_notify(
                0, "STOPPING=1\nSTATUS=Answering the last callers"); /* nobody may be listening */
        reload_stop(d->reload);
        unit_sockets_stop(d->unit_sockets);
        authorizations_stop(broker_authorizations(d->broker),
                            "bearerd is stopping; start the authorization again");
        d->stopped.run = on_stopped;
        server_stop(d->server, &d->stopped);
        if (sd_event_add_time_relative(d->event, &d->patience, CLOCK_BOOTTIME, STOP_PATIENCE_US, 0,
                                       on_no_patience, d) < 0)
                stop_broker(d);
        return 0;
}

/* --- what the service manager is told --- */

/* "3 ready, 1 needs authorization: site" */
static void describe(const struct daemon *d, char ret[STATUS_MAX]) {
        static const char *const words[CREDENTIAL_STATE_MAX] = {
                [CREDENTIAL_READY] = "ready",
                [CREDENTIAL_IDLE] = "idle",
                [CREDENTIAL_RENEWING] = "renewing",
                [CREDENTIAL_AUTHORIZATION_REQUIRED] = "needs authorization",
                [CREDENTIAL_FAILING] = "failing",
                [CREDENTIAL_EXPIRED] = "expired",
        };
        size_t n[CREDENTIAL_STATE_MAX] = { 0 }, named = 0, len = 0;
        char names[256] = "";

        for (size_t i = 0; i < d->conf->n_credentials; i++) {
                struct credential_view v;

                broker_view(d->broker, d->conf->credentials[i], &v);
                n[v.state]++;
                if (v.state >= CREDENTIAL_AUTHORIZATION_REQUIRED && named++ < STATUS_NAMES) {
                        size_t used = strlen(names);

                        (void) snprintf(names + used, sizeof(names) - used, "%s%s",
                                        *names ? ", " : ": ", v.credential->name);
                }
        }
        ret[0] = '\0';
        for (size_t i = 0; i < CREDENTIAL_STATE_MAX; i++)
                if (n[i] > 0)
                        len += (size_t) snprintf(ret + len, STATUS_MAX - len, "%s%zu %s",
                                                 len ? ", " : "", n[i], words[i]);
        if (len == 0)
                len = (size_t) snprintf(ret, STATUS_MAX, "No credential yet: see bearerd.conf(5)");
        (void) snprintf(ret + len, STATUS_MAX - len, "%s%s%s%s", names,
                        named > STATUS_NAMES ? ", ..." : "",
                        d->refusal[0] ? "; the last reload was refused: " : "", d->refusal);
}

static void tell_status(struct daemon *d, const char *before) {
        char status[STATUS_MAX];

        d->changes = broker_changes(d->broker);
        describe(d, status);
        if (!*before && strcmp(status, d->status) == 0)
                return;
        memcpy(d->status, status, sizeof(status));
        (void) sd_notifyf(0, "%sSTATUS=%s", before, status); /* nobody may be listening */
}

static int on_status_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        struct daemon *d = userdata;

        (void) source;
        (void) usec;
        if (!d->stopping)
                tell_status(d, "");
        return 0;
}

/* What has changed is told soon, not at once: then no renewal costs more than one message. */
static void plan_status(struct daemon *d) {
        int enabled = SD_EVENT_OFF;

        if (!d->status_timer || d->changes == broker_changes(d->broker) ||
            sd_event_source_get_enabled(d->status_timer, &enabled) < 0 || enabled != SD_EVENT_OFF)
                return;
        d->changes = broker_changes(d->broker);
        (void) sd_event_source_set_time_relative(d->status_timer, STATUS_PAUSE_US);
        (void) sd_event_source_set_enabled(d->status_timer,
                                           SD_EVENT_ONESHOT); /* else the next change tells it */
}

static int make_hooks(struct daemon *d, const struct conf *conf, struct hooks **ret) {
        const struct hooks_parts parts = {
                .command = { .event = d->event, .timers = d->timers, .clock = &clock_system },
                .cache = d->cache,
        };

        return hooks_new(&parts, conf, ret);
}

static void on_change_of_conf(void *user, const struct conf *conf) {
        struct hooks *hooks = NULL;
        struct daemon *d = user;

        feed_start_over(d->feed);
        audit_set_mode(d->audit, conf->audit);
        if (make_hooks(d, conf, &hooks) == 0) {
                hooks_succeed(hooks, d->hooks);
        } else {
                hooks_free(d->hooks); /* they are those of another configuration */
                log_error("event=hooks_failed error=\"out of memory\" advice=\"restart bearerd\"");
        }
        d->hooks = hooks;
}

/* A reload begins, or has ended. */
static void on_reload(void *user, const struct reload_outcome *outcome) {
        char quoted[WHY_MAX + 3];
        struct daemon *d = user;

        if (!outcome) {
                uint64_t now = 0;

                (void) sd_event_now(d->event, CLOCK_MONOTONIC, &now); /* the loop runs */
                (void) sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64 "\nSTATUS=Reloading",
                                  now);
                return;
        }
        if (outcome->report)
                log_report(outcome->report);
        d->refused = outcome->r < 0;
        if (d->refused) {
                log_error(
                        "event=reload_refused reason=%s advice=\"the old configuration stays in force\"",
                        log_quote(outcome->why, quoted, sizeof(quoted)));
                (void) why_clean(outcome->why, strlen(outcome->why), d->refusal,
                                 sizeof(d->refusal));
        } else {
                d->refusal[0] = '\0';
                if (d->hooks)
                        hooks_start(d->hooks, d->broker);
                log_set_level(d->conf->log_level);
                log_info("event=reloaded credentials=%zu sockets=%zu", d->conf->n_credentials,
                         d->conf->n_sockets);
                if (d->is_told && !d->stopping)
                        sockets_store(d->sockets);
        }
        if (!d->stopping)
                tell_status(d, "READY=1\n");
}

static void request_reload(void *user, reload_done_fn *done, void *done_user) {
        struct daemon *d = user;

        reload_request(d->reload, done, done_user);
}

static int on_reload_signal(sd_event_source *source, const struct signalfd_siginfo *si,
                            void *userdata) {
        struct daemon *d = userdata;

        (void) source;
        (void) si;
        if (d->reload && !d->stopping)
                reload_request(d->reload, NULL, NULL);
        return 0;
}

/* Both threads live: this one, since it is here, and the serving one, since it has answered. */
static void on_pong(struct message *m) {
        struct daemon *d = list_entry(m, struct daemon, pong);

        d->awaits_pong = false;
        (void) sd_notify(0, "WATCHDOG=1");
}

static int on_watchdog(sd_event_source *source, uint64_t usec, void *userdata) {
        struct daemon *d = userdata;

        (void) usec;
        if (d->awaits_pong)
                log_error(
                        "event=serving_thread_hangs advice=\"the service manager will end bearerd, and start it "
                        "anew\"");
        else if (d->server_stopped)
                (void) sd_notify(0, "WATCHDOG=1");
        else if (d->server) {
                d->awaits_pong = true;
                d->pong.run = on_pong;
                server_ping(d->server, &d->pong);
        }
        (void) sd_event_source_set_time_relative(source, d->watchdog_us / 3);
        return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int on_child(sd_event_source *source, const struct signalfd_siginfo *si, void *userdata) {
        struct daemon *d = userdata;

        (void) source;
        (void) si;
        hooks_reap_orphans(d->hooks);
        return 0;
}

/* In a container there is nobody else to do what PID 1 has to do. Commands that end are seen first: see hooks_reap_orphans(). */
static int open_orphanage(struct daemon *d) {
        sd_event_source *child = NULL;
        sigset_t signals;
        int r;

        if (getpid() != 1)
                return 0;
        (void) sigemptyset(&signals);
        (void) sigaddset(&signals, SIGCHLD);
        (void) sigprocmask(SIG_BLOCK, &signals, NULL);
        r = sd_event_add_signal(d->event, &child, SIGCHLD, on_child, d);
        if (r >= 0)
                r = sd_event_source_set_priority(child, SD_EVENT_PRIORITY_IDLE);
        if (r >= 0)
                r = sd_event_source_set_floating(child, true);
        sd_event_source_unref(child);
        return r < 0 ? RAISE(r) : 0;
}

static int open_manager(struct daemon *d) {
        int r = 0;

        d->is_told = getenv("NOTIFY_SOCKET") != NULL;
        if (d->is_told) {
                r = sd_event_add_time_relative(d->event, &d->status_timer, CLOCK_MONOTONIC, 0, 0,
                                               on_status_timer, d);
                if (r >= 0)
                        r = sd_event_source_set_enabled(d->status_timer, SD_EVENT_OFF);
        }
        if (r >= 0 && sd_watchdog_enabled(0, &d->watchdog_us) > 0)
                r = sd_event_add_time_relative(d->event, &d->watchdog, CLOCK_MONOTONIC,
                                               d->watchdog_us / 3, 0, on_watchdog, d);
        return r < 0 ? RAISE(r) : 0;
}

/* The timer follows the heap once in each turn, however often the heap has changed. */
static int before_wait(sd_event_source *source, void *userdata) {
        struct daemon *d = userdata;

        (void) source;
        if (d->broker)
                plan_status(d);
        return arm_timer(d);
}

static int open_loop(struct daemon *d) {
        sd_event_source *prepare = NULL;
        sigset_t signals;
        int r;

        (void) sigemptyset(&signals);
        (void) sigaddset(&signals, SIGTERM);
        (void) sigaddset(&signals, SIGINT);
        (void) sigaddset(&signals, SIGHUP);
        (void) sigprocmask(SIG_BLOCK, &signals,
                           NULL); /* before there are threads: all inherit it */
        (void) signal(SIGPIPE, SIG_IGN);
        r = sd_event_default(&d->event);
        if (r >= 0)
                r = inbox_new(&d->inbox);
        if (r >= 0)
                r = sd_event_add_io(d->event, &prepare, inbox_fd(d->inbox), EPOLLIN, on_inbox, d);
        if (r >= 0)
                r = sd_event_source_set_prepare(prepare, before_wait);
        if (r >= 0)
                r = sd_event_source_set_floating(prepare, true);
        sd_event_source_unref(prepare);
        if (r >= 0)
                r = sd_event_add_time(d->event, &d->timer, CLOCK_BOOTTIME, UINT64_MAX, 1, on_timer,
                                      d);
        if (r >= 0)
                r = sd_event_source_set_enabled(d->timer, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_add_signal(d->event, NULL, SIGTERM, on_stop_signal, d);
        if (r >= 0)
                r = sd_event_add_signal(d->event, NULL, SIGINT, on_stop_signal, d);
        if (r >= 0)
                r = sd_event_add_signal(d->event, NULL, SIGHUP, on_reload_signal, d);
        if (r >= 0)
                r = open_orphanage(d);
        if (r >= 0)
                r = open_manager(d);
        d->timers = timers_new();
        if (!d->timers)
                r = -ENOMEM;
        return r < 0 ? RAISE(r) : 0;
}

/* --- wiring --- */

static int open_sockets(struct daemon *d, struct why *why) {
        int r;

        r = sockets_new(why, &d->sockets);
        if (r == 0)
                r = sockets_prepare(d->sockets, d->conf, why, &d->fds);
        if (r == 0)
                sockets_adopt(d->sockets, d->conf);
        return PASS(r);
}

static int start_audit(struct daemon *d) {
        const struct audit_parts parts = {
                .event = d->event,
                .loop = d->inbox,
                .random = &random_system,
                .mode = d->conf->audit,
        };

        return audit_new(&parts, &d->audit);
}

/* The directory that a file lies in; the caller frees it. NULL: out of memory. */
static char *directory_of(const char *file) {
        const char *slash = strrchr(file, '/'); /* paths of the configuration are absolute */

        return strndup(file, slash == file ? 1 : (size_t) (slash - file));
}

/* Where the daemon writes: state, sockets, files of tokens, and a key that is still to be made. The version of Landlock that is
 * in force; 0: none; -ENOMEM, or what the system said. */
static int limit_writing(const struct conf *conf) {
        char **directories = calloc(conf->n_sockets + conf->n_credentials + 2, sizeof(char *));
        size_t n = 0;
        int r = 0;

        if (!directories)
                return RAISE(-ENOMEM);
        directories[n++] = strdup(conf->state_dir);
        directories[n++] = directory_of(conf->key_file);
        for (size_t i = 0; i < conf->n_sockets; i++)
                directories[n++] = directory_of(conf->sockets[i]->path);
        for (size_t i = 0; i < conf->n_credentials; i++)
                if (conf->credentials[i]->token_file_out)
                        directories[n++] = directory_of(conf->credentials[i]->token_file_out);
        for (size_t i = 0; i < n; i++)
                if (!directories[i])
                        r = RAISE(-ENOMEM);
        if (r == 0)
                r = sandbox_limit_writing((const char *const *) directories, n);
        for (size_t i = 0; i < n; i++)
                free(directories[i]);
        free(directories);
        return PASS(r);
}

/* Commands of hooks are bound by what binds the daemon, and nobody but the operator knows where they write. */
static bool runs_commands(const struct conf *conf) {
        for (size_t i = 0; i < conf->n_credentials; i++)
                if (conf_runs_commands(conf->credentials[i]))
                        return true;
        return false;
}

/* Before there are threads: they inherit it. Without what this kernel does not have the daemon goes on, and says so. */
static int enter_sandbox(const struct conf *conf, struct why *why) {
        bool locked = sandbox_lock_memory(), wiped = wipe_is_on(), commands = runs_commands(conf);
        int landlock = 0, seccomp = -EOPNOTSUPP;

        if (conf->sandbox) {
                landlock = commands ? 0 : limit_writing(conf);
                seccomp = sandbox_limit_calls();
        }
        if (landlock == -ENOMEM || seccomp == -ENOMEM)
                return why_set(why, -ENOMEM, "out of memory while entering the sandbox");
        log_info("event=hardened memory=%s freed=%s landlock=%d seccomp=%s",
                 locked ? "locked" : "swappable", wiped ? "wiped" : "kept",
                 landlock > 0 ? landlock : 0, seccomp == 0 ? "yes" : "no");
        if (conf->sandbox && ((landlock <= 0 && !commands) || seccomp < 0))
                log_warning(
                        "event=sandbox_incomplete landlock=\"%s\" seccomp=\"%s\" "
                        "advice=\"the kernel refuses it; sandbox = no in bearerd.conf(5) silences this\"",
                        landlock > 0    ? "in force"
                        : landlock == 0 ? "not there"
                                        : strerror(-landlock),
                        seccomp == 0 ? "in force" : strerror(-seccomp));
        return 0;
}

static int open_parts(struct daemon *d, struct why *why) {
        int r;

        r = open_loop(d);
        if (r == 0)
                r = transport_curl_new(d->event, &clock_system, "bearerd/" BEARERD_VERSION,
                                       &d->transport);
        if (r == 0)
                r = cache_new(&random_system, &d->cache);
        if (r == 0)
                r = feed_new(&random_system, &clock_system, &d->feed);
        if (r == 0)
                r = make_hooks(d, d->conf, &d->hooks);
        if (r == 0)
                r = start_audit(d);
        if (r < 0)
                return why_set(why, PASS(r), "cannot start: %s (%s)", strerror(-r), err_origin());
        r = enter_sandbox(d->conf, why);
        if (r == 0)
                r = store_sqlite_open(d->conf->state_dir, d->conf->key_file, d->event, why,
                                      &d->store);
        if (r < 0)
                return PASS(r);
        return open_sockets(d, why);
}

static void on_pending(void *user, const struct conf_credential *c, size_t n) {
        struct daemon *d = user;

        loopback_pending(d->loopback, c, n);
}

static void on_change(void *user, const struct change *change) {
        struct daemon *d = user;

        feed_put(d->feed, change);
        if (d->hooks)
                hooks_tell(d->hooks, change);
        if (d->server)
                server_news(d->server);
}

static int start_broker(struct daemon *d, struct why *why) {
        const struct broker_parts broker = {
                .conf = d->conf,
                .transport = d->transport,
                .clock = &clock_system,
                .random = &random_system,
                .timers = d->timers,
                .store = d->store,
                .cache = d->cache,
                .pending = on_pending,
                .pending_user = d,
                .listener = { on_change, d },
        };
        struct loopback_parts loopback = { .conf = d->conf, .event = d->event };
        int r;

        r = broker_new(&broker, &d->broker);
        if (r == 0) {
                loopback.authorizations = broker_authorizations(d->broker);
                r = loopback_new(&loopback, &d->loopback);
        }
        if (r < 0)
                return why_set(why, PASS(r), "cannot start: %s (%s)", strerror(-r), err_origin());
        r = broker_start(d->broker, why);
        if (r == 0)
                hooks_start(d->hooks, d->broker);
        return PASS(r);
}

static int start_reload(struct daemon *d) {
        const struct reload_parts reload = {
                .file = d->options->config,
                .scope = d->options->scope,
                .conf = &d->conf,
                .fds = &d->fds,
                .loop = d->inbox,
                .sockets = d->sockets,
                .server = d->server,
                .broker = d->broker,
                .loopback = d->loopback,
                .unit_sockets = d->unit_sockets,
                .change = on_change_of_conf,
                .tell = on_reload,
                .user = d,
        };

        return reload_new(&reload, &d->reload);
}

static int start(struct daemon *d, struct why *why) {
        struct server_parts server = {
                .conf = d->conf,
                .cache = d->cache,
                .feed = d->feed,
                .audit = d->audit,
                .clock = &clock_system,
                .loop = d->inbox,
                .fds = d->fds,
                .reload = request_reload,
                .reload_user = d,
                .refused = &d->refused,
        };
        struct unit_sockets_parts units = { .conf = d->conf, .fds = d->fds, .event = d->event };
        int r;

        r = start_broker(d, why);
        if (r < 0)
                return PASS(r);
        units.broker = server.broker = d->broker;
        units.audit = d->audit;
        server.loopback = d->loopback;
        r = unit_sockets_new(&units, &d->unit_sockets);
        if (r == 0)
                r = server_start(&server, &d->server);
        if (r == 0)
                r = start_reload(d);
        if (r < 0)
                return why_set(why, PASS(r), "cannot serve: %s (%s)", strerror(-r), err_origin());
        return 0;
}

static void close_parts(struct daemon *d) {
        d->server = server_free(d->server);
        if (d->store)
                store_sqlite_close(
                        d->store); /* what was to be written is, and the broker hears of it */
        if (d->broker && !d->broker_stopped)
                broker_stop(d->broker, NULL, NULL);
        unit_sockets_free(d->unit_sockets);
        audit_free(d->audit);
        loopback_free(d->loopback);
        broker_free(d->broker);
        hooks_free(d->hooks);
        feed_free(d->feed);
        cache_free(d->cache);
        if (d->transport)
                transport_curl_free(d->transport);
        reload_free(d->reload);
        sockets_free(d->sockets);
        free(d->fds);
        sd_event_source_unref(d->patience);
        sd_event_source_unref(d->status_timer);
        sd_event_source_unref(d->watchdog);
        timers_free(d->timers);
        sd_event_source_unref(d->timer);
        inbox_free(d->inbox);
        sd_event_unref(d->event);
        conf_free(d->conf);
        free(d->file);
}

static int run(struct daemon *d) {
        char quoted[WHY_MAX + 3];
        struct why why = { "" };
        int r;

        r = open_parts(d, &why);
        if (r == 0)
                r = start(d, &why);
        if (r < 0) {
                log_error("event=start_failed reason=%s",
                          log_quote(why.text, quoted, sizeof(quoted)));
                (void) sd_notifyf(0, "STATUS=%s\nERRNO=%d", why.text, -r);
                return EXIT_FAILURE;
        }
        if (d->conf->n_credentials == 0)
                log_warning(
                        "event=unconfigured advice=\"there is no credential yet: add a [credential NAME] section to %s, "
                        "see bearerd.conf(5)\"",
                        d->file);
        log_info("event=started version=" BEARERD_VERSION " credentials=%zu socket=%s",
                 d->conf->n_credentials, d->conf->sockets[0]->path);
        if (d->is_told)
                sockets_store(d->sockets);
        tell_status(d, "READY=1\n");
        r = sd_event_loop(d->event);
        if (r < 0)
                log_error("event=loop_failed error=\"%s\"", strerror(-r));
        audit_sweep(d->audit); /* who was served last */
        log_info("event=stopped");
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char *argv[]) {
        struct options options = { .scope = CONF_SYSTEM };
        struct daemon d = { 0 };
        int r;

        r = parse_arguments(argc, argv, &options);
        if (r != 0)
                return r < 0 ? 2 : EXIT_SUCCESS;
        r = sandbox_harden();
        if (r < 0) {
                (void) fprintf(stderr,
                               "bearerd: cannot keep other processes from reading its memory: %s\n",
                               strerror(-r));
                return EXIT_FAILURE;
        }
        if (options.check)
                return check(&options);
        if (options.diagnose)
                return diagnose(&options);
        if (options.rekey)
                return rekey(&options);
        if (load(&options, &d.conf) < 0) {
                log_error(
                        "event=start_failed reason=\"the configuration has errors; bearerd --check shows them\"");
                conf_free(d.conf);
                return EXIT_FAILURE;
        }
        log_set_level(d.conf->log_level);
        if (options.config)
                d.file = strdup(options.config);
        else
                (void) conf_default_path(options.scope, &d.file); /* it has just been found */
        d.options = &options;
        r = run(&d);
        close_parts(&d);
        return r;
}
