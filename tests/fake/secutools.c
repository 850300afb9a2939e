/*
 * secutools - a fake AI job platform for tests and benchmarks.
 *
 * usage: secutools [PORT]     prints "port N" once it listens; ends with its
 *                             standard input, or by a signal
 *
 * Implements the job contract of docs/secutools.md under /v1. The key it
 * requires is FAKE_KEY ("secret"). A prompt may script its answers in one pair
 * of brackets; the words of each list are used in order, the last one
 * repeatedly:
 *
 *   [submit=503,ok poll=queued,running,succeeded result=409,200 cost=0.0123
 *    output=text size=N provider=gpu]
 *
 * Words of submit, poll, result and cancel: an HTTP status, optionally with the
 * seconds of a Retry-After (429@2, 503@date for a date), or
 *
 *   ok        the normal answer
 *   reset     closes the connection without an answer
 *   cut       a truncated body
 *   slow      a body that takes 1.5 s
 *   nonsense  a body that is not JSON
 *   wrong     the id of another job
 *   stored    (submit) accepts the job, then closes without an answer
 *
 * and for poll also a status word.
 *
 * POST /_fake/submit with such a list as body applies it to all submissions,
 * whatever their prompts say, until it is empty. GET /_fake/stats returns what
 * arrived: jobs, and how often each key was submitted, each job cancelled.
 */
#include <jansson.h>
#include <microhttpd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    LIST_SIZE = 256,
    WORD_SIZE = 40,
    BUCKETS = 65536,
    BODY_MAX = 2 << 20,
    SLOW_PIECES = 15, /* of 100 ms */
};

struct fake_job {
    struct fake_job *next;
    char key[128], id[32], provider[32], cost[32], output[128];
    char submit[LIST_SIZE], poll[LIST_SIZE], result[LIST_SIZE];
    char cancel[LIST_SIZE];
    char callback[256];
    uint64_t body_hash;
    size_t size; /* of the output, 0: as output says */
    unsigned posts, polls, cancels;
    bool stored, cancelled;
};

static struct fake_job *by_key[BUCKETS], *by_id[BUCKETS];
static struct fake_job **all; /* in order */
static size_t n_all;
static size_t n_stored, n_requests;
static char for_all[LIST_SIZE];
static const char *secret = "secret";
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static uint64_t
hash(const char *data, size_t len)
{
    uint64_t h = 14695981039346656037u;

    for (size_t i = 0; i < len; i++)
        h = (h ^ (unsigned char)data[i]) * 1099511628211u;
    return h;
}

static void
copy(char *out, size_t size, const char *text, size_t len)
{
    if (len >= size)
        len = size - 1;
    memcpy(out, text, len);
    out[len] = '\0';
}

/* --- scripts ---------------------------------------------------------------
 */

/* Takes the first word of a list; the last one stays. */
static void
next_word(char *list, char out[WORD_SIZE])
{
    size_t len = strcspn(list, ",");

    copy(out, WORD_SIZE, list, len);
    if (list[len] == ',')
        memmove(list, list + len + 1, strlen(list + len + 1) + 1);
}

/* The value of name= in the brackets of a prompt. */
static void
play(const char *prompt, const char *name, char *out, size_t size)
{
    const char *at = strchr(prompt, '['), *end;
    size_t len = strlen(name);

    end = at ? strchr(at, ']') : NULL;
    while (end && at < end) {
        at++;
        if (strncmp(at, name, len) == 0 && at[len] == '=') {
            at += len + 1;
            copy(out, size, at, strcspn(at, " ]"));
            return;
        }
        at += strcspn(at, " ]");
    }
}

static struct fake_job *
find_id(const char *id)
{
    struct fake_job *j;

    for (size_t i = hash(id, strlen(id)) % BUCKETS; (j = by_id[i]);
         i = (i + 1) % BUCKETS)
        if (strcmp(j->id, id) == 0)
            return j;
    return NULL;
}

