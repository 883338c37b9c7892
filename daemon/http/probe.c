/*
 * What libcurl and OpenSSL know of a failure is more than their sentences say. Which step it was
 * follows from the error and from which of libcurl's time stamps are set; what is wrong with a
 * certificate is noted while OpenSSL verifies it, by a callback that changes no verdict; why a name
 * does not resolve libcurl does not tell at all, so the name service is asked once more.
 */
#include "http/probe.h"

#include <curl/curl.h>
#include <netdb.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/err.h"
#include "base/why.h"
#include "http/connection.h"
#include "http/date.h"

#define PROBE_BODY_FIRST 4096

const char *const probe_problem_names[PROBE_PROBLEM_MAX] = {
        [PROBE_OK] = "none",
        [PROBE_TIMEOUT] = "timeout",
        [PROBE_NAME_UNKNOWN] = "unknown_name",
        [PROBE_NO_NAME_SERVICE] = "no_name_service",
        [PROBE_PROXY_NAME] = "proxy_name",
        [PROBE_REFUSED] = "refused",
        [PROBE_UNREACHABLE] = "unreachable",
        [PROBE_PROXY_REFUSED] = "proxy_refused",
        [PROBE_NOT_YET_VALID] = "not_yet_valid",
        [PROBE_EXPIRED] = "expired",
        [PROBE_UNTRUSTED] = "untrusted",
        [PROBE_OTHER_HOST] = "other_host",
        [PROBE_NOT_TLS] = "not_tls",
        [PROBE_CA_FILE] = "ca_file",
        [PROBE_HANDSHAKE] = "handshake",
        [PROBE_CLOSED] = "closed",
        [PROBE_OTHER] = "other",
};

/* A probe under way. */
struct flight {
        struct probe *probe;
        const struct clock *clock;
        CURL *easy;
        struct curl_slist *headers;
        bool too_large;
        bool tls_begun; /* so that it is connected, which libcurl stamps later */
        int verdict;    /* of OpenSSL on the chain: an X509_V_... */
        char error[CURL_ERROR_SIZE];
};

/* --- the proxy, as libcurl finds it --- */

static const char *probe_environment(const char *const *names, const char **ret_name) {
        for (; *names; names++) {
                const char *value = getenv(*names);

                if (value && *value) {
                        *ret_name = *names;
                        return value;
                }
        }
        return NULL;
}

/* A host or a domain above it stands in the list, or a "*" does. */
static bool probe_is_exempt(const char *host, const char *list) {
        size_t n = strlen(host);

        for (size_t len; *list; list += len) {
                list += strspn(list, ", ");
                len = strcspn(list, ", ");
                if (len == 1 && *list == '*')
                        return true;
                if (len > 0 && *list == '.') {
                        list++;
                        len--;
                }
                if (len > 0 && len <= n && strncasecmp(host + n - len, list, len) == 0 &&
                    (len == n || host[n - len - 1] == '.'))
                        return true;
        }
        return false;
}

/* Without user and password. */
static void probe_show_proxy(const char *value, char *ret, size_t size) {
        CURLU *u = curl_url();
        char *url = NULL;

        (void) snprintf(ret, size, "%s", "a proxy");
        if (u &&
            curl_url_set(u, CURLUPART_URL, value, CURLU_GUESS_SCHEME | CURLU_NON_SUPPORT_SCHEME) ==
                    CURLUE_OK &&
            curl_url_set(u, CURLUPART_USER, NULL, 0) == CURLUE_OK &&
            curl_url_set(u, CURLUPART_PASSWORD, NULL, 0) == CURLUE_OK &&
            curl_url_set(u, CURLUPART_PATH, NULL, 0) == CURLUE_OK &&
            curl_url_get(u, CURLUPART_URL, &url, 0) == CURLUE_OK)
                why_clean(url, strlen(url), ret, size);
        curl_free(url);
        curl_url_cleanup(u);
}

static void probe_find_proxy(struct probe *p) {
        static const char *const secure[] = { "https_proxy", "HTTPS_PROXY", "all_proxy",
                                              "ALL_PROXY", NULL };
        static const char *const plain[] = { "http_proxy", "all_proxy", "ALL_PROXY", NULL };
        static const char *const exempt[] = { "no_proxy", "NO_PROXY", NULL };
        const char *variable = NULL, *ignored, *value, *list;
        CURLU *u = curl_url();
        char *host = NULL;

        value = probe_environment(strncmp(p->url, "https:", 6) == 0 ? secure : plain, &variable);
        list = probe_environment(exempt, &ignored);
        if (value && u && !connection_is_loopback(p->url) &&
            curl_url_set(u, CURLUPART_URL, p->url, 0) == CURLUE_OK &&
            curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
            !(list && probe_is_exempt(host, list))) {
                probe_show_proxy(value, p->proxy, sizeof(p->proxy));
                (void) snprintf(p->proxy_variable, sizeof(p->proxy_variable), "%s", variable);
        }
        curl_free(host);
        curl_url_cleanup(u);
}

