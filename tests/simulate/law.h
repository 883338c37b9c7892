#pragma once
/*
 * The laws: what must hold at every step, whatever happens
 *
 * A law that is broken ends the seed: it prints its name, its sentence, when and how, and the
 * command that replays it.
 */

#include <stdbool.h>
#include <stddef.h>

enum law {
        LAW_NO_GRANT_IS_LOST,
        LAW_ONE_REFRESH_AT_A_TIME,
        LAW_NO_SPENT_TOKEN,
        LAW_PROMISED_LIFE,
        LAW_RIGHT_OWNER,
        LAW_DURABLE_FIRST,
        LAW_WITHIN_BUDGET,
        LAW_ANSWERED_ONCE_IN_TIME,
        LAW_MEMORY_IS_BOUNDED,
        LAW_OTHERS_ARE_SERVED,
        LAW_WORKS_AGAIN,
        LAW_NO_STORM,
        LAW_NEVER_SPINS,
        LAW_MAX,
};

struct law_text {
        const char *name, *sentence;
};
extern const struct law_text laws[LAW_MAX];

#define LAW_EXIT 70 /* the exit status of a seed whose law is broken */

/* Unless it holds, this seed is over. */
void law(enum law l, bool holds, const char *format, ...) __attribute__((format(printf, 3, 4)));
