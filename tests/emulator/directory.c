#include "directory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memory.h"
#include "object.h"
#include "random.h"

static const struct {
        const char *name, *client_type, *client_id;
        const char *settings; /* more keys of its section in bearerd.conf */
        const char *redirect_uri;
} applications[APPLICATION_MAX] = {
        [APPLICATION_DEVELOPER] = { "developer", "jwt", "1127900106117", "", NULL },
        [APPLICATION_CHANNEL] = { "channel", "jwt", "1127900106118",
                                  "application = channel\npermissions = Connector.botChat\n",
                                  NULL },
        [APPLICATION_ENTERPRISE] = { "enterprise", "jwt", "1127900106119",
                                     "application = enterprise\nenterprise_id = " ENTERPRISE_ID
                                     "\n",
                                     NULL },
        [APPLICATION_WEB] = { "web", "web", "8173420653665306615182245269.app.coze",
                              "redirect_uri = http://127.0.0.1:18080/callback\n",
                              "http://127.0.0.1:18080/callback" },
        [APPLICATION_PKCE] = { "pkce", "pkce", "8173420653665306615182244270.app.coze",
                               "redirect_uri = http://127.0.0.1:18081/callback\n",
                               "http://127.0.0.1:18081/callback" },
        [APPLICATION_DEVICE] = { "device", "device", "8173420653665306615182244271", "", NULL },
};

void directory_die(const char *format, ...) {
        va_list ap;

        fputs("emulator: ", stderr);
        va_start(ap, format);
        vfprintf(stderr, format, ap);
        va_end(ap);
        fputc('\n', stderr);
        exit(EXIT_FAILURE);
}

bool directory_has(const char *path) {
        return access(path, F_OK) == 0;
}

char *directory_read(const char *path) {
        char *text = must(calloc(1, DIRECTORY_FILE_MAX));
        FILE *f = fopen(path, "re");
        size_t size;

        if (!f)
                directory_die("cannot read %s: %s", path, strerror(errno));
        size = fread(text, 1, DIRECTORY_FILE_MAX, f);
        if (ferror(f) || size == DIRECTORY_FILE_MAX)
                directory_die("cannot read %s: it is no file the emulator wrote", path);
        fclose(f);
        return text;
}

void directory_write(const char *path, const char *text, mode_t mode) {
        AUTO(freep) char *temporary = must_printf("%s.XXXXXX", path);
        size_t size = strlen(text);
        int fd = mkostemp(temporary, O_CLOEXEC);

        if (fd < 0 || fchmod(fd, mode) < 0 || write(fd, text, size) != (ssize_t) size ||
            close(fd) < 0 || rename(temporary, path) < 0)
                directory_die("cannot write %s: %s", path, strerror(errno));
}

static void directory_make(const char *path) {
        if (mkdir(path, 0700) < 0 && errno != EEXIST)
                directory_die("cannot make the directory %s: %s", path, strerror(errno));
}

/* The first line of a file that holds one secret, made if there is none. */
static char *directory_secret(const char *path, const char *prefix) {
        char text[RANDOM_TOKEN_SIZE + 1], *secret;

        if (!directory_has(path)) {
                random_token(prefix, text);
                strcat(text, "\n");
                directory_write(path, text, 0600);
        }
        secret = directory_read(path);
        secret[strcspn(secret, "\n")] = '\0';
        return secret;
}

static char *application_file(const struct directory *d, const struct application *app,
                              const char *name) {
        return must_printf("%s/%s/%s", d->path, app->name, name);
}

/* The secret of the web application lives in the console's file alone. */
static void application_read_secret(struct application *app, const char *console_file) {
        char secret[RANDOM_TOKEN_SIZE];

        if (directory_has(console_file)) {
                AUTO(freep) char *text = directory_read(console_file);
                AUTO(json_putp) struct json_object *o = object_parse(text, strlen(text));

                if (!o || !object_string(o, "client_secret"))
                        directory_die("%s has no client_secret; remove it to have a new one made",
                                      console_file);
                app->secret = must_strdup(object_string(o, "client_secret"));
                return;
        }
        random_token("", secret);
        app->secret = must_strdup(secret);
}

static void application_open(const struct directory *d, struct application *app,
                             enum application_kind kind) {
        AUTO(freep) char *folder = must_printf("%s/%s", d->path, applications[kind].name);

        directory_make(folder);
        app->kind = kind;
        app->name = applications[kind].name;
        app->client_id = applications[kind].client_id;
        if (applications[kind].redirect_uri)
                strcpy(app->redirect_uris[0], applications[kind].redirect_uri);
        if (kind == APPLICATION_WEB) {
                AUTO(freep) char *file = application_file(d, app, "coze_oauth_config.json");

                application_read_secret(app, file);
        }
        if (kind <= APPLICATION_ENTERPRISE) {
                AUTO(freep) char *file = application_file(d, app, "private_key.pem");
                AUTO(freep) char *pem = NULL;

                app->key = key_open(file, &pem);
                key_id(app->key, app->key_id);
        }
}

