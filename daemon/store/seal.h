#pragma once
/*
 * Sealing: a secret at rest
 *
 * A stored secret is AES-256-GCM under a key derived from key_file. What stands beside it in clear
 * (credential, subject, kind, both times) is authenticated with it: a row that was altered, or
 * moved to another name, does not open.
 *
 * Format:        version (1 byte: 1), nonce (12, random), ciphertext, tag (16).
 * Authenticated: version; credential and subject, each led by its length in 4 bytes; kind in 1;
 *                obtained_at and expires_at in 8 each. Numbers are big-endian, so no two rows read
 *                the same.
 * Keys:          HKDF-SHA256 of the 32 bytes of key_file with the database's salt: "bearerd
 *                seal v1" seals, "bearerd check v1" is kept in the database and tells a wrong
 *                key without opening a row.
 * Limits:        random nonces allow 2^32 sealings under one key; at one a second that is 136
 *                years.
 * Threading:     immutable after seal_new(); any thread.
 * Sources:       NIST SP 800-38D section 8.3; RFC 5869.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/auto.h"
#include "base/secret.h"
#include "base/why.h"
#include "store/store.h"

#define SEAL_KEY_SIZE   32 /* bytes of key_file */
#define SEAL_SALT_SIZE  32
#define SEAL_CHECK_SIZE 32
#define SEAL_OVERHEAD   (1 + 12 + 16) /* bytes by which a sealed secret is longer */

struct seal;

/* Derives the keys. `key` has SEAL_KEY_SIZE bytes. 0; -ENOMEM; -EIO: libcrypto cannot do it. */
int seal_new(const struct secret *key, const uint8_t salt[SEAL_SALT_SIZE], struct seal **ret);
struct seal *seal_free(struct seal *seal);
AUTO_DEFINE(struct seal, seal_free)

/* The value that tells this key and salt from all others. Not secret. Valid as long as `seal`. */
const uint8_t *seal_check(const struct seal *seal);

/* Seals row->secret into `ret`, which has room for its length plus SEAL_OVERHEAD.
 * 0; -ENOMEM; -EIO. */
int seal_close(const struct seal *seal, const struct record *row, uint8_t *ret);

/* Opens what seal_close() made for the same row (row->secret is not looked at). The caller owns it.
 * 0; -EBADMSG: altered, moved, or sealed under another key; -ENOMEM; -EIO; each with a sentence. */
int seal_open(const struct seal *seal, const struct record *row, const uint8_t *sealed, size_t len,
              struct why *why, struct secret **ret);
