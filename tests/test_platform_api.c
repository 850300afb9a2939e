#include "workers/secutools/platform_api.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *none[] = {NULL};

static struct platform_api_conf
defaults(void)
{
    return (struct platform_api_conf){
        .url = (char *)"https://ai.example/base/",
        .submit_path = (char *)"/v1/jobs",
        .job_path = (char *)"/v1/jobs/{id}",
        .result_path = (char *)"/v1/jobs/{id}/result",
        .cancel_path = (char *)"/v1/jobs/{id}/cancel",
        .key_header = (char *)"Idempotency-Key",
        .request_header = (char *)"X-Request-Id",
        .auth_header = (char *)"Authorization",
        .wait_parameter = (char *)"wait",
        .callback_url = (char *)"",
        .request_fields = none,
        .fields = none,
        .status_words = none,
    };
}

struct platform_api_fixture {
    struct platform_api_conf conf;
    struct platform_api *c;
    struct mem_pool *pool;
};

static int
setup(void **state)
{
    struct platform_api_fixture *f = MEM_NEW(struct platform_api_fixture);
    struct err e;

    f->conf = defaults();
    assert_int_equal(platform_api_open(&f->c, &f->conf, &e), 0);
    f->pool = mem_pool_new();
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct platform_api_fixture *f = *state;

    platform_api_close(f->c);
    mem_pool_free(f->pool);
    mem_free(f);
    return 0;
}

static int
read_job(struct platform_api_fixture *f, const char *body, struct job_view *out,
         struct err *e)
{
    return platform_api_read_job(f->c, body, strlen(body), f->pool, out, e);
}

/* --- the configuration ------------------------------------------------------
 */

static void
a_bad_configuration_is_refused_with_key_and_remedy(void **state)
{
    char *bad_field[] = {(char *)"state=status", NULL};
    char *bad_word[] = {(char *)"ready=finished", NULL};
    static const struct {
        size_t offset;
        const char *value, *key;
    } rows[] = {
        {offsetof(struct platform_api_conf, url), "ai.example",
         "secutools.url"},
        {offsetof(struct platform_api_conf, url), "https://me:pw@ai.example",
         "no credentials"},
        {offsetof(struct platform_api_conf, job_path), "/v1/jobs", "job_path"},
        {offsetof(struct platform_api_conf, submit_path), "v1/jobs",
         "submit_path"},
    };
    struct platform_api_conf conf;
    struct platform_api *c;
    struct err e;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        conf = defaults();
        *(char **)((char *)&conf + rows[i].offset) = (char *)rows[i].value;
        assert_int_equal(platform_api_open(&c, &conf, &e), -1);
        assert_non_null(strstr(e.msg, rows[i].key));
        assert_null(strstr(e.msg, "pw@"));
    }
    conf = defaults();
    conf.fields = bad_field;
    assert_int_equal(platform_api_open(&c, &conf, &e), -1);
    assert_non_null(strstr(e.msg, "state=status"));
    conf = defaults();
    conf.status_words = bad_word;
    assert_int_equal(platform_api_open(&c, &conf, &e), -1);
    assert_non_null(strstr(e.msg, "ready=finished"));
}

static void
addresses_hold_an_escaped_id(void **state)
{
    struct platform_api_fixture *f = *state;
    struct str s = {0};

    platform_api_url(f->c, CALL_SUBMIT, NULL, &s);
    assert_string_equal(str_text(&s), "https://ai.example/base/v1/jobs");
    str_reset(&s);
    platform_api_url(f->c, CALL_RESULT, "a/../b?c#d", &s);
    assert_string_equal(str_text(&s), "https://ai.example/base/v1/jobs/"
                                      "a%2F%2E%2E%2Fb%3Fc%23d/result");
    str_free(&s);
}

