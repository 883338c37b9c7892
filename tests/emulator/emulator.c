/*
 * A Coze authorization server on loopback
 *
 * What bearerd is tested, measured and shown against: no network, no account. It knows the
 * protocol from its description alone and shares no code with the daemon, so that a misreading
 * cannot hide on both sides.
 */

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "authority.h"
#include "control.h"
#include "memory.h"
#include "oauth.h"
#include "server.h"

static const char usage[] =
        "emulator --directory DIR [--port N] [--plain-http] [--exit-with-parent]\n"
        "\n"
        "Serves Coze's OAuth endpoints on 127.0.0.1 and writes into DIR all that a client needs:\n"
        "ca.pem, APPLICATION/coze_oauth_config.json, pat, sat, bearerd.conf; last of all, port.\n"
        "What is in DIR is kept. Every deviation from the wire format is refused and recorded.\n"
        "\n"
        "  --directory DIR     made with mode 0700 if there is none\n"
        "  --port N            1 to 65535; any free one unless given\n"
        "  --plain-http        no TLS\n"
        "  --exit-with-parent  ends when the process that started it does\n"
        "\n"
        "Control, JSON on the same port:\n"
        "  GET    /emulator/state     requests, violations, spent_presented, tokens, last\n"
        "  POST   /emulator/faults    {\"fault\":NAME,\"times\":N,\"endpoint\":AT, parameters}; times 0:\n"
        "                             until cleared; AT: token, device, authorize, users_me or any\n"
        "  DELETE /emulator/faults    clears all faults\n"
        "  POST   /emulator/reset     clears counts, violations, faults, tokens, grants and codes\n"
        "  POST   /emulator/revoke    {\"token\":TOKEN} or {\"all\":true}: kills access tokens\n"
        "  POST   /emulator/device    {\"user_code\":CODE,\"action\":\"approve\", \"deny\" or \"expire\"};\n"
        "                             without a code, the newest device\n"
        "  POST   /emulator/consent   {\"mode\":\"approve\", \"deny\" or \"hold\"}\n"
        "  POST   /emulator/clock     {\"offset\":SECONDS}: moves the server's time\n"
        "  POST   /emulator/lifetime  {\"access\":S,\"refresh\":S,\"device\":S,\"interval\":S}; 0: default\n"
        "  POST   /emulator/app       {\"client_id\":ID,\"deactivated\":BOOL,\"redirect_uris\":[URI]}\n"
        "\n"
        "Faults, with parameters and, in parentheses, the endpoint unless one is given:\n";

struct options {
        const char *directory;
        unsigned port;
        bool plain_http, exit_with_parent;
};

static void handle(void *user, const struct request *rq, struct answer *ret) {
        if (control_owns(rq->path))
                control_handle(user, rq, ret);
        else
                oauth_handle(user, rq, ret);
}

static void complain(void *user, const char *what) {
        authority_violation(user, "", "%s", what);
}

static unsigned parse_port(const char *text) {
        char *end;
        unsigned long port;

        errno = 0;
        port = strtoul(text, &end, 10);
        if (errno || *end || *text < '0' || *text > '9' || port > 65535)
                directory_die("--port %s is no number from 0 to 65535", text);
        return (unsigned) port;
}

static void help(void) {
        fputs(usage, stdout);
        fault_help(stdout);
        exit(EXIT_SUCCESS);
}

static void parse_options(int argc, char **argv, struct options *ret) {
        static const struct option long_options[] = {
                { "directory", required_argument, NULL, 'd' },
                { "port", required_argument, NULL, 'p' },
                { "plain-http", no_argument, NULL, 'h' },
                { "exit-with-parent", no_argument, NULL, 'e' },
                { "help", no_argument, NULL, 'H' },
                { 0 },
        };
        int c;

        while ((c = getopt_long(argc, argv, "", long_options, NULL)) >= 0) {
                switch (c) {
                case 'd':
                        ret->directory = optarg;
                        break;
                case 'p':
                        ret->port = parse_port(optarg);
                        break;
                case 'h':
                        ret->plain_http = true;
                        break;
                case 'e':
                        ret->exit_with_parent = true;
                        break;
                case 'H':
                        help();
                        break;
                default:
                        exit(2); /* getopt_long has said why */
                }
        }
        if (!ret->directory || optind != argc) {
                fputs("emulator: --directory DIR is needed, and nothing without a dash; see --help\n",
                      stderr);
                exit(2);
        }
}

/* The kernel watches the thread that started us, not its process: one that lives on must do it. */
static void follow_parent(void) {
        pid_t parent = getppid();

        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent)
                exit(EXIT_SUCCESS); /* it died before we asked */
}

static void serve(const struct options *options, const sigset_t *signals) {
        struct authority *a = authority_new(options->directory);
        struct directory *d = authority_directory(a);
        AUTO(freep) char *key_file = must_printf("%s/server.key", d->path);
        AUTO(freep) char *certificate_file = must_printf("%s/server.pem", d->path);
        AUTO(freep) char *key = directory_read(key_file);
        AUTO(freep) char *certificate = directory_read(certificate_file);
        struct server_settings settings = { options->plain_http ? NULL : key, certificate, handle,
                                            complain, a };
        unsigned port;
        struct server *s = server_bind(options->port, &port);
        int signal_number;

        directory_publish(d, port, options->plain_http);
        server_start(s, &settings);
        directory_announce(d, port);
        printf("emulator: %s (%s)\n", d->url, d->path);
        fflush(stdout);
        sigwait(signals, &signal_number);
        authority_stop(a);
        server_free(s);
        authority_free(a);
}

int main(int argc, char **argv) {
        struct options options = { 0 };
        sigset_t signals;

        parse_options(argc, argv, &options);
        signal(SIGPIPE, SIG_IGN);
        sigemptyset(&signals);
        sigaddset(&signals, SIGTERM);
        sigaddset(&signals, SIGINT);
        pthread_sigmask(SIG_BLOCK, &signals, NULL); /* before the threads, which inherit it */
        if (options.exit_with_parent)
                follow_parent();
        serve(&options, &signals);
        return EXIT_SUCCESS;
}
