/*
 * A bare libmicrohttpd server: the yardstick
 *
 * Answers every request with one of two constants, in the best configuration we know of: an own event
 * loop around MHD_run(), 8 KiB of memory for each connection, responses made once and shared, queued
 * at the second call of the handler. What bearerd does beside that is what the comparison shows.
 *
 * The constants are given as files: header lines, a blank line, the body; as they were recorded
 * from bearerd, so that both servers send the same bytes.
 *
 * --no-date leaves out the Date header. --internal-thread leaves the loop to libmicrohttpd, whose epoll thread falls asleep on requests it
 * has already been told of when exactly 128 connections are ready at once: to see load's detector work.
 */

#include <errno.h>
#include <microhttpd.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CONNECTION_MEMORY 8192
#define CONNECTIONS_MAX   4096
#define CONSTANT_MAX      32768
#define BACKLOG           4096

struct constants {
        struct MHD_Response *json, *text;
};

static _Noreturn void die(const char *what) {
        fprintf(stderr, "bare: %s: %s\n", what, strerror(errno));
        exit(EXIT_FAILURE);
}

static void response_add_headers(struct MHD_Response *response, char *lines) {
        char *line, *value, *save = NULL;

        for (line = strtok_r(lines, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
                value = strstr(line, ": ");
                if (!value) {
                        errno = EBADMSG;
                        die(line);
                }
                *value = '\0';
                if (MHD_add_response_header(response, line, value + 2) != MHD_YES)
                        die(line);
        }
}

/* Reads "Header: value" lines, a blank line and the body. */
static struct MHD_Response *response_read(const char *path) {
        struct MHD_Response *response;
        char text[CONSTANT_MAX];
        char *body;
        size_t n;
        FILE *f;

        f = fopen(path, "re");
        if (!f)
                die(path);
        n = fread(text, 1, sizeof(text) - 1, f);
        (void) fclose(f); /* read only */
        text[n] = '\0';
        body = strstr(text, "\n\n");
        if (!body || n == sizeof(text) - 1) {
                errno = EBADMSG;
                die(path);
        }
        *body = '\0';
        body += 2;
        response = MHD_create_response_from_buffer(n - (size_t) (body - text), body,
                                                   MHD_RESPMEM_MUST_COPY);
        if (!response)
                die("response");
        response_add_headers(response, text);
        return response;
}

static enum MHD_Result handle(void *user, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_size, void **request) {
        static int seen;
        const struct constants *constants = user;
        const char *accept;

        (void) url;
        (void) method;
        (void) version;
        (void) upload;
        (void) upload_size;
        /* Queued at the first call, the answer would close the connection. */
        if (!*request) {
                *request = &seen;
                return MHD_YES;
        }
        accept = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Accept");
        return MHD_queue_response(connection, MHD_HTTP_OK,
                                  accept && strcmp(accept, "text/plain") == 0 ? constants->text
                                                                              : constants->json);
}

static int listen_on(const char *path) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd;

        if (strlen(path) >= sizeof(address.sun_path)) {
                errno = ENAMETOOLONG;
                die(path);
        }
        strcpy(address.sun_path, path);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0 || bind(fd, (struct sockaddr *) &address, sizeof(address)) < 0 ||
            listen(fd, BACKLOG) < 0)
                die(path);
        return fd;
}

static void run(struct MHD_Daemon *mhd) {
        const union MHD_DaemonInfo *info = MHD_get_daemon_info(mhd, MHD_DAEMON_INFO_EPOLL_FD);
        struct pollfd loop = { .fd = info->epoll_fd, .events = POLLIN };

        for (;;) {
                MHD_UNSIGNED_LONG_LONG ms;
                int timeout = -1;

                if (MHD_get_timeout(mhd, &ms) == MHD_YES)
                        timeout = (int) ms;
                if (poll(&loop, 1, timeout) < 0 && errno != EINTR)
                        die("poll");
                if (MHD_run(mhd) != MHD_YES)
                        die("MHD_run");
        }
}

/* Makes flags of the arguments behind the first three. */
static unsigned parse_flags(int argc, char **argv) {
        unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME;

        for (int i = 4; i < argc; i++) {
                if (strcmp(argv[i], "--no-date") == 0)
                        flags |= MHD_USE_SUPPRESS_DATE_NO_CLOCK;
                else if (strcmp(argv[i], "--internal-thread") == 0)
                        flags |= MHD_USE_INTERNAL_POLLING_THREAD;
                else
                        argc = 0;
        }
        if (argc < 4) {
                fputs("bare SOCKET JSON-ANSWER TEXT-ANSWER [--no-date] [--internal-thread]\n",
                      stderr);
                exit(2);
        }
        return flags;
}

int main(int argc, char **argv) {
        struct constants constants;
        struct MHD_Daemon *mhd;
        struct rlimit files;
        unsigned flags;

        flags = parse_flags(argc, argv);
        if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
                files.rlim_cur = files.rlim_max;
                (void) setrlimit(RLIMIT_NOFILE, &files); /* fewer connections then */
        }
        constants.json = response_read(argv[2]);
        constants.text = response_read(argv[3]);
        mhd = MHD_start_daemon(flags, 0, NULL, NULL, handle, &constants, MHD_OPTION_LISTEN_SOCKET,
                               listen_on(argv[1]), MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                               (size_t) CONNECTION_MEMORY, MHD_OPTION_CONNECTION_LIMIT,
                               (unsigned) CONNECTIONS_MAX, MHD_OPTION_END);
        if (!mhd)
                die("libmicrohttpd does not start");
        if (flags & MHD_USE_INTERNAL_POLLING_THREAD)
                for (;;)
                        (void) pause();
        run(mhd);
}
