#include "faults.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "broker/token.h"
#include "machine.h"
#include "people.h"
#include "provider.h"
#include "provider/coze.h"
#include "sched/backoff.h"
#include "sched/breaker.h"

enum {
        ENDS_GRANTS,
        REFRESHES_TWICE,
        PRESENTS_SPENT,
        LIVES_LONGER,
        MIXES_UP,
        TELLS_EARLY,
        NEVER_RESTS,
        WAITS_TOO_LONG,
        FORGETS_CALLERS,
        LEAKS,
        SINGLE_LINE,
        STAYS_AWAY,
        STORMS,
        IS_STUCK,
        IS_UNSEEDED,
        N_FAULTS,
};

const struct fault faults[N_FAULTS] = {
        [ENDS_GRANTS] = { "ends_grants", LAW_NO_GRANT_IS_LOST, 0 },
        [REFRESHES_TWICE] = { "refreshes_twice", LAW_ONE_REFRESH_AT_A_TIME, 0 },
        [PRESENTS_SPENT] = { "presents_spent", LAW_NO_SPENT_TOKEN, 0 },
        [LIVES_LONGER] = { "lives_longer", LAW_PROMISED_LIFE, 0 },
        [MIXES_UP] = { "mixes_up", LAW_RIGHT_OWNER, 0 },
        [TELLS_EARLY] = { "tells_early", LAW_DURABLE_FIRST, 0 },
        [NEVER_RESTS] = { "never_rests", LAW_WITHIN_BUDGET, 30 },
        [WAITS_TOO_LONG] = { "waits_too_long", LAW_ANSWERED_ONCE_IN_TIME, 0 },
        [FORGETS_CALLERS] = { "forgets_callers", LAW_ANSWERED_ONCE_IN_TIME, 0 },
        [LEAKS] = { "leaks", LAW_MEMORY_IS_BOUNDED, 0 },
        [SINGLE_LINE] = { "single_line", LAW_OTHERS_ARE_SERVED, 0 },
        [STAYS_AWAY] = { "stays_away", LAW_WORKS_AGAIN, 0 },
        [STORMS] = { "storms", LAW_NO_STORM, 0 },
        [IS_STUCK] = { "is_stuck", LAW_NEVER_SPINS, 0 },
        [IS_UNSEEDED] = { "is_unseeded", LAW_MAX, 0 },
};
const size_t n_faults = N_FAULTS;

static size_t fault = N_FAULTS;

void fault_begin(const char *name) {
        for (fault = 0; fault < N_FAULTS; fault++)
                if (strcmp(faults[fault].name, name) == 0)
                        break;
        if (fault == N_FAULTS) {
                (void) fprintf(stderr, "simulate: no fault \"%s\"\n", name);
                _exit(2);
        }
        fault_tells_early = fault == TELLS_EARLY;
        fault_wait_us = fault == WAITS_TOO_LONG ? US_PER_MIN : 0;
        fault_drop = fault == FORGETS_CALLERS ? 50 : 0;
        fault_single_line = fault == SINGLE_LINE;
        fault_repeats = fault == REFRESHES_TWICE ? 1 : fault == STORMS ? 60 : 0;
        fault_presents_first = fault == PRESENTS_SPENT;
}

/* A server's fault is taken for a refusal of the grant. */
void __real_coze_classify(const struct exchange *x, const struct http_response *resp,
                          const struct coze_error *error, struct refusal *refusal);
void __wrap_coze_classify(const struct exchange *x, const struct http_response *resp,
                          const struct coze_error *error, struct refusal *refusal);
void __wrap_coze_classify(const struct exchange *x, const struct http_response *resp,
                          const struct coze_error *error, struct refusal *refusal) {
        __real_coze_classify(x, resp, error, refusal);
        if (fault == ENDS_GRANTS && refusal->kind == REFUSAL_TRANSIENT &&
            x->kind == EXCHANGE_REFRESH_TOKEN)
                refusal->kind = REFUSAL_GRANT;
}

struct token *__real_token_new(const struct token_properties *p);
struct token *__wrap_token_new(const struct token_properties *p);
struct token *__wrap_token_new(const struct token_properties *p) {
        struct token_properties longer = *p;

        if (fault == LIVES_LONGER && p->lifetime_us < INT64_MAX / 2)
                longer.lifetime_us += 10 * US_PER_MIN;
        return __real_token_new(&longer);
}

/* Sessions of their own are forgotten about. */
char *__real_cache_key(const char *credential, const char *subject, const char *variant, char *ret);
char *__wrap_cache_key(const char *credential, const char *subject, const char *variant, char *ret);
char *__wrap_cache_key(const char *credential, const char *subject, const char *variant,
                       char *ret) {
        return __real_cache_key(credential, subject, fault == MIXES_UP ? "" : variant, ret);
}

int64_t __real_backoff_delay(unsigned failures, int64_t base_us, int64_t retry_after_us,
                             const struct random *random);
int64_t __wrap_backoff_delay(unsigned failures, int64_t base_us, int64_t retry_after_us,
                             const struct random *random);
int64_t __wrap_backoff_delay(unsigned failures, int64_t base_us, int64_t retry_after_us,
                             const struct random *random) {
        int64_t us = __real_backoff_delay(failures, base_us, retry_after_us, random);

        return fault == STAYS_AWAY ? 6 * US_PER_H : us;
}

bool __real_breaker_allows(const struct breaker *b, mono_t now);
bool __wrap_breaker_allows(const struct breaker *b, mono_t now);
bool __wrap_breaker_allows(const struct breaker *b, mono_t now) {
        return fault == NEVER_RESTS || __real_breaker_allows(b, now);
}

struct http_request *__real_http_request_free(struct http_request *req);
struct http_request *__wrap_http_request_free(struct http_request *req);
struct http_request *__wrap_http_request_free(struct http_request *req) {
        return fault == LEAKS ? NULL : __real_http_request_free(req);
}

void __real_timers_run(struct timers *ts, mono_t now);
void __wrap_timers_run(struct timers *ts, mono_t now);
void __wrap_timers_run(struct timers *ts, mono_t now) {
        if (fault != IS_STUCK || ts != machine_timers())
                __real_timers_run(ts, now);
}

uint64_t __real_random_below(const struct random *r, uint64_t bound);
uint64_t __wrap_random_below(const struct random *r, uint64_t bound);
uint64_t __wrap_random_below(const struct random *r, uint64_t bound) {
        uint64_t v;

        if (fault != IS_UNSEEDED || bound == 0)
                return __real_random_below(r, bound);
        if (getrandom(&v, sizeof(v), 0) != (ssize_t) sizeof(v))
                abort();
        return v % bound;
}
