/*
 * Coze documents account_permission and attribute_constraint; the other two parts are known from
 * its SDK for Go. Two things are not documented and are therefore never sent on a caller's word:
 * an empty list and a missing account_permission, either of which may well mean "everything". And
 * attribute_constraint takes away where the other parts give: a scope without it is wider than
 * one with it.
 */
#include "provider/scope.h"

#include <errno.h>
#include <string.h>

#include "base/auto.h"
#include "base/err.h"
#include "base/json.h"

#define SCOPE_BOT_CHAT   "Connector.botChat" /* what Coze's SDKs ask for when bots are named */
#define SCOPE_LISTS_MAX  2                   /* lists of one part */
#define SCOPE_DETAIL_MAX 96                  /* bytes of a caller's text in a sentence */

/* The parts and their lists, in the order of the names (which is the canonical one). */
static const struct scope_part {
        const char *name;
        const char *inner; /* the object between part and lists, or NULL */
        bool is_constraint;
        const char *lists[SCOPE_LISTS_MAX];
} scope_parts[] = {
        { "account_permission", NULL, false, { "permission_list" } },
        { "attribute_constraint", "connector_bot_chat_attribute", true, { "bot_id_list" } },
        { "workflow_permission", NULL, false, { "permission_list", "workflow_id_list" } },
        { "workspace_permission", NULL, false, { "permission_list", "workspace_id_list" } },
};

static const struct scope_part *scope_find_part(const char *name) {
        for (size_t i = 0; i < N_ELEMENTS(scope_parts); i++)
                if (strcmp(scope_parts[i].name, name) == 0)
                        return &scope_parts[i];
        return NULL;
}

static bool scope_part_has_list(const struct scope_part *part, const char *name) {
        for (size_t i = 0; i < SCOPE_LISTS_MAX && part->lists[i]; i++)
                if (strcmp(part->lists[i], name) == 0)
                        return true;
        return false;
}

static size_t scope_part_count_lists(const struct scope_part *part) {
        return part->lists[1] ? 2 : 1;
}

/* json-c sorts an array by a function of two pointers to its elements. */
static int scope_compare(const void *a, const void *b) {
        return strcmp(json_object_get_string(*(struct json_object *const *) a),
                      json_object_get_string(*(struct json_object *const *) b));
}

/* Sorts, and drops what occurs twice. */
static void scope_sort(struct json_object *list) {
        json_object_array_sort(list, scope_compare);
        for (size_t i = 1; i < json_object_array_length(list);) {
                const char *a = json_object_get_string(json_object_array_get_idx(list, i - 1));
                const char *b = json_object_get_string(json_object_array_get_idx(list, i));

                if (strcmp(a, b) == 0)
                        (void) json_object_array_del_idx(list, i, 1);
                else
                        i++;
        }
}

/* Adds `value` (NULL: no memory) and gives the ownership away, also on failure. */
static int scope_add(struct json_object *parent, const char *key, struct json_object *value) {
        if (value && json_object_object_add(parent, key, value) == 0)
                return 0;
        json_object_put(value);
        return RAISE(-ENOMEM);
}

static int scope_add_list(struct json_object *parent, const char *key,
                          const struct conf_list *words) {
        struct json_object *list = json_object_new_array(), *word;
        int r = scope_add(parent, key, list);

        for (size_t i = 0; r == 0 && i < words->n; i++) {
                word = json_object_new_string(words->words[i]);
                if (!word || json_object_array_add(list, word) < 0) {
                        json_object_put(word);
                        r = RAISE(-ENOMEM);
                }
        }
        if (r == 0)
                scope_sort(list);
        return r;
}

/* Adds an empty object, to be filled through *ret, which is borrowed. */
static int scope_add_object(struct json_object *parent, const char *key, struct json_object **ret) {
        *ret = json_object_new_object();
        return scope_add(parent, key, *ret);
}

