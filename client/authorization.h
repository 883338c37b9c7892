#pragma once
/*
 * An authorization, as the daemon tells of it
 *
 * A person is asked for a grant: pending, then over in one of five ways (design.md section 4).
 */

#include "client/ask.h"
#include "client/screen.h"

/* The object in the answer, NULL if it is none or has no usable id: said so. json_object_put(). */
struct json_object *authorization_read(const struct wire_answer *answer);

/* "/v1/authorizations/ID". 0; -EINVAL: that is no id. */
int authorization_path(struct wire_path *path, const char *id);

bool authorization_is_pending(struct json_object *o);

/* Its state, to people; `ret` if it is of a newer daemon. */
const char *authorization_shown(struct json_object *o, char ret[ASK_SHOWN_SIZE]);

enum colour authorization_colour(struct json_object *o);

/* How one that is over counts. */
int authorization_exit_code(struct json_object *o);

/* Says how it ended and what to do next: success on standard output, else on standard error. */
void authorization_explain(const struct call *call, struct json_object *o);

/* "bot", or "bot for alice". Returns `ret`. */
char *authorization_who(const struct call *call, char ret[ASK_SENTENCE_SIZE]);

/* Has the daemon cancel it. EXIT_DONE, or an exit code and it has been said why not. */
int authorization_cancel(const struct call *call, const char *id);
