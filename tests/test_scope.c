#include "provider/scope.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "check_main.h"

#define WORDS_MAX 4

struct words {
        const char *words[WORDS_MAX];
};

static struct conf_list list_of(const struct words *w) {
        struct conf_list list = { (char **) (uintptr_t) w->words, 0 };

        while (list.n < WORDS_MAX && w->words[list.n])
                list.n++;
        return list;
}

static const struct {
        struct words permissions, bots, workspaces, workflows;
        const char *scope; /* NULL: none */
} built[] = {
        { { { NULL } }, { { NULL } }, { { NULL } }, { { NULL } }, NULL },
        { { { "Connector.botChat" } },
          { { NULL } },
          { { NULL } },
          { { NULL } },
          "{\"account_permission\":{\"permission_list\":[\"Connector.botChat\"]}}" },
        { { { "b", "a", "b" } }, /* sorted, nothing twice */
          { { "2", "10", "2" } },
          { { NULL } },
          { { NULL } },
          "{\"account_permission\":{\"permission_list\":[\"a\",\"b\"]},"
          "\"attribute_constraint\":{\"connector_bot_chat_attribute\":"
          "{\"bot_id_list\":[\"10\",\"2\"]}}}" },
        { { { NULL } }, /* what the SDKs' helper does */
          { { "bot1" } },
          { { NULL } },
          { { NULL } },
          "{\"account_permission\":{\"permission_list\":[\"Connector.botChat\"]},"
          "\"attribute_constraint\":{\"connector_bot_chat_attribute\":"
          "{\"bot_id_list\":[\"bot1\"]}}}" },
        { { { "p", "o" } },
          { { NULL } },
          { { "7361" } },
          { { "7400" } },
          "{\"account_permission\":{\"permission_list\":[\"o\",\"p\"]},"
          "\"workflow_permission\":{\"permission_list\":[\"o\",\"p\"],"
          "\"workflow_id_list\":[\"7400\"]},"
          "\"workspace_permission\":{\"permission_list\":[\"o\",\"p\"],"
          "\"workspace_id_list\":[\"7361\"]}}" },
        { { { "with \"quotes\" and /" } },
          { { NULL } },
          { { NULL } },
          { { NULL } },
          "{\"account_permission\":{\"permission_list\":[\"with \\\"quotes\\\" and /\"]}}" },
};

START_TEST(build)
{
        struct conf_list permissions = list_of(&built[_i].permissions);
        struct conf_list bots = list_of(&built[_i].bots);
        struct conf_list workspaces = list_of(&built[_i].workspaces);
        struct conf_list workflows = list_of(&built[_i].workflows);
        char untouched[] = "untouched", *scope = untouched;

        ck_assert_int_eq(scope_build(&permissions, &bots, &workspaces, &workflows, &scope), 0);
        ck_assert_pstr_eq(scope, built[_i].scope);
        free(scope);
}
END_TEST

#define ACCOUNT(list) "\"account_permission\":{\"permission_list\":" list "}"
#define BOTS(list)                                                                                 \
        "\"attribute_constraint\":{\"connector_bot_chat_attribute\":{\"bot_id_list\":" list "}}"
#define SPACES(permissions, ids)                                                                   \
        "\"workspace_permission\":{\"permission_list\":" permissions ",\"workspace_id_list\":" ids \
        "}"
#define FLOWS(permissions, ids)                                                                    \
        "\"workflow_permission\":{\"permission_list\":" permissions ",\"workflow_id_list\":" ids "}"

