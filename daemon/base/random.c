#include "base/random.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

static void random_system_fill(void *self, void *bytes, size_t n) {
        char *p = bytes;

        (void) self;
        while (n > 0) {
                ssize_t got = getrandom(p, n, 0);

                if (got < 0 && errno == EINTR)
                        continue;
                if (got < 0)
                        abort(); /* a kernel without getrandom(2): no key or jti of ours may be predictable */
                p += got;
                n -= (size_t) got;
        }
}

const struct random random_system = { random_system_fill, NULL };

uint64_t random_below(const struct random *r, uint64_t bound) {
        uint64_t limit, v;

        if (bound == 0)
                return 0;
        limit = UINT64_MAX - UINT64_MAX % bound;
        do
                random_fill(r, &v, sizeof(v));
        while (v >= limit);
        return v % bound;
}
