/*
 * conn - what both kinds of connection share, and choosing one.
 *
 * Without TLS the library connects and authenticates, and from then on the
 * loop thread reads and writes the socket itself. Under TLS the socket is the
 * library's, which reads and writes it on threads of its own.
 */
#include "lib/bus/bus_private.h"

#include "lib/base/feature.h"
#include "lib/base/mem.h"

#include <pthread.h>
#include <string.h>
#include <strings.h>

/* getaddrinfo and the library's own line buffers are the largest on it. */
enum { STACK_BYTES = 512 * 1024, REFUSALS = 5 };

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static unsigned users; /* of the library */

/* --- the library -----------------------------------------------------------
 */

void
conn_block_signals(sigset_t *old)
{
    sigset_t all;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, old);
}

void
conn_restore_signals(const sigset_t *old)
{
    (void)pthread_sigmask(SIG_SETMASK, old, NULL);
}

int
conn_thread(void *(*fn)(void *ctx), void *ctx, struct err *e)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t old;
    int rc;

    (void)pthread_attr_init(&attr);
    (void)pthread_attr_setstacksize(&attr, STACK_BYTES);
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    conn_block_signals(&old);
    rc = pthread_create(&thread, &attr, fn, ctx);
    conn_restore_signals(&old);
    (void)pthread_attr_destroy(&attr);
    if (rc)
        return err_set(e, ERR_UNAVAILABLE, "start a thread: %s", strerror(rc));
    return 0;
}

void
conn_join(void)
{
    sigset_t old;

    (void)pthread_mutex_lock(&gate);
    if (users++ == 0) {
        conn_block_signals(&old);
        (void)nats_Open(-1);
        /* One thread delivers for all subscriptions: order holds across them,
         * and it costs one stack. */
        (void)nats_SetMessageDeliveryPoolSize(1);
        conn_restore_signals(&old);
    }
    (void)pthread_mutex_unlock(&gate);
}

void
conn_leave(bool wait)
{
    bool last;

    (void)pthread_mutex_lock(&gate);
    last = --users == 0;
    (void)pthread_mutex_unlock(&gate);
    if (last && wait)
        (void)nats_CloseAndWait(CONN_CLOSE_MS);
}

/* --- connecting ------------------------------------------------------------
 */

int
conn_refused(const struct endpoint *r, natsStatus s, struct err *e)
{
    const char *text = nats_GetLastError(NULL);

    switch ((int)s) { /* the library adds values */
    case NATS_CONNECTION_AUTH_FAILED:
    case NATS_NOT_PERMITTED:
        return err_set(e, ERR_DENIED, "broker %s refused our credentials: %s",
                       r->url, text);
    case NATS_SSL_ERROR:
    case NATS_SECURE_CONNECTION_WANTED:
    case NATS_SECURE_CONNECTION_REQUIRED:
        return err_set(e, ERR_DENIED, "broker %s: TLS: %s", r->url, text);
    case NATS_INVALID_ARG:
    case NATS_ADDRESS_MISSING:
        return err_set(e, ERR_INVALID, "broker %s: not an address: %s", r->url,
                       text);
    default:
        return err_set(e, ERR_UNAVAILABLE, "no broker answers at %s: %s",
                       r->url, text && *text ? text : natsStatus_GetText(s));
    }
}

int
conn_insist(int (*attempt)(void *ctx, struct err *e), void *ctx,
            const struct endpoint *r, int64_t timeout_ms, struct err *e)
{
    int64_t give_up = loop_now_ms() + timeout_ms, wait_ms = 50;
    int refused = 0;

    while (attempt(ctx, e) < 0) {
        /* The library signs wrongly now and then before 3.8, so one refusal
         * of a key proves nothing (nats.c#705). */
        if (e->code == ERR_DENIED && (!r->seed || ++refused >= REFUSALS))
            return -1;
        if (e->code == ERR_INVALID ||
            (e->code != ERR_DENIED && loop_now_ms() + wait_ms > give_up))
            return -1;
        nats_Sleep(wait_ms);
        wait_ms = wait_ms < 500 ? wait_ms * 2 : 1000;
    }
    return 0;
}

static bool
wants_tls(const struct bus_conf *conf)
{
    return (conf->url && strcasestr(conf->url, "tls://")) ||
           (conf->ca_file && *conf->ca_file) ||
           (conf->cert_file && *conf->cert_file);
}

int
conn_open(struct conn **out, struct loop *loop, const struct bus_conf *conf,
          const char *role, int64_t timeout_ms, const struct conn_events *on,
          void *ctx, struct err *e)
{
    int rc = 1;

    if (feature_on(FEATURE_TCP) && !wants_tls(conf))
        rc = conn_tcp_open(out, loop, conf, role, timeout_ms, on, ctx, e);
    if (rc > 0)
        rc = conn_tls_open(out, loop, conf, role, timeout_ms, on, ctx, e);
    return rc;
}

/* --- what every connection has ---------------------------------------------
 */

void
conn_init(struct conn *w, const struct conn_ops *ops, struct loop *loop,
          const struct conn_events *on, void *ctx)
{
    w->ops = ops;
    w->loop = loop;
    w->on = on;
    w->ctx = ctx;
}

static void
free_sub(struct conn_sub *s)
{
    mem_free(s->subject);
    mem_free(s);
}

void
conn_release(struct conn *w)
{
    while (w->subs) {
        struct conn_sub *s = w->subs;

        w->subs = s->next;
        free_sub(s);
    }
    mem_free(w);
}

void
conn_close(struct conn *w)
{
    if (w)
        w->ops->close(w);
}

void
conn_connected(struct conn *w, natsConnection *nc)
{
    int64_t max = natsConnection_GetMaxPayload(nc);

    atomic_store(&w->max_payload, max > 0 ? (size_t)max : 0);
    atomic_store(&w->up, true);
}

bool
conn_up(const struct conn *w)
{
    return atomic_load(&w->up);
}

uint64_t
conn_epoch(const struct conn *w)
{
    return atomic_load(&w->epoch);
}

size_t
conn_max_payload(const struct conn *w)
{
    return atomic_load(&w->max_payload);
}

struct conn_sub *
conn_find(const struct conn *w, int64_t sid)
{
    struct conn_sub *s = w->subs;

    while (s && s->sid != sid)
        s = s->next;
    return s;
}

int
conn_subscribe(struct conn *w, const char *subject, bool bounded,
               conn_msg_fn *fn, void *ctx, struct conn_sub **out, struct err *e)
{
    struct conn_sub *s = MEM_NEW(struct conn_sub), **at = &w->subs;

    s->wire = w;
    s->subject = mem_strdup(subject);
    s->fn = fn;
    s->ctx = ctx;
    if (w->ops->subscribe(w, s, bounded, e) < 0) {
        free_sub(s);
        return -1;
    }
    /* The oldest first: it is the one all answers come by. */
    while (*at)
        at = &(*at)->next;
    *at = s;
    *out = s;
    return 0;
}

void
conn_unsubscribe(struct conn_sub *s)
{
    struct conn_sub **at;

    if (!s)
        return;
    for (at = &s->wire->subs; *at != s; at = &(*at)->next)
        ;
    *at = s->next;
    s->wire->ops->unsubscribe(s->wire, s);
    free_sub(s);
}

bool
conn_send(struct conn *w, const struct conn_out *o, enum conn_policy sort)
{
    return w->ops->send(w, o, sort);
}

void
conn_turn(struct conn *w)
{
    w->ops->turn(w);
}
