#pragma once
/*
 * Hooks: what is done outside of the daemon when a credential changes
 *
 * token_file_out, on_change and on_authorization_required of the configuration. The last is repeated every remind_every as
 * long as the credential itself hands out no token, since the first message may have been overlooked.
 *
 * Threading: loop thread only.
 */

#include <systemd/sd-event.h>

#include "broker/broker.h"

struct hooks;

int hooks_new(const struct conf *conf, sd_event *event, struct timers *timers,
              const struct clock *clock, struct hooks **ret); /* 0, -ENOMEM */

/* When the broker has started: reminds of what a person has to do already, and removes the files of tokens that are gone. */
void hooks_start(struct hooks *hs, const struct broker *broker);

void hooks_tell(struct hooks *hs, const struct change *change);

/* As PID 1 of a container the daemon is the parent of all that commands have left behind: has what has ended of it forgotten,
 * so that no zombie stays. Commands themselves are waited for where they were begun. */
void hooks_reap_orphans(const struct hooks *hs);

struct hooks *hooks_free(struct hooks *hs); /* kills what runs; returns NULL */
