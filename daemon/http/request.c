#include "http/transport.h"

#include <stdlib.h>

struct http_request *http_request_free(struct http_request *req) {
        if (!req)
                return NULL;
        free(req->url);
        secret_unref(req->authorization);
        secret_unref(req->body);
        free(req);
        return NULL;
}
