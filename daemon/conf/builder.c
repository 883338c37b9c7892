#include "conf/builder.h"

#include <string.h>

#include "base/text.h"
#include "conf/nearest.h"
#include "conf/option.h"

size_t builder_count(const struct builder *b, enum section_kind kind) {
        size_t n = 0;

        for (size_t i = 0; i < b->settings->n_sections; i++)
                if (b->settings->sections[i]->kind == kind)
                        n++;
        return n;
}

const struct conf_credential *builder_refer(const struct builder *b, const struct section *s,
                                            const struct setting *setting, const char *name) {
        const struct conf_credential *c = conf_find_credential(b->conf, name);
        struct nearest near = { .word = name };
        char hint[NEAREST_HINT_MAX];

        if (c)
                return c;
        for (size_t i = 0; i < b->conf->n_credentials; i++)
                nearest_try(&near, b->conf->credentials[i]->name);
        report_error(b->report, s, setting, "there is no [credential %.64s]%s", name,
                     nearest_hint(&near, hint));
        return NULL;
}

const char *builder_get_choice(const struct section *s, const char *key, unsigned *ret) {
        const struct setting *setting = section_get(s, key);
        const struct option *o = option_find(s->kind, key);
        const char *word = setting ? setting->value : o->standard;

        if (!word || value_choice(o, word, NULL, ret) < 0)
                return NULL;
        return word;
}
