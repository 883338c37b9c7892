#pragma once
/*
 * A clock and a source of random bytes that a test drives
 */

#include <stdint.h>
#include <string.h>

#include "base/clock.h"
#include "base/random.h"

struct fake_clock {
        struct clock seam;
        mono_t mono;
        wall_t wall;
};

static inline mono_t fake_clock_mono(void *self) {
        return ((struct fake_clock *) self)->mono;
}

static inline wall_t fake_clock_wall(void *self) {
        return ((struct fake_clock *) self)->wall;
}

static inline void fake_clock_init(struct fake_clock *c, int64_t wall_s) {
        *c = (struct fake_clock){ { fake_clock_mono, fake_clock_wall, c },
                                  { 1000 * US_PER_S },
                                  { wall_s } };
}

struct fake_random { /* splitmix64: the same seed gives the same run */
        struct random seam;
        uint64_t state;
};

static inline void fake_random_fill(void *self, void *bytes, size_t n) {
        struct fake_random *r = self;
        unsigned char *p = bytes;

        while (n > 0) {
                uint64_t z = (r->state += UINT64_C(0x9e3779b97f4a7c15));
                size_t part = n < 8 ? n : 8;

                z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
                z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
                z ^= z >> 31;
                memcpy(p, &z, part);
                p += part;
                n -= part;
        }
}

static inline void fake_random_init(struct fake_random *r, uint64_t seed) {
        *r = (struct fake_random){ { fake_random_fill, r }, seed };
}
