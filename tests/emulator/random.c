#include "random.h"

#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

void random_text(const char *alphabet, size_t n, char *ret) {
        size_t size = strlen(alphabet);

        if (RAND_bytes((unsigned char *) ret, (int) n) != 1)
                abort(); /* the kernel has no randomness: nothing here could be trusted */
        for (size_t i = 0; i < n; i++)
                ret[i] = alphabet[(unsigned char) ret[i] % size];
        ret[n] = '\0';
}

void random_token(const char *prefix, char ret[RANDOM_TOKEN_SIZE]) {
        random_text(LETTERS, 64, stpcpy(ret, prefix));
}
