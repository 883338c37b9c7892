#include "client/libbearer/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/libbearer/flight.h"
#include "client/libbearer/json.h"
#include "client/protocol.h"

#define CLIENT_MARGIN_S 10 /* for the daemon, on top of what it may wait for the provider */

static struct bearer *client_list; /* guarded by bearer_lock */
static uint64_t client_numbers;
static pthread_once_t client_once = PTHREAD_ONCE_INIT;
static int client_once_error;

/* Fork: the lock is taken over it, so that the child finds everything whole. What is under way there
 * belongs to the parent, and to threads that the child does not have. */

static void client_before_fork(void) {
        (void) pthread_mutex_lock(&bearer_lock);
}

static void client_after_fork(void) {
        (void) pthread_mutex_unlock(&bearer_lock);
}

static void client_drop_calls(struct bearer *client) {
        while (client->flights) {
                struct flight *f = client->flights;

                client->flights = f->next;
                while (f->calls) {
                        struct bearer_call *call = f->calls;

                        f->calls = call->next;
                        free(call);
                }
                f->x.watched = false; /* the epoll descriptor goes as a whole */
                flight_free(f);
        }
        while (client->ready) {
                struct bearer_call *call = client->ready;

                client->ready = call->next;
                (void) bearer_token_unref(call->token);
                free(call);
        }
        client->ready_end = &client->ready;
        loop_close(client); /* the epoll descriptor goes as a whole */
        for (struct bearer_watch *w = client->watches; w; w = w->next) {
                watch_hang_up(w);
                w->wakes_us = 0;
        }
        link_close(&client->link);
}

static void client_in_child(void) {
        thread_forked();
        for (struct bearer *client = client_list; client; client = client->next)
                client_drop_calls(client);
        (void) pthread_mutex_unlock(&bearer_lock);
}

static void client_init(void) {
        client_once_error = pthread_atfork(client_before_fork, client_after_fork, client_in_child);
}

int bearer_new(struct bearer **ret, const char *socket) {
        struct bearer *client;
        int r, cancel_state;

        if (!ret)
                return thread_fail(-EINVAL, "bearer_new: no place for what it makes");
        (void) pthread_once(&client_once, client_init);
        if (client_once_error != 0)
                return thread_fail(-client_once_error, NULL);
        if (socket && (!*socket || strlen(socket) >= WIRE_SOCKET_MAX))
                return thread_fail(-EINVAL, "the socket's path must have 1 to %d bytes",
                                   WIRE_SOCKET_MAX - 1);
        client = calloc(1, sizeof(*client));
        if (!client)
                return thread_fail(-ENOMEM, NULL);
        client->epoll_fd = client->timer_fd = -1;
        client->ready_end = &client->ready;
        if (socket) {
                strcpy(client->link.path, socket);
        } else {
                r = wire_find_socket(client->link.path);
                if (r < 0) {
                        free(client);
                        return thread_fail(-EINVAL,
                                           "$" PROTOCOL_SOCKET_ENV " is longer than %d bytes",
                                           WIRE_SOCKET_MAX - 1);
                }
        }
        cancel_state = thread_enter();
        client->number = ++client_numbers;
        client->next = client_list;
        client->link_to_me = &client_list;
        if (client->next)
                client->next->link_to_me = &client->next;
        client_list = client;
        thread_leave(cancel_state);
        *ret = client;
        return 0;
}

void client_drop_body(struct bearer *client, struct entry *e) {
        if (!e->body)
                return;
        thread_withdraw(client->number, e->body);
        e->body = body_unref(e->body);
}

struct bearer *bearer_free(struct bearer *client) {
        int cancel_state;

        if (!client)
                return NULL;
        cancel_state = thread_enter();
        *client->link_to_me = client->next;
        if (client->next)
                client->next->link_to_me = client->link_to_me;
        client_drop_calls(client);
        watch_drop_all(client);
        thread_withdraw(client->number, NULL);
        for (size_t i = 0; i < CLIENT_BUCKETS; i++)
                while (client->buckets[i]) {
                        struct entry *e = client->buckets[i];

                        client->buckets[i] = e->next;
                        (void) body_unref(e->body);
                        free(e);
                }
        thread_leave(cancel_state);
        free(client);
        return NULL;
}

int bearer_set_timeout(struct bearer *client, int timeout_ms) {
        if (!client || timeout_ms < 0)
                return thread_fail(-EINVAL, "a timeout must be a number of milliseconds, or 0");
        atomic_store_explicit(&client->timeout_ms, timeout_ms, memory_order_relaxed);
        return 0;
}

