#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "broker/state.h"
#include "conf/difference.h"

/*
 * Another configuration
 *
 * All that can fail is done before the change, so that the change itself cannot stop halfway. A
 * struct credential stays where it is as long as there is a credential of its name and kind: its
 * entries, and who waits there, stay with it.
 */

struct broker_change {
        struct broker *broker;
        const struct conf *conf;
        struct upstream **upstreams;     /* as conf->providers; references */
        struct credential **credentials; /* as conf->credentials; NULL: there is one already */
        enum conf_change *what;          /* the same; of those that stay */
        bool *is_new;                    /* the same */
};

struct broker_change_page {
        struct grants *grants;
        const struct conf_credential *credential;
        char last[PROTOCOL_SUBJECT_MAX + 1];
        size_t n;
};

#define BROKER_CHANGE_PAGE 256 /* rows */

/* The credential that takes the place of `c`, or NULL. */
static const struct conf_credential *change_successor(const struct conf *conf,
                                                      const struct conf_credential *c) {
        const struct conf_credential *s = conf_find_credential(conf, c->name);

        return s && conf_is_same_kind(c, s) && conf_provider_is_same(c->provider, s->provider)
                       ? s
                       : NULL;
}

static int change_add_upstream(struct broker_change *ch, size_t i) {
        const struct conf_provider *p = ch->conf->providers[i];
        const struct broker_parts *parts = &ch->broker->parts;

        for (size_t k = 0; k < parts->conf->n_providers; k++)
                if (conf_provider_is_same(parts->conf->providers[k], p)) {
                        ch->upstreams[i] = upstream_ref(ch->broker->upstreams[k]);
                        return 0;
                }
        return upstream_new(p, parts->transport, parts->clock, parts->random, parts->timers,
                            &ch->upstreams[i]);
}

static struct upstream *change_upstream(const struct broker_change *ch,
                                        const struct conf_credential *c) {
        size_t i = 0;

        while (ch->conf->providers[i] != c->provider)
                i++; /* it is one of them */
        return ch->upstreams[i];
}

static int change_ignore_row(void *user, const struct record *metadata) {
        (void) user;
        (void) metadata;
        return 0;
}

/* Can the store be read? */
static int change_try_store(struct broker *b, const struct conf_credential *c, struct why *why) {
        struct store *store = b->parts.store;
        struct record record;
        int r;

        if (credential_type_is_interactive(c->type))
                return store->page(store->self, c->name, NULL, 1, change_ignore_row, NULL, why);
        if (!credential_type_is_static(c->type))
                return 0;
        r = store->get(store->self, c->name, "", why, &record);
        if (r == 0)
                secret_unref(record.secret);
        return r < 0 ? PASS(r) : 0;
}

static int change_add_credential(struct broker_change *ch, size_t i, struct why *why) {
        const struct conf_credential *c = ch->conf->credentials[i];
        struct broker *b = ch->broker;
        const struct conf_credential *old = conf_find_credential(b->parts.conf, c->name);
        int r;

        if (old && change_successor(ch->conf, old))
                return 0;
        r = change_try_store(b, c, why);
        if (r < 0)
                return PASS(r);
        return broker_make_credential(b, c, change_upstream(ch, c), &ch->credentials[i]);
}

int broker_prepare(struct broker *b, const struct conf *conf, struct why *why,
                   struct broker_change **ret) {
        struct broker_change *ch = calloc(1, sizeof(*ch));
        int r = 0;

        if (!ch)
                return why_set(why, RAISE(-ENOMEM), "out of memory");
        ch->broker = b;
        ch->conf = conf;
        ch->upstreams = calloc(conf->n_providers + 1, sizeof(struct upstream *));
        ch->credentials = calloc(conf->n_credentials + 1, sizeof(struct credential *));
        ch->what = calloc(conf->n_credentials + 1, sizeof(*ch->what));
        ch->is_new = calloc(conf->n_credentials + 1, sizeof(*ch->is_new));
        if (!ch->upstreams || !ch->credentials || !ch->what || !ch->is_new)
                r = RAISE(-ENOMEM);
        if (r == 0)
                r = grants_reserve(b->grants, conf->n_credentials);
        for (size_t i = 0; r == 0 && i < conf->n_providers; i++)
                r = change_add_upstream(ch, i);
        for (size_t i = 0; r == 0 && i < conf->n_credentials; i++)
                r = change_add_credential(ch, i, why);
        if (r < 0) {
                broker_change_free(ch);
                if (why && !why->text[0])
                        (void) why_set(why, r, "cannot take the configuration: %s", strerror(-r));
                return PASS(r);
        }
        *ret = ch;
        return 0;
}

struct broker_change *broker_change_free(struct broker_change *ch) {
        if (!ch)
                return NULL;
        for (size_t i = 0; ch->credentials && i < ch->conf->n_credentials; i++)
                broker_free_credential(ch->credentials[i]);
        for (size_t i = 0; ch->upstreams && i < ch->conf->n_providers; i++)
                upstream_free(ch->upstreams[i]);
        free(ch->credentials);
        free(ch->upstreams);
        free(ch->what);
        free(ch->is_new);
        free(ch);
        return NULL;
}

static bool change_keeps_authorization(const struct conf_credential *before,
                                       const struct conf_credential *after) {
        return conf_compare_credentials(before, after) != CONF_RENEWED &&
               conf_text_equal(before->redirect_uri, after->redirect_uri);
}

/* A refresh that is under way comes home first, and its successor is stored. */
static void change_leave(struct entry *e) {
        struct credential *c = list_entry(e->pool, struct credential, pool);

        if (!e->obtaining || e->pool->abandon) {
                entry_free(e);
                return;
        }
        entry_renounce(e);
        e->pool->stopped = true;
        list_append(&c->leaving, &e->link);
}