/* --- certificates --- */

static int probe_index = -1; /* where a SSL_CTX keeps its flight */

static wall_t probe_time(const ASN1_TIME *t) {
        struct tm tm = { 0 };

        return (wall_t){ ASN1_TIME_to_tm(t, &tm) == 1 ? timegm(&tm) : 0 };
}

static void probe_name(X509_NAME *name, char *ret, size_t size) {
        char text[PROBE_NAME_MAX] = "";
        int n = X509_NAME_get_text_by_NID(name, NID_commonName, text, sizeof(text));

        if (n <= 0)
                (void) X509_NAME_oneline(name, text, sizeof(text));
        why_clean(text, strlen(text), ret, size);
}

/* "a.example, *.b.example" */
static void probe_names(X509 *certificate, char *ret, size_t size) {
        GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
        char text[PROBE_NAME_MAX] = "";
        size_t used = 0;

        for (int i = 0; names && i < sk_GENERAL_NAME_num(names); i++) {
                const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

                if (name->type != GEN_DNS || used >= sizeof(text))
                        continue;
                used += (size_t) snprintf(text + used, sizeof(text) - used, "%s%.*s",
                                          used ? ", " : "", ASN1_STRING_length(name->d.dNSName),
                                          (const char *) ASN1_STRING_get0_data(name->d.dNSName));
        }
        GENERAL_NAMES_free(names);
        why_clean(text, strlen(text), ret, size);
}

static void probe_note_certificate(struct probe *p, X509 *certificate) {
        p->has_certificate = true;
        probe_name(X509_get_subject_name(certificate), p->subject, sizeof(p->subject));
        probe_name(X509_get_issuer_name(certificate), p->issuer, sizeof(p->issuer));
        probe_names(certificate, p->names, sizeof(p->names));
        p->not_before = probe_time(X509_get0_notBefore(certificate));
        p->not_after = probe_time(X509_get0_notAfter(certificate));
}

/* For each certificate of the chain, from the root down, or where one is at fault: that one is what
 * is told of. The verdict stays as it is. */
static int flight_on_verify(int good, X509_STORE_CTX *store) {
        SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
        struct flight *f = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), probe_index);
        X509 *certificate = X509_STORE_CTX_get_current_cert(store);

        if (!f)
                return good;
        if (!good)
                f->verdict = X509_STORE_CTX_get_error(store);
        if (certificate && (!good || X509_STORE_CTX_get_error_depth(store) == 0))
                probe_note_certificate(f->probe, certificate);
        return good;
}

static CURLcode flight_on_ssl_ctx(CURL *easy, void *ssl_ctx, void *userdata) {
        struct flight *f = userdata;

        (void) easy;
        f->tls_begun = true;
        SSL_CTX_set_options(ssl_ctx, SSL_OP_CLEANSE_PLAINTEXT);
        if (probe_index < 0 || SSL_CTX_set_ex_data(ssl_ctx, probe_index, userdata) != 1)
                return CURLE_OUT_OF_MEMORY;
        SSL_CTX_set_verify(ssl_ctx, SSL_VERIFY_PEER, flight_on_verify);
        return CURLE_OK;
}

static enum probe_problem flight_judge_chain(const struct flight *f) {
        switch (f->verdict) {
        case X509_V_OK:
                return PROBE_OTHER_HOST; /* libcurl compares the names itself, later */
        case X509_V_ERR_CERT_NOT_YET_VALID:
        case X509_V_ERR_CRL_NOT_YET_VALID:
                return PROBE_NOT_YET_VALID;
        case X509_V_ERR_CERT_HAS_EXPIRED:
                return PROBE_EXPIRED;
        case X509_V_ERR_HOSTNAME_MISMATCH:
        case X509_V_ERR_IP_ADDRESS_MISMATCH:
                return PROBE_OTHER_HOST;
        default:
                return PROBE_UNTRUSTED;
        }
}

/* --- one probe --- */

