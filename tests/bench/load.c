/*
 * Load for an HTTP server on a Unix socket
 *
 * One thread, one epoll, at most one request under way on each connection. Checks the status and
 * the framing of every answer and prints one line of JSON; anything odd is counted as an error and
 * shown on standard error, the connection is opened anew.
 *
 * Two kinds of load. Closed (the default): each connection sends its next request as soon as it has
 * its answer, so the server is never idle and the figure is its throughput. Paced (--rate): requests
 * become due at a steady pace whether or not the server keeps up, and latency counts from then;
 * a server that stops for 100 ms is seen by all the requests that were due meanwhile.
 *
 * A stall is a second without any answer while some are owed: libmicrohttpd's own epoll thread does
 * that when exactly 128 connections are ready at once.
 */

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "answer.h"
#include "histogram.h"
#include "usage.h"

#define NS_PER_S        INT64_C(1000000000)
#define NS_PER_MS       INT64_C(1000000)
#define STALL_NS        NS_PER_S
#define TICK_NS         (50 * NS_PER_MS) /* the clock is looked at this often when nothing comes */
#define CONNECT_S       5
#define ANSWER_MAX      20480 /* a token of 16 KiB and its headers */
#define REQUEST_MAX     4096
#define HEADERS_MAX     16
#define CONNECTIONS_MAX 16384
#define ERRORS_SHOWN    3
#define ERRORS_MAX      1000 /* then the run is given up: the figures mean nothing */
#define EVENTS_MAX      512

#define CONTROL UINT32_MAX /* epoll data of standard input */

struct options {
        const char *socket;
        const char *path; /* "{}" in it is replaced by the number of the request */
        const char *headers[HEADERS_MAX];
        unsigned n_headers;
        unsigned connections;
        double seconds, warmup;
        uint64_t requests; /* stop after that many answers; 0: after `seconds` */
        uint64_t rate;     /* per second; 0: as fast as answers come */
        long cpu;          /* -1: any */
        pid_t pid;         /* of the server, for its CPU time; 0: unknown */
        bool close;        /* a connection for each request */
        bool idle;   /* one request on each connection, then hold them all until end of input */
        bool driven; /* the window begins at a byte on standard input and ends with the input */
};

struct connection {
        int fd; /* -1: none */
        bool waiting;
        bool served; /* within the window */
        int64_t since_ns;
        size_t len;
        char *buf; /* ANSWER_MAX bytes */
};

struct load {
        const struct options *options;
        struct sockaddr_un address;
        int epoll_fd;
        struct connection *connections;
        uint32_t *free; /* a stack of connections that owe no answer; paced load only */
        unsigned n_free;
        unsigned n_waiting;
        char request[REQUEST_MAX];
        size_t request_len;
        uint64_t sent;

        bool measuring, done;
        int64_t begin_ns, end_ns; /* of the window; INT64_MAX: not yet known */
        int64_t due_ns;           /* paced: when the next request is due */
        int64_t last_answer_ns;
        int64_t longest_gap_ns;
        bool stalled;
        unsigned stalls;
        uint64_t errors;
        uint64_t sent_late; /* paced: due while every connection was busy */
        int64_t server_cpu_ns, own_cpu_ns;
        struct histogram latency;
};

static int64_t now_ns(void) {
        struct timespec t;

        (void) clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail for this clock */
        return t.tv_sec * NS_PER_S + t.tv_nsec;
}

static _Noreturn void die(const char *what) {
        fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
        exit(EXIT_FAILURE);
}

/* --- connections --- */

static void connection_open(struct load *l, uint32_t i) {
        struct timeval patience = { .tv_sec = CONNECT_S };
        struct connection *c = &l->connections[i];
        struct epoll_event event = { .events = EPOLLIN, .data.u32 = i };

        c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (c->fd < 0)
                die("cannot make a socket (raise the limit on open files)");
        /* connect() waits for room in the backlog, but not for ever. */
        if (setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0 ||
            connect(c->fd, (struct sockaddr *) &l->address, sizeof(l->address)) < 0)
                die(l->options->socket);
        if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, c->fd, &event) < 0)
                die("epoll_ctl");
}

static void connection_close(struct connection *c) {
        (void) close(c->fd); /* leaves the epoll set, too */
        c->fd = -1;
        c->len = 0;
}

