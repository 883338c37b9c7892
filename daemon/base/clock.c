#include "base/clock.h"

#include <stddef.h>
#include <time.h>

static mono_t clock_system_mono(void *self) {
        struct timespec ts;

        (void) self;
        (void) clock_gettime(CLOCK_BOOTTIME,
                             &ts); /* cannot fail: the clock exists since Linux 2.6.39 */
        return (mono_t){ ts.tv_sec * US_PER_S + ts.tv_nsec / 1000 };
}

static wall_t clock_system_wall(void *self) {
        struct timespec ts;

        (void) self;
        (void) clock_gettime(CLOCK_REALTIME, &ts); /* cannot fail */
        return (wall_t){ ts.tv_sec };
}

const struct clock clock_system = { clock_system_mono, clock_system_wall, NULL };