/* What becomes of an entry whose pool has its new configuration already. */
static void change_entry(struct broker *b, struct entry *e, enum conf_change what, bool stays) {
        struct list_link *l;

        if (!stays) {
                entry_dismiss(e, ANSWER_UNAVAILABLE,
                              "the credential was changed in the configuration; ask again");
                table_remove(&b->entries, &e->node);
                change_leave(e);
                return;
        }
        for (l = e->waiting.next; l != &e->waiting; l = l->next)
                list_entry(l, struct ask, link)->credential = e->pool->credential;
        if (what == CONF_RENEWED)
                entry_renounce(e);
        else if (what == CONF_TUNED)
                entry_retune(e);
}

static void change_entries(struct broker_change *ch, const enum conf_change *what) {
        struct broker *b = ch->broker;
        struct table_node *node, *next;

        for (node = table_next(&b->entries, NULL); node; node = next) {
                struct entry *e = table_entry(node, struct entry, node);
                const struct credential *c = list_entry(e->pool, struct credential, pool);

                next = table_next(&b->entries, node);
                change_entry(b, e, c->stays ? what[e->pool->credential->index] : CONF_SAME,
                             c->stays);
        }
}

/* Gives every struct credential that stays its new configuration. */
static void change_move(struct broker_change *ch, const struct conf *old, enum conf_change *what) {
        struct broker *b = ch->broker;

        for (size_t i = 0; i < old->n_credentials; i++) {
                const struct conf_credential *s = change_successor(ch->conf, old->credentials[i]);
                struct credential *c = b->credentials[i];

                c->stays = s;
                if (!s)
                        continue;
                what[s->index] = conf_compare_credentials(old->credentials[i], s);
                c->pool.credential = s;
                if (what[s->index] == CONF_RENEWED)
                        c->pool.last_refusal.kind = REFUSAL_NONE;
                if (credential_type_is_static(s->type))
                        static_token_adopt(&c->static_token, s);
                ch->credentials[s->index] = c;
        }
}

static int change_take_up_row(void *user, const struct record *metadata) {
        struct broker_change_page *page = user;

        page->n++;
        (void) snprintf(page->last, sizeof(page->last), "%s", metadata->subject);
        return metadata->kind == RECORD_GRANT
                       ? grants_take_up(page->grants, page->credential, metadata)
                       : 0;
}

/* The grants of a credential that is new here, or here again. */
static int change_take_up(struct broker *b, const struct conf_credential *c, struct why *why) {
        struct broker_change_page page = { .grants = b->grants, .credential = c };
        struct store *store = b->parts.store;
        char after[PROTOCOL_SUBJECT_MAX + 1];
        bool first = true;
        int r;

        do {
                page.n = 0;
                strcpy(after, page.last);
                r = store->page(store->self, c->name, first ? NULL : after, BROKER_CHANGE_PAGE,
                                change_take_up_row, &page, why);
                first = false;
        } while (r == 0 && page.n == BROKER_CHANGE_PAGE);
        grants_plan(b->grants);
        return PASS(r);
}

static void change_begin(struct broker *b, const struct conf_credential *c, bool is_new,
                         enum conf_change what) {
        char quoted[WHY_MAX + 3];
        struct why why = { "" };
        int r = 0;

        if (!is_new && what == CONF_SAME)
                return;
        if (is_new && credential_type_is_interactive(c->type))
                r = change_take_up(b, c, &why);
        if (r == 0)
                r = broker_begin(b, c, &why);
        if (r < 0)
                log_error("credential=%s event=not_begun reason=%s advice=\"restart bearerd\"",
                          c->name,
                          log_quote(why.text[0] ? why.text : strerror(-r), quoted, sizeof(quoted)));
}

/* It goes when nothing of it is under way any more. */
static void change_part(struct broker *b, struct credential *c) {
        if (list_is_empty(&c->leaving)) {
                broker_free_credential(c);
                return;
        }
        c->conf = conf_ref(c->pool.credential->conf);
        list_append(&b->leaving, &c->link);
}

void broker_adopt(struct broker *b, struct broker_change *ch) {
        const struct conf *old = b->parts.conf, *conf = ch->conf;
        struct credential **before = b->credentials;
        struct upstream **upstreams = b->upstreams;
        enum conf_change *what = ch->what;
        bool *is_new = ch->is_new;

        authorizations_adopt(b->authorizations, conf, change_keeps_authorization);
        for (size_t i = 0; i < conf->n_credentials; i++)
                is_new[i] = ch->credentials[i];
        change_move(ch, old, what);
        for (size_t i = 0; i < conf->n_providers; i++)
                upstream_adopt(ch->upstreams[i], conf->providers[i]);
        b->parts.conf = conf;
        b->credentials = TAKE(ch->credentials);
        b->upstreams = TAKE(ch->upstreams);
        grants_adopt(b->grants, conf);
        change_entries(ch, what);
        for (size_t i = 0; i < old->n_credentials; i++)
                if (!before[i]->stays)
                        change_part(b, before[i]);
        for (size_t i = 0; i < old->n_providers; i++)
                upstream_free(upstreams[i]);
        free(before);
        free(upstreams);
        for (size_t i = 0; i < conf->n_credentials; i++)
                change_begin(b, conf->credentials[i], is_new[i], what[i]);
        broker_change_free(ch);
}

const struct conf *broker_conf(const struct broker *b) {
        return b->parts.conf;
}

void broker_withdraw(struct broker *b, struct ask *ask) {
        (void) b;
        entry_withdraw(ask);
}
