#pragma once
/*
 * The emulator's directory: what a person would have got from Coze's console, as files
 *
 * ca.pem, server.pem, server.key; for each application a folder with coze_oauth_config.json and,
 * for JWT applications, private_key.pem; the static tokens pat and sat; bearerd.conf, which uses
 * all of them; and port, written last. Keys, secrets and tokens that are there are kept; files
 * that name the server's address are made anew when it changed.
 *
 * Errors:    the emulator is of no use without its files, so each failure ends it with a
 *            sentence.
 * Threading: written before the server starts; afterwards only what is said to change does.
 */

#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "certificate.h"

#define REDIRECT_URI_MAX   512 /* bytes, with NUL */
#define REDIRECT_URIS_MAX  3   /* of one application; as many as Coze allows */
#define ENTERPRISE_ID      "volcano_2101950000"
#define DIRECTORY_FILE_MAX 65536 /* bytes of any file read */

enum application_kind {
        APPLICATION_DEVELOPER,
        APPLICATION_CHANNEL,
        APPLICATION_ENTERPRISE,
        APPLICATION_WEB,
        APPLICATION_PKCE,
        APPLICATION_DEVICE,
        APPLICATION_MAX,
};

struct application {
        enum application_kind kind;
        const char *name, *client_id;
        EVP_PKEY *key; /* JWT applications */
        char key_id[KEY_ID_SIZE];
        char *secret; /* the web application */
        atomic_bool deactivated;
        char redirect_uris[REDIRECT_URIS_MAX]
                          [REDIRECT_URI_MAX]; /* guarded by the authority's lock */
};

struct directory {
        char *path, *url, *host; /* host: "localhost:PORT", the audience */
        char *pat, *sat;
        struct application applications[APPLICATION_MAX];
};

/* Makes or completes the directory, all but the part that names the address. */
void directory_open(struct directory *d, const char *path);

/* Writes what names the address: the console's files and bearerd.conf. */
void directory_publish(struct directory *d, unsigned port, bool plain_http);

/* Says that the server listens. */
void directory_announce(const struct directory *d, unsigned port);

void directory_done(struct directory *d);

bool directory_has(const char *path);
char *directory_read(const char *path); /* the whole file; the caller frees it */
void directory_write(const char *path, const char *text, mode_t mode); /* at once or not at all */
__attribute__((noreturn, format(printf, 1, 2))) void directory_die(const char *format, ...);
