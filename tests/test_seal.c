#include "store/seal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "check_main.h"

static const uint8_t salt[SEAL_SALT_SIZE] = "one salt for all of these tests";

static struct seal *make_seal(char fill, const uint8_t *with_salt) {
        AUTO(secret_unrefp) struct secret *key = NULL;
        char bytes[SEAL_KEY_SIZE];
        struct seal *seal = NULL;

        memset(bytes, fill, sizeof(bytes));
        key = secret_new(bytes, sizeof(bytes));
        ck_assert_int_eq(seal_new(key, with_salt, &seal), 0);
        return seal;
}

static struct record make_record(const char *text) {
        return (struct record){
                .credential = "site",
                .subject = "user-1",
                .kind = RECORD_GRANT,
                .secret = secret_new(text, strlen(text)),
                .obtained_at = { 1700000000 },
                .expires_at = { 1702592000 },
        };
}

/* Bytes that are freed at their end, so that a sanitizer sees a read beyond them. */
static uint8_t *seal_record(const struct seal *seal, const struct record *row, size_t *ret_len) {
        uint8_t *sealed;

        *ret_len = secret_len(row->secret) + SEAL_OVERHEAD;
        sealed = malloc(*ret_len);
        ck_assert_ptr_nonnull(sealed);
        ck_assert_int_eq(seal_close(seal, row, sealed), 0);
        return sealed;
}

static const size_t lengths[] = { 0, 1, 15, 16, 17, 255, 256, 257, 1000, STORE_SECRET_MAX };

START_TEST(round_trip)
{
        AUTO(seal_freep) struct seal *seal = make_seal('k', salt);
        AUTO(secret_unrefp) struct secret *opened = NULL;
        AUTO(auto_freep) uint8_t *sealed = NULL;
        AUTO(auto_freep) char *text = malloc(lengths[_i] + 1);
        struct record row;
        size_t len;

        for (size_t i = 0; i < lengths[_i]; i++)
                text[i] = (char) ('!' + i % 90);
        text[lengths[_i]] = '\0';
        row = make_record(text);
        sealed = seal_record(seal, &row, &len);
        ck_assert_int_eq(seal_open(seal, &row, sealed, len, NULL, &opened), 0);
        ck_assert(secret_equal(opened, row.secret));
        if (lengths[_i] >= 15)
                ck_assert_ptr_null(memmem(sealed, len, text, lengths[_i]));
        row.secret = secret_unref(row.secret);
}
END_TEST

/* Each of the bytes, each of its bits. */
START_TEST(altered)
{
        AUTO(seal_freep) struct seal *seal = make_seal('k', salt);
        AUTO(auto_freep) uint8_t *sealed = NULL;
        struct record row = make_record("LBEPrefresh-token");
        struct secret *opened = NULL;
        size_t len;

        sealed = seal_record(seal, &row, &len);
        for (size_t bit = 0; bit < len * 8; bit++) {
                struct why why = { "" };

                sealed[bit / 8] ^= (uint8_t) (1U << bit % 8);
                ck_assert_int_eq(seal_open(seal, &row, sealed, len, &why, &opened), -EBADMSG);
                ck_assert_ptr_null(opened); /* untouched on failure */
                ck_assert_ptr_nonnull(strstr(why.text, "\"site\""));
                ck_assert_ptr_null(strstr(why.text, "refresh-token"));
                sealed[bit / 8] ^= (uint8_t) (1U << bit % 8);
        }
        ck_assert_int_eq(seal_open(seal, &row, sealed, len, NULL, &opened), 0);
        opened = secret_unref(opened);
        row.secret = secret_unref(row.secret);
}
END_TEST

START_TEST(cut_short)
{
        AUTO(seal_freep) struct seal *seal = make_seal('k', salt);
        AUTO(auto_freep) uint8_t *sealed = NULL;
        struct record row = make_record("LBEPrefresh-token");
        struct secret *opened = NULL;
        size_t len;

        sealed = seal_record(seal, &row, &len);
        for (size_t n = 0; n < len; n++) {
                AUTO(auto_freep)
                uint8_t *part = n ? malloc(n) : NULL; /* SQLite's empty blob is NULL */

                if (part)
                        memcpy(part, sealed, n);
                ck_assert_int_eq(seal_open(seal, &row, part, n, NULL, &opened), -EBADMSG);
                ck_assert_ptr_null(opened);
        }
        row.secret = secret_unref(row.secret);
}
END_TEST

/* What stands in clear beside the secret of row "site", "user-1", RECORD_GRANT, 1700000000,
 * 1702592000. */
static const struct {
        const char *what;
        struct record row;
} moved[] = {
        { "another subject",
          { "site", "user-2", RECORD_GRANT, NULL, { 1700000000 }, { 1702592000 }, false } },
        { "no subject", { "site", "", RECORD_GRANT, NULL, { 1700000000 }, { 1702592000 }, false } },
        { "another credential",
          { "bot", "user-1", RECORD_GRANT, NULL, { 1700000000 }, { 1702592000 }, false } },
        { "the border moved left",
          { "sit", "euser-1", RECORD_GRANT, NULL, { 1700000000 }, { 1702592000 }, false } },
        { "the border moved right",
          { "siteu", "ser-1", RECORD_GRANT, NULL, { 1700000000 }, { 1702592000 }, false } },
        { "swapped names",
          { "user-1", "site", RECORD_GRANT, NULL, { 1700000000 }, { 1702592000 }, false } },
        { "another kind",
          { "site", "user-1", RECORD_STATIC_TOKEN, NULL, { 1700000000 }, { 1702592000 }, false } },
        { "obtained later",
          { "site", "user-1", RECORD_GRANT, NULL, { 1700000001 }, { 1702592000 }, false } },
        { "expires later",
          { "site", "user-1", RECORD_GRANT, NULL, { 1700000000 }, { 1702592001 }, false } },
        { "never expires",
          { "site", "user-1", RECORD_GRANT, NULL, { 1700000000 }, { INT64_MAX }, false } },
        { "swapped times",
          { "site", "user-1", RECORD_GRANT, NULL, { 1702592000 }, { 1700000000 }, false } },
};