static struct fake_job *
find_key(const char *key, size_t *slot)
{
    struct fake_job *j;

    for (*slot = hash(key, strlen(key)) % BUCKETS; (j = by_key[*slot]);
         *slot = (*slot + 1) % BUCKETS)
        if (strcmp(j->key, key) == 0)
            return j;
    return NULL;
}

static struct fake_job *
new_job(const char *key, size_t slot, const json_t *body)
{
    struct fake_job *j = calloc(1, sizeof *j);
    const char *prompt = json_string_value(json_object_get(body, "prompt"));
    const char *wanted = json_string_value(json_object_get(body, "provider"));
    const char *callback =
        json_string_value(json_object_get(body, "callback_url"));
    char text[32] = "";
    size_t i;

    if (!j)
        abort();
    prompt = prompt ? prompt : "";
    callback = callback ? callback : "";
    copy(j->callback, sizeof j->callback, callback, strlen(callback));
    copy(j->key, sizeof j->key, key, strlen(key));
    copy(j->submit, sizeof j->submit, "ok", 2);
    copy(j->poll, sizeof j->poll, "succeeded", 9);
    copy(j->result, sizeof j->result, "200", 3);
    copy(j->cancel, sizeof j->cancel, "ok", 2);
    copy(j->output, sizeof j->output, "done", 4);
    wanted = wanted && strcmp(wanted, "auto") != 0 ? wanted : "gpu";
    copy(j->provider, sizeof j->provider, wanted, strlen(wanted));
    play(prompt, "submit", j->submit, sizeof j->submit);
    play(prompt, "poll", j->poll, sizeof j->poll);
    play(prompt, "result", j->result, sizeof j->result);
    play(prompt, "cancel", j->cancel, sizeof j->cancel);
    play(prompt, "output", j->output, sizeof j->output);
    play(prompt, "cost", j->cost, sizeof j->cost);
    play(prompt, "provider", j->provider, sizeof j->provider);
    play(prompt, "size", text, sizeof text);
    j->size = (size_t)strtoul(text, NULL, 10);
    (void)snprintf(j->id, sizeof j->id, "job-%zu", n_all + 1);
    by_key[slot] = j;
    for (i = hash(j->id, strlen(j->id)) % BUCKETS; by_id[i];
         i = (i + 1) % BUCKETS)
        ;
    by_id[i] = j;
    if ((n_all & (n_all + 1)) == 0 || !all)
        all = realloc(all, (n_all * 2 + 2) * sizeof *all);
    if (!all)
        abort();
    all[n_all++] = j;
    return j;
}

/* --- answers ---------------------------------------------------------------
 */

struct slow {
    char *text;
    size_t len, at;
    bool cut;
};

static ssize_t
slow_read(void *ctx, uint64_t pos, char *buf, size_t max)
{
    struct slow *s = ctx;
    size_t n = s->len / SLOW_PIECES + 1;

    (void)pos;
    if (s->cut && s->at > s->len / 2)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (s->at == s->len)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (!s->cut)
        (void)poll(NULL, 0, 100);
    n = n < max ? n : max;
    n = n < s->len - s->at ? n : s->len - s->at;
    memcpy(buf, s->text + s->at, n);
    s->at += n;
    return (ssize_t)n;
}

static void
slow_free(void *ctx)
{
    struct slow *s = ctx;

    free(s->text);
    free(s);
}

static struct MHD_Response *
response(const char *word, char *text)
{
    bool cut = strcmp(word, "cut") == 0;
    struct MHD_Response *r;
    struct slow *s;

    if (!cut && strcmp(word, "slow") != 0)
        return MHD_create_response_from_buffer(strlen(text), text,
                                               MHD_RESPMEM_MUST_FREE);
    s = calloc(1, sizeof *s);
    if (!s)
        abort();
    *s = (struct slow){text, strlen(text), 0, cut};
    r = MHD_create_response_from_callback(s->len, 4096, slow_read, s,
                                          slow_free);
    return r;
}

