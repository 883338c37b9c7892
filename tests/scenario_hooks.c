#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check_main.h"
#include "hook/hook.h"
#include "world.h"

/*
 * Hooks: real programs and files, on a clock that the test drives. What a program does is waited for, what time does is not.
 */

#define TURNS_MAX 2000 /* of 10 ms, before a test gives up */
#define PAT_VALUE "pat_0123456789abcdef"

static struct world w;
static struct hooks *hooks;
static sd_event *event;
static char directory[64];

/* --- what the programs write --- */

static const char *path(const char *name) {
        static char paths[8][128];
        static unsigned n;

        n = (n + 1) % N_ELEMENTS(paths);
        (void) snprintf(paths[n], sizeof(paths[n]), "%s/%s", directory, name);
        return paths[n];
}

/* Valid until the next call; "" if there is no such file. */
static const char *read_file(const char *name) {
        static char text[4096];
        int fd = open(path(name), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);

        ck_assert_int_ge(n, 0);
        text[n] = '\0';
        if (fd >= 0)
                (void) close(fd);
        return text;
}

static size_t count_lines(const char *name) {
        size_t n = 0;

        for (const char *p = read_file(name); (p = strchr(p, '\n')); p++)
                n++;
        return n;
}

static void turn(void) {
        ck_assert_int_ge(sd_event_run(event, 10 * US_PER_MS), 0);
}

/* Waits until so many runs have left a line there. */
static void await_lines(const char *name, size_t n) {
        for (int i = 0; i < TURNS_MAX && count_lines(name) < n; i++)
                turn();
        ck_assert_uint_eq(count_lines(name), n);
}

/* --- the set --- */

static void set_command(struct conf_list *list, const char *script) {
        char command[512];

        (void) snprintf(command, sizeof(command), "cd %s && %s", directory, script);
        list->words = calloc(3, sizeof(char *));
        list->n = 3;
        list->words[0] = strdup("/bin/sh");
        list->words[1] = strdup("-c");
        list->words[2] = strdup(command);
}

static void drop_command(struct conf_list *list) {
        for (size_t i = 0; i < list->n; i++)
                free(list->words[i]);
        free(list->words);
        *list = (struct conf_list){ 0 };
}

static void hear(struct world *world, const struct change *change) {
        (void) world;
        hooks_tell(hooks, change);
}

static struct hooks *make_hooks(const struct conf *conf) {
        const struct hooks_parts parts = {
                .command = { .event = event, .timers = w.timers, .clock = &w.clock.seam },
                .cache = w.cache,
        };
        struct hooks *made;

        ck_assert_int_eq(hooks_new(&parts, conf, &made), 0);
        return made;
}

