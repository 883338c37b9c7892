#pragma once
/*
 * Credentials: does the provider take them?
 *
 * What a look at the configuration cannot tell: whether the key is the one that was uploaded, whether
 * the region is right, whether somebody has revoked the token. Only what leaves no trace is asked: a
 * jwt credential for a token, which ends unused; a static one for whose it is. A refresh token is never
 * touched: it would be spent. What is refused in the way that one of another region is, is shown to the
 * other of the two regions, too, if it is signed and says nothing but a key's name; a token never is.
 *
 * Threading: runs the event loop that the transport is on; blocks for up to three times
 *            CHECK_PATIENCE_US.
 */

#include <systemd/sd-event.h>

#include "base/random.h"
#include "check/reach.h"
#include "http/transport.h"

struct credentials_parts { /* all borrowed */
        const struct conf *conf;
        struct reach *reaches; /* as reach_providers() made them; NULL: nobody is asked */
        sd_event *event;
        const struct transport *transport;
        const struct clock *clock;
        const struct random *random;
        FILE *out;
};

/* Tells a fact about each credential. 0; -ENOMEM; as fact_tell(); what the loop said. */
int credentials_check(const struct credentials_parts *parts);
