#include "store/seal.h"

#include <endian.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <string.h>

#include "base/err.h"
#include "base/random.h"

#define SEAL_VERSION    1
#define SEAL_NONCE_SIZE 12
#define SEAL_TAG_SIZE   16
#define SEAL_CHUNK      256 /* bytes of plain text on the stack at a time */

_Static_assert(SEAL_OVERHEAD == 1 + SEAL_NONCE_SIZE + SEAL_TAG_SIZE, "the format adds up");

struct seal {
        EVP_CIPHER *cipher; /* fetched once: that costs more than sealing a token */
        uint8_t key[32];
        uint8_t check[SEAL_CHECK_SIZE];
};

static void seal_cipher_ctx_freep(EVP_CIPHER_CTX **ctx) {
        EVP_CIPHER_CTX_free(*ctx); /* wipes the key schedule */
}

static void seal_kdf_freep(EVP_KDF **kdf) {
        EVP_KDF_free(*kdf);
}

static void seal_kdf_ctx_freep(EVP_KDF_CTX **ctx) {
        EVP_KDF_CTX_free(*ctx);
}

/* libcrypto's queue of errors belongs to the thread: what we leave there, somebody else's TLS would
 * report. */
static int seal_raise(int r) {
        ERR_clear_error();
        return RAISE(r);
}

static int seal_derive(const struct secret *key, const uint8_t *salt, const char *info,
                       uint8_t ret[32]) {
        AUTO(seal_kdf_freep) EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
        AUTO(seal_kdf_ctx_freep) EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
        OSSL_PARAM params[] = {
                OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *) "SHA256", 0),
                OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *) secret_text(key),
                                                  secret_len(key)),
                OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *) salt,
                                                  SEAL_SALT_SIZE),
                OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *) info, strlen(info)),
                OSSL_PARAM_construct_end(),
        };

        if (!ctx || EVP_KDF_derive(ctx, ret, 32, params) != 1)
                return seal_raise(-EIO);
        return 0;
}

int seal_new(const struct secret *key, const uint8_t salt[SEAL_SALT_SIZE], struct seal **ret) {
        AUTO(seal_freep) struct seal *seal = NULL;
        int r;

        seal = calloc(1, sizeof(*seal));
        if (!seal)
                return RAISE(-ENOMEM);
        seal->cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
        if (!seal->cipher)
                return seal_raise(-EIO);
        r = seal_derive(key, salt, "bearerd seal v1", seal->key);
        if (r < 0)
                return PASS(r);
        r = seal_derive(key, salt, "bearerd check v1", seal->check);
        if (r < 0)
                return PASS(r);
        *ret = TAKE(seal);
        return 0;
}

struct seal *seal_free(struct seal *seal) {
        if (!seal)
                return NULL;
        EVP_CIPHER_free(seal->cipher);
        secret_wipe(seal, sizeof(*seal));
        free(seal);
        return NULL;
}

const uint8_t *seal_check(const struct seal *seal) {
        return seal->check;
}

static int seal_bind(EVP_CIPHER_CTX *ctx, const void *bytes, size_t len) {
        int n;

        return len == 0 || EVP_CipherUpdate(ctx, NULL, &n, bytes, (int) len) == 1;
}

static int seal_bind_text(EVP_CIPHER_CTX *ctx, const char *text) {
        uint32_t len = htobe32((uint32_t) strlen(text));

        return seal_bind(ctx, &len, sizeof(len)) && seal_bind(ctx, text, strlen(text));
}

/* Authenticates what stands in clear beside the secret: one encoding for both directions. */
static int seal_bind_row(EVP_CIPHER_CTX *ctx, const struct record *row) {
        uint8_t version = SEAL_VERSION, kind = (uint8_t) row->kind;
        uint64_t times[] = { htobe64((uint64_t) row->obtained_at.s),
                             htobe64((uint64_t) row->expires_at.s) };

        return seal_bind(ctx, &version, 1) && seal_bind_text(ctx, row->credential) &&
               seal_bind_text(ctx, row->subject) && seal_bind(ctx, &kind, 1) &&
               seal_bind(ctx, times, sizeof(times));
}

