#include "client/prompt.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/browser.h"
#include "client/letters.h"
#include "client/message.h"
#include "client/pixels.h"
#include "client/qr.h"
#include "client/words.h"

#define PROMPT_LINES 3 /* that must be seen together: address, code, countdown */
#define PROMPT_AIR   3 /* lines that make it pleasant */
#define PROMPT_LEFT  2 /* columns before large letters */

#define PROMPT_CODE_SIZE (2 * ASK_SHOWN_SIZE + 32) /* with blanks, in bold */

#define PROMPT_QR_ON  "\033[30;47m" /* both colours, whatever the terminal's own are */
#define PROMPT_QR_OFF "\033[0m"

bool prompt_is_address(const char *text) {
        return (strncmp(text, "https://", 8) == 0 || strncmp(text, "http://", 7) == 0) &&
               words_is_token(text, strlen(text));
}

/* How long it is open, or NULL. */
static const char *prompt_left(struct json_object *o, char ret[WORDS_SPAN_SIZE]) {
        const int64_t at = member_number(o, "expires_at"), left = at - time(NULL);

        return at < 0 ? NULL : words_span(left > 0 ? left : 0, ret);
}

void prompt_count_down(const struct screen *screen, int64_t left_s) {
        char text[128], span[WORDS_SPAN_SIZE];

        (void) snprintf(text, sizeof(text), _("Waiting; %s left. Ctrl-C cancels."),
                        words_span(left_s > 0 ? left_s : 0, span));
        screen_status(screen, text);
}

/* The browser */

static void prompt_ask_to_paste(struct json_object *o) {
        char text[ASK_SHOWN_SIZE];

        if (member_text(o, "warning")) /* why the daemon does not wait there itself */
                (void) printf(message_is_english() ? "%s\n"
                                                   : _("bearerd cannot wait for the browser: %s\n"),
                              ask_shown(o, "warning", text));
        else
                (void) puts(
                        member_is_true(o, "loopback")
                                ? _("If the browser is on another machine, it ends at an error page.")
                                : _("It ends at a page that may be unable to tell bearerd."));
        if (member_text(o, "redirect_uri"))
                (void) printf(
                        isatty(STDIN_FILENO)
                                ? _("Then paste that page's address here and press Enter; it begins "
                                    "with\n  %s\n")
                                : _("Then hand over that page's address as bearerctl(1) says; it "
                                    "begins with\n  %s\n"),
                        ask_shown(o, "redirect_uri", text));
        else
                (void) puts(
                        isatty(STDIN_FILENO)
                                ? _("Then paste that page's address here and press Enter.")
                                : _("Then hand over that page's address as bearerctl(1) says."));
}

static void prompt_print_waiting(const struct screen *screen, struct json_object *o) {
        char span[WORDS_SPAN_SIZE];
        const char *left = prompt_left(o, span);

        if (screen->terminal)
                (void) putchar('\n');
        if (left)
                (void) printf(_("Waiting for %s."), left);
        else
                (void) fputs(_("Waiting."), stdout);
        (void) puts(screen->terminal ? _(" Ctrl-C cancels.") : "");
}

static bool prompt_show_address(const struct call *call, const struct screen *screen,
                                struct json_object *o) {
        const char *url = member_text(o, "authorization_url"), *air = screen->terminal ? "\n" : "";
        const bool opened = !call->no_browser && browser_is_near() && browser_open(url);
        const bool pasting = !opened || !member_is_true(o, "loopback");
        char who[ASK_SENTENCE_SIZE];

        (void) authorization_who(call, who);
        if (opened)
                (void) printf(_("The browser opens to authorize %s. If it does not, open:\n"), who);
        else
                (void) printf(_("To authorize %s, open this address in a browser:\n"), who);
        (void) printf("%s%s%s\n%s", air, *air ? "  " : "", url, air);
        if (!pasting)
                return false;
        prompt_ask_to_paste(o);
        prompt_print_waiting(screen, o);
        return isatty(STDIN_FILENO);
}

