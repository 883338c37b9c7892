#pragma once
/*
 * A stage for grants
 *
 * A world whose provider keeps the rules: a refresh token works once, and brings its successor.
 * Tokens are numbered, "rt.SUBJECT.N" and "at.SUBJECT.N", so that each shows where it came from.
 * All grants are SITE's.
 */

#include "world.h"

#define SUBJECTS_MAX 4

struct provider { /* as one subject knows it */
        const char *subject;
        unsigned number; /* of the refresh token that is good */
        bool revoked;
};

struct stage {
        struct world w;
        struct provider providers[SUBJECTS_MAX];
        size_t n;
        unsigned spent;     /* how often a spent refresh token was presented */
        unsigned refreshes; /* presented in all */
        unsigned last;      /* the number of the last one */
};

void stage_start(struct stage *s); /* with one grant, alice's */
void stage_done(struct stage *s);

/* A person of this name has authorized SITE some time ago; the grant is on the disk. */
void stage_add_row(struct stage *s, const char *subject, wall_t obtained_at, bool in_doubt);

/* The same of another credential, whose provider nobody plays. */
void stage_add_grant(struct stage *s, const char *credential, const char *subject);

struct provider *stage_provider(struct stage *s, const char *subject);

struct row {
        bool exists;
        unsigned number;
        bool in_doubt;
};

struct row stage_row(const struct stage *s, const char *subject); /* as the disk has it */

#define assert_row(s, subject_, number_, in_doubt_)                                                \
        do {                                                                                       \
                const struct row row_ = stage_row((s), (subject_));                                \
                ck_assert(row_.exists);                                                            \
                ck_assert_uint_eq(row_.number, (number_));                                         \
                ck_assert_int_eq(row_.in_doubt, (in_doubt_));                                      \
        } while (0)

#define assert_no_row(s, subject_) ck_assert(!stage_row((s), (subject_)).exists)

/* The disk takes all that is on its way. Returns how many changes that were. */
size_t stage_store(struct stage *s);

enum act {
        GIVES,            /* as it should */
        GIVES_NO_NEW_ONE, /* an access token, but no refresh token: the old one stays good */
        LOSES,            /* acts, and the answer never arrives */
        HANGS_UP,         /* the same to us, but it has not acted */
        IS_UNREACHABLE,   /* nothing was sent */
        IS_BUSY,
        SENDS_HTML,
        LIMITS,
        DEACTIVATES,
        WANTS_ANOTHER_KEY,
        FAILS_INSIDE,
        BABBLES, /* 200 without a token */
        REFUSES,
};

/* Lets the provider act on the oldest request, which presents a refresh token. */
void stage_answer(struct stage *s, enum act act);

/* Whose refresh token that is, and its number. */
struct provider *stage_presented(struct stage *s, unsigned *ret_number);

/* Answers the oldest request with what `p` has now, whatever it presents. */
void stage_give(struct stage *s, const struct provider *p, bool with_refresh_token);

void stage_reply(struct stage *s, int status, const char *body);
size_t stage_waiting(const struct stage *s); /* requests */
size_t stage_sent(const struct stage *s);    /* since the beginning */

void stage_ask(struct stage *s, struct caller *c, const char *subject);

/* Asks, and lets everybody do their part until there is an answer. */
enum answer_kind stage_get(struct stage *s, struct caller *c, const char *subject);

bool stage_has_token(const struct stage *s, const char *subject); /* in the cache */
