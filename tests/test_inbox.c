#include "base/inbox.h"

#include <poll.h>
#include <pthread.h>

#include "base/list.h"
#include "check_main.h"

#define POSTERS 4
#define EACH    20000

struct letter {
        struct message message;
        unsigned poster, number;
};

static struct inbox *inbox;
static struct letter letters[POSTERS][EACH];
static unsigned next_number[POSTERS], received, out_of_order;

static void receive(struct message *m) {
        struct letter *l = list_entry(m, struct letter, message);

        if (l->number != next_number[l->poster]++)
                out_of_order++;
        received++;
}

static void *post(void *arg) {
        struct letter *mine = arg;

        for (unsigned i = 0; i < EACH; i++)
                inbox_post(inbox, &mine[i].message);
        return NULL;
}

START_TEST(everything_arrives_in_order)
{
        pthread_t threads[POSTERS];

        ck_assert_int_eq(inbox_new(&inbox), 0);
        for (unsigned p = 0; p < POSTERS; p++) {
                for (unsigned i = 0; i < EACH; i++)
                        letters[p][i] = (struct letter){ .message.run = receive,
                                                         .poster = p,
                                                         .number = i };
                ck_assert_int_eq(pthread_create(&threads[p], NULL, post, letters[p]), 0);
        }
        while (received < POSTERS * EACH) {
                struct pollfd pfd = { .fd = inbox_fd(inbox), .events = POLLIN };

                ck_assert_int_eq(poll(&pfd, 1, 20000), 1); /* a lost wake-up ends here */
                inbox_run(inbox);
        }
        for (unsigned p = 0; p < POSTERS; p++)
                (void) pthread_join(threads[p], NULL);
        ck_assert_uint_eq(out_of_order, 0);
        inbox_free(inbox);
}
END_TEST

static void add(TCase *tc) {
        tcase_add_test(tc, everything_arrives_in_order);
}

CHECK_MAIN("inbox", add)
