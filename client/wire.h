#pragma once
/*
 * One HTTP/1.1 call over a Unix socket
 *
 * What a client of bearerd needs of HTTP and nothing else, on libc alone, so that any program can
 * carry it. One call at a time on a connection, which may be kept for the next one. The other end
 * is not trusted: every length is checked against a limit and against what really came, and an
 * answer that is not exactly one well-formed HTTP message is refused as a whole.
 *
 * Answers hold tokens: their memory is never moved by realloc() and is wiped on release.
 *
 * Units:     durations are int64_t *_us, by CLOCK_BOOTTIME; instants are UNIX seconds.
 * Errors:    negative errno, listed at each function; an HTTP status is data.
 * Threading: no shared state; any thread, one thread to a connection.
 * Sources:   RFC 9110, RFC 9112; design.md section 4.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_SOCKET_MAX       108 /* bytes of a socket's path with its NUL: sun_path */
#define WIRE_PATH_MAX         2048
#define WIRE_REQUEST_HEAD_MAX (WIRE_PATH_MAX + 512)
#define WIRE_HEAD_MAX         8192    /* bytes of status line and headers together */
#define WIRE_BODY_MAX         1048576 /* bytes of a body, unless the request allows another size */
#define WIRE_CHUNK_LINE_MAX   256     /* bytes of a chunk's size and extensions */
#define WIRE_TYPE_SIZE        64
#define WIRE_FINGERPRINT_LEN  16

/* True for a credential's name: 1 to PROTOCOL_NAME_MAX of [A-Za-z0-9._-], not led by '.' or '-'. */
bool wire_is_name(const char *name);

/* A request target, built piece by piece: "/v1/token/bot?subject=alice&min_ttl=60". */
struct wire_path {
        char text[WIRE_PATH_MAX];
        size_t len;
};

/* Starts with `prefix`, a credential's name, and what follows it ("" or "/secret").
 * 0; -EINVAL: not a name. */
int wire_path_begin(struct wire_path *path, const char *prefix, const char *name,
                    const char *suffix);

/* Adds a query parameter, percent-encoded. 0; -ENOBUFS: too long, nothing is added then. */
int wire_path_add(struct wire_path *path, const char *key, const char *value);
int wire_path_add_number(struct wire_path *path, const char *key, int64_t value);

/* Where the daemon listens: $BEARERD_SOCKET, else the user's socket if it exists, else the
 * system's. 0; -ENAMETOOLONG: $BEARERD_SOCKET does not fit. */
int wire_find_socket(char ret[WIRE_SOCKET_MAX]);

/* Connects, waiting at most `timeout_us` where the daemon's backlog is full. The descriptor is
 * close-on-exec. 0; -EINVAL: empty path; -ENAMETOOLONG; -ETIMEDOUT; else what connect(2) said:
 * -ENOENT, -ECONNREFUSED, -EACCES ... */
int wire_connect(const char *socket_path, int64_t timeout_us, int *ret_fd);

struct wire_request {
        const char *method;
        const char *path; /* no blank and no control character */
        const char *accept;
        const void *body; /* JSON, or NULL; not copied */
        size_t body_len;
        size_t answer_max;  /* bytes of the answer's body; 0: WIRE_BODY_MAX */
        int64_t timeout_us; /* for the whole call */
        bool keep;          /* ask the daemon to keep the connection */
};

struct wire_answer {
        int status;
        char content_type[WIRE_TYPE_SIZE]; /* lower case, without parameters; "" if not given */
        char fingerprint[WIRE_FINGERPRINT_LEN + 1]; /* "" if not given */
        int64_t expires_at;                         /* UNIX time; -1 if not given */
        int64_t expires_in_s;                       /* -1 if not given */
        int64_t retry_after_s;                      /* -1 if not given */
        bool keep;  /* the connection is good for another call; else close it */
        char *body; /* body_len bytes and a NUL; part of `memory` */
        size_t body_len;
        char *memory; /* owned; NULL in an answer that was never filled */
        size_t capacity;
};

/* Sends `request`, receives the answer. The connection is usable afterwards only if ret->keep.
 * 0, with *ret filled whatever the status: wire_answer_done(). *ret is untouched on failure:
 * -ECONNRESET: closed before the answer was complete (nothing may have come: a stale connection)
 * -ETIMEDOUT:  timeout_us ran out
 * -EBADMSG:    not a well-formed HTTP answer
 * -EMSGSIZE:   larger than WIRE_HEAD_MAX or answer_max
 * -EINVAL:     the path holds what would break the request line
 * -ENOMEM, and what the kernel said. */
int wire_call(int fd, const struct wire_request *request, struct wire_answer *ret);

/* Its two halves, for who has more to wait for than this answer: between them the descriptor
 * becomes readable. Each may take timeout_us. Errors as above. */
int wire_send(int fd, const struct wire_request *request);
int wire_receive(int fd, const struct wire_request *request, struct wire_answer *ret);

/* For who may not wait at all: the bytes of a request's head (its body goes behind them), and an
 * answer that comes in pieces. */

/* 0, or -EINVAL as above. */
int wire_format_head(const struct wire_request *request, char ret[WIRE_REQUEST_HEAD_MAX],
                     size_t *ret_len);

struct wire_head {
        struct wire_answer answer; /* what the caller will see; without the body */
        int64_t length;            /* -1: not given */
        bool chunked;
        bool close;
};

enum wire_state {
        WIRE_HEAD,
        WIRE_COUNTED,
        WIRE_UNTIL_CLOSE,
        WIRE_CHUNK_SIZE,
        WIRE_CHUNK_DATA,
        WIRE_CHUNK_DATA_END, /* the CRLF behind the data */
        WIRE_CHUNK_TRAILER,
        WIRE_CHUNK_DONE,
};

struct wire_reading {
        enum wire_state state;
        struct wire_head head; /* once the state is past WIRE_HEAD */
        bool keep;
        char *memory; /* owned */
        size_t used, capacity;
        size_t body;     /* where the body begins, behind the head */
        size_t body_end; /* and ends, as far as it is decoded */
        size_t body_max;
        size_t chunk_left; /* of the data of this chunk */
        size_t trailer;    /* bytes of trailer so far */
};

void wire_reading_begin(struct wire_reading *rd, const struct wire_request *request);

/* Takes what has come, without waiting. 1: the answer is complete, and in *ret; 0: more is to come,
 * wait until the descriptor is readable; negative errno as above, and `rd` is done with. */
int wire_receive_some(int fd, struct wire_reading *rd, struct wire_answer *ret);

/* Wipes and releases; safe on a zeroed struct, and twice. */
void wire_reading_done(struct wire_reading *rd);

/* Wipes and releases; safe on a zeroed struct, and twice. */
void wire_answer_done(struct wire_answer *answer);

/* Called with every block just before it is released, after the wipe: for the test that reads it.
 * NULL: off. */
extern void (*wire_release_hook)(const void *bytes, size_t capacity);
