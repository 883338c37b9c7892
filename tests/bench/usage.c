#include "usage.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/auto.h"

static int64_t usage_thread_ns(int tasks_fd, const char *tid) {
        AUTO(auto_closep) int fd = -1;
        char path[64], text[96];
        ssize_t n;

        if (snprintf(path, sizeof(path), "%.32s/schedstat", tid) < 0)
                return 0;
        fd = openat(tasks_fd, path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return 0; /* the thread has ended meanwhile */
        n = read(fd, text, sizeof(text) - 1);
        if (n <= 0)
                return 0;
        text[n] = '\0';
        return strtoll(text, NULL, 10);
}

int64_t usage_cpu_ns(pid_t pid) {
        char path[64];
        int64_t sum = 0;
        struct dirent *e;
        DIR *tasks;

        if (!pid || snprintf(path, sizeof(path), "/proc/%d/task", (int) pid) < 0)
                return 0;
        tasks = opendir(path);
        if (!tasks)
                return 0;
        while ((e = readdir(tasks)))
                if (e->d_name[0] != '.')
                        sum += usage_thread_ns(dirfd(tasks), e->d_name);
        (void) closedir(tasks);
        return sum;
}
