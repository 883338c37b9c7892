#pragma once
/*
 * Check: everything between a configuration and a token, looked at in the order in which it is needed
 *
 * The configuration and its keys, the way to each provider, its clock, and whether it takes the
 * credentials. Facts come out, one a line, each as soon as it is known (check/fact.h); nothing is
 * written, made, spent or locked, so that it can run beside the daemon.
 *
 * A room of its own: it stands beside the flow of requests, needs no broker and no socket, and may go
 * wherever a request to a provider goes.
 *
 * Threading: before there is a loop; blocks for some 20 s at most.
 */

#include <systemd/sd-event.h>

#include "check/credentials.h"

struct check_parts {             /* all borrowed */
        const char *file;        /* of the configuration */
        const struct conf *conf; /* NULL: it has errors */
        const struct conf_report *report;
        bool offline; /* ask nobody */
        sd_event *event;
        const struct transport *transport;
        const struct clock *clock;
        const struct random *random;
        FILE *out;
};

/* 0: all facts are told, whatever they say; -ENOMEM; -EPIPE, -ENOSPC ...: `out` took them not; what the loop said. */
int check_run(const struct check_parts *parts);
