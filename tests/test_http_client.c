#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/io/http_client.h"
#include "tests/fake_server.h"

#include <time.h>

enum { WAIT_MS = 20000 };

struct http_client_fixture {
    struct fake_server server;
    struct loop *loop;
    struct http *http;
};

struct answer {
    unsigned count;
    bool done;
    int status;
    int64_t retry_after_ms;
    char body[512], type[64];
    size_t len;
    enum err_code code;
    char msg[256];
};

static int
group_setup(void **state)
{
    struct http_client_fixture *f = MEM_NEW(struct http_client_fixture);

    fake_start(&f->server, "secutools");
    *state = f;
    return 0;
}

static int
group_teardown(void **state)
{
    struct http_client_fixture *f = *state;

    fake_stop(&f->server);
    mem_free(f);
    return 0;
}

static int
setup(void **state)
{
    static const struct http_conf conf = {
        .max_connections = 4, .connect_timeout_ms = 5000, .ca_file = ""};
    struct http_client_fixture *f = *state;
    struct err e;

    assert_int_equal(loop_open(&f->loop, &e), 0);
    assert_int_equal(http_open(&f->http, f->loop, &conf, &e), 0);
    return 0;
}

static int
teardown(void **state)
{
    struct http_client_fixture *f = *state;

    http_close(f->http);
    loop_close(f->loop);
    return 0;
}

static void
on_answer(void *ctx, const struct http_response *r, const struct err *e)
{
    struct answer *a = ctx;
    const char *type;

    assert_true((r != NULL) != (e != NULL));
    a->count++;
    a->done = true;
    if (e) {
        a->code = e->code;
        (void)str_copy(a->msg, sizeof a->msg, e->msg);
        return;
    }
    a->status = r->status;
    a->retry_after_ms = r->retry_after_ms;
    a->len = r->len;
    (void)str_copy(a->body, sizeof a->body, r->body);
    type = http_header(r, "content-type");
    (void)str_copy(a->type, sizeof a->type, type ? type : "");
}

/* A request with the stand-in's key; the answer comes to a. */
static struct http_call *
send_to(struct http_client_fixture *f, const char *method, const char *path,
        const char *key, const char *body, struct answer *a)
{
    char url[256], header[128];
    const char *headers[] = {header, "Content-Type: application/json", NULL};
    struct http_request q = {.method = method,
                             .url = url,
                             .headers = key ? headers : NULL,
                             .secret = "secret",
                             .body = body,
                             .len = body ? strlen(body) : 0,
                             .timeout_ms = 5000,
                             .max_body = 100000};

    (void)snprintf(url, sizeof url, "%s%s", f->server.url, path);
    (void)snprintf(header, sizeof header, "Idempotency-Key: %s",
                   key ? key : "");
    return http_send(f->http, &q, on_answer, a);
}

static struct answer
ask(struct http_client_fixture *f, const char *method, const char *path,
    const char *key, const char *body)
{
    struct answer a = {0};

    (void)send_to(f, method, path, key, body, &a);
    assert_false(a.done); /* never from inside the call */
    assert_true(loop_until(f->loop, &a.done, WAIT_MS));
    return a;
}

static void
a_request_is_answered(void **state)
{
    struct answer a = ask(*state, "GET", "/healthz", NULL, NULL);

    assert_int_equal(a.status, 200);
    assert_string_equal(a.body, "{\"status\":\"ok\"}");
    assert_string_equal(a.type, "application/json");
    assert_int_equal(a.retry_after_ms, -1);
}

static void
a_body_headers_and_the_token_arrive(void **state)
{
    struct answer a =
        ask(*state, "POST", "/v1/jobs", "one:0", "{\"prompt\":\"[cost=0.5]\"}");

    assert_int_equal(a.status, 202);
    assert_non_null(strstr(a.body, "\"amount\":\"0.5\""));
}

static void
a_refusal_is_an_answer(void **state)
{
    struct answer a = ask(*state, "POST", "/v1/jobs", NULL, "{}");

    assert_int_equal(a.status, 400);
    assert_int_equal(a.code, ERR_NONE);
}

