#pragma once
/*
 * Hints: values that are allowed but look like a mistake people make
 *
 * Each returns a sentence for a warning, or NULL. None of them quotes the value. They warn and do
 * not refuse, as Coze may change the shape of its ids and tokens.
 *
 * Sources: coze-oauth.md sections 4, 9 and 14.
 */

#include "conf/conf.h"

const char *hint_public_key_id(const char *id);
const char *hint_client_id(enum credential_type type, const char *id);
const char *hint_static_token(enum credential_type type, const char *token);
const char *hint_redirect_uri(const char *uri);