/* Takes text over. seconds of a Retry-After: "", "2" or "date". */
static enum MHD_Result
answer(struct MHD_Connection *c, unsigned status, const char *word, char *text,
       const char *retry)
{
    struct MHD_Response *r = response(word, text);
    enum MHD_Result rc;
    char date[64];
    time_t at = time(NULL) + 2;
    struct tm tm;

    if (strcmp(retry, "date") == 0) {
        (void)strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT",
                       gmtime_r(&at, &tm));
        retry = date;
    }
    if (*retry)
        (void)MHD_add_response_header(r, "Retry-After", retry);
    (void)MHD_add_response_header(r, "Content-Type", "application/json");
    rc = MHD_queue_response(c, status, r);
    MHD_destroy_response(r);
    return rc;
}

static char *
print(json_t *v)
{
    char *text = json_dumps(v, JSON_COMPACT);

    json_decref(v);
    return text;
}

static char *
refusal(unsigned status)
{
    static const struct {
        unsigned status;
        const char *code, *text;
    } rows[] = {
        {400, "bad_request", "the request cannot be understood"},
        {401, "unauthorized", "the key is not known"},
        {402, "budget_exceeded", "the budget is used up"},
        {403, "forbidden", "the key may not do that"},
        {404, "not_found", "there is no such job"},
        {409, "conflict", "the key was used for something else"},
        {410, "gone", "the result has expired"},
        {413, "too_large", "the prompt is too long"},
        {422, "unprocessable", "the provider cannot do that"},
        {429, "rate_limited", "too many requests"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].status == status)
            return print(json_pack("{s:{s:s, s:s}}", "error", "code",
                                   rows[i].code, "message", rows[i].text));
    return print(json_pack("{s:s}", "message", "something broke"));
}

static char *
job_text(const struct fake_job *j, const char *status, const char *id)
{
    json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:{s:i, s:i}}", "id",
                          id, "status", status, "provider", j->provider,
                          "model", "fake-1", "queue_ms", 12, "run_ms", 345,
                          "usage", "input_tokens", 10, "output_tokens", 20);

    if (*j->cost)
        (void)json_object_set_new(
            o, "cost",
            json_pack("{s:s, s:s}", "amount", j->cost, "currency", "USD"));
    if (strcmp(status, "failed") == 0)
        (void)json_object_set_new(o, "error",
                                  json_pack("{s:s, s:s}", "code", "model_error",
                                            "message", "the model gave up"));
    return print(o);
}

/*
 * Plays one word: fills *status and returns whether the answer is that of a
 * good platform. *closed: none at all.
 */
static bool
is_good(const char *word, unsigned *status, char retry[WORD_SIZE], bool *closed)
{
    char *end;
    unsigned long n = strtoul(word, &end, 10);

    *closed = strcmp(word, "reset") == 0;
    retry[0] = '\0';
    if (end == word)
        return !*closed;
    if (*end == '@')
        copy(retry, WORD_SIZE, end + 1, strlen(end + 1));
    *status = (unsigned)n;
    return n < 300;
}

static enum MHD_Result
submit(struct MHD_Connection *c, const char *data, size_t len)
{
    const char *key =
        MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Idempotency-Key");
    json_t *body = json_loadb(data, len, 0, NULL);
    char word[WORD_SIZE], retry[WORD_SIZE];
    unsigned status;
    bool closed, again;
    struct fake_job *j;
    size_t slot;
    char *text;

    if (!key || !json_is_object(body)) {
        json_decref(body);
        return answer(c, 400, "", refusal(400), "");
    }
    j = find_key(key, &slot);
    if (!j) {
        j = new_job(key, slot, body);
        j->body_hash = hash(data, len);
    }
    json_decref(body);
    j->posts++;
    again = j->stored;
    if (j->stored && j->body_hash != hash(data, len))
        return answer(c, 409, "", refusal(409), "");
    if (*for_all) {
        bool last = !strchr(for_all, ',');

        next_word(for_all, word);
        if (last)
            for_all[0] = '\0';
    } else {
        next_word(j->submit, word);
    }
    status = again ? 200 : 202;
    if (!is_good(word, &status, retry, &closed)) {
        if (closed)
            return MHD_NO;
        return answer(c, status, "", refusal(status), retry);
    }
    if (!j->stored)
        n_stored++;
    j->stored = true;
    if (strcmp(word, "stored") == 0)
        return MHD_NO;
    text = strcmp(word, "nonsense") == 0 ? strdup("<html>hello</html>")
                                         : job_text(j, "queued", j->id);
    return answer(c, status, word, text, retry);
}