static int scope_fill(struct json_object *scope, const struct conf_list *permissions,
                      const struct conf_list *bot_ids, const struct conf_list *workspace_ids,
                      const struct conf_list *workflow_ids) {
        struct json_object *part, *inner;

        if (scope_add_object(scope, "account_permission", &part) < 0 ||
            scope_add_list(part, "permission_list", permissions) < 0)
                return -ENOMEM;
        if (bot_ids->n > 0 && (scope_add_object(scope, "attribute_constraint", &part) < 0 ||
                               scope_add_object(part, "connector_bot_chat_attribute", &inner) < 0 ||
                               scope_add_list(inner, "bot_id_list", bot_ids) < 0))
                return -ENOMEM;
        if (workspace_ids->n > 0 && (scope_add_object(scope, "workspace_permission", &part) < 0 ||
                                     scope_add_list(part, "workspace_id_list", workspace_ids) < 0 ||
                                     scope_add_list(part, "permission_list", permissions) < 0))
                return -ENOMEM;
        if (workflow_ids->n > 0 && (scope_add_object(scope, "workflow_permission", &part) < 0 ||
                                    scope_add_list(part, "workflow_id_list", workflow_ids) < 0 ||
                                    scope_add_list(part, "permission_list", permissions) < 0))
                return -ENOMEM;
        return 0;
}

int scope_build(const struct conf_list *permissions, const struct conf_list *bot_ids,
                const struct conf_list *workspace_ids, const struct conf_list *workflow_ids,
                char **ret) {
        static char bot_chat[] = SCOPE_BOT_CHAT;
        char *words[] = { bot_chat };
        const struct conf_list chat = { words, 1 };
        AUTO(json_wipep) struct json_object *scope = NULL;
        int r;

        if (permissions->n + bot_ids->n + workspace_ids->n + workflow_ids->n == 0) {
                *ret = NULL;
                return 0;
        }
        scope = json_object_new_object();
        if (!scope)
                return RAISE(-ENOMEM);
        r = scope_fill(scope, permissions->n == 0 ? &chat : permissions, bot_ids, workspace_ids,
                       workflow_ids);
        if (r < 0)
                return PASS(r);
        return PASS(json_canonical(scope, ret));
}

/* The caller's name for something, fit for a sentence. */
static const char *scope_clean(const char *text, char ret[SCOPE_DETAIL_MAX]) {
        return why_clean(text, strlen(text), ret, SCOPE_DETAIL_MAX);
}

static int scope_check_list(const char *part, const char *name, struct json_object *list,
                            struct why *why) {
        size_t n = json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;

        if (n == 0)
                return why_set(why, RAISE(-EINVAL),
                               "scope: %s.%s must be a list of at least one string", part, name);
        for (size_t i = 0; i < n; i++) {
                struct json_object *word = json_object_array_get_idx(list, i);
                const char *text = json_object_get_string(word);

                if (!json_object_is_type(word, json_type_string) || !*text ||
                    strlen(text) != (size_t) json_object_get_string_len(word))
                        return why_set(why, RAISE(-EINVAL),
                                       "scope: %s.%s must hold non-empty strings only", part, name);
        }
        return 0;
}

/* The object that holds the lists of a part; NULL when the part has another shape. */
static struct json_object *scope_lists(const struct scope_part *part, struct json_object *value) {
        if (part->inner && (!json_object_is_type(value, json_type_object) ||
                            json_object_object_length(value) != 1 ||
                            !json_object_object_get_ex(value, part->inner, &value)))
                return NULL;
        return json_object_is_type(value, json_type_object) ? value : NULL;
}

static int scope_check_part(const struct scope_part *part, struct json_object *value,
                            struct why *why) {
        struct json_object *lists = scope_lists(part, value);
        char name[SCOPE_DETAIL_MAX];
        int r;

        if (!lists)
                return why_set(why, RAISE(-EINVAL), "scope: %s must be an object%s%s", part->name,
                               part->inner ? " whose only member is the object " : "",
                               part->inner ? part->inner : "");
        json_object_object_foreach(lists, key, list) {
                if (!scope_part_has_list(part, key))
                        return why_set(why, RAISE(-EINVAL),
                                       "scope: %s has no member \"%s\": it has %s%s%s", part->name,
                                       scope_clean(key, name), part->lists[0],
                                       part->lists[1] ? " and " : "",
                                       part->lists[1] ? part->lists[1] : "");
                r = scope_check_list(part->name, key, list, why);
                if (r < 0)
                        return PASS(r);
        }
        if ((size_t) json_object_object_length(lists) != scope_part_count_lists(part))
                return why_set(why, RAISE(-EINVAL), "scope: %s needs %s%s%s", part->name,
                               part->lists[0], part->lists[1] ? " and " : "",
                               part->lists[1] ? part->lists[1] : "");
        return 0;
}

