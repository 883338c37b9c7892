#pragma once
/*
 * Sandbox: what the process gives up before it meets anybody
 *
 * For a daemon that was started without systemd's sandbox; both go together. Beyond what is listed here nothing may be
 * written, made or removed in the file system (Landlock), and no system call is possible that a broker never makes, but that
 * somebody who had taken it over would like: those that trace, mount, load, change identity or namespace (seccomp). Reading
 * stays as it is: certificates, the name service and a changed configuration are read at any time.
 *
 * Threading: before there are other threads; all that come later inherit it, and so do children.
 * Sources:   landlock(7), seccomp(2), mlockall(2), close_range(2).
 */

#include <stdbool.h>
#include <stddef.h>

/* No core, not to be traced, nothing for others to read, nothing gained by executing a file, no descriptor that is not ours.
 * 0, or what the system said: then better not go on. */
int sandbox_harden(void);

/* Locks memory, present and future, if there is no limit to that. False: it may be swapped out. */
bool sandbox_lock_memory(void);

/* Writing is possible below these directories only (those that are not there: below the nearest one above that is).
 * Returns the Landlock version in force; 0: the kernel has none; or a negative errno. */
int sandbox_limit_writing(const char *const *directories, size_t n);

/* Has sandbox_limit_writing() done so, in this process? */
bool sandbox_limits_writing(void);

/* Is the directory of this file, or the nearest one above it that is there, among them? True also if nothing was limited, and
 * if that cannot be told. Any thread. */
bool sandbox_may_write(const char *file);

/* 0; what seccomp said. */
int sandbox_limit_calls(void);
