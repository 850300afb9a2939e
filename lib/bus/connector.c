/*
 * The library looks up names, chooses a server, performs the handshake and
 * authenticates; then it leaves the socket to us, as it does for programs with
 * their own event loop, and neither reads nor writes it any more. Every
 * connection is a new one, because the library would carry over the state of a
 * broken one.
 *
 * Reconnecting happens on a thread, since looking up names and waiting for
 * servers blocks. The thread and its owner each hold a reference to struct
 * connector, because a look-up may outlast the owner.
 */
#include "lib/bus/connector.h"

#include "lib/base/backoff.h"
#include "lib/base/mem.h"
#include "lib/bus/libnats.h"
#include "lib/os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    REFUSALS = 2,     /* in a row, until a person must act */
    KEY_REFUSALS = 5, /* of a key: see libnats_retry */
    REFUSED_MS = 5000,
    TEXT_SIZE = 256,
};

struct connector {
    natsOptions *opts;
    struct endpoint endpoint;
    struct bus_conf files; /* with our credentials; owned */
    int fd, library_fd;    /* of the present attempt: set by attach */
    bool tls;

    pthread_mutex_t mutex; /* protects all below */
    pthread_cond_t cond;
    unsigned references;
    bool running, stopping;
    struct loop_waker *waker; /* not used once stopping is set */
    struct connected made;    /* nc NULL: none */
    bool refused;             /* text is not yet taken */
    char text[TEXT_SIZE], told[TEXT_SIZE];
};

/* --- the socket ----------------------------------------------------------- */

/* Duplicates the descriptor, so that ours survives when the library closes its
 * own. */
static natsStatus
attach(void **user, void *loop, natsConnection *nc, natsSock fd)
{
    struct connector *c = loop;

    (void)nc;
    *user = NULL;
    c->library_fd = fd;
    c->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    return c->fd < 0 ? NATS_SYS_ERROR : NATS_OK;
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
 * Before 3.10, destroying a connection closes the library's descriptor; since
 * then that is left to whoever owns the event loop. If its number still refers
 * to the same socket as our duplicate, it was left to us.
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
 * The library switches to TLS by itself if the broker demands it, without
 * saying so. Under TLS the reply to a plain PING is a TLS record, which begins
 * with a control character. The reply is only peeked at, and left for conn_tcp.
 */
static natsStatus
check_plain(struct connector *c)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    char first;

    if (fcntl(c->fd, F_SETFL, O_NONBLOCK) < 0 ||
        send(c->fd, "PING\r\n", 6, MSG_NOSIGNAL) != 6)
        return NATS_IO_ERROR;
    if (poll(&p, 1, CONN_CONNECT_MS) != 1)
        return NATS_TIMEOUT;
    if (recv(c->fd, &first, 1, MSG_PEEK) != 1)
        return NATS_CONNECTION_CLOSED;
    c->tls = first < ' ';
    return c->tls ? NATS_SECURE_CONNECTION_REQUIRED : NATS_OK;
}

static int
attempt(struct connector *c, struct connected *out, struct err *e)
{
    natsConnection *nc = NULL;
    sigset_t old;
    natsStatus s;

    c->fd = c->library_fd = -1;
    libnats_block_signals(&old);
    s = natsConnection_Connect(&nc, c->opts);
    libnats_restore_signals(&old);
    if (s == NATS_OK)
        s = check_plain(c);
    if (s == NATS_OK) {
        *out = (struct connected){nc, c->fd, c->library_fd};
        return 0;
    }
    libnats_refused(&c->endpoint, s, e);
    close_both(nc, c->fd, c->library_fd);
    return -1;
}

/* --- on the calling thread ------------------------------------------------ */

struct first_attempt {
    struct connector *connector;
    struct connected *out;
};

static int
try_once(void *ctx, struct err *e)
{
    struct first_attempt *n = ctx;

    return attempt(n->connector, n->out, e);
}

int
connector_connect(struct connector *c, int64_t timeout_ms,
                  struct connected *out, bool *tls, struct err *e)
{
    struct first_attempt n = {.connector = c, .out = out};
    int rc = libnats_retry(try_once, &n, &c->endpoint, timeout_ms, e);

    *tls = c->tls;
    return rc;
}

/* --- on a thread ---------------------------------------------------------- */

static void
release(struct connector *c)
{
    bool last;

    (void)pthread_mutex_lock(&c->mutex);
    last = --c->references == 0;
    (void)pthread_mutex_unlock(&c->mutex);
    if (!last)
        return;
    connected_close(&c->made);
    natsOptions_Destroy(c->opts);
    mem_free(c->files.token_file);
    mem_free(c->files.creds_file);
    mem_free(c->files.nkey_file);
    endpoint_free(&c->endpoint);
    (void)pthread_mutex_destroy(&c->mutex);
    (void)pthread_cond_destroy(&c->cond);
    mem_free(c);
}

/* Called with mutex locked: waits, or until we are to stop. */
static void
pause_for(struct connector *c, int64_t ms)
{
    int64_t until_ms = loop_now_ms() + ms;

    while (!c->stopping)
        if (os_cond_wait(&c->cond, &c->mutex, until_ms) == ETIMEDOUT)
            return;
}