static size_t flight_on_write(char *bytes, size_t size, size_t n, void *userdata) {
        struct flight *f = userdata;
        size_t len = size * n, room = HTTP_BODY_MAX - secret_len(f->probe->body);

        f->too_large = len > room;
        (void) secret_append(f->probe->body, bytes, f->too_large ? room : len); /* it fits */
        return f->too_large ? 0 : len;
}

static int flight_add_header(struct flight *f, const char *line) {
        struct curl_slist *longer = curl_slist_append(f->headers, line);

        if (!longer)
                return RAISE(-ENOMEM);
        f->headers = longer;
        return 0;
}

static int flight_add_headers(struct flight *f) {
        const struct secret *value = f->probe->authorization;
        AUTO(secret_unrefp) struct secret *line = NULL;
        int r;

        r = flight_add_header(f, "Accept: application/json");
        if (r < 0 || !value)
                return PASS(r);
        line = secret_new_reserved(strlen("Authorization: ") + secret_len(value));
        if (!line)
                return RAISE(-ENOMEM);
        (void) secret_append_text(line, "Authorization: "); /* it fits */
        (void) secret_append(line, secret_text(value), secret_len(value));
        return flight_add_header(f, secret_text(line));
}

static int flight_prepare(struct flight *f) {
        struct probe *p = f->probe;
        const struct connection connection = { p->url, p->ca_file, p->allow_http, p->timeout_us };
        CURLcode code = CURLE_OK;
        int r;

        p->body = secret_new_reserved(HTTP_BODY_MAX);
        f->easy = curl_easy_init();
        if (!p->body || !f->easy)
                return RAISE(-ENOMEM);
        probe_find_proxy(p);
        r = connection_set(f->easy, &connection);
        if (r == 0)
                r = flight_add_headers(f);
        if (r < 0)
                return PASS(r);
#define SET(option, value)                                                                         \
        (code = code != CURLE_OK ? code : curl_easy_setopt(f->easy, option, value))
        SET(CURLOPT_PRIVATE, f);
        SET(CURLOPT_ERRORBUFFER, f->error);
        SET(CURLOPT_USERAGENT, "bearerd/" BEARERD_VERSION);
        SET(CURLOPT_HTTPHEADER, f->headers);
        SET(CURLOPT_WRITEFUNCTION, flight_on_write);
        SET(CURLOPT_WRITEDATA, f);
        SET(CURLOPT_SSL_CTX_FUNCTION, flight_on_ssl_ctx);
        SET(CURLOPT_SSL_CTX_DATA, f);
        SET(CURLOPT_FRESH_CONNECT, 1L); /* each tells of all steps */
        SET(CURLOPT_FORBID_REUSE, 1L);
        SET(CURLOPT_CONNECT_ONLY, p->connect_only ? 1L : 0L);
#undef SET
        return code == CURLE_OK              ? 0
               : code == CURLE_OUT_OF_MEMORY ? RAISE(-ENOMEM)
                                             : RAISE(-EOPNOTSUPP);
}

static void flight_end(struct flight *f, CURLM *multi) {
        if (f->easy) {
                (void) curl_multi_remove_handle(multi, f->easy); /* may not be in it */
                curl_easy_cleanup(f->easy);
        }
        for (struct curl_slist *h = f->headers; h; h = h->next)
                secret_wipe(h->data, strlen(h->data));
        curl_slist_free_all(f->headers);
}

static int64_t flight_time(const struct flight *f, CURLINFO info) {
        curl_off_t us = 0;

        (void) curl_easy_getinfo(f->easy, info, &us);
        return us;
}

/* How far it had come when the time was up. */
static enum probe_step flight_find_step(const struct flight *f) {
        if (flight_time(f, CURLINFO_NAMELOOKUP_TIME_T) == 0)
                return PROBE_NAME;
        if (!f->tls_begun && flight_time(f, CURLINFO_CONNECT_TIME_T) == 0)
                return PROBE_CONNECT;
        if (strncmp(f->probe->url, "https:", 6) == 0 &&
            flight_time(f, CURLINFO_APPCONNECT_TIME_T) == 0)
                return PROBE_TLS;
        return PROBE_ANSWER;
}

static void flight_fail(struct flight *f, enum probe_step step, enum probe_problem problem,
                        const char *detail) {
        struct probe *p = f->probe;

        p->step = step;
        p->problem = problem;
        if (!detail)
                detail = f->error[0] ? f->error : "";
        why_clean(detail, strlen(detail), p->detail, sizeof(p->detail));
}

