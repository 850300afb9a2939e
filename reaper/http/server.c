#include "reaper/http/server.h"

#include "lib/base/log.h"
#include "lib/io/address.h"
#include "lib/os/secret.h"

#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    MEMORY_MAX = 32 * 1024, /* of a connection: request line and headers */
    SWEEP_MS = 1000,        /* between looks at slow requests */
};

struct connection {
    struct connection *prev, *next;
    int fd;
    int64_t since_ms; /* it was accepted, or its last request was over */
    size_t uri_len;   /* of the request it is at */
};

struct http_server {
    struct http_server_parts p;
    struct address address;
    struct http_routes *routes;
    struct MHD_Daemon *daemon; /* NULL: the address is in use */
    struct loop_fd *fd;
    struct loop_timer *timer; /* what the library is to do next, or a retry */
    struct connection *connections;
    bool closed; /* one of them, since the library last ran */
    int port;
};

/* --- requests ------------------------------------------------------------- */

static struct connection *
connection_of(struct MHD_Connection *c)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

    return info ? info->socket_context : NULL;
}

/* The target as it was sent, before it is taken apart. */
static void *
on_uri(void *ctx, const char *uri, struct MHD_Connection *c)
{
    struct connection *own = connection_of(c);

    (void)ctx;
    if (own)
        own->uri_len = strlen(uri);
    return NULL;
}

static enum MHD_Result
on_header(void *ctx, enum MHD_ValueKind kind, const char *key,
          const char *value)
{
    struct http_request *r = ctx;

    (void)kind;
    if (!value)
        value = "";
    if (strcasecmp(key, "Host") == 0 && r->n_hosts++ == 0)
        r->host = value;
    else if (strcasecmp(key, "Authorization") == 0)
        r->authorization = value;
    else if (strcasecmp(key, "Transfer-Encoding") == 0 ||
             (strcasecmp(key, "Content-Length") == 0 &&
              strcmp(value, "0") != 0))
        r->has_body = true;
    return MHD_YES;
}

/* One parameter; those of one name are joined by commas. */
static enum MHD_Result
on_argument(void *ctx, enum MHD_ValueKind kind, const char *key,
            const char *value)
{
    struct str name = {0}, text = {0};
    json_t *query = ctx, *before;

    (void)kind;
    str_add_utf8(&name, key, strlen(key));
    before = json_object_get(query, str_text(&name));
    if (before)
        str_addf(&text, "%s,", json_string_value(before));
    if (value)
        str_add_utf8(&text, value, strlen(value));
    (void)json_object_set_new(query, str_text(&name),
                              json_stringn(str_text(&text), text.len));
    str_free(&name);
    str_free(&text);
    return MHD_YES;
}

static enum MHD_Result
send_response(struct MHD_Connection *c, const struct http_response *page)
{
    const struct {
        const char *name, *value;
    } headers[] = {
        {"Content-Type", page->type},
        {"X-Content-Type-Options", "nosniff"},
        {"Content-Security-Policy",
         "default-src 'none'; frame-ancestors 'none'"},
        {"Cross-Origin-Resource-Policy", "same-origin"},
        {"Referrer-Policy", "no-referrer"},
        {"Cache-Control", "no-store"},
        {page->header, page->value},
        /* What follows a request that is refused is not looked at. */
        {page->status >= 400 ? "Connection" : NULL, "close"},
    };
    struct MHD_Response *response = MHD_create_response_from_buffer(
        page->body.len, page->body.data, MHD_RESPMEM_MUST_COPY);
    enum MHD_Result rc;

    if (!response)
        return MHD_NO; /* closes the connection */
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++)
        if (headers[i].name)
            (void)MHD_add_response_header(response, headers[i].name,
                                          headers[i].value);
    rc = MHD_queue_response(c, page->status, response);
    MHD_destroy_response(response);
    return rc;
}

/* Called at least twice: when the headers are there, and when all is. What is
 * refused for its method or body is so at once, before any of the body. */
