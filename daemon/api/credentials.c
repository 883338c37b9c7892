#include "api/credentials.h"

#include <microhttpd.h>
#include <string.h>

#include "api/handlers.h"
#include "api/server.h"
#include "base/err.h"
#include "base/json.h"
#include "base/text.h"
#include "client/protocol.h"

/*
 * /v1/credentials: what the credentials are doing, and setting static tokens
 */

static int credentials_add_error(struct json_object *o, const struct credential_view *v) {
        struct json_object *error = reply_refusal(v->last_error);

        if (!error ||
            json_object_object_add(error, "at", json_object_new_int64(v->last_error_at.s)) < 0 ||
            (v->last_error->advice[0] &&
             json_object_object_add(error, "advice",
                                    json_object_new_string(v->last_error->advice)) < 0)) {
                json_object_put(error);
                return RAISE(-ENOMEM);
        }
        return json_object_object_add(o, "last_error", error);
}

/* How the provider does, and how long the credential lasts without it. */
static int credentials_add_forecast(struct json_object *o, const struct credential_view *v) {
        const struct upstream_view *p = &v->provider;
        int r = 0;

        if (v->survives_for_ever)
                r |= json_object_object_add(o, "survives_seconds", NULL);
        else if (v->has_survives)
                r |= json_object_object_add(o, "survives_seconds",
                                            json_object_new_int64(v->survives_us / US_PER_S));
        r |= json_object_object_add(o, "provider_state",
                                    json_object_new_string(breaker_state_names[p->state]));
        if (p->state != BREAKER_CLOSED)
                r |= json_object_object_add(o, "provider_down_since",
                                            json_object_new_int64(p->down_since.s));
        if (p->has_retry_at)
                r |= json_object_object_add(o, "provider_retry_at",
                                            json_object_new_int64(p->retry_at.s));
        return r;
}

/* NULL: out of memory. */
static struct json_object *credentials_object(const struct broker *b,
                                              const struct conf_credential *c) {
        struct json_object *o = json_object_new_object();
        struct credential_view v;
        int r = 0;

        if (!o)
                return NULL;
        broker_view(b, c, &v);
        r |= json_object_object_add(o, "name", json_object_new_string(c->name));
        r |= json_object_object_add(o, "provider", json_object_new_string(c->provider->name));
        r |= json_object_object_add(o, "api_url", json_object_new_string(c->provider->api_url));
        r |= json_object_object_add(o, "type",
                                    json_object_new_string(credential_type_names[c->type]));
        r |= json_object_object_add(o, "state",
                                    json_object_new_string(credential_state_names[v.state]));
        if (v.fingerprint[0])
                r |= json_object_object_add(o, "fingerprint",
                                            json_object_new_string(v.fingerprint));
        if (v.has_expires_at)
                r |= json_object_object_add(o, "expires_at", json_object_new_int64(v.expires_at.s));
        if (v.has_renews_at)
                r |= json_object_object_add(o, "renews_at", json_object_new_int64(v.renews_at.s));
        if (v.has_grant_expires_at)
                r |= json_object_object_add(o, "grant_expires_at",
                                            json_object_new_int64(v.grant_expires_at.s));
        r |= credentials_add_forecast(o, &v);
        if (v.last_error)
                r |= credentials_add_error(o, &v);
        if (v.has_warning)
                r |= json_object_object_add(o, "warning", json_object_new_string(v.warning.text));
        r |= json_object_object_add(o, "subjects", json_object_new_int64((int64_t) v.subjects));
        if (r < 0) {
                json_object_put(o);
                return NULL;
        }
        return o;
}

struct json_object *credentials_array(const struct broker *b, const struct conf *conf,
                                      const struct caller *caller, const char *only) {
        struct json_object *list = json_object_new_array();
        int r = 0;

        for (size_t i = 0; list && i < conf->n_credentials; i++) {
                const struct conf_credential *c = conf->credentials[i];

                if ((!only || strcmp(c->name, only) == 0) && caller_may_use(caller, c))
                        r |= json_object_array_add(list, credentials_object(b, c));
        }
        return r < 0 ? json_wipe(list) : list;
}