static void flight_fail_connect(struct flight *f) {
        long error = 0, status = 0;

        (void) curl_easy_getinfo(f->easy, CURLINFO_OS_ERRNO, &error);
        (void) curl_easy_getinfo(f->easy, CURLINFO_HTTP_CONNECTCODE, &status);
        f->probe->status = (int) status;
        if (status > 0 && status / 100 != 2)
                flight_fail(f, PROBE_CONNECT, PROBE_PROXY_REFUSED, NULL);
        else if (error == ECONNREFUSED)
                flight_fail(f, PROBE_CONNECT, PROBE_REFUSED, strerrordesc_np((int) error));
        else if (error == ENETUNREACH || error == EHOSTUNREACH || error == EACCES || error == EPERM)
                flight_fail(f, PROBE_CONNECT, PROBE_UNREACHABLE, strerrordesc_np((int) error));
        else if (error == ETIMEDOUT)
                flight_fail(f, PROBE_CONNECT, PROBE_TIMEOUT, strerrordesc_np((int) error));
        else
                flight_fail(f, PROBE_CONNECT, PROBE_OTHER, NULL);
}

/* OpenSSL says so when the first bytes are no record of TLS. */
static bool flight_is_not_tls(const struct flight *f) {
        return strstr(f->error, "wrong version number") ||
               strstr(f->error, "packet length too long") || strstr(f->error, "http request") ||
               strstr(f->error, "unknown protocol");
}

static void flight_explain(struct flight *f, CURLcode code) {
        long tunnel = 0;

        (void) curl_easy_getinfo(f->easy, CURLINFO_HTTP_CONNECTCODE, &tunnel);
        switch ((int) code) {
        case CURLE_COULDNT_RESOLVE_HOST:
                flight_fail(f, PROBE_NAME, PROBE_NO_NAME_SERVICE, NULL);
                break;
        case CURLE_COULDNT_RESOLVE_PROXY:
                flight_fail(f, PROBE_NAME, PROBE_PROXY_NAME, NULL);
                break;
        case CURLE_COULDNT_CONNECT:
                flight_fail_connect(f);
                break;
        case CURLE_OPERATION_TIMEDOUT:
                flight_fail(f, flight_find_step(f), PROBE_TIMEOUT, NULL);
                break;
        case CURLE_PEER_FAILED_VERIFICATION:
                flight_fail(f, PROBE_TLS, flight_judge_chain(f), NULL);
                break;
        case CURLE_SSL_CACERT_BADFILE:
                flight_fail(f, PROBE_TLS, PROBE_CA_FILE, NULL);
                break;
        case CURLE_SSL_CONNECT_ERROR:
                flight_fail(f, PROBE_TLS,
                            f->verdict != X509_V_OK ? flight_judge_chain(f)
                            : flight_is_not_tls(f)  ? PROBE_NOT_TLS
                                                    : PROBE_HANDSHAKE,
                            NULL);
                break;
        default:
                if (tunnel > 0 && tunnel / 100 != 2)
                        flight_fail_connect(f);
                else
                        flight_fail(f, flight_find_step(f),
                                    flight_find_step(f) == PROBE_ANSWER ? PROBE_CLOSED
                                                                        : PROBE_OTHER,
                                    NULL);
        }
}

static const char *flight_header(const struct flight *f, const char *name) {
        struct curl_header *header;

        return curl_easy_header(f->easy, name, 0, CURLH_HEADER, -1, &header) == CURLHE_OK
                       ? header->value
                       : NULL;
}

static void flight_take_answer(struct flight *f) {
        struct probe *p = f->probe;
        const char *date = flight_header(f, "Date"), *type = flight_header(f, "Content-Type"),
                   *logid = flight_header(f, "X-Tt-Logid");
        long status = 0;

        (void) curl_easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status);
        p->status = (int) status;
        if (type)
                why_clean(type, strlen(type), p->content_type, sizeof(p->content_type));
        if (logid)
                why_clean(logid, strlen(logid), p->logid, sizeof(p->logid));
        p->has_date = date && date_parse(date, &p->date) == 0;
}

static void flight_finish(struct flight *f, CURLcode code) {
        struct probe *p = f->probe;
        char *address = NULL;

        p->received = clock_wall(f->clock);
        p->took_us = flight_time(f, CURLINFO_TOTAL_TIME_T);
        if (curl_easy_getinfo(f->easy, CURLINFO_PRIMARY_IP, &address) == CURLE_OK && address)
                why_clean(address, strlen(address), p->address, sizeof(p->address));
        p->step = PROBE_DONE;
        p->problem = PROBE_OK;
        if (code != CURLE_OK && !f->too_large)
                flight_explain(f, code);
        else if (!p->connect_only)
                flight_take_answer(f);
}

