#include "conf/eligibility.h"

#include <errno.h>
#include <stdio.h>

#include "base/err.h"

#define YES true
#define NO  false

/* coze-oauth.md section 2.1, row by row */
/* clang-format off */
static const struct eligibility_row {
        bool personal, admin, member;
        enum credential_type type;
        enum application application; /* of jwt */
        bool collaboration;           /* of the interactive types */
        const char *name;
        const char *note; /* on the admins */
} eligibility_rows[] = {
        { YES, YES, YES, CREDENTIAL_PAT,                0, NO,  "PAT", "" },
        { YES, YES, NO,  CREDENTIAL_SAT,                0, NO,  "SAT", "" },
        { YES, YES, NO,  CREDENTIAL_AUTHORIZATION_CODE, 0, NO,  "Authorization code", "" },
        { NO,  YES, NO,  CREDENTIAL_AUTHORIZATION_CODE, 0, YES,
          "Authorization code, collaboration", "" },
        { YES, YES, NO,  CREDENTIAL_PKCE,               0, NO,  "PKCE", "" },
        { NO,  YES, NO,  CREDENTIAL_PKCE,               0, YES, "PKCE, collaboration", "" },
        { YES, YES, NO,  CREDENTIAL_DEVICE_CODE,        0, NO,  "Device code", "" },
        { NO,  YES, NO,  CREDENTIAL_DEVICE_CODE,        0, YES, "Device code, collaboration", "" },
        { YES, YES, NO,  CREDENTIAL_JWT, APPLICATION_DEVELOPER,  NO, "JWT developer", "" },
        { YES, YES, NO,  CREDENTIAL_JWT, APPLICATION_CHANNEL,    NO, "JWT channel", "" },
        { NO,  YES, NO,  CREDENTIAL_JWT, APPLICATION_ENTERPRISE, NO, "JWT enterprise-privileged",
          " of its default organisation" },
};
/* clang-format on */

static const struct eligibility_row *eligibility_find(enum credential_type type,
                                                      enum application application,
                                                      bool collaboration) {
        for (size_t i = 0; i < N_ELEMENTS(eligibility_rows); i++) {
                const struct eligibility_row *row = &eligibility_rows[i];

                if (row->type == type &&
                    (type != CREDENTIAL_JWT || row->application == application) &&
                    (!credential_type_is_interactive(type) || row->collaboration == collaboration))
                        return row;
        }
        return NULL;
}

int eligibility_check(enum credential_type type, enum application application, bool collaboration,
                      enum plan plan, enum role role, struct why *why) {
        const struct eligibility_row *row = eligibility_find(type, application, collaboration);
        bool personal = plan == PLAN_PERSONAL || (plan == PLAN_UNSET && role == ROLE_UNSET);
        bool admin = plan != PLAN_PERSONAL && role != ROLE_MEMBER;
        bool member = plan != PLAN_PERSONAL && role != ROLE_ADMIN;
        char who[64] = "";

        if (!row || (row->personal && personal) || (row->admin && admin) || (row->member && member))
                return 0;
        if (plan == PLAN_PERSONAL)
                snprintf(who, sizeof(who), "plan = personal");
        else if (role != ROLE_UNSET)
                snprintf(who, sizeof(who), "role = %s of an enterprise", role_names[role]);
        else
                snprintf(who, sizeof(who), "plan = enterprise");
        return why_set(why, RAISE(-EPERM),
                       "Coze does not allow \"%s\" to %s; it allows it to %s%s%s%s%s", row->name,
                       who, row->personal ? "personal accounts" : "",
                       row->personal && row->admin ? " and " : "",
                       row->admin ? "an enterprise's super-admins and admins" : "", row->note,
                       row->member ? " and members" : "");
}
