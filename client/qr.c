#include "client/qr.h"

#include <dlfcn.h>
#include <stddef.h>

#include "client/pixels.h"

#define QR_LIBRARY "libqrencode.so.4"
#define QR_DARK    1 /* the bit of a dark module */

/* What libqrencode.so.4 promises, as far as it is used here: its header need not be there to
 * build. */
struct qr_code {
        int version;
        int width;
        unsigned char *data; /* width times width */
};

enum {
        QR_LEVEL_L = 0
}; /* the smallest code: a screen has no scratches */
enum {
        QR_MODE_8 = 2
};

struct qr_library {
        struct qr_code *(*encode)(const char *text, int version, int level, int mode,
                                  int case_sensitive);
        void (*release)(struct qr_code *code);
};

/* Stays loaded for as long as the process lives. */
static bool qr_load(struct qr_library *ret) {
        void *handle = dlopen(QR_LIBRARY, RTLD_NOW | RTLD_LOCAL), *encode, *release;

        if (!handle)
                return false;
        encode = dlsym(handle, "QRcode_encodeString");
        release = dlsym(handle, "QRcode_free");
        if (!encode || !release)
                return false;
        /* POSIX has a void * hold a function, ISO C does not */
        *(void **) &ret->encode = encode;
        *(void **) &ret->release = release;
        return true;
}

struct pixels *qr_make(const char *text) {
        struct qr_library library;
        struct pixels *p = NULL;
        struct qr_code *code;

        if (!qr_load(&library))
                return NULL;
        code = library.encode(text, 0, QR_LEVEL_L, QR_MODE_8, 1);
        if (!code)
                return NULL;
        p = pixels_new(code->width + 2 * QR_QUIET, code->width + 2 * QR_QUIET);
        for (int y = 0; p && y < code->width; y++)
                for (int x = 0; x < code->width; x++)
                        pixels_set(p, x + QR_QUIET, y + QR_QUIET,
                                   code->data[y * code->width + x] & QR_DARK);
        library.release(code);
        return p;
}
