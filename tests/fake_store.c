#include "fake_store.h"

#include <stdbool.h>
#include <string.h>

#include "base/err.h"
#include "base/list.h"
#include "base/table.h"

enum item_change {
        ITEM_PUT,
        ITEM_MARK,
        ITEM_REMOVE
};

/* A row, or a change on its way to become one. */
struct item {
        struct list_link link;
        struct table_node node; /* of a row; its key is the name, a line feed and the subject */
        enum item_change change;
        bool is_damaged;
        struct record record; /* all of it owned */
        store_done_fn *done;
        void *user;
};

struct fake_store {
        struct store store;
        struct list_link rows;    /* struct item; the newest first */
        struct table index;       /* of them */
        struct list_link waiting; /* struct item; the oldest first */
        size_t n_fail;
        int fail;
        int refuse;
};

static void *must(void *p) {
        if (!p)
                abort();
        return p;
}

static char *item_key(const char *credential, const char *subject) {
        char *key = must(malloc(strlen(credential) + 1 + strlen(subject) + 1));

        (void) strcpy(stpcpy(stpcpy(key, credential), "\n"), subject);
        return key;
}

static struct item *item_new(const char *credential, const char *subject) {
        struct item *item = must(calloc(1, sizeof(*item)));

        list_init(&item->link);
        item->node.key = item_key(credential, subject);
        item->record.credential = must(strdup(credential));
        item->record.subject = must(strdup(subject));
        return item;
}

static struct item *item_copy(const struct record *record) {
        struct item *item = item_new(record->credential, record->subject);

        item->record.kind = record->kind;
        item->record.obtained_at = record->obtained_at;
        item->record.expires_at = record->expires_at;
        item->record.in_doubt = record->in_doubt;
        item->record.secret = must(
                secret_new(secret_text(record->secret), secret_len(record->secret)));
        return item;
}

static struct item *item_free(struct item *item) {
        list_remove(&item->link);
        free((char *) item->node.key);
        free((char *) item->record.credential);
        free((char *) item->record.subject);
        item->record.secret = secret_unref(item->record.secret);
        free(item);
        return NULL;
}

static struct item *item_first(const struct list_link *list) {
        return list_is_empty(list) ? NULL : list_entry(list->next, struct item, link);
}

static void item_free_list(struct list_link *list) {
        while (!list_is_empty(list))
                (void) item_free(item_first(list));
}

#define for_each_row(row, f)                                                                       \
        for (struct list_link *l_ = (f)->rows.next;                                                \
             l_ != &(f)->rows && ((row) = list_entry(l_, struct item, link), true); l_ = l_->next)

static struct item *fake_store_find(const struct fake_store *f, const char *credential,
                                    const char *subject) {
        char *key = item_key(credential, subject);
        struct table_node *node = table_find(&f->index, key);

        free(key);
        return node ? table_entry(node, struct item, node) : NULL;
}

static void fake_store_drop(struct fake_store *f, const char *credential, const char *subject) {
        struct item *gone = fake_store_find(f, credential, subject);

        if (!gone)
                return;
        table_remove(&f->index, &gone->node);
        (void) item_free(gone);
}

static int fake_store_give(struct fake_store *f, struct item *item, store_done_fn *done,
                           void *user) {
        int r = f->refuse;

        if (r < 0) {
                f->refuse = 0;
                (void) item_free(item);
                return RAISE(r);
        }
        item->done = done;
        item->user = user;
        list_append(&f->waiting, &item->link);
        return 0;
}

static int fake_store_put(void *self, const struct record *record, store_done_fn *done,
                          void *user) {
        return fake_store_give(self, item_copy(record), done, user);
}

static int fake_store_remove(void *self, const char *credential, const char *subject,
                             store_done_fn *done, void *user) {
        struct item *item = item_new(credential, subject);

        item->change = ITEM_REMOVE;
        return fake_store_give(self, item, done, user);
}

static int fake_store_mark(void *self, const char *credential, const char *subject,
                           store_done_fn *done, void *user) {
        struct item *item = item_new(credential, subject);

        item->change = ITEM_MARK;
        return fake_store_give(self, item, done, user);
}

