/*
 * curl_multi - jobs handed to an AI platform and brought home by libcurl's
 * multi interface alone, with nothing else around it.
 *
 * usage: curl_multi [-n COUNT] [-c CONNECTIONS] [-p PROMPT] URL
 *
 * Submits COUNT jobs, looks at each until it has succeeded and fetches its
 * result, with CONNECTIONS requests at a time: the requests that
 * shunt-worker-secutools makes, without bus, claims and ledger. The key is in
 * SECUTOOLS_API_KEY.
 *
 * Writes   "rate <jobs per second>"
 * Exit     0 all jobs succeeded, 1 something did not work, 2 usage
 *
 * It ends at the first thing that fails.
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
};

enum step { STEP_SUBMIT, STEP_LOOK, STEP_RESULT };

/* One request at a time, of one job after the other. */
struct slot {
    CURL *easy;
    struct curl_slist *headers;
    enum step step;
    int job;
    char id[ID_SIZE], body[BODY_SIZE];
    size_t len;
};

static struct {
    int count, connections;
    const char *prompt, *url, *key;
} opts = {.count = 10000, .connections = 32, .prompt = ""};

static CURLM *multi;
static char request[BODY_SIZE];
static int begun, ended;

static size_t
on_body(char *data, size_t size, size_t n, void *ctx)
{
    struct slot *s = ctx;

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
set_headers(struct slot *s)
{
    char line[256];

    curl_slist_free_all(s->headers);
    s->headers = NULL;
    if (s->step == STEP_SUBMIT) {
        (void)snprintf(line, sizeof line, "Idempotency-Key: bench:%d", s->job);
        s->headers = curl_slist_append(s->headers, line);
        s->headers =
            curl_slist_append(s->headers, "Content-Type: application/json");
    }
    s->headers = curl_slist_append(s->headers, "Expect:");
    (void)curl_easy_setopt(s->easy, CURLOPT_HTTPHEADER, s->headers);
}

static void
send_request(struct slot *s)
{
    static const char *const paths[] = {"", "/", "/"};
    char url[512];

    (void)snprintf(url, sizeof url, "%s/v1/jobs%s%s%s", opts.url,
                   paths[s->step], s->step == STEP_SUBMIT ? "" : s->id,
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
next_job(struct slot *s)
{
    if (begun == opts.count)
        return;
    s->job = begun++;
    s->step = STEP_SUBMIT;
    send_request(s);
}

static void
on_answer(struct slot *s, CURLcode rc)
{
    char status[ID_SIZE];
    long code = 0;

    if (rc != CURLE_OK)
        errx(1, "job %d: %s", s->job, curl_easy_strerror(rc));
    (void)curl_easy_getinfo(s->easy, CURLINFO_RESPONSE_CODE, &code);
    (void)curl_multi_remove_handle(multi, s->easy);
    if (code >= 300)
        errx(1, "job %d: HTTP %ld: %.200s", s->job, code, s->body);
    switch (s->step) {
    case STEP_SUBMIT:
        if (!member(s->body, "id", s->id, sizeof s->id))
            errx(1, "job %d has no id: %.200s", s->job, s->body);
        s->step = STEP_LOOK;
        send_request(s);
        return;
    case STEP_LOOK:
        if (member(s->body, "status", status, sizeof status) &&
            strcmp(status, "succeeded") == 0)
            s->step = STEP_RESULT;
        send_request(s);
        return;
    case STEP_RESULT:
        ended++;
        next_job(s);
        return;
    }
}

static void
run(void)
{
    CURLMsg *m;
    int running, left;

    while (ended < opts.count) {
        struct slot *s = NULL;

        if (curl_multi_perform(multi, &running) != CURLM_OK ||
            curl_multi_poll(multi, NULL, 0, running ? POLL_MS : 0, NULL) !=
                CURLM_OK)
            errx(1, "libcurl does not go on");
        while ((m = curl_multi_info_read(multi, &left))) {
            CURLcode rc = m->data.result;

            (void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &s);
            on_answer(s, rc);
        }
    }
}

static void
read_options(int argc, char **argv)
{
    int opt;

    while ((opt = getopt(argc, argv, "n:c:p:")) != -1) {
        switch (opt) {
        case 'n':
            opts.count = bench_number(optarg, 1, MAX_COUNT);
            break;
        case 'c':
            opts.connections = bench_number(optarg, 1, MAX_CONNECTIONS);
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
    struct slot *slots;
    int64_t begin;

    read_options(argc, argv);
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK ||
        !(multi = curl_multi_init()) ||
        !(slots = calloc((size_t)opts.connections, sizeof *slots)))
        errx(1, "libcurl does not start");
    (void)curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS,
                            (long)opts.connections);
    begin = bench_now_ns();
    for (int i = 0; i < opts.connections; i++) {
        struct slot *s = &slots[i];

        s->easy = curl_easy_init();
        if (!s->easy)
            errx(1, "libcurl does not start");
        (void)curl_easy_setopt(s->easy, CURLOPT_PRIVATE, s);
        (void)curl_easy_setopt(s->easy, CURLOPT_WRITEFUNCTION, on_body);
        (void)curl_easy_setopt(s->easy, CURLOPT_WRITEDATA, s);
        (void)curl_easy_setopt(s->easy, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
        (void)curl_easy_setopt(s->easy, CURLOPT_XOAUTH2_BEARER, opts.key);
        next_job(s);
    }
    run();
    bench_print_rate(opts.count, bench_now_ns() - begin);
    return 0;
}
