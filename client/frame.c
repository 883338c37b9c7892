#include "client/frame.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FRAME_ENTER "\033[?1049h\033[?25l\033[?7l"
#define FRAME_LEAVE "\033[?7h\033[?25h\033[?1049l"
#define FRAME_HOME  "\033[H"
#define FRAME_EOL   "\033[K" /* clears the rest of the line ... */
#define FRAME_EOS   "\033[J" /* ... and of the screen */

static volatile sig_atomic_t frames_begun;

static void frames_write(const char *sequence) {
        (void) !write(STDOUT_FILENO, sequence,
                      strlen(sequence)); /* a terminal that has gone needs it no more */
}

static void frames_catch_one(int number, void (*handler)(int)) {
        const struct sigaction action = { .sa_handler = handler }; /* no SA_RESTART */
        struct sigaction before;

        if (sigaction(number, NULL, &before) == 0 && before.sa_handler != SIG_IGN)
                (void) sigaction(number, &action, NULL);
}

/* Gives the terminal back, and lets the signal do what it does. */
static void frames_on_signal(int number) {
        sigset_t this_one;

        if (frames_begun)
                frames_write(FRAME_LEAVE);
        (void) signal(number, SIG_DFL);
        (void) sigemptyset(&this_one);
        (void) sigaddset(&this_one, number);
        (void) raise(number);
        (void) sigprocmask(SIG_UNBLOCK, &this_one, NULL); /* here it ends; or it stops, */
        frames_catch_one(number, frames_on_signal);       /* and here it goes on */
        if (frames_begun)
                frames_write(FRAME_ENTER);
}

static void frames_on_resize(int number) {
        (void) number; /* a poll(2) ends, and the next frame follows */
}

static void frames_catch(void) {
        static const int ends[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP };

        for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
                frames_catch_one(ends[i], frames_on_signal);
        frames_catch_one(SIGWINCH, frames_on_resize);
}

void frames_begin(void) {
        frames_begun = 1;
        frames_catch();
        frames_write(FRAME_ENTER);
}

void frames_end(void) {
        if (!frames_begun)
                return;
        frames_begun = 0;
        frames_write(FRAME_LEAVE);
}

bool frame_begin(struct frame *f) {
        FILE *file;

        frame_done(f);
        file = open_memstream(&f->text, &f->len);
        if (!file)
                return false;
        (void) fflush(stdout);
        f->output = stdout; /* glibc: variables like any other */
        f->error = stderr;
        stdout = stderr = file;
        return true;
}

void frame_end(struct frame *f) {
        (void) fclose(stdout); /* without memory the frame is cut */
        stdout = f->output;
        stderr = f->error;
}

void frame_done(struct frame *f) {
        free(f->text);
        *f = (struct frame){ 0 };
}

int frame_lines(const struct frame *f) {
        int n = 0;

        for (size_t i = 0; f->text && i < f->len; i++)
                n += f->text[i] == '\n';
        return n;
}

/* Up to so many lines. */
static void frame_print(const struct frame *f, int lines, bool *first) {
        const char *text = f->text ? f->text : "", *end;

        for (; lines > 0 && (end = strchr(text, '\n')); text = end + 1, lines--) {
                (void) fputs(*first ? FRAME_HOME : "\n",
                             stdout); /* none behind the last: it would scroll */
                *first = false;
                (void) fwrite(text, 1, (size_t) (end - text), stdout);
                (void) fputs(FRAME_EOL, stdout);
        }
}

void frame_show(const struct frame *upper, const struct frame *lower, const struct screen *screen) {
        const int below = frame_lines(lower);
        bool first = true;

        frame_print(upper, screen->rows - below, &first);
        frame_print(lower, screen->rows, &first);
        (void) fputs(first ? FRAME_HOME FRAME_EOS : FRAME_EOS, stdout);
        (void) fflush(stdout);
}
