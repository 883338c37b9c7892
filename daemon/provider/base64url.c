#include "provider/base64url.h"

#include <stdint.h>

static const char base64url_alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void base64url(const void *bytes, size_t len, char *ret) {
        const uint8_t *p = bytes;
        uint32_t bits = 0;
        unsigned n = 0; /* bits not yet written */

        for (size_t i = 0; i < len; i++) {
                bits = bits << 8 | p[i];
                n += 8;
                for (; n >= 6; n -= 6)
                        *ret++ = base64url_alphabet[bits >> (n - 6) & 0x3f];
        }
        if (n > 0)
                *ret++ = base64url_alphabet[bits << (6 - n) & 0x3f];
        *ret = '\0';
}
