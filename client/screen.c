#include "client/screen.h"

#include <langinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "client/columns.h"
#include "client/message.h"

#define SCREEN_COLUMNS 80 /* where the terminal does not tell */
#define SCREEN_ROWS    24

static const struct {
        const char *on, *off;
} screen_colours[] = {
        [COLOUR_NONE] = { "", "" },
        [COLOUR_GOOD] = { "\033[32m", "\033[0m" },
        [COLOUR_WAITING] = { "\033[33m", "\033[0m" },
        [COLOUR_BAD] = { "\033[31m", "\033[0m" },
};

void screen_look(struct screen *ret) {
        const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
        struct winsize size = { 0 };

        message_begin(); /* which characters there are */
        ret->terminal = isatty(STDOUT_FILENO) && !(term && strcmp(term, "dumb") == 0);
        ret->colour = ret->terminal && !(no_color && *no_color);
        ret->utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
        (void) ioctl(STDOUT_FILENO, TIOCGWINSZ, &size); /* zeros if it is no terminal */
        ret->columns = size.ws_col ? size.ws_col : SCREEN_COLUMNS;
        ret->rows = size.ws_row ? size.ws_row : SCREEN_ROWS;
}

const char *screen_colour_on(enum colour colour) {
        return screen_colours[colour].on;
}

const char *screen_colour_off(enum colour colour) {
        return screen_colours[colour].off;
}

const char *screen_bold_on(const struct screen *screen) {
        return screen->terminal ? "\033[1m" : "";
}

const char *screen_bold_off(const struct screen *screen) {
        return screen->terminal ? "\033[0m" : "";
}

void screen_status(const struct screen *screen, const char *text) {
        if (!screen->terminal)
                return;
        (void) printf("\r%.*s\033[K", (int) columns_fit(text, screen->columns - 1), text);
        (void) fflush(stdout);
}
