/*
 * curl_multi - submits jobs to an AI platform and fetches their results with
 * libcurl's multi interface alone, without shunt.
 *
 * usage: curl_multi [-n COUNT] [-c CONNECTIONS] [-p PROMPT] [-w MS] URL
 *
 * Submits COUNT jobs, looks at each until it has succeeded and fetches its
 * result, with CONNECTIONS requests at a time. A job is looked at MS after it
 * was submitted (default 0), and again after pauses that grow by half: the
 * requests that shunt-worker-secutools makes, without bus, claims and ledger.
 * The key is in SECUTOOLS_API_KEY.
 *
 * Writes   "rate <jobs per second>"
 * Exit     0 all jobs succeeded, 1 something did not work, 2 usage
 *
 * It exits at the first failure.
 */
#include "bench/bench.h"

#include <curl/curl.h>
#include <err.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    MAX_COUNT = 10000000,
    MAX_CONNECTIONS = 1000,
    ID_SIZE = 64,
    BODY_SIZE = 4096,
    POLL_MS = 10000,
    LOOKS_MAX = 16, /* the later ones wait like the last */
};

enum curl_step { STEP_SUBMIT, STEP_LOOK, STEP_RESULT };

struct curl_job {
    struct curl_job *next; /* among those that wait for the same look */
    char id[ID_SIZE];
    int looks;
    int64_t due_ns;
};

/* Those that wait for a certain look come in the order they are due. */
struct fake_line {
    struct curl_job *first, *last;
    int64_t pause_ns;
};

/* A handle, and the request it makes. */
struct curl_slot {
    struct curl_slot *next; /* of those that are free */
    CURL *easy;
    struct curl_slist *headers;
    enum curl_step step;
    struct curl_job *job;
    char body[BODY_SIZE];
    size_t len;
};

static struct {
    int count, connections, wait_ms;
    const char *prompt, *url, *key;
} opts = {.count = 10000, .connections = 32, .prompt = ""};

static CURLM *multi;
static char request[BODY_SIZE];
static struct curl_job *jobs;
static struct fake_line lines[LOOKS_MAX];
static struct curl_slot *idle;
static int begun, ended;

static size_t
on_body(char *data, size_t size, size_t n, void *ctx)
{
    struct curl_slot *s = ctx;

    n *= size;
    if (n >= BODY_SIZE - s->len)
        errx(1, "an answer of more than %d bytes", BODY_SIZE);
    memcpy(s->body + s->len, data, n);
    s->len += n;
    s->body[s->len] = '\0';
    return n;
}

/* The text of a member; what the stand-in writes has no blanks. */
static bool
member(const char *body, const char *name, char *out, size_t size)
{
    char key[32];
    const char *at;
    size_t len;

    (void)snprintf(key, sizeof key, "\"%s\":", name);
    at = strstr(body, key);
    if (!at)
        return false;
    at += strlen(key);
    at += strspn(at, " \"");
    len = strcspn(at, "\"");
    if (len >= size)
        return false;
    memcpy(out, at, len);
    out[len] = '\0';
    return true;
}

static void
set_headers(struct curl_slot *s)
{
    char line[256];

    curl_slist_free_all(s->headers);
    s->headers = NULL;
    if (s->step == STEP_SUBMIT) {
        (void)snprintf(line, sizeof line, "Idempotency-Key: bench:%d",
                       (int)(s->job - jobs));
        s->headers = curl_slist_append(s->headers, line);
        s->headers =
            curl_slist_append(s->headers, "Content-Type: application/json");
    }
    s->headers = curl_slist_append(s->headers, "Expect:");
    (void)curl_easy_setopt(s->easy, CURLOPT_HTTPHEADER, s->headers);
}

static void
send_request(struct curl_slot *s)
{
    static const char *const paths[] = {"", "/", "/"};
    char url[512];

    (void)snprintf(url, sizeof url, "%s/v1/jobs%s%s%s", opts.url,
                   paths[s->step], s->step == STEP_SUBMIT ? "" : s->job->id,
                   s->step == STEP_RESULT ? "/result" : "");
    set_headers(s);
    s->len = 0;
    (void)curl_easy_setopt(s->easy, CURLOPT_URL, url);
    if (s->step == STEP_SUBMIT)
        (void)curl_easy_setopt(s->easy, CURLOPT_POSTFIELDS, request);
    else
        (void)curl_easy_setopt(s->easy, CURLOPT_HTTPGET, 1L);
    if (curl_multi_add_handle(multi, s->easy) != CURLM_OK)
        errx(1, "libcurl takes no more");
}

static void
begin(struct curl_job *j, enum curl_step step)
{
    struct curl_slot *s = idle;

    idle = s->next;
    s->job = j;
    s->step = step;
    send_request(s);
}

static void
wait_for_look(struct curl_job *j)
{
    struct fake_line *l =
        &lines[j->looks < LOOKS_MAX ? j->looks : LOOKS_MAX - 1];

    j->looks++;
    j->due_ns = bench_now_ns() + l->pause_ns;
    j->next = NULL;
    if (l->first)
        l->last->next = j;
    else
        l->first = j;
    l->last = j;
}