static enum MHD_Result
look(struct MHD_Connection *c, struct fake_job *j)
{
    char word[WORD_SIZE], retry[WORD_SIZE];
    const char *state;
    unsigned status = 200;
    bool closed;
    char *text;

    j->polls++;
    next_word(j->poll, word);
    if (!is_good(word, &status, retry, &closed)) {
        if (closed)
            return MHD_NO;
        return answer(c, status, "", refusal(status), retry);
    }
    state = strcmp(word, "ok") == 0 || strcmp(word, "cut") == 0 ||
                    strcmp(word, "slow") == 0 || strcmp(word, "wrong") == 0
                ? "running"
                : word;
    if (j->cancelled)
        state = "cancelled";
    text = strcmp(word, "nonsense") == 0
               ? strdup("{\"id\": [")
               : job_text(j, state,
                          strcmp(word, "wrong") == 0 ? "job-of-others" : j->id);
    return answer(c, 200, word, text, retry);
}

static char *
output_text(const struct fake_job *j)
{
    json_t *o = json_object();
    char *big;

    if (j->size) {
        big = malloc(j->size);
        if (!big)
            abort();
        memset(big, 'x', j->size);
        (void)json_object_set_new(o, "output", json_stringn(big, j->size));
        free(big);
    } else {
        (void)json_object_set_new(o, "output", json_string(j->output));
    }
    return print(o);
}

static enum MHD_Result
give_result(struct MHD_Connection *c, struct fake_job *j)
{
    char word[WORD_SIZE], retry[WORD_SIZE];
    unsigned status = 200;
    bool closed;
    char *text;

    next_word(j->result, word);
    if (!is_good(word, &status, retry, &closed)) {
        if (closed)
            return MHD_NO;
        return answer(c, status, "", refusal(status), retry);
    }
    text = strcmp(word, "nonsense") == 0 ? strdup("[1, 2") : output_text(j);
    return answer(c, 200, word, text, retry);
}

static enum MHD_Result
cancel(struct MHD_Connection *c, struct fake_job *j)
{
    char word[WORD_SIZE], retry[WORD_SIZE];
    unsigned status = 202;
    bool closed;

    j->cancels++;
    next_word(j->cancel, word);
    if (!is_good(word, &status, retry, &closed)) {
        if (closed)
            return MHD_NO;
        return answer(c, status, "", refusal(status), retry);
    }
    j->cancelled = true;
    return answer(c, 202, "", job_text(j, "cancelling", j->id), "");
}

static enum MHD_Result
stats(struct MHD_Connection *c)
{
    json_t *keys = json_array();

    for (size_t i = 0; i < n_all; i++)
        (void)json_array_append_new(
            keys, json_pack("{s:s, s:s, s:b, s:b, s:i, s:i, s:i, s:s}", "key",
                            all[i]->key, "id", all[i]->id, "stored",
                            all[i]->stored, "cancelled", all[i]->cancelled,
                            "posts", (int)all[i]->posts, "polls",
                            (int)all[i]->polls, "cancels", (int)all[i]->cancels,
                            "callback", all[i]->callback));
    return answer(
        c, 200, "",
        print(json_pack("{s:I, s:I, s:o}", "jobs", (json_int_t)n_stored,
                        "requests", (json_int_t)n_requests, "keys", keys)),
        "");
}

/* --- requests --------------------------------------------------------------
 */

static bool
is_allowed(struct MHD_Connection *c)
{
    const char *auth =
        MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Authorization");

    return auth && strncmp(auth, "Bearer ", 7) == 0 &&
           strcmp(auth + 7, secret) == 0;
}