static enum MHD_Result
on_request(void *ctx, struct MHD_Connection *c, const char *path,
           const char *method, const char *version, const char *data,
           size_t *size, void **seen)
{
    struct http_server *w = ctx;
    struct connection *own = connection_of(c);
    struct http_request r = {.method = method, .path = path};
    struct http_response page;
    json_t *query;
    enum MHD_Result rc;

    (void)version;
    (void)data;
    (void)MHD_get_connection_values(c, MHD_HEADER_KIND, on_header, &r);
    if (!*seen && !r.has_body &&
        (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0)) {
        *seen = w;
        return MHD_YES;
    }
    *size = 0;
    query = json_object();
    (void)MHD_get_connection_values(c, MHD_GET_ARGUMENT_KIND, on_argument,
                                    query);
    r.query = query;
    r.uri_len = own ? own->uri_len : 0;
    http_routes_answer(w->routes, &r, &page);
    log_debug("http.request", "method=%s path=\"%s\" status=%u bytes=%zu",
              LOG_TEXT(method), LOG_TEXT(path), page.status, page.body.len);
    rc = send_response(c, &page);
    str_free(&page.body);
    json_decref(query);
    if (w->p.used)
        w->p.used(w->p.ctx);
    return rc;
}

static void
on_completed(void *ctx, struct MHD_Connection *c, void **seen,
             enum MHD_RequestTerminationCode how)
{
    struct connection *own = connection_of(c);

    (void)ctx;
    (void)seen;
    (void)how;
    if (own)
        own->since_ms = loop_now_ms();
}

/* --- connections ---------------------------------------------------------- */

static void
on_connection(void *ctx, struct MHD_Connection *c, void **own,
              enum MHD_ConnectionNotificationCode what)
{
    struct http_server *w = ctx;
    struct connection *n = *own;

    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);

        n = MEM_NEW(struct connection);
        n->fd = info ? info->connect_fd : -1;
        n->since_ms = loop_now_ms();
        n->next = w->connections;
        if (n->next)
            n->next->prev = n;
        w->connections = n;
        *own = n;
    } else if (n) {
        if (n->prev)
            n->prev->next = n->next;
        else
            w->connections = n->next;
        if (n->next)
            n->next->prev = n->prev;
        mem_free(n);
        *own = NULL;
        w->closed = true;
    }
}

/* A client that sends or reads a byte now and then is never idle. The library
 * notices what happened to the socket and closes. */
static void
end_slow(struct http_server *w)
{
    int64_t now_ms = loop_now_ms();

    for (struct connection *n = w->connections; n; n = n->next)
        if (now_ms - n->since_ms > w->p.request_ms && n->fd >= 0)
            (void)shutdown(n->fd, SHUT_RDWR);
}

static void
on_ready(void *ctx)
{
    struct http_server *w = ctx;
    MHD_UNSIGNED_LONG_LONG ms;

    end_slow(w);
    w->closed = false;
    (void)MHD_run(w->daemon);
    if (w->closed)
        ms = 0; /* at the limit the library takes a turn to listen again */
    else if (!w->connections)
        return; /* the next thing to happen is a client */
    else if (MHD_get_timeout(w->daemon, &ms) != MHD_YES || ms > SWEEP_MS)
        ms = SWEEP_MS;
    loop_timer_again(w->timer, (int64_t)ms, 0);
}

/* --- life ----------------------------------------------------------------- */

__attribute__((format(printf, 2, 0))) static void
on_log(void *ctx, const char *fmt, va_list args)
{
    char line[256];

    (void)ctx;
    (void)vsnprintf(line, sizeof line, fmt, args);
    line[strcspn(line, "\n")] = '\0';
    log_debug("http.library", "text=\"%s\"", LOG_TEXT(line));
}

