#include "base/journal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check_main.h"

/* MESSAGE and PRIORITY come first, and are checked apart. */
static const struct {
        const char *line;
        const char *fields[8];
} lines[] = {
        { "event=stopping signal=15", { "BEARERD_EVENT=stopping", "BEARERD_SIGNAL=15" } },
        { "credential=bot subject=\"\" event=x",
          { "BEARERD_CREDENTIAL=bot", "BEARERD_SUBJECT=", "BEARERD_EVENT=x" } },
        { "subject=\"a b=c\" event=x", { "BEARERD_SUBJECT=a b=c", "BEARERD_EVENT=x" } },
        { "event=x advice=\"use \"bot\" or set it\"",
          { "BEARERD_EVENT=x", "BEARERD_ADVICE=use \"bot\" or set it" } },
        { "advice=\"use \"bot\"\" event=x", { "BEARERD_ADVICE=use \"bot\"", "BEARERD_EVENT=x" } },
        { "event=x reason=\"it was cut", { "BEARERD_EVENT=x", "BEARERD_REASON=it was cut" } },
        { "event=x reason=\"", { "BEARERD_EVENT=x", "BEARERD_REASON=" } },
        { "event= code=-", { "BEARERD_EVENT=", "BEARERD_CODE=-" } },
        { "no pair Here=no 1=one event=x", { "BEARERD_1=one", "BEARERD_EVENT=x" } },
        { "=x event=x  ", { "BEARERD_EVENT=x" } },
        { "", { NULL } },
        { "lifetime=\"14min 59s\" next_us=5",
          { "BEARERD_LIFETIME=14min 59s", "BEARERD_NEXT_US=5" } },
        { "a_key_that_is_longer_than_the_journal_allows_for_a_name_of_fields=1 event=x",
          { "BEARERD_EVENT=x" } },
        /* an event that operators filter on: that one only, and not one that begins like it */
        { "event=started version=1",
          { "BEARERD_EVENT=started", "MESSAGE_ID=77c14efa2fa24d438a5d40954a09cc78",
            "BEARERD_VERSION=1" } },
        { "event=start x=1", { "BEARERD_EVENT=start", "BEARERD_X=1" } },
        { "x=started", { "BEARERD_X=started" } },
};

static size_t fields_of(const char *line, char *buf, size_t size, char texts[][512], size_t max) {
        struct iovec fields[JOURNAL_FIELDS_MAX];
        size_t n = journal_fields(4, line, buf, size, fields, max);

        for (size_t i = 0; i < n; i++)
                (void) snprintf(texts[i], sizeof(texts[i]), "%.*s", (int) fields[i].iov_len,
                                (char *) fields[i].iov_base);
        return n;
}

START_TEST(pairs)
{
        char buf[2048], texts[JOURNAL_FIELDS_MAX][512], message[512];
        size_t n = fields_of(lines[_i].line, buf, sizeof(buf), texts, JOURNAL_FIELDS_MAX),
               expected = 0;

        while (expected < N_ELEMENTS(lines[_i].fields) && lines[_i].fields[expected])
                expected++;
        (void) snprintf(message, sizeof(message), "MESSAGE=%s", lines[_i].line);
        ck_assert_uint_eq(n, expected + 2);
        ck_assert_str_eq(texts[0], message);
        ck_assert_str_eq(texts[1], "PRIORITY=4");
        for (size_t i = 0; i < expected; i++)
                ck_assert_str_eq(texts[i + 2], lines[_i].fields[i]);
}
END_TEST

START_TEST(too_many)
{
        char buf[2048], texts[JOURNAL_FIELDS_MAX][512];

        ck_assert_uint_eq(fields_of("a=1 b=2 c=3", buf, sizeof(buf), texts, 4), 4);
        ck_assert_str_eq(texts[3], "BEARERD_B=2");
}
END_TEST

/* Whatever the size of the buffer, what is described is whole. */
START_TEST(too_long)
{
        static const char line[] = "event=started reason=\"long enough\" x=1";
        char buf[2048], texts[JOURNAL_FIELDS_MAX][512];
        size_t most = fields_of(line, buf, sizeof(buf), texts, JOURNAL_FIELDS_MAX), n = 0;

        ck_assert_uint_eq(most, 6);
        for (size_t size = 0; size < 256; size++) {
                AUTO(auto_freep) char *exact = malloc(size + 1);

                n = fields_of(line, exact, size, texts, JOURNAL_FIELDS_MAX);
                ck_assert_uint_le(n, most);
                for (size_t i = 0; i < n; i++)
                        ck_assert_ptr_nonnull(strchr(texts[i], '='));
        }
        ck_assert_uint_eq(n, most);
}
END_TEST

START_TEST(behind)
{
        char stream[64];
        struct stat st;
        int ends[2];

        ck_assert_int_eq(pipe(ends), 0);
        ck_assert_int_eq(fstat(ends[1], &st), 0);
        (void) unsetenv("JOURNAL_STREAM");
        ck_assert(!journal_is_behind(ends[1]));
        (void) snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t) st.st_dev,
                        (uintmax_t) st.st_ino);
        (void) setenv("JOURNAL_STREAM", stream, 1);
        ck_assert(journal_is_behind(ends[1]));
        ck_assert(!journal_is_behind(STDIN_FILENO)); /* somebody has redirected it */
        ck_assert(!journal_is_behind(-1));
        (void) snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t) st.st_dev,
                        (uintmax_t) st.st_ino + 1);
        (void) setenv("JOURNAL_STREAM", stream, 1);
        ck_assert(!journal_is_behind(ends[1]));
        (void) setenv("JOURNAL_STREAM", "journal", 1);
        ck_assert(!journal_is_behind(ends[1]));
        (void) close(ends[0]);
        (void) close(ends[1]);
}
END_TEST

static void add(TCase *tc) {
        tcase_add_loop_test(tc, pairs, 0, (int) N_ELEMENTS(lines));
        tcase_add_test(tc, too_many);
        tcase_add_test(tc, too_long);
        tcase_add_test(tc, behind);
}

CHECK_MAIN("journal", add)
