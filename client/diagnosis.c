#include "client/diagnosis.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "client/advice.h"
#include "client/member.h"
#include "client/message.h"
#include "client/mistake.h"
#include "client/words.h"

#define N_ELEMENTS(a) (sizeof(a) / sizeof((a)[0]))

/* What is known besides the problem's name. */
enum evidence {
        REGIONAL = 1 << 0,    /* refused as something of the other region would be */
        BUILT_IN = 1 << 1,    /* one of the two that everybody mixes up */
        WORKS = 1 << 2,       /* the other region takes the key */
        NOT_THERE = 1 << 3,   /* the other region refuses it, too */
        STATIC = 1 << 4,      /* a token that somebody made, not a key */
        PROXY = 1 << 5,       /* requests go through one */
        OWN_CA = 1 << 6,      /* the provider has a ca_file */
        UNKEPT = 1 << 7,      /* nobody keeps the clock of this machine right */
        SWAPPED = 1 << 8,     /* api_url looks like that of the web pages */
        HIJACKED = 1 << 9,    /* an address that is not of the Internet */
        KEY_ID_ODD = 1 << 10, /* does not look like a fingerprint */
        APPLICATION = 1 << 11,
        ADDRESSED = 1 << 12,  /* it is known which address it was */
        OTHERWISE = 1 << 13,  /* no row has fitted so far */
        PERSONAL = 1 << 14,   /* it is that of bearerd --user */
        WORKS_HERE = 1 << 15, /* what a daemon fails with works for who looks */
        TRANSIENT = 1 << 16,  /* refused for now, for no fault of the reader's */
};

/* Of this machine, a private network, or what filters and VPNs make up. */
static bool address_is_unlikely(const char *address) {
        static const char *const beginnings[] = { "0.0.0.0", "127.", "10.",  "192.168.", "198.18.",
                                                  "198.19.", "::",   "fc00", "fd" };

        for (size_t i = 0; address && i < N_ELEMENTS(beginnings); i++)
                if (strncmp(address, beginnings[i], strlen(beginnings[i])) == 0)
                        return true;
        return false;
}

static unsigned fact_evidence(struct json_object *fact) {
        const bool built_in = member_is(fact, "provider", "coze.cn") ||
                              member_is(fact, "provider", "coze.com");
        unsigned e = 0;

        e |= built_in ? BUILT_IN : 0;
        e |= member_is_true(fact, "region") ? REGIONAL : 0;
        e |= member_text(fact, "works_at") ? WORKS : 0;
        e |= member_text(fact, "refused_at") ? NOT_THERE : 0;
        e |= member_is(fact, "type", "pat") || member_is(fact, "type", "sat") ? STATIC : 0;
        e |= member_text(fact, "proxy") ? PROXY : 0;
        e |= member_is_true(fact, "own_ca") ? OWN_CA : 0;
        e |= member_is_true(fact, "synchronized") ? 0 : UNKEPT;
        e |= member_is_true(fact, "swapped") ? SWAPPED : 0;
        e |= built_in && !member_text(fact, "proxy") &&
                             address_is_unlikely(member_text(fact, "address"))
                     ? HIJACKED
                     : 0;
        e |= member_is_true(fact, "key_id_odd") ? KEY_ID_ODD : 0;
        e |= member_is(fact, "type", "jwt") ? APPLICATION : 0;
        e |= member_text(fact, "address") ? ADDRESSED : 0;
        e |= member_is_true(fact, "user") ? PERSONAL : 0;
        e |= member_is_true(fact, "works_here") ? WORKS_HERE : 0;
        e |= member_is(fact, "kind", "transient") ? TRANSIENT : 0;
        return e;
}

/* --- sentences with {members} of a fact --- */

