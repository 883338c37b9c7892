#pragma once
/*
 * coze_oauth_config.json: the file that Coze's console hands out with an app
 *
 * Used as it is; members nobody knows are ignored. It holds secrets, so others must not be able to
 * read it, and nothing of it outlives oauth_config_free() but what was taken out.
 *
 * Sources: coze-oauth.md section 10.
 */

#include <stddef.h>

#include "base/auto.h"
#include "conf/conf.h"

#define OAUTH_CONFIG_MAX 65536 /* bytes */

struct oauth_config {
        enum credential_type type; /* of client_type */
        char *client_id;
        struct secret *client_secret; /* web */
        char *public_key_id;          /* jwt */
        struct key *private_key;      /* jwt */
        char *api_url;                /* as url_parse_base() writes it */
        char *www_url;                /* the same, or NULL */
};

/* 0; -EBADMSG: what is wrong with the content, or what file_read_secret() said, each with a
 * sentence; -ENOMEM. */
int oauth_config_read(const char *path, struct why *why, struct oauth_config **ret);

/* The same of a text; the sentence does not name the file. */
int oauth_config_parse(const char *text, size_t len, struct why *why, struct oauth_config **ret);

struct oauth_config *oauth_config_free(struct oauth_config *c);
AUTO_DEFINE(struct oauth_config, oauth_config_free)
