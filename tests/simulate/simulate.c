/*
 * simulate: weeks of virtual time for the broker, in a moment, from a seed
 *
 * Each seed runs in a process of its own, so that a crash or an endless loop is that seed's. What a
 * seed is like (what goes wrong in it, and how often) is the seed's, too: some have quiet weeks,
 * some have nothing but trouble.
 */

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/list.h"
#include "faults.h"
#include "law.h"
#include "machine.h"
#include "people.h"
#include "provider.h"

#define SETTLE_US (3 * US_PER_H) /* at the end: nothing goes wrong any more */
#define CPU_MAX_S 30             /* of one seed */
#define CHECK_US  (6 * US_PER_H)
#define JOBS_MAX  64

static struct options {
        uint64_t first;
        uint64_t seeds;
        int64_t days;
        unsigned jobs;
        bool trace, twice, fresh, faults;
        const char *fault;
} options = { .first = 1, .seeds = 100, .days = 30 };

struct result { /* of one seed; in memory shared with its process */
        uint64_t hash;
        unsigned worst_hour;
        unsigned deaths;
        unsigned long asks, tokens, requests;
};

/* --- fate: what goes wrong --- */

enum event {
        SESSION,
        CROWD,
        LOGIN,
        LOGOUT,
        REVOKE,
        WEATHER,
        DEACTIVATE,
        LEAP, /* of a provider's clock */
        KILL,
        POWER,
        RESTART,
        SLEEP,
        STEP, /* of our clock */
        DISK_FULL,
        DISK_SLOW,
        RELOAD,
        CHECK,
        EVENT_MAX,
};

static struct fate {
        enum event event;
        struct timer timer;
        int64_t mean_us; /* 0: does not happen in this seed */
        bool on;         /* of what lasts a while */
        unsigned provider;
} fates[EVENT_MAX];
static bool settling;

static int64_t any_step(void) {
        static const int64_t s[] = { 1, 5, 60, 600, 3600, 86400, 30 * 86400, 365 * 86400 };
        int64_t step = s[dice_below(N_ELEMENTS(s))];

        return dice_one_in(2) ? step : -step;
}

static void fate_weather(struct fate *f) {
        f->on = !f->on;
        if (f->on) {
                f->provider = (unsigned) dice_below(PROVIDERS);
                provider_set_weather(f->provider,
                                     (enum weather) dice_between(SLOW, WEATHER_MAX - 1));
                agenda_set(&f->timer,
                           dice_one_in(4) ? dice_span(6 * US_PER_H) : dice_span(20 * US_PER_MIN));
        } else {
                provider_set_weather(f->provider, FINE);
        }
}

static void fate_deactivate(struct fate *f) {
        f->on = !f->on;
        if (f->on)
                f->provider = (unsigned) dice_below(PROVIDERS);
        sim_note("applications", f->on ? "off" : "on", f->provider, 0);
        providers[f->provider].deactivated = f->on;
        provider_trouble(f->provider, 0);
        if (f->on)
                agenda_set(&f->timer, dice_span(3 * US_PER_H));
}

static void fate_disk(struct fate *f, void (*set)(bool on)) {
        f->on = !f->on;
        set(f->on);
        if (f->on)
                agenda_set(&f->timer, dice_span(20 * US_PER_MIN));
}

static void fate_leap(void) {
        unsigned p = (unsigned) dice_below(PROVIDERS);
        int64_t s = dice_between(-4000, 4000);

        sim_note("leap", "", p, s);
        providers[p].offset_s += s;
        providers[p].leaps_back |= s < 0;
        provider_trouble(p, 0);
}

static void fate_happens(struct fate *f) {
        switch (f->event) {
        case SESSION:
                people_session();
                break;
        case CROWD:
                people_crowd((unsigned) dice_between(2, dice_one_in(8) ? 1000 : 60),
                             dice_one_in(8));
                break;
        case LOGIN:
                people_login();
                break;
        case LOGOUT:
                people_logout();
                break;
        case REVOKE:
                people_revoke();
                break;
        case WEATHER:
                fate_weather(f);
                break;
        case DEACTIVATE:
                fate_deactivate(f);
                break;
        case LEAP:
                fate_leap();
                break;
        case KILL:
                machine_kill(dice_between(100000, 10 * US_PER_S));
                break;
        case POWER:
                machine_power_cut(dice_span(US_PER_H) + 20 * US_PER_S);
                break;
        case RESTART:
                machine_restart();
                break;
        case SLEEP:
                machine_sleep(dice_one_in(3) ? dice_span(12 * US_PER_H)
                                             : dice_span(10 * US_PER_MIN));
                break;
        case STEP:
                machine_step_clock(any_step());
                break;
        case DISK_FULL:
                fate_disk(f, machine_disk_fails);
                break;
        case DISK_SLOW:
                fate_disk(f, machine_disk_is_slow);
                break;
        case RELOAD:
                machine_reload();
                if (!settling && dice_one_in(2)) /* it was not quite right yet */
                        agenda_set(&f->timer, dice_span(10 * US_PER_S));
                break;
        case CHECK:
                machine_check();
                break;
        case EVENT_MAX:
                break;
        }
}