static void application_publish(const struct directory *d, const struct application *app) {
        AUTO(freep) char *file = application_file(d, app, "coze_oauth_config.json");
        AUTO(json_putp) struct json_object *o = must(json_object_new_object());

        if (directory_has(file)) {
                AUTO(freep) char *text = directory_read(file);
                AUTO(freep) char *base = must_printf("\"%s\"", d->url);

                if (strstr(text, base))
                        return;
        }
        object_add_string(o, "client_type", applications[app->kind].client_type);
        object_add_string(o, "client_id", app->client_id);
        if (app->secret)
                object_add_string(o, "client_secret", app->secret);
        if (app->key) {
                AUTO(freep) char *key_file = application_file(d, app, "private_key.pem");
                AUTO(freep) char *pem = directory_read(key_file);

                object_add_string(o, "private_key", pem);
                object_add_string(o, "public_key_id", app->key_id);
        }
        object_add_string(o, "coze_api_base", d->url);
        object_add_string(o, "coze_www_base", d->url);
        directory_write(file,
                        json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY |
                                                                  JSON_C_TO_STRING_SPACED |
                                                                  JSON_C_TO_STRING_NOSLASHESCAPE),
                        0600);
}

static void directory_publish_conf(const struct directory *d, bool plain_http) {
        AUTO(freep) char *file = must_printf("%s/bearerd.conf", d->path);
        AUTO(freep) char *address = must_printf("api_url = %s\n", d->url);
        AUTO(freep) char *conf = NULL;
        size_t size;
        FILE *f;

        if (directory_has(file)) {
                AUTO(freep) char *text = directory_read(file);

                if (strstr(text, address))
                        return;
        }
        f = must(open_memstream(&conf, &size));
        fprintf(f, "# Every credential of the provider emulator at %s, ready for bearerd.\n",
                d->url);
        fprintf(f, "[provider coze-test]\ndialect = coze\n%swww_url = %s\naudience = %s\n", address,
                d->url, d->host);
        if (plain_http)
                fputs("allow_http = yes\n", f);
        else
                fprintf(f, "ca_file = %s/ca.pem\n", d->path);
        for (size_t i = 0; i < APPLICATION_MAX; i++)
                fprintf(f,
                        "\n[credential %s]\nprovider = coze-test\n"
                        "config_file = %s/%s/coze_oauth_config.json\n%s",
                        applications[i].name, d->path, applications[i].name,
                        applications[i].settings);
        for (size_t i = 0; i < 2; i++) {
                const char *name = i ? "sat" : "pat";

                fprintf(f,
                        "\n[credential %s]\nprovider = coze-test\ntype = %s\ntoken_file = %s/%s\n",
                        name, name, d->path, name);
        }
        if (fclose(f) != 0)
                directory_die("cannot write %s: %s", file, strerror(errno));
        directory_write(file, conf, 0644);
}

void directory_open(struct directory *d, const char *path) {
        AUTO(freep) char *pat = NULL, *sat = NULL;

        directory_make(path);
        d->path = realpath(path, NULL);
        if (!d->path)
                directory_die("cannot use the directory %s: %s", path, strerror(errno));
        pat = must_printf("%s/pat", d->path);
        sat = must_printf("%s/sat", d->path);
        certificate_make(d->path);
        d->pat = directory_secret(pat, "pat_");
        d->sat = directory_secret(sat, "sat_");
        for (size_t i = 0; i < APPLICATION_MAX; i++)
                application_open(d, &d->applications[i], i);
}

void directory_publish(struct directory *d, unsigned port, bool plain_http) {
        d->host = must_printf("localhost:%u", port);
        d->url = must_printf("%s://%s", plain_http ? "http" : "https", d->host);
        for (size_t i = 0; i < APPLICATION_MAX; i++)
                application_publish(d, &d->applications[i]);
        directory_publish_conf(d, plain_http);
}

void directory_announce(const struct directory *d, unsigned port) {
        AUTO(freep) char *file = must_printf("%s/port", d->path);
        AUTO(freep) char *text = must_printf("%u\n", port);

        directory_write(file, text, 0644);
}

void directory_done(struct directory *d) {
        for (size_t i = 0; i < APPLICATION_MAX; i++) {
                EVP_PKEY_free(d->applications[i].key);
                free(d->applications[i].secret);
        }
        free(d->path);
        free(d->url);
        free(d->host);
        free(d->pat);
        free(d->sat);
}