static void credentials_list_work(struct call *call, struct broker *broker) {
        const struct conf *conf = broker_conf(broker);
        struct json_object *o = json_object_new_object();
        int r = json_object_object_add(o, "credentials",
                                       credentials_array(broker, conf, call->caller, NULL));

        call_return(call, reply_json(MHD_HTTP_OK, r < 0 ? json_wipe(o) : o));
}

struct reply credentials_list(struct call *call) {
        struct reply reply;

        if (handler_refuse_query(call, &reply) < 0)
                return reply;
        call_cross(call, credentials_list_work);
        return HANDLER_CROSSED;
}

static void credentials_get_work(struct call *call, struct broker *broker) {
        call_return(call, reply_json(MHD_HTTP_OK, credentials_object(broker, call->credential)));
}

struct reply credentials_get(struct call *call) {
        struct reply reply;

        if (handler_refuse_query(call, &reply) < 0)
                return reply;
        call_cross(call, credentials_get_work);
        return HANDLER_CROSSED;
}

/* --- PUT /v1/credentials/{credential}/secret --- */

static struct reply credentials_not_stored(const struct call *call, int r) {
        return reply_error(
                MHD_HTTP_INTERNAL_SERVER_ERROR, PROTOCOL_SERVER_ERROR,
                "the token of \"%s\" could not be written to state_dir (%s); the old one stays in use",
                call->credential->name, strerror(-r));
}

static void credentials_secret_set(void *user, int r) {
        struct call *call = user;

        if (!call->credential)
                call_return(call, reply_error(MHD_HTTP_NOT_FOUND, PROTOCOL_NOT_FOUND,
                                              "the credential was removed from the configuration"));
        else if (r < 0)
                call_return(call, credentials_not_stored(call, r));
        else
                credentials_get_work(call, server_parts(call->server)->broker);
}

static void credentials_put_work(struct call *call, struct broker *broker) {
        int r = broker_set_static_token(broker, call->credential, call->token, call->expires_at,
                                        credentials_secret_set, call);

        if (r < 0)
                call_return(call, credentials_not_stored(call, r));
}

static int credentials_read_secret(struct call *call, struct json_object *o,
                                   struct reply *ret_reply) {
        const char *token = json_get_text(o, "token");
        wall_t now = clock_wall(server_parts(call->server)->clock);
        int r;

        if (!token || !text_is_bearer_token(token, strlen(token)) ||
            strlen(token) > PROTOCOL_TOKEN_MAX) {
                *ret_reply = reply_error(
                        MHD_HTTP_BAD_REQUEST, PROTOCOL_INVALID_REQUEST,
                        "token must be a string of at most %d visible ASCII characters without blanks",
                        PROTOCOL_TOKEN_MAX);
                return -EINVAL;
        }
        call->expires_at = WALL_NEVER;
        r = json_get_int64(o, "expires_at", 0, &call->expires_at.s);
        if (r < 0 && r != -ENOENT) {
                *ret_reply = reply_error(MHD_HTTP_BAD_REQUEST, PROTOCOL_INVALID_REQUEST,
                                         "expires_at must be a UNIX time in whole seconds");
                return -EINVAL;
        }
        if (call->expires_at.s <= now.s) {
                *ret_reply = reply_error(MHD_HTTP_BAD_REQUEST, PROTOCOL_INVALID_REQUEST,
                                         "expires_at is past: this token has expired already");
                return -EINVAL;
        }
        call->token = secret_new(token, strlen(token));
        if (!call->token) {
                *ret_reply = reply_error(MHD_HTTP_INTERNAL_SERVER_ERROR, PROTOCOL_SERVER_ERROR,
                                         "out of memory");
                return -ENOMEM;
        }
        return 0;
}

struct reply credentials_put_secret(struct call *call) {
        static const char *const allowed[] = { "token", "expires_at", NULL };
        AUTO(json_wipep) struct json_object *o = NULL;
        struct reply reply;

        if (!credential_type_is_static(call->credential->type))
                return reply_error(
                        MHD_HTTP_BAD_REQUEST, PROTOCOL_INVALID_REQUEST,
                        "only the token of a pat or sat can be set; \"%s\" is of type %s",
                        call->credential->name, credential_type_names[call->credential->type]);
        if (handler_parse_body(call, allowed, &reply, &o) < 0 ||
            credentials_read_secret(call, o, &reply) < 0)
                return reply;
        call_cross(call, credentials_put_work);
        return HANDLER_CROSSED;
}