static void fate_timer(struct timer *t) {
        struct fate *f = list_entry(t, struct fate, timer);

        if (settling && !f->on && f->event != CHECK)
                return;
        fate_happens(f);
        if (!timer_is_armed(t) && !settling)
                agenda_set(t, dice_span(f->mean_us));
}

/* What a seed is like. */
static void fate_begin(void) {
        static const int64_t means[EVENT_MAX] = {
                [SESSION] = 2 * US_PER_H,    [CROWD] = 12 * US_PER_H,    [LOGIN] = 12 * US_PER_H,
                [LOGOUT] = 2 * US_PER_D,     [REVOKE] = 3 * US_PER_D,    [WEATHER] = 10 * US_PER_H,
                [DEACTIVATE] = 8 * US_PER_D, [LEAP] = 6 * US_PER_D,      [KILL] = 2 * US_PER_D,
                [POWER] = 5 * US_PER_D,      [RESTART] = 3 * US_PER_D,   [SLEEP] = 16 * US_PER_H,
                [STEP] = 3 * US_PER_D,       [DISK_FULL] = 5 * US_PER_D, [DISK_SLOW] = 3 * US_PER_D,
                [RELOAD] = 4 * US_PER_H,
        };

        for (size_t i = 0; i < EVENT_MAX; i++) {
                struct fate *f = &fates[i];

                f->event = (enum event) i;
                agenda_add(&f->timer, fate_timer);
                f->mean_us = i == CHECK ? CHECK_US : means[i] * dice_between(1, 4) / 2;
                if (i == SESSION || i == CROWD || i == CHECK || !dice_one_in(3))
                        agenda_set(&f->timer, dice_span(f->mean_us));
        }
}

/* --- one seed --- */

static void run_until(mono_t end) {
        for (;;) {
                mono_t next = agenda_next(), daemon = machine_next();

                if (mono_before(daemon, next))
                        next = daemon;
                if (mono_before(end, next))
                        break;
                if (mono_before(sim_now, next))
                        sim_now = next;
                if (!mono_before(sim_now, daemon))
                        machine_run();
                agenda_run();
        }
        sim_now = end;
}

/* Nothing goes wrong any more: all that is alive must work, and nothing hold up a stop. */
static void settle(void) {
        mono_t asked;

        settling = true;
        for (size_t i = 0; i < EVENT_MAX; i++)
                if (fates[i].on)
                        agenda_set(&fates[i].timer, 1);
        run_until(mono_add(sim_now, SETTLE_US / 2));
        machine_configure_all();
        run_until(mono_add(sim_now, SETTLE_US / 2));
        people_ask_everything();
        asked = sim_now;
        run_until(mono_add(asked, 2 * US_PER_MIN));
        machine_check();
        if (machine_is_up())
                machine_end();
}

static void run_seed(uint64_t seed, struct result *result) {
        const struct conf *conf;
        static const unsigned grants[] = { 1, 2, 5, 5, 20, 60 };

        sim_begin(seed, options.trace);
        conf = machine_begin(seed, dice_one_in(3) ? any_step() : 0);
        providers_begin(conf);
        people_begin(conf, grants[dice_below(N_ELEMENTS(grants))]);
        if (options.fault)
                fault_begin(options.fault);
        machine_start();
        fate_begin();
        run_until((mono_t){ options.days * US_PER_D });
        settle();
        *result = (struct result){ sim_hash(),    provider_worst_hour(), machine_deaths,
                                   people_asks(), people_tokens(),       provider_requests() };
}

/* --- many seeds --- */

static struct result *results; /* shared; one for each job */

