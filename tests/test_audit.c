#include "api/audit.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/log.h"
#include "check_main.h"

#define FP "0123456789abcdef"

struct rig {
        sd_event *event;
        struct inbox *inbox;
        struct audit *audit;
        int file, saved; /* standard error */
};

static struct rig rig;

static void set_up(void) {
        struct audit_parts parts = { .random = &random_system, .mode = AUDIT_ALL };

        ck_assert_int_ge(sd_event_new(&rig.event), 0);
        ck_assert_int_eq(inbox_new(&rig.inbox), 0);
        parts.event = rig.event;
        parts.loop = rig.inbox;
        ck_assert_int_eq(audit_new(&parts, &rig.audit), 0);
        rig.file = memfd_create("log", 0);
        rig.saved = dup(STDERR_FILENO);
        ck_assert_int_ge(dup2(rig.file, STDERR_FILENO), 0);
}

static void tear_down(void) {
        audit_free(rig.audit);
        ck_assert_int_ge(dup2(rig.saved, STDERR_FILENO), 0);
        (void) close(rig.saved);
        (void) close(rig.file);
        inbox_free(rig.inbox);
        sd_event_unref(rig.event);
}

/* What was written since; NULL-terminated, valid until the next call. */
static const char *written(void) {
        static char text[1 << 20];
        off_t end = lseek(rig.file, 0, SEEK_CUR);
        ssize_t n = pread(rig.file, text, sizeof(text) - 1, 0);

        ck_assert_int_eq(n, end);
        text[n] = '\0';
        ck_assert_int_eq(ftruncate(rig.file, 0), 0);
        ck_assert_int_eq(lseek(rig.file, 0, SEEK_SET), 0);
        return text;
}

static size_t lines(const char *text, const char *with) {
        size_t n = 0;

        for (const char *p = text; (p = strstr(p, with)); p++)
                n++;
        return n;
}

/* The counts of all lines of an outcome together. */
static uint64_t total(const char *text, const char *outcome) {
        uint64_t sum = 0;

        for (const char *p = text; (p = strstr(p, outcome)); p++)
                sum += strtoull(strstr(p, "count=") + strlen("count="), NULL, 10);
        return sum;
}

static struct caller caller_of(uid_t uid, pid_t pid, const char *unit) {
        return (struct caller){
                .peer = { .uid = uid,
                          .gid = 50,
                          .pid = pid,
                          .unit_is = unit ? PEER_UNIT_KNOWN : PEER_UNIT_NONE,
                          .unit = (char *) (uintptr_t) unit },
                .fd = -1,
        };
}

START_TEST(first_at_once_repeats_counted)
{
        struct caller c = caller_of(1000, 7, "app.service");
        const char *text;

        for (int i = 0; i < 1000; i++)
                audit_record(rig.audit, AUDIT_HANDED_OUT, &c, "bot", "alice", FP);
        inbox_run(rig.inbox);
        text = written();
        ck_assert_uint_eq(lines(text, "event="), 1);
        ck_assert_ptr_nonnull(
                strstr(text, "event=token_handed_out outcome=handed_out uid=1000 gid=50 pid=7 "
                             "unit=app.service credential=bot subject=\"alice\" "
                             "fingerprint=" FP " count=1000\n"));
        for (int i = 0; i < 17; i++)
                audit_record(rig.audit, AUDIT_HANDED_OUT, &c, "bot", "alice", FP);
        inbox_run(rig.inbox);
        ck_assert_str_eq(written(), ""); /* they wait for the interval to end */
        audit_sweep(rig.audit);
        text = written();
        ck_assert_uint_eq(lines(text, "event="), 1);
        ck_assert_ptr_nonnull(strstr(text, " count=17\n"));
        audit_sweep(rig.audit);
        ck_assert_str_eq(written(), "");
}
END_TEST

