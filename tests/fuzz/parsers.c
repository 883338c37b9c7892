#include "fuzz.h"

/*
 * What the daemon reads that others have written
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "api/redirect.h"
#include "api/target.h"
#include "api/unit.h"
#include "api/unit_socket.h"
#include "base/err.h"
#include "base/json.h"
#include "base/key.h"
#include "base/text.h"
#include "conf/conf.h"
#include "conf/oauth_config.h"
#include "conf/url.h"
#include "http/date.h"
#include "provider/coze.h"

static void fuzz_url(const char *text, size_t len) {
        struct why why = { "" };
        char *base = NULL, *again = NULL;
        struct url url;

        (void) len;
        (void) url_parse(text, &why, &url);
        if (url_parse_base(text, &why, &base) == 0) { /* one spelling */
                PROMISED(url_parse_base(base, &why, &again) == 0 && strcmp(base, again) == 0);
                free(again);
                free(base);
        }
}

static void fuzz_target(const char *text, size_t len) {
        struct target target;

        (void) len;
        if (target_init(&target, text) == 0) {
                (void) target_has_host(&target, text);
                (void) target_has_path(&target, text);
        }
        target_done(&target);
}

static void fuzz_redirect(const char *text, size_t len) {
        struct redirect back = { 0 };

        (void) len;
        if (redirect_parse(text, &back))
                (void) redirect_is_complete(&back);
        redirect_wipe(&back);
}

static void fuzz_json(const char *text, size_t len) {
        AUTO(json_wipep) struct json_object *o = NULL, *again = NULL;
        char *canonical = NULL, *twice = NULL;

        if (json_parse(text, len, &o) < 0 || !json_object_is_type(o, json_type_object))
                return;
        if (json_canonical(o, &canonical) == 0) { /* what is canonical stays as it is */
                PROMISED(json_parse(canonical, strlen(canonical), &again) == 0);
                PROMISED(json_canonical(again, &twice) == 0 && strcmp(canonical, twice) == 0);
        }
        free(canonical);
        free(twice);
}

static void fuzz_coze(const char *text, size_t len) {
        static struct conf_provider provider = { .name = (char *) "p",
                                                 .api_url = (char *) "https://p" };
        static const struct conf_credential credential = { .name = (char *) "c",
                                                           .provider = &provider,
                                                           .client_id = (char *) "1" };
        static const int statuses[] = { 200, 400, 401, 403, 429, 500, 502 };
        AUTO(secret_unrefp) struct secret *body = secret_new(text, len);

        for (enum exchange_kind kind = 0; body && kind < EXCHANGE_KIND_MAX; kind++)
                for (size_t i = 0; i < N_ELEMENTS(statuses); i++) {
                        const struct exchange x = { .kind = kind, .credential = &credential };
                        const struct http_response answer = { .outcome = HTTP_ANSWERED,
                                                              .status = statuses[i],
                                                              .body = body,
                                                              .content_type = "application/json",
                                                              .retry_after_us = -1 };
                        struct exchange_result result = { 0 };

                        if (coze_decode(&x, &answer, (wall_t){ 1795400000 }, (wall_t){ 1795400001 },
                                        &result) == 0)
                                exchange_result_done(&result);
                }
}

static void fuzz_date(const char *text, size_t len) {
        wall_t date;

        (void) len;
        (void) date_parse(text, &date);
}

static void fuzz_span(const char *text, size_t len) {
        int64_t n = -1;

        (void) text_parse_span(text, &n);
        (void) text_parse_int64(text, &n);
        (void) text_is_name(text);
        (void) text_is_printable_utf8(text, len);
        (void) text_is_bearer_token(text, len);
}

static void fuzz_unit(const char *text, size_t len) {
        struct peer peer = { 0 };

        (void) len;
        (void) unit_of_cgroup(text, 0, &peer);
        peer_done(&peer);
}

static void fuzz_unit_address(const char *text, size_t len) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        struct unit_address found;

        if (len > sizeof(address.sun_path))
                len = sizeof(address.sun_path);
        memcpy(address.sun_path, text, len);
        (void) unit_address_parse(
                &address, (socklen_t) (offsetof(struct sockaddr_un, sun_path) + len), &found);
}

static void fuzz_oauth_config(const char *text, size_t len) {
        AUTO(oauth_config_freep) struct oauth_config *c = NULL;
        struct why why = { "" };

        (void) oauth_config_parse(text, len, &why, &c);
}

static void fuzz_key(const char *text, size_t len) {
        AUTO(key_unrefp) struct key *k = NULL;
        struct why why = { "" };
        int r = key_parse(text, len, &why, &k);

        PROMISED(r == 0 ? k && key_bits(k) >= KEY_BITS_MIN && key_bits(k) <= KEY_BITS_MAX
                        : !k && why.text[0]);
}

/* Half a configuration is none, and a mistake is told. */
static void fuzz_conf_as(const char *path, enum conf_scope scope) {
        AUTO(conf_freep) struct conf *conf = NULL;
        struct conf_report report = { 0 };
        size_t errors = 0;
        int r;

        r = conf_load(path, scope, &report, &conf);
        for (size_t i = 0; i < report.n; i++)
                errors += report.problems[i].is_error;
        PROMISED(r == 0 ? conf && errors == 0 : !conf && (errors > 0 || r == -ENOMEM));
        conf_report_done(&report);
}

static void fuzz_conf(const char *text, size_t len) {
        AUTO(auto_closep) int fd = memfd_create("bearerd.conf", MFD_CLOEXEC);
        char path[64];

        PROMISED(fd >= 0 && write(fd, text, len) == (ssize_t) len);
        (void) snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        fuzz_conf_as(path, CONF_SYSTEM);
        fuzz_conf_as(path, CONF_USER);
}

const struct fuzz_target fuzz_targets[] = {
        { "conf", fuzz_conf },
        { "coze", fuzz_coze },
        { "date", fuzz_date },
        { "json", fuzz_json },
        { "key", fuzz_key },
        { "oauth_config", fuzz_oauth_config },
        { "redirect", fuzz_redirect },
        { "span", fuzz_span },
        { "target", fuzz_target },
        { "unit", fuzz_unit },
        { "unit_address", fuzz_unit_address },
        { "url", fuzz_url },
        { 0 },
};
