#include "conf/conf.h"

#include <errno.h>
#include <ftw.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>

#include "base/file.h"
#include "base/text.h"
#include "check_main.h"
#include "conf/option.h"
#include "rsa_key.h"

/* Everything happens below one directory; "^" stands for it in the rows. */
static char top[] = "/tmp/test_conf.XXXXXX";
static struct conf_report report;
static struct conf *conf;

#define KID     "_v0VjcMlLdQc3tRTD3jC5Xz29TUnKQOhtuD5k-gpyf4"
#define CHANNEL "application = channel\n"

/* Complete credentials; the number of lines is in the name of each. */
#define PAT3 "[credential me]\nprovider = coze.cn\ntype = pat\n"
#define JWT6                                                                                       \
        "[credential bot]\nprovider = coze.cn\ntype = jwt\nclient_id = 1127900106117\n"            \
        "public_key_id = " KID "\nprivate_key_file = ^/key.pem\n"
#define WEB6                                                                                       \
        "[credential web]\nprovider = coze.cn\ntype = authorization_code\n"                        \
        "client_id = 81.app.coze\nclient_secret_file = ^/secret\n"                                 \
        "redirect_uri = https://app.example/cb\n"
#define PKCE5                                                                                      \
        "[credential spa]\nprovider = coze.cn\ntype = pkce\nclient_id = 82\n"                      \
        "redirect_uri = http://127.0.0.1:8080/callback\n"
#define TV4 "[credential tv]\nprovider = coze.com\ntype = device_code\nclient_id = 83\n"
#define TEST3                                                                                      \
        "[provider test]\napi_url = https://localhost:8443\nwww_url = https://localhost:8443\n"

/* Writes `in` with `top` in place of each "^". Valid until the second next call. */
static const char *placed(const char *in) {
        static char texts[2][65536];
        static int which;
        char *text = texts[which ^= 1], *out = text;

        for (; *in; in++) {
                ck_assert_int_lt(out - text, 65000);
                if (*in == '^')
                        out = stpcpy(out, top);
                else
                        *out++ = *in;
        }
        *out = '\0';
        return text;
}

static void put_bytes(const char *name, mode_t mode, const void *bytes, size_t n) {
        char path[256];
        FILE *f;

        snprintf(path, sizeof(path), "%s/%s", top, name);
        f = fopen(path, "w");
        ck_assert_msg(f != NULL, "%s", path);
        ck_assert_uint_eq(fwrite(bytes, 1, n, f), n);
        ck_assert_int_eq(fclose(f), 0);
        ck_assert_int_eq(chmod(path, mode), 0);
}

static void put(const char *name, mode_t mode, const char *text) {
        text = placed(text);
        put_bytes(name, mode, text, strlen(text));
}

static void put_key(void) {
        put_bytes("key.pem", 0600, RSA_KEY, strlen(RSA_KEY));
}

static void make_top(void) {
        char path[256];

        ck_assert_ptr_nonnull(mkdtemp(top));
        snprintf(path, sizeof(path), "%s/conf.d", top);
        ck_assert_int_eq(mkdir(path, 0755), 0);
        snprintf(path, sizeof(path), "%s/creds", top);
        ck_assert_int_eq(mkdir(path, 0755), 0);
        put("creds/pat", 0440, "pat_abcdefgh"); /* as systemd 257 leaves it */
        put_key();
        put("secret", 0600, "s3cret\n");
        put("pat", 0600, "pat_abcdefgh");
        put("sat", 0600, "sat_abcdefgh \r\n");
        put("open", 0640, "pat_abcdefgh");
        put("empty", 0600, " \r\n");
        put("bearer", 0600, "Bearer pat_abc");
        put("quoted", 0600, "\"pat_abc\"");
        put("lines", 0600, "pat_abc\npat_def\n");
        put("blank", 0600, "pat_abc def");
        put("czs", 0600, "czs_abc");
        put("jwt", 0600, "eyJhbGciOi");
        put("cert", 0600, "-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n");
        put("pkce.json", 0600,
            "{\"client_type\":\"pkce\",\"client_id\":\"84\","
            "\"coze_api_base\":\"https://api.coze.cn/\",\"coze_www_base\":\"https://www.coze.cn\"}");
        put("web.json", 0600,
            "{\"client_type\":\"web\",\"client_id\":\"85.app.coze\",\"client_secret\":\"of-file\","
            "\"coze_api_base\":\"https://api.coze.cn\"}");
        put("com.json", 0600,
            "{\"client_type\":\"device\",\"client_id\":\"86\","
            "\"coze_api_base\":\"https://api.coze.com\"}");
        put("own.json", 0600,
            "{\"client_type\":\"device\",\"client_id\":\"86\","
            "\"coze_api_base\":\"https://api.example\"}");
        put("bad.json", 0600, "{\"client_type\":\"device\"}");
}

/* Before each test: the directory stands for all that bearerd finds its files by. */
static void set_environment(void) {
        ck_assert_int_eq(setenv("XDG_RUNTIME_DIR", top, 1), 0);
        ck_assert_int_eq(setenv("HOME", top, 1), 0);
        ck_assert_int_eq(setenv("CREDENTIALS_DIRECTORY", placed("^/creds"), 1), 0);
        unsetenv("XDG_STATE_HOME");
        unsetenv("XDG_CONFIG_HOME");
}

static int drop(const char *path, const struct stat *st, int kind, struct FTW *ftw) {
        (void) st;
        (void) kind;
        (void) ftw;
        return remove(path);
}

static void drop_top(void) {
        nftw(top, drop, 8, FTW_DEPTH | FTW_PHYS);
}

static int load_scope(enum conf_scope scope) {
        char path[256];

        conf_report_done(&report);
        conf = conf_free(conf);
        snprintf(path, sizeof(path), "%s/bearerd.conf", top);
        return conf_load(path, scope, &report, &conf);
}

static int load(const char *text) {
        put("bearerd.conf", 0644, text);
        return load_scope(CONF_USER);
}

static void forget(void) {
        conf_report_done(&report);
        conf = conf_free(conf);
}

static const char *problems(void) {
        static char all[65536];
        char *out = all;

        *out = '\0';
        for (size_t i = 0; i < report.n && out - all < 64000; i++)
                out += sprintf(out, "\n%s: %s", report.problems[i].is_error ? "error" : "warning",
                               report.problems[i].text);
        return all;
}

/* What is wrong and what it is called, one problem a row unless it says otherwise. A problem
 * begins with its line; a warning with "warning:". */