START_TEST(what_differs_is_told_apart)
{
        struct caller callers[] = { caller_of(1000, 7, "a.service"),
                                    caller_of(1001, 7, "a.service"),
                                    caller_of(1000, 8, "a.service"),
                                    caller_of(1000, 7, "b.service"), caller_of(1000, 9, NULL) };
        const char *text;

        for (int times = 0; times < 2; times++)
                for (size_t i = 0; i < N_ELEMENTS(callers); i++)
                        audit_record(rig.audit, AUDIT_HANDED_OUT, &callers[i], "bot", "", FP);
        audit_record(rig.audit, AUDIT_HANDED_OUT, &callers[0], "bot", "x", FP);
        audit_record(rig.audit, AUDIT_HANDED_OUT, &callers[0], "bot2", "", FP);
        audit_record(rig.audit, AUDIT_HANDED_OUT, &callers[0], "bot", "", "fedcba9876543210");
        audit_record(rig.audit, AUDIT_USE_DENIED, &callers[0], "bot", "", "");
        audit_record(rig.audit, AUDIT_ADMIN_DENIED, &callers[0], "bot", "", "");
        audit_flush(rig.audit);
        text = written();
        ck_assert_uint_eq(lines(text, "event="), 10);
        ck_assert_uint_eq(lines(text, "count=2\n"), 5);
        ck_assert_uint_eq(lines(text, "unit=- "), 1);
        ck_assert_uint_eq(lines(text, "event=access_refused"), 2);
        ck_assert_ptr_nonnull(
                strstr(text, "warning event=access_refused outcome=use_denied uid=1000 gid=50 "
                             "pid=7 unit=a.service credential=bot subject=\"\" "
                             "fingerprint=- count=1\n"));
}
END_TEST

/* However many there are: lines may be merged, counts add up. */
START_TEST(a_flood_loses_no_count)
{
        struct caller c = caller_of(1000, 7, NULL);
        char subject[32];
        const char *text;

        for (int i = 0; i < 5000; i++) {
                (void) snprintf(subject, sizeof(subject), "s%d", i);
                audit_record(rig.audit, AUDIT_HANDED_OUT, &c, "bot", subject, FP);
                audit_record(rig.audit, AUDIT_USE_DENIED, &c, "hers", subject, "");
        }
        audit_flush(rig.audit);
        text = written();
        ck_assert_uint_le(lines(text, "subject="), AUDIT_ENTRIES);
        ck_assert_uint_gt(lines(text, "subject="), AUDIT_ENTRIES / 2);
        ck_assert_uint_eq(total(text, "outcome=handed_out"), 5000);
        ck_assert_uint_eq(total(text, "outcome=use_denied"), 5000);
        /* who came meanwhile has a place again */
        audit_record(rig.audit, AUDIT_HANDED_OUT, &c, "other", "", FP);
        audit_flush(rig.audit);
        ck_assert_uint_eq(lines(written(), "credential=other"), 1);
}
END_TEST

START_TEST(the_end_loses_no_count)
{
        struct caller c = caller_of(1000, 7, NULL);

        audit_record(rig.audit, AUDIT_HANDED_OUT, &c, "bot", "", FP);
        audit_flush(rig.audit);
        for (int i = 0; i < 4; i++)
                audit_record(rig.audit, AUDIT_HANDED_OUT, &c, "bot", "", FP);
        rig.audit = audit_free(rig.audit);
        ck_assert_uint_eq(total(written(), "outcome=handed_out"), 5);
}
END_TEST

static const struct {
        enum audit_mode mode;
        enum log_level level;
        size_t given, refused;
} modes[] = {
        { AUDIT_ALL, LOG_LEVEL_INFO, 1, 1 },  { AUDIT_REFUSALS, LOG_LEVEL_INFO, 0, 1 },
        { AUDIT_OFF, LOG_LEVEL_DEBUG, 0, 0 }, { AUDIT_ALL, LOG_LEVEL_WARNING, 0, 1 },
        { AUDIT_ALL, LOG_LEVEL_ERROR, 0, 0 },
};

START_TEST(only_what_is_wanted)
{
        struct caller c = caller_of(1000, 7, NULL);
        const char *text;

        log_set_level(modes[_i].level);
        audit_set_mode(rig.audit, modes[_i].mode);
        audit_record(rig.audit, AUDIT_HANDED_OUT, &c, "bot", "", FP);
        audit_record(rig.audit, AUDIT_USE_DENIED, &c, "bot", "", "");
        audit_sweep(rig.audit);
        text = written();
        log_set_level(LOG_LEVEL_INFO);
        ck_assert_uint_eq(lines(text, "token_handed_out"), modes[_i].given);
        ck_assert_uint_eq(lines(text, "access_refused"), modes[_i].refused);
}
END_TEST

static void add(TCase *tc) {
        tcase_add_checked_fixture(tc, set_up, tear_down);
        tcase_add_test(tc, first_at_once_repeats_counted);
        tcase_add_test(tc, what_differs_is_told_apart);
        tcase_add_test(tc, a_flood_loses_no_count);
        tcase_add_test(tc, the_end_loses_no_count);
        tcase_add_loop_test(tc, only_what_is_wanted, 0, N_ELEMENTS(modes));
}

CHECK_MAIN("audit", add)