/* Called with mutex locked, except while it connects. */
static void
reconnect(struct connector *c)
{
    int64_t wait_ms = 0;
    unsigned refusals = 0;
    struct connected made = {.fd = -1};
    struct err e;

    while (!c->stopping && !c->made.nc) {
        pause_for(c, wait_ms + backoff_jitter(CONN_RECONNECT_MS, 0, 1,
                                              backoff_random()));
        if (c->stopping)
            return;
        (void)pthread_mutex_unlock(&c->mutex);
        e.code = ERR_NONE;
        if (endpoint_reload(c->opts, &c->files, &c->endpoint, &e) == 0)
            (void)attempt(c, &made, &e);
        (void)pthread_mutex_lock(&c->mutex);
        c->made = made;
        wait_ms = CONN_RECONNECT_MS;
        refusals = e.code == ERR_DENIED ? refusals + 1 : 0;
        if (refusals >= (c->endpoint.seed ? KEY_REFUSALS : REFUSALS))
            wait_ms = REFUSED_MS;
        if (refusals == (c->endpoint.seed ? KEY_REFUSALS : REFUSALS)) {
            (void)str_copy(c->text, sizeof c->text, e.msg);
            c->refused = true;
        }
        if ((c->made.nc || c->refused) && !c->stopping)
            loop_waker_wake(c->waker);
    }
}

static void *
run(void *ctx)
{
    struct connector *c = ctx;

    (void)pthread_mutex_lock(&c->mutex);
    reconnect(c);
    c->running = false;
    (void)pthread_cond_broadcast(&c->cond);
    (void)pthread_mutex_unlock(&c->mutex);
    nats_ReleaseThreadMemory();
    release(c);
    return NULL;
}

bool
connector_start(struct connector *c)
{
    struct err e;
    bool ok = true;

    (void)pthread_mutex_lock(&c->mutex);
    if (!c->running && !c->made.nc) {
        c->refused = false;
        ok = libnats_thread(run, c, &e) == 0;
        c->running = ok;
        c->references += ok;
    }
    (void)pthread_mutex_unlock(&c->mutex);
    return ok;
}

bool
connector_take(struct connector *c, struct connected *out, const char **denied)
{
    bool made;

    *denied = NULL;
    (void)pthread_mutex_lock(&c->mutex);
    made = c->made.nc != NULL;
    if (made) {
        *out = c->made;
        c->made = (struct connected){.fd = -1};
    }
    if (c->refused) {
        (void)str_copy(c->told, sizeof c->told, c->text);
        *denied = c->told;
        c->refused = false;
    }
    (void)pthread_mutex_unlock(&c->mutex);
    return made;
}

/* --- opening and closing -------------------------------------------------- */

static int
set_behaviour(struct connector *c, const char *name, struct err *e)
{
    if (natsOptions_SetName(c->opts, name) != NATS_OK ||
        natsOptions_SetTimeout(c->opts, CONN_CONNECT_MS) != NATS_OK ||
        natsOptions_SetAllowReconnect(c->opts, false) != NATS_OK ||
        natsOptions_SetPingInterval(c->opts, 0) != NATS_OK ||
        natsOptions_SetEventLoop(c->opts, c, attach, want, want, detach) !=
            NATS_OK)
        return err_set(e, ERR_BUG, "set up the connection: %s",
                       libnats_last_error());
    return 0;
}

static char *
copy_of(const char *path)
{
    return mem_strdup(path ? path : "");
}

int
connector_open(struct connector **out, const struct bus_conf *conf,
               const char *role, struct loop_waker *waker, struct err *e)
{
    struct connector *c = MEM_NEW(struct connector);

    (void)pthread_mutex_init(&c->mutex, NULL);
    (void)os_cond_init(&c->cond);
    c->references = 1;
    c->waker = waker;
    c->made.fd = -1;
    if (natsOptions_Create(&c->opts) != NATS_OK) {
        err_set(e, ERR_UNAVAILABLE, "no memory");
        goto out;
    }
    if (endpoint_options(c->opts, conf, &c->endpoint, e) < 0 ||
        set_behaviour(c, role, e) < 0)
        goto out;
    c->files = (struct bus_conf){.token_file = copy_of(conf->token_file),
                                 .creds_file = copy_of(conf->creds_file),
                                 .nkey_file = copy_of(conf->nkey_file)};
    *out = c;
    return 0;
out:
    release(c);
    return -1;
}

const struct endpoint *
connector_endpoint(const struct connector *c)
{
    return &c->endpoint;
}

bool
connector_close(struct connector *c)
{
    int64_t until_ms = loop_now_ms() + CONN_CLOSE_MS;
    bool ended;

    if (!c)
        return true;
    (void)pthread_mutex_lock(&c->mutex);
    c->stopping = true;
    (void)pthread_cond_broadcast(&c->cond);
    while (c->running &&
           os_cond_wait(&c->cond, &c->mutex, until_ms) != ETIMEDOUT)
        ;
    ended = !c->running;
    (void)pthread_mutex_unlock(&c->mutex);
    release(c);
    return ended;
}
