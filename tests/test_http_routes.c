#include "tests/ledger_fixture.h"

#include "reaper/http/routes.h"

#define TOKEN "correct-horse-battery"

/* --- asking --------------------------------------------------------------- */

static struct http_health health;

static void
health_of(void *ctx, struct http_health *out)
{
    (void)ctx;
    *out = health;
}

static struct http_routes *
open_site(struct ledger_fixture *l, const char *token)
{
    struct http_routes_parts parts = {
        .query = {.db = l->db, .presence = l->presence},
        .token = token,
        .health = health_of,
    };
    struct http_routes *s = NULL;
    struct err e = {0};

    health = (struct http_health){true, true, true, false};
    assert_int_equal(http_routes_open(&s, &parts, &e), 0);
    return s;
}

/* A request without faults for path. */
static struct http_routes_request
to(const char *path)
{
    return (struct http_routes_request){.method = "GET",
                                        .path = path,
                                        .uri_len = strlen(path),
                                        .n_hosts = 1,
                                        .host = "127.0.0.1:80"};
}

/* The status; the JSON, if it is wanted, is the caller's. */
static unsigned
ask(struct http_routes *s, const struct http_routes_request *r, json_t **body)
{
    struct http_routes_response page;
    json_t *o;

    http_routes_answer(s, r, &page);
    assert_non_null(page.type);
    assert_true(page.body.len > 0);
    if (strncmp(page.type, "application/json", 16) == 0) {
        o = json_loadb(page.body.data, page.body.len, 0, NULL);
        assert_true(json_is_object(o));
        assert_true((page.status == 200 || page.status == 503) ||
                    json_object_get(o, "error"));
        if (body)
            *body = json_incref(o);
        json_decref(o);
    }
    str_free(&page.body);
    return page.status;
}

static unsigned
status_of(struct http_routes *s, const char *path)
{
    struct http_routes_request r = to(path);

    return ask(s, &r, NULL);
}

static void
add(struct ledger_fixture *l, const char *id, const char *name)
{
    struct task_state row;
    struct err e = {0};

    fold_init(&row, id);
    row.state = STATE_SUCCEEDED;
    row.name = name;
    if (db_begin(l->db, &e) < 0 || db_put_task(l->db, &row, DB_WHOLE, &e) < 0 ||
        db_commit(l->db, &e) < 0)
        fail_msg("%s", e.msg);
}

/* --- pages ---------------------------------------------------------------- */

static void
every_page_is_there_and_no_other(void **state)
{
    static const char *const pages[] = {
        "/healthz",        "/readyz",         "/metrics",
        "/api/v1/tasks",   "/api/v1/workers", "/api/delegated/status",
        "/watchdog/status"};
    static const char *const none[] = {
        "/",         "",         "/healthz/",      "/api/v1/tasks/",
        "/metricsx", "/api/v1/", "/api/v1/tasks2", "*"};
    struct http_routes *s = open_site(*state, NULL);

    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
        assert_int_equal(status_of(s, pages[i]), 200);
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_int_equal(status_of(s, none[i]), 404);
    http_routes_close(s);
}

static void
readiness_needs_broker_and_database(void **state)
{
    static const struct http_health bad[] = {{false, true, true, false},
                                             {true, false, true, false},
                                             {true, true, false, false},
                                             {true, true, true, true}};
    struct http_routes *s = open_site(*state, NULL);

    assert_int_equal(status_of(s, "/readyz"), 200);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        health = bad[i];
        assert_int_equal(status_of(s, "/readyz"), 503);
        assert_int_equal(status_of(s, "/healthz"), 200);
    }
    http_routes_close(s);
}

static void
a_task_is_found_by_id_prefix_and_name(void **state)
{
    struct ledger_fixture *l = *state;
    struct http_routes *s = open_site(l, NULL);
    json_t *o = NULL;
    struct http_routes_request r = to("/api/v1/tasks/my/job");

    add(l, "abc1", "first");
    add(l, "abc2", "my/job");
    assert_int_equal(ask(s, &r, &o), 200);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(o, "task"), "id")),
        "abc2");
    json_decref(o);
    assert_int_equal(status_of(s, "/api/v1/tasks/abc1"), 200);
    assert_int_equal(status_of(s, "/api/v1/tasks/abc"), 409);
    assert_int_equal(status_of(s, "/api/v1/tasks/xyz"), 404);
    assert_int_equal(status_of(s, "/api/v1/tasks/\xff"), 400);
    http_routes_close(s);
}

static size_t
page_of(struct http_routes *s, const char *limit, const char *before,
        json_int_t *next)
{
    json_t *query = json_pack("{s:s, s:s}", "limit", limit, "before", before);
    struct http_routes_request r = to("/api/v1/tasks");
    json_t *o = NULL;
    size_t n;

    r.query = query;
    assert_int_equal(ask(s, &r, &o), 200);
    n = json_array_size(json_object_get(o, "tasks"));
    *next = json_integer_value(json_object_get(o, "next"));
    json_decref(o);
    json_decref(query);
    return n;
}

static void
the_list_comes_in_pages(void **state)
{
    struct ledger_fixture *l = *state;
    struct http_routes *s = open_site(l, NULL);
    json_int_t next = 0;
    char id[16], text[32];

    for (int i = 0; i < 5; i++) {
        (void)snprintf(id, sizeof id, "task%d", i);
        add(l, id, "");
    }
    assert_int_equal(page_of(s, "3", "0", &next), 3);
    assert_true(next > 0);
    (void)snprintf(text, sizeof text, "%lld", (long long)next);
    assert_int_equal(page_of(s, "3", text, &next), 2);
    assert_int_equal(next, 0);
    http_routes_close(s);
}

