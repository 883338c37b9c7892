#include "law.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "sim.h"

const struct law_text laws[LAW_MAX] = {
        [LAW_NO_GRANT_IS_LOST] = { "no_grant_is_lost",
                                   "a grant ends only when the provider has refused it, its "
                                   "successor never reached us, or a person has forgotten it" },
        [LAW_ONE_REFRESH_AT_A_TIME] = { "one_refresh_at_a_time",
                                        "of one grant at most one refresh is under way" },
        [LAW_NO_SPENT_TOKEN] = { "no_spent_token",
                                 "a refresh token is not presented again once its successor has "
                                 "reached us or it was clearly refused" },
        [LAW_PROMISED_LIFE] = { "promised_life",
                                "a token that is handed out is good for as long as was asked" },
        [LAW_RIGHT_OWNER] = { "right_owner",
                              "a caller gets a token of the credential, subject and session it "
                              "asked for, not one that it rejects and not of a forgotten grant" },
        [LAW_DURABLE_FIRST] = { "durable_first",
                                "no access token is shown before its refresh token is durable, "
                                "unless the disk refuses it" },
        [LAW_WITHIN_BUDGET] = { "within_budget",
                                "an hour of complete outage costs a provider at most so many "
                                "requests of one life of the daemon, whatever the number of grants" },
        [LAW_ANSWERED_ONCE_IN_TIME] = { "answered_once_in_time",
                                        "every caller is answered exactly once and by its "
                                        "deadline" },
        [LAW_MEMORY_IS_BOUNDED] = { "memory_is_bounded",
                                    "memory grows with what is asked for now, not with time" },
        [LAW_OTHERS_ARE_SERVED] = { "others_are_served",
                                    "trouble of one provider does not delay callers of another" },
        [LAW_WORKS_AGAIN] = { "works_again",
                              "some minutes after the trouble is over every live grant and key "
                              "works" },
        [LAW_NO_STORM] = { "no_storm",
                           "a provider gets no more requests in ten seconds than the daemon allows "
                           "itself, not even after a suspend or a restart with many grants" },
        [LAW_NEVER_SPINS] = { "never_spins",
                              "the daemon's timers do not fire again and again while no time "
                              "passes" },
};

void law(enum law l, bool holds, const char *format, ...) {
        va_list ap;

        if (holds)
                return;
        (void) fflush(stdout);
        (void) fprintf(stderr, "BROKEN %s: %s\n  at %s: ", laws[l].name, laws[l].sentence,
                       sim_when());
        va_start(ap, format);
        (void) vfprintf(stderr, format, ap);
        va_end(ap);
        (void) fputc('\n', stderr);
        _exit(LAW_EXIT + 1 + (int) l);
}
