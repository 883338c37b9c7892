#include "hook/token_file.h"

#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/err.h"
#include "base/file.h"

#define TOKEN_FILE_MAX 65536 /* bytes that are read of what is there */

/* What mends it most often, in bearerd-systemd(7) and in HOOKS of bearerd.conf(5). */
static const char *token_file_advice(int r) {
        switch (-r) {
        case ENOENT:
                return ": make its directory, for the daemon's user";
        case EROFS:
                return ": let the service write there, with ReadWritePaths=";
        case EACCES:
                return ": the daemon's user must own its directory; one that is new in a reload takes a restart";
        case EPERM:
                return ": the daemon's user must be in that group; a service needs SystemCallFilter=@chown for it";
        case ENOSPC:
        case EDQUOT:
                return ": the old token stays there until there is room";
        default:
                return "";
        }
}

static int token_file_fail(const struct conf_credential *c, const char *what, struct why *why) {
        int r = -errno;

        return why_set(why, RAISE(r), "cannot %s %s: %s%s", what, c->token_file_out, strerror(-r),
                       token_file_advice(r));
}

/* The same token, with the owner, the mode and the group that it should have. */
static bool token_file_is(const struct conf_credential *c, const struct secret *value) {
        AUTO(secret_unrefp) struct secret *there = NULL;
        struct stat st;

        return lstat(c->token_file_out, &st) == 0 && S_ISREG(st.st_mode) &&
               st.st_uid == geteuid() && (st.st_mode & 07777) == c->token_file_mode &&
               (c->token_file_group == (gid_t) -1 || st.st_gid == c->token_file_group) &&
               file_read(c->token_file_out, TOKEN_FILE_MAX, NULL, &there) == 0 &&
               secret_equal(there, value);
}

/* The rights first, then the token. */
static int token_file_fill(const struct conf_credential *c, int fd, const struct secret *value,
                           struct why *why) {
        const char *bytes = secret_text(value);
        size_t left = secret_len(value);

        if (c->token_file_group != (gid_t) -1 && fchown(fd, (uid_t) -1, c->token_file_group) < 0)
                return token_file_fail(c, "give the group to", why);
        if (fchmod(fd, c->token_file_mode) < 0)
                return token_file_fail(c, "set the mode of", why);
        while (left > 0) {
                ssize_t n = write(fd, bytes, left);

                if (n < 0)
                        return token_file_fail(c, "write", why);
                bytes += n;
                left -= (size_t) n;
        }
        return fsync(fd) < 0 ? token_file_fail(c, "write", why) : 0;
}

/* A rename is on the disk when its directory is. */
static void token_file_sync_directory(const char *path) {
        AUTO(auto_freep) char *copy = strdup(path);
        AUTO(auto_closep)
        int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

        if (fd >= 0)
                (void) fsync(fd); /* if not, the old token may be back after a power cut */
}

int token_file_write(const struct conf_credential *c, const struct secret *value, struct why *why) {
        AUTO(auto_freep) char *draft = NULL;
        AUTO(auto_closep) int fd = -1;
        int r;

        if (token_file_is(c, value))
                return 0;
        if (asprintf(&draft, "%s.new", c->token_file_out) < 0) {
                draft = NULL;
                return why_set(why, RAISE(-ENOMEM), "out of memory");
        }
        (void) unlink(draft); /* of a daemon that died */
        fd = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0)
                return token_file_fail(c, "make the draft of", why);
        r = token_file_fill(c, fd, value, why);
        if (r == 0 && rename(draft, c->token_file_out) < 0)
                r = token_file_fail(c, "replace", why);
        if (r < 0) {
                (void) unlink(draft); /* the old token stays */
                return PASS(r);
        }
        token_file_sync_directory(c->token_file_out);
        return 0;
}

int token_file_remove(const struct conf_credential *c, struct why *why) {
        if (unlink(c->token_file_out) < 0 && errno != ENOENT)
                return token_file_fail(c, "remove", why);
        return 0;
}
