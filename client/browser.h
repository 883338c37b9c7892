#pragma once
/*
 * The person's web browser
 *
 * Opened by xdg-open(1), which takes the address as an argument, so that everybody on the machine
 * can read it in ps for a moment. The address of an authorization holds no secret but its `state`:
 * who reads it in time could have another account authorized in the person's place, and no more.
 */

#include <stdbool.h>

/* True when there is a display, and it is the person's own: not at the other end of ssh. */
bool browser_is_near(void);

/* Opens the address, without waiting for the browser. False: it could not be started. */
bool browser_open(const char *url);