static const struct {
        const char *text;
        const char *first, *second;
} rows[] = {
        /* nothing wrong */
        { "", NULL, NULL },
        { "# a comment\n\n; another\n  \t # indented\n[daemon] ; behind\n", NULL, NULL },
        { PAT3, NULL, NULL },
        { JWT6, NULL, NULL },
        { WEB6, NULL, NULL },
        { PKCE5, NULL, NULL },
        { TV4, NULL, NULL },
        { TEST3, NULL, NULL },
        { "[daemon]\r\nsocket_mode\t=\t0640\t; tabs and CR\r\n", NULL, NULL },
        { "\xef\xbb\xbf[daemon]\nlog_level = debug", NULL, NULL },
        { "[ daemon ]\nlog_level:debug\n", NULL, NULL },
        { "[  credential   me  ]\nprovider = coze.cn\ntype = sat\n", NULL, NULL },
        { JWT6 "session_name =          ; nothing, then a comment\n", NULL, NULL },
        { JWT6 "session_name = a; b # c\n", NULL, NULL },

        /* lines */
        { "socket = /x\n", ":1: a key outside of any section", NULL },
        { "[daemon]\nsocket\n", ":2: this line is neither", NULL },
        { "[daemon]\nsocket\nmode\n", ":2: this line is neither", ":3: this line is neither" },
        { "[daemon]\n\n  continued\n", ":3: this line is neither", NULL },
        { "[daemon]\n= 3\n", ":2: there is no key before the =", NULL },
        { "[daemon\nsocket = /x\n", ":1: the ] that ends the section's name is missing", NULL },
        { "[daemon] socket = /x\n", ":1: there is something behind the ]", NULL },
        { "[]\n", ":1: no such section: there are [daemon]", NULL },
        { "[deamon]\nsocket = /x\n", ":1: no such section", NULL },
        { "[deamon]\n", "did you mean \"daemon\"?", NULL },
        { "[Credential x]\n", "did you mean \"credential\"?", NULL },
        { "[daemon one]\n", ":1: there is one daemon", NULL },
        { "[socket]\n", ":1: [socket NAME] needs a name", NULL },
        { "[provider a b]\n", ":1: [provider NAME] needs a name", NULL },
        { "[provider .a]\n", ":1: [provider NAME] needs a name", NULL },
        { "[daemon]\nsocket = /\xff\n", ":2: this line is not text", NULL },
        { "[daemon]\nsocket = /\x01\n", ":2: this line is not text", NULL },

        /* twice */
        { "[daemon]\nlog_level = info\nlog_level = info\n",
          ":3: [daemon] log_level: is here twice, the first is in line 2", NULL },
        { "[daemon]\nlog_level =\nlog_level = info\n", ":3: [daemon] log_level: is here twice",
          NULL },
        { PAT3 PAT3, ":4: [credential me] is here twice, the first is in line 1", NULL },
        { "[daemon]\n[daemon]\n", ":2: [daemon] is here twice", NULL },

        /* keys */
        { JWT6 "cleint_secret = x\n", ":7: [credential bot] cleint_secret: no such key", NULL },
        { JWT6 "sesion_name = x\n", "did you mean \"session_name\"?", NULL },
        { JWT6 "kepp_frsh = never\n", "did you mean \"keep_fresh\"?", NULL },
        { JWT6 "nothing_like_it = x\n", "no such key in a [credential] section", NULL },
        { JWT6 "log_level = info\n",
          ":7: [credential bot] log_level: belongs in a [daemon] section", NULL },
        { "[daemon]\nredirect_uri = x\n", "redirect_uri: belongs in a [credential] section", NULL },
        { JWT6 "client_secret = verysecret\n",
          ":7: [credential bot] client_secret: a secret does not stand in the configuration: write "
          "it to a file of mode 0600 and name that with client_secret_file",
          NULL },
        { JWT6 "private_key = verysecret\n", "name that with private_key_file", NULL },
        { PAT3 "token = verysecret\n", "name that with token_file", NULL },
        { JWT6 "MIIEvQIBADANBgkqhkiG9w==\n", ":7: no such key in a [credential] section (not shown",
          NULL },

        /* values */
        { "[daemon]\nsocket_mode = 888\n", ":2: [daemon] socket_mode: must be an octal mode",
          NULL },
        { "[daemon]\nsocket_mode = 1777\n", "must be an octal mode", NULL },
        { "[daemon]\nsocket_mode = 0660 # open\n", "a comment behind a value starts with ';'",
          NULL },
        { "[daemon]\nlog_level = inof\n",
          "must be one of error, warning, info, debug; did you mean \"info\"?", NULL },
        { "[daemon]\nlog_level = \"info\"\n", "values are written without quotes", NULL },
        { "[daemon]\nsocket = run/x\n", "socket: must be an absolute path", NULL },
        { "[daemon]\nsocket = /run/../x\n", "socket: must be a path without . and ..", NULL },
        { "[daemon]\nsocket = /run/.\n", "socket: must be a path without . and ..", NULL },
        { "[daemon]\nsocket = /\n", "socket: must be more than /", NULL },
        { "[daemon]\nsocket = $XDG_NO_SUCH/x\n", "socket: must be an absolute path", NULL },
        { "[daemon]\nsocket = /1234567890/1234567890/1234567890/1234567890/1234567890/1234567890/"
          "1234567890/1234567890/1234567890/12345678\n",
          "socket: is longer than 107 bytes", NULL },
        { "[daemon]\nsocket_user = no-such-user\n",
          "socket_user: names a user that does not exist here: no-such-user", NULL },
        { "[daemon]\nsocket_group = no-such-group\n",
          "socket_group: names a group that does not exist here: no-such-group", NULL },
        { "[daemon]\nadmin_users = root, no-such-user\n", "names a user that does not exist",
          NULL },
        { "[daemon]\nadmin_users = 65534\n", "it matches nobody", NULL },
        { "[daemon]\nadmin_groups = 4294967295\n", "has a group number out of range", NULL },
        { "[daemon]\nadmin_users = ,\n", "has commas, but no word", NULL },
        { "[daemon]\nadmin_units = deploy\n", "has deploy, which is no unit", NULL },
        { "[daemon]\nadmin_units = a/b.service\n", "which is no unit", NULL },
        { TEST3 "timeout = 5\n", ":4: [provider test] timeout: needs a unit: 5s, 5min, 5h or 5d",
          NULL },
        { TEST3 "requests_per_second = 0\n", "requests_per_second: must", NULL },
        { TEST3 "timeout = soon\n", "timeout: must be a time span", NULL },
        { TEST3 "timeout = 999ms\n", "timeout: must lie between 1s and 2min", NULL },
        { TEST3 "timeout = 1500ms\n", "timeout: must be whole seconds", NULL },
        { TEST3 "timeout = 121s\n", "timeout: must lie between 1s and 2min", NULL },
        { TEST3 "timeout = 99999999999999999999s\n", "timeout: must lie between 1s and 2min",
          NULL },
        { TEST3 "allow_http = maybe\n", "allow_http: must be yes or no", NULL },
        { TEST3 "audience = a b\n", "audience: must be one word", NULL },
        { TEST3 "dialect = cozy\n", "dialect: must be one of coze; did you mean \"coze\"?", NULL },
        { TEST3 "ca_file = ^/no-such.pem\n", "ca_file: cannot read ", NULL },
        { JWT6 "subjects = ja\n", "subjects: must be yes or no", NULL },
        { JWT6 "token_lifetime = 1d\n",
          ":7: [credential bot] token_lifetime: must lie between 1s and 86399s", NULL },
        { JWT6 "token_lifetime = 0s\n", "token_lifetime: must lie between 1s and 86399s", NULL },
        { JWT6 "session_context = [1]\n", "session_context: must be a JSON object", NULL },
        { JWT6 "session_context = {\"a\":\n", "session_context: must be a JSON object", NULL },
        { JWT6 "bot_ids = \"1\"x, 2\n", "bot_ids: must be words of ASCII", NULL },
        { JWT6 "account_id = x\n", "account_id: must be a number of decimal digits", NULL },
        { TV4 "workspace_id = a/b\n", "workspace_id: must be letters, digits", NULL },
        { PAT3 "token_file = ^/pat\nexpires_at = soon\n",
          ":5: [credential me] expires_at: must be a date", NULL },
        { PAT3 "token_file = ^/pat\nexpires_at = 2026-02-30\n", "expires_at: must be a date",
          NULL },
        { PAT3 "token_file = ^/pat\nexpires_at = 2026-12-20T10:00Z\n", "must be a date", NULL },
        { PAT3 "token_file = ^/pat\nexpires_at = 1795400000000\n", "must be a date", NULL },
        { PAT3 "token_file = ^/pat\nexpires_at = 5\n", "must be a date", NULL },

        /* providers */
        { "[provider test]\n", ":1: [provider test] api_url: is required",
          ":1: [provider test] www_url: is required" },
        { "[provider test]\napi_url = http://localhost\nwww_url = https://a\n",
          ":2: [provider test] api_url: must be https, or the section needs allow_http = yes",
          NULL },
        { "[provider test]\napi_url = http://a\nwww_url = https://a\nallow_http = yes\n",
          ":2: [provider test] api_url: must be https: plain http is allowed to a loopback", NULL },
        { "[provider test]\napi_url = http://127.0.0.1:1\nwww_url = http://[::1]\nallow_http = on\n",
          NULL, NULL },
        { "[provider test]\napi_url = https://u:verysecret@a\nwww_url = https://a\n",
          ":2: [provider test] api_url: must not have a user or password", NULL },
        { "[credential me]\ntype = pat\n",
          ":1: [credential me] provider: is required: the region is never guessed", NULL },
        { "[credential me]\ntype = pat\nprovider =\n", "provider: is required", NULL },
        { "[credential me]\ntype = pat\nprovider = coze.con\n",
          ":3: [credential me] provider: there is no provider coze.con: coze.cn, coze.com or the "
          "name of a [provider] section; did you mean \"coze.cn\" or \"coze.com\"?",
          NULL },
        { "[credential me]\ntype = pat\nprovider = tesst\n" TEST3, "did you mean \"test\"?", NULL },
        { "[credential me]\ntype = pat\nprovider = a b\n", "provider: must be a name", NULL },

        /* types */
        { "[credential me]\nprovider = coze.cn\n",
          ":1: [credential me] type: is required: one of pat", NULL },
        { "[credential me]\nprovider = coze.cn\ntype = oauth\n",
          ":3: [credential me] type: must be one of pat, sat", NULL },
        { "[credential me]\nprovider = coze.cn\ntype = jwt\n",
          "client_id: is required for type jwt, or config_file, which has it",
          "public_key_id: is required for type jwt" },
        { "[credential me]\nprovider = coze.cn\ntype = pkce\nclient_id = 1\n",
          "redirect_uri: is required for type pkce", NULL },
        { "[credential me]\nprovider = coze.cn\ntype = device_code\n",
          "client_id: is required for type device_code", NULL },
        { PAT3 "private_key_file = ^/key.pem\n",
          ":4: [credential me] private_key_file: does not belong to type pat, only to jwt", NULL },
        { PAT3 "client_id = 1\n",
          "does not belong to type pat, only to authorization_code, pkce, device_code, jwt", NULL },
        { PAT3 "config_file = ^/pkce.json\n", "config_file: does not belong to type pat", NULL },
        { PAT3 "workspace_id = 1\n", "workspace_id: does not belong to type pat", NULL },
        { PAT3 "session_name = x\n", "session_name: does not belong to type pat, only to jwt",
          NULL },
        { PKCE5 "client_secret_file = ^/secret\n",
          "does not belong to type pkce, only to authorization_code", NULL },
        { TV4 "redirect_uri = https://a\n", "redirect_uri: does not belong to type device_code",
          NULL },
        { TV4 "permissions = a\n", "permissions: does not belong to type device_code", NULL },
        { TV4 "token_lifetime = 1h\n", "token_lifetime: does not belong", NULL },
        { TV4 "account_id = 1\n", "account_id: does not belong to type device_code", NULL },
        { JWT6 "workspace_id = 1\n",
          "does not belong to type jwt, only to authorization_code, pkce, device_code", NULL },
        { JWT6 "token_file = ^/pat\n", "does not belong to type jwt, only to pat, sat", NULL },
        { JWT6 "warn_before = 1d\n", "warn_before: does not belong to type jwt", NULL },
        { JWT6 "on_change = systemctl reload app\n", "must begin with the path of a program",
          NULL },
        { JWT6 "on_change = /bin/echo 'a\n", "has a quote that is not closed", NULL },
        { JWT6 "remind_every = 1s\n", "remind_every: must lie between 1min and 30d", NULL },
        { PAT3 "token_file_out = /run/x\n" JWT6 "token_file_out = /run/x\n",
          "token_file_out: /run/x is that of [credential me] already", NULL },
        { PAT3 "token_file_out = /run/x\n" JWT6 "token_file_out = /run/y\n", NULL, NULL },
        { JWT6 "token_file_out = /run/x\nkeep_fresh = never\n",
          "keep_fresh: must be always with token_file_out", NULL },
        { PAT3 "subjects = yes\n", ":4: [credential me] subjects: must be no for type pat", NULL },
        { PAT3 "subjects = no\n", NULL, NULL },
        { PAT3 "expires_at = 2026-12-20\n", "expires_at: needs token_file", NULL },
        { JWT6 "application = enterprise\n",
          ":1: [credential bot] enterprise_id: is required for application = enterprise", NULL },
        { JWT6 "application = enterprise\nenterprise_id = volcano_210195\n", NULL, NULL },
        { JWT6 "enterprise_id = volcano_210195\n",
          ":7: [credential bot] enterprise_id: belongs to application = enterprise only", NULL },
        { JWT6 "enterprise_id = v_1\naccount_id = 1\n",
          ":7: [credential bot] enterprise_id: excludes", NULL },
        { JWT6 "application = enterprise\nenterprise_id = v_1\naccount_id = 1\n",
          ":8: [credential bot] enterprise_id: excludes account_id", NULL },
        { JWT6 "account_id = 7361\n" CHANNEL, NULL, NULL },

        /* eligibility */
        { TV4 "workspace_id = 1\nplan = personal\n",
          ":1: [credential tv]: Coze does not allow \"Device code, collaboration\" to plan", NULL },
        { PAT3 "role = member\n", NULL, NULL },
        { JWT6 "role = member\n", "does not allow \"JWT developer\" to role = member", NULL },
        { JWT6 "plan = personal\nrole = admin\n",
          "warning:8: [credential bot] role: has no meaning", NULL },

        /* secret files */
        { PAT3 "token_file = ^/sat\n",
          "warning:4: [credential me] token_file: holds what looks like a service access token",
          NULL },
        { PAT3 "token_file = ^/czs\n",
          "warning:4: [credential me] token_file: holds what looks like", NULL },
        { PAT3 "token_file = ^/jwt\n", "looks like a JWT", NULL },
        { PAT3 "token_file = ^/secret\n",
          "warning:4: [credential me] token_file: holds a token that "
          "does not begin with pat_",
          NULL },
        { PAT3 "token_file = ^/none\n", ":4: [credential me] token_file: cannot open ", NULL },
        { PAT3 "token_file = ^/open\n", "chmod 600 ", NULL },
        { PAT3 "token_file = ^/empty\n", "/empty is empty", NULL },
        { PAT3 "token_file = ^/bearer\n", "/bearer begins with \"Bearer\"", NULL },
        { PAT3 "token_file = ^/quoted\n", "/quoted has quotes around it", NULL },
        { PAT3 "token_file = ^/lines\n", "/lines has more than one line", NULL },
        { PAT3 "token_file = ^/blank\n", "/blank has blanks", NULL },
        { PAT3 "token_file = ^\n", "is a directory", NULL },
        { PAT3 "token_file = pat_verysecret\n", "token_file: must be an absolute path", NULL },
        { PAT3 "token_file = %d/pat\n", NULL, NULL },
        { PAT3 "token_file = $HOME/pat\n", NULL, NULL },
        { PAT3 "token_file = /^//pat/\n", NULL, NULL },
        { "[credential bot]\nprovider = coze.cn\ntype = jwt\nclient_id = 1\npublic_key_id = " KID
          "\nprivate_key_file = ^/cert\n",
          ":6: [credential bot] private_key_file: ", NULL },

        /* config_file */
        { "[credential a]\nprovider = coze.cn\nconfig_file = ^/web.json\nredirect_uri = https://a\n",
          NULL, NULL },
        { "[credential a]\nprovider = coze.cn\nconfig_file = ^/web.json\n",
          "redirect_uri: is required for type authorization_code", NULL },
        { "[credential a]\nprovider = coze.com\nconfig_file = ^/com.json\n", NULL, NULL },
        { "[credential a]\nprovider = coze.cn\nconfig_file = ^/com.json\n",
          ":2: [credential a] provider: the region is wrong: config_file is for "
          "https://api.coze.com, coze.cn is https://api.coze.cn; it matches provider = coze.com",
          NULL },
        { "[credential a]\nprovider = coze.cn\nconfig_file = ^/own.json\n",
          "no provider matches it: add a [provider] section", NULL },
        { "[credential a]\nprovider = coze.com\nconfig_file = ^/com.json\ntype = pkce\n"
          "redirect_uri = https://a\n",
          ":4: [credential a] type: is not what client_type in config_file says: device_code",
          NULL },
        { "[credential a]\nprovider = coze.com\nconfig_file = ^/com.json\nclient_id = 87\n",
          ":4: [credential a] client_id: is not the client_id in config_file", NULL },
        { "[credential a]\nprovider = coze.com\nconfig_file = ^/com.json\nclient_id = 86\n", NULL,
          NULL },
        { "[credential a]\nprovider = coze.com\nconfig_file = ^/bad.json\n",
          "missing for this client_type: client_id, coze_api_base", NULL },
        { "[credential a]\nprovider = coze.com\nconfig_file = ^/none.json\n",
          ":3: [credential a] config_file: cannot open ", NULL },
        { "[provider coze.cn]\nwww_url = https://www.example\n[credential a]\nprovider = coze.cn\n"
          "config_file = ^/pkce.json\nredirect_uri = https://a\n",
          "warning:5: [credential a] config_file: coze_www_base is not the www_url", NULL },

        /* fallbacks */
        { PAT3 "fallback = me\n", ":4: [credential me] fallback: must be another", NULL },
        { PAT3 "fallback = bott\n" JWT6,
          ":4: [credential me] fallback: there is no [credential bott]; did you mean \"bot\"?",
          NULL },
        { PAT3 "fallback = bot\n" JWT6, NULL, NULL },
        { PAT3 "fallback = bot\n" JWT6 "fallback = me\n",
          ":4: [credential me] fallback: goes round in a circle", NULL },
        { PAT3 "fallback = bot\n" JWT6 "fallback = tv\n" TV4 "fallback = bot\n",
          ":11: [credential bot] fallback: goes round in a circle, back to bot", NULL },

        /* counts */
        { "[daemon]\nconnections_per_user = 0\n",
          ":2: [daemon] connections_per_user: must lie between 1 and 16384", NULL },
        { "[daemon]\nconnections_per_user = 99999999999999999999999\n",
          "must lie between 1 and 16384", NULL },
        { "[daemon]\nconnections_per_user = -1\n", "must be a whole number from 1 to 16384", NULL },
        { "[daemon]\nconnections_per_user = 4k\n", "must be a whole number from 1 to 16384", NULL },
        { "[daemon]\nauthorizations_per_user = 1024\nidle_timeout = 1s\n", NULL, NULL },
        { "[daemon]\nwaiting_per_user = 0\n",
          ":2: [daemon] waiting_per_user: must lie between 1 and 65536", NULL },
        { "[daemon]\nwaiting_per_user = 65537\n", "must lie between 1 and 65536", NULL },
        { "[daemon]\nwaiting_per_user = 65536\n", NULL, NULL },

        /* sockets */
        { "[socket a]\n", ":1: [socket a] path: is required", NULL },
        { "[socket a]\npath = ^/bearerd/bearerd.sock\n",
          "[socket a] path: is the same as that of [daemon]", NULL },
        { "[socket a]\npath = /x/y\n[socket b]\npath = //x//y\n",
          "[socket b] path: is the same as that of socket a", NULL },
        { "[socket a]\npath = /x\ncredentials = mee\n" PAT3,
          ":3: [socket a] credentials: there is no [credential mee]; did you mean \"me\"?", NULL },
        { "[socket a]\npath = /x\ncredentials =\n",
          "warning:3: [socket a] credentials: is set to nothing, which limits nothing", NULL },
        { "[socket a]\npath = /x\nprotocol = systemd-credentials\n",
          "did you mean \"systemd-credential\"?", NULL },
        { PAT3 "allow_users =\n", "warning:4: [credential me] allow_users: is set to nothing",
          NULL },

        /* hints */
        { "[credential bot]\nprovider = coze.cn\ntype = jwt\nclient_id = 1.app.coze\n"
          "public_key_id = 7\nprivate_key_file = ^/key.pem\n",
          "warning:5: [credential bot] public_key_id: does not look like a fingerprint",
          "warning:4: [credential bot] client_id: does not look like a service app's" },
        { "[credential bot]\nprovider = coze.cn\ntype = jwt\nclient_id = 1\n"
          "public_key_id = MIIBIjANBgkqhkiG9w0BAQ\nprivate_key_file = ^/key.pem\n",
          "public_key_id: looks like the key itself", NULL },
        { "[credential web]\nprovider = coze.cn\ntype = authorization_code\nclient_id = 1\n"
          "client_secret_file = ^/secret\nredirect_uri = http://app.example/\n",
          "warning:4: [credential web] client_id: does not look like the client id of a web app",
          "warning:6: [credential web] redirect_uri: sends the authorization code over http" },
};

