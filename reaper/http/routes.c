/*
 * Checks a request, finds its route, and makes the response from the answer of
 * a query. Responses that read the whole ledger are cached for a second.
 */
#include "reaper/http/routes.h"

#include "lib/base/log.h"
#include "lib/base/version.h"
#include "lib/io/loop.h"
#include "lib/model/codec.h"
#include "lib/os/secret.h"
#include "reaper/http/host_check.h"
#include "reaper/http/metrics.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define JSON_TYPE "application/json; charset=utf-8"

enum {
    HTTP_OK = 200,
    HTTP_BAD_REQUEST = 400,
    HTTP_UNAUTHORIZED = 401,
    HTTP_FORBIDDEN = 403,
    HTTP_NOT_FOUND = 404,
    HTTP_METHOD_NOT_ALLOWED = 405,
    HTTP_CONFLICT = 409,
    HTTP_TOO_LARGE = 413,
    HTTP_URI_TOO_LONG = 414,
    HTTP_UNAVAILABLE = 503,
};

/* A response that is sent again while it is fresh. */
struct cached_response {
    struct http_routes_response response; /* body empty: none yet */
    int64_t until_ms;
};

enum { N_CACHED = 4 };

struct http_routes {
    struct http_routes_parts p;
    struct query *query;
    char *token; /* NULL: not required */
    struct cached_response cached[N_CACHED];
};

/* --- responses ------------------------------------------------------------ */

/* Takes over value. */
static void
json_response(struct http_routes_response *out, unsigned status, json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT);

    out->status = status;
    out->type = JSON_TYPE;
    if (text)
        str_addz(&out->body, text);
    str_addc(&out->body, '\n');
    free(text);
    json_decref(value);
}

static void
error_response(struct http_routes_response *out, unsigned status,
               const char *code, const char *message)
{
    json_response(out, status, query_error(code, message));
}

static unsigned
status_of(const json_t *answer)
{
    static const struct {
        const char *code;
        unsigned status;
    } codes[] = {
        {"not-found", HTTP_NOT_FOUND},
        {"ambiguous", HTTP_CONFLICT},
        {"invalid", HTTP_BAD_REQUEST},
    };
    const json_t *error = json_object_get(answer, "error");
    const char *code = json_string_value(json_object_get(error, "code"));

    for (size_t i = 0; code && i < sizeof codes / sizeof *codes; i++)
        if (strcmp(code, codes[i].code) == 0)
            return codes[i].status;
    return error ? HTTP_UNAVAILABLE : HTTP_OK;
}

/* Responds with the answer of a query. Takes over request. */
static void
answer_query(struct http_routes *s, const char *verb, json_t *request,
             struct http_routes_response *out)
{
    json_t *answer = query_answer(s->query, verb, request);

    json_response(out, status_of(answer), answer);
    json_decref(request);
}

/* --- health --------------------------------------------------------------- */

static struct http_health
health_of(const struct http_routes *s)
{
    struct http_health h = {0};

    s->p.health(s->p.ctx, &h);
    return h;
}

static bool
is_ready(const struct http_health *h)
{
    return h->bus_up && h->jetstream_up && h->database_ok && !h->rebuilding;
}

static void
on_healthz(struct http_routes *s, const struct http_routes_request *r,
           struct http_routes_response *out)
{
    (void)s;
    (void)r;
    json_response(out, HTTP_OK, json_pack("{s:s}", "status", "ok"));
}

static void
on_readyz(struct http_routes *s, const struct http_routes_request *r,
          struct http_routes_response *out)
{
    struct http_health h = health_of(s);
    bool ready = is_ready(&h);

    (void)r;
    json_response(out, ready ? HTTP_OK : HTTP_UNAVAILABLE,
                  json_pack("{s:s, s:b, s:b, s:b, s:b}", "status",
                            ready ? "ready" : "not ready", "bus", h.bus_up,
                            "jetstream", h.jetstream_up, "database",
                            h.database_ok, "rebuilding", h.rebuilding));
}

/* --- tasks ---------------------------------------------------------------- */

/* Copies a number of the query to request, if it is there; false if it is
 * invalid. */
static bool
set_number(const json_t *query, const char *key, uint64_t most, json_t *request)
{
    const char *text = json_string_value(json_object_get(query, key));
    uint64_t n;

    if (!text)
        return true;
    if (!str_to_u64(text, 0, most, &n))
        return false;
    (void)json_object_set_new(request, key, json_integer((json_int_t)n));
    return true;
}

