#include "base/sandbox.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/err.h"

#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#        define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14) /* since version 3 */
#endif

#define SANDBOX_WRITING                                                                            \
        (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |                           \
         LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR |                           \
         LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |                               \
         LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |                             \
         LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM)

int sandbox_harden(void) {
        const struct rlimit none = { 0, 0 };
        const int kept = sd_listen_fds(0);
        const unsigned first = 3 + (unsigned) (kept > 0 ? kept : 0);

        (void) umask(077);
        if (prctl(PR_SET_DUMPABLE, 0) < 0 || setrlimit(RLIMIT_CORE, &none) < 0 ||
            prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                return RAISE(-errno);
        if (close_range(first, ~0U, 0) < 0 && errno != ENOSYS) /* Linux before 5.9 */
                return RAISE(-errno);
        return 0;
}

static bool sandbox_may_lock(void) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };
        struct rlimit limit;

        if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY)
                return true;
        return syscall(SYS_capget, &header, data) == 0 && data[0].effective & (1U << CAP_IPC_LOCK);
}

/* Under a limit, locking what is to come would make allocations fail some day. */
bool sandbox_lock_memory(void) {
        return sandbox_may_lock() && mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0;
}

/* What the kernel was told, and tells nobody: the directories below which writing is possible. It holds for the process. */
static struct sandbox_place {
        dev_t dev;
        ino_t ino;
} * sandbox_places; /* NULL: everywhere */
static size_t sandbox_n_places;

static int sandbox_open_nearest(const char *directory) {
        AUTO(auto_freep) char *path = strdup(directory);

        while (path) {
                int fd = open(path, O_PATH | O_CLOEXEC | O_DIRECTORY);
                char *slash = strrchr(path, '/');

                if (fd >= 0 || errno != ENOENT || !slash || slash == path)
                        return fd;
                *slash = '\0';
        }
        return -1;
}

static int sandbox_allow(int ruleset, const char *path, bool is_directory, uint64_t access) {
        AUTO(auto_closep)
        int fd = is_directory ? sandbox_open_nearest(path) : open(path, O_PATH | O_CLOEXEC);
        struct landlock_path_beneath_attr rule = { .allowed_access = access, .parent_fd = fd };
        struct stat st;

        if (fd < 0)
                return 0; /* what is not there is not allowed */
        if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
                return RAISE(-errno);
        if (is_directory && fstat(fd, &st) == 0)
                sandbox_places[sandbox_n_places++] = (struct sandbox_place){ st.st_dev, st.st_ino };
        return 0;
}

bool sandbox_limits_writing(void) {
        return sandbox_places != NULL;
}

static bool sandbox_is_place(const struct stat *st) {
        for (size_t i = 0; i < sandbox_n_places; i++)
                if (sandbox_places[i].dev == st->st_dev && sandbox_places[i].ino == st->st_ino)
                        return true;
        return false;
}

/* As the kernel looks for a rule: from the directory up to the root. */
bool sandbox_may_write(const char *file) {
        AUTO(auto_freep) char *directory = strdup(file);
        char *slash = directory ? strrchr(directory, '/') : NULL;
        struct stat st, above;
        bool may = true;
        int fd, parent;

        if (!sandbox_places || !slash)
                return true;
        slash[slash == directory] = '\0';
        fd = sandbox_open_nearest(directory);
        if (fd < 0)
                return true;
        while (fstat(fd, &st) == 0 && !sandbox_is_place(&st)) {
                parent = openat(fd, "..", O_PATH | O_CLOEXEC | O_DIRECTORY);
                if (parent < 0)
                        break;
                (void) close(fd); /* nothing was written through it */
                fd = parent;
                if (fstat(fd, &above) < 0)
                        break;
                may = above.st_dev != st.st_dev || above.st_ino != st.st_ino;
                if (!may)
                        break;
        }
        (void) close(fd); /* nor through this one */
        return may;
}

