#pragma once
/*
 * Deliberate faults: each law must be able to fail
 *
 * Functions of the daemon, or of the network and disk here, that do the wrong thing when told to.
 * The linker puts them in the place of the real ones (--wrap); the daemon's source knows nothing
 * of it.
 */

#include "law.h"

struct fault {
        const char *name;
        enum law breaks; /* LAW_MAX: that a seed replays exactly */
        unsigned budget; /* of requests in an hour of outage, for this fault */
};
extern const struct fault faults[];
extern const size_t n_faults;

void fault_begin(const char *name); /* one of them; ends the process if there is none such */