/* --- why a name does not resolve --- */

/* In a thread of the C library's, which is not waited for any longer than this. */
static void probe_look_up(struct probe *p) {
        static const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
        struct timespec patience = { .tv_sec = PROBE_LOOKUP_US / US_PER_S };
        struct gaicb *request = calloc(1, sizeof(*request));
        const struct gaicb *requests[] = { request };
        CURLU *u = curl_url();
        char *host = NULL;
        int r = EAI_AGAIN;

        if (request && u && curl_url_set(u, CURLUPART_URL, p->url, 0) == CURLUE_OK &&
            curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK) {
                struct gaicb *list[] = { request };

                request->ar_name = host;
                request->ar_request = &hints;
                if (getaddrinfo_a(GAI_NOWAIT, list, 1, NULL) == 0) {
                        (void) gai_suspend(requests, 1, &patience); /* gai_error() tells */
                        r = gai_error(request);
                }
        }
        curl_url_cleanup(u);
        if (r == EAI_INPROGRESS && gai_cancel(request) != EAI_CANCELED)
                return; /* what it works on stays, for the little while that this process lives */
        if (r == EAI_NONAME || r == EAI_NODATA)
                p->problem = PROBE_NAME_UNKNOWN;
        if (r != 0 && r != EAI_INPROGRESS)
                (void) snprintf(p->detail, sizeof(p->detail), "%s", gai_strerror(r));
        if (request && request->ar_result)
                freeaddrinfo(request->ar_result);
        curl_free(host);
        free(request);
}

/* Once is enough to wait for a name service that does not answer. */
static void probe_look_up_all(struct probe *probes, size_t n) {
        const struct probe *before = NULL;

        for (size_t i = 0; i < n; i++) {
                if (probes[i].problem != PROBE_NO_NAME_SERVICE)
                        continue;
                if (before)
                        memcpy(probes[i].detail, before->detail, sizeof(probes[i].detail));
                else
                        probe_look_up(&probes[i]);
                if (probes[i].problem == PROBE_NO_NAME_SERVICE)
                        before = &probes[i];
        }
}

/* --- all of them --- */

/* Until each has ended; libcurl's time-outs see to that. */
static int probe_fly(CURLM *multi) {
        struct CURLMsg *message;
        int running = 1, left;

        while (running > 0) {
                if (curl_multi_perform(multi, &running) != CURLM_OK)
                        return RAISE(-ENOMEM);
                while ((message = curl_multi_info_read(multi, &left))) {
                        CURLcode code = message->data.result;
                        char *f = NULL;

                        if (message->msg != CURLMSG_DONE)
                                continue;
                        (void) curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &f);
                        flight_finish((struct flight *) (void *) f, code);
                }
                if (running > 0 && curl_multi_poll(multi, NULL, 0, 1000, NULL) != CURLM_OK)
                        return RAISE(-ENOMEM);
        }
        return 0;
}

static int probe_run_some(struct probe *probes, size_t n, const struct clock *clock) {
        struct flight *flights = calloc(n, sizeof(*flights));
        CURLM *multi = curl_multi_init();
        int r = flights && multi ? 0 : RAISE(-ENOMEM);

        for (size_t i = 0; i < n && r == 0; i++) {
                flights[i] = (struct flight){ .probe = &probes[i], .clock = clock };
                r = flight_prepare(&flights[i]);
                if (r == 0 && curl_multi_add_handle(multi, flights[i].easy) != CURLM_OK)
                        r = RAISE(-ENOMEM);
        }
        if (r == 0)
                r = probe_fly(multi);
        for (size_t i = 0; flights && i < n; i++)
                flight_end(&flights[i], multi);
        curl_multi_cleanup(multi);
        free(flights);
        if (r == 0)
                probe_look_up_all(probes, n);
        return PASS(r);
}

int probe_run(struct probe *probes, size_t n, const struct clock *clock) {
        int r = 0;

        if (probe_index < 0)
                probe_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
        for (size_t i = 0; i < n && r == 0; i += PROBE_AT_ONCE_MAX)
                r = probe_run_some(probes + i,
                                   n - i < PROBE_AT_ONCE_MAX ? n - i : PROBE_AT_ONCE_MAX, clock);
        return PASS(r);
}

void probe_done(struct probe *p) {
        p->body = secret_unref(p->body);
}
