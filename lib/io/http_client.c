/*
 * Drives libcurl's multi handle from the loop: its descriptors become
 * loop_polls, its timeout one timer. Calls wait in a queue until a connection
 * is free, are started from a timer of their own, and finish only when libcurl
 * has returned to us.
 */
#include "lib/io/http_client.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/version.h"
#include "lib/os/os.h"

#include <curl/curl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>

enum {
    HEADERS_MAX = 32,
    KEEP_BODY = 64 * 1024, /* larger buffers of spare handles are freed */
    SPARE_MAX = 64,        /* handles kept for the next request */
    LOW_SPEED_S = 30,      /* without a byte, beyond the request's timeout */
};

/* A handle of libcurl with the buffers it fills; reused for later calls. */
struct transfer {
    struct transfer *next; /* spare one */
    CURL *easy;
    struct curl_slist *headers;
    struct str body;
    bool too_long;
    char error[CURL_ERROR_SIZE];
};

struct http_call {
    TAILQ_ENTRY(http_call) link; /* in its queue */
    struct http *http;
    char *method, *url, *bearer;
    char *secret; /* a whole header, in place of bearer */
    char *headers[HEADERS_MAX + 1];
    void *body;
    size_t len, max_body;
    int64_t timeout_ms;
    http_fn *fn;
    void *ctx;
    struct transfer *transfer; /* NULL while it waits */
};

struct transfer_queue {
    TAILQ_HEAD(http_call_list, http_call) calls;
    size_t n;
};

struct http {
    struct loop *loop;
    CURLM *multi;
    struct http_conf conf;
    char *ca_file;
    struct loop_timer *timer;    /* set by libcurl */
    struct loop_timer *starting; /* starts calls, outside of callers' frames */
    bool start_due;
    struct transfer_queue waiting, active;
    struct transfer *spare;
    size_t n_spare;
    struct http_call *finishing; /* its callback is running */
};

/* --- queues --------------------------------------------------------------- */

static void
enqueue(struct transfer_queue *q, struct http_call *c)
{
    TAILQ_INSERT_TAIL(&q->calls, c, link);
    q->n++;
}

static void
dequeue(struct transfer_queue *q, struct http_call *c)
{
    TAILQ_REMOVE(&q->calls, c, link);
    q->n--;
}

static void
wipe(char *secret)
{
    if (secret)
        os_wipe(secret, strlen(secret));
    mem_free(secret);
}

static void
call_free(struct http_call *c)
{
    wipe(c->bearer);
    wipe(c->secret);
    for (size_t i = 0; c->headers[i]; i++)
        mem_free(c->headers[i]);
    mem_free(c->method);
    mem_free(c->url);
    mem_free(c->body);
    mem_free(c);
}

/* --- transfers ------------------------------------------------------------ */

static size_t
on_body(char *data, size_t size, size_t n, void *ctx)
{
    struct http_call *c = ctx;
    struct transfer *t = c->transfer;

    n *= size;
    if (n > c->max_body - t->body.len) {
        t->too_long = true;
        return 0;
    }
    str_add(&t->body, data, n);
    return n;
}

static struct transfer *
transfer_new(struct http *h)
{
    struct transfer *t = h->spare;

    if (t) {
        h->spare = t->next;
        h->n_spare--;
        return t;
    }
    t = MEM_NEW(struct transfer);
    t->easy = curl_easy_init();
    if (!t->easy)
        abort(); /* out of memory, as in mem */
    return t;
}

/* Wipes libcurl's copies, one of which may hold the secret. */
static void
free_headers(struct transfer *t)
{
    for (struct curl_slist *h = t->headers; h; h = h->next)
        os_wipe(h->data, strlen(h->data));
    curl_slist_free_all(t->headers);
    t->headers = NULL;
}

static void
transfer_free(struct transfer *t)
{
    curl_easy_cleanup(t->easy);
    free_headers(t);
    str_free(&t->body);
    mem_free(t);
}

/* Keeps t for later calls. Its connection stays with the multi handle. */
static void
transfer_release(struct http *h, struct transfer *t)
{
    (void)curl_multi_remove_handle(h->multi, t->easy);
    free_headers(t);
    if (h->n_spare == SPARE_MAX) {
        transfer_free(t);
        return;
    }
    curl_easy_reset(t->easy); /* forgets the credentials as well */
    if (t->body.cap > KEEP_BODY)
        str_free(&t->body);
    str_reset(&t->body);
    t->next = h->spare;
    h->spare = t;
    h->n_spare++;
}

