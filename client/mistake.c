#include "client/mistake.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "client/message.h"

#define N_ELEMENTS(a) (sizeof(a) / sizeof((a)[0]))

#define MISTAKE_HOLES 9 /* a digit each */
#define MISTAKE_DEPTH 2 /* what differs may be a phrase itself, as: did you mean */

/* As daemon/conf/ and daemon/base/ have them; a test looks them up there. The first that fits counts; what follows a
 * sentence comes first of all. */
static const char *const mistakes[] = {
        N_("; did you mean \"{1}\" or \"{2}\"?"),
        N_("; did you mean \"{1}\"?"),
        N_("; a comment behind a value starts with ';', not '#'"),
        N_("there is no [credential {1}]"),
        N_("cannot tell where it is: neither XDG_CONFIG_HOME nor HOME is set"),
        N_("cannot be checked from here: systemd gives it to the service alone"),
        N_("is required: one of pat, sat, authorization_code, pkce, device_code, jwt; or "
           "config_file, which tells it"),
        N_("is not what client_type in config_file says: {1}; drop one of the two"),
        N_("does not belong to type {1}, only to {2}"),
        N_("is required for type {1}, or config_file, which has it"),
        N_("is required for type {1}"),
        N_("is required: the region is never guessed; coze.cn, coze.com or the name of a "
           "[provider] section"),
        N_("there is no provider {1}: coze.cn, coze.com or the name of a [provider] section"),
        N_("coze_www_base is not the www_url of provider {1}, which is used"),
        N_("the region is wrong: config_file is for {1}, {2} is {3}; it matches provider = {4}"),
        N_("the region is wrong: config_file is for {1}, {2} is {3}; no provider matches it: "
           "add a [provider] section with that api_url"),
        N_("is not the client_id in config_file: drop one of the two"),
        N_("excludes account_id: the one is for application = enterprise, the other for the "
           "rest; drop one of the two"),
        N_("is required for application = enterprise"),
        N_("does not belong to application = enterprise, which has enterprise_id"),
        N_("belongs to application = enterprise only"),
        N_("must be no for type {1}: its one token is the same for everybody"),
        N_("must be another credential than this one"),
        N_("goes round in a circle, back to {1}: take one of the fallbacks out"),
        N_("has no meaning with plan = personal"),
        N_("Coze does not allow \"{1}\" to {2}; it allows it to {3}"),
        N_("a secret does not stand in the configuration: write it to a file of mode 0600 and "
           "name that with {1}"),
        N_("no such key in a [{1}] section (not shown, it may be part of a secret)"),
        N_("no such key in a [{1}] section"),
        N_("belongs in a [{1}] section"),
        N_("is set to nothing, which limits nothing"),
        N_("values are written without quotes"),
        N_("the default, {1}, names a group that does not exist here"),
        N_("the default, {1}, {2}"),
        N_("is required; only coze.cn and coze.com have it built in"),
        N_("must be https: plain http is allowed to a loopback address only"),
        N_("must be https, or the section needs allow_http = yes, as in tests"),
        N_("there is more than this; the rest is not shown"),
        N_("no such section: there are [daemon], [provider NAME], [credential NAME] and "
           "[socket NAME]"),
        N_("[{1}] is here twice, the first is in line {2}: join the two, or rename one"),
        N_("[{1}] is here twice, the first is in line {2}: join the two"),
        N_("the ] that ends the section's name is missing"),
        N_("there is something behind the ]: a key has a line of its own"),
        N_("there is one daemon: write [daemon], without a name"),
        N_("there is no key before the ="),
        N_("a key outside of any section: put [daemon], or the section it belongs to, above it"),
        N_("is here twice, the first is in line {1}: keep one"),
        N_("this line is longer than {1} bytes"),
        N_("this line is not text in UTF-8, or has a control character in it"),
        N_("this line is neither [section] nor key = value nor a comment"),
        N_("cannot read this directory: {1}"),
        N_("is the same as that of {1}: each needs its own"),
        N_("is longer than {1} bytes, which is all that a Unix socket's path can have"),
        N_("is required"),
        N_("is longer than {1} bytes"),
        N_("has a character that no URL has: write it as %XX"),
        N_("must be a URL that starts with https://"),
        N_("must not have a user or password in its URL"),
        N_("must not have a ? or # in its URL"),
        N_("must be yes or no"),
        N_("must be an octal mode from 0000 to 0777, as in 0660"),
        N_("must be a time span, as in 90s, 15min, 12h, 30d or 1h 30min"),
        N_("needs a unit: {1}s, {2}min, {3}h or {4}d"),
        N_("must lie between {1} and {2}"),
        N_("must be whole seconds"),
        N_("must be a whole number from {1} to {2}"),
        N_("must be one of {1}"),
        N_("must be a date, as in 2026-12-20 or 2026-12-20T10:00:00Z (UTC), or a UNIX time in "
           "seconds"),
        N_("must be a name: 1 to 64 letters, digits, '.', '_', '-'"),
        N_("must be one word of ASCII without blanks, quotes and backslashes"),
        N_("must be letters, digits, '.', '_', '-'"),
        N_("must be a number of decimal digits"),
        N_("needs ${1}, which is not set: set it, or give an absolute path"),
        N_("must be an absolute path, which starts with / (or with %d/, for "
           "$CREDENTIALS_DIRECTORY)"),
        N_("must be a path without . and .."),
        N_("names a user that does not exist here: {1}"),
        N_("names a group that does not exist here: {1}"),
        N_("has {1}, which is no unit: units end as in app.service"),
        N_("client_type is missing, or no string: \"web\", \"pkce\", \"device\" or \"jwt\"; download "
           "the file again from the app's page in Coze's console"),
        N_("client_type must be \"web\", \"pkce\", \"device\" or \"jwt\""),
        N_("missing for this client_type: {1}; download the file again from the app's page in "
           "Coze's console"),
        N_("client_secret has blanks or other characters that no secret has: copy it again "
           "from Coze's console"),
        N_("not a JSON object: coze_oauth_config.json of Coze's console is meant"),
        N_("cannot open {1}: {2}"),
        N_("cannot read {1}: {2}"),
        N_("{1} is a directory, a file is needed"),
        N_("{1} is not a regular file"),
        N_("{1} is larger than {2} bytes: not the file that is meant here"),
        N_("{1} holds a secret but others can read it (mode {2}): chmod 600 {3}"),
        N_("{1} holds a secret but belongs to user {2}: chown it to the user bearerd runs as"),
        N_("{1}: %d stands for $CREDENTIALS_DIRECTORY, which is not set: start bearerd as a "
           "systemd service with LoadCredential=, or give a full path"),
        N_("not usable as a private key: {1}"),
        N_("it is encrypted with a passphrase: decrypt it with openssl pkey -in FILE -out "
           "NEWFILE"),
        N_("it is a public key, the private one is needed: give the private_key.pem that was "
           "downloaded when the key was made in Coze's console"),
        N_("it is a certificate, a private key is needed: give the private_key.pem that was "
           "downloaded when the key was made in Coze's console"),
        N_("it is an EC key, an RSA key is needed (RS256): give the private_key.pem that was "
           "downloaded when the key was made in Coze's console"),
        N_("the private key is in DER, PEM is needed: convert it with openssl pkey -inform DER"
           " -in FILE -out NEWFILE"),
        N_("no PEM here: the line -----BEGIN PRIVATE KEY----- is missing: give the "
           "private_key.pem that was downloaded when the key was made in Coze's console"),
        N_("the private key is cut short: BEGIN without END: give the private_key.pem that was"
           " downloaded when the key was made in Coze's console"),
        N_("does not look like a fingerprint of Coze's, which has 43 characters of letters, "
           "digits, '-' and '_'"),
        N_("looks like the key itself: the fingerprint that the console shows is meant"),
        N_("does not look like a service app's, which has digits only: the app id in the "
           "console's list is meant"),
        N_("does not look like the client id of a web app, which ends in .app.coze"),
        N_("begins with \"Bearer\": it must hold the token and nothing else"),
        N_("has more than one line: it must hold the secret and nothing else"),
        N_("has quotes around it: it must hold the secret and nothing else"),
        N_("has blanks or characters that no secret has: copy it from Coze's console again"),
        N_("is empty"),
        N_("holds what looks like a service access token: type = sat is meant"),
        N_("holds what looks like a personal access token: type = pat is meant"),
        N_("holds what looks like a JWT, not a token of Coze's"),
        N_("holds a token that does not begin with pat_, as those of Coze do"),
        N_("holds a token that does not begin with sat_, as those of Coze do"),
        N_("holds what looks like the access token of a service app, which ends within a day: "
           "let bearerd get it, with type = jwt"),
        N_("holds what looks like the access token of an OAuth app, which ends within minutes:"
           " let bearerd get it, with a type of its own"),
        N_("holds what looks like an authorization code, not a token"),
        N_("sends the authorization code over http: use https, or a loopback address"),
        N_("must be always with token_file_out, or left out"),
        N_("needs token_file: the end of a token set at run time is told with it"),
};