int seal_close(const struct seal *seal, const struct record *row, uint8_t *ret) {
        AUTO(seal_cipher_ctx_freep) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
        uint8_t *nonce = ret + 1, *text = nonce + SEAL_NONCE_SIZE;
        int len = (int) secret_len(row->secret), n = 0;

        if (!ctx)
                return seal_raise(-ENOMEM);
        ret[0] = SEAL_VERSION;
        random_fill(&random_system, nonce, SEAL_NONCE_SIZE);
        if (EVP_EncryptInit_ex2(ctx, seal->cipher, seal->key, nonce, NULL) != 1 ||
            !seal_bind_row(ctx, row) ||
            (len > 0 && EVP_EncryptUpdate(ctx, text, &n, (const uint8_t *) secret_text(row->secret),
                                          len) != 1) ||
            EVP_EncryptFinal_ex(ctx, text + len, &n) != 1 ||
            EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, SEAL_TAG_SIZE, text + len) != 1)
                return seal_raise(-EIO);
        return 0;
}

static int seal_decrypt(EVP_CIPHER_CTX *ctx, const uint8_t *text, size_t len, struct secret *ret) {
        uint8_t buf[SEAL_CHUNK];
        int n = 0, ok = 1;

        for (size_t at = 0; ok && at < len; at += (size_t) n) {
                size_t piece = len - at < sizeof(buf) ? len - at : sizeof(buf);

                ok = EVP_DecryptUpdate(ctx, buf, &n, text + at, (int) piece) == 1 && n > 0 &&
                     secret_append(ret, buf, (size_t) n) == 0;
        }
        secret_wipe(buf, sizeof(buf));
        return ok;
}

static int seal_refuse(const struct record *row, const char *what, struct why *why) {
        char subject[128];

        why_clean(row->subject, strlen(row->subject), subject, sizeof(subject));
        return why_set(
                why, seal_raise(-EBADMSG),
                "the stored secret of credential \"%s\", subject \"%s\" %s: restore bearerd.db "
                "and its key from one backup, or give the secret anew (bearerctl %s %s)",
                row->credential, subject, what, row->kind == RECORD_STATIC_TOKEN ? "set" : "login",
                row->credential);
}

int seal_open(const struct seal *seal, const struct record *row, const uint8_t *sealed, size_t len,
              struct why *why, struct secret **ret) {
        AUTO(seal_cipher_ctx_freep) EVP_CIPHER_CTX *ctx = NULL;
        AUTO(secret_unrefp) struct secret *secret = NULL;
        const uint8_t *nonce, *text;
        uint8_t tag[SEAL_TAG_SIZE], none[1];
        int n;

        if (len < SEAL_OVERHEAD)
                return seal_refuse(row, "was cut short", why);
        if (sealed[0] != SEAL_VERSION)
                return seal_refuse(row, "is in a form that this version does not know", why);
        nonce = sealed + 1;
        text = nonce + SEAL_NONCE_SIZE;
        len -= SEAL_OVERHEAD;
        memcpy(tag, text + len, sizeof(tag));
        ctx = EVP_CIPHER_CTX_new();
        secret = secret_new_reserved(len);
        if (!ctx || !secret)
                return why_set(why, seal_raise(-ENOMEM), "out of memory");
        if (EVP_DecryptInit_ex2(ctx, seal->cipher, seal->key, nonce, NULL) != 1 ||
            EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, SEAL_TAG_SIZE, tag) != 1 ||
            !seal_bind_row(ctx, row) || !seal_decrypt(ctx, text, len, secret))
                return why_set(why, seal_raise(-EIO), "libcrypto cannot do AES-256-GCM");
        if (EVP_DecryptFinal_ex(ctx, none, &n) != 1) /* compares the tag */
                return seal_refuse(row, "was altered, moved or sealed under another key", why);
        *ret = TAKE(secret);
        return 0;
}