int sandbox_limit_writing(const char *const *directories, size_t n) {
        long version = syscall(SYS_landlock_create_ruleset, NULL, 0,
                               LANDLOCK_CREATE_RULESET_VERSION);
        struct landlock_ruleset_attr attr = { .handled_access_fs = SANDBOX_WRITING };
        AUTO(auto_closep) int ruleset = -1;
        int r = 0;

        if (version < 1)
                return 0;
        if (version >= 2)
                attr.handled_access_fs |= LANDLOCK_ACCESS_FS_REFER;
        if (version >= 3)
                attr.handled_access_fs |= LANDLOCK_ACCESS_FS_TRUNCATE;
        /* the first field is all that is used: any version knows that size */
        ruleset = (int) syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr.handled_access_fs),
                                0);
        if (ruleset < 0)
                return RAISE(-errno);
        sandbox_places = calloc(n + 1, sizeof(*sandbox_places));
        if (!sandbox_places)
                return RAISE(-ENOMEM);
        for (size_t i = 0; r == 0 && i < n; i++)
                r = sandbox_allow(ruleset, directories[i], true, attr.handled_access_fs);
        if (r == 0)
                r = sandbox_allow(ruleset, "/dev/null", false, LANDLOCK_ACCESS_FS_WRITE_FILE);
        if (r == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
                r = RAISE(-errno);
        if (r == 0)
                return (int) version;
        free(sandbox_places);
        sandbox_places = NULL;
        return PASS(r);
}

int sandbox_limit_calls(void) {
        static const int refused[] = {
                SCMP_SYS(acct),
                SCMP_SYS(add_key),
                SCMP_SYS(adjtimex),
                SCMP_SYS(bpf),
                SCMP_SYS(chroot),
                SCMP_SYS(clock_adjtime),
                SCMP_SYS(clock_settime),
                SCMP_SYS(delete_module),
                SCMP_SYS(finit_module),
                SCMP_SYS(fsconfig),
                SCMP_SYS(fsmount),
                SCMP_SYS(fsopen),
                SCMP_SYS(init_module),
                SCMP_SYS(io_uring_enter),
                SCMP_SYS(io_uring_register),
                SCMP_SYS(io_uring_setup),
                SCMP_SYS(ioperm),
                SCMP_SYS(iopl),
                SCMP_SYS(kcmp),
                SCMP_SYS(kexec_file_load),
                SCMP_SYS(kexec_load),
                SCMP_SYS(keyctl),
                SCMP_SYS(mknod),
                SCMP_SYS(mknodat),
                SCMP_SYS(mount),
                SCMP_SYS(mount_setattr),
                SCMP_SYS(move_mount),
                SCMP_SYS(open_by_handle_at),
                SCMP_SYS(open_tree),
                SCMP_SYS(perf_event_open),
                SCMP_SYS(personality),
                SCMP_SYS(pidfd_getfd),
                SCMP_SYS(pivot_root),
                SCMP_SYS(process_madvise),
                SCMP_SYS(process_vm_readv),
                SCMP_SYS(process_vm_writev),
#ifndef __SANITIZE_ADDRESS__ /* its leak checker traces the process that it is part of */
                SCMP_SYS(ptrace),
#endif
                SCMP_SYS(quotactl),
                SCMP_SYS(reboot),
                SCMP_SYS(request_key),
                SCMP_SYS(setdomainname),
                SCMP_SYS(sethostname),
                SCMP_SYS(setns),
                SCMP_SYS(settimeofday),
                SCMP_SYS(swapoff),
                SCMP_SYS(swapon),
                SCMP_SYS(syslog),
                SCMP_SYS(umount2),
                SCMP_SYS(unshare),
                SCMP_SYS(userfaultfd),
                SCMP_SYS(vhangup),
        };
        scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
        int r = 0;

        if (!filter)
                return RAISE(-ENOMEM);
        for (size_t i = 0; r == 0 && i < N_ELEMENTS(refused); i++) {
                r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), refused[i], 0);
                if (r == -EDOM || r == -EFAULT)
                        r = 0; /* this machine has no such call */
        }
        if (r == 0)
                r = seccomp_load(filter);
        seccomp_release(filter);
        return r < 0 ? RAISE(r) : 0;
}
