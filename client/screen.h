#pragma once
/*
 * Standard output, when a person looks at it
 *
 * What the terminal there can show, and how to show it: colours, and one line that is written
 * again and again. In a pipe, and on a terminal without escapes (TERM=dumb), everything here does
 * nothing.
 */

#include <stdbool.h>

enum colour {
        COLOUR_NONE,
        COLOUR_GOOD,
        COLOUR_WAITING,
        COLOUR_BAD,
};

struct screen {
        bool terminal;     /* that understands escapes */
        bool colour;       /* and the person wants colours: NO_COLOR is not set */
        bool utf8;         /* it shows blocks and quadrants */
        int columns, rows; /* of the terminal; 80 and 24 where there is none */
};

/* Looks at standard output. Takes LC_CTYPE from the environment. */
void screen_look(struct screen *ret);

/* What goes before and behind text to colour it; "" for COLOUR_NONE. */
const char *screen_colour_on(enum colour colour);
const char *screen_colour_off(enum colour colour);

const char *screen_bold_on(const struct screen *screen);
const char *screen_bold_off(const struct screen *screen);

/* Shows `text` in the line where the cursor is, instead of what it showed before; "" clears it.
 * Text that is too wide is cut. */
void screen_status(const struct screen *screen, const char *text);