/* "running,failed" as a list. */
static json_t *
split(const char *text)
{
    json_t *list = json_array();

    for (size_t len; *text; text += len + (text[len] == ',')) {
        len = strcspn(text, ",");
        if (len)
            (void)json_array_append_new(list, json_stringn(text, len));
    }
    return list;
}

/* The first parameter that is unknown; NULL: none. */
static const char *
unknown_parameter(const json_t *query)
{
    static const char *const known[] = {"limit", "before", "state", "batch"};
    const char *key;
    json_t *v;

    json_object_foreach((json_t *)query, key, v)
    {
        bool found = false;

        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            found = found || strcmp(key, known[i]) == 0;
        if (!found)
            return key;
    }
    return NULL;
}

static void
on_tasks(struct http_routes *s, const struct http_routes_request *r,
         struct http_routes_response *out)
{
    const char *states = json_string_value(json_object_get(r->query, "state"));
    json_t *batch = json_object_get(r->query, "batch");
    const char *unknown = unknown_parameter(r->query);
    json_t *request = json_object();
    struct err e;

    if (unknown) {
        (void)err_set(&e, ERR_INVALID, "no such parameter: %s",
                      LOG_TEXT(unknown));
    } else if (!set_number(r->query, "limit", DB_PAGE_MAX, request) ||
               !set_number(r->query, "before", INT64_MAX, request)) {
        (void)err_set(&e, ERR_INVALID,
                      "limit is 0 to %d, before is next of the page before",
                      DB_PAGE_MAX);
    } else {
        if (states)
            (void)json_object_set_new(request, "states", split(states));
        if (batch)
            (void)json_object_set(request, "batch", batch);
        answer_query(s, "list", request, out);
        return;
    }
    json_decref(request);
    error_response(out, HTTP_BAD_REQUEST, "invalid", e.msg);
}

#define TASK_PREFIX "/api/v1/tasks/"

static void
on_task(struct http_routes *s, const struct http_routes_request *r,
        struct http_routes_response *out)
{
    const char *selector = r->path + sizeof TASK_PREFIX - 1;

    answer_query(s, "show", json_pack("{s:s}", "task", selector), out);
}

/* --- the whole ledger ----------------------------------------------------- */

static void
on_metrics(struct http_routes *s, const struct http_routes_request *r,
           struct http_routes_response *out)
{
    struct http_health h = health_of(s);
    struct metrics_facts facts = {
        .ready = is_ready(&h), .bus_up = h.bus_up, .version = shunt_version};
    json_t *nothing = json_object();
    json_t *status = query_answer(s->query, "status", nothing);
    json_t *costs = query_answer(s->query, "costs", nothing);

    (void)r;
    out->status = status_of(status);
    out->type = METRICS_TYPE;
    if (out->status == HTTP_OK)
        metrics_text(status, costs, &facts, &out->body);
    else
        json_response(out, out->status, json_incref(status));
    json_decref(costs);
    json_decref(status);
    json_decref(nothing);
}

/* --- routes --------------------------------------------------------------- */

struct route {
    const char *path;
    bool prefix; /* longer paths that begin with it match, too */
    bool open;   /* for probes, which send no token */
    int cached;  /* index of its cached response; -1: not cached */
    void (*answer)(struct http_routes *s, const struct http_routes_request *r,
                   struct http_routes_response *out);
    const char *verb; /* or a query without parameters answers */
};

static const struct route routes[] = {
    {"/healthz", false, true, -1, on_healthz, NULL},
    {"/readyz", false, true, -1, on_readyz, NULL},
    {"/metrics", false, false, 0, on_metrics, NULL},
    {"/api/v1/tasks", false, false, -1, on_tasks, NULL},
    {TASK_PREFIX, true, false, -1, on_task, NULL},
    {"/api/v1/workers", false, false, 1, NULL, "workers"},
    {"/api/delegated/status", false, false, 2, NULL, "delegated"},
    {"/watchdog/status", false, false, 3, NULL, "watchdog"},
};

static const struct route *
find_route(const char *path)
{
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        const struct route *r = &routes[i];
        size_t len = strlen(r->path);

        if (r->prefix ? strncmp(path, r->path, len) == 0 && path[len]
                      : strcmp(path, r->path) == 0)
            return r;
    }
    return NULL;
}

static void
copy_response(const struct http_routes_response *from,
              struct http_routes_response *to)
{
    *to = *from;
    to->body = (struct str){0};
    str_add(&to->body, from->body.data, from->body.len);
}

