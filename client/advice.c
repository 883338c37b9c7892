#include "client/advice.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "client/message.h"

#define ADVICE_CLOCK "this machine's clock is " /* how wrong it is, differs */

static const char *const advices[] = {
        N_("Coze's risk control blocks the calls: wait"),
        N_("a channel application cannot be used this way: make a normal application, the "
           "type of an existing one cannot be changed"),
        N_("a channel application must be bound to a channel in Coze's console; if it is of "
           "that type by mistake make a normal one, the type cannot be changed"),
        N_("a client secret is wanted: the application's client type is probably web "
           "backend, which is type = authorization_code with client_secret_file"),
        N_("a parameter was refused: compare client_id, redirect_uri (to the letter), "
           "token_lifetime, scope and ids with the application in Coze's console"),
        N_("a parameter was refused: see the message"),
        N_("check api_url and www_url of the provider: swapped, misspelt, or answered by a "
           "proxy or login page?"),
        N_("check api_url of the provider: is this the API of Coze?"),
        N_("check the region first (coze.cn and coze.com share nothing), then authorize "
           "again (bearerctl login)"),
        N_("check the region first (coze.cn and coze.com share nothing), then client_id and "
           "the key or client secret: they must belong to one application"),
        N_("check the region first (coze.cn and coze.com share nothing), then client_id and "
           "the key or secret"),
        N_("check the region first (coze.cn and coze.com share nothing), then client_id, key "
           "and ids of the credential"),
        N_("check the region first (coze.cn and coze.com share nothing), then public_key_id "
           "(the fingerprint shown beside the key) and client_id; a key made just now takes "
           "some seconds to be accepted"),
        N_("check the region first (coze.cn and coze.com share nothing), then the "
           "application's settings in Coze's console"),
        N_("check the region first (coze.cn and coze.com share nothing), then what the "
           "application was granted"),
        N_("check the region first (coze.cn and coze.com share nothing), then whether the "
           "application's client type allows this type"),
        N_("compare permissions, bot_ids, workspace_ids and workflow_ids with what the "
           "application was granted; a scope works for channel applications only"),
        N_("its owner switched the application off in Coze's console: switched on again, "
           "everything works as before"),
        N_("look at the application in Coze's console: is it switched on, installed, and of "
           "the right type?"),
        N_("not Coze's own answer: a proxy, gateway or firewall on the way?"),
        N_("not found: check api_url and the ids in the configuration"),
        N_("the application's client type does not allow this type: compare the two in "
           "Coze's console"),
        N_("the authorization is not accepted any more: authorize again (bearerctl login)"),
        N_("the balance of the Coze account is used up"),
        N_("the balance of the Volcano Engine account is used up"),
        N_("the code ran out before it was entered: start again"),
        N_("the person refused: start again if that was a mistake"),
        N_("the provider saw no assertion: does a proxy remove the Authorization header, and "
           "is the application's client type service, as type = jwt needs?"),
};

/* How `text` ends: with `advice`, which is all of it or comes behind a full stop. */
static bool advice_ends(const char *text, const char *advice) {
        const size_t len = strlen(text), n = strlen(advice);

        return len >= n && strcmp(text + len - n, advice) == 0 &&
               (len == n || (len > n + 1 && memcmp(text + len - n - 2, ". ", 2) == 0));
}

const char *advice_translate(const char *text) {
        if (message_is_english())
                return NULL;
        if (strstr(text, ADVICE_CLOCK))
                return _("the clock of this machine is wrong: set it right, or let NTP do so");
        for (size_t i = 0; i < sizeof(advices) / sizeof(advices[0]); i++)
                if (advice_ends(text, advices[i]))
                        return _(advices[i]);
        return NULL;
}
