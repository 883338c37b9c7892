#include "api/process.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "api/unit.h"
#include "base/auto.h"
#include "base/err.h"

static int process_read_groups(const char *text, struct peer *peer) {
        char *end;

        peer->groups = calloc(strlen(text) / 2 + 1, sizeof(gid_t)); /* a digit and a blank each */
        if (!peer->groups)
                return RAISE(-ENOMEM);
        for (;; text = end) {
                unsigned long gid = strtoul(text, &end, 10);

                if (end == text)
                        return 0;
                peer->groups[peer->n_groups++] = (gid_t) gid;
        }
}

static int process_read_line(const char *line, struct peer *peer) {
        /* real, effective, saved and file system's; a socket is connected with the second */
        if (sscanf(line, "Uid: %*u %u", &peer->uid) == 1 ||
            sscanf(line, "Gid: %*u %u", &peer->gid) == 1)
                return 0;
        return strncmp(line, "Groups:", 7) == 0 ? process_read_groups(line + 7, peer) : 0;
}

static int process_read_status(pid_t pid, struct peer *peer) {
        AUTO(auto_freep) char *line = NULL;
        char path[32];
        size_t size = 0;
        FILE *f;
        int r = 0;

        (void) snprintf(path, sizeof(path), "/proc/%d/status", pid);
        f = fopen(path, "re");
        if (!f)
                return errno == ENOMEM ? RAISE(-ENOMEM) : RAISE(-EACCES);
        while (r == 0 && getline(&line, &size, f) >= 0)
                if (!peer->groups)
                        r = process_read_line(line, peer);
        (void) fclose(f);
        if (r == 0 && !peer->groups)
                return RAISE(-EACCES);
        return PASS(r);
}

int process_peer(pid_t pid, uid_t view, struct peer *peer) {
        AUTO(auto_closep) int pidfd = (int) syscall(SYS_pidfd_open, pid, 0);
        int r;

        *peer = (struct peer){ .uid = PEER_OVERFLOW_ID, .gid = PEER_OVERFLOW_ID, .pid = pid };
        if (pidfd < 0)
                return errno == EINVAL ? RAISE(-EINVAL) : RAISE(-ESRCH);
        r = process_read_status(pid, peer);
        if (r < 0)
                return PASS(r);
        r = unit_of_pidfd(pidfd, view, peer);
        if (r < 0)
                return PASS(r);
        return peer->unit_is == PEER_UNIT_GONE ? RAISE(-ESRCH) : 0;
}