struct hole {
        const char *at;
        size_t len;
};

/* The next hole of a pattern; NULL: it has no more. */
static const char *mistake_hole(const char *pattern) {
        for (; (pattern = strchr(pattern, '{')); pattern++)
                if (pattern[1] >= '1' && pattern[1] <= '0' + MISTAKE_HOLES && pattern[2] == '}')
                        return pattern;
        return NULL;
}

/* Does `text` of `len` bytes fit, and what is in the holes? Each ends where what follows it comes first. */
static bool mistake_fits(const char *pattern, const char *text, size_t len,
                         struct hole holes[MISTAKE_HOLES]) {
        const char *hole = mistake_hole(pattern);
        size_t plain = hole ? (size_t) (hole - pattern) : strlen(pattern);

        if (len < plain || memcmp(text, pattern, plain) != 0)
                return false;
        text += plain;
        len -= plain;
        while (hole) {
                const char *next = mistake_hole(hole + 3), *behind = hole + 3, *found;
                struct hole *h = &holes[hole[1] - '1'];

                plain = next ? (size_t) (next - behind) : strlen(behind);
                if (plain == 0 && !next)
                        found = text + len;
                else if (next)
                        found = plain > 0 ? memmem(text, len, behind, plain) : text;
                else /* the last words end the text */
                        found = len >= plain && memcmp(text + len - plain, behind, plain) == 0
                                        ? text + len - plain
                                        : NULL;
                if (!found)
                        return false;
                *h = (struct hole){ text, (size_t) (found - text) };
                len -= (size_t) (found - text) + plain;
                text = found + plain;
                hole = next;
        }
        return len == 0;
}