/* The library owns fd from here on. */
static int
start_daemon(struct http_server *w, int fd, struct err *e)
{
    const union MHD_DaemonInfo *info;

    w->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, w,
        MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)HTTP_SERVER_CONNECTIONS_MAX,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_MAX,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)(HTTP_SERVER_IDLE_MS / 1000),
        MHD_OPTION_URI_LOG_CALLBACK, on_uri, NULL, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, w, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
        MHD_OPTION_END);
    info = w->daemon ? MHD_get_daemon_info(w->daemon, MHD_DAEMON_INFO_EPOLL_FD)
                     : NULL;
    if (!info)
        return err_set(e, ERR_UNAVAILABLE, "the HTTP library does not start");
    w->fd = loop_fd_start(w->p.loop, info->epoll_fd, on_ready, w);
    return 0;
}

static void
start(struct http_server *w, struct err *e)
{
    int fd = address_listen(&w->address, &w->port, e);
    const char *colon = strrchr(w->p.address, ':');

    if (fd < 0 || start_daemon(w, fd, e) < 0) {
        w->port = 0;
        if (alarm_raise(w->p.alarms, "http_down", "%.60s: %.120s", w->p.address,
                        e->msg))
            log_warn("http.down", "address=%s error=\"%s\"",
                     LOG_TEXT(w->p.address), LOG_TEXT(e->msg));
        loop_timer_again(w->timer, HTTP_SERVER_RETRY_MS, 0);
        return;
    }
    (void)alarm_clear(w->p.alarms, "http_down");
    log_info("http.up", "url=http://%.*s:%d", (int)(colon - w->p.address),
             w->p.address, w->port);
}

static void
on_timer(void *ctx)
{
    struct http_server *w = ctx;
    struct err e = {0};

    if (w->daemon)
        on_ready(w);
    else
        start(w, &e);
}

/* Whoever can reach it may read everything: beyond this machine only with a
 * token. */
static int
read_token(const struct http_server *w, char **out, struct err *e)
{
    *out = NULL;
    if (!*w->p.token_file && !w->address.is_loopback)
        return err_set(e, ERR_INVALID,
                       "reaper.http: %s reaches beyond this machine, which "
                       "needs reaper.http_token_file",
                       LOG_TEXT(w->p.address));
    if (!*w->p.token_file)
        return 0;
    *out = secret_read(w->p.token_file, NULL, "token", e);
    if (!*out)
        return err_wrap(e, "reaper.http_token_file");
    if (strlen(*out) >= HTTP_SERVER_TOKEN_MIN)
        return 0;
    secret_free(*out);
    *out = NULL;
    return err_set(e, ERR_INVALID,
                   "reaper.http_token_file: a token has at least %d characters",
                   HTTP_SERVER_TOKEN_MIN);
}

int
http_server_open(struct http_server **out,
                 const struct http_server_parts *parts, struct err *e)
{
    struct http_server *w = MEM_NEW(struct http_server);
    struct err busy = {0};
    char *token = NULL;
    int rc = -1;

    w->p = *parts;
    if (!w->p.request_ms)
        w->p.request_ms = HTTP_SERVER_REQUEST_MS;
    if (address_read(parts->address, "reaper.http", &w->address, e) < 0 ||
        read_token(w, &token, e) < 0)
        goto out;
    w->p.routes.token = token;
    rc = http_routes_open(&w->routes, &w->p.routes, e);
    w->p.routes.token = NULL;
    secret_free(token);
out:
    if (rc < 0) {
        http_server_close(w);
        return -1;
    }
    w->timer =
        loop_timer_start(w->p.loop, HTTP_SERVER_RETRY_MS, 0, on_timer, w);
    start(w, &busy);
    *out = w;
    return 0;
}

void
http_server_close(struct http_server *w)
{
    if (!w)
        return;
    loop_fd_stop(w->fd);
    loop_timer_stop(w->timer);
    if (w->daemon)
        MHD_stop_daemon(w->daemon);
    http_routes_close(w->routes);
    mem_free(w);
}

int
http_server_port(const struct http_server *w)
{
    return w->port;
}
