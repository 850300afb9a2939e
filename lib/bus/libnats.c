/*
 * Opens the NATS library when it is first needed and closes it after the last
 * connection; gives threads a small stack and no signals; maps the library's
 * status codes to errors.
 */
#include "lib/bus/libnats.h"

#include "lib/base/backoff.h"

#include <pthread.h>
#include <string.h>

enum {
    STACK_BYTES = 512 * 1024, /* getaddrinfo and the library's line buffers */
    REFUSALS = 5,             /* of a key, until they are believed */
    RETRY_MS = 50,
    RETRY_MOST_MS = 1000,
};

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static unsigned users; /* of the library */

void
libnats_block_signals(sigset_t *old)
{
    sigset_t all;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, old);
}

void
libnats_restore_signals(const sigset_t *old)
{
    (void)pthread_sigmask(SIG_SETMASK, old, NULL);
}

int
libnats_thread(void *(*fn)(void *ctx), void *ctx, struct err *e)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t old;
    int rc;

    (void)pthread_attr_init(&attr);
    (void)pthread_attr_setstacksize(&attr, STACK_BYTES);
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    libnats_block_signals(&old);
    rc = pthread_create(&thread, &attr, fn, ctx);
    libnats_restore_signals(&old);
    (void)pthread_attr_destroy(&attr);
    if (rc)
        return err_set(e, ERR_UNAVAILABLE, "start a thread: %s", strerror(rc));
    return 0;
}

void
libnats_join(void)
{
    sigset_t old;

    (void)pthread_mutex_lock(&gate);
    if (users++ == 0) {
        libnats_block_signals(&old);
        (void)nats_Open(-1);
        /* One thread delivers for all subscriptions: order holds across them,
         * and it costs one stack. */
        (void)nats_SetMessageDeliveryPoolSize(1);
        libnats_restore_signals(&old);
    }
    (void)pthread_mutex_unlock(&gate);
}

void
libnats_leave(bool wait)
{
    bool last;

    (void)pthread_mutex_lock(&gate);
    last = --users == 0;
    (void)pthread_mutex_unlock(&gate);
    if (last && wait)
        (void)nats_CloseAndWait(CONN_CLOSE_MS);
}

/* --- connecting ----------------------------------------------------------- */

/* What the library and OpenSSL say, and what it means. */
static const char *const meanings[][2] = {
    {"certificate verify failed", "no authority that is trusted here has "
                                  "signed its certificate"},
    {"no start line", "the file is no PEM"},
    {"wrong version number", "what answers there does not speak TLS"},
    {"ssl handshake failure", "it does not accept our TLS, or our certificate"},
    {"key values mismatch", "key and certificate do not belong together"},
    {"expired", "they have expired"},
    {"Permissions Violation", "their user may not do this"},
    {"Authorization Violation", "look at user, token and credentials file"},
    {"Authentication", "look at user, token and credentials file"},
};

const char *
libnats_last_error(void)
{
    natsStatus s = NATS_OK;
    const char *text = nats_GetLastError(&s);
    const char *end = text && *text == '(' ? strstr(text, "): ") : NULL;

    for (size_t i = 0; text && i < sizeof meanings / sizeof *meanings; i++)
        if (strcasestr(text, meanings[i][0]))
            return meanings[i][1];
    /* OpenSSL's: error:0A000086:SSL routines::certificate verify failed */
    if (text && strstr(text, "error:") && strrchr(text, ':')[1])
        return strrchr(text, ':') + 1;
    if (end)
        return end + 3;
    return text && *text ? text : natsStatus_GetText(s);
}

/* Why a broker did not answer, where its address does not tell all. */
static const char *
why_silent(natsStatus s)
{
    switch ((int)s) { /* the library adds values */
    case NATS_NO_SERVER:
        return ""; /* refused, or no such host */
    case NATS_TIMEOUT:
        return ": it did not answer in time";
    case NATS_CONNECTION_CLOSED:
    case NATS_IO_ERROR:
        return ": the connection broke";
    case NATS_PROTOCOL_ERROR:
        return ": what answers there does not speak NATS";
    default:
        return NULL;
    }
}

int
libnats_refused(const struct endpoint *r, natsStatus s, struct err *e)
{
    const char *text = libnats_last_error(), *why;

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
        /* The library is told after the handshake, in place of the first PONG.
         */
        if (r->without_cert && strstr(text, "Expected 'PONG'"))
            return err_set(e, ERR_DENIED,
                           "broker %s closes the connection after the TLS "
                           "handshake: it wants a certificate of ours, "
                           "bus.cert_file with bus.key_file",
                           r->url);
        why = why_silent(s);
        return err_set(e, ERR_UNAVAILABLE, "no broker answers at %s%s%s",
                       r->url, why ? "" : ": ", why ? why : text);
    }
}

int
libnats_retry(int (*attempt)(void *ctx, struct err *e), void *ctx,
              const struct endpoint *r, int64_t timeout_ms, struct err *e)
{
    int64_t give_up = loop_now_ms() + timeout_ms, wait_ms = RETRY_MS;
    int refused = 0;

    while (attempt(ctx, e) < 0) {
        /* Before 3.8 the library sometimes signs wrongly, so a single refusal
         * of a key proves nothing (nats.c#705). */
        if (e->code == ERR_DENIED && (!r->seed || ++refused >= REFUSALS))
            return -1;
        if (e->code == ERR_INVALID ||
            (e->code != ERR_DENIED && loop_now_ms() + wait_ms > give_up))
            return -1;
        nats_Sleep(wait_ms);
        wait_ms = backoff_next(wait_ms, RETRY_MS, RETRY_MOST_MS);
    }
    return 0;
}