static bool has_problem(const char *part) {
        bool warning = strncmp(part, "warning:", 8) == 0;
        char start[256];

        if (warning)
                part += 7;
        snprintf(start, sizeof(start), "%s/bearerd.conf", top);
        for (size_t i = 0; i < report.n; i++) {
                const char *text = report.problems[i].text;

                if (strncmp(text, start, strlen(start)) != 0)
                        continue;
                text += strlen(start);
                if (warning && report.problems[i].is_error)
                        continue;
                if (*part == ':' ? strncmp(text, part, strlen(part)) == 0
                                 : strstr(text, part) != NULL)
                        return true;
        }
        return false;
}

START_TEST(row)
{
        struct conf *const untouched = (struct conf *) (uintptr_t) 8;
        size_t n = (rows[_i].first ? 1 : 0) + (rows[_i].second ? 1 : 0), errors = 0;
        bool jwt_lacks_key = rows[_i].second &&
                             strstr(rows[_i].second, "public_key_id: is required");
        char path[256];
        int r;

        put("bearerd.conf", 0644, rows[_i].text);
        snprintf(path, sizeof(path), "%s/bearerd.conf", top);
        conf = untouched;
        r = conf_load(path, CONF_USER, &report, &conf);
        for (size_t i = 0; i < report.n; i++)
                errors += report.problems[i].is_error;
        ck_assert_msg(r == (errors > 0 ? -EINVAL : 0), "%d:%s", r, problems());
        ck_assert_int_eq(conf == untouched, r < 0);
        ck_assert_msg(report.n == n + jwt_lacks_key, "%zu problems, not %zu, in\n%s:%s", report.n,
                      n, rows[_i].text, problems());
        ck_assert_msg(!rows[_i].first || has_problem(rows[_i].first), "no \"%s\" in:%s",
                      rows[_i].first, problems());
        ck_assert_msg(!rows[_i].second || has_problem(rows[_i].second), "no \"%s\" in:%s",
                      rows[_i].second, problems());
        ck_assert_msg(!strstr(problems(), "verysecret"), "a secret is shown:%s", problems());
        if (r < 0)
                conf = NULL;
        forget();
}
END_TEST

