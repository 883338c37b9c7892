/*
 * Writes a C header with RSA keys that were made just now, for the tests
 *
 * They need some private key, but never a secret one. Made once a build, since to make one takes
 * seconds under valgrind.
 */

#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>

static void print_key(const char *name, unsigned bits) {
        EVP_PKEY *key = EVP_RSA_gen(bits);
        BIO *bio = BIO_new(BIO_s_mem());
        char *pem;
        long len;

        if (!key || !bio || PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1)
                exit(EXIT_FAILURE);
        len = BIO_get_mem_data(bio, &pem);
        (void) printf("#define %s \"", name);
        for (long i = 0; i < len; i++) {
                if (pem[i] == '\n')
                        (void) fputs("\\n", stdout);
                else
                        (void) putchar(pem[i]);
        }
        (void) puts("\"");
        BIO_free(bio);
        EVP_PKEY_free(key);
}

int main(void) {
        (void) puts("#pragma once\n");
        print_key("RSA_KEY", 2048);
        print_key("RSA_KEY_SMALL", 1024);
        return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