static void put(char *ret, size_t size, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

/* Appends; cut is fine. */
static void put(char *ret, size_t size, const char *format, ...) {
        size_t used = strlen(ret);
        va_list ap;

        va_start(ap, format);
        (void) vsnprintf(ret + used, size - used, format, ap);
        va_end(ap);
}

static void put_text(char *ret, size_t size, const char *text) {
        char clean[DIAGNOSIS_TEXT_SIZE];

        put(ret, size, "%s", words_clean(text, clean, sizeof(clean)));
}

static void put_time(char *ret, size_t size, int64_t at) {
        char date[32] = "?";
        time_t t = (time_t) at;
        struct tm tm;

        if (gmtime_r(&t, &tm))
                (void) strftime(date, sizeof(date), "%Y-%m-%d %H:%M UTC", &tm);
        put(ret, size, "%s", date);
}

/* "HTTP 401 invalid_client: bad kid; logid 2024..." */
static void put_refusal(char *ret, size_t size, struct json_object *fact) {
        const char *error = member_text(fact, "error"), *message = member_text(fact, "message"),
                   *logid = member_text(fact, "logid");
        int64_t status = 0;

        if (member_get_number(fact, "status", &status))
                put(ret, size, "HTTP %" PRId64, status);
        if (error) {
                put(ret, size, " ");
                put_text(ret, size, error);
        }
        if (message) {
                put(ret, size, ": ");
                put_text(ret, size, message);
        }
        if (logid) {
                put(ret, size, "; logid ");
                put_text(ret, size, logid);
        }
}

static bool is_one_of(const char *name, const char *const *names) {
        while (*names && strcmp(*names, name) != 0)
                names++;
        return *names;
}

static void put_member(char *ret, size_t size, struct json_object *fact, const char *name) {
        static const char *const times[] = { "not_before", "not_after", "now", "expires_at", NULL };
        static const char *const spans[] = { "skew_s", "left_s", "lifetime_s", "waited_s", NULL };
        char span[WORDS_SPAN_SIZE], text[DIAGNOSIS_TEXT_SIZE];
        int64_t number;

        if (strcmp(name, "refusal") == 0)
                put_refusal(ret, size, fact);
        else if (strcmp(name, "other") == 0)
                put(ret, size, "%s",
                    member_is(fact, "provider", "coze.cn") ? "coze.com" : "coze.cn");
        else if (member_text(fact, name) && strcmp(name, "message") == 0)
                put_text(ret, size, mistake_translate(member_text(fact, name), text, sizeof(text)));
        else if (member_text(fact, name))
                put_text(ret, size, member_text(fact, name));
        else if (!member_get_number(fact, name, &number))
                put(ret, size, "?");
        else if (is_one_of(name, times))
                put_time(ret, size, number);
        else if (is_one_of(name, spans))
                put(ret, size, "%s", words_span(number < 0 ? -number : number, span));
        else
                put(ret, size, "%" PRId64, number);
}

static void expand(const char *text, struct json_object *fact, char ret[DIAGNOSIS_TEXT_SIZE]) {
        char name[32];

        ret[0] = '\0';
        while (*text) {
                size_t plain = strcspn(text, "{"), len;

                put(ret, DIAGNOSIS_TEXT_SIZE, "%.*s", (int) plain, text);
                text += plain;
                if (!*text)
                        break;
                len = strcspn(++text, "}");
                (void) snprintf(name, sizeof(name), "%.*s", (int) len, text);
                put_member(ret, DIAGNOSIS_TEXT_SIZE, fact, name);
                text += len + (text[len] == '}');
        }
}

/* --- what was found --- */

/* clang-format off */
static const struct {
        const char *check, *problem; /* problem NULL: there is none */
        unsigned with, without;      /* evidence */
        const char *found;
} sentences[] = {
        { "configuration", NULL, 0, 0, N_("{file} and the keys it names are good (credentials: {credentials}, sockets: {sockets})") },
        { "configuration", "empty", 0, 0, N_("{file} names no credential, or is not there") },
        { "configuration", "invalid", 0, 0, N_("{file} has mistakes; bearerd would not start with it") },
        { "configuration", "mistake", 0, 0, "{message}" },
        { "configuration", "doubt", 0, 0, "{message}" },
        { "eligibility", NULL, 0, 0, N_("Coze allows what each credential is to its plan and role") },
        { "eligibility", "unset", 0, 0, N_("of {credentials} credentials, {unset} say neither plan nor role") },
        { "key_file", NULL, 0, 0, N_("{file} holds the key that grants are sealed under") },
        { "key_file", "absent", 0, 0, N_("{file} is not there yet: bearerd makes it when it first starts") },
        { "key_file", "unseen", 0, 0, N_("{file} cannot be read from here: only root and bearerd can") },
        { "key_file", "unusable", 0, 0, "{message}" },
        { "name", NULL, PROXY, 0, N_("{host}: through the proxy {proxy} ({proxy_variable})") },
        { "name", NULL, ADDRESSED, 0, N_("{host} is {address}") },
        { "name", NULL, 0, 0, N_("{host} resolves") },
        { "name", "unknown_name", 0, 0, N_("there is no host {host}: {detail}") },
        { "name", "proxy_name", 0, 0, N_("the proxy {proxy} does not resolve: {detail}") },
        { "name", "timeout", 0, 0, N_("{host} did not resolve within {waited_s}") },
        { "name", "no_name_service", 0, 0, N_("{host} does not resolve: {detail}") },
        { "connection", NULL, PROXY, 0, N_("{host} port {port} is reached through {proxy}") },
        { "connection", NULL, 0, 0, N_("{host} port {port} is reached") },
        { "connection", "refused", 0, 0, N_("{host} port {port} refuses connections") },
        { "connection", "unreachable", 0, 0, N_("there is no way to {host} port {port}: {detail}") },
        { "connection", "timeout", 0, 0, N_("no connection to {host} port {port} within {waited_s}") },
        { "connection", "proxy_refused", 0, 0, N_("the proxy {proxy} refuses to connect to {host}: HTTP {status}") },
        { "tls", NULL, 0, 0, N_("{host} is who it says, by {issuer}, until {not_after}") },
        { "tls", "expires_soon", 0, 0, N_("the certificate of {host} ends soon: {not_after}") },
        { "tls", "not_yet_valid", 0, 0,
          N_("the certificate of {host} ({subject}) is good from {not_before} on, and here it is {now}") },
        { "tls", "expired", 0, 0,
          N_("the certificate of {host} ({subject}) was good until {not_after}, and here it is {now}") },
        { "tls", "untrusted", 0, 0, N_("the certificate of {host}, issued by {issuer}, is not trusted: {detail}") },
        { "tls", "other_host", 0, 0, N_("{host} shows a certificate that is for {names} ({subject})") },
        { "tls", "not_tls", 0, 0, N_("{host} port {port} does not speak TLS") },
        { "tls", "timeout", 0, 0, N_("{host} began TLS and said no more for {waited_s}") },
        { "tls", "ca_file", 0, 0, N_("the file of CA certificates cannot be used: {detail}") },
        { "answer", NULL, 0, 0, N_("{host} answers as the API does (HTTP {status}, {took_ms} ms)") },
        { "answer", "not_json", 0, 0,
          N_("{host} answers with HTTP {status} and {content_type}, which is not what the API says") },
        { "answer", "redirected", 0, 0, N_("{host} sends elsewhere (HTTP {status}), which the API does not do") },
        { "answer", "out_of_order", 0, 0, N_("{host} is out of order: HTTP {status}") },
        { "answer", "proxy_refused", 0, 0, N_("the proxy {proxy} refuses to ask {host}: HTTP {status}") },
        { "answer", "timeout", 0, 0, N_("{host} took the request and did not answer within {waited_s}") },
        { "answer", "closed", 0, 0, N_("{host} took the request and hung up: {detail}") },
        { "clock", NULL, 0, 0, N_("this machine and {host} agree on the time") },
        { "clock", "behind", 0, 0, N_("the clock of this machine is {skew_s} behind {host}") },
        { "clock", "ahead", 0, 0, N_("the clock of this machine is {skew_s} ahead of {host}") },
        { "credential", NULL, STATIC, 0, N_("{provider} takes the token") },
        { "credential", NULL, 0, 0, N_("{provider} gives a token, good for {lifetime_s}") },
        { "credential", "refused", STATIC, 0, N_("{provider} does not take the token: {refusal}") },
        { "credential", "refused", 0, 0, N_("{provider} gives no token: {refusal}") },
        { "credential", "no_answer", 0, 0, N_("{provider} was asked, without an answer: {detail}") },
        { "credential", "expired", 0, 0, N_("the token ended {left_s} ago, on {expires_at}") },
        { "credential", "expires_soon", 0, 0, N_("the token ends in {left_s}, on {expires_at}") },
        { "credential", "unreachable", 0, 0, N_("not asked: {provider} does not answer, see above") },
        { "credential", "offline", 0, 0, N_("not asked: --offline") },
        { "credential", "unseen", 0, 0, N_("not asked: its secret is for the service alone") },
        { "credential", "set_at_run_time", 0, 0, N_("its token is set at run time (bearerctl set {credential})") },
        { "credential", "needs_person", 0, 0, N_("a person authorizes it (bearerctl login {credential})") },
        { "daemon", NULL, 0, 0, N_("it runs, and answers at {socket}") },
        { "daemon", "absent", 0, 0, N_("it does not run: nobody answers at {socket}") },
        { "daemon", "denied", 0, 0, N_("it may not be asked by you: {socket}") },
        { "daemon", "authorization_required", 0, 0, N_("{credential} waits for a person to authorize it") },
        { "daemon", "expired", 0, 0, N_("the token of {credential} has ended") },
        { "daemon", "expires_soon", 0, 0, N_("the token of {credential} ends soon, on {expires_at}") },
        { "daemon", "failing", WORKS_HERE, 0, N_("{credential} fails there, but works from here: {refusal}") },
        { "daemon", "failing", 0, 0, N_("{credential} fails: {refusal}") },
};

static const struct {
        const char *check, *title;
} titles[] = {
        { "configuration", N_("configuration") }, { "eligibility", N_("eligibility") },
        { "key_file", N_("key") },                { "name", N_("DNS") },
        { "connection", N_("connection") },       { "tls", N_("TLS") },
        { "answer", N_("API") },                  { "clock", N_("clock") },
        { "daemon", "bearerd" },
};

/* clang-format on */

/* --- why that may be: in order of likelihood --- */

/* clang-format off */
static const struct rule {
        const char *check, *problem;
        const char *said;       /* in what the provider said, in any case of letters; NULL: anything */
        unsigned with, without; /* evidence */
        const char *id, *advice;
} rules[] = {
        /* the configuration; mistakes say themselves what to do */
        { "configuration", "empty", NULL, 0, 0, "credential",
          N_("Write a [credential NAME] section into it: see bearerd.conf(5).") },
        { "configuration", "empty", NULL, 0, PERSONAL, "user",
          N_("If your own is meant, that of bearerd --user: bearerctl check --user.") },
        { "configuration", "mistake", "permission denied", 0, 0, "permission",
          N_("If it is for the service to read, look as root: sudo bearerctl check.") },

        { "eligibility", "unset", NULL, 0, 0, "plan",
          N_("Write plan = personal, or plan = enterprise and role = admin or member, into their sections: then it is known "
             "whether Coze allows them.") },

        /* names */
        { "name", "unknown_name", NULL, 0, BUILT_IN, "url",
          N_("The name is misspelt: compare {url} in [provider {provider}].") },
        { "name", "unknown_name", NULL, 0, 0, "name_server",
          N_("The name server in use hides it, as some of companies, schools and filters do: compare getent hosts "
             "{host} with another machine.") },
        { "name", "unknown_name", NULL, BUILT_IN, 0, "network",
          N_("There is no network, or no name server in /etc/resolv.conf: does getent hosts debian.org work?") },
        { "name", "no_name_service", NULL, 0, 0, "network",
          N_("There is no network, or no name server in /etc/resolv.conf: does getent hosts debian.org work?") },
        { "name", "timeout", NULL, 0, 0, "network",
          N_("There is no network, or no name server in /etc/resolv.conf: does getent hosts debian.org work?") },
        { "name", "no_name_service", NULL, 0, 0, "sandbox",
          N_("In a container or a restricted unit, DNS does not get out: look at its network settings.") },
        { "name", "timeout", NULL, 0, 0, "sandbox",
          N_("In a container or a restricted unit, DNS does not get out: look at its network settings.") },
        { "name", "proxy_name", NULL, 0, 0, "proxy",
          N_("The proxy in {proxy_variable} is misspelt or gone: correct it, or unset it. The service has an environment "
             "of its own (systemctl edit bearerd, Environment=).") },

        /* connections */
        { "connection", NULL, NULL, HIJACKED, 0, "hijacked",
          N_("{address} is no address of {host}: look for it in /etc/hosts, and at filters and VPNs that answer for it.") },
        { "connection", "refused", NULL, 0, BUILT_IN, "url",
          N_("Nobody listens there: compare host and port of {url} in [provider {provider}], and see that the server "
             "runs.") },
        { "connection", "proxy_refused", NULL, 0, 0, "proxy",
          N_("The proxy wants a user and password, or does not allow {host}: ask who runs it; {proxy_variable} may hold "
             "http://USER:PASSWORD@HOST:PORT.") },
        { "connection", NULL, NULL, PROXY, 0, "proxy",
          N_("The proxy {proxy} does not work: correct {proxy_variable}, or unset it. The service has an environment of "
             "its own (systemctl edit bearerd, Environment=).") },
        { "connection", NULL, NULL, 0, PROXY, "firewall",
          N_("A firewall is in the way: let this machine connect to {host} port {port}, or name your proxy in https_proxy "
             "(for the service: systemctl edit bearerd, Environment=https_proxy=...).") },
        { "connection", NULL, NULL, 0, 0, "network",
          N_("The network is down, or IPv6 is announced and does not work: try curl -v {url}.") },

        { "connection", NULL, NULL, BUILT_IN, 0, "region",
          N_("The region is wrong, and the other one can be reached: if the account is at www.{other}, write provider = "
             "{other}.") },

        /* TLS */
        { "tls", NULL, NULL, HIJACKED, 0, "hijacked",
          N_("{address} is no address of {host}: look for it in /etc/hosts, and at filters and VPNs that answer for it.") },
        { "tls", "not_yet_valid", NULL, 0, 0, "clock",
          N_("The clock of this machine is behind: set it (timedatectl set-ntp true), and look at date.") },
        { "tls", "not_yet_valid", NULL, OWN_CA, 0, "certificate",
          N_("The certificate was made for later: give {host} one that is good now.") },
        { "tls", "expired", NULL, UNKEPT, OWN_CA, "clock",
          N_("The clock of this machine is ahead: set it (timedatectl set-ntp true), and look at date.") },
        { "tls", "expired", NULL, OWN_CA, 0, "certificate",
          N_("The certificate has run out: renew that of {host}.") },
        { "tls", "expired", NULL, 0, OWN_CA, "intercepted",
          N_("A proxy or firewall on the way shows a certificate of its own, which has run out (issuer {issuer}): ask who "
             "runs it.") },
        { "tls", "expired", NULL, 0, 0, "clock",
          N_("The clock of this machine is ahead: set it (timedatectl set-ntp true), and look at date.") },
        { "tls", "untrusted", NULL, OWN_CA, 0, "ca_file",
          N_("{ca_file} is not the CA that issued it: put the certificate of {issuer} there.") },
        { "tls", "untrusted", NULL, BUILT_IN, OWN_CA, "intercepted",
          N_("A proxy, firewall or virus scanner on the way opens TLS and shows a certificate of its own (issuer "
             "{issuer}). If that is as it should be, trust it: update-ca-certificates(8), or ca_file in [provider "
             "{provider}].") },
        { "tls", "untrusted", NULL, 0, BUILT_IN | OWN_CA, "ca_file",
          N_("It has a CA of its own: name its certificate with ca_file in [provider {provider}].") },
        { "tls", "untrusted", NULL, 0, OWN_CA, "ca_bundle",
          N_("The CA certificates of this machine are missing or old: apt install --reinstall ca-certificates.") },
        { "tls", "other_host", NULL, 0, BUILT_IN, "url",
          N_("The URL has another name than the certificate: use one of {names} in {url} of [provider {provider}].") },
        { "tls", "other_host", NULL, 0, 0, "intercepted",
          N_("Something else answers for {host}: a login page of the network, a proxy, or a wrong address in DNS or "
             "/etc/hosts.") },
        { "tls", "not_tls", NULL, 0, BUILT_IN, "url",
          N_("{url} has the wrong port, or is plain http: that takes http:// and allow_http = yes, on loopback "
             "only.") },
        { "tls", "not_tls", NULL, 0, 0, "intercepted",
          N_("Something else answers for {host}: a login page of the network, or a proxy.") },
        { "tls", "ca_file", NULL, OWN_CA, 0, "ca_file",
          N_("{ca_file} holds no certificate in PEM: put the CA's there.") },
        { "tls", "ca_file", NULL, 0, OWN_CA, "ca_bundle",
          N_("The CA certificates of this machine are missing: apt install ca-certificates.") },
        { "tls", "timeout", NULL, 0, 0, "firewall",
          N_("A firewall lets connections to {host} begin and then drops them: ask who runs it, or try another "
             "network.") },
        { "tls", "timeout", NULL, BUILT_IN, 0, "region",
          N_("The region is wrong, and the other one can be reached: if the account is at www.{other}, write provider = "
             "{other}.") },
        { "tls", "handshake", NULL, 0, 0, "firewall",
          N_("A firewall or proxy on the way ends TLS with {host}, or the server knows no TLS 1.2: try another "
             "network.") },
        { "tls", "other", NULL, 0, 0, "firewall",
          N_("A firewall or proxy on the way ends TLS with {host}, or the server knows no TLS 1.2: try another "
             "network.") },
        { "tls", "expires_soon", NULL, 0, 0, "certificate", N_("Renew the certificate of {host} in time.") },

        /* the answer */
        { "answer", "not_json", NULL, SWAPPED, 0, "swapped",
          N_("api_url and www_url of [provider {provider}] are swapped: {host} serves people, not programs.") },
        { "answer", "redirected", NULL, SWAPPED, 0, "swapped",
          N_("api_url and www_url of [provider {provider}] are swapped: {host} serves people, not programs.") },
        { "answer", "not_json", NULL, 0, BUILT_IN | SWAPPED, "url",
          N_("{url} is not the API: are api_url and www_url of [provider {provider}] swapped, or misspelt?") },
        { "answer", "redirected", NULL, 0, BUILT_IN | SWAPPED, "url",
          N_("{url} is not the API: are api_url and www_url of [provider {provider}] swapped, or misspelt?") },
        { "answer", "not_json", NULL, 0, 0, "intercepted",
          N_("A proxy, firewall or login page of the network answers in its place: open {url} in a browser on this "
             "network.") },
        { "answer", "redirected", NULL, 0, 0, "intercepted",
          N_("A proxy, firewall or login page of the network answers in its place: open {url} in a browser on this "
             "network.") },
        { "answer", "proxy_refused", NULL, 0, 0, "proxy",
          N_("The proxy wants a user and password: {proxy_variable} may hold http://USER:PASSWORD@HOST:PORT.") },
        { "answer", "out_of_order", NULL, 0, 0, "outage",
          N_("{provider} has trouble of its own: wait, and try again. bearerd does that by itself; tokens that it has "
             "stay good.") },
        { "answer", "timeout", NULL, 0, 0, "outage",
          N_("{provider} has trouble of its own: wait, and try again. bearerd does that by itself; tokens that it has "
             "stay good.") },
        { "answer", "closed", NULL, 0, 0, "outage",
          N_("{provider} has trouble of its own: wait, and try again. bearerd does that by itself; tokens that it has "
             "stay good.") },

        /* clocks */
        { "clock", NULL, NULL, UNKEPT, 0, "clock",
          N_("Nobody keeps the clock right: timedatectl set-ntp true (for a container, on its host). bearerd goes by the provider's clock and copes; "
             "certificates and other programs' tokens may not.") },
        { "clock", NULL, NULL, 0, UNKEPT, "clock",
          N_("The clock is kept, but not well: look at timedatectl timesync-status or chronyc tracking. bearerd goes by the provider's clock "
             "and copes; certificates and other programs' tokens may not.") },

        /* refusals: the region first, as that is what it mostly is */
        { "credential", NULL, NULL, WORKS, 0, "region",
          N_("The region is wrong: {works_at} knows this key. Write provider = {works_at} in [credential "
             "{credential}].") },
        { "credential", "refused", NULL, REGIONAL | BUILT_IN, WORKS | NOT_THERE | STATIC, "region",
          N_("The region is wrong: coze.cn and coze.com share no accounts, applications and keys. If the application was "
             "made at www.{other}, write provider = {other} in [credential {credential}].") },
        { "credential", "refused", NULL, REGIONAL | BUILT_IN | STATIC, 0, "region",
          N_("The region is wrong: coze.cn and coze.com share no accounts and tokens. If the token was made at "
             "www.{other}, write provider = {other} in [credential {credential}].") },
        { "credential", "refused", NULL, REGIONAL, BUILT_IN | WORKS, "region",
          N_("It is for another server: compare api_url and audience of [provider {provider}] with where the application "
             "or token was made.") },
        { "credential", "refused", NULL, REGIONAL | KEY_ID_ODD, WORKS, "public_key_id",
          N_("public_key_id is not a fingerprint: copy the one that Coze's console shows beside the public key of "
             "application {client_id}; the key itself, and its file's name, are not meant.") },
        { "credential", "refused", NULL, REGIONAL | APPLICATION, WORKS | KEY_ID_ODD, "public_key_id",
          N_("public_key_id is another: compare {key_id} with the fingerprint that Coze's console shows beside the public "
             "key of application {client_id}.") },
        { "credential", "refused", NULL, REGIONAL | APPLICATION, WORKS, "public_key",
          N_("The public key was not uploaded, or was deleted: look at the application {client_id} in Coze's console. One "
             "made just now takes some seconds to be known.") },
        { "credential", "refused", NULL, REGIONAL | APPLICATION, WORKS, "client_id",
          N_("client_id is another application's: {client_id} must be the id in the console's list of OAuth "
             "applications.") },
        { "credential", "refused", NULL, REGIONAL | APPLICATION, WORKS, "private_key",
          N_("The private key is not the other half of that public key: make a new pair in Coze's console and put its file "
             "in the place of this one.") },
        { "credential", "refused", "4101", STATIC, 0, "permission",
          N_("The token lacks the permission to tell whose it is, and is good otherwise: no matter, if calls work.") },
        { "credential", "refused", NULL, REGIONAL | STATIC, 0, "revoked",
          N_("The token has ended or was revoked: make a new one in Coze's console, then bearerctl set {credential}, or "
             "write it to token_file.") },
        { "credential", "refused", NULL, TRANSIENT, 0, "outage",
          N_("{provider} has trouble of its own: wait, and try again. bearerd does that by itself; tokens that it has "
             "stay good.") },
        { "credential", "refused", "deactivated", 0, 0, "deactivated",
          N_("The application is switched off in Coze's console: its owner can switch it on again.") },
        { "credential", "refused", "connector app should bind", 0, 0, "channel",
          N_("A channel application must be bound to a channel in Coze's console.") },
        { "credential", "refused", "connector app should bind", 0, 0, "application_type",
          N_("It is a channel application by mistake: make a normal one, the type cannot be changed.") },
        { "credential", "refused", "invalid app type", 0, 0, "application_type",
          N_("The application is of another type than [credential {credential}] says: compare type and application with "
             "Coze's console; the type of an existing one cannot be changed.") },
        { "credential", "refused", "verify jwt empty", 0, 0, "proxy",
          N_("A proxy on the way removes the Authorization header: ask who runs it.") },
        { "credential", "refused", "verify jwt empty", 0, 0, "application_type",
          N_("The application's client type is not service, which type = jwt needs: compare it with Coze's console.") },
        { "credential", "refused", "access_deny", OTHERWISE, 0, "installation",
          N_("The application is not installed, or not authorized by the account or enterprise: look at it in Coze's "
             "console; account_id and enterprise_id must be theirs.") },
        { "credential", "refused", "invalid_scope", 0, 0, "scope",
          N_("permissions, bot_ids, workspace_ids and workflow_ids ask for more than the application was granted; a scope "
             "works for channel applications only.") },
        { "credential", "refused", "invalid_request", 0, 0, "parameter",
          N_("A value was refused: compare token_lifetime, permissions and the ids of [credential {credential}] with Coze's "
             "console.") },
        { "credential", "expired", NULL, 0, 0, "expired",
          N_("Make a new token in Coze's console, then bearerctl set {credential}, or write it to token_file and correct "
             "expires_at. With type = jwt nobody has to.") },
        { "credential", "expires_soon", NULL, 0, 0, "expired",
          N_("Make a new token in Coze's console in time, then bearerctl set {credential}, or write it to token_file and "
             "correct expires_at. With type = jwt nobody has to.") },
        { "credential", "no_answer", NULL, 0, WORKS, "outage",
          N_("{provider} has trouble of its own, or a firewall on the way: wait, and try again.") },

        /* the daemon */
        { "daemon", "authorization_required", NULL, 0, STATIC, "login", N_("bearerctl login {credential}") },
        { "daemon", "authorization_required", NULL, STATIC, 0, "set",
          N_("Make a token in Coze's console, then bearerctl set {credential}.") },
        { "daemon", "expired", NULL, 0, 0, "set",
          N_("Make a new token in Coze's console, then bearerctl set {credential}.") },
        { "daemon", "expires_soon", NULL, 0, 0, "set",
          N_("Make a new token in Coze's console, then bearerctl set {credential}.") },
        { "daemon", "failing", NULL, WORKS_HERE, 0, "reload",
          N_("It still has the configuration or key of before: bearerctl reload.") },
        { "daemon", "failing", NULL, WORKS_HERE, 0, "proxy",
          N_("It has another environment, so that it goes through another proxy or none: systemctl edit bearerd, "
             "Environment=https_proxy=...") },
        { "daemon", "absent", NULL, 0, 0, "start", N_("systemctl start bearerd, or bearerd --user for your own.") },
};

/* clang-format on */

static bool said(struct json_object *fact, const char *text) {
        const char *message = member_text(fact, "message"), *error = member_text(fact, "error");

        return (message && strcasestr(message, text)) || (error && strcasestr(error, text));
}

static bool rule_fits(const struct rule *rule, struct json_object *fact, unsigned evidence) {
        return member_is(fact, "check", rule->check) &&
               (!rule->problem || member_is(fact, "problem", rule->problem)) &&
               (evidence & rule->with) == rule->with && !(evidence & rule->without) &&
               (!rule->said || said(fact, rule->said));
}

static void diagnosis_add(struct diagnosis *d, struct json_object *fact, const char *id,
                          const char *advice) {
        for (size_t i = 0; i < d->n_causes; i++)
                if (strcmp(d->causes[i].id, id) == 0)
                        return; /* a likelier row has it */
        if (d->n_causes == DIAGNOSIS_CAUSES_MAX)
                return;
        d->causes[d->n_causes].id = id;
        expand(advice, fact, d->causes[d->n_causes].advice);
        d->n_causes++;
}

static void diagnosis_find_causes(struct diagnosis *d, struct json_object *fact) {
        const unsigned evidence = fact_evidence(fact);

        if (!member_text(fact, "problem") || d->result == DIAGNOSIS_OK)
                return;
        for (size_t i = 0; i < N_ELEMENTS(rules); i++)
                if (rule_fits(&rules[i], fact, evidence | (d->n_causes == 0 ? OTHERWISE : 0)))
                        diagnosis_add(d, fact, rules[i].id, _(rules[i].advice));
        if (d->n_causes == 0 && member_text(fact, "advice")) {
                const char *translated = advice_translate(member_text(fact, "advice"));

                diagnosis_add(d, fact, "advice", translated ? translated : "{advice}");
        }
}

static void diagnosis_find_sentence(struct diagnosis *d, struct json_object *fact) {
        const unsigned evidence = fact_evidence(fact);
        const char *problem = member_text(fact, "problem");

        for (size_t i = 0; i < N_ELEMENTS(sentences); i++)
                if (member_is(fact, "check", sentences[i].check) &&
                    (problem ? sentences[i].problem && strcmp(problem, sentences[i].problem) == 0
                             : !sentences[i].problem) &&
                    (evidence & sentences[i].with) == sentences[i].with &&
                    !(evidence & sentences[i].without)) {
                        expand(_(sentences[i].found), fact, d->found);
                        return;
                }
        /* of a newer bearerd, or what nobody knows more of */
        if (member_text(fact, "host"))
                expand("{host}: {problem}", fact, d->found);
        else
                expand("{problem}", fact, d->found);
        if (member_text(fact, "detail"))
                put(d->found, sizeof(d->found), " (");
        put_text(d->found, sizeof(d->found),
                 member_text(fact, "detail") ? member_text(fact, "detail") : "");
        if (member_text(fact, "detail"))
                put(d->found, sizeof(d->found), ")");
}

/* Beyond the configuration: what a provider or the way to it does. */
static bool diagnosis_is_upstream(struct json_object *fact) {
        return !member_is(fact, "check", "configuration") &&
               !member_is(fact, "check", "key_file") && !member_is(fact, "check", "daemon") &&
               !(member_is(fact, "check", "credential") && member_is(fact, "problem", "expired"));
}

static const char *diagnosis_title(struct json_object *fact) {
        for (size_t i = 0; i < N_ELEMENTS(titles); i++)
                if (member_is(fact, "check", titles[i].check))
                        return _(titles[i].title);
        return member_text(fact, "credential") ? member_text(fact, "credential")
                                               : member_text(fact, "check");
}

bool diagnosis_make(struct json_object *fact, struct diagnosis *ret) {
        static const char *const results[DIAGNOSIS_RESULT_MAX] = {
                [DIAGNOSIS_OK] = "ok",
                [DIAGNOSIS_SKIP] = "skip",
                [DIAGNOSIS_WARN] = "warn",
                [DIAGNOSIS_FAIL] = "fail",
        };
        size_t result = 0;

        if (!member_text(fact, "check") || !member_text(fact, "result"))
                return false;
        while (result < DIAGNOSIS_RESULT_MAX && !member_is(fact, "result", results[result]))
                result++;
        if (result == DIAGNOSIS_RESULT_MAX)
                return false;
        *ret = (struct diagnosis){
                .result = (enum diagnosis_result) result,
                .upstream = diagnosis_is_upstream(fact),
                .title = diagnosis_title(fact),
        };
        diagnosis_find_sentence(ret, fact);
        diagnosis_find_causes(ret, fact);
        return true;
}
