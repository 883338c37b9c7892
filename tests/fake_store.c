#include "fake_store.h"

#include <stdbool.h>
#include <string.h>

#include "base/err.h"

/* A row, or a change on its way to become one. */
struct item {
        struct item *next;
        bool is_removal;
        bool is_damaged;
        struct record record; /* all of it owned */
        store_done_fn *done;
        void *user;
};

struct fake_store {
        struct store store;
        struct item *rows;
        struct item *waiting; /* the oldest first */
        size_t n_fail;
        int fail;
        int refuse;
};

static void *must(void *p) {
        if (!p)
                abort();
        return p;
}

static struct item *item_new(const char *credential, const char *subject) {
        struct item *item = must(calloc(1, sizeof(*item)));

        item->record.credential = must(strdup(credential));
        item->record.subject = must(strdup(subject));
        return item;
}

static struct item *item_copy(const struct record *record) {
        struct item *item = item_new(record->credential, record->subject);

        item->record.kind = record->kind;
        item->record.obtained_at = record->obtained_at;
        item->record.expires_at = record->expires_at;
        item->record.secret = must(
                secret_new(secret_text(record->secret), secret_len(record->secret)));
        return item;
}

static struct item *item_free(struct item *item) {
        free((char *) item->record.credential);
        free((char *) item->record.subject);
        item->record.secret = secret_unref(item->record.secret);
        free(item);
        return NULL;
}

static void item_free_list(struct item **list) {
        while (*list) {
                struct item *next = (*list)->next;

                (void) item_free(*list);
                *list = next;
        }
}

/* Where the row is linked in, or the end of the list. */
static struct item **item_find(struct item **list, const char *credential, const char *subject) {
        while (*list && (strcmp((*list)->record.credential, credential) != 0 ||
                         strcmp((*list)->record.subject, subject) != 0))
                list = &(*list)->next;
        return list;
}

static void fake_store_drop(struct fake_store *f, const char *credential, const char *subject) {
        struct item **at = item_find(&f->rows, credential, subject), *gone = *at;

        if (!gone)
                return;
        *at = gone->next;
        (void) item_free(gone);
}

static int fake_store_give(struct fake_store *f, struct item *item, store_done_fn *done,
                           void *user) {
        struct item **end = &f->waiting;
        int r = f->refuse;

        if (r < 0) {
                f->refuse = 0;
                (void) item_free(item);
                return RAISE(r);
        }
        item->done = done;
        item->user = user;
        while (*end)
                end = &(*end)->next;
        *end = item;
        return 0;
}

static int fake_store_put(void *self, const struct record *record, store_done_fn *done,
                          void *user) {
        return fake_store_give(self, item_copy(record), done, user);
}

static int fake_store_remove(void *self, const char *credential, const char *subject,
                             store_done_fn *done, void *user) {
        struct item *item = item_new(credential, subject);

        item->is_removal = true;
        return fake_store_give(self, item, done, user);
}

static int fake_store_get(void *self, const char *credential, const char *subject, struct why *why,
                          struct record *ret) {
        struct fake_store *f = self;
        const struct item *row = *item_find(&f->rows, credential, subject);
        struct secret *copy;

        if (!row)
                return STORE_E_ABSENT;
        if (row->is_damaged)
                return why_set(why, RAISE(-EBADMSG), "the stored secret of \"%s\" was altered",
                               credential);
        copy = secret_new(secret_text(row->record.secret), secret_len(row->record.secret));
        if (!copy)
                return why_set(why, RAISE(-ENOMEM), "out of memory");
        *ret = row->record;
        ret->credential = credential;
        ret->subject = subject;
        ret->secret = copy;
        return 0;
}

static int fake_store_each(void *self, store_row_fn *row, void *user, struct why *why) {
        struct fake_store *f = self;

        (void) why;
        for (const struct item *item = f->rows; item; item = item->next) {
                struct record metadata = item->record;
                int r;

                metadata.secret = NULL;
                r = row(user, &metadata);
                if (r != 0)
                        return r;
        }
        return 0;
}

struct fake_store *fake_store_new(void) {
        struct fake_store *f = must(calloc(1, sizeof(*f)));

        f->store = (struct store){ fake_store_put, fake_store_remove, fake_store_get,
                                   fake_store_each, f };
        return f;
}

struct fake_store *fake_store_free(struct fake_store *f) {
        if (!f)
                return NULL;
        item_free_list(&f->rows);
        item_free_list(&f->waiting);
        free(f);
        return NULL;
}

struct store *fake_store_seam(struct fake_store *f) {
        return &f->store;
}

static void fake_store_link(struct fake_store *f, struct item *row) {
        fake_store_drop(f, row->record.credential, row->record.subject);
        row->next = f->rows;
        f->rows = row;
}

void fake_store_set(struct fake_store *f, const struct record *record) {
        fake_store_link(f, item_copy(record));
}

void fake_store_damage(struct fake_store *f, const char *credential, const char *subject) {
        ((struct item *) must(*item_find(&f->rows, credential, subject)))->is_damaged = true;
}

void fake_store_refuse_next(struct fake_store *f, int r) {
        f->refuse = r;
}

void fake_store_fail(struct fake_store *f, size_t n, int r) {
        f->n_fail = n;
        f->fail = r;
}

static void fake_store_complete_one(struct fake_store *f) {
        struct item *item = f->waiting;
        store_done_fn *done = item->done;
        void *user = item->user;
        int r = 0;

        f->waiting = item->next;
        if (f->n_fail > 0) {
                f->n_fail--;
                r = f->fail;
        }
        if (r == 0 && item->is_removal)
                fake_store_drop(f, item->record.credential, item->record.subject);
        if (r == 0 && !item->is_removal)
                fake_store_link(f, item);
        else
                (void) item_free(item);
        if (done)
                done(user, r);
}

size_t fake_store_complete(struct fake_store *f, size_t n) {
        size_t completed = 0;

        for (; completed < n && f->waiting; completed++)
                fake_store_complete_one(f);
        return completed;
}

size_t fake_store_complete_all(struct fake_store *f) {
        return fake_store_complete(f, SIZE_MAX);
}

void fake_store_crash(struct fake_store *f) {
        item_free_list(&f->waiting);
}

size_t fake_store_waiting(const struct fake_store *f) {
        size_t n = 0;

        for (const struct item *item = f->waiting; item; item = item->next)
                n++;
        return n;
}

size_t fake_store_rows(const struct fake_store *f) {
        size_t n = 0;

        for (const struct item *item = f->rows; item; item = item->next)
                n++;
        return n;
}