static bool
add_header(struct transfer *t, const char *text)
{
    struct curl_slist *grown = curl_slist_append(t->headers, text);

    if (grown)
        t->headers = grown;
    return grown != NULL;
}

static bool
set_headers(struct http_call *c, struct transfer *t)
{
    bool ok = !c->secret || add_header(t, c->secret);

    for (size_t i = 0; ok && c->headers[i]; i++)
        ok = add_header(t, c->headers[i]);
    /* Waiting for "100 Continue" costs a second with servers that do not send
     * it. */
    return ok && add_header(t, "Expect:");
}

static bool
set_up(struct http *h, struct http_call *c, struct transfer *t)
{
    CURL *easy = t->easy;
    bool ok = set_headers(c, t);
    char agent[128];

#define SET(option, value)                                                     \
    ok = ok && curl_easy_setopt(easy, option, value) == CURLE_OK
    SET(CURLOPT_URL, c->url);
    SET(CURLOPT_PRIVATE, c);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_PROTOCOLS_STR, "https,http");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    SET(CURLOPT_PIPEWAIT, 1L); /* prefer sharing a connection */
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    SET(CURLOPT_ACCEPT_ENCODING, "");
    (void)snprintf(agent, sizeof agent, "shunt/%s", shunt_version);
    SET(CURLOPT_USERAGENT, agent);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)h->conf.connect_timeout_ms);
    SET(CURLOPT_TIMEOUT_MS, (long)c->timeout_ms);
    SET(CURLOPT_LOW_SPEED_LIMIT, 1L);
    SET(CURLOPT_LOW_SPEED_TIME, (long)LOW_SPEED_S + c->timeout_ms / 1000);
    SET(CURLOPT_ERRORBUFFER, t->error);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, c);
    SET(CURLOPT_HTTPHEADER, t->headers);
    if (*h->ca_file)
        SET(CURLOPT_CAINFO, h->ca_file);
    if (c->bearer) {
        SET(CURLOPT_HTTPAUTH, (long)CURLAUTH_BEARER);
        SET(CURLOPT_XOAUTH2_BEARER, c->bearer);
    }
    if (c->len || strcmp(c->method, "POST") == 0) {
        SET(CURLOPT_POST, 1L);
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)c->len);
        SET(CURLOPT_POSTFIELDS, c->body ? c->body : "");
    } else if (strcmp(c->method, "GET") == 0) {
        SET(CURLOPT_HTTPGET, 1L);
    }
    SET(CURLOPT_CUSTOMREQUEST, c->method);
#undef SET
    return ok;
}

/* --- the end of a call ---------------------------------------------------- */

static enum err_code
code_of(CURLcode rc)
{
    switch ((int)rc) { /* newer libcurls have more values */
    case CURLE_OPERATION_TIMEDOUT:
        return ERR_TIMEOUT;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
        return ERR_DENIED;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return ERR_INVALID;
    default:
        return ERR_UNAVAILABLE;
    }
}

/* Why there is no response, in plain words; NULL: curl's must do. */
static const char *
reason_of(CURLcode rc)
{
    switch ((int)rc) { /* newer libcurls have more values */
    case CURLE_OPERATION_TIMEDOUT:
        return "no answer in time";
    case CURLE_COULDNT_RESOLVE_HOST:
        return "there is no host of that name";
    case CURLE_COULDNT_RESOLVE_PROXY:
        return "there is no proxy of the configured name";
    case CURLE_COULDNT_CONNECT:
        return "nothing answers at that address";
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
        return "the connection broke before the response was complete";
    case CURLE_SSL_CONNECT_ERROR:
        return "what answers there does not speak TLS as we do";
    case CURLE_PEER_FAILED_VERIFICATION:
        return "its certificate is for another host, or no authority that is "
               "trusted here has signed it";
    case CURLE_SSL_CACERT_BADFILE:
        return "the file of trusted certificates cannot be read";
    case CURLE_SSL_CERTPROBLEM:
        return "our certificate cannot be used";
    case CURLE_URL_MALFORMAT:
        return "not an address";
    case CURLE_UNSUPPORTED_PROTOCOL:
        return "an address begins with http:// or https://";
    default:
        return NULL;
    }
}

/* Removes c, calls its callback and frees it. Not to be called from inside a
 * callback of libcurl. */