START_TEST(row_moved)
{
        AUTO(seal_freep) struct seal *seal = make_seal('k', salt);
        AUTO(auto_freep) uint8_t *sealed = NULL;
        struct record row = make_record("LBEPrefresh-token");
        struct secret *opened = NULL;
        size_t len;

        sealed = seal_record(seal, &row, &len);
        ck_assert_msg(seal_open(seal, &moved[_i].row, sealed, len, NULL, &opened) == -EBADMSG,
                      "%s was not noticed", moved[_i].what);
        ck_assert_ptr_null(opened);
        row.secret = secret_unref(row.secret);
}
END_TEST

START_TEST(other_key)
{
        static const uint8_t other_salt[SEAL_SALT_SIZE] = "another salt for the same key!!";
        AUTO(seal_freep) struct seal *seal = make_seal('k', salt);
        AUTO(seal_freep) struct seal *same = make_seal('k', salt);
        struct seal *others[] = { make_seal('K', salt), make_seal('k', other_salt) };
        AUTO(auto_freep) uint8_t *sealed = NULL;
        struct record row = make_record("LBEPrefresh-token");
        struct secret *opened = NULL;
        size_t len;

        sealed = seal_record(seal, &row, &len);
        for (size_t i = 0; i < N_ELEMENTS(others); i++) {
                ck_assert_int_eq(seal_open(others[i], &row, sealed, len, NULL, &opened), -EBADMSG);
                ck_assert_int_ne(memcmp(seal_check(others[i]), seal_check(seal), SEAL_CHECK_SIZE),
                                 0);
                others[i] = seal_free(others[i]);
        }
        ck_assert_int_eq(memcmp(seal_check(same), seal_check(seal), SEAL_CHECK_SIZE), 0);
        ck_assert_int_eq(seal_open(same, &row, sealed, len, NULL, &opened), 0);
        opened = secret_unref(opened);
        row.secret = secret_unref(row.secret);
}
END_TEST

/* The same secret twice must not look the same, nor share a nonce. */
START_TEST(fresh_nonce)
{
        AUTO(seal_freep) struct seal *seal = make_seal('k', salt);
        AUTO(auto_freep) uint8_t *a = NULL;
        AUTO(auto_freep) uint8_t *b = NULL;
        struct record row = make_record("LBEPrefresh-token");
        size_t len;

        a = seal_record(seal, &row, &len);
        b = seal_record(seal, &row, &len);
        ck_assert_int_eq(a[0], b[0]);
        ck_assert_int_ne(memcmp(a + 1, b + 1, 12), 0);
        ck_assert_int_ne(memcmp(a + 13, b + 13, len - 13), 0);
        row.secret = secret_unref(row.secret);
}
END_TEST

/* Made from the format in seal.h by other software (HKDF and AESGCM of Python's cryptography),
 * nonce 00 01 .. 0b: what is on disk must stay readable. */
static const uint8_t vector_check[] = { 0x8b, 0xfb, 0x58, 0xcd, 0xc1, 0x06, 0xa5, 0xc4,
                                        0x16, 0xaa, 0x91, 0x48, 0xc2, 0xd3, 0x3b, 0x81,
                                        0xbc, 0xf1, 0x89, 0x17, 0xc4, 0xd7, 0x89, 0x42,
                                        0x75, 0x6a, 0x58, 0x3d, 0x23, 0x4a, 0x7b, 0xab };

static const uint8_t vector_sealed[] = { 0x01, 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08,
                                         0x09, 0x0a, 0x0b, 0xed, 0x55, 0xa6, 0x91, 0xa0, 0xe4, 0x70,
                                         0x47, 0xfd, 0xa6, 0x3e, 0x3e, 0x57, 0x6a, 0xc3, 0x2d, 0x83,
                                         0x24, 0x24, 0xe0, 0xee, 0x8c, 0x22, 0xf4, 0x0e, 0xba, 0xb1,
                                         0x72, 0x1f, 0x81, 0x7c, 0x53, 0xfb };

START_TEST(known_answer)
{
        AUTO(seal_freep) struct seal *seal = make_seal('k', salt);
        AUTO(secret_unrefp) struct secret *opened = NULL;
        struct record row = make_record("");

        ck_assert_int_eq(memcmp(seal_check(seal), vector_check, SEAL_CHECK_SIZE), 0);
        ck_assert_int_eq(seal_open(seal, &row, vector_sealed, sizeof(vector_sealed), NULL, &opened),
                         0);
        ck_assert_str_eq(secret_text(opened), "LBEPrefresh-token");
        row.secret = secret_unref(row.secret);
}
END_TEST

static void add(TCase *tc) {
        tcase_add_loop_test(tc, round_trip, 0, N_ELEMENTS(lengths));
        tcase_add_test(tc, altered);
        tcase_add_test(tc, cut_short);
        tcase_add_loop_test(tc, row_moved, 0, N_ELEMENTS(moved));
        tcase_add_test(tc, other_key);
        tcase_add_test(tc, fresh_nonce);
        tcase_add_test(tc, known_answer);
}

CHECK_MAIN("seal", add)
