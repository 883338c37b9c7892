#include "api/target.h"

#include <arpa/inet.h>
#include <string.h>

#include "check_main.h"

static const struct {
        const char *uri;
        const char *authority; /* NULL: leads elsewhere */
        const char *path;
        const char *addresses[TARGET_ADDRESSES_MAX];
} uris[] = {
        { "http://127.0.0.1:8080/callback", "127.0.0.1:8080", "/callback", { "127.0.0.1:8080" } },
        { "http://127.0.0.1/callback", "127.0.0.1", "/callback", { "127.0.0.1:80" } },
        { "http://127.0.0.1:80/", "127.0.0.1", "/", { "127.0.0.1:80" } },
        { "http://127.8.9.10:1", "127.8.9.10:1", "/", { "127.8.9.10:1" } },
        { "http://[::1]:8080/a/b", "[::1]:8080", "/a/b", { "[::1]:8080" } },
        { "http://localhost:8080/cb", "localhost:8080", "/cb", { "127.0.0.1:8080", "[::1]:8080" } },
        { "HTTP://LocalHost:8080/CB", "localhost:8080", "/CB", { "127.0.0.1:8080", "[::1]:8080" } },
        { "http://app.localhost:65535/cb",
          "app.localhost:65535",
          "/cb",
          { "127.0.0.1:65535", "[::1]:65535" } },
        { "http://localhost:8080?from=here",
          "localhost:8080",
          "/",
          { "127.0.0.1:8080", "[::1]:8080" } },
        { "http://localhost:8080/cb?from=/there#top",
          "localhost:8080",
          "/cb",
          { "127.0.0.1:8080", "[::1]:8080" } },
        { "http://127.0.0.1:8080/a%20b", "127.0.0.1:8080", "/a%20b", { "127.0.0.1:8080" } },
        { "https://localhost:8080/cb", NULL, NULL, { 0 } }, /* we have no certificate */
        { "https://127.0.0.1/cb", NULL, NULL, { 0 } },
        { "http://app.example/cb", NULL, NULL, { 0 } },
        { "http://localhost.example/cb", NULL, NULL, { 0 } },
        { "http://notlocalhost/cb", NULL, NULL, { 0 } },
        { "http://128.0.0.1/cb", NULL, NULL, { 0 } },
        { "http://0.0.0.0:8080/cb", NULL, NULL, { 0 } }, /* everybody's */
        { "http://[::]:8080/cb", NULL, NULL, { 0 } },
        { "http://127.0.0.1.example/cb", NULL, NULL, { 0 } },
        { "http://127.0.0.1:0/cb", NULL, NULL, { 0 } },
        { "http://user@127.0.0.1:8080/cb", NULL, NULL, { 0 } },
        { "myapp://callback", NULL, NULL, { 0 } },
        { "", NULL, NULL, { 0 } },
};

START_TEST(leads)
{
        struct target t;

        ck_assert_int_eq(target_init(&t, uris[_i].uri), 0);
        ck_assert_pstr_eq(t.authority, uris[_i].authority);
        ck_assert_pstr_eq(t.path, uris[_i].path);
        for (size_t i = 0; i < TARGET_ADDRESSES_MAX; i++)
                ck_assert_pstr_eq(i < t.n_addresses ? t.addresses[i].name : NULL,
                                  uris[_i].addresses[i]);
        target_done(&t);
        target_done(&t); /* does no harm */
}
END_TEST

/* What is bound to is what the name says. */
START_TEST(addresses)
{
        char text[INET6_ADDRSTRLEN];
        struct target t;

        ck_assert_int_eq(target_init(&t, "http://localhost:4711/"), 0);
        ck_assert_uint_eq(t.n_addresses, 2);
        ck_assert_int_eq(t.addresses[0].at.v4.sin_family, AF_INET);
        ck_assert_uint_eq(ntohs(t.addresses[0].at.v4.sin_port), 4711);
        ck_assert_str_eq(inet_ntop(AF_INET, &t.addresses[0].at.v4.sin_addr, text, sizeof(text)),
                         "127.0.0.1");
        ck_assert_int_eq(t.addresses[1].at.v6.sin6_family, AF_INET6);
        ck_assert_uint_eq(ntohs(t.addresses[1].at.v6.sin6_port), 4711);
        ck_assert_str_eq(inet_ntop(AF_INET6, &t.addresses[1].at.v6.sin6_addr, text, sizeof(text)),
                         "::1");
        target_done(&t);
}
END_TEST

static const struct {
        const char *uri, *host;
        bool good;
} hosts[] = {
        { "http://localhost:8080/cb", "localhost:8080", true },
        { "http://localhost:8080/cb", "LOCALHOST:8080", true },
        { "http://localhost:8080/cb", "localhost", false },
        { "http://localhost:8080/cb", "localhost:80800", false },
        { "http://localhost:8080/cb", "localhost:8080 ", false },
        { "http://localhost:8080/cb", "127.0.0.1:8080", false },
        { "http://localhost:8080/cb", "evil.example:8080", false },
        { "http://localhost:8080/cb", "", false },
        { "http://localhost:8080/cb", NULL, false },
        { "http://localhost/cb", "localhost", true },
        { "http://localhost/cb", "localhost:80", false }, /* no browser says so */
        { "http://[::1]:8080/cb", "[::1]:8080", true },
        { "http://[::1]:8080/cb", "::1:8080", false },
        { "https://app.example/cb", "app.example", false },
};

START_TEST(host)
{
        struct target t;

        ck_assert_int_eq(target_init(&t, hosts[_i].uri), 0);
        ck_assert_int_eq(target_has_host(&t, hosts[_i].host), hosts[_i].good);
        target_done(&t);
}
END_TEST

static const struct {
        const char *uri, *path;
        bool good;
} paths[] = {
        { "http://localhost/cb", "/cb", true },   { "http://localhost/cb", "/CB", false },
        { "http://localhost/cb", "/cb/", false }, { "http://localhost/cb", "/%63b", false },
        { "http://localhost/cb", "", false },     { "http://localhost", "/", true },
        { "http://localhost", "", false },        { "https://localhost/cb", "/cb", false },
};

START_TEST(path)
{
        struct target t;

        ck_assert_int_eq(target_init(&t, paths[_i].uri), 0);
        ck_assert_int_eq(target_has_path(&t, paths[_i].path), paths[_i].good);
        target_done(&t);
}
END_TEST

static void add(TCase *tc) {
        tcase_add_loop_test(tc, leads, 0, N_ELEMENTS(uris));
        tcase_add_test(tc, addresses);
        tcase_add_loop_test(tc, host, 0, N_ELEMENTS(hosts));
        tcase_add_loop_test(tc, path, 0, N_ELEMENTS(paths));
}

CHECK_MAIN("target", add)