static void
finish(struct http *h, struct http_call *c, CURLcode rc)
{
    struct transfer *t = c->transfer;
    struct http_response r = {.retry_after_ms = -1, .handle = t->easy};
    curl_off_t after = 0;
    long status = 0;
    struct err e;

    h->finishing = c;
    dequeue(&h->active, c);
    if (rc == CURLE_OK) {
        (void)curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
        r.status = (int)status;
        r.body = str_text(&t->body);
        r.len = t->body.len;
        /* A date in the past comes as a negative number. */
        if (http_header(&r, "Retry-After") &&
            curl_easy_getinfo(t->easy, CURLINFO_RETRY_AFTER, &after) ==
                CURLE_OK)
            r.retry_after_ms = after > 0 ? after * 1000 : 0;
        c->fn(c->ctx, &r, NULL);
    } else if (t->too_long) {
        err_set(&e, ERR_INVALID, "%s %s: the response is longer than %zu bytes",
                c->method, LOG_TEXT(c->url), c->max_body);
        c->fn(c->ctx, NULL, &e);
    } else {
        const char *why = reason_of(rc);

        if (!why)
            why = *t->error ? t->error : curl_easy_strerror(rc);
        err_set(&e, code_of(rc), "%s %s: %s", c->method, LOG_TEXT(c->url),
                LOG_TEXT(why));
        c->fn(c->ctx, NULL, &e);
    }
    h->finishing = NULL;
    transfer_release(h, t);
    call_free(c);
}

/* --- starting calls ------------------------------------------------------- */

/* Schedules on_start if a call can be started. While all connections are busy,
 * the end of a call comes back here. */
static void
start_soon(struct http *h)
{
    if (h->start_due || !h->waiting.n ||
        h->active.n >= (size_t)h->conf.max_connections)
        return;
    h->start_due = true;
    loop_timer_again(h->starting, 0, 0);
}

/* Finishes every call that has ended; libcurl reports a timeout of the only
 * transfer nowhere else. */
static void
collect(struct http *h)
{
    struct http_call *c;
    CURLMsg *m;
    CURLcode rc;
    int left;

    while ((m = curl_multi_info_read(h->multi, &left))) {
        if (m->msg != CURLMSG_DONE)
            continue;
        c = NULL;
        (void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &c);
        rc = m->data.result;
        if (c)
            finish(h, c, rc);
    }
    start_soon(h);
}

static void
start(struct http *h, struct http_call *c)
{
    struct transfer *t = transfer_new(h);

    dequeue(&h->waiting, c);
    enqueue(&h->active, c);
    c->transfer = t;
    t->too_long = false;
    t->error[0] = '\0';
    if (set_up(h, c, t) && curl_multi_add_handle(h->multi, t->easy) == CURLM_OK)
        return;
    finish(h, c, CURLE_FAILED_INIT);
}

static void
on_start(void *ctx)
{
    struct http *h = ctx;

    h->start_due = false;
    while (h->waiting.n && h->active.n < (size_t)h->conf.max_connections)
        start(h, TAILQ_FIRST(&h->waiting.calls));
    collect(h);
}

/* --- libcurl's descriptors and timer ---------------------------------------
 */

/* A descriptor that libcurl wants watched. */
struct watch {
    struct http *http;
    struct loop_poll *poll;
    curl_socket_t fd;
};

static void
on_ready(void *ctx, int events)
{
    struct watch *w = ctx;
    struct http *h = w->http;
    int flags = 0, running;

    if (events & LOOP_READABLE)
        flags |= CURL_CSELECT_IN;
    if (events & LOOP_WRITABLE)
        flags |= CURL_CSELECT_OUT;
    if (events & LOOP_BROKEN)
        flags |= CURL_CSELECT_ERR;
    (void)curl_multi_socket_action(h->multi, w->fd, flags, &running);
    collect(h); /* w may have been freed */
}

static int
on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *socket_ctx)
{
    struct http *h = ctx;
    struct watch *w = socket_ctx;
    int events = 0;

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (w) {
            loop_poll_stop(w->poll);
            mem_free(w);
            (void)curl_multi_assign(h->multi, fd, NULL);
        }
        return 0;
    }
    if (what & CURL_POLL_IN)
        events |= LOOP_READABLE;
    if (what & CURL_POLL_OUT)
        events |= LOOP_WRITABLE;
    if (w) {
        loop_poll_change(w->poll, events);
        return 0;
    }
    w = MEM_NEW(struct watch);
    w->http = h;
    w->fd = fd;
    w->poll = loop_poll_start(h->loop, fd, events, on_ready, w);
    (void)curl_multi_assign(h->multi, fd, w);
    return 0;
}