static void
both_forms_of_retry_after_are_read(void **state)
{
    struct answer a = ask(*state, "POST", "/v1/jobs", "later:0",
                          "{\"prompt\":\"[submit=429@7,503@date]\"}");

    assert_int_equal(a.status, 429);
    assert_int_equal(a.retry_after_ms, 7000);
    a = ask(*state, "POST", "/v1/jobs", "later:0",
            "{\"prompt\":\"[submit=429@7,503@date]\"}");
    assert_int_equal(a.status, 503);
    assert_true(a.retry_after_ms >= 0 && a.retry_after_ms <= 2000);
}

static void
a_connection_that_breaks_is_told(void **state)
{
    struct answer a = ask(*state, "POST", "/v1/jobs", "reset:0",
                          "{\"prompt\":\"[submit=reset]\"}");

    assert_int_equal(a.code, ERR_UNAVAILABLE);
    assert_null(strstr(a.msg, "secret"));
    a = ask(*state, "POST", "/v1/jobs", "cut:0",
            "{\"prompt\":\"[submit=cut]\"}");
    assert_int_equal(a.code, ERR_UNAVAILABLE);
}

static void
nobody_there_is_told(void **state)
{
    struct http_client_fixture *f = *state;
    struct http_request q = {.method = "GET",
                             .url = "http://127.0.0.1:1/",
                             .timeout_ms = 5000,
                             .max_body = 10};
    struct answer a = {0};

    (void)http_send(f->http, &q, on_answer, &a);
    assert_true(loop_until(f->loop, &a.done, WAIT_MS));
    assert_int_equal(a.code, ERR_UNAVAILABLE);
    q.url = "ftp://127.0.0.1/";
    a = (struct answer){0};
    (void)http_send(f->http, &q, on_answer, &a);
    assert_true(loop_until(f->loop, &a.done, WAIT_MS));
    assert_int_equal(a.code, ERR_INVALID);
}

static void
an_answer_that_takes_too_long_is_given_up(void **state)
{
    struct http_client_fixture *f = *state;
    char url[128];
    const char *headers[] = {"Idempotency-Key: slow:0", NULL};
    struct http_request q = {.method = "POST",
                             .url = url,
                             .headers = headers,
                             .secret = "secret",
                             .body = "{\"prompt\":\"[submit=slow]\"}",
                             .len = strlen("{\"prompt\":\"[submit=slow]\"}"),
                             .timeout_ms = 200,
                             .max_body = 100000};
    struct answer a = {0};

    (void)snprintf(url, sizeof url, "%s/v1/jobs", f->server.url);
    (void)http_send(f->http, &q, on_answer, &a);
    assert_true(loop_until(f->loop, &a.done, WAIT_MS));
    assert_int_equal(a.code, ERR_TIMEOUT);
    q.timeout_ms = 10000; /* slow, but in time */
    a = (struct answer){0};
    (void)http_send(f->http, &q, on_answer, &a);
    assert_true(loop_until(f->loop, &a.done, WAIT_MS));
    assert_int_equal(a.status, 200);
}

static void
an_answer_that_is_too_long_is_an_error(void **state)
{
    struct http_client_fixture *f = *state;
    struct answer a =
        ask(f, "POST", "/v1/jobs", "big:0", "{\"prompt\":\"[size=200000]\"}");
    char path[64];
    const char *id = strstr(a.body, "job-");

    assert_non_null(id);
    (void)snprintf(path, sizeof path, "/v1/jobs/%.*s/result",
                   (int)strcspn(id, "\""), id);
    a = ask(f, "GET", path, NULL, NULL);
    assert_int_equal(a.code, ERR_INVALID);
    assert_non_null(strstr(a.msg, "longer than 100000 bytes"));
}