static void
serve(struct http_routes *s, const struct route *route,
      const struct http_routes_request *r, struct http_routes_response *out)
{
    struct cached_response *c =
        route->cached < 0 ? NULL : &s->cached[route->cached];
    int64_t now_ms = loop_now_ms();

    if (c && c->response.body.len && now_ms < c->until_ms) {
        copy_response(&c->response, out);
        return;
    }
    if (route->verb)
        answer_query(s, route->verb, json_object(), out);
    else
        route->answer(s, r, out);
    if (!c)
        return;
    str_free(&c->response.body);
    copy_response(out, &c->response);
    c->until_ms = now_ms + HTTP_ROUTES_FRESH_MS;
}

/* --- access --------------------------------------------------------------- */

static bool
has_token(const struct http_routes *s, const char *authorization)
{
    static const char scheme[] = "Bearer ";

    if (!authorization ||
        strncasecmp(authorization, scheme, sizeof scheme - 1) != 0)
        return false;
    authorization += sizeof scheme - 1;
    return secret_equal(s->token, authorization + strspn(authorization, " "));
}

/* With a token a page from elsewhere gets nothing, whatever its name resolves
 * to: the browser does not know the token. Without one only an address, or
 * localhost, is accepted as Host. */
static bool
is_refused_host(const struct http_routes *s,
                const struct http_routes_request *r,
                struct http_routes_response *out)
{
    if (r->n_hosts != 1 || !r->host) {
        error_response(out, HTTP_BAD_REQUEST, "invalid",
                       "exactly one Host header is required");
        return true;
    }
    if (s->token || host_check_is_ours(r->host))
        return false;
    error_response(out, HTTP_FORBIDDEN, "denied",
                   "Host is neither an address nor localhost");
    return true;
}

static bool
is_refused(const struct http_routes *s, const struct http_routes_request *r,
           const struct route *route, struct http_routes_response *out)
{
    if (r->uri_len > HTTP_ROUTES_URI_MAX) {
        error_response(out, HTTP_URI_TOO_LONG, "invalid",
                       "the URL is too long");
    } else if (strcmp(r->method, "GET") != 0 &&
               strcmp(r->method, "HEAD") != 0) {
        error_response(out, HTTP_METHOD_NOT_ALLOWED, "invalid",
                       "only GET and HEAD are allowed");
        out->header = "Allow";
        out->value = "GET, HEAD";
    } else if (r->has_body) {
        error_response(out, HTTP_TOO_LARGE, "invalid", "no body is expected");
    } else if (is_refused_host(s, r, out)) {
        return true;
    } else if (s->token && !(route && route->open) &&
               !has_token(s, r->authorization)) {
        error_response(out, HTTP_UNAUTHORIZED, "denied",
                       "a token is required: Authorization: Bearer TOKEN");
        out->header = "WWW-Authenticate";
        out->value = "Bearer";
    } else {
        return false;
    }
    return true;
}

void
http_routes_answer(struct http_routes *s, const struct http_routes_request *r,
                   struct http_routes_response *out)
{
    const struct route *route = find_route(r->path);

    *out = (struct http_routes_response){0};
    if (is_refused(s, r, route, out))
        return;
    if (route)
        serve(s, route, r, out);
    else
        error_response(out, HTTP_NOT_FOUND, "not-found", "no such path");
}

/* --- life ----------------------------------------------------------------- */

int
http_routes_open(struct http_routes **out,
                 const struct http_routes_parts *parts, struct err *e)
{
    struct http_routes *s = MEM_NEW(struct http_routes);

    s->p = *parts;
    s->p.query.bus = NULL; /* requests on the bus have a query of their own */
    s->p.query.reports = NULL;  /* GET writes no report */
    s->p.query.fold_all = NULL; /* and commits nothing */
    s->p.query.max_bytes = HTTP_ROUTES_BODY_MAX;
    s->token = parts->token ? mem_strdup(parts->token) : NULL;
    if (query_open(&s->query, &s->p.query, e) < 0) {
        http_routes_close(s);
        return -1;
    }
    *out = s;
    return 0;
}

void
http_routes_close(struct http_routes *s)
{
    if (!s)
        return;
    for (int i = 0; i < N_CACHED; i++)
        str_free(&s->cached[i].response.body);
    query_close(s->query);
    secret_free(s->token);
    mem_free(s);
}
