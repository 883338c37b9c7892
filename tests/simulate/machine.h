#pragma once
/*
 * The machine: clocks, disk, and the daemon's lives on it
 *
 * The daemon is the real broker, scheduler and dialect. It stops, is killed and started again; the
 * power goes; the machine sleeps, and its wall clock is set by whoever likes.
 */

#include "broker/broker.h"
#include "sim.h"

struct conf *machine_begin(uint64_t seed, int64_t wall_offset_s);
void machine_start(void);
bool machine_is_up(void); /* a daemon takes callers */
struct broker *machine_broker(void);
struct cache *machine_cache(void);
const struct timers *machine_timers(void);
mono_t machine_mono(void);  /* CLOCK_BOOTTIME now */
mono_t machine_wakes(void); /* asleep until then, in true time */

void machine_kill(int64_t down_us);      /* kill -9, and started again after that */
void machine_power_cut(int64_t down_us); /* the same, and a new CLOCK_BOOTTIME */
void machine_restart(void);              /* SIGTERM, and a new one as soon as that has ended */
void machine_sleep(int64_t us);
void machine_step_clock(int64_t s); /* CLOCK_REALTIME */
void machine_disk_fails(bool fails);
void machine_disk_is_slow(bool slow);
bool machine_disk_is_well(void);

/* Somebody has edited the configuration a little. */
void machine_reload(void);
void machine_configure_all(void); /* and what was taken out is back */
/* The one that stands in for it when it is refused, or NULL: a jwt elsewhere for a jwt, and for a
 * code. */
const struct conf_credential *machine_fallback(const struct conf_credential *c);
/* As the configuration in force has it, or NULL. */
const struct conf_credential *machine_credential(const struct conf_credential *c);

void machine_seed_row(const char *credential, const char *subject, int64_t age_s);

mono_t machine_next(void); /* when the daemon wants to be woken, in true time */
void machine_run(void);
void machine_check(void); /* what may be looked at any time */
void machine_end(void);   /* nothing may hold up a stop */

extern bool fault_tells_early;  /* a fault of the disk: it tells before it has written */
extern unsigned machine_deaths; /* by kill -9 or power cut */
