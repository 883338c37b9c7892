/*
 * A commit waits for the disk, 0.2 ms on a good day and seconds on a bad one, so it must not happen
 * on the loop. While one is under way, further changes gather, and the next commit takes them all:
 * the busier, the fewer syncs for each change.
 *
 * A transaction that fails is rolled back and its changes are tried once more, each by itself: the
 * disk may have room for some of them, and one that cannot be written must not fail its neighbours.
 *
 * The log is folded back into the database (a checkpoint, 12 to 18 ms) after the results were
 * posted, so nobody waits for it. One that fails is no failure of any change; the next commit tries
 * again.
 */
#include "store/writer.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/err.h"
#include "store/db.h"

#define WRITER_CHECKPOINT_PAGES 1000 /* 4 MiB of log */

struct writer {
        /* owned by the thread while it runs */
        sqlite3 *db;
        sqlite3_stmt *begin, *commit, *rollback, *put, *mark, *remove;
        int log_pages;

        /* guarded by mtx */
        pthread_mutex_t mtx;
        pthread_cond_t given; /* or closing */
        struct change *first, **last;
        bool closing;

        /* owned by the loop */
        pthread_t thread;
        bool running;
        sd_event_source *source;
        size_t pending;

        struct inbox *finished; /* from the thread to the loop */
        atomic_uint_fast64_t commits;
};

struct change *change_new(const char *credential, const char *subject, size_t sealed_len) {
        size_t n_credential = strlen(credential) + 1, n_subject = strlen(subject) + 1;
        struct change *c = calloc(1, sizeof(*c) + n_credential + n_subject + sealed_len);
        char *at;

        if (!c)
                return NULL;
        at = (char *) (c + 1);
        c->credential = memcpy(at, credential, n_credential);
        c->subject = memcpy(at + n_credential, subject, n_subject);
        c->sealed = (uint8_t *) at + n_credential + n_subject;
        c->sealed_len = sealed_len;
        return c;
}

struct change *change_free(struct change *change) {
        free(change);
        return NULL;
}

static int writer_apply_put(struct writer *w, const struct change *c) {
        int r;

        (void) sqlite3_bind_text(w->put, 1, c->credential, -1, SQLITE_STATIC);
        (void) sqlite3_bind_text(w->put, 2, c->subject, -1, SQLITE_STATIC);
        (void) sqlite3_bind_int(w->put, 3, (int) c->kind);
        (void) sqlite3_bind_int64(w->put, 4, c->obtained_at.s);
        (void) sqlite3_bind_int64(w->put, 5, c->expires_at.s);
        (void) sqlite3_bind_blob64(w->put, 6, c->sealed, c->sealed_len, SQLITE_STATIC);
        (void) sqlite3_bind_int(w->put, 7, c->in_doubt);
        r = db_run(w->put);
        (void) sqlite3_clear_bindings(w->put); /* they point into a change that is freed soon */
        return r;
}

static int writer_apply_named(sqlite3_stmt *stmt, const struct change *c) {
        int r;

        (void) sqlite3_bind_text(stmt, 1, c->credential, -1, SQLITE_STATIC);
        (void) sqlite3_bind_text(stmt, 2, c->subject, -1, SQLITE_STATIC);
        r = db_run(stmt);
        (void) sqlite3_clear_bindings(stmt);
        return r;
}

/* A row that is not there is no failure of the transaction. */
static int writer_apply_mark(struct writer *w, struct change *c) {
        int r = writer_apply_named(w->mark, c);

        if (r == 0)
                c->r = sqlite3_changes(w->db) > 0 ? 0 : -ENOENT;
        return r;
}

static int writer_apply(struct writer *w, struct change *c) {
        switch (c->change) {
        case CHANGE_PUT:
                return writer_apply_put(w, c);
        case CHANGE_MARK:
                return writer_apply_mark(w, c);
        case CHANGE_REMOVE:
                break;
        }
        return writer_apply_named(w->remove, c);
}

/* One transaction of the changes from `first` up to, not including, `end`. */
static int writer_commit(struct writer *w, struct change *first, const struct change *end) {
        int r;

        r = db_run(w->begin);
        for (struct change *c = first; r == 0 && c != end; c = c->next)
                r = writer_apply(w, c);
        if (r == 0)
                r = db_run(w->commit);
        if (r == 0) {
                atomic_fetch_add_explicit(&w->commits, 1, memory_order_relaxed);
                return 0;
        }
        if (!sqlite3_get_autocommit(w->db)) /* after some errors SQLite has rolled back by itself */
                (void) db_run(w->rollback); /* needs no disk, and what it says is no news */
        return PASS(r);
}

static void writer_write(struct writer *w, struct change *batch) {
        if (writer_commit(w, batch, NULL) == 0)
                return;
        for (struct change *c = batch; c; c = c->next) {
                int r = writer_commit(w, c, c->next);

                if (r < 0)
                        c->r = r;
        }
}

static int writer_note_log(void *user, sqlite3 *db, const char *name, int pages) {
        struct writer *w = user;

        (void) db, (void) name;
        w->log_pages = pages;
        return SQLITE_OK;
}