START_TEST(full)
{
        const struct conf_credential *bot, *me, *web;
        const struct conf_socket *s;

        ck_assert_msg(
                load("[daemon]\nsocket = ^/d.sock\nsocket_mode = 0640\nsocket_user = 12\n"
                     "socket_group = 34\nstate_dir = ^/state/\nkey_file = %d/the.key\n"
                     "admin_users = root 7\nadmin_groups = 8, 9\nadmin_units = deploy@*.service\n"
                     "log_level = debug\n"
                     "[provider test]\ndialect = coze\napi_url = https://localhost:8443/\n"
                     "www_url = http://localhost:8444\nallow_http = yes\nca_file = ^/cert\n"
                     "timeout = 1min 5s\n"
                     "[credential bot]\nprovider = test\ntype = jwt\napplication = channel\n"
                     "client_id = 1127900106117\npublic_key_id = " KID "\n"
                     "private_key_file = ^/key.pem\ntoken_lifetime = 1h\nsession_name = de fault\n"
                     "session_context = {\"b\":1, \"a\":{\"d\":2,\"c\":3}}\n"
                     "permissions = Connector.botChat,x,  y\nbot_ids = 1\nworkspace_ids = 2\n"
                     "workflow_ids = 3 4\naccount_id = 7361\nsubjects = no\nallow_users = 33\n"
                     "allow_groups = 44\nallow_units = app.service, b?.service\nplan = enterprise\n"
                     "role = admin\nkeep_fresh = always\nfallback = me\n"
                     "[credential me]\nprovider = coze.com\ntype = pat\ntoken_file = ^/pat\n"
                     "expires_at = 2026-12-20T10:00:00Z\nwarn_before = 2w\n"
                     "[credential web]\nprovider = coze.cn\nconfig_file = ^/web.json\n"
                     "redirect_uri = https://app.example/cb#x\nworkspace_id = 77\n"
                     "[socket app1]\npath = ^/app1.sock\ncredentials = web, bot\nmode = 0666\n"
                     "[socket units]\npath = ^/units.sock\nprotocol = systemd-credential\n"
                     "user = 56\ngroup = 78\n") == 0,
                "%s", problems());
        ck_assert_uint_eq(report.n, 0);

        ck_assert_str_eq(conf->state_dir, placed("^/state"));
        ck_assert_str_eq(conf->key_file, placed("^/creds/the.key"));
        ck_assert_int_eq(conf->log_level, LOG_LEVEL_DEBUG);
        ck_assert_uint_eq(conf->admin.n_uids, 2);
        ck_assert_uint_eq(conf->admin.uids[0], 0);
        ck_assert_uint_eq(conf->admin.uids[1], 7);
        ck_assert_uint_eq(conf->admin.n_gids, 2);
        ck_assert_uint_eq(conf->admin.gids[1], 9);
        ck_assert_uint_eq(conf->admin.units.n, 1);
        ck_assert_str_eq(conf->admin.units.words[0], "deploy@*.service");

        ck_assert_uint_eq(conf->n_providers, 3);
        ck_assert_uint_eq(conf->n_credentials, 3);
        bot = conf_find_credential(conf, "bot");
        ck_assert_ptr_eq(bot, conf->credentials[0]);
        ck_assert_uint_eq(bot->index, 0);
        ck_assert_str_eq(bot->provider->name, "test");
        ck_assert_str_eq(bot->provider->dialect, "coze");
        ck_assert_str_eq(bot->provider->api_url, "https://localhost:8443");
        ck_assert_str_eq(bot->provider->www_url, "http://localhost:8444");
        ck_assert_str_eq(bot->provider->audience, "localhost:8443");
        ck_assert_str_eq(bot->provider->ca_file, placed("^/cert"));
        ck_assert_int_eq(bot->provider->timeout_us, 65 * US_PER_S);
        ck_assert_int_eq(bot->type, CREDENTIAL_JWT);
        ck_assert_int_eq(bot->application, APPLICATION_CHANNEL);
        ck_assert_str_eq(bot->client_id, "1127900106117");
        ck_assert_str_eq(bot->public_key_id, KID);
        ck_assert_int_eq(key_bits(bot->private_key), 2048);
        ck_assert_int_eq(bot->token_lifetime_us, US_PER_H);
        ck_assert_str_eq(bot->session_name, "de fault");
        ck_assert_str_eq(bot->session_context, "{\"a\":{\"c\":3,\"d\":2},\"b\":1}");
        ck_assert_ptr_null(bot->scope); /* for the wiring to fill in */
        ck_assert_uint_eq(bot->permissions.n, 3);
        ck_assert_str_eq(bot->permissions.words[2], "y");
        ck_assert_uint_eq(bot->bot_ids.n, 1);
        ck_assert_uint_eq(bot->workspace_ids.n, 1);
        ck_assert_uint_eq(bot->workflow_ids.n, 2);
        ck_assert_str_eq(bot->account_id, "7361");
        ck_assert(!bot->subjects && bot->restricted);
        ck_assert_uint_eq(bot->allow.uids[0], 33);
        ck_assert_uint_eq(bot->allow.gids[0], 44);
        ck_assert_uint_eq(bot->allow.units.n, 2);
        ck_assert_int_eq(bot->plan, PLAN_ENTERPRISE);
        ck_assert_int_eq(bot->role, ROLE_ADMIN);
        ck_assert_int_eq(bot->keep_fresh, KEEP_FRESH_ALWAYS);

        me = conf_find_credential(conf, "me");
        ck_assert_ptr_eq(bot->fallback, me);
        ck_assert_str_eq(secret_text(me->token), "pat_abcdefgh");
        ck_assert_int_gt(me->token_changed_at.s, 1000000000);
        ck_assert(me->has_expires_at);
        ck_assert_int_eq(me->expires_at.s, 1797760800);
        ck_assert_int_eq(me->warn_before_us, 14 * US_PER_D);
        ck_assert_str_eq(me->provider->audience, "api.coze.com");
        ck_assert_str_eq(me->provider->www_url, "https://www.coze.com");

        web = conf_find_credential(conf, "web");
        ck_assert_int_eq(web->type, CREDENTIAL_AUTHORIZATION_CODE);
        ck_assert_str_eq(web->client_id, "85.app.coze");
        ck_assert_str_eq(secret_text(web->client_secret), "of-file");
        ck_assert_str_eq(web->redirect_uri, "https://app.example/cb#x");
        ck_assert_str_eq(web->workspace_id, "77");

        ck_assert_uint_eq(conf->n_sockets, 3);
        s = conf->sockets[0];
        ck_assert_str_eq(s->name, "");
        ck_assert_str_eq(s->path, placed("^/d.sock"));
        ck_assert(s->mode == 0640 && s->owner == 12 && s->group == 34 && !s->restricted);
        s = conf->sockets[1];
        ck_assert_str_eq(s->name, "app1");
        ck_assert(s->mode == 0666 && s->owner == 12 && s->group == 34 && s->restricted);
        ck_assert_uint_eq(s->n_credentials, 2);
        ck_assert_ptr_eq(s->credentials[0], web);
        ck_assert_ptr_eq(s->credentials[1], bot);
        s = conf->sockets[2];
        ck_assert_int_eq(s->protocol, SOCKET_SYSTEMD_CREDENTIAL);
        ck_assert(s->mode == 0640 && s->owner == 56 && s->group == 78 && !s->restricted);
        ck_assert_ptr_null(conf_find_credential(conf, "nobody"));
        forget();
}
END_TEST

