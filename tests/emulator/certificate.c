#include "certificate.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>

#include "directory.h"
#include "memory.h"

#define VALID_S (10L * 365 * 24 * 3600) /* ten years */

/* A failure of OpenSSL while the emulator sets itself up is final. */
static void *openssl_must(void *p) {
        if (!p)
                directory_die("OpenSSL cannot make a key or a certificate");
        return p;
}

static void openssl_ok(int result) {
        if (result <= 0)
                directory_die("OpenSSL cannot make a key or a certificate");
}

static char *bio_text(BIO *bio) {
        char *data, *text;
        long size = BIO_get_mem_data(bio, &data);

        text = must(strndup(data, (size_t) size));
        BIO_free(bio);
        return text;
}

static char *certificate_pem(X509 *x) {
        BIO *bio = openssl_must(BIO_new(BIO_s_mem()));

        openssl_ok(PEM_write_bio_X509(bio, x));
        return bio_text(bio);
}

static char *key_pem(EVP_PKEY *key) {
        BIO *bio = openssl_must(BIO_new(BIO_s_mem()));

        openssl_ok(PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL));
        return bio_text(bio);
}

static void certificate_extend(X509 *x, X509 *issuer, int nid, const char *value) {
        X509_EXTENSION *extension;
        X509V3_CTX context;

        X509V3_set_ctx(&context, issuer, x, NULL, NULL, 0);
        extension = openssl_must(X509V3_EXT_conf_nid(NULL, &context, nid, value));
        openssl_ok(X509_add_ext(x, extension, -1));
        X509_EXTENSION_free(extension);
}

static X509 *certificate_new(const char *name, EVP_PKEY *key, X509 *issuer) {
        X509 *x = openssl_must(X509_new());
        uint64_t serial = 0;

        openssl_ok(RAND_bytes((unsigned char *) &serial, sizeof(serial)));
        openssl_ok(X509_set_version(x, X509_VERSION_3));
        openssl_ok(ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), serial >> 1 | 1));
        openssl_must(X509_gmtime_adj(X509_getm_notBefore(x), -24L * 3600));
        openssl_must(X509_gmtime_adj(X509_getm_notAfter(x), VALID_S));
        openssl_ok(X509_set_pubkey(x, key));
        openssl_ok(X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8,
                                              (const unsigned char *) name, -1, -1, 0));
        openssl_ok(X509_set_issuer_name(x, X509_get_subject_name(issuer ? issuer : x)));
        certificate_extend(x, x, NID_subject_key_identifier, "hash");
        return x;
}

void certificate_make(const char *directory) {
        AUTO(freep) char *ca_file = must_printf("%s/ca.pem", directory);
        AUTO(freep) char *server_file = must_printf("%s/server.pem", directory);
        AUTO(freep) char *key_file = must_printf("%s/server.key", directory);
        AUTO(freep) char *ca_text = NULL, *server_text = NULL, *key_text = NULL;
        EVP_PKEY *ca_key, *key;
        X509 *ca, *server;

        if (directory_has(ca_file) && directory_has(server_file) && directory_has(key_file))
                return;
        ca_key = openssl_must(EVP_EC_gen("P-256"));
        key = openssl_must(EVP_EC_gen("P-256"));
        ca = certificate_new("bearerd emulator CA", ca_key, NULL);
        certificate_extend(ca, ca, NID_basic_constraints, "critical,CA:TRUE");
        certificate_extend(ca, ca, NID_key_usage, "critical,keyCertSign,cRLSign");
        openssl_ok(X509_sign(ca, ca_key, EVP_sha256()));

        server = certificate_new("localhost", key, ca);
        certificate_extend(server, ca, NID_authority_key_identifier, "keyid:always");
        certificate_extend(server, ca, NID_basic_constraints, "critical,CA:FALSE");
        certificate_extend(server, ca, NID_key_usage, "critical,digitalSignature");
        certificate_extend(server, ca, NID_ext_key_usage, "serverAuth");
        certificate_extend(server, ca, NID_subject_alt_name,
                           "DNS:localhost,IP:127.0.0.1,IP:0:0:0:0:0:0:0:1");
        openssl_ok(X509_sign(server, ca_key, EVP_sha256()));

        ca_text = certificate_pem(ca);
        server_text = certificate_pem(server);
        key_text = key_pem(key);
        directory_write(key_file, key_text, 0600);
        directory_write(server_file, server_text, 0644);
        directory_write(ca_file, ca_text, 0644);
        X509_free(server);
        X509_free(ca);
        EVP_PKEY_free(key);
        EVP_PKEY_free(ca_key);
}

EVP_PKEY *key_open(const char *path, char **ret_pem) {
        EVP_PKEY *key;
        BIO *bio;

        if (!directory_has(path)) {
                key = openssl_must(EVP_RSA_gen(2048));
                *ret_pem = key_pem(key);
                directory_write(path, *ret_pem, 0600);
                return key;
        }
        *ret_pem = directory_read(path);
        bio = openssl_must(BIO_new_mem_buf(*ret_pem, -1));
        key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
        BIO_free(bio);
        if (!key || EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA)
                directory_die("%s holds no RSA key; remove it to have a new one made", path);
        return key;
}

void key_id(EVP_PKEY *key, char ret[KEY_ID_SIZE]) {
        unsigned char *der = NULL, digest[SHA256_DIGEST_LENGTH], text[48];
        int size = i2d_PUBKEY(key, &der);

        openssl_ok(size);
        SHA256(der, (size_t) size, digest);
        OPENSSL_free(der);
        EVP_EncodeBlock(text, digest, sizeof(digest)); /* 43 characters and one '=' */
        for (size_t i = 0; i < KEY_ID_SIZE - 1; i++)
                ret[i] = text[i] == '+' ? '-' : text[i] == '/' ? '_' : (char) text[i];
        ret[KEY_ID_SIZE - 1] = '\0';
}
