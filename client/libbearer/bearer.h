#ifndef BEARER_H
#define BEARER_H
/*
 * libbearer: access tokens from bearerd, the local token broker
 *
 *     struct bearer *client;
 *     struct bearer_token *token;
 *     int r = bearer_new(&client, NULL);
 *     if (r == 0)
 *             r = bearer_get(client, "bot", NULL, &token);
 *     if (r == 0) {
 *             use(bearer_token_value(token));
 *             bearer_token_unref(token);
 *     }
 *
 * A token is kept in the process while it is good, so ask each time one is needed and keep none. A
 * token from memory costs tens of nanoseconds and no lock; else the daemon is asked, once for all
 * threads that wait for the same token.
 *
 * Errors:    0, or a negative number of errno.h from the list below; bearer_error_text() says more.
 *            What a function returns through a pointer is untouched on failure.
 * Units:     seconds where nothing else is said.
 * Threading: every function may be called by any thread at any time, unless it says otherwise; not by
 *            signal handlers. None is a point of cancellation.
 * Fork:      a child may go on with every client and token of its parent. Calls that the parent has
 *            under way are the parent's.
 * Ownership: strings that are passed in are copied; what a getter returns is borrowed.
 * Nothing is ever printed. Tokens are wiped when they are released.
 */

#include <errno.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Errors:
 *   -EINVAL        the request is wrong: a name, an option, a min_ttl that cannot be had
 *   -EACCES        this user may not use the credential, or may not connect to the socket
 *   -ENOENT        there is no such credential on this socket
 *   -ENOKEY        a person has to authorize (again), or to set a new static token
 *   -EBUSY         too many callers of this user: try again later
 *   -EREMOTEIO     the provider refused
 *   -EHOSTDOWN     the provider fails for now: bearer_error_retry_after() says when to try again
 *   -ETIMEDOUT     no answer in time, from the provider or from the daemon
 *   -ECONNREFUSED  no daemon at the socket, and none came in time
 *   -ECONNRESET    the daemon hung up, again and again
 *   -EPROTO        what is at the socket does not talk like bearerd
 *   -EIO           the daemon's own trouble
 *   -EAGAIN        bearer_get_cached() only: no such token in memory
 *   -ENOMEM, -EMFILE and what else the system says */

struct bearer;         /* a client: a socket, and the tokens that came from there */
struct bearer_token;   /* a token: immutable, with a count of references */
struct bearer_request; /* options of a request */
struct bearer_call;    /* a request that has been begun and not ended */
struct bearer_watch;   /* a reader of events */

/* A sentence in English for a code. Never NULL. */
const char *bearer_strerror(int error);

/* What happened in the last call of this thread that failed, or in the call whose callback runs: the
 * daemon's own words where it said something, with what to do next. Never NULL; valid until this
 * thread's next failure. */
const char *bearer_error_text(void);

/* When the daemon said to try again, in seconds from that answer; -1: it did not say. */
int bearer_error_retry_after(void);

/* Clients. `socket` is a path; NULL: $BEARERD_SOCKET, else the user's socket if there is one, else
 * the system's. Connects when there is something to ask. */
int bearer_new(struct bearer **ret_client, const char *socket);

/* Drops the cached tokens, ends the calls under way without calling back. Tokens handed out stay
 * good. No other thread may be using the client. Returns NULL. */
struct bearer *bearer_free(struct bearer *client);

/* How long one call may take, in milliseconds, whatever happens; 0, the default: ten seconds more
 * than the request's wait. */
int bearer_set_timeout(struct bearer *client, int timeout_ms);

/* Requests. May be used for any number of calls, by several threads unless one is changing it. */
int bearer_request_new(struct bearer_request **ret_request);
struct bearer_request *bearer_request_free(struct bearer_request *request); /* NULL */

/* An end user below the credential; NULL or "": the credential itself. */
int bearer_request_set_subject(struct bearer_request *request, const char *subject);

/* The token is to be good for this long; -1, the default: 60, or half of what it had left when it
 * came if that is less. */
int bearer_request_set_min_ttl(struct bearer_request *request, int64_t seconds);