static void writer_checkpoint(struct writer *w) {
        if (w->log_pages < WRITER_CHECKPOINT_PAGES)
                return;
        w->log_pages = 0;
        (void) sqlite3_wal_checkpoint_v2(w->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
}

/* On the loop. */
static void writer_deliver(struct message *m) {
        struct change *c = (struct change *) m; /* its first member */

        c->writer->pending--;
        if (c->done)
                c->done(c->user, c->r);
        (void) change_free(c);
}

static void writer_post(struct writer *w, struct change *batch) {
        for (struct change *c = batch, *next; c; c = next) {
                next = c->next; /* once posted, it is the loop's */
                inbox_post(w->finished, &c->finished);
        }
}

/* All that waits, as soon as something does; NULL: nothing will come any more. */
static struct change *writer_take(struct writer *w) {
        struct change *all;

        (void) pthread_mutex_lock(&w->mtx);
        while (!w->first && !w->closing)
                (void) pthread_cond_wait(&w->given, &w->mtx);
        all = w->first;
        w->first = NULL;
        w->last = &w->first;
        (void) pthread_mutex_unlock(&w->mtx);
        return all;
}

static void *writer_run(void *user) {
        struct writer *w = user;
        struct change *batch;

        (void) pthread_setname_np(pthread_self(), "store-writer"); /* for top(1) only */
        while ((batch = writer_take(w))) {
                writer_write(w, batch);
                writer_post(w, batch);
                writer_checkpoint(w);
        }
        return NULL;
}

static int writer_on_finished(sd_event_source *source, int fd, uint32_t revents, void *user) {
        struct writer *w = user;

        (void) source, (void) fd, (void) revents;
        inbox_run(w->finished);
        return 0;
}

static int writer_prepare(struct writer *w) {
        const struct {
                sqlite3_stmt **stmt;
                const char *sql;
        } statements[] = {
                { &w->begin, "BEGIN IMMEDIATE" },
                { &w->commit, "COMMIT" },
                { &w->rollback, "ROLLBACK" },
                { &w->put, "INSERT INTO record "
                           "(credential, subject, kind, obtained_at, expires_at, sealed, in_doubt) "
                           "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) "
                           "ON CONFLICT (credential, subject) DO UPDATE SET kind = excluded.kind, "
                           "obtained_at = excluded.obtained_at, expires_at = excluded.expires_at, "
                           "sealed = excluded.sealed, in_doubt = excluded.in_doubt" },
                { &w->mark,
                  "UPDATE record SET in_doubt = 1 WHERE credential = ?1 AND subject = ?2" },
                { &w->remove, "DELETE FROM record WHERE credential = ?1 AND subject = ?2" },
        };
        int r = 0;

        for (size_t i = 0; r == 0 && i < N_ELEMENTS(statements); i++)
                r = db_prepare(w->db, statements[i].sql, statements[i].stmt);
        if (r == 0)
                (void) sqlite3_wal_hook(w->db, writer_note_log, w);
        return PASS(r);
}

/* The thread takes no signals: they are the loop's. */
static int writer_start(struct writer *w) {
        sigset_t all, before;
        int r;

        sigfillset(&all);
        (void) pthread_sigmask(SIG_SETMASK, &all, &before);
        r = pthread_create(&w->thread, NULL, writer_run, w);
        (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (r > 0)
                return RAISE(-r);
        w->running = true;
        return 0;
}

int writer_new(sqlite3 *db, sd_event *event, struct writer **ret) {
        AUTO(writer_freep) struct writer *w = NULL;
        int r;

        w = calloc(1, sizeof(*w));
        if (!w) {
                (void) db_close(db);
                return RAISE(-ENOMEM);
        }
        w->db = db;
        w->last = &w->first;
        (void) pthread_mutex_init(&w->mtx, NULL); /* with default attributes these cannot fail */
        (void) pthread_cond_init(&w->given, NULL);
        r = writer_prepare(w);
        if (r < 0)
                return PASS(r);
        r = inbox_new(&w->finished);
        if (r < 0)
                return PASS(r);
        r = sd_event_add_io(event, &w->source, inbox_fd(w->finished), EPOLLIN, writer_on_finished,
                            w);
        if (r < 0)
                return RAISE(r);
        (void) sd_event_source_set_description(w->source, "store-writer"); /* for debugging only */
        r = writer_start(w);
        if (r < 0)
                return PASS(r);
        *ret = TAKE(w);
        return 0;
}

void writer_stop(struct writer *w) {
        if (!w || !w->running)
                return;
        w->running = false;
        (void) pthread_mutex_lock(&w->mtx);
        w->closing = true;
        (void) pthread_cond_signal(&w->given);
        (void) pthread_mutex_unlock(&w->mtx);
        (void) pthread_join(w->thread, NULL);
        inbox_run(w->finished);
}

struct writer *writer_free(struct writer *w) {
        if (!w)
                return NULL;
        writer_stop(w);
        (void) sd_event_source_disable_unref(w->source);
        w->finished = inbox_free(w->finished);
        w->begin = db_finalize(w->begin);
        w->commit = db_finalize(w->commit);
        w->rollback = db_finalize(w->rollback);
        w->put = db_finalize(w->put);
        w->mark = db_finalize(w->mark);
        w->remove = db_finalize(w->remove);
        w->db = db_close(w->db);
        (void) pthread_cond_destroy(&w->given);
        (void) pthread_mutex_destroy(&w->mtx);
        free(w);
        return NULL;
}

int writer_give(struct writer *w, struct change *change) {
        bool closing;

        change->writer = w;
        change->finished.run = writer_deliver;
        (void) pthread_mutex_lock(&w->mtx);
        closing = w->closing;
        if (!closing) {
                *w->last = change;
                w->last = &change->next;
                w->pending++;
                (void) pthread_cond_signal(&w->given);
        }
        (void) pthread_mutex_unlock(&w->mtx);
        if (closing) {
                (void) change_free(change);
                return RAISE(-ESHUTDOWN);
        }
        return 0;
}

size_t writer_pending(const struct writer *w) {
        return w->pending;
}

uint64_t writer_commits(const struct writer *w) {
        return atomic_load_explicit(&w->commits, memory_order_relaxed);
}
