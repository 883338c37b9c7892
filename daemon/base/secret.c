#include "base/secret.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "base/text.h"

struct secret {
        atomic_uint refs;
        size_t len;
        size_t capacity; /* of bytes[], without the NUL */
        char bytes[];
};

void (*secret_release_hook)(const void *bytes, size_t capacity);

struct secret *secret_new_reserved(size_t capacity) {
        struct secret *s;

        if (capacity > SIZE_MAX / 2)
                return NULL;
        s = malloc(sizeof(*s) + capacity + 1);
        if (!s)
                return NULL;
        atomic_init(&s->refs, 1);
        s->len = 0;
        s->capacity = capacity;
        memset(s->bytes, 0, capacity + 1);
        return s;
}

struct secret *secret_new(const void *bytes, size_t len) {
        struct secret *s = secret_new_reserved(len);

        if (s) {
                memcpy(s->bytes, bytes, len);
                s->len = len;
        }
        return s;
}

int secret_append(struct secret *s, const void *bytes, size_t len) {
        if (len > s->capacity - s->len)
                return RAISE(-ENOBUFS);
        memcpy(s->bytes + s->len, bytes, len);
        s->len += len;
        s->bytes[s->len] = '\0';
        return 0;
}

int secret_append_text(struct secret *s, const char *text) {
        return secret_append(s, text, strlen(text));
}

void secret_truncate(struct secret *s, size_t len) {
        assert(len <= s->len);
        OPENSSL_cleanse(s->bytes + len, s->len - len);
        s->len = len;
}

struct secret *secret_ref(struct secret *s) {
        if (s)
                atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
        return s;
}

struct secret *secret_unref(struct secret *s) {
        if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
                return NULL;
        OPENSSL_cleanse(s->bytes, s->capacity + 1);
        if (secret_release_hook)
                secret_release_hook(s->bytes, s->capacity + 1);
        free(s);
        return NULL;
}

const char *secret_text(const struct secret *s) {
        return s->bytes;
}

size_t secret_len(const struct secret *s) {
        return s->len;
}

bool secret_equal(const struct secret *a, const struct secret *b) {
        return a->len == b->len && CRYPTO_memcmp(a->bytes, b->bytes, a->len) == 0;
}

void secret_fingerprint(const struct secret *s, char ret[SECRET_FINGERPRINT_SIZE]) {
        uint8_t digest[EVP_MAX_MD_SIZE];

        /* fails only when libcrypto has no SHA-256 or no memory: then a name that matches nothing */
        if (EVP_Digest(s->bytes, s->len, digest, NULL, EVP_sha256(), NULL) != 1)
                memset(digest, 0, sizeof(digest));
        text_hex(digest, (SECRET_FINGERPRINT_SIZE - 1) / 2, ret);
}

void secret_wipe(void *p, size_t len) {
        OPENSSL_cleanse(p, len);
}
