#pragma once
/*
 * Rendering: a token as an HTTP response, prepared
 *
 * The bare text and the JSON form are each made once a second at most (the seconds left change), and shared by all
 * connections, so that handing out a cached token makes nothing. Kept in the token, wiped with it.
 *
 * Threading: serving thread; freed by whoever drops the token.
 */

#include <microhttpd.h>
#include <stdbool.h>

#include "broker/token.h"

/* A response of the caller's own, for one answer: MHD_destroy_response(). Any thread. NULL: out of memory. */
struct MHD_Response *rendering_make(struct token *t, bool as_text, mono_t now);

/* The shared response to hand out now; borrowed, valid until the next call for this token. NULL: out of memory. */
struct MHD_Response *rendering_get(struct token *t, bool as_text, mono_t now);
