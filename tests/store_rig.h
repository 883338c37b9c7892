#pragma once
/*
 * The real store on a real directory, for tests
 *
 * What a disk may do to it is played by three hands: an outside SQLite connection (which holds the
 * lock, plants a trigger, alters rows), the system calls of SQLite's own file layer, and
 * fdatasync(2), which this file defines itself so that it can count syncs and let them fail.
 *
 * Everything here fails the test that called it when something is not as it should be.
 */

#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#include "base/why.h"
#include "store/store.h"

extern char top[64];    /* made for each test, removed after it */
extern char state[128]; /* does not exist yet: top/a/state */
extern char key[160], db[160];
extern sd_event *event;
extern struct store *store;
extern struct why why;

void set_up(void);
void tear_down(void);
void remove_tree(const char *path);

/* --- the disk --- */

extern atomic_int syncs;         /* so far */
extern atomic_int syncs_to_fail; /* the next ones, with EIO */

void disk_fail_writes(int error); /* all of SQLite's from now on; 0: no more */

/* A mount namespace of its own with a tmpfs there. False: no right to. */
bool mount_tmpfs(const char *path, const char *options);
void skip(const char *what);

/* --- the store --- */

int try_open(void);
void says(const char *what); /* that this is in `why` */
void open_store(void);
void reopen_store(void);
void settle(void); /* until nothing is pending */

int give(struct store *to, const char *credential, const char *subject, const char *text,
         store_done_fn *done, void *user); /* put() of a grant */
void note_result(void *user, int r);       /* a done() for an int */
int put_row(const char *credential, const char *subject, const char *text); /* what done() said */
int get_row(const char *credential, const char *subject, struct record *ret);
void expect_row(const char *credential, const char *subject, const char *text);
void expect_no_row(const char *credential, const char *subject);
int count_rows(void);

/* --- the outside --- */

sqlite3 *outside_open(void);
void outside_run(sqlite3 *c, const char *sql);
void outside(const char *sql); /* on a connection of its own */

char *read_all(const char *path, size_t *ret_len); /* the caller frees it */
void write_all(const char *path, const void *bytes, size_t len, mode_t mode);
mode_t mode_of(const char *dir, const char *name);

/* In how many files of the state directory `bytes` occur. */
int find_in_files(const char *bytes, size_t len, int *ret_files);

/* The state directory as version 1 left it, with three rows, see store_version_1.h. */
void make_version_1(void);
