#include "api/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/err.h"

#define CGROUP_DEPTH_MAX    12
#define CGROUP_WALK_MAX     8192 /* directories; a large machine has a thousand */
#define CGROUP_BELOW_MAX    128  /* directories below one unit, whose user may make any number */
#define CGROUP_REMEMBER_MAX 256
#define CGROUP_PATH_MAX     2048

struct cgroup_walk {
        uint64_t id;
        unsigned visited;
        bool deep;    /* look below units: most processes are in the cgroup of their unit itself */
        bool in_unit; /* we are there */
        unsigned below;
        char path[CGROUP_PATH_MAX]; /* of the directory we are in, without a slash at its end */
};

static struct {
        pthread_mutex_t mtx;
        unsigned next; /* guarded by mtx, as all that follows */
        struct {
                uint64_t id;
                char *path;
        } known[CGROUP_REMEMBER_MAX];
} cgroups = { .mtx = PTHREAD_MUTEX_INITIALIZER };

static bool cgroup_search(struct cgroup_walk *w, int parent, const char *name, unsigned depth);

static bool cgroup_is_slice(const char *name) {
        const size_t n = strlen(name), suffix = strlen(".slice");

        return n > suffix && strcmp(name + n - suffix, ".slice") == 0;
}

/* Slices are root's to make; what is below a unit may be anybody's, and must not cost others their time. */
static bool cgroup_search_child(struct cgroup_walk *w, int dir, const char *name, unsigned depth) {
        bool found;

        if (w->in_unit || cgroup_is_slice(name))
                return cgroup_search(w, dir, name, depth);
        if (!w->deep)
                return false;
        w->in_unit = true;
        w->below = 0;
        found = cgroup_search(w, dir, name, depth);
        w->in_unit = false;
        w->below = 0;
        return found;
}

/* True if it is found: then w->path is that of the cgroup. */
static bool cgroup_search_entry(struct cgroup_walk *w, int dir, const struct dirent *entry,
                                unsigned depth) {
        const size_t len = strlen(w->path);

        if (entry->d_type != DT_DIR || strcmp(entry->d_name, ".") == 0 ||
            strcmp(entry->d_name, "..") == 0 || len + 1 + strlen(entry->d_name) >= sizeof(w->path))
                return false;
        if (w->in_unit && ++w->below > CGROUP_BELOW_MAX)
                return false;
        (void) snprintf(w->path + len, sizeof(w->path) - len, "/%s", entry->d_name);
        if (entry->d_ino == w->id || cgroup_search_child(w, dir, entry->d_name, depth + 1))
                return true;
        w->path[len] = '\0';
        return false;
}

static bool cgroup_search(struct cgroup_walk *w, int parent, const char *name, unsigned depth) {
        const struct dirent *entry;
        bool found = false;
        DIR *dir;
        int fd;

        if (depth > CGROUP_DEPTH_MAX || ++w->visited > CGROUP_WALK_MAX)
                return false;
        fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return false;
        dir = fdopendir(fd);
        if (!dir) {
                (void) close(fd);
                return false;
        }
        while (!found && w->below <= CGROUP_BELOW_MAX && (entry = readdir(dir)))
                found = cgroup_search_entry(w, fd, entry, depth);
        (void) closedir(dir);
        return found;
}

/* The path that is remembered, or NULL. The caller has the lock. */
static const char *cgroup_known(uint64_t id) {
        for (size_t i = 0; i < N_ELEMENTS(cgroups.known); i++)
                if (cgroups.known[i].path && cgroups.known[i].id == id)
                        return cgroups.known[i].path;
        return NULL;
}

static const char *cgroup_learn(const char *mount, uint64_t id) {
        struct cgroup_walk w = { .id = id };
        char *path;

        if (!cgroup_search(&w, AT_FDCWD, mount, 0)) {
                w = (struct cgroup_walk){ .id = id, .deep = true };
                if (!cgroup_search(&w, AT_FDCWD, mount, 0))
                        w.path[0] = '\0'; /* remembered, too: to look again would cost as much */
        }
        path = strdup(w.path);
        if (!path)
                return NULL;
        free(cgroups.known[cgroups.next].path);
        cgroups.known[cgroups.next].id = id;
        cgroups.known[cgroups.next].path = path;
        cgroups.next = (cgroups.next + 1) % CGROUP_REMEMBER_MAX;
        return path;
}

int cgroup_path(const char *mount, uint64_t id, char *ret, size_t size) {
        const char *path;
        int r = 0;

        (void) pthread_mutex_lock(&cgroups.mtx);
        path = cgroup_known(id);
        if (!path)
                path = cgroup_learn(mount, id);
        if (!path || !*path)
                r = -ENOENT;
        else if (strlen(path) >= size)
                r = -ENAMETOOLONG;
        else
                (void) strcpy(ret, path);
        (void) pthread_mutex_unlock(&cgroups.mtx);
        return r;
}
