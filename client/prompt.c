#include "client/prompt.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/browser.h"
#include "client/letters.h"
#include "client/pixels.h"
#include "client/qr.h"
#include "client/words.h"

#define PROMPT_LINES 3 /* that must be seen together: address, code, countdown */
#define PROMPT_AIR   3 /* lines that make it pleasant */
#define PROMPT_LEFT  2 /* columns before large letters */

#define PROMPT_QR_ON  "\033[30;47m" /* both colours, whatever the terminal's own are */
#define PROMPT_QR_OFF "\033[0m"

bool prompt_is_address(const char *text) {
        return (strncmp(text, "https://", 8) == 0 || strncmp(text, "http://", 7) == 0) &&
               words_is_token(text, strlen(text));
}

static bool prompt_is_true(struct json_object *o, const char *key) {
        struct json_object *v;

        return json_object_object_get_ex(o, key, &v) && json_object_get_boolean(v);
}

/* `before` and how long it is open, or "". Returns `ret`. */
static char *prompt_left(struct json_object *o, const char *before, char ret[64]) {
        const int64_t at = ask_number(o, "expires_at"), left = at - time(NULL);
        char span[WORDS_SPAN_SIZE];

        *ret = '\0';
        if (at >= 0)
                (void) snprintf(ret, 64, "%s%s", before, words_span(left > 0 ? left : 0, span));
        return ret;
}

void prompt_count_down(const struct screen *screen, int64_t left_s) {
        char text[96], span[WORDS_SPAN_SIZE];

        (void) snprintf(text, sizeof(text), "Waiting; %s left. Ctrl-C cancels.",
                        words_span(left_s > 0 ? left_s : 0, span));
        screen_status(screen, text);
}

/* The browser */

static void prompt_ask_to_paste(struct json_object *o) {
        char text[ASK_SHOWN_SIZE];

        if (ask_text(o, "warning")) /* why the daemon does not wait there itself */
                (void) puts(ask_shown(o, "warning", text));
        else
                (void) puts(
                        prompt_is_true(o, "loopback")
                                ? "If the browser is on another machine, it ends at an error page."
                                : "It ends at a page that may be unable to tell bearerd.");
        (void) printf("Then %s%s%s\n",
                      isatty(STDIN_FILENO) ? "paste that page's address here and press Enter"
                                           : "hand over that page's address as bearerctl(1) says",
                      ask_text(o, "redirect_uri") ? "; it begins with\n  " : ".",
                      ask_text(o, "redirect_uri") ? ask_shown(o, "redirect_uri", text) : "");
}

static bool prompt_show_address(const struct call *call, const struct screen *screen,
                                struct json_object *o) {
        const char *url = ask_text(o, "authorization_url"), *air = screen->terminal ? "\n" : "";
        const bool opened = !call->no_browser && browser_is_near() && browser_open(url);
        const bool pasting = !opened || !prompt_is_true(o, "loopback");
        char who[ASK_SENTENCE_SIZE], left[64];

        (void) authorization_who(call, who);
        if (opened)
                (void) printf("The browser opens to authorize %s. If it does not, open:\n", who);
        else
                (void) printf("To authorize %s, open this address in a browser:\n", who);
        (void) printf("%s%s%s\n%s", air, *air ? "  " : "", url, air);
        if (!pasting)
                return false;
        prompt_ask_to_paste(o);
        (void) printf("%sWaiting%s.%s\n", air, prompt_left(o, " for ", left),
                      screen->terminal ? " Ctrl-C cancels." : "");
        return isatty(STDIN_FILENO);
}

/* The code */

static void prompt_print_spaced(const struct screen *screen, const char *code) {
        (void) fputs(screen_bold_on(screen), stdout);
        for (const char *p = code; *p; p++) {
                if (p > code && ((unsigned char) *p & 0xc0) != 0x80)
                        (void) putchar(' ');
                (void) putchar(*p);
        }
        (void) fputs(screen_bold_off(screen), stdout);
}

/* Draws what of both fits on the screen together with the text. */
static void prompt_draw(const struct call *call, const struct screen *screen, struct json_object *o,
                        const struct pixels *qr, const struct pixels *large) {
        char who[ASK_SENTENCE_SIZE], code[ASK_SHOWN_SIZE], address[ASK_SHOWN_SIZE];
        int room = screen->rows - PROMPT_LINES;
        bool air;

        if (qr && (qr->width > screen->columns || pixels_lines(qr) > room))
                qr = NULL;
        room -= qr ? pixels_lines(qr) : 0;
        if (large &&
            (large->width + PROMPT_LEFT > screen->columns || pixels_lines(large) + 2 > room))
                large = NULL;
        room -= large ? pixels_lines(large) + 2 : 0;
        air = room >= PROMPT_AIR;

        (void) ask_shown(o, "user_code", code);
        if (air)
                (void) printf("To authorize %s%s:\n\n", authorization_who(call, who),
                              qr ? ", scan this with a phone" : "");
        if (qr)
                pixels_draw(qr, PROMPT_QR_ON, PROMPT_QR_OFF, stdout);
        (void) printf("%s%s %s\n%s ", air && qr ? "\n" : "", qr ? "or open" : "Open",
                      ask_shown(o, "verification_uri", address),
                      qr ? "and enter" : "and enter the code");
        if (large)
                (void) printf("%s%s%s", screen_bold_on(screen), code, screen_bold_off(screen));
        else
                prompt_print_spaced(screen, code);
        (void) printf("%s%s\n", air ? "" : " to authorize ",
                      air ? "" : authorization_who(call, who));
        if (!large)
                return;
        (void) putchar('\n');
        pixels_draw(large, "  ", "", stdout);
        (void) putchar('\n');
}

static void prompt_show_code(const struct call *call, const struct screen *screen,
                             struct json_object *o) {
        AUTO(pixels_freep) struct pixels *qr = NULL, *large = NULL;
        const char *complete = ask_text(o, "verification_uri_complete");
        char who[ASK_SENTENCE_SIZE], code[ASK_SHOWN_SIZE], address[ASK_SHOWN_SIZE], left[64];

        if (!screen->terminal) {
                (void) printf("To authorize %s, open %s and enter the code %s%s\n",
                              authorization_who(call, who),
                              ask_shown(o, "verification_uri", address),
                              ask_shown(o, "user_code", code), prompt_left(o, " within ", left));
                return;
        }
        if (screen->utf8 && screen->colour && complete)
                qr = qr_make(complete);
        if (screen->utf8)
                large = letters_make(ask_text(o, "user_code"));
        prompt_draw(call, screen, o, qr, large);
}

bool prompt_show(const struct call *call, const struct screen *screen, struct json_object *o) {
        bool pasting = false;

        if (ask_text(o, "authorization_url"))
                pasting = prompt_show_address(call, screen, o);
        else
                prompt_show_code(call, screen, o);
        (void) fflush(stdout);
        return pasting;
}
