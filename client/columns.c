#include "client/columns.h"

#include <langinfo.h>
#include <locale.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

/* One that knows the width of all characters. (locale_t) 0: the one in use has to do; where that is C,
 * since there is no other on this system, every character takes a column. */
static locale_t columns_locale(void) {
        static locale_t locale;
        static bool tried;

        if (MB_CUR_MAX > 1 && strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
                return (locale_t) 0;
        if (!tried)
                locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t) 0);
        tried = true;
        return locale;
}

int columns_next(const char *text, size_t len, size_t *ret_len) {
        const locale_t before = uselocale(columns_locale()); /* 0 changes nothing */
        mbstate_t state = { 0 };
        wchar_t c = 0;
        size_t n = mbrtowc(&c, text, len, &state);
        const int width = wcwidth(c);

        (void) uselocale(before);
        if (n == 0 || n > len) { /* (size_t) -1 and -2: no UTF-8, or the end of it is not there */
                *ret_len = 1;
                return 1;
        }
        *ret_len = n;
        return width < 0 ? 1 : width;
}

int columns_count(const char *text, size_t len) {
        int columns = 0;

        for (size_t n; len > 0; text += n, len -= n)
                columns += columns_next(text, len, &n);
        return columns;
}

size_t columns_fit(const char *text, int columns) {
        const size_t len = strlen(text);
        size_t used = 0;

        for (size_t n; used < len; used += n) {
                columns -= columns_next(text + used, len - used, &n);
                if (columns < 0)
                        break;
        }
        return used;
}
