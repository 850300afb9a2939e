/*
 * routes - the routes of the HTTP server: a request in, a response out. Knows
 * no sockets and no HTTP library; those are in reaper/http/server.
 *
 * All routes only read. A response shows the database as it was last committed,
 * with the tasks that run laid over it; its body has at most
 * HTTP_ROUTES_BODY_MAX bytes. Responses that read the whole ledger are made at
 * most once in HTTP_ROUTES_FRESH_MS, however often they are requested.
 *
 * Thread: the loop thread.
 */
#ifndef REAPER_HTTP_ROUTES_H
#define REAPER_HTTP_ROUTES_H

#include "reaper/query/query.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    HTTP_ROUTES_BODY_MAX = 256 * 1024, /* bytes of an answer from a query */
    HTTP_ROUTES_URI_MAX = 2048,        /* bytes of a request's target */
    HTTP_ROUTES_FRESH_MS = 1000,
};

struct http_routes;

/* Readiness is derived from these. */
struct http_health {
    bool bus_up, jetstream_up, database_ok, rebuilding;
};

struct http_routes_parts {
    struct query_parts query; /* bus, reports, fold_all and max_bytes are not
                                 used */
    const char *token;        /* required of every request; NULL: none */
    void *ctx;
    void (*health)(void *ctx, struct http_health *out);
};

/* parts is copied, the token too. On 0 the caller owns *out. */
int http_routes_open(struct http_routes **out,
                     const struct http_routes_parts *parts, struct err *e);
void http_routes_close(struct http_routes *s); /* NULL is fine */

/* A request as received; text is not NULL unless stated. */
struct http_routes_request {
    const char *method;
    const char *path;          /* decoded, without the query */
    size_t uri_len;            /* of the target as sent */
    bool has_body;             /* its headers announce one */
    unsigned n_hosts;          /* Host headers */
    const char *host;          /* the first; NULL: none */
    const char *authorization; /* NULL: none */
    const json_t *query;       /* parameter -> text; NULL: none */
};

struct http_routes_response {
    unsigned status;
    const char *type; /* static */
    struct str body;
    const char *header, *value; /* one more header, static; NULL: none */
};

/* Always fills *out; the caller frees body. */
void http_routes_answer(struct http_routes *s,
                        const struct http_routes_request *r,
                        struct http_routes_response *out);

#endif