START_TEST(defaults)
{
        const struct conf_credential *bot, *me;

        ck_assert_int_eq(load(JWT6 PAT3), 0);
        ck_assert_str_eq(conf->sockets[0]->path, placed("^/bearerd/bearerd.sock"));
        ck_assert_uint_eq(conf->sockets[0]->mode, 0600);
        ck_assert_uint_eq(conf->sockets[0]->group, (gid_t) -1);
        ck_assert_uint_eq(conf->sockets[0]->owner, (uid_t) -1);
        ck_assert_str_eq(conf->state_dir, placed("^/.local/state/bearerd"));
        ck_assert_str_eq(conf->key_file, placed("^/.local/state/bearerd/bearerd.key"));
        ck_assert_int_eq(conf->log_level, LOG_LEVEL_INFO);
        bot = conf_find_credential(conf, "bot");
        ck_assert_int_eq(bot->provider->timeout_us, 15 * US_PER_S);
        ck_assert_str_eq(bot->provider->audience, "api.coze.cn");
        ck_assert(!bot->provider->allow_http);
        ck_assert_int_eq(bot->application, APPLICATION_DEVELOPER);
        ck_assert_int_eq(bot->token_lifetime_us, CONF_TOKEN_LIFETIME_DEFAULT_US);
        ck_assert_int_eq(bot->keep_fresh, KEEP_FRESH_WHILE_USED);
        ck_assert(bot->subjects && !bot->restricted && !bot->has_expires_at);
        ck_assert_ptr_null(bot->session_name);
        ck_assert_ptr_null(bot->fallback);
        me = conf_find_credential(conf, "me");
        ck_assert(!me->subjects && !me->token);
        ck_assert_int_eq(me->warn_before_us, 7 * US_PER_D);

        ck_assert_int_eq(setenv("XDG_STATE_HOME", "/elsewhere", 1), 0);
        ck_assert_int_eq(load(""), 0);
        ck_assert_str_eq(conf->state_dir, "/elsewhere/bearerd");

        ck_assert_int_eq(load_scope(CONF_SYSTEM), 0);
        ck_assert_str_eq(conf->sockets[0]->path, "/run/bearerd/bearerd.sock");
        ck_assert_uint_eq(conf->sockets[0]->mode, 0660);
        ck_assert_str_eq(conf->state_dir, "/var/lib/bearerd");
        ck_assert_str_eq(conf->key_file, "/var/lib/bearerd/bearerd.key");
        if (!getgrnam("bearerd")) { /* a machine where it is installed has it */
                ck_assert_uint_eq(report.n, 1);
                ck_assert(!report.problems[0].is_error);
                ck_assert(has_problem("[daemon] socket_group: the default, bearerd, names a group "
                                      "that does not exist"));
                ck_assert_uint_eq(conf->sockets[0]->group, (gid_t) -1);
        }
        put("bearerd.conf", 0644, "[daemon]\nsocket_mode = 0666\n");
        ck_assert_int_eq(load_scope(CONF_SYSTEM), 0);
        ck_assert_uint_eq(report.n, 0); /* a group would change nothing */
        forget();
}
END_TEST

