#include "api/page.h"

#include <assert.h>
#include <string.h>

#include "base/why.h"

#define PAGE_ESCAPE_MAX 6 /* bytes of the longest escape: &quot; */
#define PAGE_SIZE_MAX   8192

static const struct {
        unsigned status;
        const char *zh_title, *zh_text, *en_title, *en_text;
} pages[PAGE_MAX] = {
        [PAGE_SUCCEEDED] = { MHD_HTTP_OK, "授权成功，可以关闭此页面",
                             "bearerd 会自动续期访问令牌，无需再次登录。",
                             "Authorization succeeded",
                             "You may close this window. bearerd renews the access token by itself "
                             "from now on." },
        [PAGE_WORKING] = { MHD_HTTP_ACCEPTED, "授权仍在处理中",
                           "授权服务器尚未答复，bearerd 会继续等待。可以关闭此页面，结果请查看 "
                           "bearerctl authorizations。",
                           "Still working",
                           "The authorization server has not answered yet; bearerd goes on "
                           "waiting. You may close this window: bearerctl authorizations shows how "
                           "it ends." },
        [PAGE_DENIED] = { MHD_HTTP_FORBIDDEN, "授权被拒绝",
                          "未获得访问权限。如需重试，请再次运行 bearerctl login。",
                          "Authorization denied",
                          "No access was given. To try again, run bearerctl login once more." },
        [PAGE_EXPIRED] = { MHD_HTTP_GONE, "授权已过期", "请再次运行 bearerctl login。",
                           "Authorization expired", "Run bearerctl login once more." },
        [PAGE_FAILED] = { MHD_HTTP_BAD_GATEWAY, "授权失败",
                          "原因见下。请处理后再次运行 bearerctl login。", "Authorization failed",
                          "The reason stands below. When it is dealt with, run bearerctl login "
                          "once more." },
        [PAGE_CANCELLED] = { MHD_HTTP_GONE, "授权已取消", "如需授权，请再次运行 bearerctl login。",
                             "Authorization cancelled",
                             "To authorize, run bearerctl login once more." },
        [PAGE_OVER] = { MHD_HTTP_NOT_FOUND, "此授权链接已失效",
                        "链接已被使用、已过期或已被取消。如需授权，请再次运行 bearerctl login。",
                        "This authorization is over",
                        "It was used already, ran out or was cancelled. To authorize, run "
                        "bearerctl login once more." },
        [PAGE_INCOMPLETE] = { MHD_HTTP_BAD_REQUEST, "地址不完整",
                              "此页面只接受从授权服务器返回的浏览器，地址中须有 state，以及 code "
                              "或 error，且不得重复。",
                              "Incomplete address",
                              "Browsers come here from the authorization server, with state and "
                              "either code or error in the address, each of them once." },
        [PAGE_ADDRESS] = { MHD_HTTP_BAD_REQUEST, "地址错误",
                           "请使用与 redirect_uri 完全相同的主机名和端口。", "Wrong address",
                           "Use host and port exactly as they stand in the redirect_uri." },
        [PAGE_ABSENT] = { MHD_HTTP_NOT_FOUND, "没有此页面", "此处只有 redirect_uri 所指的页面。",
                          "No such page",
                          "The only page here is the one that the redirect_uri names." },
        [PAGE_METHOD] = { MHD_HTTP_METHOD_NOT_ALLOWED, "不支持此方法", "只支持 GET。",
                          "Method not allowed", "GET is the only one." },
};

static const struct {
        const char *name, *value;
} page_headers[] = {
        { MHD_HTTP_HEADER_CONNECTION, "close" },
        { MHD_HTTP_HEADER_CONTENT_SECURITY_POLICY,
          "default-src 'none'; style-src 'unsafe-inline'" },
        { "Referrer-Policy", "no-referrer" },
        { MHD_HTTP_HEADER_X_CONTENT_TYPE_OPTIONS, "nosniff" },
};

static const char page_head[] =
        "<!DOCTYPE html>\n<html lang=\"zh-CN\">\n<head>\n<meta charset=\"utf-8\">\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
        "<meta name=\"color-scheme\" content=\"light dark\">\n"
        "<style>\n"
        "body{font:1rem/1.6 system-ui,sans-serif;max-width:36rem;margin:12vh auto;padding:0 1rem}\n"
        "h1{font-size:1.4rem;margin:0}p{margin:0 0 2rem}\n"
        "code{overflow-wrap:anywhere;opacity:.75}\n"
        "</style>\n<title>";

/* Neither markup nor an attribute's value ends early. */
static const char *page_escape_of(char c) {
        switch (c) {
        case '&':
                return "&amp;";
        case '<':
                return "&lt;";
        case '>':
                return "&gt;";
        case '"':
                return "&quot;";
        case '\'':
                return "&#39;";
        default:
                return NULL;
        }
}

static void page_escape(const char *text, char ret[PAGE_ESCAPE_MAX * WHY_MAX]) {
        size_t left = WHY_MAX - 1;

        for (; *text && left > 0; text++, left--) {
                const char *escape = page_escape_of(*text);

                if (escape)
                        ret = stpcpy(ret, escape);
                else
                        *ret++ = *text;
        }
        *ret = '\0';
}

/* NULL: out of memory. */
static struct secret *page_body(enum page page, const char *detail) {
        char escaped[PAGE_ESCAPE_MAX * WHY_MAX];
        const char *const parts[] = {
                page_head,
                pages[page].zh_title,
                " · ",
                pages[page].en_title,
                "</title>\n</head>\n<body>\n<section lang=\"zh-CN\">\n<h1>",
                pages[page].zh_title,
                "</h1>\n<p>",
                pages[page].zh_text,
                "</p>\n</section>\n<section lang=\"en\">\n<h1>",
                pages[page].en_title,
                "</h1>\n<p>",
                pages[page].en_text,
                "</p>\n</section>\n<p lang=\"en\"><code>",
                escaped,
                "</code></p>\n</body>\n</html>\n",
        };
        struct secret *body = secret_new_reserved(PAGE_SIZE_MAX);
        int r = 0;

        if (!body)
                return NULL;
        page_escape(detail ? detail : "", escaped);
        for (size_t i = 0; i < N_ELEMENTS(parts) && r == 0; i++)
                r = secret_append_text(body, parts[i]);
        assert(r == 0); /* the longest page has room */
        return body;
}

struct reply page_make(enum page page, const char *detail) {
        struct reply reply = { .status = pages[page].status };
        enum MHD_Result good = MHD_YES;

        reply.response = reply_response(page_body(page, detail), "text/html; charset=utf-8");
        if (!reply.response)
                return reply;
        for (size_t i = 0; i < N_ELEMENTS(page_headers) && good == MHD_YES; i++)
                good = MHD_add_response_header(reply.response, page_headers[i].name,
                                               page_headers[i].value);
        if (good == MHD_YES && page == PAGE_METHOD)
                good = MHD_add_response_header(reply.response, MHD_HTTP_HEADER_ALLOW, "GET");
        if (good != MHD_YES) {
                MHD_destroy_response(reply.response);
                reply.response = NULL;
        }
        return reply;
}
