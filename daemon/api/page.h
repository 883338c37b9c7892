#pragma once
/*
 * Page: what a browser sees that comes back from the authorization server
 *
 * HTML in Chinese and English, complete in itself: no script, nothing to load, nothing to keep. It
 * shows no part of the address the browser came by.
 *
 * Threading: pure functions.
 */

#include "api/reply.h"

enum page {
        PAGE_SUCCEEDED,
        PAGE_WORKING, /* the provider has not answered yet */
        PAGE_DENIED,
        PAGE_EXPIRED,
        PAGE_FAILED,
        PAGE_CANCELLED,
        PAGE_OVER,       /* nothing waits for this state (any more) */
        PAGE_INCOMPLETE, /* state, code and error: something lacks, or is there twice */
        PAGE_ADDRESS,    /* asked for under a name that is not in the redirect_uri */
        PAGE_ABSENT,
        PAGE_METHOD,
        PAGE_MAX,
};

/* `detail`, which is shown below the text, may hold anything; NULL or "": none. Cut at WHY_MAX. */
struct reply page_make(enum page page, const char *detail);
