/*
 * connect - connecting without TLS: the library looks up names, chooses a
 * server, greets and authenticates, and then leaves the socket to us.
 *
 * The library hands out a socket to programs that bring their own event loop;
 * it neither reads nor writes it any more by itself. Each connection is a
 * fresh one: what the library still knows of a broken one it would carry on.
 *
 * A connection that is lost is made again on a thread, since names are looked
 * up and servers waited for. The thread and its owner each hold a share of
 * struct connector, because a look-up may outlast the owner.
 */
#include "lib/bus/bus_private.h"

#include "lib/base/backoff.h"
#include "lib/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    REFUSALS = 2,     /* in a row, until a person must act; of a key more */
    KEY_REFUSALS = 5, /* see conn_insist */
    REFUSED_MS = 5000,
    TEXT_SIZE = 256,
};

struct connector {
    natsOptions *opts;
    struct endpoint remote;
    int fd, library_fd; /* of the attempt under way: attach writes them */
    bool tls;

    pthread_mutex_t mutex; /* guards all below */
    pthread_cond_t cond;
    unsigned shares;
    bool running, stopping;
    struct loop_waker *waker; /* not once stopping */
    struct connected made;    /* nc NULL: none */
    bool refused;             /* text is there to be taken */
    char text[TEXT_SIZE], told[TEXT_SIZE];
};

/* --- the socket ------------------------------------------------------------
 */

/* Ours is a copy, so that it is still ours when the library closes its own. */
static natsStatus
attach(void **user, void *loop, natsConnection *nc, natsSock fd)
{
    struct connector *d = loop;

    (void)nc;
    *user = NULL;
    d->library_fd = fd;
    d->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    return d->fd < 0 ? NATS_SYS_ERROR : NATS_OK;
}

static natsStatus
want(void *user, bool add)
{
    (void)user;
    (void)add;
    return NATS_OK;
}

static natsStatus
detach(void *user)
{
    (void)user;
    return NATS_OK;
}

/*
 * Destroying a connection closes the library's descriptor before 3.10; since
 * then that is left to whoever brought the event loop. If its number still
 * stands for the same socket as our copy, it was left to us.
 */
static void
close_both(natsConnection *nc, int fd, int library_fd)
{
    struct stat ours, theirs;

    natsConnection_Destroy(nc);
    if (fd < 0)
        return;
    if (fstat(fd, &ours) == 0 && fstat(library_fd, &theirs) == 0 &&
        ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino)
        (void)close(library_fd);
    (void)close(fd);
}

void
connected_close(struct connected *c)
{
    if (c->nc)
        close_both(c->nc, c->fd, c->library_fd);
    *c = (struct connected){.fd = -1};
}

/*
 * The library turns to TLS by itself if the broker asks for it, and does not
 * say so. Under TLS the answer to a plain word is a record, and those begin
 * with a control character; the answer is left for the reader.
 */
static natsStatus
check_plain(struct connector *d)
{
    struct pollfd p = {.fd = d->fd, .events = POLLIN};
    char first;

    if (fcntl(d->fd, F_SETFL, O_NONBLOCK) < 0 ||
        send(d->fd, "PING\r\n", 6, MSG_NOSIGNAL) != 6)
        return NATS_IO_ERROR;
    if (poll(&p, 1, CONN_CONNECT_MS) != 1)
        return NATS_TIMEOUT;
    if (recv(d->fd, &first, 1, MSG_PEEK) != 1)
        return NATS_CONNECTION_CLOSED;
    d->tls = first < ' ';
    return d->tls ? NATS_SECURE_CONNECTION_REQUIRED : NATS_OK;
}

static int
attempt(struct connector *d, struct connected *out, struct err *e)
{
    natsConnection *nc = NULL;
    sigset_t old;
    natsStatus s;

    d->fd = d->library_fd = -1;
    conn_block_signals(&old);
    s = natsConnection_Connect(&nc, d->opts);
    conn_restore_signals(&old);
    if (s == NATS_OK)
        s = check_plain(d);
    if (s == NATS_OK) {
        *out = (struct connected){nc, d->fd, d->library_fd};
        return 0;
    }
    conn_refused(&d->remote, s, e);
    close_both(nc, d->fd, d->library_fd);
    return -1;
}

/* --- at once ---------------------------------------------------------------
 */

struct now {
    struct connector *dial;
    struct connected *out;
};

static int
attempt_now(void *ctx, struct err *e)
{
    struct now *n = ctx;

    return attempt(n->dial, n->out, e);
}

int
connector_connect(struct connector *d, int64_t timeout_ms,
                  struct connected *out, bool *tls, struct err *e)
{
    struct now n = {.dial = d, .out = out};
    int rc = conn_insist(attempt_now, &n, &d->remote, timeout_ms, e);

    *tls = d->tls;
    return rc;
}

/* --- on a thread -----------------------------------------------------------
 */

static void
drop_share(struct connector *d)
{
    bool last;

    (void)pthread_mutex_lock(&d->mutex);
    last = --d->shares == 0;
    (void)pthread_mutex_unlock(&d->mutex);
    if (!last)
        return;
    connected_close(&d->made);
    natsOptions_Destroy(d->opts);
    endpoint_free(&d->remote);
    (void)pthread_mutex_destroy(&d->mutex);
    (void)pthread_cond_destroy(&d->cond);
    mem_free(d);
}

