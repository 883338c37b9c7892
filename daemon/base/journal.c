#include "base/journal.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-journal.h>

#include "base/auto.h"

#define JOURNAL_PREFIX    "BEARERD_"
#define JOURNAL_KEY_CHARS "abcdefghijklmnopqrstuvwxyz0123456789_"
#define JOURNAL_BUF_MAX                                                                            \
        5120 /* a line of the log, once more in pairs, and a prefix for each of them */

static const struct {
        const char *event, *id;
} journal_events[] = {
        /* the daemon */
        { "started", "77c14efa2fa24d438a5d40954a09cc78" },
        { "stopped", "27fc6bea82164dbe9701a5302d73dd00" },
        { "reloaded", "cbe83281b2cf40d491fb9cce977923a5" },
        { "reload_refused", "039906c2be9e4a49b14909fa96371180" },
        { "start_failed", "0f792dd6fa984016ba01d3cfa09d04ea" },
        { "configuration", "98f81ff3c1c442beaf4da37fba741b08" },
        { "unconfigured", "51ac013d405040e8a4b0a3d7f4d9e9d4" },
        { "sandbox_incomplete", "eecafdeb16ee430e92b54ac8586a27af" },
        { "serving_thread_hangs", "c097d1556e8c4493ba5cc8fde7a166f2" },
        { "loop_failed", "104dea779f404a34a238f0b7c7ba9767" },
        { "not_begun", "0e26d6da16154e18968330415822d760" },
        /* tokens */
        { "token", "60db74d75d4b4304a77f55af38052736" },
        { "failing", "7cc028fad59c40428dc0ec1dd6f79225" },
        { "recovered", "4969b23576eb4af096f20d5f958d9eff" },
        { "provider_down", "19634fc68f804043858d94b85e117aa9" },
        { "provider_recovered", "5630836a7ca94f78948760560c853e61" },
        { "fallback", "d5800be398a44e20a6228f81855627fb" },
        { "clock_skew", "169617f82f62458aad04125187f54c73" },
        { "lifetime_differs", "84ebd127a2384a8d82263b43166b9320" },
        { "expires_soon", "c186b6ae167543cb868a664c3918596d" },
        { "expired", "0c52dfe65aba42d6805eb04835e6cc35" },
        { "rejected", "030832b1ed8544d4b3be1ceb89c2d626" },
        /* grants */
        { "authorization_required", "c8ac19159be349f8b97ce9b8ad097a98" },
        { "authorization_succeeded", "e88142a93b0e48cd93c10ab8a3341a91" },
        { "in_doubt", "d5e0747a4f284b448414a74a4d779680" },
        { "lost_in_rotation", "c224e17c6443462c8f0f8e7a2618c4bc" },
        { "not_stored", "4665507601eb4336a10063faee7c9826" },
        { "stored", "4b382c970b9d4cfab2fd60cf9bdd0511" },
        { "intent_not_stored", "033705252a084e6e948a4e93bd50844b" },
        { "not_forgotten", "7a2dcfa3bf6c4bf9ba422799193d1023" },
        { "loopback_failed", "b5aba8eec4044e74a51b283c3b593290" },
        { "hook_failed", "040a467246634dc49d43011da1fdd0fb" },
        { "hook_killed", "c6e973d3aec746fb9aac333c442adddc" },
        { "hook_dropped", "7657fe37023e4316a1bd6da351f23b78" },
        { "hooks_failed", "843386a68458465cbe909d54823213fc" },
        { "token_file_failed", "8d2e008ccd64400b91bc1046681f0f18" },
        { "token_file_recovered", "2560e4bb504b42d8987101b4a435ad52" },
        /* callers */
        { "token_handed_out", "ba2d5a5a86db4b38a41c0f1e9b4fd0c1" },
        { "access_refused", "3d8bb29f4d2f4ad6a7a3e2f0c15b6e97" },
        { "audit_merged", "373a2a1651524af5a6b986c01bd591d6" },
        { "caller_unknown", "7dc31bcad9d0497b85b5484184bec933" },
        { "units_unknown", "97fb17d8f7ed4abdbd4a46c775c46281" },
        { "too_many_connections", "b427a20625794d1385d9c6900409cc3e" },
        { "no_descriptors", "7eeb809cb36b4b87b826982864031fdd" },
        { "socket_unused", "f2e82d735ae6489bac4bc9f58280b743" },
        { "socket_mode_failed", "95bc2b4793f3403497c4f2a8afcbb004" },
        { "socket_owner_failed", "deae9568d75c478ab123ec4517077c82" },
        { "unit_served", "f95102424f80456cbb776e515b951f20" },
        { "unit_refused", "eb55c7f6605940f985beb1fd33351c4e" },
        { "unit_unknown", "550b9e80829b44a0ab4690af9a49c8db" },
        { "unit_accept_failed", "4f60dda14bf3415aae76e025ab34285e" },
        { "unit_sockets_failed", "a19b1f5277134564bc464157ff80ab6e" },
};

