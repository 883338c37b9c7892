#include "provider/dialect.h"

#include <string.h>

#include "base/auto.h"

static const struct dialect *const dialects[] = {
        &dialect_coze,
};

const char *const refusal_kind_names[REFUSAL_KIND_MAX] = {
        [REFUSAL_NONE] = "none",
        [REFUSAL_TRANSPORT] = "transport",
        [REFUSAL_TRANSIENT] = "transient",
        [REFUSAL_RATE_LIMIT] = "rate_limit",
        [REFUSAL_CONFIGURATION] = "configuration",
        [REFUSAL_DEACTIVATED] = "deactivated",
        [REFUSAL_GRANT] = "grant",
        [REFUSAL_NONSENSE] = "nonsense",
        [REFUSAL_PENDING] = "pending",
        [REFUSAL_SLOW_DOWN] = "slow_down",
        [REFUSAL_DENIED] = "denied",
        [REFUSAL_EXPIRED] = "expired",
};

const struct dialect *dialect_find(const char *name) {
        for (size_t i = 0; i < N_ELEMENTS(dialects); i++)
                if (strcmp(dialects[i]->name, name) == 0)
                        return dialects[i];
        return NULL;
}

void exchange_result_done(struct exchange_result *result) {
        secret_unref(result->access_token);
        secret_unref(result->refresh_token);
        secret_unref(result->device_code);
        secret_wipe(result, sizeof(*result)); /* the user code stands in it */
}