/* How long the daemon may wait for the provider: 0 to 120, 30 by default. */
int bearer_request_set_wait(struct bearer_request *request, int seconds);

/* For credentials of type jwt. The lifetime of the token, 1 to 86399; 0, the default: as
 * configured. */
int bearer_request_set_duration(struct bearer_request *request, int seconds);

/* A JSON object as text; NULL, the default: as configured. */
int bearer_request_set_scope(struct bearer_request *request, const char *json);
int bearer_request_set_session_context(struct bearer_request *request, const char *json);

/* Tokens. `request` may be NULL. Waits for the daemon where no good token is in memory. */
int bearer_get(struct bearer *client, const char *credential, const struct bearer_request *request,
               struct bearer_token **ret_token);

/* Never waits. -EAGAIN: no good token is in memory, or it is time to ask the daemon again. */
int bearer_get_cached(struct bearer *client, const char *credential,
                      const struct bearer_request *request, struct bearer_token **ret_token);

/* The API refused this token: it is forgotten, and the next bearer_get() has it renewed, once for all
 * who say so. Does not wait. */
int bearer_reject(struct bearer *client, struct bearer_token *token);

struct bearer_token *bearer_token_ref(struct bearer_token *token);
struct bearer_token *bearer_token_unref(struct bearer_token *token); /* NULL */
const char *bearer_token_value(const struct bearer_token *token);
const char *bearer_token_header(const struct bearer_token *token); /* Authorization: Bearer ... */
const char *bearer_token_fingerprint(const struct bearer_token *token); /* 16 hex digits; may be
                                                                           logged */
int64_t bearer_token_expires_at(const struct bearer_token *token);      /* UNIX time; -1: never */
int64_t bearer_token_expires_in(const struct bearer_token *token);      /* from now; -1: never */

/* For event loops: begin calls with bearer_get_async(), wait until bearer_fd() is readable, then
 * bearer_process(). Callbacks run in bearer_process() only. */

/* `r` as bearer_get() would return it, and the token if that is 0: borrowed, bearer_token_ref() to
 * keep it. */
typedef void bearer_callback(void *user, int r, struct bearer_token *token);

/* `ret_call` may be NULL; what it gets is valid until the callback begins. */
int bearer_get_async(struct bearer *client, const char *credential,
                     const struct bearer_request *request, bearer_callback *callback, void *user,
                     struct bearer_call **ret_call);

/* The callback will not be called. By the thread that calls bearer_process(). Returns NULL. */
struct bearer_call *bearer_call_cancel(struct bearer_call *call);

/* A descriptor to poll for POLLIN, or a negative error; the client's own, do not read or close it.
 * Ask again after a fork. */
int bearer_fd(struct bearer *client);

/* Does what there is to do and never waits; one thread at a time. The number of callbacks that were
 * called, or a negative error. bearer_free() may not be called by a callback. */
int bearer_process(struct bearer *client);

/* What happens to credentials, by bearer_process(). A watch comes back by itself after a restart of the
 * daemon, and goes on behind the last event it has seen. */
struct bearer_event; /* valid while the callback runs */

/* `r` < 0: the daemon refuses, the watch is over, and there is no event. */
typedef void bearer_watch_callback(void *user, int r, const struct bearer_event *event);

/* `credential` NULL: all that the caller may use. `ret_watch` may be NULL. */
int bearer_watch(struct bearer *client, const char *credential, bearer_watch_callback *callback,
                 void *user, struct bearer_watch **ret_watch);

/* The callback will not be called. By the thread that calls bearer_process(). Returns NULL. */
struct bearer_watch *bearer_watch_cancel(struct bearer_watch *watch);

/* state, token, failing, recovered, authorization_required; others may come */
const char *bearer_event_type(const struct bearer_event *event);
const char *bearer_event_credential(const struct bearer_event *event);  /* "" with state */
const char *bearer_event_subject(const struct bearer_event *event);     /* "": none */
const char *bearer_event_fingerprint(const struct bearer_event *event); /* "": none */
const char *bearer_event_json(const struct bearer_event *event);        /* all of it: bearerd(8) */

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
