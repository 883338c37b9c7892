#pragma once
/*
 * What a person is shown who shall authorize something
 *
 * An address for the browser, which is opened if it is near, or a code for another device: in
 * large letters and as a QR code as far as the terminal can show and hold them. In a pipe it is
 * plain text, a line for each thing.
 */

#include <stdbool.h>
#include <stdint.h>

#include "client/authorization.h"
#include "client/screen.h"

/* True for an address of a web page without anything that a terminal or a program could stumble
 * over. */
bool prompt_is_address(const char *text);

/* Shows the pending authorization `o`, which holds an authorization_url or a user_code with its
 * verification_uri: prompt_is_address(). Returns true if the person has been asked to paste the
 * address at which the browser ends. */
bool prompt_show(const struct call *call, const struct screen *screen, struct json_object *o);

/* How long there is still time, in the line where the cursor is; again and again. */
void prompt_count_down(const struct screen *screen, int64_t left_s);
