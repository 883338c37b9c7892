#pragma once
/*
 * What is said to people, in their language
 *
 * English is in the sources and needs nothing; the catalogues are client/po/LANGUAGE.po (gettext). The
 * locale is looked at, and a catalogue opened, with the first sentence: who only hands over a token
 * says none and pays nothing. What programs read (JSON, names, exit codes) is never translated.
 *
 * Whole sentences, so that another language can order them as it must (%1$s). A format is written
 * where it is used, say(_("..."), ...), so that the compiler checks the arguments; msgfmt
 * --check-format compares the translation.
 *
 * Threading: one thread; errno is kept.
 * Sources:   gettext(3), locale(7).
 */

#include <stdbool.h>

#define _(text)  message(text)
#define N_(text) text /* to be translated where it is printed: of a table */

/* Takes LC_CTYPE and LC_MESSAGES from the environment; once. Whoever asks for text need not. */
void message_begin(void);

/* `text` in the reader's language, else itself. Valid for ever. */
const char *message(const char *text) __attribute__((format_arg(1)));

/* There is no catalogue of the reader's language: what else is said besides something English would
 * only say it twice. */
bool message_is_english(void);

/* strerror(3) in that language: `number` is positive. */
const char *message_errno(int number);
