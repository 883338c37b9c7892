#include "client/credential.h"

#include <stdio.h>
#include <string.h>

#include "client/advice.h"
#include "client/message.h"
#include "client/words.h"

bool credential_is_static(struct json_object *o) {
        return member_is(o, "type", "pat") || member_is(o, "type", "sat");
}

static const struct {
        const char *name;  /* in the daemon's answer */
        const char *shown; /* to people */
        enum colour colour;
} credential_states[] = {
        { "ready", N_("ready"), COLOUR_GOOD },
        { "idle", N_("idle"), COLOUR_NONE },
        { "renewing", N_("renewing"), COLOUR_WAITING },
        { "failing", N_("failing"), COLOUR_BAD },
        { "expired", N_("expired"), COLOUR_BAD },
        { "authorization_required", N_("unauthorized"), COLOUR_BAD },
};

const char *credential_state(struct json_object *o, bool coloured, enum colour *ret_colour,
                             char ret[ASK_SHOWN_SIZE]) {
        *ret_colour = COLOUR_NONE;
        for (size_t i = 0; i < sizeof(credential_states) / sizeof(credential_states[0]); i++)
                if (member_is(o, "state", credential_states[i].name)) {
                        if (coloured)
                                *ret_colour = credential_states[i].colour;
                        return _(credential_states[i].shown);
                }
        return ask_shown(o, "state", ret); /* of a newer daemon */
}

/* "in 53min 2s", "never", "-": there is no token. Returns `ret`. */
char *credential_expiry(struct json_object *o, int64_t now, char ret[WORDS_SPAN_SIZE]) {
        int64_t at = member_number(o, "expires_at");

        if (at >= 0)
                return words_when(at, now, ret);
        return strcpy(ret, member_text(o, "fingerprint") ? _("never") : "-");
}

/* What last went wrong, or NULL: "HTTP 503: busy (2h ago). Wait." of an object, or a sentence. */
const char *credential_trouble(struct json_object *o, int64_t now, char ret[ASK_SHOWN_SIZE]) {
        char said[ASK_SENTENCE_SIZE], when[WORDS_SPAN_SIZE] = "", advice[ASK_SENTENCE_SIZE] = "";
        char what[ASK_SENTENCE_SIZE + WORDS_SPAN_SIZE];
        struct json_object *trouble;
        const char *other;

        if (member_text(o, "last_error"))
                return ask_shown(o, "last_error", ret);
        if (!json_object_object_get_ex(o, "last_error", &trouble) ||
            !json_object_is_type(trouble, json_type_object))
                return NULL;
        (void) ask_refusal(trouble, said);
        if (member_number(trouble, "at") >= 0)
                (void) words_when(member_number(trouble, "at"), now, when);
        if (member_text(trouble, "advice"))
                (void) words_clean(member_text(trouble, "advice"), advice, sizeof(advice));
        (void) snprintf(what, sizeof(what), *when ? _("%s (%s)") : "%s%s",
                        *said ? said : _("the provider failed"), when);
        other = advice_translate(advice);
        (void) snprintf(ret, ASK_SHOWN_SIZE, *advice ? _("%s. %s") : "%s%s", what,
                        other ? other : advice);
        return ret;
}

/* The daemon warns of the end of a static token, and of nothing else. */
static const char *credential_warning(struct json_object *o, int64_t now,
                                      char ret[ASK_SHOWN_SIZE]) {
        const int64_t at = member_number(o, "expires_at");
        char name[ASK_SHOWN_SIZE], when[WORDS_SPAN_SIZE];

        if (message_is_english() || at < 0)
                return ask_shown(o, "warning", ret);
        (void) snprintf(
                ret, ASK_SHOWN_SIZE,
                _("it expires %s: make a new token in Coze's console, then: bearerctl set %.64s"),
                words_when(at, now, when), ask_shown(o, "name", name));
        return ret;
}

/* What a person should know or do, in a sentence, or NULL. */
const char *credential_advice(struct json_object *o, int64_t now, char ret[ASK_SHOWN_SIZE]) {
        const bool is_static = credential_is_static(o);
        const bool unauthorized = member_is(o, "state", "authorization_required");
        char name[ASK_SHOWN_SIZE];

        if (member_text(o, "warning"))
                return credential_warning(o, now, ret);
        if (!unauthorized && !(is_static && member_is(o, "state", "expired")))
                return NULL;
        (void) snprintf(ret, ASK_SHOWN_SIZE,
                        is_static
                                ? _("make a new token in Coze's console, then: bearerctl set %.64s")
                                : _("a person must authorize it: bearerctl login %.64s"),
                        ask_shown(o, "name", name));
        return ret;
}

/* What needs attention: the advice, for what needs a person; else what went wrong and is not over.
 * NULL: nothing. */
const char *credential_attention(struct json_object *o, int64_t now, char ret[ASK_SHOWN_SIZE]) {
        char trouble[ASK_SHOWN_SIZE], name[ASK_SHOWN_SIZE], command[128];
        const char *advice = credential_advice(o, now, ret);

        if (!advice && !member_is(o, "state", "ready") && !member_is(o, "state", "idle"))
                return credential_trouble(o, now, ret);
        (void) snprintf(command, sizeof(command), "bearerctl login %.64s",
                        ask_shown(o, "name", name));
        if (!advice || !strstr(advice, command) || !credential_trouble(o, now, trouble))
                return advice;
        if (strstr(trouble, command)) /* it says so itself */
                return strcpy(ret, trouble);
        (void) snprintf(ret, ASK_SHOWN_SIZE, _("%.1900s%s To authorize again: %s"), trouble,
                        trouble[strlen(trouble) - 1] == '.' ? "" : ".", command);
        return ret;
}

char *credential_trouble_kind(struct json_object *o, char ret[ASK_SHOWN_SIZE]) {
        static const char *const keys[] = { "status", "error", "message", "advice" };
        struct json_object *trouble, *v;
        size_t used = 0;

        if (!json_object_object_get_ex(o, "last_error", &trouble))
                trouble = NULL;
        if (!json_object_is_type(trouble, json_type_object)) {
                (void) snprintf(ret, ASK_SHOWN_SIZE, "%s",
                                trouble ? json_object_get_string(trouble) : "");
                return ret;
        }
        *ret = '\0';
        for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]) && used < ASK_SHOWN_SIZE; i++)
                if (json_object_object_get_ex(trouble, keys[i], &v))
                        used += (size_t) snprintf(ret + used, ASK_SHOWN_SIZE - used, "%s\n",
                                                  json_object_get_string(v));
        return ret;
}

bool credential_is_down(struct json_object *o) {
        return member_is(o, "provider_state", "open") ||
               member_is(o, "provider_state", "half_open");
}

char *credential_outage(struct json_object *o, int64_t now, char ret[ASK_SENTENCE_SIZE]) {
        const int64_t since = member_number(o, "provider_down_since");
        const int64_t at = member_number(o, "provider_retry_at");
        char span[WORDS_SPAN_SIZE], when[WORDS_SPAN_SIZE];
        const char *next = member_is(o, "provider_state", "half_open") ? _("under way")
                           : at > now                                  ? words_when(at, now, when)
                                                                       : _("due");

        if (since >= 0 && since <= now)
                (void) snprintf(ret, ASK_SENTENCE_SIZE, _("down for %s, the next try is %s"),
                                words_span(now - since, span), next);
        else
                (void) snprintf(ret, ASK_SENTENCE_SIZE, _("down, the next try is %s"), next);
        return ret;
}
