/*
 * server - serves reaper/http/routes over HTTP, on the loop. The only module
 * that knows libmicrohttpd.
 *
 * Bounded: WEB_CONNECTIONS_MAX connections, beyond which clients wait to be
 * accepted; a connection that says nothing for WEB_IDLE_MS or whose request
 * takes longer than WEB_REQUEST_MS, answer included, is closed. What is so
 * long or so wrong that it never becomes a request is answered by the library.
 *
 * An address that is in use does not stop the ledger: it is tried again each
 * WEB_RETRY_MS, and an alarm stands meanwhile.
 *
 * Thread: the loop thread.
 */
#ifndef REAPER_HTTP_SERVER_H
#define REAPER_HTTP_SERVER_H

#include "lib/io/loop.h"
#include "reaper/http/routes.h"
#include "reaper/query/alarms.h"

enum {
    WEB_CONNECTIONS_MAX = 64,
    WEB_IDLE_MS = 10000,
    WEB_REQUEST_MS = 30000,
    WEB_RETRY_MS = 5000,
    WEB_TOKEN_MIN = 16, /* characters */
};

struct web;

struct web_parts {
    struct loop *loop;
    struct alarms *alarms;
    const char *address;    /* "127.0.0.1:8080", "[::1]:0", "localhost:80" */
    const char *token_file; /* "": no token; only loopback then */
    struct site_parts site; /* token is not used */
    void *ctx;
    void (*used)(void *ctx); /* a request was answered; may be NULL */
    int64_t request_ms;      /* 0: WEB_REQUEST_MS; tests are in a hurry */
};

/*
 * On 0 the caller owns *out. ERR_INVALID: the address is none, or reaches
 * beyond this machine without a token, or the token cannot be read.
 */
int web_open(struct web **out, const struct web_parts *parts, struct err *e);
void web_close(struct web *w); /* NULL is fine */

/* The port it listens on; 0 while the address is in use by another program. */
int web_port(const struct web *w);

#endif
