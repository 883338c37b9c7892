#pragma once
/*
 * The daemon's advice in the reader's language
 *
 * What a provider refuses, the daemon explains with sentences that do not change (daemon/provider/): those are known here, and
 * translated. A test compares the two.
 */

/* `text` is one of them, or ends with one behind a full stop: that one in the reader's language, valid for ever. NULL: it is
 * another, or the language is English. */
const char *advice_translate(const char *text);
