/*
 * Which causes a fact may have, in which order: the table reads as what people struggle with
 * (coze-oauth.md section 14).
 */
#include "client/diagnosis.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/auto.h"
#include "check_main.h"

#define JWT                                                                                        \
        "\"check\":\"credential\",\"credential\":\"bot\",\"type\":\"jwt\",\"client_id\":\"1127\",\"key_id\":\"abc\","
#define PAT     "\"check\":\"credential\",\"credential\":\"mine\",\"type\":\"pat\","
#define CN      "\"provider\":\"coze.cn\","
#define COM     "\"provider\":\"coze.com\","
#define OWN     "\"provider\":\"here\",\"url\":\"https://here.example\","
#define REFUSED "\"result\":\"fail\",\"problem\":\"refused\","
#define KID                                                                                        \
        "\"error\":\"invalid_client\",\"message\":\"invalid jwt: kid not been registred\",\"status\":401,\"region\":true"
#define FAIL(what)                                                                                 \
        "\"result\":\"fail\",\"host\":\"api.coze.cn\",\"port\":443,\"problem\":\"" what "\""

static const struct {
        const char *fact;
        const char *causes; /* in this order */
        const char *advice; /* a part of the first one's; "": none */
} facts[] = {
        /* the region first, unless it is known not to be it */
        { JWT COM REFUSED KID, "region public_key_id public_key client_id private_key",
          "provider = coze.cn in [credential bot]" },
        { JWT CN REFUSED KID, "region public_key_id public_key client_id private_key",
          "made at www.coze.com" },
        { JWT COM REFUSED KID ",\"works_at\":\"coze.cn\"", "region", "coze.cn knows this key" },
        { JWT COM REFUSED KID ",\"works_at\":\"coze.cn\",\"key_id_odd\":true", "region", "" },
        { JWT COM REFUSED KID ",\"refused_at\":\"coze.cn\"",
          "public_key_id public_key client_id private_key", "compare abc with the fingerprint" },
        { JWT COM REFUSED KID ",\"refused_at\":\"coze.cn\",\"key_id_odd\":true",
          "public_key_id public_key client_id private_key", "is not a fingerprint" },
        { JWT OWN REFUSED KID, "region public_key_id public_key client_id private_key",
          "audience of [provider here]" },
        { PAT COM REFUSED "\"error\":\"4100\",\"status\":401,\"region\":true", "region revoked",
          "made at www.coze.cn" },
        { PAT COM
          "\"result\":\"warn\",\"problem\":\"refused\",\"error\":\"4101\",\"status\":200,\"region\":true",
          "region permission revoked", "" },

        /* what the provider says clearly needs no guess */
        { JWT CN REFUSED
          "\"error\":\"access_deny\",\"message\":\"app: x is currently deactivated by the owner\"",
          "deactivated", "" },
        { JWT CN REFUSED "\"error\":\"access_deny\",\"message\":\"invalid app type\"",
          "application_type", "[credential bot]" },
        { JWT CN REFUSED "\"error\":\"access_deny\",\"message\":\"no\"", "installation", "" },
        { JWT CN REFUSED "\"message\":\"connector app should bind connector id\"",
          "channel application_type", "" },
        { JWT CN REFUSED "\"message\":\"verify jwt empty error\"", "proxy application_type", "" },
        { JWT CN REFUSED "\"error\":\"invalid_request\",\"message\":\"invalid request: x\"",
          "parameter", "" },
        { JWT CN REFUSED "\"error\":\"news\",\"advice\":\"do \\u001bthis\"", "advice", "do  this" },
        { JWT CN REFUSED "\"error\":\"news\"", "", "" },
        { JWT CN "\"result\":\"ok\",\"lifetime_s\":900", "", "" },

        /* the way */
        { "\"check\":\"name\"," CN FAIL("unknown_name"), "name_server network",
          "getent hosts api.coze.cn" },
        { "\"check\":\"name\"," OWN FAIL("unknown_name"), "url name_server",
          "https://here.example" },
        { "\"check\":\"name\"," CN FAIL("no_name_service"), "network sandbox", "" },
        { "\"check\":\"connection\"," CN FAIL("refused"), "firewall network region", "port 443" },
        { "\"check\":\"connection\"," CN "\"address\":\"127.0.0.1\"," FAIL("refused"),
          "hijacked firewall network region", "127.0.0.1 is no address of api.coze.cn" },
        { "\"check\":\"connection\"," CN
          "\"proxy\":\"http://p/\",\"address\":\"127.0.0.1\"," FAIL("refused"),
          "proxy network region", "http://p/" },
        { "\"check\":\"connection\"," OWN "\"address\":\"127.0.0.1\"," FAIL("refused"),
          "url firewall network", "" },
        { "\"check\":\"tls\"," CN FAIL("not_yet_valid"), "clock", "behind" },
        { "\"check\":\"tls\"," CN FAIL("expired"), "clock intercepted", "ahead" },
        { "\"check\":\"tls\"," CN "\"synchronized\":true," FAIL("expired"), "intercepted clock",
          "" },
        { "\"check\":\"tls\"," OWN "\"own_ca\":true," FAIL("expired"), "certificate clock", "" },
        { "\"check\":\"tls\"," CN "\"issuer\":\"Mallory\"," FAIL("untrusted"),
          "intercepted ca_bundle", "issuer Mallory" },
        { "\"check\":\"tls\"," OWN FAIL("untrusted"), "ca_file ca_bundle", "[provider here]" },
        { "\"check\":\"tls\"," OWN "\"own_ca\":true,\"ca_file\":\"/ca\"," FAIL("untrusted"),
          "ca_file", "/ca is not the CA" },
        { "\"check\":\"answer\"," OWN FAIL("not_json"), "url intercepted", "swapped, or misspelt" },
        { "\"check\":\"answer\"," OWN "\"swapped\":true," FAIL("not_json"), "swapped intercepted",
          "are swapped" },
        { "\"check\":\"answer\"," CN FAIL("not_json"), "intercepted", "" },
        { "\"check\":\"answer\"," CN FAIL("out_of_order"), "outage", "" },
        { "\"check\":\"clock\",\"result\":\"warn\",\"problem\":\"behind\"", "clock", "set-ntp" },
        { "\"check\":\"clock\",\"result\":\"warn\",\"problem\":\"behind\",\"synchronized\":true",
          "clock", "timesync-status" },
        { "\"check\":\"daemon\",\"result\":\"warn\",\"problem\":\"authorization_required\",\"credential\":\"web\"",
          "login", "bearerctl login web" },
        { "\"check\":\"configuration\",\"result\":\"fail\",\"problem\":\"mistake\",\"message\":\"f:1: no\"",
          "", "" },
        { "\"check\":\"configuration\",\"result\":\"fail\",\"problem\":\"mistake\","
          "\"message\":\"cannot open f: Permission denied\"",
          "permission", "sudo" },
        { "\"check\":\"configuration\",\"result\":\"warn\",\"problem\":\"empty\"",
          "credential user", "" },
        { "\"check\":\"configuration\",\"result\":\"warn\",\"problem\":\"empty\",\"user\":true",
          "credential", "" },
};

