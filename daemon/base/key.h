#pragma once
/*
 * An RSA private key for RS256
 *
 * Parsed once, used for every assertion (parsing costs more than signing; performance.md section 8).
 * Accepts PKCS#8 ("BEGIN PRIVATE KEY") and PKCS#1 ("BEGIN RSA PRIVATE KEY") in PEM, and mends what
 * transport often does to it: literal \n, CRLF, lost line breaks, blanks around lines, quotes around
 * the whole, a byte order mark (coze-oauth.md section 4).
 *
 * Threading: immutable after key_parse(); key_sign() may be called from any thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/auto.h"
#include "base/secret.h"
#include "base/why.h"

#define KEY_FILE_MAX      16384 /* bytes of PEM */
#define KEY_BITS_MIN      2048
#define KEY_BITS_MAX      8192
#define KEY_SIGNATURE_MAX (KEY_BITS_MAX / 8)

struct key;

/* 0; -EBADMSG: the sentence says exactly what is wrong (no PEM, a public key, encrypted, cut short,
 * not RSA, too small, damaged base64 ...), never a byte of the key; -ENOMEM. */
int key_parse(const char *pem, size_t len, struct why *why, struct key **ret);

struct key *key_unref(struct key *k);
struct key *key_ref(struct key *k);
AUTO_DEFINE(struct key, key_unref)

int key_bits(const struct key *k);

bool key_equal(const struct key *a,
               const struct key *b); /* the same public key; NULL equals NULL */

/* RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518 section 3.3). `ret` has room for KEY_SIGNATURE_MAX bytes. 0 or -EIO. */
int key_sign(const struct key *k, const void *bytes, size_t len, uint8_t *ret, size_t *ret_len);
