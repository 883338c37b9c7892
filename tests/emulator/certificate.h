#pragma once
/*
 * Keys and certificates
 *
 * Made with OpenSSL: a certificate authority for one server, whose own key is thrown away at
 * once, and the RSA keys of the JWT applications.
 */

#include <openssl/evp.h>
#include <stdbool.h>

#define KEY_ID_SIZE 44 /* 43 base64url characters and NUL */

/* Makes ca.pem, server.pem and server.key in the directory unless all three are there: for
 * localhost, 127.0.0.1 and ::1, valid for ten years. Ends the program when it cannot. */
void certificate_make(const char *directory);

/* The RSA key in the file (PKCS#8 PEM), made with 2048 bits and mode 0600 if there is no such
 * file. The caller owns it and *ret_pem, the text of the file. Ends the program when it
 * cannot. */
EVP_PKEY *key_open(const char *path, char **ret_pem);

/* base64url of the SHA-256 of the public key: stable for a key, shaped like the fingerprints
 * of Coze's console. */
void key_id(EVP_PKEY *key, char ret[KEY_ID_SIZE]);