/* Gives the free handles what is due; returns how long the next thing to do
 * takes to come, in milliseconds. */
static int
begin_due(void)
{
    int64_t now = bench_now_ns(), next = now + (int64_t)POLL_MS * 1000000;

    for (int i = 0; i < LOOKS_MAX; i++) {
        struct fake_line *l = &lines[i];

        while (idle && l->first && l->first->due_ns <= now) {
            struct curl_job *j = l->first;

            l->first = j->next;
            begin(j, STEP_LOOK);
        }
        if (l->first && l->first->due_ns < next)
            next = l->first->due_ns;
    }
    while (idle && begun < opts.count)
        begin(&jobs[begun++], STEP_SUBMIT);
    return idle && next > now ? (int)((next - now) / 1000000) + 1 : POLL_MS;
}

static void
on_answer(struct curl_slot *s, CURLcode rc)
{
    char status[ID_SIZE];
    long code = 0;

    if (rc != CURLE_OK)
        errx(1, "job %s: %s", s->job->id, curl_easy_strerror(rc));
    (void)curl_easy_getinfo(s->easy, CURLINFO_RESPONSE_CODE, &code);
    (void)curl_multi_remove_handle(multi, s->easy);
    if (code >= 300)
        errx(1, "job %s: HTTP %ld: %.200s", s->job->id, code, s->body);
    s->next = idle;
    idle = s;
    switch (s->step) {
    case STEP_SUBMIT:
        if (!member(s->body, "id", s->job->id, sizeof s->job->id))
            errx(1, "a job has no id: %.200s", s->body);
        wait_for_look(s->job);
        return;
    case STEP_LOOK:
        if (member(s->body, "status", status, sizeof status) &&
            strcmp(status, "succeeded") == 0)
            begin(s->job, STEP_RESULT);
        else
            wait_for_look(s->job);
        return;
    case STEP_RESULT:
        ended++;
        return;
    }
}

/* True if something has ended. */
static bool
collect(void)
{
    CURLMsg *m;
    bool any = false;
    int left;

    while ((m = curl_multi_info_read(multi, &left))) {
        struct curl_slot *s = NULL;
        CURLcode rc = m->data.result;

        (void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &s);
        on_answer(s, rc);
        any = true;
    }
    return any;
}

static void
run(void)
{
    int running, pause_ms;

    while (ended < opts.count) {
        pause_ms = begin_due();
        if (curl_multi_perform(multi, &running) != CURLM_OK ||
            (!collect() &&
             curl_multi_poll(multi, NULL, 0, pause_ms, NULL) != CURLM_OK))
            errx(1, "libcurl does not go on");
    }
}

static void
read_options(int argc, char **argv)
{
    int opt;

    while ((opt = getopt(argc, argv, "n:c:p:w:")) != -1) {
        switch (opt) {
        case 'n':
            opts.count = bench_number(optarg, 1, MAX_COUNT);
            break;
        case 'c':
            opts.connections = bench_number(optarg, 1, MAX_CONNECTIONS);
            break;
        case 'w':
            opts.wait_ms = bench_number(optarg, 0, 60000);
            break;
        case 'p':
            opts.prompt = optarg;
            break;
        default:
            exit(2);
        }
    }
    opts.key = getenv("SECUTOOLS_API_KEY");
    if (optind != argc - 1 || !opts.key)
        errx(2, "an address is wanted, and SECUTOOLS_API_KEY");
    opts.url = argv[optind];
    (void)snprintf(request, sizeof request,
                   "{\"task_id\":\"bench\",\"provider\":\"gpu\","
                   "\"prompt\":\"%s\"}",
                   opts.prompt);
}

int
main(int argc, char **argv)
{
    struct curl_slot *slots;
    int64_t start_ns;

    read_options(argc, argv);
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK ||
        !(multi = curl_multi_init()) ||
        !(jobs = calloc((size_t)opts.count, sizeof *jobs)) ||
        !(slots = calloc((size_t)opts.connections, sizeof *slots)))
        errx(1, "libcurl does not start");
    (void)curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS,
                            (long)opts.connections);
    for (int i = 0; i < LOOKS_MAX; i++)
        lines[i].pause_ns = i == 0 ? (int64_t)opts.wait_ms * 1000000
                                   : lines[i - 1].pause_ns * 3 / 2;
    start_ns = bench_now_ns();
    for (int i = 0; i < opts.connections; i++) {
        struct curl_slot *s = &slots[i];

        s->easy = curl_easy_init();
        if (!s->easy)
            errx(1, "libcurl does not start");
        (void)curl_easy_setopt(s->easy, CURLOPT_PRIVATE, s);
        (void)curl_easy_setopt(s->easy, CURLOPT_WRITEFUNCTION, on_body);
        (void)curl_easy_setopt(s->easy, CURLOPT_WRITEDATA, s);
        (void)curl_easy_setopt(s->easy, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
        (void)curl_easy_setopt(s->easy, CURLOPT_XOAUTH2_BEARER, opts.key);
        s->next = idle;
        idle = s;
    }
    run();
    bench_print_rate(opts.count, bench_now_ns() - start_ns);
    return 0;
}