static size_t load_format_request(struct load *l, char *buf) {
        const char *gap = strstr(l->request, "{}");
        int n;

        n = snprintf(buf, REQUEST_MAX, "%.*s%" PRIu64 "%s", (int) (gap - l->request), l->request,
                     l->sent, gap + 2);
        return n < 0 || n >= REQUEST_MAX ? 0 : (size_t) n;
}

static void load_error(struct load *l, const char *what, const char *detail, size_t len) {
        if (l->errors++ < ERRORS_SHOWN)
                fprintf(stderr, "load: %s: %.*s\n", what, (int) strnlen(detail, len), detail);
        if (l->errors >= ERRORS_MAX) {
                fprintf(stderr, "load: %d errors, giving up\n", ERRORS_MAX);
                l->done = true;
        }
}

static void connection_send(struct load *l, uint32_t i, int64_t since_ns) {
        struct connection *c = &l->connections[i];
        char varied[REQUEST_MAX];
        const char *request = l->request;
        size_t len = l->request_len;

        if (c->fd < 0)
                connection_open(l, i);
        if (!len) {
                len = load_format_request(l, varied);
                request = varied;
        }
        l->sent++;
        c->since_ns = since_ns;
        c->waiting = true;
        l->n_waiting++;
        /* A request fits into the socket's buffer as long as only one is under way. What fails here is
         * seen as a hang-up by the next recv(). */
        if (send(c->fd, request, len, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t) len)
                (void) shutdown(c->fd, SHUT_RDWR);
}

/* The connection owes nothing any more: what it does next. */
static void connection_rest(struct load *l, uint32_t i, int64_t now) {
        struct connection *c = &l->connections[i];

        c->waiting = false;
        l->n_waiting--;
        c->len = 0;
        if (l->options->close)
                connection_close(c);
        if (l->done || l->options->idle)
                return;
        if (l->options->requests && l->sent >= l->options->requests)
                return;
        if (l->options->rate)
                l->free[l->n_free++] = i;
        else
                connection_send(l, i, now);
}

static void connection_fail(struct load *l, uint32_t i, const char *what, int64_t now) {
        struct connection *c = &l->connections[i];

        load_error(l, what, c->buf, strcspn(c->buf, "\r\n"));
        connection_close(c);
        if (c->waiting)
                connection_rest(l, i, now);
}

/* How long nothing has come although something was owed. */
static void load_note_gap(struct load *l, int64_t now) {
        int64_t gap = now - l->last_answer_ns;

        if (gap > l->longest_gap_ns)
                l->longest_gap_ns = gap;
        if (gap >= STALL_NS && !l->stalled) {
                l->stalled = true;
                l->stalls++;
        }
}

static void connection_answered(struct load *l, uint32_t i, const struct answer *a) {
        struct connection *c = &l->connections[i];
        int64_t now = now_ns();

        load_note_gap(l, now);
        l->last_answer_ns = now;
        l->stalled = false;
        if (a->status != 200)
                load_error(l, "not 200", c->buf, a->head + a->body);
        if (l->measuring) {
                c->served = true;
                histogram_record(&l->latency, (uint64_t) (now - c->since_ns));
                if (l->options->requests && l->latency.count >= l->options->requests)
                        l->done = true;
        }
        if (a->closes && !l->options->close) {
                connection_fail(l, i, "the server closes a kept-alive connection", now);
                return;
        }
        connection_rest(l, i, now);
}

static void connection_ready(struct load *l, uint32_t i) {
        struct connection *c = &l->connections[i];
        struct answer a;
        ssize_t n;

        if (c->fd < 0)
                return; /* closed earlier in this round of events */
        n = recv(c->fd, c->buf + c->len, ANSWER_MAX - c->len - 1, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n <= 0) {
                connection_fail(l, i, "the server hung up", now_ns());
                return;
        }
        c->len += (size_t) n;
        c->buf[c->len] = '\0';
        if (!c->waiting) {
                connection_fail(l, i, "an answer nobody asked for", now_ns());
                return;
        }
        switch (answer_parse(c->buf, c->len, &a)) {
        case ANSWER_COMPLETE:
                connection_answered(l, i, &a);
                break;
        case ANSWER_PARTIAL:
                if (c->len == ANSWER_MAX - 1)
                        connection_fail(l, i, "the answer is too large", now_ns());
                break;
        case ANSWER_BROKEN:
                connection_fail(l, i, "the answer is malformed", now_ns());
                break;
        }
}