static void
bad_parameters_are_refused(void **state)
{
    static const char *const bad[][2] = {
        {"limit", "-1"},  {"limit", "201"},        {"limit", "x"},
        {"before", "-1"}, {"state", "no-such"},    {"nonsense", "1"},
        {"limit", ""},    {"state", "running,bad"}};
    struct http_routes_request r = to("/api/v1/tasks");
    struct http_routes *s = open_site(*state, NULL);
    json_t *query;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        query = json_pack("{s:s}", bad[i][0], bad[i][1]);
        r.query = query;
        assert_int_equal(ask(s, &r, NULL), 400);
        json_decref(query);
    }
    query = json_pack("{s:s}", "state", "running,succeeded,");
    r.query = query;
    assert_int_equal(ask(s, &r, NULL), 200);
    json_decref(query);
    query = json_pack("{s:s}", "batch", "none");
    r.query = query;
    assert_int_equal(ask(s, &r, NULL), 404);
    json_decref(query);
    http_routes_close(s);
}

static void
what_looks_at_everything_is_made_once_a_second(void **state)
{
    struct ledger_fixture *l = *state;
    struct http_routes *s = open_site(l, NULL);
    struct http_routes_request r = to("/metrics");
    struct http_routes_response first, second;

    http_routes_answer(s, &r, &first);
    if (db_begin(l->db, &(struct err){0}) < 0)
        fail();
    db_count(l->db, "", "tasks", 1);
    assert_int_equal(db_commit(l->db, &(struct err){0}), 0);
    http_routes_answer(s, &r, &second);
    assert_string_equal(first.body.data, second.body.data);
    assert_string_equal(first.type, second.type);
    str_free(&first.body);
    str_free(&second.body);
    http_routes_close(s);
}

/* --- who may ask ---------------------------------------------------------- */

static void
only_get_and_head_without_a_body(void **state)
{
    static const char *const methods[] = {"POST",    "PUT",   "DELETE",
                                          "OPTIONS", "PATCH", "get"};
    struct http_routes *s = open_site(*state, NULL);
    struct http_routes_request r = to("/healthz");

    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        r.method = methods[i];
        assert_int_equal(ask(s, &r, NULL), 405);
    }
    r.method = "HEAD";
    assert_int_equal(ask(s, &r, NULL), 200);
    r.has_body = true;
    assert_int_equal(ask(s, &r, NULL), 413);
    r.has_body = false;
    r.uri_len = HTTP_ROUTES_URI_MAX;
    assert_int_equal(ask(s, &r, NULL), 200);
    r.uri_len = HTTP_ROUTES_URI_MAX + 1;
    assert_int_equal(ask(s, &r, NULL), 414);
    http_routes_close(s);
}

static void
a_foreign_name_for_us_is_refused(void **state)
{
    static const char *const ours[] = {
        "127.0.0.1", "127.0.0.1:80", "localhost",  "LOCALHOST:8080",
        "[::1]",     "[::1]:80",     "192.0.2.7:1"};
    static const char *const foreign[] = {"",
                                          "evil.example",
                                          "evil.example:80",
                                          "localhost.evil",
                                          "127.0.0.1.evil.example",
                                          "[::1",
                                          "[::1]x",
                                          "::1",
                                          "127.0.0.1:80x",
                                          "[localhost]",
                                          "localhost:80:1",
                                          "[fe80::1]@evil.example",
                                          "0x7f000001",
                                          "localhost."};
    struct http_routes *s = open_site(*state, NULL);
    struct http_routes_request r = to("/healthz");

    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        r.host = ours[i];
        if (ask(s, &r, NULL) != 200)
            fail_msg("%s is refused", ours[i]);
    }
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        r.host = foreign[i];
        if (ask(s, &r, NULL) != 403)
            fail_msg("%s is let in", foreign[i]);
    }
    r.host = NULL;
    r.n_hosts = 0;
    assert_int_equal(ask(s, &r, NULL), 400);
    r.host = "127.0.0.1";
    r.n_hosts = 2;
    assert_int_equal(ask(s, &r, NULL), 400);
    http_routes_close(s);
}

static void
with_a_token_only_probes_go_without(void **state)
{
    static const char *const wrong[] = {NULL,
                                        "",
                                        "Bearer",
                                        "Bearer ",
                                        "Bearer x",
                                        TOKEN,
                                        "Basic " TOKEN,
                                        "Bearer " TOKEN "x",
                                        "Bearer orrect-horse-battery",
                                        "Bearer " TOKEN " "};
    struct http_routes *s = open_site(*state, TOKEN);
    struct http_routes_request r = to("/metrics");

    r.host = "shunt.example"; /* any name: it is behind a proxy */
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        r.authorization = wrong[i];
        assert_int_equal(ask(s, &r, NULL), 401);
    }
    r.authorization = "Bearer " TOKEN;
    assert_int_equal(ask(s, &r, NULL), 200);
    r.authorization = "bearer  " TOKEN;
    assert_int_equal(ask(s, &r, NULL), 200);
    r.authorization = NULL;
    r.path = "/no-such-page"; /* nor what there is */
    assert_int_equal(ask(s, &r, NULL), 401);
    r.path = "/healthz";
    assert_int_equal(ask(s, &r, NULL), 200);
    r.path = "/readyz";
    assert_int_equal(ask(s, &r, NULL), 200);
    http_routes_close(s);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(every_page_is_there_and_no_other),
        TEST(readiness_needs_broker_and_database),
        TEST(a_task_is_found_by_id_prefix_and_name),
        TEST(the_list_comes_in_pages),
        TEST(bad_parameters_are_refused),
        TEST(what_looks_at_everything_is_made_once_a_second),
        TEST(only_get_and_head_without_a_body),
        TEST(a_foreign_name_for_us_is_refused),
        TEST(with_a_token_only_probes_go_without),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