static void json_putp(struct json_object **o) {
        json_object_put(*o);
}

static struct json_object *parse(const char *members) {
        AUTO(auto_freep) char *text = NULL;
        struct json_object *o;

        ck_assert_int_gt(asprintf(&text, "{%s}", members), 0);
        o = json_tokener_parse(text);
        ck_assert_ptr_nonnull(o);
        return o;
}

START_TEST(causes)
{
        AUTO(json_putp) struct json_object *fact = parse(facts[_i].fact);
        char got[256] = "";
        struct diagnosis d;

        ck_assert(diagnosis_make(fact, &d));
        for (size_t i = 0; i < d.n_causes; i++) {
                strcat(strcat(got, i ? " " : ""), d.causes[i].id);
                ck_assert_msg(!strpbrk(d.causes[i].advice, "{}"), "%s", d.causes[i].advice);
                ck_assert_int_gt((int) strlen(d.causes[i].advice), 5);
        }
        ck_assert_str_eq(got, facts[_i].causes);
        if (*facts[_i].advice)
                ck_assert_msg(strstr(d.causes[0].advice, facts[_i].advice) != NULL, "%s",
                              d.causes[0].advice);
}
END_TEST

static const struct {
        const char *fact, *found;
        enum diagnosis_result result;
        bool upstream;
} sentences[] = {
        { JWT CN "\"result\":\"ok\",\"lifetime_s\":900", "coze.cn gives a token, good for 15min",
          DIAGNOSIS_OK, true },
        { JWT CN REFUSED
          "\"status\":401,\"error\":\"x\",\"message\":\"a\\u001b[1mb\",\"logid\":\"L\"",
          "coze.cn gives no token: HTTP 401 x: a [1mb; logid L", DIAGNOSIS_FAIL, true },
        { "\"check\":\"clock\",\"host\":\"h\",\"result\":\"warn\",\"problem\":\"ahead\",\"skew_s\":-3725",
          "the clock of this machine is 1h 2min ahead of h", DIAGNOSIS_WARN, true },
        { "\"check\":\"tls\",\"host\":\"h\",\"subject\":\"s\",\"result\":\"fail\",\"problem\":\"expired\","
          "\"not_after\":1609459200,\"now\":1609459260",
          "the certificate of h (s) was good until 2021-01-01 00:00 UTC, and here it is 2021-01-01 00:01 UTC",
          DIAGNOSIS_FAIL, true },
        { PAT
          "\"result\":\"fail\",\"problem\":\"expired\",\"left_s\":-60,\"expires_at\":1609459200",
          "the token ended 1min ago, on 2021-01-01 00:00 UTC", DIAGNOSIS_FAIL, false },
        { "\"check\":\"configuration\",\"result\":\"warn\",\"problem\":\"doubt\",\"message\":\"f:1: {x} no\"",
          "f:1: {x} no", DIAGNOSIS_WARN, false },
        /* of a newer bearerd */
        { "\"check\":\"moon\",\"host\":\"h\",\"result\":\"fail\",\"problem\":\"waning\",\"detail\":\"half\"",
          "h: waning (half)", DIAGNOSIS_FAIL, true },
};