/* Below mutex: waits, or until we are to stop. */
static void
pause_for(struct connector *d, int64_t ms)
{
    struct timespec at;

    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += ms / 1000;
    at.tv_nsec += ms % 1000 * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    while (!d->stopping)
        if (pthread_cond_timedwait(&d->cond, &d->mutex, &at) == ETIMEDOUT)
            return;
}

/* Below mutex, except while it connects. */
static void
redial(struct connector *d)
{
    int64_t wait_ms = 0;
    unsigned refusals = 0;
    struct connected made = {.fd = -1};
    struct err e;

    while (!d->stopping && !d->made.nc) {
        pause_for(d, wait_ms + backoff_jitter(CONN_RECONNECT_MS, 0, 1,
                                              backoff_random()));
        if (d->stopping)
            return;
        (void)pthread_mutex_unlock(&d->mutex);
        e.code = ERR_NONE;
        (void)attempt(d, &made, &e);
        (void)pthread_mutex_lock(&d->mutex);
        d->made = made;
        wait_ms = CONN_RECONNECT_MS;
        refusals = e.code == ERR_DENIED ? refusals + 1 : 0;
        if (refusals >= (d->remote.seed ? KEY_REFUSALS : REFUSALS))
            wait_ms = REFUSED_MS;
        if (refusals == (d->remote.seed ? KEY_REFUSALS : REFUSALS)) {
            (void)str_copy(d->text, sizeof d->text, e.msg);
            d->refused = true;
        }
        if ((d->made.nc || d->refused) && !d->stopping)
            loop_waker_wake(d->waker);
    }
}

static void *
run(void *ctx)
{
    struct connector *d = ctx;

    (void)pthread_mutex_lock(&d->mutex);
    redial(d);
    d->running = false;
    (void)pthread_cond_broadcast(&d->cond);
    (void)pthread_mutex_unlock(&d->mutex);
    nats_ReleaseThreadMemory();
    drop_share(d);
    return NULL;
}

bool
connector_start(struct connector *d)
{
    struct err e;
    bool ok = true;

    (void)pthread_mutex_lock(&d->mutex);
    if (!d->running && !d->made.nc) {
        d->refused = false;
        ok = conn_thread(run, d, &e) == 0;
        d->running = ok;
        d->shares += ok;
    }
    (void)pthread_mutex_unlock(&d->mutex);
    return ok;
}

bool
connector_take(struct connector *d, struct connected *out, const char **denied)
{
    bool made;

    *denied = NULL;
    (void)pthread_mutex_lock(&d->mutex);
    made = d->made.nc != NULL;
    if (made) {
        *out = d->made;
        d->made = (struct connected){.fd = -1};
    }
    if (d->refused) {
        (void)str_copy(d->told, sizeof d->told, d->text);
        *denied = d->told;
        d->refused = false;
    }
    (void)pthread_mutex_unlock(&d->mutex);
    return made;
}

/* --- opening and closing ---------------------------------------------------
 */

static int
set_behaviour(struct connector *d, const char *name, struct err *e)
{
    if (natsOptions_SetName(d->opts, name) != NATS_OK ||
        natsOptions_SetTimeout(d->opts, CONN_CONNECT_MS) != NATS_OK ||
        natsOptions_SetAllowReconnect(d->opts, false) != NATS_OK ||
        natsOptions_SetPingInterval(d->opts, 0) != NATS_OK ||
        natsOptions_SetEventLoop(d->opts, d, attach, want, want, detach) !=
            NATS_OK)
        return err_set(e, ERR_BUG, "set up the connection: %s",
                       nats_GetLastError(NULL));
    return 0;
}

int
connector_open(struct connector **out, const struct bus_conf *conf,
               const char *role, struct loop_waker *waker, struct err *e)
{
    struct connector *d = MEM_NEW(struct connector);
    pthread_condattr_t attr;

    (void)pthread_mutex_init(&d->mutex, NULL);
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&d->cond, &attr);
    (void)pthread_condattr_destroy(&attr);
    d->shares = 1;
    d->waker = waker;
    d->made.fd = -1;
    if (natsOptions_Create(&d->opts) != NATS_OK) {
        err_set(e, ERR_UNAVAILABLE, "no memory");
        goto out;
    }
    if (endpoint_options(d->opts, conf, &d->remote, e) < 0 ||
        set_behaviour(d, role, e) < 0)
        goto out;
    *out = d;
    return 0;
out:
    drop_share(d);
    return -1;
}

const struct endpoint *
connector_endpoint(const struct connector *d)
{
    return &d->remote;
}

bool
connector_close(struct connector *d)
{
    struct timespec at;
    bool ended;

    if (!d)
        return true;
    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += CONN_CLOSE_MS / 1000;
    (void)pthread_mutex_lock(&d->mutex);
    d->stopping = true;
    (void)pthread_cond_broadcast(&d->cond);
    while (d->running &&
           pthread_cond_timedwait(&d->cond, &d->mutex, &at) != ETIMEDOUT)
        ;
    ended = !d->running;
    (void)pthread_mutex_unlock(&d->mutex);
    drop_share(d);
    return ended;
}
