#pragma once
/*
 * Audit: who was given which token, and who was refused
 *
 * Each token that is handed out and each refusal is a line of the log with the same keys: uid, gid, pid, unit, credential,
 * subject, fingerprint, outcome, count. The first of its kind is written at once; what repeats it (the same process, credential,
 * subject, token and outcome) within AUDIT_INTERVAL_US is counted, and told in one more line. The counts of all lines add
 * up to what has happened. What finds no place in the table, which takes a flood, is counted for each outcome alone.
 *
 * Recording a repeat neither allocates nor calls the system; lines are written by the loop.
 *
 * Threading: audit_record() from any thread; all else from the loop's.
 * Sources:   design.md section 7.
 */

#include <systemd/sd-event.h>

#include "api/caller.h"
#include "base/clock.h"
#include "base/inbox.h"
#include "base/random.h"

#define AUDIT_INTERVAL_US (60 * US_PER_S)
#define AUDIT_ENTRIES     512 /* kinds of events that are told apart at once */

enum audit_outcome {
        AUDIT_HANDED_OUT,
        AUDIT_USE_DENIED,   /* the rule of the credential matches nothing of it */
        AUDIT_ADMIN_DENIED, /* admin_* do not */
        AUDIT_NOT_SHOWN,    /* there is such a credential, but not on the socket */
        AUDIT_OUTCOME_MAX,
};
extern const char *const audit_outcome_names[AUDIT_OUTCOME_MAX];

struct audit;

struct audit_parts { /* all borrowed */
        sd_event *event;
        struct inbox *loop;
        const struct random *random;
        enum audit_mode mode;
};

int audit_new(const struct audit_parts *parts, struct audit **ret); /* 0, -ENOMEM */

/* Writes what is still to be told. Nobody records any more. Returns NULL. */
struct audit *audit_free(struct audit *a);

/* After a reload. */
void audit_set_mode(struct audit *a, enum audit_mode mode);

/* Is it written at all? Any thread. */
bool audit_tells(const struct audit *a, enum audit_outcome outcome);

/* Has happened to `caller`, whose unit is looked up if that was not done before and the event is a new one. `fingerprint`
 * is "" for a refusal; no text needs to outlive the call. */
void audit_record(struct audit *a, enum audit_outcome outcome, struct caller *caller,
                  const char *credential, const char *subject, const char *fingerprint);

/* Writes what is due; and what has been repeated in the interval, too. The loop does both by itself. */
void audit_flush(struct audit *a);
void audit_sweep(struct audit *a);