static void
many_requests_share_few_connections(void **state)
{
    struct http_client_fixture *f = *state;
    struct answer *all = mem_zero(2000, sizeof *all);

    for (int i = 0; i < 2000; i++)
        (void)send_to(f, "GET", "/healthz", NULL, NULL, &all[i]);
    assert_int_equal(http_pending(f->http), 2000);
    for (int i = 0; i < 2000; i++)
        assert_true(loop_until(f->loop, &all[i].done, WAIT_MS));
    for (int i = 0; i < 2000; i++) {
        assert_int_equal(all[i].count, 1);
        assert_int_equal(all[i].status, 200);
    }
    assert_int_equal(http_pending(f->http), 0);
    mem_free(all);
}

static void
what_waits_for_a_connection_costs_no_time(void **state)
{
    struct http_client_fixture *f = *state;
    struct answer all[8] = {{0}};
    char key[16];
    clock_t begin;

    for (int i = 0; i < 8; i++) {
        (void)snprintf(key, sizeof key, "idle:%d", i);
        (void)send_to(f, "POST", "/v1/jobs", key,
                      "{\"prompt\":\"[submit=slow]\"}", &all[i]);
    }
    begin = clock();
    for (int i = 0; i < 8; i++)
        assert_true(loop_until(f->loop, &all[i].done, WAIT_MS));
    /* They took three seconds, of which we have used hardly any. */
    assert_true(clock() - begin < CLOCKS_PER_SEC);
}

static void
a_token_may_have_a_header_of_its_own(void **state)
{
    struct http_client_fixture *f = *state;
    char url[128];
    struct http_request q = {.method = "GET",
                             .url = url,
                             .secret = "Bearer secret",
                             .secret_header = "authorization-2",
                             .timeout_ms = 5000,
                             .max_body = 100000};
    struct answer a = {0};

    (void)snprintf(url, sizeof url, "%s/v1/jobs/none", f->server.url);
    (void)http_send(f->http, &q, on_answer, &a);
    assert_true(loop_until(f->loop, &a.done, WAIT_MS));
    assert_int_equal(a.status, 401); /* it looks at Authorization */
    q.secret_header = "AUTHORIZATION";
    q.secret = "secret";
    a = (struct answer){0};
    (void)http_send(f->http, &q, on_answer, &a);
    assert_true(loop_until(f->loop, &a.done, WAIT_MS));
    assert_int_equal(a.status, 404);
}

static void
a_cancelled_request_is_not_told(void **state)
{
    struct http_client_fixture *f = *state;
    struct answer gone[8] = {{0}}, a = {0};
    struct http_call *calls[8];

    for (int i = 0; i < 8; i++) /* some under way, some waiting */
        calls[i] = send_to(f, "POST", "/v1/jobs", "cancel:0",
                           "{\"prompt\":\"[submit=slow]\"}", &gone[i]);
    a = ask(f, "GET", "/healthz", NULL, NULL);
    assert_int_equal(a.status, 200);
    for (int i = 0; i < 8; i++)
        if (!gone[i].done)
            http_cancel(calls[i]);
    a = ask(f, "GET", "/healthz", NULL, NULL);
    assert_int_equal(a.status, 200);
    assert_int_equal(http_pending(f->http), 0);
}

static void
closing_drops_what_is_under_way(void **state)
{
    struct http_client_fixture *f = *state;
    struct answer gone[8] = {{0}};

    for (int i = 0; i < 8; i++)
        (void)send_to(f, "POST", "/v1/jobs", "close:0",
                      "{\"prompt\":\"[submit=slow]\"}", &gone[i]);
    (void)ask(f, "GET", "/healthz", NULL, NULL);
    /* teardown closes; the sanitizers look for what is left */
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_request_is_answered),
        T(a_body_headers_and_the_token_arrive),
        T(a_refusal_is_an_answer),
        T(both_forms_of_retry_after_are_read),
        T(a_connection_that_breaks_is_told),
        T(nobody_there_is_told),
        T(an_answer_that_takes_too_long_is_given_up),
        T(an_answer_that_is_too_long_is_an_error),
        T(many_requests_share_few_connections),
        T(what_waits_for_a_connection_costs_no_time),
        T(a_token_may_have_a_header_of_its_own),
        T(a_cancelled_request_is_not_told),
        T(closing_drops_what_is_under_way),
    };

    mem_setup();
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
