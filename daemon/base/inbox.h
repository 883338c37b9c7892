#pragma once
/*
 * Inbox: how one thread gives another something to do
 *
 * A message is embedded in what it is about; posting it hands that over to the receiving thread, which
 * runs it from its loop when inbox_fd() becomes readable. Posting never blocks on the receiver and never
 * allocates. Messages run in the order in which they were posted.
 *
 * Threading: inbox_post() from any thread; all else by the receiver.
 */

struct inbox;

struct message {
        struct message *next;
        void (*run)(struct message *m);
};

int inbox_new(struct inbox **ret); /* 0, -ENOMEM, or what eventfd(2) said */

/* Nothing must be posted any more; what is still in it is not run. Returns NULL. */
struct inbox *inbox_free(struct inbox *i);

int inbox_fd(const struct inbox *i); /* readable when there is something to run */
void inbox_post(struct inbox *i, struct message *m);
void inbox_run(struct inbox *i);