static pid_t start_seed(uint64_t seed, struct result *result) {
        const struct rlimit cpu = { CPU_MAX_S, CPU_MAX_S };
        pid_t pid;

        (void) fflush(stdout);
        (void) fflush(stderr);
        pid = fork();
        if (pid != 0)
                return pid;
        (void) setrlimit(RLIMIT_CPU, &cpu);
        run_seed(seed, result);
        (void) fflush(stdout);
        _exit(0); /* nothing is released: the process is the seed's own */
}

static void tell_failure(uint64_t seed, int status) {
        if (WIFSIGNALED(status))
                (void) fprintf(stderr, "  ended by signal %d (%s)\n", WTERMSIG(status),
                               strsignal(WTERMSIG(status)));
        (void) fprintf(stderr,
                       "  seed %" PRIu64 "; replay: simulate --first %" PRIu64
                       " --seeds 1 --days %" PRId64 "%s%s --trace\n",
                       seed, seed, options.days, options.fault ? " --fault " : "",
                       options.fault ? options.fault : "");
}

struct job {
        pid_t pid;
        uint64_t seed;
        bool again; /* the second run of the same seed */
        uint64_t hash;
};

static bool job_next(struct job *j, uint64_t *next, struct result *result) {
        if (j->again) {
                j->pid = start_seed(j->seed, result);
                return true;
        }
        if (*next == options.first + options.seeds)
                return false;
        j->seed = (*next)++;
        j->pid = start_seed(j->seed, result);
        return true;
}

static struct job *job_find(struct job *jobs, pid_t pid) {
        for (unsigned i = 0; i < options.jobs; i++)
                if (jobs[i].pid == pid)
                        return &jobs[i];
        return NULL;
}

/* True: it went well. */
static bool job_ended(struct job *j, int status, const struct result *r, struct result *sum) {
        bool good = status == 0;

        if (!good) {
                tell_failure(j->seed, status);
        } else if (j->again && j->hash != r->hash) {
                (void) fprintf(stderr, "BROKEN determinism: seed %" PRIu64 " runs in two ways\n",
                               j->seed);
                good = false;
        }
        sum->worst_hour = r->worst_hour > sum->worst_hour ? r->worst_hour : sum->worst_hour;
        sum->deaths += r->deaths;
        sum->asks += r->asks;
        sum->tokens += r->tokens;
        sum->requests += r->requests;
        j->hash = r->hash;
        j->again = good && options.twice && !j->again;
        if (options.seeds == 1 && good)
                (void) printf("seed %" PRIu64 " hash %016" PRIx64 "\n", j->seed, r->hash);
        return good;
}

