#include "check/fact.h"

#include "base/err.h"

const char *const fact_result_names[FACT_RESULT_MAX] = {
        [FACT_OK] = "ok",
        [FACT_WARN] = "warn",
        [FACT_FAIL] = "fail",
        [FACT_SKIP] = "skip",
};

/* Takes `value` over, also when it fails. */
static void fact_add(struct fact *f, const char *key, struct json_object *value) {
        if (value && f->o && json_object_object_add(f->o, key, value) == 0)
                return;
        json_object_put(value);
        f->oom = true;
}

void fact_begin(struct fact *f, const char *check, enum fact_result result) {
        *f = (struct fact){ .o = json_object_new_object() };
        fact_text(f, "check", check);
        fact_text(f, "result", fact_result_names[result]);
}

void fact_text(struct fact *f, const char *key, const char *value) {
        if (value && *value)
                fact_add(f, key, json_object_new_string(value));
}

void fact_number(struct fact *f, const char *key, int64_t value) {
        fact_add(f, key, json_object_new_int64(value));
}

void fact_true(struct fact *f, const char *key, bool value) {
        if (value)
                fact_add(f, key, json_object_new_boolean(true));
}

int fact_tell(struct fact *f, FILE *out) {
        const char *line = f->oom ? NULL
                                  : json_object_to_json_string_ext(
                                            f->o, JSON_C_TO_STRING_PLAIN |
                                                          JSON_C_TO_STRING_NOSLASHESCAPE);
        int r = line ? 0 : RAISE(-ENOMEM);

        if (line && (fprintf(out, "%s\n", line) < 0 || fflush(out) != 0))
                r = RAISE(errno > 0 ? -errno : -EIO);
        json_object_put(f->o);
        f->o = NULL;
        return r;
}
