#pragma once
/*
 * QR codes
 *
 * Made by libqrencode, which is loaded when a code is wanted and not before: whoever never shows
 * one does not need it, and does not pay for it.
 *
 * Sources: ISO/IEC 18004 (the quiet zone is four modules wide).
 */

struct pixels;

#define QR_QUIET 4 /* light modules around the code */

/* The code of `text` with its quiet zone; dark is on. NULL: there is no library, or too much
 * text. pixels_free(). */
struct pixels *qr_make(const char *text);