static int run_all(void) {
        struct job jobs[JOBS_MAX] = { 0 };
        struct result sum = { 0 };
        uint64_t next = options.first;
        unsigned running = 0, failed = 0;

        for (unsigned i = 0; i < options.jobs; i++)
                running += job_next(&jobs[i], &next, &results[i]);
        while (running > 0) {
                int status;
                pid_t pid = wait(&status);
                struct job *j = job_find(jobs, pid);

                if (pid < 0 && errno != EINTR)
                        return EXIT_FAILURE;
                if (!j)
                        continue;
                failed += !job_ended(j, status, &results[j - jobs], &sum);
                j->pid = 0;
                running -= !job_next(j, &next, &results[j - jobs]);
        }
        (void) printf("%" PRIu64 " seeds from %" PRIu64 ", %" PRId64
                      " days each: %u failed; %lu asks, %lu tokens handed out, %lu requests, "
                      "%u deaths, at most %u requests in an hour of outage\n",
                      options.seeds, options.first, options.days, failed, sum.asks, sum.tokens,
                      sum.requests, sum.deaths, sum.worst_hour);
        return failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* --- deliberate faults --- */

/* Each must be noticed, as what it is. */
static int run_faults(void) {
        unsigned unnoticed = 0;

        for (size_t i = 0; i < n_faults; i++) {
                uint64_t seed = options.first,
                         end = seed + (faults[i].breaks == LAW_MAX ? 1 : options.seeds);
                int status = 0;

                options.fault = faults[i].name;
                provider_budget = faults[i].budget;
                for (; status == 0 && seed < end; seed++) {
                        pid_t pid = start_seed(seed, results);

                        if (pid < 0 || waitpid(pid, &status, 0) != pid)
                                return EXIT_FAILURE;
                }
                if (faults[i].breaks == LAW_MAX) {
                        uint64_t hash = results->hash;

                        if (status == 0 && waitpid(start_seed(seed - 1, results), &status, 0) > 0 &&
                            status == 0 && hash != results->hash) {
                                (void) printf("%-20s noticed: two runs differ, seed %" PRIu64 "\n",
                                              faults[i].name, seed - 1);
                                continue;
                        }
                } else if (WIFEXITED(status) &&
                           WEXITSTATUS(status) == LAW_EXIT + 1 + (int) faults[i].breaks) {
                        (void) printf("%-20s noticed by %s, seed %" PRIu64 "\n", faults[i].name,
                                      laws[faults[i].breaks].name, seed - 1);
                        continue;
                }
                (void) printf(
                        "%-20s NOT noticed by %s within %" PRIu64 " seeds (status %d)\n",
                        faults[i].name,
                        faults[i].breaks == LAW_MAX ? "comparison" : laws[faults[i].breaks].name,
                        options.seeds, WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
                unnoticed++;
        }
        return unnoticed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* --- arguments --- */

static void usage(FILE *f) {
        (void) fputs("Usage: simulate [--seeds N] [--first SEED] [--fresh] [--days D] [--jobs N]\n"
                     "                [--twice] [--budget N] [--trace] [--fault NAME | --faults]\n"
                     "\n"
                     "  --seeds N     how many seeds (100)\n"
                     "  --first SEED  the first of them (1)\n"
                     "  --fresh       begin with a seed that nobody knows, and print it\n"
                     "  --days D      virtual days of each (30)\n"
                     "  --jobs N      at the same time (as many as there are processors)\n"
                     "  --twice       run each twice, and compare\n"
                     "  --budget N    requests that an hour of outage may cost (0: any)\n"
                     "  --trace       print all that happens, the daemon's log included\n"
                     "  --fault NAME  with this deliberate fault\n"
                     "  --faults      each deliberate fault in turn: each must be noticed\n",
                     f);
}

static int parse(int argc, char *argv[]) {
        static const struct option longs[] = {
                { "seeds", required_argument, NULL, 's' },
                { "first", required_argument, NULL, 'f' },
                { "days", required_argument, NULL, 'd' },
                { "jobs", required_argument, NULL, 'j' },
                { "twice", no_argument, NULL, '2' },
                { "trace", no_argument, NULL, 't' },
                { "fresh", no_argument, NULL, 'r' },
                { "budget", required_argument, NULL, 'b' },
                { "fault", required_argument, NULL, 'x' },
                { "faults", no_argument, NULL, 'X' },
                { "help", no_argument, NULL, 'h' },
                { 0 },
        };
        int c;

        while ((c = getopt_long(argc, argv, "", longs, NULL)) >= 0)
                switch (c) {
                case 's':
                        options.seeds = strtoull(optarg, NULL, 0);
                        break;
                case 'f':
                        options.first = strtoull(optarg, NULL, 0);
                        break;
                case 'd':
                        options.days = strtoll(optarg, NULL, 0);
                        break;
                case 'j':
                        options.jobs = (unsigned) strtoul(optarg, NULL, 0);
                        break;
                case '2':
                        options.twice = true;
                        break;
                case 't':
                        options.trace = true;
                        break;
                case 'r':
                        if (getrandom(&options.first, sizeof(options.first), 0) < 0)
                                return -errno;
                        options.first &= INT64_MAX;
                        break;
                case 'b':
                        provider_budget = (unsigned) strtoul(optarg, NULL, 0);
                        break;
                case 'x':
                        options.fault = optarg;
                        break;
                case 'X':
                        options.faults = true;
                        break;
                case 'h':
                        usage(stdout);
                        return 1;
                default:
                        usage(stderr);
                        return -EINVAL;
                }
        return optind < argc ? -EINVAL : 0;
}

int main(int argc, char *argv[]) {
        int r;

        r = parse(argc, argv);
        if (r != 0)
                return r < 0 ? 2 : EXIT_SUCCESS;
        if (options.jobs == 0)
                options.jobs = (unsigned) sysconf(_SC_NPROCESSORS_ONLN);
        if (options.jobs > JOBS_MAX)
                options.jobs = JOBS_MAX;
        results = mmap(NULL, JOBS_MAX * sizeof(*results), PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (results == MAP_FAILED)
                return EXIT_FAILURE;
        return options.faults ? run_faults() : run_all();
}