static void
the_key_is_the_same_until_an_attempt_has_failed(void **state)
{
    char a[PLATFORM_API_KEY_SIZE], b[PLATFORM_API_KEY_SIZE];

    (void)state;
    platform_api_key("5kq3", 0, a);
    platform_api_key("5kq3", 1, b);
    assert_string_equal(a, "5kq3:0");
    assert_string_equal(b, "5kq3:1");
}

static void
a_request_says_what_the_task_says(void **state)
{
    struct platform_api_fixture *f = *state;
    struct delegation d = {
        .preferred_ai = "", .complexity_hint = "high", .max_cost_usd = "0.50"};
    struct task t = {.id = "5kq3",
                     .name = "summary",
                     .project = "",
                     .team = "trade-ideas",
                     .repo = "",
                     .branch = "",
                     .origin = "",
                     .prompt = "Say \"hi\"\nnow",
                     .priority = 12,
                     .timeout_ms = 1500,
                     .delegation = &d};
    struct str s = {0};
    json_t *o;

    platform_api_request(f->c, &t, "gpu", "5kq3:0", &s);
    o = json_loads(str_text(&s), 0, NULL);
    assert_non_null(o);
#define TEXT(key) json_string_value(json_object_get(o, key))
    assert_string_equal(TEXT("task_id"), "5kq3");
    assert_null(TEXT("callback_url"));
    assert_string_equal(TEXT("provider"), "gpu");
    assert_string_equal(TEXT("prompt"), "Say \"hi\"\nnow");
    assert_string_equal(TEXT("complexity_hint"), "high");
    assert_string_equal(TEXT("max_cost_usd"), "0.50");
#undef TEXT
    assert_int_equal(json_integer_value(json_object_get(o, "priority")), 9);
    assert_int_equal(json_integer_value(json_object_get(o, "timeout_s")), 2);
    assert_string_equal(json_string_value(json_object_get(
                            json_object_get(o, "metadata"), "team")),
                        "trade-ideas");
    json_decref(o);
    str_free(&s);
}

static void
a_platform_may_call_the_fields_otherwise(void **state)
{
    static char prompt[] = "prompt=input", hint[] = "complexity_hint=";
    static char *renamed[] = {prompt, hint, NULL};
    static char bad[] = "prmpt=x", bad_header[] = "X Key";
    static char *wrong[] = {bad, NULL};
    struct delegation d = {
        .preferred_ai = "", .complexity_hint = "high", .max_cost_usd = ""};
    struct task t = {.id = "5kq3",
                     .name = "",
                     .project = "",
                     .team = "",
                     .repo = "",
                     .branch = "",
                     .origin = "",
                     .prompt = "hi",
                     .delegation = &d};
    struct platform_api_conf conf = defaults();
    struct platform_api *c;
    struct str s = {0};
    struct err e;
    json_t *o;

    (void)state;
    conf.request_fields = renamed;
    conf.callback_url = (char *)"https://hooks.example/shunt";
    assert_int_equal(platform_api_open(&c, &conf, &e), 0);
    platform_api_request(c, &t, "gpu", "5kq3:0", &s);
    o = json_loads(str_text(&s), 0, NULL);
    assert_string_equal(json_string_value(json_object_get(o, "input")), "hi");
    assert_null(json_object_get(o, "prompt"));
    assert_null(json_object_get(o, "complexity_hint"));
    assert_string_equal(json_string_value(json_object_get(o, "callback_url")),
                        "https://hooks.example/shunt/5kq3:0");
    json_decref(o);
    str_free(&s);
    platform_api_close(c);
    conf.request_fields = wrong;
    assert_int_equal(platform_api_open(&c, &conf, &e), -1);
    assert_non_null(strstr(e.msg, "prmpt=x"));
    conf = defaults();
    conf.auth_header = bad_header;
    assert_int_equal(platform_api_open(&c, &conf, &e), -1);
    assert_non_null(strstr(e.msg, "secutools.auth_header"));
}

/* --- answers ----------------------------------------------------------------
 */

