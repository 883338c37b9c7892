#pragma once
/*
 * Hooks: what is done outside of the daemon when a credential changes
 *
 * token_file_out, on_change and on_authorization_required of the configuration. The last is repeated every remind_every as
 * long as the credential itself hands out no token, since the first message may have been overlooked. A file that could not be
 * written is tried again every HOOK_FILE_RETRY_US.
 *
 * Threading: loop thread only.
 */

#include "broker/broker.h"
#include "hook/command.h"

#define HOOK_FILE_RETRY_US (10 * US_PER_S)

struct hooks;

struct hooks_parts { /* all borrowed */
        struct command_parts command;
        struct cache *cache; /* where the token of a credential is */
};

int hooks_new(const struct hooks_parts *parts, const struct conf *conf,
              struct hooks **ret); /* 0, -ENOMEM */

/* The hooks of another configuration take the place of `old`, which may be NULL: commands that are what they were go on, and
 * are reminded of when they were going to be; files that nobody writes any more are removed. Frees `old`. */
void hooks_succeed(struct hooks *hs, struct hooks *old);

/* When the broker has started, or has taken over another configuration: writes the files of tokens that are there, removes
 * those of tokens that are gone, and reminds of what a person has to do already. */
void hooks_start(struct hooks *hs, const struct broker *broker);

/* What is no change of a credential of its configuration has no effect. */
void hooks_tell(struct hooks *hs, const struct change *change);

/* As PID 1 of a container the daemon is the parent of all that commands have left behind: has what has ended of it forgotten,
 * so that no zombie stays. Commands themselves are waited for where they were begun. */
void hooks_reap_orphans(const struct hooks *hs);

struct hooks *hooks_free(struct hooks *hs); /* kills what runs; returns NULL */
