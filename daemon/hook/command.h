#pragma once
/*
 * Command: a program of the operator's, run when something has happened
 *
 * Without a shell, with standard input from /dev/null, its output in our log, and an environment made for it. One at a
 * time; what happens meanwhile waits, once for each subject, with what is newest. What takes longer than
 * COMMAND_LIMIT_US is killed, with all that it has started in its process group.
 *
 * It is a child of the daemon, made by posix_spawn(3), and subject to what the daemon is confined to.
 *
 * Threading: loop thread only.
 */

#include <systemd/sd-event.h>

#include "broker/change.h"
#include "sched/timer.h"

#define COMMAND_LIMIT_US    (60 * US_PER_S)
#define COMMAND_WAITING_MAX 64 /* runs that wait; more are dropped, and that is logged */

struct command;

struct command_parts { /* all borrowed */
        sd_event *event;
        struct timers *timers;
        const struct clock *clock;
};

/* `words` is borrowed, and has at least one: the program's path. 0, -ENOMEM. */
int command_new(const struct command_parts *parts, const char *key, const struct conf_credential *c,
                const struct conf_list *words, struct command **ret);
struct command *command_free(struct command *c); /* kills what runs; returns NULL */

/* The same words, in another configuration: what runs and what waits stays. */
void command_adopt(struct command *c, const struct conf_credential *credential,
                   const struct conf_list *words);

/* The process that runs; 0: none. It is waited for here, and nowhere else. */
pid_t command_pid(const struct command *c);

/* Runs it, now or when what runs has ended. Copies what it needs of the change. */
void command_run(struct command *c, const struct change *change);
