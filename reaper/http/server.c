/*
 * Runs libmicrohttpd in its external epoll mode on the loop, turns its requests
 * into struct http_routes_request and sends the responses.
 */
#include "reaper/http/server.h"

#include "lib/base/log.h"
#include "lib/io/address.h"
#include "lib/os/secret.h"

#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    MEMORY_MAX = 32 * 1024, /* of a connection: request line and headers */
    SWEEP_MS = 1000,        /* between looks at slow requests */
};

struct connection {
    LIST_ENTRY(connection) link;
    int fd;
    int64_t since_ms; /* it was accepted, or its last request ended */
    size_t uri_len;   /* of the current request */
};

struct http_server {
    struct http_server_parts p;
    struct address address;
    struct http_routes *routes;
    struct MHD_Daemon *daemon; /* NULL: the address is in use */
    struct loop_fd *fd;
    struct loop_timer *timer; /* the next turn of the library, or a retry */
    LIST_HEAD(, connection) connections;
    bool closed; /* a connection, since the library last ran */
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

/* The target as it was sent, before it is parsed. */
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
    struct http_routes_request *r = ctx;

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
send_response(struct MHD_Connection *c, const struct http_routes_response *from)
{
    const struct {
        const char *name, *value;
    } headers[] = {
        {"Content-Type", from->type},
        {"X-Content-Type-Options", "nosniff"},
        {"Content-Security-Policy",
         "default-src 'none'; frame-ancestors 'none'"},
        {"Cross-Origin-Resource-Policy", "same-origin"},
        {"Referrer-Policy", "no-referrer"},
        {"Cache-Control", "no-store"},
        {from->header, from->value},
        /* Bytes after a request that was refused are not read. */
        {from->status >= 400 ? "Connection" : NULL, "close"},
    };
    struct MHD_Response *response = MHD_create_response_from_buffer(
        from->body.len, from->body.data, MHD_RESPMEM_MUST_COPY);
    enum MHD_Result rc;

    if (!response)
        return MHD_NO; /* closes the connection */
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++)
        if (headers[i].name)
            (void)MHD_add_response_header(response, headers[i].name,
                                          headers[i].value);
    rc = MHD_queue_response(c, from->status, response);
    MHD_destroy_response(response);
    return rc;
}

/* Called at least twice: after the headers, and after the whole request. A
 * request is refused for its method or body at once, before the body. */
static enum MHD_Result
on_request(void *ctx, struct MHD_Connection *c, const char *path,
           const char *method, const char *version, const char *data,
           size_t *size, void **seen)
{
    struct http_server *s = ctx;
    struct connection *own = connection_of(c);
    struct http_routes_request r = {.method = method, .path = path};
    struct http_routes_response response;
    json_t *query;
    enum MHD_Result rc;

    (void)version;
    (void)data;
    (void)MHD_get_connection_values(c, MHD_HEADER_KIND, on_header, &r);
    if (!*seen && !r.has_body &&
        (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0)) {
        *seen = s;
        return MHD_YES;
    }
    *size = 0;
    query = json_object();
    (void)MHD_get_connection_values(c, MHD_GET_ARGUMENT_KIND, on_argument,
                                    query);
    r.query = query;
    r.uri_len = own ? own->uri_len : 0;
    http_routes_answer(s->routes, &r, &response);
    log_debug("http.request", "method=%s path=\"%s\" status=%u bytes=%zu",
              LOG_TEXT(method), LOG_TEXT(path), response.status,
              response.body.len);
    rc = send_response(c, &response);
    str_free(&response.body);
    json_decref(query);
    if (s->p.used)
        s->p.used(s->p.ctx);
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
    struct http_server *s = ctx;
    struct connection *n = *own;

    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);

        n = MEM_NEW(struct connection);
        n->fd = info ? info->connect_fd : -1;
        n->since_ms = loop_now_ms();
        LIST_INSERT_HEAD(&s->connections, n, link);
        *own = n;
    } else if (n) {
        LIST_REMOVE(n, link);
        mem_free(n);
        *own = NULL;
        s->closed = true;
    }
}

/* A client that sends or reads a byte now and then is never idle. The library
 * notices the shutdown of the socket and closes the connection. */
static void
end_slow(struct http_server *s)
{
    int64_t now_ms = loop_now_ms();
    struct connection *n;

    LIST_FOREACH (n, &s->connections, link)
        if (now_ms - n->since_ms > s->p.request_ms && n->fd >= 0)
            (void)shutdown(n->fd, SHUT_RDWR);
}