static const struct {
        const char *configured, *requested;
        int ret;
        const char *out; /* the scope, or a word of the sentence */
} narrowed[] = {
        /* anything goes, made canonical */
        { NULL, "{" ACCOUNT("[\"b\",\"a\",\"b\"]") "}", 0, "{" ACCOUNT("[\"a\",\"b\"]") "}" },
        { NULL,
          "{" SPACES("[\"p\"]", "[\"2\",\"1\"]") "," BOTS("[\"x\"]") "," ACCOUNT("[\"a\"]") "}", 0,
          "{" ACCOUNT("[\"a\"]") "," BOTS("[\"x\"]") "," SPACES("[\"p\"]", "[\"1\",\"2\"]") "}" },
        { NULL, "{" ACCOUNT("[\"a\"]") "," FLOWS("[\"p\"]", "[\"1\"]") "}", 0,
          "{" ACCOUNT("[\"a\"]") "," FLOWS("[\"p\"]", "[\"1\"]") "}" },

        /* within */
        { "{" ACCOUNT("[\"a\",\"b\"]") "}", "{" ACCOUNT("[\"b\"]") "}", 0,
          "{" ACCOUNT("[\"b\"]") "}" },
        { "{" ACCOUNT("[\"a\"]") "}", "{" ACCOUNT("[\"a\",\"a\"]") "}", 0,
          "{" ACCOUNT("[\"a\"]") "}" },
        { "{" ACCOUNT("[\"a\"]") "}", "{" ACCOUNT("[\"a\"]") "," BOTS("[\"x\"]") "}", 0,
          "{" ACCOUNT("[\"a\"]") "," BOTS("[\"x\"]") "}" }, /* a constraint takes away */
        { "{" ACCOUNT("[\"a\"]") "," BOTS("[\"x\",\"y\"]") "}",
          "{" BOTS("[\"y\"]") "," ACCOUNT("[\"a\"]") "}", 0,
          "{" ACCOUNT("[\"a\"]") "," BOTS("[\"y\"]") "}" },
        { "{" ACCOUNT("[\"a\"]") "," SPACES("[\"a\"]", "[\"1\",\"2\"]") "}",
          "{" ACCOUNT("[\"a\"]") "}", 0, "{" ACCOUNT("[\"a\"]") "}" },
        { "{" ACCOUNT("[\"a\"]") "," SPACES("[\"a\",\"b\"]", "[\"1\",\"2\"]") "}",
          "{" ACCOUNT("[\"a\"]") "," SPACES("[\"b\"]", "[\"2\"]") "}", 0,
          "{" ACCOUNT("[\"a\"]") "," SPACES("[\"b\"]", "[\"2\"]") "}" },

        /* wider */
        { "{" ACCOUNT("[\"a\"]") "}", "{" ACCOUNT("[\"a\",\"b\"]") "}", -EPERM, "\"b\"" },
        { "{" ACCOUNT("[\"a\"]") "}", "{" ACCOUNT("[\"A\"]") "}", -EPERM, "\"A\"" },
        { "{" ACCOUNT("[\"a\"]") "," BOTS("[\"x\"]") "}", "{" ACCOUNT("[\"a\"]") "}", -EPERM,
          "cannot be left out" },
        { "{" ACCOUNT("[\"a\"]") "," BOTS("[\"x\"]") "}",
          "{" ACCOUNT("[\"a\"]") "," BOTS("[\"x\",\"z\"]") "}", -EPERM, "\"z\"" },
        { "{" ACCOUNT("[\"a\"]") "}", "{" ACCOUNT("[\"a\"]") "," SPACES("[\"a\"]", "[\"1\"]") "}",
          -EPERM, "workspace_permission" },
        { "{" ACCOUNT("[\"a\"]") "," SPACES("[\"a\"]", "[\"1\"]") "}",
          "{" ACCOUNT("[\"a\"]") "," SPACES("[\"a\"]", "[\"2\"]") "}", -EPERM, "\"2\"" },
        { "{" ACCOUNT("[\"a\"]") "," SPACES("[\"a\"]", "[\"1\"]") "}",
          "{" ACCOUNT("[\"a\"]") "," SPACES("[\"b\"]", "[\"1\"]") "}", -EPERM, "\"b\"" },
        { "{" ACCOUNT("[\"a\"]") "," SPACES("[\"a\"]", "[\"1\"]") "}",
          "{" ACCOUNT("[\"a\"]") "," FLOWS("[\"a\"]", "[\"1\"]") "}", -EPERM,
          "workflow_permission" },

        /* not a scope */
        { NULL, "[]", -EINVAL, "object" },
        { NULL, NULL, -EINVAL, "object" }, /* JSON's null */
        { NULL, "{}", -EINVAL, "account_permission is required" },
        { NULL, "{" BOTS("[\"x\"]") "}", -EINVAL, "account_permission is required" },
        { NULL, "{\"account_permission\":null}", -EINVAL, "must be an object" },
        { NULL, "{\"account_permission\":{}}", -EINVAL, "needs permission_list" },
        { NULL, "{" ACCOUNT("[]") "}", -EINVAL, "at least one" },
        { NULL, "{" ACCOUNT("null") "}", -EINVAL, "at least one" },
        { NULL, "{" ACCOUNT("\"a\"") "}", -EINVAL, "list" },
        { NULL, "{" ACCOUNT("[\"\"]") "}", -EINVAL, "non-empty" },
        { NULL, "{" ACCOUNT("[\"a\\u0000b\"]") "}", -EINVAL, "non-empty" },
        { NULL, "{" ACCOUNT("[1]") "}", -EINVAL, "strings" },
        { NULL, "{" ACCOUNT("[null]") "}", -EINVAL, "strings" },
        { NULL, "{" ACCOUNT("[[\"a\"]]") "}", -EINVAL, "strings" },
        { NULL, "{" ACCOUNT("[\"a\"]") ",\"extra\":1}", -EINVAL, "\"extra\"" },
        { NULL, "{\"account_permission\":{\"permission_list\":[\"a\"],\"x\\u001b[m\":[\"a\"]}}",
          -EINVAL, "\"x?[m\"" },
        { NULL, "{" ACCOUNT("[\"a\"]") ",\"attribute_constraint\":{\"bot_id_list\":[\"x\"]}}",
          -EINVAL, "connector_bot_chat_attribute" },
        { NULL, "{" ACCOUNT("[\"a\"]") ",\"workspace_permission\":{\"workspace_id_list\":[\"1\"]}}",
          -EINVAL, "needs permission_list and workspace_id_list" },
};

