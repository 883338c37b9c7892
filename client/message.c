#include "client/message.h"

/*
 * The catalogue is the one that was installed, or, in a build tree, the one beside the program. No variable of the
 * environment leads to another: its sentences are formats. LANGUAGE can name a directory, so one with a slash does not count.
 *
 * Where the locale is not there (a container, a machine that one has come to by ssh, which passes LANG on), its language is
 * still the reader's: any machine has C.UTF-8 to print it with.
 */

#include <errno.h>
#include <langinfo.h>
#include <libintl.h>
#include <limits.h>
#include <locale.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MESSAGE_DOMAIN  "bearerd"
#define MESSAGE_UTF8    "C.UTF-8"
#define MESSAGE_ASCII   "ANSI_X3.4-1968" /* what nl_langinfo() has of a C locale */
#define MESSAGE_BESIDE  "/po"            /* in a build tree */
#define MESSAGE_WRITERS (S_IWGRP | S_IWOTH)

/* Whoever can change the catalogue could change the program as well. */
static bool message_is_trusted(const char *program, const char *directory) {
        struct stat p, d;

        return stat(program, &p) == 0 && lstat(directory, &d) == 0 && S_ISDIR(d.st_mode) &&
               p.st_uid == d.st_uid && p.st_gid == d.st_gid &&
               (d.st_mode & MESSAGE_WRITERS & ~p.st_mode) == 0;
}

static void message_find_catalogue(void) {
        char program[PATH_MAX], directory[PATH_MAX + sizeof(MESSAGE_BESIDE)];
        const char *found = BEARERD_LOCALEDIR;
        ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);

        if (n > 0) {
                program[n] = '\0';
                (void) snprintf(directory, sizeof(directory), "%.*s" MESSAGE_BESIDE,
                                (int) (strrchr(program, '/') - program),
                                program); /* it is absolute */
                if (message_is_trusted(program, directory))
                        found = directory;
        }
        (void) bindtextdomain(MESSAGE_DOMAIN, found); /* out of memory: English */
}

/* What the environment names for a category, or "". */
static const char *message_locale(const char *category) {
        const char *const names[] = { "LC_ALL", category, "LANG" };

        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
                const char *value = getenv(names[i]);

                if (value && *value)
                        return value;
        }
        return "";
}

static bool message_is_utf8(const char *locale) {
        return strcasestr(locale, "UTF-8") || strcasestr(locale, "UTF8");
}

/* True: the locale is not there, and C.UTF-8 stands in for it. */
static bool message_take_category(int category, const char *name) {
        if (setlocale(category, ""))
                return false;
        return message_is_utf8(message_locale(name)) && setlocale(category, MESSAGE_UTF8);
}

static void message_take_locale(void) {
        const char *language = getenv("LANGUAGE"), *name = message_locale("LC_MESSAGES");

        if (language && strchr(language, '/')) {
                (void) unsetenv("LANGUAGE"); /* a valid name: fails nowhere */
                language = NULL;
        }
        (void) message_take_category(LC_CTYPE, "LC_CTYPE"); /* if neither is there: plain ASCII */
        if (message_take_category(LC_MESSAGES, "LC_MESSAGES") && !(language && *language) &&
            !strchr(name, '/'))
                (void) setenv("LANGUAGE", name, 1); /* out of memory: English */
        if (strcmp(nl_langinfo(CODESET), MESSAGE_ASCII) == 0)
                (void) setlocale(LC_MESSAGES, "C"); /* rather than question marks */
}

/* A catalogue has its header there. */
static bool message_is_missing(void) {
        return *dgettext(MESSAGE_DOMAIN, "") == '\0';
}

void message_begin(void) {
        static bool begun;
        int before = errno;

        if (begun)
                return;
        begun = true;
        message_take_locale();
        message_find_catalogue();
        if (message_is_missing())
                (void) setlocale(LC_MESSAGES, "C"); /* what libc says as well */
        errno = before;
}

const char *message(const char *text) {
        message_begin();
        return dgettext(MESSAGE_DOMAIN, text);
}

bool message_is_english(void) {
        message_begin();
        return message_is_missing();
}

const char *message_errno(int number) {
        message_begin();
        return strerror(number);
}