static int fake_store_get(void *self, const char *credential, const char *subject, struct why *why,
                          struct record *ret) {
        struct fake_store *f = self;
        const struct item *row = fake_store_find(f, credential, subject);
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

static int fake_store_show(const struct item *item, store_row_fn *row, void *user) {
        struct record metadata = item->record;

        metadata.secret = NULL;
        return row(user, &metadata);
}

static int fake_store_each(void *self, store_row_fn *row, void *user, struct why *why) {
        struct fake_store *f = self;
        const struct item *item;
        int r = 0;

        (void) why;
        for_each_row(item, f) {
                r = fake_store_show(item, row, user);
                if (r != 0)
                        break;
        }
        return r;
}

/* The row of this credential that comes next after `after`, or NULL. */
static const struct item *fake_store_next(const struct fake_store *f, const char *credential,
                                          const char *after) {
        const struct item *next = NULL, *item;

        for_each_row(item, f) if (strcmp(item->record.credential, credential) == 0 &&
                                  (!after || strcmp(item->record.subject, after) > 0) &&
                                  (!next || strcmp(item->record.subject, next->record.subject) < 0))
                next = item;
        return next;
}

static int fake_store_page(void *self, const char *credential, const char *after, size_t limit,
                           store_row_fn *row, void *user, struct why *why) {
        const struct item *item;
        int r = 0;

        (void) why;
        for (; r == 0 && limit > 0 && (item = fake_store_next(self, credential, after)); limit--) {
                after = item->record.subject;
                r = fake_store_show(item, row, user);
        }
        return r;
}

struct fake_store *fake_store_new(void) {
        struct fake_store *f = must(calloc(1, sizeof(*f)));

        f->store = (struct store){
                .put = fake_store_put,
                .remove = fake_store_remove,
                .mark = fake_store_mark,
                .get = fake_store_get,
                .each = fake_store_each,
                .page = fake_store_page,
                .self = f,
        };
        list_init(&f->rows);
        list_init(&f->waiting);
        if (table_init(&f->index, &random_system) < 0) /* its order shows nowhere */
                abort();
        return f;
}

struct fake_store *fake_store_free(struct fake_store *f) {
        if (!f)
                return NULL;
        item_free_list(&f->rows);
        item_free_list(&f->waiting);
        table_done(&f->index);
        free(f);
        return NULL;
}

struct store *fake_store_seam(struct fake_store *f) {
        return &f->store;
}

static void fake_store_link(struct fake_store *f, struct item *row) {
        fake_store_drop(f, row->record.credential, row->record.subject);
        list_append(f->rows.next, &row->link); /* before the first */
        table_insert(&f->index, &row->node);
}

void fake_store_set(struct fake_store *f, const struct record *record) {
        fake_store_link(f, item_copy(record));
}

void fake_store_damage(struct fake_store *f, const char *credential, const char *subject) {
        ((struct item *) must(fake_store_find(f, credential, subject)))->is_damaged = true;
}

void fake_store_refuse_next(struct fake_store *f, int r) {
        f->refuse = r;
}

void fake_store_fail(struct fake_store *f, size_t n, int r) {
        f->n_fail = n;
        f->fail = r;
}

/* Takes over `item`. */
static int fake_store_apply(struct fake_store *f, struct item *item) {
        const char *credential = item->record.credential, *subject = item->record.subject;
        int r = 0;

        if (item->change == ITEM_PUT) {
                fake_store_link(f, item);
                return 0;
        }
        if (item->change == ITEM_REMOVE) {
                fake_store_drop(f, credential, subject);
        } else {
                struct item *row = fake_store_find(f, credential, subject);

                if (row)
                        row->record.in_doubt = true;
                else
                        r = -ENOENT;
        }
        (void) item_free(item);
        return r;
}

static void fake_store_complete_one(struct fake_store *f) {
        struct item *item = item_first(&f->waiting);
        store_done_fn *done = item->done;
        void *user = item->user;
        int r;

        list_remove(&item->link);
        if (f->n_fail > 0) {
                f->n_fail--;
                r = f->fail;
                (void) item_free(item);
        } else {
                r = fake_store_apply(f, item);
        }
        if (done)
                done(user, r);
}

size_t fake_store_complete(struct fake_store *f, size_t n) {
        size_t completed = 0;

        for (; completed < n && !list_is_empty(&f->waiting); completed++)
                fake_store_complete_one(f);
        return completed;
}

size_t fake_store_complete_all(struct fake_store *f) {
        return fake_store_complete(f, SIZE_MAX);
}

void fake_store_crash(struct fake_store *f) {
        item_free_list(&f->waiting);
}

void fake_store_tear(struct fake_store *f, size_t n) {
        for (; n > 0 && !list_is_empty(&f->waiting); n--) {
                struct item *item = item_first(&f->waiting);

                list_remove(&item->link);
                (void) fake_store_apply(f, item);
        }
}

size_t fake_store_waiting(const struct fake_store *f) {
        size_t n = 0;

        for (const struct list_link *l = f->waiting.next; l != &f->waiting; l = l->next)
                n++;
        return n;
}

size_t fake_store_rows(const struct fake_store *f) {
        return f->index.n;
}
