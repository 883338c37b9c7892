#pragma once
/*
 * The CPU time of a process
 */

#include <stdint.h>
#include <sys/types.h>

/* Time that all threads of `pid` have spent on a CPU, in nanoseconds; 0 if it cannot be known or `pid` is 0.
 * Sources: /proc/PID/task/TID/schedstat (proc(5)), which counts in nanoseconds and not in ticks. */
int64_t usage_cpu_ns(pid_t pid);