/* --- the window --- */

static void load_begin(struct load *l, int64_t now) {
        l->measuring = true;
        l->begin_ns = now;
        if (!l->options->requests && !l->options->driven)
                l->end_ns = now + (int64_t) (l->options->seconds * 1e9);
        l->longest_gap_ns = 0;
        l->server_cpu_ns = usage_cpu_ns(l->options->pid);
        l->own_cpu_ns = usage_cpu_ns(getpid());
}

static void load_tick(struct load *l, int64_t now) {
        if (l->n_waiting)
                load_note_gap(l, now);
        else
                l->last_answer_ns = now;
        if (!l->measuring && now >= l->begin_ns)
                load_begin(l, now);
        if (l->measuring && now >= l->end_ns)
                l->done = true;
        if (l->options->requests && l->sent >= l->options->requests && !l->n_waiting)
                l->done = true; /* some were answered by hanging up */
}

/* A byte begins the window, the end of the input ends it. */
static void load_control(struct load *l, int64_t now) {
        char bytes[64];

        if (read(STDIN_FILENO, bytes, sizeof(bytes)) <= 0)
                l->done = true;
        else if (!l->measuring)
                load_begin(l, now);
}

/* Sends what is due as far as connections are free. */
static void load_pace(struct load *l, int64_t now) {
        int64_t step = NS_PER_S / (int64_t) l->options->rate;

        while (l->due_ns <= now && l->n_free) {
                uint32_t i = l->free[--l->n_free];

                connection_send(l, i, l->due_ns);
                if (!l->n_free)
                        l->sent_late++;
                l->due_ns += step;
        }
}

/* Waits for events, or until the next request is due, to the nanosecond if there is one. */
static int load_wait(struct load *l, struct epoll_event *events, int64_t now) {
        struct timespec timeout = { .tv_nsec = TICK_NS };

        if (!l->options->rate || !l->n_free)
                return epoll_wait(l->epoll_fd, events, EVENTS_MAX, TICK_NS / NS_PER_MS);
        if (l->due_ns - now < TICK_NS)
                timeout.tv_nsec = l->due_ns > now ? l->due_ns - now : 0;
        return epoll_pwait2(l->epoll_fd, events, EVENTS_MAX, &timeout, NULL);
}

static void load_loop(struct load *l) {
        struct epoll_event events[EVENTS_MAX];
        int64_t now = now_ns();

        while (!l->done) {
                int n;

                if (l->options->rate)
                        load_pace(l, now);
                n = load_wait(l, events, now);
                if (n < 0 && errno != EINTR)
                        die("cannot wait for events");
                for (int k = 0; k < n; k++) {
                        if (events[k].data.u32 == CONTROL)
                                load_control(l, now_ns());
                        else
                                connection_ready(l, events[k].data.u32);
                }
                now = now_ns();
                load_tick(l, now);
        }
        l->end_ns = now;
}

/* --- start and report --- */

static void load_prepare_request(struct load *l) {
        const struct options *o = l->options;
        size_t len;
        FILE *f;

        f = fmemopen(l->request, sizeof(l->request), "w");
        if (!f)
                die("fmemopen");
        fprintf(f, "GET %s HTTP/1.1\r\nHost: localhost\r\n", o->path);
        for (unsigned i = 0; i < o->n_headers; i++)
                fprintf(f, "%s\r\n", o->headers[i]);
        fprintf(f, "\r\n");
        len = (size_t) ftell(f);
        if (fclose(f) != 0 || len >= sizeof(l->request) - 32) {
                errno = EMSGSIZE;
                die("the request");
        }
        l->request_len = strstr(o->path, "{}") ? 0 : len;
}