static void
on_timeout(void *ctx)
{
    struct http *h = ctx;
    int running;

    (void)curl_multi_socket_action(h->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    collect(h);
}

static int
on_timer(CURLM *multi, long timeout_ms, void *ctx)
{
    struct http *h = ctx;

    (void)multi;
    /* Negative means never; the timer is kept, far in the future. */
    loop_timer_again(h->timer, timeout_ms < 0 ? INT32_MAX : timeout_ms, 0);
    return 0;
}

/* --- opening and closing -------------------------------------------------- */

int
http_open(struct http **out, struct loop *l, const struct http_conf *conf,
          struct err *e)
{
    struct http *h;
    CURLM *multi;

    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return err_set(e, ERR_UNAVAILABLE, "libcurl does not start");
    multi = curl_multi_init();
    if (!multi) {
        curl_global_cleanup();
        return err_set(e, ERR_UNAVAILABLE, "libcurl does not start");
    }
    h = MEM_NEW(struct http);
    TAILQ_INIT(&h->waiting.calls);
    TAILQ_INIT(&h->active.calls);
    h->loop = l;
    h->multi = multi;
    h->conf = *conf;
    h->ca_file = mem_strdup(conf->ca_file ? conf->ca_file : "");
    h->timer = loop_timer_start(l, INT32_MAX, 0, on_timeout, h);
    h->starting = loop_timer_start(l, INT32_MAX, 0, on_start, h);
    (void)curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    (void)curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, h);
    (void)curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer);
    (void)curl_multi_setopt(multi, CURLMOPT_TIMERDATA, h);
    (void)curl_multi_setopt(multi, CURLMOPT_MAX_TOTAL_CONNECTIONS,
                            (long)conf->max_connections);
    (void)curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS,
                            (long)conf->max_connections);
    *out = h;
    return 0;
}

static void
drop_all(struct http *h, struct transfer_queue *q)
{
    struct http_call *c;

    while ((c = TAILQ_FIRST(&q->calls))) {
        dequeue(q, c);
        if (c->transfer)
            transfer_release(h, c->transfer);
        call_free(c);
    }
}

void
http_close(struct http *h)
{
    struct transfer *t;

    if (!h)
        return;
    drop_all(h, &h->active);
    drop_all(h, &h->waiting);
    while ((t = h->spare)) {
        h->spare = t->next;
        transfer_free(t);
    }
    (void)curl_multi_cleanup(h->multi); /* stops watching its descriptors */
    loop_timer_stop(h->timer);
    loop_timer_stop(h->starting);
    mem_free(h->ca_file);
    mem_free(h);
    curl_global_cleanup(); /* libcurl counts */
}

/* --- requests ------------------------------------------------------------- */

static void
set_secret(struct http_call *c, const struct http_request *q)
{
    const char *name = q->secret_header, *secret = q->secret;
    size_t size;

    if (!secret || !*secret)
        return;
    if (!name || strcasecmp(name, "Authorization") == 0) {
        c->bearer = mem_strdup(secret);
        return;
    }
    size = strlen(name) + strlen(secret) + 3;
    c->secret = mem_alloc(size);
    (void)snprintf(c->secret, size, "%s: %s", name, secret);
}

struct http_call *
http_send(struct http *h, const struct http_request *q, http_fn *fn, void *ctx)
{
    struct http_call *c = MEM_NEW(struct http_call);

    c->http = h;
    c->method = mem_strdup(q->method);
    c->url = mem_strdup(q->url);
    set_secret(c, q);
    for (size_t i = 0; q->headers && q->headers[i] && i < HEADERS_MAX; i++)
        c->headers[i] = mem_strdup(q->headers[i]);
    if (q->len) {
        c->body = mem_alloc(q->len);
        memcpy(c->body, q->body, q->len);
    }
    c->len = q->len;
    c->max_body = q->max_body;
    c->timeout_ms = q->timeout_ms;
    c->fn = fn;
    c->ctx = ctx;
    enqueue(&h->waiting, c);
    start_soon(h);
    return c;
}

void
http_cancel(struct http_call *c)
{
    struct http *h;

    if (!c || c->http->finishing == c)
        return;
    h = c->http;
    if (c->transfer) {
        dequeue(&h->active, c);
        transfer_release(h, c->transfer);
        start_soon(h);
    } else {
        dequeue(&h->waiting, c);
    }
    call_free(c);
}

size_t
http_pending(const struct http *h)
{
    return h->waiting.n + h->active.n;
}

const char *
http_header(const struct http_response *r, const char *name)
{
    struct curl_header *found = NULL;

    if (curl_easy_header(r->handle, name, 0, CURLH_HEADER, -1, &found) !=
        CURLHE_OK)
        return NULL;
    return found->value;
}
