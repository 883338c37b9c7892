#pragma once
/*
 * Providers and the network to them, as they truly are
 *
 * Knows every grant and token that was ever given, and what became of it: the truth that the laws
 * compare with. Each provider has its weather: it is fine, slow, flaky, lies, or fails in one of
 * the many ways of networks and gateways.
 *
 * Refresh tokens of one grant are numbered: "rt.CREDENTIAL.SUBJECT.NUMBER". Access tokens are
 * "at.INDEX".
 */

#include "conf/conf.h"
#include "http/transport.h"
#include "sim.h"

#define PROVIDERS   3
#define TYPES       4 /* credentials of each provider: jwt, code, pkce, device */
#define CREDENTIALS (PROVIDERS * TYPES)
#define SUBJECTS    200

enum weather {
        FINE,
        SLOW,
        FLAKY,
        LOSSY, /* acts, and answers get lost */
        LYING,
        LIMITING,
        /* nothing works from here on */
        REFUSING,
        BLACK_HOLE,
        HANGING,
        BUSY,
        GATEWAY,
        PORTAL,
        WEATHER_MAX,
};
extern const char *const weather_names[WEATHER_MAX];

struct consent { /* of one subject of an interactive credential */
        const struct conf_credential *credential;
        char subject[16];
        unsigned issued;    /* the newest refresh token that was made; 0: none ever */
        unsigned delivered; /* the newest that reached the daemon that lives now */
        unsigned durable;   /* the one on the disk; 0: no row */
        unsigned unsaved;   /* the newest that the disk has refused */
        unsigned refused;   /* the newest that was clearly refused to the daemon that lives now */
        unsigned forgotten; /* a person has forgotten all up to this one ... */
        bool may_come_back; /* ... and was told that the disk did not take it */
        mono_t ends;        /* of the newest refresh token */
        bool over;          /* revoked, or refused for good */
        bool logging_in;
        unsigned presented; /* requests under way with its refresh tokens */
};

struct token_truth {
        const struct conf_credential *credential;
        char subject[16];
        unsigned number;  /* of the refresh token that came with it; 0: jwt */
        unsigned context; /* jwt: of the session */
        mono_t expires;
};

struct provider_state {
        enum weather weather;
        /* Its Date goes, or seems to go, behind what the daemon has seen: that answer is doubted */
        bool leaps_back;
        int64_t offset_s;   /* of its clock from true time */
        mono_t calm_from;   /* there was trouble until then, or there will be */
        bool deactivated;   /* all its applications are */
        mono_t outage_from; /* of weather in which nothing works; MONO_NEVER: none */
};

extern struct provider_state providers[PROVIDERS];
extern struct consent consents[CREDENTIALS][SUBJECTS];

void providers_begin(const struct conf *conf);
struct transport *provider_transport(void);
void provider_daemon_died(void); /* its connections are gone, what was sent may still act */
void provider_set_weather(unsigned p, enum weather w);
void provider_trouble(unsigned p, int64_t for_us); /* nothing is expected of it until then */
void all_trouble(int64_t for_us);
bool provider_is_calm(unsigned p);
unsigned provider_of(const struct conf_credential *c);

struct consent *consent_find(const char *credential, const char *subject); /* NULL: none such */
/* Should it work? It was given, reached us, was not forgotten, and is still good. */
bool consent_is_alive(const struct consent *c);
const struct token_truth *token_truth_find(const char *value);
/* The number in a refresh token's text, and whose it is. */
struct consent *refresh_token_parse(const char *text, unsigned *ret_number);

unsigned provider_worst_hour(void); /* the most requests that an hour of outage has cost */
unsigned long provider_requests(void);
extern unsigned provider_budget; /* 0: the law is not enforced */
/* Faults between the daemon and the network */
extern bool fault_single_line;    /* an outage of one provider holds up the answers of all */
extern unsigned fault_repeats;    /* each request is sent so many times more */
extern bool fault_presents_first; /* the first refresh token, not the one that is meant */

void device_decide(const struct consent *c, bool yes); /* the person at the other device */