static void load_start(struct load *l, const struct options *o) {
        struct epoll_event event = { .events = EPOLLIN, .data.u32 = CONTROL };
        int64_t now;

        l->options = o;
        l->address.sun_family = AF_UNIX;
        if (strlen(o->socket) >= sizeof(l->address.sun_path)) {
                errno = ENAMETOOLONG;
                die(o->socket);
        }
        strcpy(l->address.sun_path, o->socket);
        load_prepare_request(l);
        l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        l->connections = calloc(o->connections, sizeof(*l->connections));
        l->free = calloc(o->connections, sizeof(*l->free));
        if (l->epoll_fd < 0 || !l->connections || !l->free)
                die("start");
        if (o->driven && epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &event) < 0)
                die("standard input must be a pipe");
        for (uint32_t i = 0; i < o->connections; i++) {
                l->connections[i].buf = malloc(ANSWER_MAX);
                if (!l->connections[i].buf)
                        die("buffers");
                l->connections[i].buf[0] = '\0';
                connection_open(l, i);
        }

        now = now_ns();
        l->begin_ns = o->driven ? INT64_MAX : now + (int64_t) (o->warmup * 1e9);
        l->end_ns = INT64_MAX;
        l->due_ns = l->last_answer_ns = now;
        if (o->requests)
                load_begin(l, now);
        for (uint32_t i = 0; i < o->connections; i++) {
                if (o->rate)
                        l->free[l->n_free++] = i;
                else if (!o->requests || l->sent < o->requests)
                        connection_send(l, i, now_ns());
        }
}

static void load_free(struct load *l) {
        for (unsigned i = 0; i < l->options->connections; i++) {
                if (l->connections[i].fd >= 0)
                        connection_close(&l->connections[i]);
                free(l->connections[i].buf);
        }
        free(l->connections);
        free(l->free);
        (void) close(l->epoll_fd); /* no data in it to lose */
        free(l);
}

static double load_us(const struct load *l, double fraction) {
        return (double) histogram_quantile(&l->latency, fraction) / 1e3;
}

static void load_report(const struct load *l) {
        double seconds = l->measuring ? (double) (l->end_ns - l->begin_ns) / 1e9 : 0;
        int64_t server_cpu_ns = usage_cpu_ns(l->options->pid) - l->server_cpu_ns;
        int64_t own_cpu_ns = usage_cpu_ns(getpid()) - l->own_cpu_ns;
        uint64_t n = l->latency.count;
        unsigned unserved = 0;

        for (unsigned i = 0; i < l->options->connections; i++)
                unserved += !l->connections[i].served;
        printf("{\"connections\": %u, \"answers\": %" PRIu64 ", \"seconds\": %.3f, \"rate\": %.0f, "
               "\"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, \"max_us\": %.1f, "
               "\"errors\": %" PRIu64 ", \"stalls\": %u, \"longest_gap_ms\": %.1f, "
               "\"unserved\": %u, \"late\": %" PRIu64 ", "
               "\"server_cpu_us\": %.3f, \"load_core\": %.2f}\n",
               l->options->connections, n, seconds, seconds > 0 ? (double) n / seconds : 0,
               load_us(l, 0.5), load_us(l, 0.99), load_us(l, 0.999),
               (double) l->latency.max_ns / 1e3, l->errors, l->stalls,
               (double) l->longest_gap_ns / 1e6, unserved, l->sent_late,
               n ? (double) server_cpu_ns / 1e3 / (double) n : 0,
               seconds > 0 ? (double) own_cpu_ns / 1e9 / seconds : 0);
        if (fflush(stdout) != 0)
                die("standard output");
}

static void load_hold(void) {
        char bytes[64];

        while (read(STDIN_FILENO, bytes, sizeof(bytes)) > 0)
                ;
}

/* --- arguments --- */

static _Noreturn void usage(FILE *f, int status) {
        fputs("load --socket PATH --path PATH [OPTIONS]\n"
              "  --header LINE       add a header line to the request; may be repeated\n"
              "  --connections N     at once; default 1\n"
              "  --seconds S         length of the measured window; default 1\n"
              "  --warmup S          before the window; default 0.2\n"
              "  --requests N        stop after N answers instead, without a warm-up\n"
              "  --rate N            paced: N requests a second in all; default: closed load\n"
              "  --close             a connection for each request\n"
              "  --idle              one request on each connection, report, hold them until end of input\n"
              "  --driven            the window begins with a byte on standard input, ends with the input\n"
              "  --cpu N             run on that CPU\n"
              "  --pid PID           the server's, to report its CPU time for each request\n"
              "\"{}\" in the path is replaced by the number of the request.\n",
              f);
        exit(status);
}