START_TEST(default_paths)
{
        char *path = NULL;

        ck_assert_int_eq(conf_default_path(CONF_SYSTEM, &path), 0);
        ck_assert_str_eq(path, "/etc/bearerd/bearerd.conf");
        free(path);
        ck_assert_int_eq(conf_default_path(CONF_USER, &path), 0);
        ck_assert_str_eq(path, placed("^/.config/bearerd/bearerd.conf"));
        free(path);
        ck_assert_int_eq(setenv("XDG_CONFIG_HOME", "/c", 1), 0);
        ck_assert_int_eq(conf_default_path(CONF_USER, &path), 0);
        ck_assert_str_eq(path, "/c/bearerd/bearerd.conf");
        free(path);
        path = NULL;
        unsetenv("HOME");
        ck_assert_int_eq(setenv("XDG_CONFIG_HOME", "relative", 1), 0); /* as good as not set */
        ck_assert_int_eq(conf_default_path(CONF_USER, &path), -ENXIO);
        ck_assert_ptr_null(path);
        ck_assert_int_eq(conf_load(NULL, CONF_USER, &report, &conf), -EINVAL);
        ck_assert_msg(strstr(report.problems[0].text, "neither XDG_CONFIG_HOME nor HOME is set"),
                      "%s", problems());
        ck_assert_ptr_null(conf);
        forget();
        unsetenv("XDG_RUNTIME_DIR");
        ck_assert_int_eq(load(""), -EINVAL);
        ck_assert_msg(has_problem("[daemon] socket: the default, "), "%s", problems());
        ck_assert_msg(has_problem("[daemon] state_dir: the default, "), "%s", problems());
        forget();
}
END_TEST

START_TEST(missing)
{
        char path[256];

        snprintf(path, sizeof(path), "%s/none.conf", top);
        ck_assert_int_eq(conf_load(path, CONF_USER, &report, &conf), -EINVAL);
        ck_assert_msg(strstr(report.problems[0].text, "cannot open"), "%s", problems());
        forget();
        ck_assert_int_eq(conf_load(top, CONF_USER, &report, &conf), -EINVAL);
        ck_assert_msg(strstr(report.problems[0].text, "is a directory"), "%s", problems());
        forget();
        /* the default file may lack: HOME is our directory, which has no .config */
        ck_assert_msg(conf_load(NULL, CONF_USER, &report, &conf) == 0, "%s", problems());
        ck_assert_uint_eq(conf->n_credentials, 0);
        forget();
}
END_TEST

