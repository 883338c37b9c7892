#include "base/why.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

int why_set(struct why *why, int r, const char *format, ...) {
        va_list ap;

        if (!why)
                return r;
        va_start(ap, format);
        (void) vsnprintf(why->text, sizeof(why->text), format, ap); /* cut is fine */
        va_end(ap);
        return r;
}

char *why_clean(const char *text, size_t len, char *ret, size_t size) {
        size_t in = 0, out = 0;

        while (in < len) {
                size_t n = text_utf8_length(text + in, len - in);

                if (n == 0 || (n == 1 && ((unsigned char) text[in] < 0x20 || text[in] == 0x7f))) {
                        if (out + 1 >= size)
                                break;
                        ret[out++] = '?';
                        in++;
                        continue;
                }
                if (out + n >= size)
                        break;
                memcpy(ret + out, text + in, n);
                out += n;
                in += n;
        }
        if (size > 0)
                ret[out] = '\0';
        return ret;
}