/* The code */

/* "A B C D", to be read aloud, unless large letters show it anyway; bold. Returns `ret`. */
static char *prompt_code(const struct screen *screen, struct json_object *o, bool spaced,
                         char ret[PROMPT_CODE_SIZE]) {
        char code[ASK_SHOWN_SIZE], *end = stpcpy(ret, screen_bold_on(screen));

        (void) ask_shown(o, "user_code", code);
        for (const char *p = code; *p; p++) {
                if (spaced && p > code && ((unsigned char) *p & 0xc0) != 0x80)
                        *end++ = ' ';
                *end++ = *p;
        }
        strcpy(end, screen_bold_off(screen));
        return ret;
}

/* Where to open what, on two lines; who it is for has been said, or there was no room for it. */
static void prompt_print_code(struct json_object *o, const char *code, bool qr, const char *who) {
        char address[ASK_SHOWN_SIZE];

        (void) ask_shown(o, "verification_uri", address);
        if (who && qr)
                (void) printf(_("or open %s\nand enter %s to authorize %s\n"), address, code, who);
        else if (who)
                (void) printf(_("Open %s\nand enter the code %s to authorize %s\n"), address, code,
                              who);
        else if (qr)
                (void) printf(_("or open %s\nand enter %s\n"), address, code);
        else
                (void) printf(_("Open %s\nand enter the code %s\n"), address, code);
}

/* Draws what of both fits on the screen together with the text. */
static void prompt_draw(const struct call *call, const struct screen *screen, struct json_object *o,
                        const struct pixels *qr, const struct pixels *large) {
        char who[ASK_SENTENCE_SIZE], code[PROMPT_CODE_SIZE];
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

        (void) authorization_who(call, who);
        if (air && qr)
                (void) printf(_("To authorize %s, scan this with a phone:\n\n"), who);
        else if (air)
                (void) printf(_("To authorize %s:\n\n"), who);
        if (qr)
                pixels_draw(qr, PROMPT_QR_ON, PROMPT_QR_OFF, stdout);
        if (qr && air)
                (void) putchar('\n');
        prompt_print_code(o, prompt_code(screen, o, !large, code), qr, air ? NULL : who);
        if (!large)
                return;
        (void) putchar('\n');
        pixels_draw(large, "  ", "", stdout);
        (void) putchar('\n');
}

/* A line, for whatever reads it. */
static void prompt_print_plain(const struct call *call, struct json_object *o) {
        char who[ASK_SENTENCE_SIZE], code[ASK_SHOWN_SIZE], address[ASK_SHOWN_SIZE];
        char span[WORDS_SPAN_SIZE];
        const char *left = prompt_left(o, span);

        (void) authorization_who(call, who);
        (void) ask_shown(o, "verification_uri", address);
        (void) ask_shown(o, "user_code", code);
        if (left)
                (void) printf(_("To authorize %s, open %s and enter the code %s within %s\n"), who,
                              address, code, left);
        else
                (void) printf(_("To authorize %s, open %s and enter the code %s\n"), who, address,
                              code);
}

static void prompt_show_code(const struct call *call, const struct screen *screen,
                             struct json_object *o) {
        AUTO(pixels_freep) struct pixels *qr = NULL, *large = NULL;
        const char *complete = member_text(o, "verification_uri_complete");

        if (!screen->terminal) {
                prompt_print_plain(call, o);
                return;
        }
        if (screen->utf8 && screen->colour && complete)
                qr = qr_make(complete);
        if (screen->utf8)
                large = letters_make(member_text(o, "user_code"));
        prompt_draw(call, screen, o, qr, large);
}

bool prompt_show(const struct call *call, const struct screen *screen, struct json_object *o) {
        bool pasting = false;

        if (member_text(o, "authorization_url"))
                pasting = prompt_show_address(call, screen, o);
        else
                prompt_show_code(call, screen, o);
        (void) fflush(stdout);
        return pasting;
}
