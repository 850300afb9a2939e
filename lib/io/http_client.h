/*
 * http_client - requests to HTTP services, many at once, on the loop.
 *
 * At most max_connections requests are under way, over connections that are
 * kept and, where the server offers HTTP/2, shared; the others wait in order
 * and cost a few hundred bytes each. Redirects are not followed, only https
 * and http are spoken, bodies and headers are bounded.
 *
 * What a request says is copied. Credentials are kept out of every error text
 * and overwritten when the request ends.
 *
 * Thread: the loop thread; nothing blocks.
 */
#ifndef LIB_IO_HTTP_CLIENT_H
#define LIB_IO_HTTP_CLIENT_H

#include "lib/base/err.h"
#include "lib/io/loop.h"

#include <stddef.h>
#include <stdint.h>

struct http;      /* connections, and what waits for them */
struct http_call; /* one request */

struct http_conf {
    int64_t max_connections;    /* at least 1 */
    int64_t connect_timeout_ms; /* of one connection */
    const char *ca_file;        /* "" or certificates to trust instead */
};

struct http_request {
    const char *method;         /* "GET", "POST", ... */
    const char *url;            /* no credentials in it */
    const char *const *headers; /* "Name: value", NULL-terminated, or NULL */
    const char *secret;         /* a token; NULL or "" for none */
    const char *secret_header;  /* its header; NULL or Authorization: as a
                                 * bearer token */
    const void *body;           /* NULL with len 0: none */
    size_t len;
    int64_t timeout_ms; /* from its turn to the last byte */
    size_t max_body;    /* a longer answer is an error */
};

/* Valid during the callback. */
struct http_response {
    int status;
    const char *body; /* followed by a NUL that len does not count */
    size_t len;
    int64_t retry_after_ms; /* both forms of Retry-After; -1: none */
    void *handle;           /* for http_header */
};

/* The value of a header of the answer, NULL if absent. Valid as the answer
 * is, until the next call. */
const char *http_header(const struct http_response *r, const char *name);

/*
 * Exactly one of r and e is given; any status is an answer. ERR_UNAVAILABLE:
 * no connection, or it broke, perhaps after the request was acted on;
 * ERR_TIMEOUT; ERR_DENIED: the server's certificate is not to be trusted;
 * ERR_INVALID: the url is none, or the answer is longer than max_body.
 */
typedef void http_fn(void *ctx, const struct http_response *r,
                     const struct err *e);

/* On 0 the caller owns *out until http_close. */
int http_open(struct http **out, struct loop *l, const struct http_conf *conf,
              struct err *e);
/* Calls that have not ended are dropped without their callback. NULL is fine.
 */
void http_close(struct http *h);

/* fn is called once, never from inside this call, and may call anything but
 * http_close; the call is freed after it. */
struct http_call *http_send(struct http *h, const struct http_request *q,
                            http_fn *fn, void *ctx);
/* fn is not called any more; not from inside fn. NULL is fine. */
void http_cancel(struct http_call *c);

/* Requests that wait or are under way. */
size_t http_pending(const struct http *h);

#endif
