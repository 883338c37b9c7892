#pragma once
/*
 * Probe: how far one gets on the way to a provider, and what is in the way
 *
 * For who diagnoses. A GET that is made as the transport makes its requests, told step by step: the
 * name, the connection, TLS, the answer. Where it stops, a word says why, for a program to judge by,
 * and a line says it in the words of whoever found it.
 *
 * Threading: probe_run() blocks, for as long as the longest time-out among its probes and
 *            PROBE_LOOKUP_US; not on the daemon's loop. libcurl has to be set up by
 *            transport_curl_new() before.
 * Sources:   curl_easy_getinfo(3), openssl-verification-options(1), RFC 9110.
 */

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/secret.h"
#include "http/transport.h"

#define PROBE_LOOKUP_US   (2 * US_PER_S) /* to find out why a name does not resolve */
#define PROBE_NAME_MAX    256
#define PROBE_AT_ONCE_MAX 64

enum probe_step { /* in the order in which they are taken */
        PROBE_NAME,
        PROBE_CONNECT,
        PROBE_TLS,
        PROBE_ANSWER,
        PROBE_DONE, /* an answer came, or the connection is there and no more was asked for */
};

enum probe_problem {
        PROBE_OK,
        PROBE_TIMEOUT,
        /* of PROBE_NAME */
        PROBE_NAME_UNKNOWN, /* the name service says that there is none */
        PROBE_NO_NAME_SERVICE,
        PROBE_PROXY_NAME, /* that of the proxy */
        /* of PROBE_CONNECT */
        PROBE_REFUSED,
        PROBE_UNREACHABLE,
        PROBE_PROXY_REFUSED, /* the proxy does not let us through: `status` is what it said */
        /* of PROBE_TLS */
        PROBE_NOT_YET_VALID, /* by our clock, as the next */
        PROBE_EXPIRED,
        PROBE_UNTRUSTED,
        PROBE_OTHER_HOST, /* the certificate is for another name */
        PROBE_NOT_TLS,    /* the other side speaks something else */
        PROBE_CA_FILE,
        PROBE_HANDSHAKE,
        /* of PROBE_ANSWER */
        PROBE_CLOSED,
        PROBE_OTHER,
        PROBE_PROBLEM_MAX,
};
extern const char *const probe_problem_names[PROBE_PROBLEM_MAX];

struct probe {
        /* What to ask; borrowed. */
        const char *url;
        const char *ca_file; /* NULL: the system's */
        bool allow_http;
        const struct secret *authorization; /* the header's value, or NULL for none */
        bool connect_only;                  /* up to TLS; nothing is asked */
        int64_t timeout_us;

        /* What came of it: probe_done(). Texts are cleaned, and "" if not known. */
        enum probe_step step; /* where it ended */
        enum probe_problem problem;
        char detail[HTTP_PROBLEM_MAX];  /* of the problem, for people; no secret in it */
        char proxy[PROBE_NAME_MAX];     /* asked through this one, without user and password ... */
        char proxy_variable[16];        /* ... as this variable of the environment says */
        char address[INET6_ADDRSTRLEN]; /* connected to */
        bool has_certificate;
        char subject[PROBE_NAME_MAX], issuer[PROBE_NAME_MAX];
        char names[PROBE_NAME_MAX]; /* that it is for */
        wall_t not_before, not_after;
        int64_t took_us;
        int status;
        char content_type[HTTP_TYPE_MAX], logid[HTTP_LOGID_MAX];
        bool has_date;
        wall_t date;     /* the provider's clock ... */
        wall_t received; /* ... at this time of ours */
        struct secret *body;
};

/* Makes all of them at the same time. 0: each says how it went; -ENOMEM; -EOPNOTSUPP. */
int probe_run(struct probe *probes, size_t n, const struct clock *clock);

void probe_done(struct probe *p); /* safe on a zeroed struct */
