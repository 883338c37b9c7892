#pragma once
/*
 * The journal
 *
 * A line of the log as the journal takes it: each key=value pair is a field of its own
 * (credential=bot is BEARERD_CREDENTIAL=bot, without the quotes of a quoted value), and an event
 * that operators filter on has its MESSAGE_ID. The ids, what they mean and what to do stand in
 * systemd/bearerd.catalog and in bearerd-systemd(7); they never change.
 *
 * Threading: any thread; nothing is allocated.
 * Sources: systemd.journal-fields(7), sd_journal_sendv(3); $JOURNAL_STREAM of systemd.exec(5).
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

#define JOURNAL_FIELDS_MAX 32

/* Is `fd` the stream to the journal that the service manager has made for this process? */
bool journal_is_behind(int fd);

/* Writes what the journal gets of `line` (no newline), at a priority of syslog(3), into `buf`, and
 * describes it in `ret`: MESSAGE, PRIORITY, a field for each pair, MESSAGE_ID if the event has one.
 * What does not fit into `size` or `max` is left out. Returns how many fields there are. */
size_t journal_fields(int priority, const char *line, char *buf, size_t size, struct iovec *ret,
                      size_t max);

/* Sends that. 0, or the negative errno of sd_journal_sendv(). */
int journal_send(int priority, const char *line);