static void
a_job_is_read_whole(void **state)
{
    struct platform_api_fixture *f = *state;
    struct job_view v;
    struct err e;

    assert_int_equal(
        read_job(f,
                 "{\"id\":\"j-1\",\"status\":\"Completed\",\"provider\":"
                 "\"gemini\",\"model\":\"m\",\"queue_ms\":5,\"run_ms\":70,"
                 "\"usage\":{\"input_tokens\":3,\"output_tokens\":4},"
                 "\"cost\":{\"amount\":\"0.0123\",\"currency\":\"USD\","
                 "\"estimated\":true},\"later\":[1,{}]}",
                 &v, &e),
        0);
    assert_string_equal(v.id, "j-1");
    assert_int_equal(v.status, JOB_SUCCEEDED);
    assert_string_equal(v.word, "Completed");
    assert_string_equal(v.provider, "gemini");
    assert_string_equal(v.model, "m");
    assert_string_equal(v.cost_usd, "0.012300");
    assert_true(v.cost_estimated);
    assert_int_equal(v.queue_ms, 5);
    assert_int_equal(v.run_ms, 70);
    assert_int_equal(v.input_tokens, 3);
    assert_int_equal(v.output_tokens, 4);
}

static void
words_for_a_status(void **state)
{
    static const struct {
        const char *word;
        enum job_status status;
    } rows[] = {
        {"queued", JOB_QUEUED},       {"PENDING", JOB_QUEUED},
        {"in_progress", JOB_RUNNING}, {"succeeded", JOB_SUCCEEDED},
        {"done", JOB_SUCCEEDED},      {"TIMED_OUT", JOB_FAILED},
        {"expired", JOB_FAILED},      {"canceled", JOB_CANCELLED},
        {"daydreaming", JOB_RUNNING},
    };
    struct platform_api_fixture *f = *state;
    struct job_view v;
    struct err e;
    char body[128];

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        (void)snprintf(body, sizeof body, "{\"id\":\"j\",\"status\":\"%s\"}",
                       rows[i].word);
        assert_int_equal(read_job(f, body, &v, &e), 0);
        assert_int_equal(v.status, rows[i].status);
    }
}

static void
fields_and_words_can_be_others(void **state)
{
    char *fields[] = {(char *)"id=data.uuid", (char *)"status=data.state",
                      (char *)"cost=price", NULL};
    char *words[] = {(char *)"ready=succeeded", (char *)"done=failed", NULL};
    struct platform_api_fixture *f = *state;
    struct platform_api_conf conf = defaults();
    struct platform_api *c;
    struct job_view v;
    struct err e;
    static const char body[] = "{\"data\":{\"uuid\":77,\"state\":\"READY\"},"
                               "\"price\":0.25}";
    static const char done[] = "{\"data\":{\"uuid\":77,\"state\":\"done\"}}";

    conf.fields = fields;
    conf.status_words = words;
    assert_int_equal(platform_api_open(&c, &conf, &e), 0);
    assert_int_equal(
        platform_api_read_job(c, body, sizeof body - 1, f->pool, &v, &e), 0);
    assert_string_equal(v.id, "77");
    assert_int_equal(v.status, JOB_SUCCEEDED);
    assert_string_equal(v.cost_usd, "0.250000");
    assert_int_equal(
        platform_api_read_job(c, done, sizeof done - 1, f->pool, &v, &e), 0);
    assert_int_equal(v.status, JOB_FAILED);
    platform_api_close(c);
}

static void
money_of_another_currency_is_not_taken_for_dollars(void **state)
{
    struct platform_api_fixture *f = *state;
    struct job_view v;
    struct err e;

    assert_int_equal(read_job(f,
                              "{\"id\":\"j\",\"status\":\"done\",\"cost\":{"
                              "\"amount\":\"5\",\"currency\":\"JPY\"}}",
                              &v, &e),
                     0);
    assert_string_equal(v.cost_usd, "");
    assert_int_equal(read_job(f,
                              "{\"id\":\"j\",\"status\":\"done\",\"cost\":{"
                              "\"amount\":\"-5\"}}",
                              &v, &e),
                     0);
    assert_string_equal(v.cost_usd, "");
}

