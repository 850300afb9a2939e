/*
 * http_client - sends requests to HTTP services, many at once, on the loop.
 *
 * At most max_connections requests are active; the others wait in order and
 * cost a few hundred bytes each. Connections are kept alive, and shared where
 * the server offers HTTP/2. Redirects are not followed, only https and http are
 * spoken, bodies and headers are bounded.
 *
 * Requests are copied. Credentials never appear in an error text and are
 * overwritten when the request ends.
 *
 * Thread: the loop thread; nothing blocks.
 */
#ifndef LIB_IO_HTTP_CLIENT_H
#define LIB_IO_HTTP_CLIENT_H

#include "lib/base/err.h"
#include "lib/io/loop.h"

#include <stddef.h>
#include <stdint.h>

struct http;      /* connections, and the requests that wait for one */
struct http_call; /* one request */

struct http_conf {
    int64_t max_connections;    /* at least 1 */
    int64_t connect_timeout_ms; /* of one connection */
    const char
        *ca_file; /* certificates to trust instead; "" for the system's */
};

struct http_request {
    const char *method;         /* "GET", "POST", ... */
    const char *url;            /* without credentials */
    const char *const *headers; /* "Name: value", NULL-terminated, or NULL */
    const char *secret;         /* a token; NULL or "" for none */
    const char *secret_header;  /* for the token; NULL or Authorization: sent
                                 * as a bearer token */
    const void *body;           /* NULL with len 0 for none */
    size_t len;
    int64_t timeout_ms; /* from the start of its transfer to the last byte */
    size_t max_body;    /* a longer response body is an error */
};

/* Valid during the callback. */
struct http_response {
    int status;
    const char *body; /* followed by a NUL that len does not count */
    size_t len;
    int64_t retry_after_ms; /* from either form of Retry-After; -1: none */
    void *handle;           /* for http_header */
};

/* Returns the value of a response header, NULL if absent. Valid during the
 * callback, until the next call. */
const char *http_header(const struct http_response *r, const char *name);

/*
 * Exactly one of r and e is not NULL; a response of any status is no error.
 * ERR_UNAVAILABLE: no connection, or it broke, perhaps after the request was
 * acted on; ERR_TIMEOUT; ERR_DENIED: the server's certificate is not trusted;
 * ERR_INVALID: the url is invalid, or the response is longer than max_body.
 */
typedef void http_fn(void *ctx, const struct http_response *r,
                     const struct err *e);

/* On 0 the caller owns *out until http_close. */
int http_open(struct http **out, struct loop *l, const struct http_conf *conf,
              struct err *e);
/* Drops unfinished calls without their callback. NULL is fine. */
void http_close(struct http *h);

/* fn is called once, never from inside this call, and may call anything but
 * http_close; the call is freed after it. */
struct http_call *http_send(struct http *h, const struct http_request *q,
                            http_fn *fn, void *ctx);
/* fn will not be called. Has no effect from inside fn. NULL is fine. */
void http_cancel(struct http_call *c);

/* Requests that wait or are active. */
size_t http_pending(const struct http *h);

#endif
