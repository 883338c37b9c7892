#pragma once
/*
 * What each thread has of its own: the tokens it has used, and what went wrong last
 *
 * thread_hit() is the path that has to be fast: it reads the thread's slots and writes to a handle that
 * is this thread's alone. It takes no lock, and writes to nothing that another thread reads or writes: a test
 * gets tokens while the lock is held, and client and body are read-only. Slots change under the library's lock only, so that another thread can
 * withdraw what lies in them.
 *
 * Threading: thread_hit() and the errors belong to the calling thread; all else needs bearer_lock.
 */

#include <pthread.h>
#include <stdint.h>

#include "client/libbearer/token.h"

/* The one lock of the library: of all clients, and of the slots of all threads. Held for what
 * computes, never across a wait; a fork takes it, too. */
extern pthread_mutex_t bearer_lock;

/* Takes the lock, and releases it. In between a thread cannot be cancelled, also where it waits without
 * the lock: others may wait for what it does. */
int thread_enter(void); /* the state that thread_leave() brings back */
void thread_leave(int cancel_state);

struct key {
        uint64_t client; /* never the number of another one */
        uint32_t hash;
        const char *name, *rest; /* credential, request's key */
        size_t name_len;
        int64_t min_ttl_us; /* -1: the default */
};

/* A reference on a handle with a good token that need not be asked for again yet; or NULL. */
struct bearer_token *thread_hit(const struct key *k, int64_t now_us);

/* A reference on a new handle, kept in the thread's slot. NULL: out of memory. */
struct bearer_token *thread_keep(const struct key *k, struct body *b);

/* Takes a body, or all of a client's (NULL), from the slots of all threads. */
void thread_withdraw(uint64_t client, const struct body *b);

/* In the child of a fork: the other threads are not there. */
void thread_forked(void);

#define THREAD_ERROR_SIZE 1024

struct failure {
        int r;
        int retry_after_s; /* -1: not said */
        char text[THREAD_ERROR_SIZE];
};

/* Notes what went wrong; NULL: what bearer_strerror() says. Returns `r`. Without the lock. */
int thread_fail(int r, const char *format, ...) __attribute__((format(printf, 2, 3)));
int thread_fail_as(const struct failure *f);