int64_t client_limit_us(const struct bearer *client, const struct bearer_request *rq) {
        int64_t ms = atomic_load_explicit(&client->timeout_ms, memory_order_relaxed);

        return ms > 0 ? ms * 1000 : (rq->wait_s + CLIENT_MARGIN_S) * INT64_C(1000000);
}

/* The tokens in memory */

struct key client_key(const struct bearer *client, const char *name,
                      const struct bearer_request *rq) {
        struct key k = { .client = client->number, .name = name, .rest = rq->key };
        uint32_t h = REQUEST_HASH_SEED ^ rq->hash;
        const char *p;

        for (p = name; *p; p++)
                h = request_hash(h, *p);
        k.name_len = (size_t) (p - name);
        k.hash = h ^ h >> 15;
        k.min_ttl_us = rq->min_ttl_s < 0 ? -1 : rq->min_ttl_s * INT64_C(1000000);
        return k;
}

struct entry *client_entry(struct bearer *client, const struct key *k) {
        for (struct entry *e = client->buckets[k->hash % CLIENT_BUCKETS]; e; e = e->next)
                if (e->hash == k->hash && strncmp(e->key, k->name, k->name_len) == 0 &&
                    strcmp(e->key + k->name_len, k->rest) == 0)
                        return e;
        return NULL;
}

struct body *client_find(struct bearer *client, const struct key *k) {
        struct entry *e = client_entry(client, k);

        return e ? e->body : NULL;
}

static void client_evict(struct bearer *client) {
        struct entry **oldest = NULL, *e;

        for (size_t i = 0; i < CLIENT_BUCKETS; i++)
                for (struct entry **p = &client->buckets[i]; *p; p = &(*p)->next)
                        if (!oldest || (*p)->since_us < (*oldest)->since_us)
                                oldest = p;
        e = *oldest;
        client_drop_body(client, e);
        *oldest = e->next;
        client->n_entries--;
        free(e);
}

struct entry *client_entry_make(struct bearer *client, const struct key *k, int64_t now_us) {
        struct entry *e = client_entry(client, k), **bucket;

        if (e)
                return e;
        e = malloc(sizeof(*e) + k->name_len + strlen(k->rest) + 1);
        if (!e)
                return NULL;
        if (client->n_entries >= CLIENT_ENTRIES_MAX)
                client_evict(client);
        bucket = &client->buckets[k->hash % CLIENT_BUCKETS];
        *e = (struct entry){ .next = *bucket, .hash = k->hash, .since_us = now_us };
        (void) stpcpy(stpcpy(e->key, k->name), k->rest);
        *bucket = e;
        client->n_entries++;
        return e;
}

void client_make_due(struct bearer *client, const char *name, const char *rest,
                     const char *fingerprint) {
        for (size_t i = 0; i < CLIENT_BUCKETS; i++)
                for (struct entry *e = client->buckets[i]; e; e = e->next)
                        if (e->body && strncmp(e->key, name, strlen(name)) == 0 &&
                            strcmp(e->key + strlen(name), rest) == 0 &&
                            strcmp(e->body->fingerprint, fingerprint) != 0)
                                atomic_store_explicit(&e->body->due_us, 0, memory_order_relaxed);
}

int bearer_reject(struct bearer *client, struct bearer_token *token) {
        struct body *b;
        int cancel_state;

        if (!client || !token)
                return thread_fail(-EINVAL, "bearer_reject: no %s", client ? "token" : "client");
        b = token_body(token);
        cancel_state = thread_enter();
        for (size_t i = 0; i < CLIENT_BUCKETS; i++)
                for (struct entry *e = client->buckets[i]; e; e = e->next)
                        if (strcmp(e->key, b->key) == 0 && e->body &&
                            strcmp(e->body->fingerprint, b->fingerprint) == 0) {
                                strcpy(e->rejected, b->fingerprint);
                                e->rejections++;
                                client_drop_body(client, e);
                        }
        thread_leave(cancel_state);
        return 0;
}

void client_describe(const struct wire_answer *a, char text[CLIENT_DESCRIPTION_SIZE]) {
        if (strcmp(a->content_type, "application/json") != 0 || strlen(a->body) != a->body_len ||
            !json_member(a->body, "error_description", text, CLIENT_DESCRIPTION_SIZE) || !*text)
                (void) snprintf(text, CLIENT_DESCRIPTION_SIZE, "HTTP %d from the daemon",
                                a->status);
        for (char *p = text; *p; p++)
                if ((unsigned char) *p < 0x20 || *p == 0x7f)
                        *p = ' ';
}
