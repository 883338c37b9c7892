#pragma once
/*
 * Unit sockets: what LoadCredential=ID:SOCKET of a systemd unit reads from
 *
 * The service manager connects while it starts a unit, from an abstract address that says for which
 * unit and which credential ID. Root alone is believed, for anybody can bind such an address. Who
 * may have the token gets it, bare, and the end of the connection; all others get the end alone,
 * and the log says why.
 *
 * Threading: loop thread only.
 * Sources:   systemd.exec(5), LoadCredential=; design.md section 7.
 */

#include <sys/un.h>
#include <systemd/sd-event.h>

#include "broker/broker.h"
#include "conf/conf.h"

#define UNIT_SOCKET_CONNECTIONS_MAX 128             /* at once; more wait to be accepted */
#define UNIT_SOCKET_WRITE_US        (10 * US_PER_S) /* to take the token, once it is there */
#define UNIT_SOCKET_PAUSE_US        (1 * US_PER_S)  /* after an accept(2) that failed */

#define UNIT_ADDRESS_MAX (sizeof(((struct sockaddr_un *) NULL)->sun_path)) /* with a NUL behind */

struct audit;
struct unit_sockets;

struct unit_sockets_parts { /* all borrowed */
        const struct conf *conf;
        const int *fds; /* one for each socket of the configuration */
        struct broker *broker;
        struct audit *audit;
        sd_event *event;
};

/* Serves those sockets whose protocol it is. 0, -ENOMEM, or what sd-event said. */
int unit_sockets_new(const struct unit_sockets_parts *parts, struct unit_sockets **ret);

struct unit_doors;

/* Gets ready for another configuration, whose sockets have these descriptors, and takes it over before the broker does:
 * who waits and may not any more is refused. 0, -ENOMEM. */
int unit_sockets_prepare(const struct conf *conf, const int *fds, struct unit_doors **ret);
void unit_sockets_adopt(struct unit_sockets *s, struct unit_doors *doors);
struct unit_doors *unit_doors_free(struct unit_doors *doors); /* not adopted */

/* Accepts no more. Who waits for a token is answered by broker_stop(). */
void unit_sockets_stop(struct unit_sockets *s);

size_t unit_sockets_visits(const struct unit_sockets *s); /* that are under way */

/* After broker_stop(), so that nobody waits. Returns NULL. */
struct unit_sockets *unit_sockets_free(struct unit_sockets *s);

struct unit_address { /* what the service manager's address says; each ends in a NUL */
        char unit[UNIT_ADDRESS_MAX];
        char credential[UNIT_ADDRESS_MAX];
        char subject[UNIT_ADDRESS_MAX]; /* "" for none */
};

/* Reads "\0RANDOM/unit/UNIT/ID", where RANDOM is up to 16 hex digits and ID is a credential's name,
 * or NAME@SUBJECT. `len` is what the kernel gave with it. 0 or -EINVAL. A pure function. */
int unit_address_parse(const struct sockaddr_un *address, socklen_t len, struct unit_address *ret);