static void prepare(void) {
        strcpy(directory, "/tmp/bearerd-hooks-XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(directory));
        ck_assert_int_ge(sd_event_new(&event), 0);
        world_start(&w);
}

static void begin(void) {
        hooks = make_hooks(&w.conf);
        w.told = hear;
        hooks_start(hooks, w.broker);
}

static void end(void) {
        char command[128];

        w.told = NULL;
        hooks = hooks_free(hooks);
        world_done(&w);
        for (size_t i = 0; i < N_CREDENTIALS; i++) {
                drop_command(&w.credential[i].on_change);
                drop_command(&w.credential[i].on_authorization_required);
        }
        sd_event_unref(event);
        (void) snprintf(command, sizeof(command), "rm -r %s", directory);
        ck_assert_int_eq(system(command), 0);
}

static void ignore_end(void *user, int r) {
        (void) user;
        (void) r;
}

static void set_pat(const char *text, int64_t life_s) {
        AUTO(secret_unrefp) struct secret *value = secret_new(text, strlen(text));

        ck_assert_int_eq(broker_set_static_token(w.broker, w.credentials[PAT], value,
                                                 (wall_t){ w.clock.wall.s + life_s }, ignore_end,
                                                 NULL),
                         0);
        fake_store_complete_all(w.store);
}

/* Another configuration, the same but for what the test changes. */
static struct next {
        struct conf conf;
        struct conf_credential credential[N_CREDENTIALS], *credentials[N_CREDENTIALS];
} next;

static void next_init(size_t n) {
        next.conf = w.conf;
        next.conf.names = (struct table){ 0 };
        next.conf.credentials = next.credentials;
        next.conf.n_credentials = n;
        for (size_t i = 0; i < n; i++) {
                next.credential[i] = w.credential[i];
                next.credentials[i] = &next.credential[i];
        }
        ck_assert_int_eq(conf_index(&next.conf), 0);
}

/* As main does: the hooks first, then the broker, then the start of the hooks. */
static void next_adopt(void) {
        struct broker_change *change;
        struct why why = { "" };
        struct hooks *made;

        ck_assert_int_eq(broker_prepare(w.broker, &next.conf, &why, &change), 0);
        made = make_hooks(&next.conf);
        hooks_succeed(made, hooks);
        hooks = made;
        broker_adopt(w.broker, change);
        for (size_t i = 0; i < next.conf.n_credentials; i++)
                w.credentials[i] = &next.credential[i];
        hooks_start(hooks, w.broker);
}

static void next_end(void) {
        end();
        table_done(&next.conf.names);
}

/* --- on_authorization_required --- */

#define TELL "echo \"$BEARERD_EVENT $BEARERD_CREDENTIAL [$BEARERD_SUBJECT] $BEARERD_REASON\" >>told"

START_TEST(somebody_is_reminded)
{
        prepare();
        w.credential[PAT].remind_every_us = US_PER_D;
        set_command(&w.credential[PAT].on_authorization_required, TELL);
        begin();
        await_lines("told", 1); /* at start */
        ck_assert_ptr_nonnull(strstr(read_file("told"), "authorization_required pat [] "));
        ck_assert_ptr_nonnull(strstr(read_file("told"), "bearerctl set pat"));
        for (size_t day = 2; day < 5; day++) {
                world_pass(&w, US_PER_D - 1);
                turn();
                ck_assert_uint_eq(count_lines("told"), day - 1);
                world_pass(&w, 1); /* no more, or its minute is over before it has begun */
                await_lines("told", day);
        }
        set_pat(PAT_VALUE, 10 * 86400);
        world_pass(&w, 9 * US_PER_D);
        turn();
        ck_assert_uint_eq(count_lines("told"), 4); /* there is a token */
        world_pass(&w, US_PER_D);
        await_lines("told", 5); /* it has run out */
        ck_assert_ptr_nonnull(strstr(read_file("told"), "expired"));
        world_pass(&w, US_PER_D);
        await_lines("told", 6);
        end();
}
END_TEST

START_TEST(on_purpose_is_no_news)
{
        prepare();
        w.credential[PAT].remind_every_us = US_PER_D;
        set_command(&w.credential[PAT].on_authorization_required, TELL);
        begin();
        await_lines("told", 1);
        set_pat(PAT_VALUE, 10 * 86400);
        ck_assert_int_eq(broker_forget(w.broker, w.credentials[PAT], "", ignore_end, NULL), 0);
        fake_store_complete_all(w.store);
        world_pass(&w, 5 * US_PER_D);
        turn();
        ck_assert_uint_eq(count_lines("told"), 1);
        end();
}
END_TEST

/* --- a command --- */

static int fifo(void) {
        int fd;

        ck_assert_int_eq(mkfifo(path("fifo"), 0600), 0);
        fd = open(path("fifo"), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        ck_assert_int_ge(fd, 0);
        return fd;
}

/* Does anybody have it open for writing? */
static bool is_held(int fd) {
        char c;

        return read(fd, &c, 1) < 0;
}

static void await_held(int fd, bool held) {
        for (int i = 0; i < TURNS_MAX && is_held(fd) != held; i++)
                turn();
        ck_assert_int_eq(is_held(fd), held);
}

/* A shell, and what it has started in turn. */
#define HANG "exec 3>fifo; echo x >>told; sleep 60 & sleep 60; wait"

START_TEST(one_that_hangs_is_killed_with_its_children)
{
        int fd;

        prepare();
        world_keep_log();
        fd = fifo();
        set_command(&w.credential[PAT].on_change, HANG);
        begin();
        set_pat("pat_1", 86400);
        await_held(fd, true);
        set_pat("pat_2", 86400); /* waits */
        world_pass(&w, COMMAND_LIMIT_US - 1);
        turn();
        ck_assert(is_held(fd));
        ck_assert_uint_eq(count_lines("told"), 1);
        ck_assert(!world_logged("hook_killed"));
        world_pass(&w, 1);
        await_lines("told", 2); /* its turn has come */
        ck_assert(world_logged("event=hook_killed hook=on_change"));
        ck_assert(world_logged("event=hook_failed hook=on_change command=\"/bin/sh\" signal=9"));
        await_held(fd, true);
        w.told = NULL;
        hooks = hooks_free(hooks);
        await_held(fd, false); /* nor does anything outlive the daemon */
        (void) close(fd);
        end();
}
END_TEST

START_TEST(one_that_ends_is_not_killed_later)
{
        prepare();
        world_keep_log();
        set_command(&w.credential[PAT].on_change, "echo x >>told");
        begin();
        set_pat("pat_1", 86400);
        await_lines("told", 1);
        for (int i = 0; i < TURNS_MAX && timers_first(w.timers); i++) {
                turn();
                world_pass(&w, 0);
                if (mono_until(w.clock.mono, timers_next(w.timers)) > COMMAND_LIMIT_US)
                        break; /* its limit is not planned any more; the token's end is */
        }
        world_pass(&w, 2 * COMMAND_LIMIT_US);
        turn();
        ck_assert(!world_logged("hook_killed"));
        end();
}
END_TEST

START_TEST(a_crowd_of_subjects_is_bounded)
{
        struct change change = { .kind = CHANGE_TOKEN };
        char subject[16];
        int fd;

        prepare();
        world_keep_log();
        fd = fifo();
        set_command(&w.credential[BOT].on_change, HANG);
        begin();
        change.credential = w.credentials[BOT];
        change.subject = subject;
        for (int i = 0; i < COMMAND_WAITING_MAX + 1; i++) { /* one runs */
                (void) snprintf(subject, sizeof(subject), "%d", i);
                hooks_tell(hooks, &change);
        }
        ck_assert(!world_logged("event=hook_dropped"));
        for (int i = 0; i < 1000; i++) {
                (void) snprintf(subject, sizeof(subject), "late%d", i);
                hooks_tell(hooks, &change);
        }
        ck_assert(world_logged("event=hook_dropped"));
        ck_assert(!world_logged_twice("event=hook_dropped"));
        (void) close(fd);
        end();
}
END_TEST

/* --- another configuration --- */

/* Somebody has been told of PAT by `script`, and a command of BOT hangs. What is held by it. */
static int begin_busy(const char *script) {
        int fd;

        prepare();
        fd = fifo();
        w.credential[PAT].remind_every_us = US_PER_D;
        set_command(&w.credential[PAT].on_authorization_required, script);
        set_command(&w.credential[BOT].on_change, HANG);
        begin();
        await_lines("told", 1);
        hooks_tell(hooks, &(struct change){ .kind = CHANGE_TOKEN,
                                            .credential = w.credentials[BOT],
                                            .subject = "" });
        await_held(fd, true);
        await_lines("told", 2);
        return fd;
}

START_TEST(a_reload_disturbs_nobody)
{
        int fd = begin_busy(TELL);

        world_pass(&w, 30 * US_PER_S);
        next_init(N_CREDENTIALS);
        next_adopt();
        ck_assert(is_held(fd));
        world_pass(&w, 29 * US_PER_S);
        ck_assert(is_held(fd));
        world_pass(&w, US_PER_S);
        await_held(fd, false); /* its minute is over */
        turn();
        ck_assert_uint_eq(count_lines("told"), 2); /* who was told already is not told again */
        world_pass(&w, US_PER_D - US_PER_MIN);
        await_lines("told", 3); /* but when it is time */
        (void) close(fd);
        next_end();
}
END_TEST

START_TEST(what_has_changed_is_told)
{
        int fd = begin_busy("echo old >>told");

        next_init(N_CREDENTIALS);
        set_command(&next.credential[PAT].on_authorization_required, "echo new >>told");
        next.credential[PAT].remind_every_us = US_PER_H;
        next.credential[BOT].on_change = (struct conf_list){ 0 };
        next_adopt();
        await_held(fd, false); /* nobody wants it any more */
        await_lines("told", 3);
        ck_assert_ptr_nonnull(strstr(read_file("told"), "new"));
        world_pass(&w, US_PER_H);
        await_lines("told", 4);
        drop_command(&next.credential[PAT].on_authorization_required);
        (void) close(fd);
        next_end();
}
END_TEST

/* Sooner, if it is sooner: counted from the last time. */
START_TEST(another_span_counts_from_the_last_time)
{
        prepare();
        w.credential[PAT].remind_every_us = 10 * US_PER_D;
        set_command(&w.credential[PAT].on_authorization_required, TELL);
        begin();
        await_lines("told", 1);
        world_pass(&w, US_PER_D);
        next_init(N_CREDENTIALS);
        next.credential[PAT].remind_every_us = 2 * US_PER_D;
        next_adopt();
        world_pass(&w, US_PER_D - 1);
        turn();
        ck_assert_uint_eq(count_lines("told"), 1);
        world_pass(&w, 1);
        await_lines("told", 2);
        next_end();
}
END_TEST

/* --- token_file_out --- */

static void set_file(struct conf_credential *c, const char *name) {
        c->token_file_out = strdup(path(name));
        c->token_file_mode = 0640;
        c->token_file_group = (gid_t) -1;
}

#define assert_file(name, text) ck_assert_str_eq(read_file(name), (text))

START_TEST(a_file_follows_its_token)
{
        prepare();
        set_file(&w.credential[PAT], "token");
        begin();
        assert_file("token", "");
        set_pat("pat_1", 3600);
        assert_file("token", "pat_1");
        set_pat("pat_2", 3600);
        assert_file("token", "pat_2");
        world_pass(&w, US_PER_H);
        assert_file("token", ""); /* a person has to act */
        ck_assert_int_lt(access(path("token"), F_OK), 0);
        free(w.credential[PAT].token_file_out);
        end();
}
END_TEST

START_TEST(an_outage_leaves_the_file)
{
        struct caller c;

        prepare();
        set_file(&w.credential[BOT], "token");
        begin();
        caller_ask(&w, &c, BOT, "alice", -1, 30, NULL);
        world_grant(&w, 900);
        assert_file("token", ""); /* a subject's is nobody's business */
        caller_ask(&w, &c, BOT, "", -1, 30, NULL);
        world_grant(&w, 900);
        assert_file("token", c.value);
        for (int i = 0; i < 60; i++) {
                struct caller other;

                world_pass(&w, US_PER_MIN);
                caller_ask(&w, &other, BOT, "", -1, 0, NULL);
                while (fake_transport_waiting(w.transport) > 0)
                        fake_transport_fail(w.transport, HTTP_NOT_SENT);
        }
        assert_file("token", c.value);
        free(w.credential[BOT].token_file_out);
        end();
}
END_TEST

START_TEST(what_cannot_be_written_is_tried_again)
{
        prepare();
        world_keep_log();
        set_file(&w.credential[PAT], "missing/token");
        begin();
        set_pat("pat_1", 86400);
        ck_assert(world_logged("event=token_file_failed"));
        ck_assert(world_logged("make its directory"));
        world_pass(&w, HOOK_FILE_RETRY_US);
        ck_assert_int_eq(mkdir(path("missing"), 0700), 0);
        world_pass(&w, HOOK_FILE_RETRY_US - 1);
        assert_file("missing/token", "");
        world_pass(&w, 1);
        assert_file("missing/token", "pat_1");
        ck_assert(world_logged("event=token_file_recovered"));
        world_pass(&w, US_PER_H);
        free(w.credential[PAT].token_file_out);
        end();
}
END_TEST

/* Neither a link nor what a dead daemon has left leads elsewhere. */
START_TEST(a_link_is_replaced_not_followed)
{
        struct stat st;

        prepare();
        set_file(&w.credential[PAT], "token");
        ck_assert_int_eq(symlink(path("victim"), path("token")), 0);
        ck_assert_int_eq(symlink(path("victim"), path("token.new")), 0);
        begin();
        set_pat("pat_1", 86400);
        ck_assert_int_eq(lstat(path("token"), &st), 0);
        ck_assert(S_ISREG(st.st_mode));
        ck_assert_uint_eq(st.st_mode & 07777, 0640);
        ck_assert_int_lt(access(path("victim"), F_OK), 0);
        ck_assert_int_lt(lstat(path("token.new"), &st), 0);
        assert_file("token", "pat_1");
        free(w.credential[PAT].token_file_out);
        end();
}
END_TEST

START_TEST(a_directory_in_its_place)
{
        prepare();
        world_keep_log();
        set_file(&w.credential[PAT], "token");
        ck_assert_int_eq(mkdir(path("token"), 0700), 0);
        begin();
        set_pat("pat_1", 86400);
        ck_assert(world_logged("event=token_file_failed"));
        ck_assert_int_lt(access(path("token.new"), F_OK), 0);
        ck_assert_int_eq(rmdir(path("token")), 0);
        world_pass(&w, HOOK_FILE_RETRY_US);
        assert_file("token", "pat_1");
        free(w.credential[PAT].token_file_out);
        end();
}
END_TEST

START_TEST(a_reload_writes_at_once_and_removes_what_was)
{
        struct caller c;

        prepare();
        set_file(&w.credential[TV], "gone"); /* the last one, which is removed */
        set_file(&w.credential[KEPT], "moves");
        begin();
        caller_ask(&w, &c, BOT, "", -1, 30, NULL);
        world_grant(&w, 900);
        ck_assert_int_eq(close(creat(path("gone"), 0600)), 0);
        ck_assert_int_eq(close(creat(path("moves"), 0600)), 0);
        next_init(N_CREDENTIALS - 1);
        set_file(&next.credential[BOT], "token"); /* new, and there is a token */
        set_file(&next.credential[KEPT], "moved");
        next_adopt();
        assert_file("token", c.value);
        ck_assert_int_lt(access(path("moves"), F_OK), 0);
        ck_assert_int_lt(access(path("gone"), F_OK), 0);
        free(next.credential[BOT].token_file_out);
        free(next.credential[KEPT].token_file_out);
        free(w.credential[TV].token_file_out);
        free(w.credential[KEPT].token_file_out);
        next_end();
}
END_TEST

/* What is there stays until what comes is there as a whole. */
START_TEST(a_full_disk_leaves_the_old_one)
{
        const struct rlimit full = { 3, RLIM_INFINITY }, roomy = { RLIM_INFINITY, RLIM_INFINITY };

        prepare();
        set_file(&w.credential[PAT], "token");
        begin();
        set_pat("pat_1", 86400);
        (void) signal(SIGXFSZ, SIG_IGN);
        ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &full), 0); /* three bytes go, and then no more */
        set_pat("pat_2", 86400);
        ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &roomy), 0);
        assert_file("token", "pat_1");
        ck_assert_int_lt(access(path("token.new"), F_OK), 0);
        world_pass(&w, HOOK_FILE_RETRY_US);
        assert_file("token", "pat_2");
        free(w.credential[PAT].token_file_out);
        end();
}
END_TEST