START_TEST(drop_ins)
{
        put("conf.d/20-b.conf", 0644,
            "[credential me]\nkeep_fresh = never\n[daemon]\nlog_level =\n[credential two]\n"
            "provider = coze.com\ntype = sat\n");
        put("conf.d/10-a.conf", 0644,
            "[credential me]\nkeep_fresh = always\nplan = personal\n[daemon]\nlog_level = debug\n");
        put("conf.d/.hidden.conf", 0644, "nonsense\n");
        put("conf.d/README", 0644, "nonsense\n");
        put("conf.d/x.conf~", 0644, "nonsense\n");
        ck_assert_msg(load("[daemon]\nlog_level = error\n" PAT3 "keep_fresh = while-used\n") == 0,
                      "%s", problems());
        ck_assert_uint_eq(conf->n_credentials, 2);
        ck_assert_int_eq(conf->log_level, LOG_LEVEL_INFO); /* set to nothing: the default again */
        ck_assert_int_eq(conf->credentials[0]->keep_fresh, KEEP_FRESH_NEVER);
        ck_assert_int_eq(conf->credentials[0]->plan, PLAN_PERSONAL);
        ck_assert_int_eq(conf->credentials[1]->type, CREDENTIAL_SAT);

        put("conf.d/30-c.conf", 0644, "[credential two]\n\ntype = satt\n[credential two]\n");
        ck_assert_int_eq(load(PAT3), -EINVAL);
        ck_assert_uint_eq(report.n, 2);
        ck_assert_msg(
                strstr(problems(), "/conf.d/30-c.conf:3: [credential two] type: must be one of"),
                "%s", problems());
        ck_assert_msg(strstr(problems(), "/conf.d/30-c.conf:4: [credential two] is here twice, the "
                                         "first is in line 1"),
                      "%s", problems());
        forget();
}
END_TEST

START_TEST(long_lines_and_names)
{
        static char text[3 * SETTINGS_LINE_MAX];
        char *out;

        /* libinih alone would cut this name at 49 bytes and take the two for one */
        out = stpcpy(
                text,
                "[credential aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa1]\n"
                "provider = coze.cn\ntype = pat\n"
                "[credential aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa2]\n"
                "provider = coze.cn\ntype = jwt\nclient_id = 1\npublic_key_id = " KID
                "\nprivate_key_file = ^/key.pem\n");
        out = stpcpy(out, "bot_ids = ");
        for (int i = 0; i < (SETTINGS_LINE_MAX - 2 - 10) / 2; i++)
                out = stpcpy(out, i == 0 ? "1 " : "2 ");
        strcpy(out, "\nkeep_fresh = never"); /* and no line break at the end */
        ck_assert_msg(load(text) == 0, "%s", problems());
        ck_assert_uint_eq(conf->n_credentials, 2);
        ck_assert_uint_eq(conf->credentials[1]->bot_ids.n, 2); /* each word once */
        ck_assert_int_eq(conf->credentials[1]->keep_fresh, KEEP_FRESH_NEVER);

        strcpy(out, "3 \nkeep_fresh = never");
        ck_assert_int_eq(load(text), -EINVAL);
        ck_assert_uint_eq(report.n, 1);
        ck_assert_msg(has_problem(":10: this line is longer than 8190 bytes"), "%s", problems());
        forget();
}
END_TEST

/* A file of another kind: it ends, with a report of bounded size. */
START_TEST(garbage)
{
        static char text[SETTINGS_FILE_MAX + 1];

        memset(text, '\n', sizeof(text));
        for (size_t i = 0; i + 2 < SETTINGS_FILE_MAX; i += 2)
                text[i] = 'x';
        put_bytes("bearerd.conf", 0644, text, SETTINGS_FILE_MAX);
        ck_assert_int_eq(load_scope(CONF_USER), -EINVAL);
        ck_assert_uint_eq(report.n, REPORT_MAX + 1);
        ck_assert_msg(strstr(report.problems[REPORT_MAX].text, "there is more"), "%s", problems());
        put_bytes("bearerd.conf", 0644, text, sizeof(text));
        ck_assert_int_eq(load_scope(CONF_USER), -EINVAL);
        ck_assert_uint_eq(report.n, 1);
        ck_assert_msg(strstr(problems(), "is larger than"), "%s", problems());
        put_bytes("bearerd.conf", 0644, "[daemon]\nlog_level = in\0fo\n", 28);
        ck_assert_int_eq(load_scope(CONF_USER), -EINVAL);
        ck_assert_msg(has_problem(":2: this line is not text"), "%s", problems());
        forget();
}
END_TEST

/* Bytes changed, dropped and doubled at random, from a fixed seed: never a crash, and an answer
 * that fits. */
START_TEST(mutations)
{
        static const char whole[] = "[daemon]\nsocket = /x ; y\n" TEST3 "timeout = 5s\n" JWT6
                                    "allow_users = 0, root\n" WEB6 PKCE5 TV4 "fallback = bot\n"
                                    "[socket a]\npath = /y\ncredentials = bot, tv\n";
        uint64_t state = 88172645463325252u;
        char text[4096];

        for (int round = 0; round < 500; round++) {
                size_t n = strlen(strcpy(text, placed(whole)));
                int r;

                for (int i = 0; i < 1 + round % 6; i++) {
                        size_t at;

                        state ^= state << 13;
                        state ^= state >> 7;
                        state ^= state << 17;
                        at = state % n;
                        if (state >> 60 < 4)
                                memmove(text + at, text + at + 1, n-- - at);
                        else if (state >> 60 < 8)
                                text[at] = "[]=;#\n\r\t \0\xff\""[(state >> 32) % 12];
                        else
                                text[at] = (char) (state >> 40);
                }
                put_bytes("bearerd.conf", 0644, text, n);
                r = load_scope(CONF_USER);
                ck_assert(r == 0 || r == -EINVAL);
                ck_assert_int_eq(r == 0, conf != NULL);
        }
        forget();
}
END_TEST

#define CANARY "verysecretcanary1234567890"

/* Whatever key somebody puts a secret behind, no message shows it. Names of users and the like
 * are shown on purpose. */
START_TEST(canary)
{
        for (const struct option *o = NULL; (o = option_next(o));) {
                char text[512];

                if (o->parse == value_users || o->parse == value_groups ||
                    o->parse == value_units || o->parse == value_user || o->parse == value_group ||
                    o->parse == value_name || strcmp(o->key, "credentials") == 0)
                        continue;
                snprintf(text, sizeof(text), "[%s%s]\n%s = %s\n%s\n%s%s = x\n",
                         section_kind_names[o->section], o->section == SECTION_DAEMON ? "" : " x",
                         o->key, CANARY, CANARY, CANARY, "==");
                ck_assert_int_eq(load(text), -EINVAL);
                ck_assert_msg(!strstr(problems(), "secretcanary"), "%s:%s", o->key, problems());
        }
        forget();
}
END_TEST

static void look_at_release(const void *bytes, size_t capacity) {
        ck_assert_msg(!memmem(bytes, capacity, "s3cret", 6), "a secret outlives its release");
}

START_TEST(secrets_are_wiped)
{
        secret_release_hook = look_at_release;
        ck_assert_int_eq(load(WEB6 JWT6), 0);
        ck_assert_str_eq(secret_text(conf->credentials[0]->client_secret), "s3cret");
        forget();
        secret_release_hook = NULL;
}
END_TEST