static void
on_ready(void *ctx)
{
    struct http_server *s = ctx;
    MHD_UNSIGNED_LONG_LONG ms;

    end_slow(s);
    s->closed = false;
    (void)MHD_run(s->daemon);
    if (s->closed)
        ms = 0; /* at the limit the library needs a turn to accept again */
    else if (LIST_EMPTY(&s->connections))
        return; /* until the next client */
    else if (MHD_get_timeout(s->daemon, &ms) != MHD_YES || ms > SWEEP_MS)
        ms = SWEEP_MS;
    loop_timer_again(s->timer, (int64_t)ms, 0);
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
start_daemon(struct http_server *s, int fd, struct err *e)
{
    const union MHD_DaemonInfo *info;

    s->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, s,
        MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)HTTP_SERVER_CONNECTIONS_MAX,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_MAX,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)(HTTP_SERVER_IDLE_MS / 1000),
        MHD_OPTION_URI_LOG_CALLBACK, on_uri, NULL, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, s, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
        MHD_OPTION_END);
    info = s->daemon ? MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD)
                     : NULL;
    if (!info)
        return err_set(e, ERR_UNAVAILABLE, "the HTTP library does not start");
    s->fd = loop_fd_start(s->p.loop, info->epoll_fd, on_ready, s);
    return 0;
}

static const char *
place_of(const struct http_server *s)
{
    return s->p.socket ? s->p.socket : s->p.address;
}

static void
start(struct http_server *s, struct err *e)
{
    int fd = address_listen(&s->address, &s->port, e);
    const char *colon = strrchr(place_of(s), ':');

    if (fd < 0 || start_daemon(s, fd, e) < 0) {
        s->port = 0;
        if (alarm_raise(s->p.alarms, "http_down", "%.60s: %.120s", place_of(s),
                        e->msg))
            log_warn("http.down", "address=%s error=\"%s\"",
                     LOG_TEXT(place_of(s)), LOG_TEXT(e->msg));
        loop_timer_again(s->timer, HTTP_SERVER_RETRY_MS, 0);
        return;
    }
    (void)alarm_clear(s->p.alarms, "http_down");
    if (s->p.socket)
        log_info("http.up", "socket=%s", LOG_TEXT(s->p.socket));
    else
        log_info("http.up", "url=http://%.*s:%d", (int)(colon - s->p.address),
                 s->p.address, s->port);
}

static void
on_timer(void *ctx)
{
    struct http_server *s = ctx;
    struct err e = {0};

    if (s->daemon)
        on_ready(s);
    else
        start(s, &e);
}

/* Whoever reaches the server may read everything: beyond this machine a token
 * is required. */
static int
read_token(const struct http_server *s, char **out, struct err *e)
{
    *out = NULL;
    if (!*s->p.token_file)
        return s->address.is_loopback
                   ? 0
                   : err_set(e, ERR_INVALID,
                             "reaper.http: %s reaches beyond this machine, "
                             "which needs reaper.http_token_file",
                             LOG_TEXT(s->p.address));
    *out = secret_read(s->p.token_file, NULL, "token", e);
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
    struct http_server *s = MEM_NEW(struct http_server);
    struct err busy = {0};
    char *token = NULL;
    int rc = -1;

    s->p = *parts;
    if (!s->p.request_ms)
        s->p.request_ms = HTTP_SERVER_REQUEST_MS;
    if ((parts->socket ? address_local(parts->socket, "reaper.http_socket",
                                       &s->address, e)
                       : address_read(parts->address, "reaper.http",
                                      &s->address, e)) == 0 &&
        read_token(s, &token, e) == 0) {
        s->p.routes.token = token;
        rc = http_routes_open(&s->routes, &s->p.routes, e);
        s->p.routes.token = NULL;
        secret_free(token);
    }
    if (rc < 0) {
        http_server_close(s);
        return -1;
    }
    s->timer =
        loop_timer_start(s->p.loop, HTTP_SERVER_RETRY_MS, 0, on_timer, s);
    start(s, &busy);
    *out = s;
    return 0;
}

void
http_server_close(struct http_server *s)
{
    if (!s)
        return;
    loop_fd_stop(s->fd);
    loop_timer_stop(s->timer);
    if (s->daemon)
        MHD_stop_daemon(s->daemon);
    http_routes_close(s->routes);
    mem_free(s);
}

int
http_server_port(const struct http_server *s)
{
    return s->port;
}