/* A file that changes hands is not removed behind its new owner's back. */
START_TEST(a_file_may_change_hands)
{
        prepare();
        set_file(&w.credential[PAT], "token");
        begin();
        set_pat("pat_1", 86400);
        next_init(N_CREDENTIALS);
        next.credential[BOT].token_file_out = TAKE(next.credential[PAT].token_file_out);
        next.credential[BOT].token_file_mode = 0600;
        next.credential[BOT].token_file_group = (gid_t) -1;
        next_adopt();
        assert_file("token", "pat_1"); /* until the new one has a token */
        free(w.credential[PAT].token_file_out);
        next_end();
}
END_TEST

static bool can_run_commands(void) {
        int fd = pidfd_open(getpid(), 0);

        if (fd < 0)
                (void) puts("NOT TESTED: no pidfd_open(2) here, as under valgrind; so no command");
        else
                (void) close(fd);
        return fd >= 0;
}

static void add(TCase *tc) {
        world_prepare();
        tcase_set_timeout(tc, 60);
        if (can_run_commands()) {
                tcase_add_test(tc, somebody_is_reminded);
                tcase_add_test(tc, on_purpose_is_no_news);
                tcase_add_test(tc, one_that_hangs_is_killed_with_its_children);
                tcase_add_test(tc, one_that_ends_is_not_killed_later);
                tcase_add_test(tc, a_crowd_of_subjects_is_bounded);
                tcase_add_test(tc, a_reload_disturbs_nobody);
                tcase_add_test(tc, what_has_changed_is_told);
                tcase_add_test(tc, another_span_counts_from_the_last_time);
        }
        tcase_add_test(tc, a_file_follows_its_token);
        tcase_add_test(tc, an_outage_leaves_the_file);
        tcase_add_test(tc, what_cannot_be_written_is_tried_again);
        tcase_add_test(tc, a_link_is_replaced_not_followed);
        tcase_add_test(tc, a_directory_in_its_place);
        tcase_add_test(tc, a_full_disk_leaves_the_old_one);
        tcase_add_test(tc, a_reload_writes_at_once_and_removes_what_was);
        tcase_add_test(tc, a_file_may_change_hands);
}

CHECK_MAIN("hooks", add)
