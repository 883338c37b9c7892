#include "broker/change.h"

const char *const change_kind_names[CHANGE_KIND_MAX] = {
        "token",
        "authorization_required",
        "failing",
        "recovered",
};