static enum MHD_Result
on_job(struct MHD_Connection *c, const char *path, bool post)
{
    size_t len = strcspn(path, "/");
    char id[64];
    struct fake_job *j;

    copy(id, sizeof id, path, len);
    j = find_id(id);
    if (!j || !j->stored)
        return answer(c, 404, "", refusal(404), "");
    if (!path[len])
        return look(c, j);
    if (strcmp(path + len, "/result") == 0)
        return give_result(c, j);
    if (strcmp(path + len, "/cancel") == 0 && post)
        return cancel(c, j);
    return answer(c, 404, "", refusal(404), "");
}

static enum MHD_Result
route(struct MHD_Connection *c, const char *url, bool post, const char *data,
      size_t len)
{
    n_requests++;
    if (strcmp(url, "/healthz") == 0)
        return answer(c, 200, "", print(json_pack("{s:s}", "status", "ok")),
                      "");
    if (strcmp(url, "/_fake/stats") == 0)
        return stats(c);
    if (strcmp(url, "/_fake/submit") == 0 && post) {
        copy(for_all, sizeof for_all, data, len);
        return answer(c, 200, "", print(json_object()), "");
    }
    if (!is_allowed(c))
        return answer(c, 401, "", refusal(401), "");
    if (strcmp(url, "/v1/jobs") == 0 && post)
        return submit(c, data, len);
    if (strncmp(url, "/v1/jobs/", 9) == 0)
        return on_job(c, url + 9, post);
    return answer(c, 404, "", refusal(404), "");
}

struct body {
    char *data;
    size_t len;
};

static enum MHD_Result
on_request(void *ctx, struct MHD_Connection *c, const char *url,
           const char *method, const char *version, const char *data,
           size_t *size, void **request)
{
    struct body *b = *request;
    enum MHD_Result rc;

    (void)ctx;
    (void)version;
    if (!b) {
        *request = b = calloc(1, sizeof *b);
        return b ? MHD_YES : MHD_NO;
    }
    if (*size) {
        if (b->len + *size > BODY_MAX)
            return MHD_NO;
        b->data = realloc(b->data, b->len + *size);
        if (!b->data)
            abort();
        memcpy(b->data + b->len, data, *size);
        b->len += *size;
        *size = 0;
        return MHD_YES;
    }
    (void)pthread_mutex_lock(&mutex);
    rc = route(c, url, strcmp(method, "POST") == 0, b->data ? b->data : "",
               b->len);
    (void)pthread_mutex_unlock(&mutex);
    return rc;
}

static void
on_completed(void *ctx, struct MHD_Connection *c, void **request,
             enum MHD_RequestTerminationCode code)
{
    struct body *b = *request;

    (void)ctx;
    (void)c;
    (void)code;
    if (b)
        free(b->data);
    free(b);
}

int
main(int argc, char **argv)
{
    unsigned flags =
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION;
    const union MHD_DaemonInfo *info;
    struct MHD_Daemon *d;
    char junk[256];

    if (getenv("FAKE_KEY"))
        secret = getenv("FAKE_KEY");
    json_object_seed(1);
    (void)signal(SIGPIPE, SIG_IGN);
    d = MHD_start_daemon(
        flags, argc > 1 ? (uint16_t)strtoul(argv[1], NULL, 10) : 0, NULL, NULL,
        on_request, NULL, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
        MHD_OPTION_CONNECTION_LIMIT, 2000u, MHD_OPTION_END);
    info = d ? MHD_get_daemon_info(d, MHD_DAEMON_INFO_BIND_PORT) : NULL;
    if (!info) {
        (void)fputs("secutools: cannot listen\n", stderr);
        return 1;
    }
    (void)printf("port %u\n", (unsigned)info->port);
    (void)fflush(stdout);
    while (read(STDIN_FILENO, junk, sizeof junk) > 0)
        ;
    return 0; /* its threads end with it */
}