static bool mistake_put(const char *text, size_t len, int depth, char *ret, size_t size);

static void mistake_append(char *ret, size_t size, const char *text, size_t len) {
        const size_t used = strlen(ret);

        (void) snprintf(ret + used, size - used, "%.*s", (int) len, text); /* cut is fine */
}

/* Appends the translation with what was in the holes. */
static void mistake_fill(const char *translation, const struct hole holes[MISTAKE_HOLES], int depth,
                         char *ret, size_t size) {
        const char *hole;

        for (; (hole = mistake_hole(translation)); translation = hole + 3) {
                const struct hole *h = &holes[hole[1] - '1'];

                mistake_append(ret, size, translation, (size_t) (hole - translation));
                if (!mistake_put(h->at, h->len, depth + 1, ret, size))
                        mistake_append(ret, size, h->at, h->len);
        }
        mistake_append(ret, size, translation, strlen(translation));
}

/* Where the hint at the end of a sentence begins, "; did you mean ...?"; its end: there is none. */
static const char *mistake_hint(const char *text) {
        const char *const end = text + strlen(text);
        struct hole holes[MISTAKE_HOLES];

        for (const char *hint = strchr(text, ';'); hint; hint = strchr(hint + 1, ';'))
                for (size_t i = 0; i < N_ELEMENTS(mistakes) && mistakes[i][0] == ';'; i++)
                        if (mistake_fits(mistakes[i], hint, (size_t) (end - hint), holes))
                                return hint;
        return end;
}

/* Appends the translation of a sentence or phrase; false, and nothing, if it is not known. */
static bool mistake_put(const char *text, size_t len, int depth, char *ret, size_t size) {
        for (size_t i = 0; depth <= MISTAKE_DEPTH && i < N_ELEMENTS(mistakes); i++) {
                struct hole holes[MISTAKE_HOLES] = { { "", 0 } };

                if (!mistake_fits(mistakes[i], text, len, holes))
                        continue;
                mistake_fill(_(mistakes[i]), holes, depth, ret, size);
                return true;
        }
        return false;
}

char *mistake_translate(const char *text, char *ret, size_t size) {
        const char *hint = mistake_hint(text), *sentence = message_is_english() ? NULL : text;

        *ret = '\0';
        while (sentence && sentence < hint) {
                mistake_append(ret, size, text, (size_t) (sentence - text));
                if (mistake_put(sentence, (size_t) (hint - sentence), 0, ret, size)) {
                        (void) mistake_put(hint, strlen(hint), 0, ret, size); /* or there is none */
                        return ret;
                }
                *ret = '\0';
                sentence = strstr(sentence,
                                  ": "); /* "FILE:LINE: [SECTION] KEY: " stand before it */
                sentence = sentence ? sentence + 2 : NULL;
        }
        mistake_append(ret, size, text, strlen(text));
        return ret;
}
