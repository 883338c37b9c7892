#include "base/clock.h"

#include <stddef.h>
#include <sys/timex.h>
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

bool clock_is_synchronized(void) {
        struct timex t = { .modes = 0 }; /* only asks */
        int state = adjtimex(&t);

        return state >= 0 && state != TIME_ERROR && !(t.status & STA_UNSYNC);
}