bool journal_is_behind(int fd) {
        const char *stream = getenv(
                "JOURNAL_STREAM"); /* nobody calls setenv() after main() has begun */
        unsigned long long device, inode;
        struct stat st;

        return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 && fstat(fd, &st) == 0 &&
               st.st_dev == device && st.st_ino == inode;
}

/* --- a line becomes fields --- */

struct journal_writer {
        char *p, *end;
        struct iovec *fields;
        size_t n, max;
};

static void __attribute__((format(printf, 2, 3)))
journal_add(struct journal_writer *w, const char *format, ...) {
        va_list ap;
        int len;

        if (w->n == w->max)
                return;
        va_start(ap, format);
        len = vsnprintf(w->p, (size_t) (w->end - w->p), format, ap);
        va_end(ap);
        if (len < 0 || len >= w->end - w->p)
                return;
        w->fields[w->n++] = (struct iovec){ w->p, (size_t) len };
        w->p += len + 1;
}

static void journal_add_pair(struct journal_writer *w, const char *key, size_t key_len,
                             const char *value, size_t value_len) {
        char upper[64 - sizeof(JOURNAL_PREFIX)]; /* the journal's limit for a name */

        if (key_len >= sizeof(upper))
                return;
        for (size_t i = 0; i < key_len; i++)
                upper[i] = (char) toupper((unsigned char) key[i]);
        upper[key_len] = '\0';
        journal_add(w, JOURNAL_PREFIX "%s=%.*s", upper, (int) value_len, value);
        if (strcmp(upper, "EVENT") != 0)
                return;
        for (size_t i = 0; i < N_ELEMENTS(journal_events); i++)
                if (strncmp(journal_events[i].event, value, value_len) == 0 &&
                    !journal_events[i].event[value_len])
                        journal_add(w, "MESSAGE_ID=%s", journal_events[i].id);
}

/* The length of a key at `p` that a "=" follows; else 0. */
static size_t journal_key(const char *p) {
        size_t n = strspn(p, JOURNAL_KEY_CHARS);

        return p[n] == '=' ? n : 0;
}

/* The quote that ends a value: the line ends behind it, or another pair follows. Sentences of our own have quotes. */
static const char *journal_closing_quote(const char *p) {
        while ((p = strchr(p, '"'))) {
                if (!p[1] || (p[1] == ' ' && journal_key(p + 2)))
                        return p;
                p++;
        }
        return NULL;
}

size_t journal_fields(int priority, const char *line, char *buf, size_t size, struct iovec *ret,
                      size_t max) {
        struct journal_writer w = { .p = buf, .end = buf + size, .fields = ret, .max = max };

        journal_add(&w, "MESSAGE=%s", line);
        journal_add(&w, "PRIORITY=%d", priority);
        while (*line) {
                size_t key_len = journal_key(line);
                const char *value = line + key_len + 1, *end;

                if (key_len == 0) { /* no pair: it is in the message */
                        line += strcspn(line, " ");
                        line += strspn(line, " ");
                        continue;
                }
                if (*value == '"') {
                        end = journal_closing_quote(++value);
                        if (!end)
                                end = value + strlen(value); /* the line was cut */
                } else {
                        end = value + strcspn(value, " ");
                }
                journal_add_pair(&w, line, key_len, value, (size_t) (end - value));
                line = end + (*end == '"');
                line += strspn(line, " ");
        }
        return w.n;
}

int journal_send(int priority, const char *line) {
        struct iovec fields[JOURNAL_FIELDS_MAX];
        char buf[JOURNAL_BUF_MAX];
        size_t n = journal_fields(priority, line, buf, sizeof(buf), fields, JOURNAL_FIELDS_MAX);

        return sd_journal_sendv(fields, (int) n);
}
