/*
 * server - serves reaper/http/routes over HTTP, on the loop. The only module
 * that knows libmicrohttpd.
 *
 * Bounded: HTTP_SERVER_CONNECTIONS_MAX connections, beyond which clients wait
 * to be accepted; a connection that is idle for HTTP_SERVER_IDLE_MS, or whose
 * request takes longer than HTTP_SERVER_REQUEST_MS including the response, is
 * closed. The library itself responds to bytes that are not a valid request.
 *
 * An address that is in use does not stop the reaper: it is tried again every
 * HTTP_SERVER_RETRY_MS, and an alarm is raised meanwhile.
 *
 * Thread: the loop thread.
 */
#ifndef REAPER_HTTP_SERVER_H
#define REAPER_HTTP_SERVER_H

#include "lib/io/loop.h"
#include "reaper/http/routes.h"
#include "reaper/query/alarms.h"

enum {
    HTTP_SERVER_CONNECTIONS_MAX = 64,
    HTTP_SERVER_IDLE_MS = 10000,
    HTTP_SERVER_REQUEST_MS = 30000,
    HTTP_SERVER_RETRY_MS = 5000,
    HTTP_SERVER_TOKEN_MIN = 16, /* characters */
};

struct http_server;

struct http_server_parts {
    struct loop *loop;
    struct alarms *alarms;
    const char *socket; /* the path of a socket for this user alone, or NULL: */
    const char *address;    /* "127.0.0.1:8080", "[::1]:0", "localhost:80" */
    const char *token_file; /* "": no token; only loopback then */
    struct http_routes_parts routes; /* token is not used */
    void *ctx;
    void (*used)(void *ctx); /* a response was sent; may be NULL */
    int64_t request_ms;      /* 0: HTTP_SERVER_REQUEST_MS; tests use less */
};

/*
 * On 0 the caller owns *out. ERR_INVALID: the address is invalid, or reaches
 * beyond this machine without a token, or the token cannot be read.
 */
int http_server_open(struct http_server **out,
                     const struct http_server_parts *parts, struct err *e);
void http_server_close(struct http_server *s); /* NULL is fine */

/* The port it listens on; 0 while the address is in use by another program. */
int http_server_port(const struct http_server *s);

#endif
