#include "provider/pkce.h"

#include <openssl/evp.h>

#include "base/err.h"
#include "base/text.h"

struct secret *pkce_verifier(const uint8_t random[PKCE_RANDOM_SIZE]) {
        char hex[2 * PKCE_RANDOM_SIZE + 1];
        struct secret *s;

        text_hex(random, PKCE_RANDOM_SIZE, hex);
        s = secret_new(hex, sizeof(hex) - 1);
        secret_wipe(hex, sizeof(hex));
        return s;
}

int pkce_challenge(const struct secret *verifier, char ret[PKCE_CHALLENGE_SIZE]) {
        uint8_t digest[EVP_MAX_MD_SIZE];
        unsigned len;

        if (EVP_Digest(secret_text(verifier), secret_len(verifier), digest, &len, EVP_sha256(),
                       NULL) != 1)
                return RAISE(-EIO);
        base64url(digest, len, ret);
        return 0;
}
