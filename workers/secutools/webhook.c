/*
 * A microhttpd daemon with an external epoll descriptor in the loop. The last
 * part of a POST's path is the job's key.
 */
#include "workers/secutools/webhook.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/io/address.h"

#include <microhttpd.h>
#include <string.h>

enum {
    CONNECTIONS_MAX = 64,
    MEMORY_MAX = 16 * 1024, /* of a connection: request line and headers */
    BODY_MAX = 64 * 1024,
    IDLE_S = 30,
    IDLE_CHECK_MS = 1000, /* between checks for idle connections */
};

struct webhook {
    webhook_fn *fn;
    void *ctx;
    struct MHD_Daemon *daemon;
    struct loop_fd *fd;
    struct loop_timer *timer;
};

static enum MHD_Result
respond(struct MHD_Connection *c, unsigned status)
{
    struct MHD_Response *r =
        MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    enum MHD_Result rc = r ? MHD_queue_response(c, status, r) : MHD_NO;

    if (r)
        MHD_destroy_response(r);
    return rc;
}

/* Called with the headers, with each piece of the body, and with its end. */
static enum MHD_Result
on_request(void *ctx, struct MHD_Connection *c, const char *path,
           const char *method, const char *version, const char *data,
           size_t *size, void **seen)
{
    struct webhook *h = ctx;
    size_t *bytes = *seen;
    const char *slash = strrchr(path, '/');

    (void)version;
    (void)data;
    if (!bytes) {
        *seen = MEM_NEW(size_t);
        return MHD_YES;
    }
    if (*size > 0) {
        *bytes += *size;
        *size = 0;
        return *bytes > BODY_MAX ? MHD_NO
                                 : MHD_YES; /* NO: closes the connection */
    }
    if (strcmp(method, "POST") != 0)
        return respond(c, MHD_HTTP_METHOD_NOT_ALLOWED);
    if (slash)
        h->fn(h->ctx, slash + 1);
    return respond(c, MHD_HTTP_NO_CONTENT);
}

static void
on_completed(void *ctx, struct MHD_Connection *c, void **seen,
             enum MHD_RequestTerminationCode how)
{
    (void)ctx;
    (void)c;
    (void)how;
    mem_free(*seen);
    *seen = NULL;
}

static void
on_ready(void *ctx)
{
    struct webhook *h = ctx;
    MHD_UNSIGNED_LONG_LONG ms;

    (void)MHD_run(h->daemon);
    if (MHD_get_timeout(h->daemon, &ms) == MHD_YES)
        loop_timer_again(h->timer,
                         ms < IDLE_CHECK_MS ? (int64_t)ms : IDLE_CHECK_MS, 0);
}

int
webhook_open(struct webhook **out, struct loop *l, const char *address,
             webhook_fn *fn, void *ctx, struct err *e)
{
    static const char key[] = "secutools.callback_listen";
    struct webhook *h;
    const union MHD_DaemonInfo *info;
    struct address a;
    int fd, port;

    if (address_read(address, key, &a, e) < 0)
        return -1;
    fd = address_listen(&a, &port, e);
    if (fd < 0)
        return err_wrap(e, "%s: %s", key, LOG_TEXT(address));
    h = MEM_NEW(struct webhook);
    h->fn = fn;
    h->ctx = ctx;
    h->daemon = MHD_start_daemon(
        MHD_USE_EPOLL, 0, NULL, NULL, on_request, h, MHD_OPTION_LISTEN_SOCKET,
        fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_MAX,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_END);
    info = h->daemon ? MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD)
                     : NULL;
    if (!info) {
        webhook_close(h);
        return err_set(e, ERR_UNAVAILABLE, "libmicrohttpd cannot start");
    }
    h->timer = loop_timer_start(l, IDLE_CHECK_MS, 0, on_ready, h);
    h->fd = loop_fd_start(l, info->epoll_fd, on_ready, h);
    log_info("webhook.listening", "address=%s port=%d", LOG_TEXT(address),
             port);
    *out = h;
    return 0;
}

void
webhook_close(struct webhook *h)
{
    if (!h)
        return;
    loop_fd_stop(h->fd);
    loop_timer_stop(h->timer);
    if (h->daemon)
        MHD_stop_daemon(h->daemon);
    mem_free(h);
}