/* --- the table against what is written about it --- */

static struct secret *source_file(const char *name) {
        const char *root = getenv("SOURCE_ROOT");
        struct secret *text = NULL;
        struct why why = { "" };
        char path[512];

        snprintf(path, sizeof(path), "%s/%s", root ? root : ".", name);
        ck_assert_msg(file_read(path, 1 << 20, &why, &text) == 0, "%s", why.text);
        return text;
}

/* The text between the heading of a section and the next one; the caller frees it. */
static char *part_of(const char *text, const char *heading, const char *next) {
        const char *begin = strstr(text, heading), *end;

        ck_assert_msg(begin != NULL, "no %s", heading);
        begin += strlen(heading) - 1; /* its line break begins the first line */
        end = strstr(begin + 1, next);
        return strndup(begin, end ? (size_t) (end - begin) : strlen(begin));
}

START_TEST(table)
{
        for (const struct option *o = NULL; (o = option_next(o));) {
                ck_assert_ptr_eq(option_find(o->section, o->key), o); /* no key twice */
                ck_assert_msg(o->help && strlen(o->help) > 10, "%s", o->key);
                ck_assert_msg((o->parse == value_span || o->parse == value_count) ==
                                      (o->min && o->max),
                              "%s", o->key);
                ck_assert_msg((o->parse == value_choice) == (o->n_words > 0), "%s", o->key);
                ck_assert_msg(!o->standard || !o->required, "%s", o->key);
                if (o->parse == value_count) {
                        ck_assert_int_le(atoi(o->min), atoi(o->standard));
                        ck_assert_int_le(atoi(o->standard), atoi(o->max));
                } else if (o->min) {
                        int64_t min = -1, max = -1, us = -1;

                        ck_assert_int_eq(text_parse_span(o->min, &min), 0);
                        ck_assert_int_eq(text_parse_span(o->max, &max), 0);
                        ck_assert_int_eq(text_parse_span(o->standard, &us), 0);
                        ck_assert(min <= us && us <= max);
                }
        }
        ck_assert_ptr_null(option_find(SECTION_DAEMON, "no_such"));
        ck_assert_ptr_null(option_find(SECTION_DAEMON, "type"));
}
END_TEST

START_TEST(example_file)
{
        AUTO(secret_unrefp) struct secret *text = source_file("conf/bearerd.conf");
        static const char *const headings[] = { "[daemon]\n", "#[provider NAME]\n",
                                                "#[credential NAME]\n", "#[socket NAME]\n" };
        size_t n = 0, lines = 0;

        for (const struct option *o = NULL; (o = option_next(o)); n++) {
                char *part = part_of(secret_text(text), headings[o->section], "]\n");
                const char *standard = option_standard(o, CONF_SYSTEM);
                char line[256];

                snprintf(line, sizeof(line), "\n#%s =%s%s\n", o->key, standard ? " " : "",
                         standard ? standard : "");
                ck_assert_msg(strstr(part, line) != NULL, "no line \"%s\"", line + 1);
                free(part);
        }
        for (const char *p = secret_text(text); (p = strstr(p, "\n#")); p++)
                if (p[2] >= 'a' && p[2] <= 'z')
                        lines++;
        ck_assert_uint_eq(lines, n + 4); /* no line more, but those of the example at the end */

        put_bytes("bearerd.conf", 0644, secret_text(text), secret_len(text));
        ck_assert_msg(load_scope(CONF_USER) == 0 && report.n == 0, "%s", problems());
        forget();
}
END_TEST

/* What the manual says behind "*key* = ", to the next key or heading, with formatting taken out. */
static char *manual_of(const char *part, const char *key) {
        char start[64], *text, *out;
        const char *begin, *end;

        snprintf(start, sizeof(start), "\n*%s* = ", key);
        begin = strstr(part, start);
        ck_assert_msg(begin != NULL, "%s is not in the manual", key);
        begin += strlen(start);
        end = strstr(begin, "\n\n");
        text = strndup(begin, end ? (size_t) (end - begin) : strlen(begin));
        out = text;
        for (const char *in = text; *in; in++)
                if (*in != '\t' && *in != '*')
                        *out++ = *in == '\n' ? ' ' : *in;
        *out = '\0';
        return text;
}

static void check_manual_has(const char *manual, const char *key, const char *what,
                             const char *text) {
        char sought[256];

        if (!text)
                return;
        snprintf(sought, sizeof(sought), "%s%s", what, text);
        ck_assert_msg(strstr(manual, sought) != NULL, "%s: no \"%s\" in: %s", key, sought, manual);
}

START_TEST(manual_page)
{
        AUTO(secret_unrefp) struct secret *text = source_file("daemon/conf/bearerd.conf.5.scd");
        static const char *const headings[] = { "\n# [daemon]\n", "\n# [provider NAME]\n",
                                                "\n# [credential NAME]\n", "\n# [socket NAME]\n" };
        size_t n = 0, keys = 0;

        for (const struct option *o = NULL; (o = option_next(o)); n++) {
                char *part = part_of(secret_text(text), headings[o->section], "\n# ");
                char *manual = manual_of(part, o->key), types[OPTION_TYPES_MAX], range[64];

                check_manual_has(manual, o->key, "Default: ", o->standard);
                if (o->standard_user && *o->standard_user)
                        check_manual_has(manual, o->key, "with --user ", o->standard_user);
                if (o->required)
                        check_manual_has(manual, o->key, "Required", "");
                else if (!o->standard)
                        check_manual_has(manual, o->key, "Default: ", "");
                if (o->types)
                        check_manual_has(manual, o->key, "", option_types(o->types, types));
                for (unsigned i = 0; i < o->n_words; i++)
                        check_manual_has(manual, o->key, "", o->words[i]);
                snprintf(range, sizeof(range), "%s to %s", o->min, o->max);
                if (o->min)
                        check_manual_has(manual, o->key, "", range);
                free(manual);
                free(part);
        }
        for (const char *p = secret_text(text); (p = strstr(p, "\n*")); p++)
                if (strstr(p, "* = _") && strstr(p, "* = _") < strchr(p + 1, '\n'))
                        keys++;
        ck_assert_uint_eq(keys, n); /* and none that does not exist */
}
END_TEST

static void add(TCase *tc) {
        tcase_add_unchecked_fixture(tc, make_top, drop_top);
        tcase_add_checked_fixture(tc, set_environment, forget);
        tcase_set_timeout(tc, 60);
        tcase_add_loop_test(tc, row, 0, N_ELEMENTS(rows));
        tcase_add_test(tc, full);
        tcase_add_test(tc, defaults);
        tcase_add_test(tc, default_paths);
        tcase_add_test(tc, missing);
        tcase_add_test(tc, long_lines_and_names);
        tcase_add_test(tc, garbage);
        tcase_add_test(tc, mutations);
        tcase_add_test(tc, canary);
        tcase_add_test(tc, secrets_are_wiped);
        tcase_add_test(tc, table);
        tcase_add_test(tc, example_file);
        tcase_add_test(tc, manual_page);
        tcase_add_test(tc, drop_ins); /* last: it leaves files in conf.d */
}

CHECK_MAIN("conf", add)