START_TEST(narrow)
{
        AUTO(json_wipep) struct json_object *requested = NULL;
        char untouched[] = "untouched", *out = untouched;
        struct why why = { "" };
        int r;

        if (narrowed[_i].requested)
                ck_assert_int_eq(json_parse(narrowed[_i].requested, strlen(narrowed[_i].requested),
                                            &requested),
                                 0);
        r = scope_narrow(narrowed[_i].configured, requested, &why, &out);
        ck_assert_msg(r == narrowed[_i].ret, "%d: %s", r, why.text);
        if (r == 0) {
                ck_assert_str_eq(out, narrowed[_i].out);
                free(out);
                return;
        }
        ck_assert_ptr_eq(out, untouched);
        ck_assert_msg(strstr(why.text, narrowed[_i].out), "%s", why.text);
}
END_TEST

/* What is configured lies within itself, in the very form in which it is kept. */
START_TEST(build_is_canonical)
{
        struct conf_list permissions = list_of(&built[_i].permissions);
        struct conf_list bots = list_of(&built[_i].bots);
        struct conf_list workspaces = list_of(&built[_i].workspaces);
        struct conf_list workflows = list_of(&built[_i].workflows);
        AUTO(auto_freep) char *scope = NULL, *out = NULL;
        AUTO(json_wipep) struct json_object *requested = NULL;

        ck_assert_int_eq(scope_build(&permissions, &bots, &workspaces, &workflows, &scope), 0);
        if (!scope)
                return;
        ck_assert_int_eq(json_parse(scope, strlen(scope), &requested), 0);
        ck_assert_int_eq(scope_narrow(scope, requested, NULL, &out), 0);
        ck_assert_str_eq(out, scope);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_loop_test(tc, build, 0, N_ELEMENTS(built));
        tcase_add_loop_test(tc, build_is_canonical, 0, N_ELEMENTS(built));
        tcase_add_loop_test(tc, narrow, 0, N_ELEMENTS(narrowed));
}

CHECK_MAIN("scope", add_tests)
