#pragma once
/*
 * Large letters, to be read across a room
 *
 * What user codes are made of (RFC 8628 section 6.1): capitals, digits and the hyphen.
 */

struct pixels;

/* `text` in letters of 5 by 7 pixels, one pixel between them. NULL: it has a character that there
 * is no letter for, or it is too long. pixels_free(). */
struct pixels *letters_make(const char *text);
