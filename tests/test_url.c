#include "conf/url.h"

#include <errno.h>
#include <string.h>

#include "check_main.h"

static const struct {
        const char *in, *base, *authority; /* base NULL: refused */
        bool loopback;
} bases[] = {
        { "https://api.coze.cn", "https://api.coze.cn", "api.coze.cn", false },
        { "https://api.coze.cn/", "https://api.coze.cn", "api.coze.cn", false },
        { "HTTPS://API.Coze.CN:443//", "https://api.coze.cn", "api.coze.cn", false },
        { "https://localhost:8443", "https://localhost:8443", "localhost:8443", true },
        { "http://127.0.0.1:80/a/B/", "http://127.0.0.1/a/B", "127.0.0.1", true },
        { "https://a.b:80", "https://a.b:80", "a.b:80", false },
        { "http://[::1]:8080", "http://[::1]:8080", "[::1]:8080", true },
        { "http://[::1]", "http://[::1]", "[::1]", true },
        { "http://[2001:DB8::1]", "http://[2001:db8::1]", "[2001:db8::1]", false },
        { "http://127.9.9.9", "http://127.9.9.9", "127.9.9.9", true },
        { "http://128.0.0.1", "http://128.0.0.1", "128.0.0.1", false },
        { "http://x.localhost", "http://x.localhost", "x.localhost", true },
        { "http://.localhost", NULL, NULL, false },
        { "http://xlocalhost", "http://xlocalhost", "xlocalhost", false },
        { "http://localhost.example", "http://localhost.example", "localhost.example", false },
        { "http://127.0.0.1.example", "http://127.0.0.1.example", "127.0.0.1.example", false },
        { "http://127.1", "http://127.1", "127.1", false }, /* no address in that spelling */
        { "", NULL, NULL, false },
        { "api.coze.cn", NULL, NULL, false },
        { "//api.coze.cn", NULL, NULL, false },
        { "ftp://api.coze.cn", NULL, NULL, false },
        { "https:/api.coze.cn", NULL, NULL, false },
        { "https://", NULL, NULL, false },
        { "https:///x", NULL, NULL, false },
        { "https://:443", NULL, NULL, false },
        { "https://a:", NULL, NULL, false },
        { "https://a:0", NULL, NULL, false },
        { "https://a:65536", NULL, NULL, false },
        { "https://a:99999999999999999999", NULL, NULL, false },
        { "https://a:8x", NULL, NULL, false },
        { "https://user@a", NULL, NULL, false },
        { "https://user:word@a", NULL, NULL, false },
        { "https://api.coze.cn@evil.example", NULL, NULL, false },
        { "https://a?b", NULL, NULL, false },
        { "https://a/b?c", NULL, NULL, false },
        { "https://a/b#c", NULL, NULL, false },
        { "https://a b", NULL, NULL, false },
        { "https://a/\"", NULL, NULL, false },
        { "https://a\\b", NULL, NULL, false },
        { "https://\xe6\x89\xa3", NULL, NULL, false },
        { "https://a..b", NULL, NULL, false },
        { "https://-a", NULL, NULL, false },
        { "https://a%20b", NULL, NULL, false },
        { "http://[", NULL, NULL, false },
        { "http://[]", NULL, NULL, false },
        { "http://[::1", NULL, NULL, false },
        { "http://[::1]x", NULL, NULL, false },
        { "http://[127.0.0.1]", NULL, NULL, false },
        { "http://[::1%25lo]", NULL, NULL, false },
};

START_TEST(base)
{
        char *const untouched = (char *) (uintptr_t) 8;
        char *text = untouched, *authority;
        struct why why = { "" };
        struct url u;
        int r;

        r = url_parse_base(bases[_i].in, &why, &text);
        if (!bases[_i].base) {
                ck_assert_msg(r == -EINVAL, "%s: %d", bases[_i].in, r);
                ck_assert_ptr_eq(text, untouched);
                ck_assert_str_ne(why.text, "");
                ck_assert(!*bases[_i].in || !strstr(why.text, bases[_i].in));
                return;
        }
        ck_assert_msg(r == 0, "%s: %s", bases[_i].in, why.text);
        ck_assert_str_eq(text, bases[_i].base);
        ck_assert_int_eq(url_parse(bases[_i].in, NULL, &u), 0);
        ck_assert_int_eq(url_authority(&u, &authority), 0);
        ck_assert_str_eq(authority, bases[_i].authority);
        ck_assert_msg(url_is_loopback(&u) == bases[_i].loopback, "%s", bases[_i].in);
        free(authority);
        free(text);
}
END_TEST

START_TEST(rest)
{
        struct url u;

        ck_assert_int_eq(url_parse("http://localhost:8080?a=b#c", NULL, &u), 0);
        ck_assert_str_eq(u.rest, "?a=b#c");
        ck_assert_uint_eq(u.port, 8080);
        ck_assert_int_eq(url_parse("https://a/cb#/x@y:1", NULL, &u), 0);
        ck_assert_str_eq(u.rest, "/cb#/x@y:1");
        ck_assert_uint_eq(u.port, 443);
}
END_TEST

START_TEST(longest)
{
        char text[URL_MAX + 2], *base_url;
        struct url u;

        memset(text, 'a', sizeof(text));
        memcpy(text, "https://", 8);
        text[URL_MAX + 1] = '\0';
        ck_assert_int_eq(url_parse(text, NULL, &u), -EINVAL);
        text[8 + URL_HOST_MAX] = '\0';
        ck_assert_int_eq(url_parse(text, NULL, &u), -EINVAL);
        text[8 + URL_HOST_MAX - 1] = '\0';
        ck_assert_int_eq(url_parse(text, NULL, &u), 0);
        ck_assert_int_eq(url_parse_base(text, NULL, &base_url), 0);
        ck_assert_str_eq(base_url, text);
        free(base_url);
}
END_TEST

static void add(TCase *tc) {
        tcase_add_loop_test(tc, base, 0, N_ELEMENTS(bases));
        tcase_add_test(tc, rest);
        tcase_add_test(tc, longest);
}

CHECK_MAIN("url", add)