static double parse_number(const char *text, double min, double max) {
        char *end;
        double v;

        errno = 0;
        v = strtod(text, &end);
        if (errno || end == text || *end || !(v >= min && v <= max)) {
                fprintf(stderr, "load: %s is not a number from %g to %g\n", text, min, max);
                exit(2);
        }
        return v;
}

static const struct option long_options[] = {
        { "socket", required_argument, NULL, 's' },
        { "path", required_argument, NULL, 'p' },
        { "header", required_argument, NULL, 'h' },
        { "connections", required_argument, NULL, 'c' },
        { "seconds", required_argument, NULL, 't' },
        { "warmup", required_argument, NULL, 'w' },
        { "requests", required_argument, NULL, 'n' },
        { "rate", required_argument, NULL, 'r' },
        { "cpu", required_argument, NULL, 'u' },
        { "pid", required_argument, NULL, 'i' },
        { "close", no_argument, NULL, 'x' },
        { "idle", no_argument, NULL, 'I' },
        { "driven", no_argument, NULL, 'd' },
        { "help", no_argument, NULL, '?' + 128 },
        { 0 },
};

static void options_add_header(struct options *o, const char *line) {
        if (o->n_headers == HEADERS_MAX) {
                fprintf(stderr, "load: at most %d header lines\n", HEADERS_MAX);
                exit(2);
        }
        o->headers[o->n_headers++] = line;
}

static void options_parse(struct options *o, int argc, char **argv) {
        int c;

        while ((c = getopt_long(argc, argv, "", long_options, NULL)) >= 0) {
                switch (c) {
                case 's':
                        o->socket = optarg;
                        break;
                case 'p':
                        o->path = optarg;
                        break;
                case 'h':
                        options_add_header(o, optarg);
                        break;
                case 'c':
                        o->connections = (unsigned) parse_number(optarg, 1, CONNECTIONS_MAX);
                        break;
                case 't':
                        o->seconds = parse_number(optarg, 0.01, 3600);
                        break;
                case 'w':
                        o->warmup = parse_number(optarg, 0, 60);
                        break;
                case 'n':
                        o->requests = (uint64_t) parse_number(optarg, 1, 1e9);
                        break;
                case 'r':
                        o->rate = (uint64_t) parse_number(optarg, 1, 1e6);
                        break;
                case 'u':
                        o->cpu = (long) parse_number(optarg, 0, CPU_SETSIZE - 1);
                        break;
                case 'i':
                        o->pid = (pid_t) parse_number(optarg, 1, 1e9);
                        break;
                case 'x':
                        o->close = true;
                        break;
                case 'I':
                        o->idle = true;
                        break;
                case 'd':
                        o->driven = true;
                        break;
                case '?' + 128:
                        usage(stdout, EXIT_SUCCESS);
                default:
                        usage(stderr, 2);
                }
        }
        if (optind != argc || !o->socket || !o->path)
                usage(stderr, 2);
        if (o->idle)
                o->requests = o->connections;
}

int main(int argc, char **argv) {
        struct options options = { .connections = 1, .seconds = 1, .warmup = 0.2, .cpu = -1 };
        struct rlimit files;
        struct load *l;

        options_parse(&options, argc, argv);
        if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
                files.rlim_cur = files.rlim_max;
                (void) setrlimit(RLIMIT_NOFILE,
                                 &files); /* socket() will tell if it is not enough */
        }
        (void) prctl(PR_SET_TIMERSLACK,
                     1UL); /* a paced request 50 us late is no answer 50 us late */
        if (options.cpu >= 0) {
                cpu_set_t cpus;

                CPU_ZERO(&cpus);
                CPU_SET((size_t) options.cpu, &cpus);
                if (sched_setaffinity(0, sizeof(cpus), &cpus) < 0)
                        die("cannot run on that CPU");
        }
        l = calloc(1, sizeof(*l));
        if (!l)
                die("start");
        load_start(l, &options);
        load_loop(l);
        load_report(l);
        if (options.idle)
                load_hold();
        load_free(l);
        return EXIT_SUCCESS;
}
