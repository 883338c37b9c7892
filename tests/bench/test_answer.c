#include "answer.h"

#include <string.h>

#include "check_main.h"

#define OK "HTTP/1.1 200 OK\r\n"

static const struct {
        const char *text;
        enum answer_state state;
        int status;
        size_t body;
        bool closes;
} rows[] = {
        { OK "Content-Length: 2\r\n\r\nhi", ANSWER_COMPLETE, 200, 2, false },
        { OK "content-length:2\r\n\r\nhi", ANSWER_COMPLETE, 200, 2, false },
        { OK "Content-Length: 0\r\n\r\n", ANSWER_COMPLETE, 200, 0, false },
        { "HTTP/1.1 503 \r\nContent-Length: 0\r\n\r\n", ANSWER_COMPLETE, 503, 0, false },
        { OK "Connection: Close\r\nContent-Length: 1\r\n\r\nx", ANSWER_COMPLETE, 200, 1, true },
        { OK "Connection: keep-alive\r\nContent-Length: 1\r\n\r\nx", ANSWER_COMPLETE, 200, 1,
          false },
        { "", ANSWER_PARTIAL, 0, 0, false },
        { "HTT", ANSWER_PARTIAL, 0, 0, false },
        { "HTTP/1.1 200", ANSWER_PARTIAL, 0, 0, false },
        { OK "Content-Length: 2\r\n\r", ANSWER_PARTIAL, 0, 0, false },
        { OK "Content-Length: 2\r\n\r\nh", ANSWER_PARTIAL, 0, 0, false },
        { OK "Content-Length: 2\r\n\r\nhi!", ANSWER_BROKEN, 0, 0, false }, /* more than announced */
        { OK "\r\n", ANSWER_BROKEN, 0, 0, false },                         /* no length */
        { OK "Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi", ANSWER_BROKEN, 0, 0, false },
        { OK "Content-Length: -2\r\n\r\nhi", ANSWER_BROKEN, 0, 0, false },
        { OK "Content-Length: 0x2\r\n\r\nhi", ANSWER_BROKEN, 0, 0, false },
        { OK "Content-Length: \r\n\r\nhi", ANSWER_BROKEN, 0, 0, false },
        { OK "Content-Length: 99999999999999999999\r\n\r\n", ANSWER_BROKEN, 0, 0, false },
        { OK "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", ANSWER_BROKEN, 0, 0, false },
        { OK "no colon\r\nContent-Length: 0\r\n\r\n", ANSWER_BROKEN, 0, 0, false },
        { "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", ANSWER_BROKEN, 0, 0, false },
        { "HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n", ANSWER_BROKEN, 0, 0, false },
        { "SSH-2.0", ANSWER_BROKEN, 0, 0, false },
};

START_TEST(framing)
{
        struct answer a = { .status = -1 };

        ck_assert_int_eq(answer_parse(rows[_i].text, strlen(rows[_i].text), &a), rows[_i].state);
        if (rows[_i].state != ANSWER_COMPLETE) {
                ck_assert_int_eq(a.status, -1); /* untouched */
                return;
        }
        ck_assert_int_eq(a.status, rows[_i].status);
        ck_assert_uint_eq(a.body, rows[_i].body);
        ck_assert_uint_eq(a.head + a.body, strlen(rows[_i].text));
        ck_assert_int_eq(a.closes, rows[_i].closes);
}
END_TEST

/* Whatever a good answer is cut into, every piece but the last is partial. */
START_TEST(every_cut)
{
        static const char text[] = OK "Date: now\r\nContent-Length: 4\r\n\r\nbody";
        struct answer a;

        for (size_t len = 0; len < sizeof(text) - 1; len++)
                ck_assert_int_eq(answer_parse(text, len, &a), ANSWER_PARTIAL);
        ck_assert_int_eq(answer_parse(text, sizeof(text) - 1, &a), ANSWER_COMPLETE);
}
END_TEST

static void add(TCase *tc) {
        tcase_add_loop_test(tc, framing, 0, N_ELEMENTS(rows));
        tcase_add_test(tc, every_cut);
}

CHECK_MAIN("answer", add)