static void
nonsense_is_an_error(void **state)
{
    static const char *const rows[] = {
        "",
        "{",
        "[]",
        "<html>",
        "{\"id\":\"j\"}",
        "{\"status\":\"done\"}",
        "{\"id\":\"a b\",\"status\":\"done\"}",
        "{\"id\":\"a\\nb\",\"status\":\"done\"}",
        "{\"id\":\"\",\"status\":\"done\"}",
        "{\"id\":{},\"status\":\"done\"}",
        "{\"id\":\"j\",\"id\":\"k\",\"status\":\"done\"}",
        "{\"id\":\"j\\u0000k\",\"status\":\"done\"}",
    };
    struct platform_api_fixture *f = *state;
    struct job_view v;
    struct err e;
    char long_id[PLATFORM_API_ID_MAX + 64];

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (read_job(f, rows[i], &v, &e) == 0)
            fail_msg("%s", rows[i]);
    (void)snprintf(long_id, sizeof long_id,
                   "{\"id\":\"%0*d\",\"status\":\"done\"}", PLATFORM_API_ID_MAX,
                   1);
    assert_int_equal(read_job(f, long_id, &v, &e), 0);
    (void)snprintf(long_id, sizeof long_id,
                   "{\"id\":\"%0*d\",\"status\":\"done\"}",
                   PLATFORM_API_ID_MAX + 1, 1);
    assert_int_equal(read_job(f, long_id, &v, &e), -1);
}

static void
a_result_is_text_or_the_json_it_is(void **state)
{
    struct platform_api_fixture *f = *state;
    struct bytes out;
    struct err e;
    static const char text[] = "{\"output\":\"hello\"}";
    static const char object[] = "{\"output\":{\"a\":1}}";

    assert_int_equal(platform_api_read_result(f->c, text, sizeof text - 1,
                                              f->pool, &out, &e),
                     0);
    assert_int_equal(out.len, 5);
    assert_memory_equal(out.data, "hello", 5);
    assert_int_equal(platform_api_read_result(f->c, object, sizeof object - 1,
                                              f->pool, &out, &e),
                     0);
    assert_string_equal((const char *)out.data, "{\n  \"a\": 1\n}");
    assert_int_equal(platform_api_read_result(f->c, "{}", 2, f->pool, &out, &e),
                     -1);
    assert_non_null(strstr(e.msg, "output"));
}

static void
errors_are_told_in_a_line(void **state)
{
    static const struct {
        const char *body, *want;
    } rows[] = {
        {"{\"error\":{\"code\":\"budget_exceeded\",\"message\":\"no money\"}}",
         "HTTP 402: no money (budget_exceeded)"},
        {"{\"error\":\"plain\"}", "HTTP 402: plain"},
        {"{\"message\":\"two\\nlines\"}", "HTTP 402: two lines"},
        {"{\"error\":{\"type\":\"t\"}}", "HTTP 402: t"},
        {"<html>", "HTTP 402"},
        {"", "HTTP 402"},
    };
    struct platform_api_fixture *f = *state;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_string_equal(platform_api_read_error(402, rows[i].body,
                                                    strlen(rows[i].body),
                                                    f->pool),
                            rows[i].want);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_bad_configuration_is_refused_with_key_and_remedy),
        T(addresses_hold_an_escaped_id),
        T(the_key_is_the_same_until_an_attempt_has_failed),
        T(a_request_says_what_the_task_says),
        T(a_platform_may_call_the_fields_otherwise),
        T(a_job_is_read_whole),
        T(words_for_a_status),
        T(fields_and_words_can_be_others),
        T(money_of_another_currency_is_not_taken_for_dollars),
        T(nonsense_is_an_error),
        T(a_result_is_text_or_the_json_it_is),
        T(errors_are_told_in_a_line),
    };

    mem_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