START_TEST(found)
{
        AUTO(json_putp) struct json_object *fact = parse(sentences[_i].fact);
        struct diagnosis d;

        ck_assert(diagnosis_make(fact, &d));
        ck_assert_str_eq(d.found, sentences[_i].found);
        ck_assert_int_eq(d.result, sentences[_i].result);
        ck_assert_int_eq(d.upstream, sentences[_i].upstream);
        ck_assert_str_ne(d.title, "");
}
END_TEST

static const char *const nonsense[] = { "", "\"check\":\"tls\"", "\"result\":\"ok\"",
                                        "\"check\":\"tls\",\"result\":\"fine\"",
                                        "\"check\":1,\"result\":\"ok\"" };

START_TEST(no_fact)
{
        AUTO(json_putp) struct json_object *fact = parse(nonsense[_i]);
        struct diagnosis d = { .title = "untouched" };

        ck_assert(!diagnosis_make(fact, &d));
        ck_assert_str_eq(d.title, "untouched");
}
END_TEST

/* However long a provider's text is. */
START_TEST(cut)
{
        AUTO(json_putp) struct json_object *fact = parse(JWT CN REFUSED KID);
        char text[4 * DIAGNOSIS_TEXT_SIZE];
        struct diagnosis d;

        memset(text, 'x', sizeof(text) - 1);
        text[sizeof(text) - 1] = '\0';
        json_object_object_add(fact, "message", json_object_new_string(text));
        json_object_object_add(fact, "client_id", json_object_new_string(text));
        ck_assert(diagnosis_make(fact, &d));
        ck_assert_uint_lt(strlen(d.found), DIAGNOSIS_TEXT_SIZE);
        ck_assert_uint_eq(d.n_causes, 5);
}
END_TEST

static void add(TCase *tc) {
        (void) setenv("LC_ALL", "C", 1); /* the sentences are in English */
        tcase_add_loop_test(tc, causes, 0, N_ELEMENTS(facts));
        tcase_add_loop_test(tc, found, 0, N_ELEMENTS(sentences));
        tcase_add_loop_test(tc, no_fact, 0, N_ELEMENTS(nonsense));
        tcase_add_test(tc, cut);
}

CHECK_MAIN("diagnosis", add)
