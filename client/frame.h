#pragma once
/*
 * Frames: a terminal that is drawn again and again
 *
 * Between frames_begin() and frames_end() the terminal is ours: its other screen, without a cursor. It is given back as it was
 * by frames_end(), and by whatever signal ends or stops us; who comes back from a stop finds it drawn anew.
 *
 * A frame is what is printed between frame_begin() and frame_end(). It is shown as a whole, over the one before, so that
 * nothing flickers, and never has more lines than the screen.
 *
 * Threading: one thread.
 * Sources:   ECMA-48; xterm's private modes 7, 25 and 1049.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "client/screen.h"

void frames_begin(void);
void frames_end(void); /* no effect if they have not begun */

struct frame { /* zeroed: empty */
        char *text;
        size_t len;
        FILE *output, *error; /* what they are else */
};

/* From here on, what goes to standard output or error goes into the frame, instead of what was there. False: out of memory. */
bool frame_begin(struct frame *f);
void frame_end(struct frame *f);
void frame_done(struct frame *f);

int frame_lines(const struct frame *f);

/* Shows one above the other. What is too much is cut: of the upper one at its end. */
void frame_show(const struct frame *upper, const struct frame *lower, const struct screen *screen);
