#include "http/connection.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "http/curl.h"
#include "http/transport.h"

#define CONNECTION_CA_FILE                                                                         \
        "/etc/ssl/certs/ca-certificates.crt" /* when libcurl was built without a default */

const char *connection_ca_file(const struct connection *c) {
        const char *standard;

        if (c->ca_file)
                return c->ca_file;
        standard = curl_version_info(CURLVERSION_NOW)->cainfo;
        return standard ? standard : CONNECTION_CA_FILE;
}

bool connection_is_loopback(const char *url) {
        CURLU *u = curl_url();
        char *host = NULL;
        struct in_addr address;
        bool loopback = false;

        if (u && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
            curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK)
                loopback = strcasecmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 ||
                           (inet_pton(AF_INET, host, &address) == 1 &&
                            ntohl(address.s_addr) >> 24 == 127);
        curl_free(host);
        curl_url_cleanup(u);
        return loopback;
}

static long us_to_ms(int64_t us) {
        return us < US_PER_MS ? 1 : (long) (us / US_PER_MS); /* 0 would mean libcurl's default */
}

#define SET(option, ...)                                                                           \
        (code = code != CURLE_OK ? code : curl_easy_setopt(easy, option, __VA_ARGS__))

int connection_set(CURL *easy, const struct connection *c) {
        bool loopback = connection_is_loopback(c->url);
        CURLcode code = CURLE_OK;

        SET(CURLOPT_URL, c->url);
        SET(CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
        SET(CURLOPT_NOSIGNAL, 1L);
        SET(CURLOPT_QUICK_EXIT, 1L); /* or the end of a call waits for its name to be resolved */
        SET(CURLOPT_PROTOCOLS_STR, c->allow_http && loopback ? "https,http" : "https");
        SET(CURLOPT_FOLLOWLOCATION, 0L);
        if (loopback)
                SET(CURLOPT_PROXY, "");
        SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
        SET(CURLOPT_TIMEOUT_MS, us_to_ms(c->timeout_us));
        SET(CURLOPT_CONNECTTIMEOUT_MS,
            us_to_ms(c->timeout_us < HTTP_CONNECT_US ? c->timeout_us : HTTP_CONNECT_US));
        SET(CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
        SET(CURLOPT_SSL_VERIFYPEER, 1L);
        SET(CURLOPT_SSL_VERIFYHOST, 2L);
        SET(CURLOPT_CAINFO, connection_ca_file(c));
        SET(CURLOPT_CAPATH, NULL); /* with one, libcurl parses the bundle for each connection */
        SET(CURLOPT_CA_CACHE_TIMEOUT, (long) HTTP_CA_CACHE_S);
        return code == CURLE_OK              ? 0
               : code == CURLE_OUT_OF_MEMORY ? RAISE(-ENOMEM)
                                             : RAISE(-EOPNOTSUPP);
}