static int scope_check(struct json_object *scope, struct why *why) {
        char name[SCOPE_DETAIL_MAX];
        int r;

        if (!json_object_is_type(scope, json_type_object))
                return why_set(why, RAISE(-EINVAL),
                               "scope must be a JSON object, as in "
                               "{\"account_permission\":"
                               "{\"permission_list\":[\"" SCOPE_BOT_CHAT "\"]}}");
        json_object_object_foreach(scope, key, value) {
                const struct scope_part *part = scope_find_part(key);

                if (!part)
                        return why_set(why, RAISE(-EINVAL),
                                       "scope has no member \"%s\": it has account_permission, "
                                       "attribute_constraint, workflow_permission and "
                                       "workspace_permission",
                                       scope_clean(key, name));
                r = scope_check_part(part, value, why);
                if (r < 0)
                        return PASS(r);
        }
        if (!json_object_object_get_ex(scope, "account_permission", NULL))
                return why_set(why, RAISE(-EINVAL), "scope: account_permission is required");
        return 0;
}

static bool scope_list_contains(struct json_object *list, const char *word) {
        for (size_t i = 0; i < json_object_array_length(list); i++)
                if (strcmp(json_object_get_string(json_object_array_get_idx(list, i)), word) == 0)
                        return true;
        return false;
}

/* Both scopes have been checked: `narrow` by scope_check(), `wide` by having been configured. */
static int scope_part_within(const struct scope_part *part, struct json_object *wide,
                             struct json_object *narrow, struct why *why) {
        struct json_object *wide_lists, *wide_list;
        char name[SCOPE_DETAIL_MAX];

        if (!narrow && wide && part->is_constraint)
                return why_set(why, RAISE(-EPERM),
                               "scope: %s is configured for this credential and cannot be left out",
                               part->name);
        if (!narrow || (!wide && part->is_constraint))
                return 0;
        wide_lists = wide ? scope_lists(part, wide) : NULL;
        if (!wide_lists)
                return why_set(why, RAISE(-EPERM),
                               "scope: %s is not within the scope configured for this credential",
                               part->name);
        json_object_object_foreach(scope_lists(part, narrow), key, list) {
                for (size_t i = 0; i < json_object_array_length(list); i++) {
                        const char *word = json_object_get_string(
                                json_object_array_get_idx(list, i));

                        if (json_object_object_get_ex(wide_lists, key, &wide_list) &&
                            json_object_is_type(wide_list, json_type_array) &&
                            scope_list_contains(wide_list, word))
                                continue;
                        return why_set(why, RAISE(-EPERM),
                                       "scope: \"%s\" of %s.%s is not within the scope configured "
                                       "for this credential",
                                       scope_clean(word, name), part->name, key);
                }
        }
        return 0;
}

static int scope_within(const char *configured, struct json_object *narrow, struct why *why) {
        AUTO(json_wipep) struct json_object *wide = NULL;
        int r;

        r = json_parse(configured, strlen(configured), &wide);
        if (r < 0)
                return PASS(r);
        for (size_t i = 0; i < N_ELEMENTS(scope_parts); i++) {
                const struct scope_part *part = &scope_parts[i];

                r = scope_part_within(part, json_object_object_get(wide, part->name),
                                      json_object_object_get(narrow, part->name), why);
                if (r < 0)
                        return PASS(r);
        }
        return 0;
}

/* A copy of the checked scope with its lists sorted, as text. */
static int scope_canonical(struct json_object *scope, char **ret) {
        struct json_object *copy = NULL;
        int r;

        if (json_object_deep_copy(scope, &copy, NULL) < 0)
                return RAISE(-ENOMEM);
        for (size_t i = 0; i < N_ELEMENTS(scope_parts); i++) {
                struct json_object *part;

                if (!json_object_object_get_ex(copy, scope_parts[i].name, &part))
                        continue;
                json_object_object_foreach(scope_lists(&scope_parts[i], part), key, list) {
                        (void) key;
                        scope_sort(list);
                }
        }
        r = json_canonical(copy, ret);
        json_object_put(copy);
        return PASS(r);
}

int scope_narrow(const char *configured, struct json_object *requested, struct why *why,
                 char **ret) {
        int r;

        r = scope_check(requested, why);
        if (r < 0)
                return PASS(r);
        if (configured) {
                r = scope_within(configured, requested, why);
                if (r < 0)
                        return PASS(r);
        }
        return PASS(scope_canonical(requested, ret));
}
