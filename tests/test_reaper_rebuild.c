#include "tests/reaper_fixture.h"

#include "tests/drop_messages.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* --- comparing ledgers ---------------------------------------------------- */

/* Adds the name and text of every file below dir, in order of their names. */
static void
add_files(const char *dir, struct str *out)
{
    struct dirent **list;
    int n = scandir(dir, &list, NULL, alphasort);

    for (int i = 0; i < n; i++) {
        const char *name = list[i]->d_name;
        char path[1024];
        struct str text;

        if (*name != '.' && snprintf(path, sizeof path, "%s/%s", dir, name) <
                                (int)sizeof path) {
            str_addf(out, "== %s\n", path);
            if (list[i]->d_type == DT_DIR) {
                add_files(path, out);
            } else {
                text = slurp(path);
                str_add(out, str_text(&text), text.len);
                str_free(&text);
            }
        }
        free(list[i]);
    }
    if (n >= 0)
        free(list);
}

static int64_t
lag_of(const json_t *status)
{
    int64_t sum = 0;
    const char *key;
    json_t *n;

    json_object_foreach(json_object_get(status, "lag"), key, n) sum +=
        json_integer_value(n);
    return sum;
}

/* The counters as text, once everything is folded. */
static char *
settled_counters(struct reaper_fixture *f)
{
    int64_t deadline = loop_now_ms() + LONG_MS;

    while (loop_now_ms() < deadline) {
        json_t *o = question(f, "status", "{}");
        char *text = NULL;

        if (lag_of(o) == 0) {
            json_t *all = json_pack("{s:O, s:O}", "counters",
                                    json_object_get(o, "counters"), "lanes",
                                    json_object_get(o, "lanes"));

            text = json_dumps(all, JSON_SORT_KEYS | JSON_INDENT(1));
            json_decref(all);
        }
        json_decref(o);
        if (text)
            return text;
    }
    fail_msg("the ledger never caught up");
    return NULL;
}

/* All reports, once that many files of the name exist. */
static struct str
settled_reports(struct reaper_fixture *f, const char *last)
{
    struct str text = {0};
    char path[200];

    (void)snprintf(path, sizeof path, "%s/%s", f->root, last);
    text = until_file(f, path);
    str_free(&text);
    stop(f); /* writes what is due */
    add_files(f->root, &text);
    return text;
}

/* --- a day's work --------------------------------------------------------- */

static void
fail_once(struct reaper_fixture *f, const char *id)
{
    uint64_t fence = claim(f, id, 1, "first");
    struct result r;

    fill_result(&r, id, "first", fence);
    r.final = false;
    r.state = STATE_FAILED;
    r.exit_code = 1;
    r.retry_at_ms = 1700000002000;
    end_attempt(f, &r);
    until_counter(f, "retry_wait", 1);
    fence = claim(f, id, 2, "second");
    /* The first worker was alive after all, and reports late. */
    r.final = true;
    r.state = STATE_SUCCEEDED;
    (void)publish(f, "results.local.cli", CODEC_RESULT, &r);
    fill_result(&r, id, "second", fence);
    r.attempt = 2;
    end_attempt(f, &r);
}

static void
reject(struct reaper_fixture *f, const char *id)
{
    struct result r;

    codec_init(CODEC_RESULT, &r);
    r.task = id;
    r.backend = "router";
    r.state = STATE_REJECTED;
    r.final = true;
    r.reason = "no such lane";
    r.finished_at_ms = 1700000000900;
    (void)publish(f, "results.router.cli", CODEC_RESULT, &r);
}

static void
forge(struct reaper_fixture *f, const char *id)
{
    struct result r;

    fill_result(&r, id, "guess", 999);
    (void)publish(f, "results.local.cli", CODEC_RESULT, &r);
}

static void
a_day(struct reaper_fixture *f)
{
    submit(f, "{\"id\": \"t1\", \"name\": \"one\", \"steps\": [\"true\"]}");
    submit(f, "{\"id\": \"t2\", \"name\": \"two\", \"steps\": [\"true\"], "
              "\"retries\": 1}");
    submit(f, "{\"id\": \"t3\", \"name\": \"three\", \"steps\": [\"true\"], "
              "\"hold\": true}");
    submit(f, "{\"id\": \"t4\", \"name\": \"four\", \"steps\": [\"true\"]}");
    submit(f, "{\"id\": \"t5\", \"name\": \"same\", \"steps\": [\"true\"]}");
    submit(f, "{\"id\": \"t6\", \"name\": \"same\", \"steps\": [\"true\"]}");
    submit(f, "{\"id\": \"t7\", \"name\": \"late\", \"steps\": [\"true\"], "
              "\"after\": [\"t1\"]}");
    submit(f, "{\"id\": \"m1\", \"steps\": [\"true\"], \"batch\": {\"id\": "
              "\"b\", \"name\": \"pair\", \"index\": 1, \"size\": 2}}");
    submit(f, "{\"id\": \"m2\", \"steps\": [\"true\"], \"batch\": {\"id\": "
              "\"b\", \"name\": \"pair\", \"index\": 2, \"size\": 2}}");
    submit(f, "{\"id\": \"t8\", \"steps\": 7}");
    route(f, "t1");
    route(f, "t2");
    finish(f, "t1", STATE_SUCCEEDED, "");
    fail_once(f, "t2");
    until_state_is(f, "t3", "held");
    cancel(f, "t3");
    reject(f, "t4");
    /* The second task of that name ends first. */
    finish(f, "t6", STATE_SUCCEEDED, "");
    until_state_is(f, "t6", "succeeded");
    finish(f, "t5", STATE_FAILED, "");
    forge(f, "t1");
    route(f, "m1");
    route(f, "m2");
    finish(f, "m2", STATE_FAILED, "b");
    finish(f, "m1", STATE_SUCCEEDED, "b");
    until_state_is(f, "t3", "cancelled");
    until_no_key(f, "t3"); /* its result tells of the request */
    until_state_is(f, "t2", "succeeded");
    until_state_is(f, "t7", "accepted"); /* released by t1 */
    until_counter(f, "quarantined", 1);
}

/* Deletes the database and the reports. */
static void
lose_everything(struct reaper_fixture *f)
{
    (void)folder_remove(f->dir);
    assert_int_equal(mkdir(f->dir, 0700), 0);
}

static void
a_ledger_that_lost_its_database_reads_all_again(void **state)
{
    struct reaper_fixture *f = *state;
    char *counters, *again;
    struct str reports, after;

    a_day(f);
    counters = settled_counters(f);
    reports = settled_reports(f, "reports/batches/pair.md");
    assert_non_null(strstr(reports.data, "reports/jobs/same.md"));
    assert_non_null(strstr(reports.data, "reports/jobs/same-t6.md"));
    assert_non_null(strstr(reports.data, "\"superseded\""));
    assert_non_null(strstr(counters, "\"superseded\": 1"));
    assert_non_null(strstr(counters, "\"malformed\": 1"));
    for (int i = 0; i < 3; i++) {
        lose_everything(f);
        start(f);
        again = settled_counters(f);
        assert_string_equal(again, counters);
        after = settled_reports(f, "reports/batches/pair.md");
        assert_string_equal(str_text(&after), str_text(&reports));
        str_free(&after);
        free(again);
    }
    start(f);
    until_counter(f, "tasks", 9);
    str_free(&reports);
    free(counters);
}

static void
old_results_are_believed_when_their_claims_are_not_kept_any_more(void **state)
{
    struct reaper_fixture *f = *state;

    submit(f, "{\"id\": \"t1\", \"name\": \"one\", \"steps\": [\"true\"]}");
    route(f, "t1");
    finish(f, "t1", STATE_SUCCEEDED, "");
    until_state_is(f, "t1", "succeeded");
    stop(f);
    drop_messages(f->bus, "KV_claims");
    lose_everything(f);
    start(f); /* too young to be believed without a claim */
    until_counter(f, "quarantined", 1);
    until_state_is(f, "t1", "routed");
    stop(f);
    lose_everything(f);
    f->conf.verify_after_ms = 1;
    start(f);
    until_state_is(f, "t1", "succeeded");
    assert_int_equal(counter(f, "quarantined"), 0);
}

/* --- a full disk ---------------------------------------------------------- */

/* The program itself; most: bytes beyond which files cannot grow, or 0. */
static pid_t
run_program(struct reaper_fixture *f, rlim_t most, const char *crash_at)
{
    const char *bin = getenv("SHUNT_BIN");
    struct rlimit limit = {most, most};
    char program[512], url[128], database[160], root[160];
    const char *const argv[] = {program,  "--bus-url",
                                url,      "--reaper-database",
                                database, "--reaper-report-root",
                                root,     NULL};
    pid_t pid;

    (void)snprintf(program, sizeof program, "%s/shunt-reaper",
                   bin ? bin : "build/bin");
    if (access(program, X_OK) != 0)
        skip();
    (void)snprintf(url, sizeof url, "%s", broker_url(f->broker));
    (void)snprintf(database, sizeof database, "%s", f->database);
    (void)snprintf(root, sizeof root, "%s", f->root);
    pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);

        (void)dup2(null, 2);
        (void)signal(SIGXFSZ, SIG_IGN);
        if (most)
            (void)setrlimit(RLIMIT_FSIZE, &limit);
        if (crash_at)
            (void)setenv("SHUNT_CRASH_AT", crash_at, 1);
        (void)execv(program, (char *const *)argv);
        _exit(127);
    }
    assert_true(pid > 0);
    return pid;
}

static void
a_full_disk_ends_the_process_and_costs_nothing(void **state)
{
    enum { N = 150 };
    struct reaper_fixture *f = *state;
    char text[4096], fill[3000];
    int64_t deadline = loop_now_ms() + LONG_MS;
    bool never = false;
    int status = 0;
    pid_t pid;

    stop(f);
    memset(fill, 'x', sizeof fill - 1);
    fill[sizeof fill - 1] = '\0';
    pid = run_program(f, 300 * 1024, NULL);
    for (int i = 0; i < N; i++) {
        (void)snprintf(text, sizeof text,
                       "{\"id\": \"t%d\", \"steps\": [\"true\"], \"notes\": "
                       "\"%s\"}",
                       i, fill);
        submit(f, text);
    }
    while (waitpid(pid, &status, WNOHANG) == 0 && loop_now_ms() < deadline)
        (void)loop_until(f->loop, &never, 20);
    (void)kill(pid, SIGKILL);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
    start(f); /* there is space again */
    /* What was in hand is delivered again after the ack wait of 30 s. */
    deadline = loop_now_ms() + 60000;
    while (counter(f, "tasks") < N && loop_now_ms() < deadline)
        (void)loop_until(f->loop, &never, 100);
    assert_int_equal(counter(f, "tasks"), N);
    until_counter(f, "accepted", N);
    until_state_is(f, "t0", "accepted");
}

/* --- dying anywhere ------------------------------------------------------- */

static void
it_may_die_at_every_point_and_nothing_is_lost_or_counted_twice(void **state)
{
#ifdef SHUNT_DEBUG
    static const char *const points[] = {
        "reaper.after_fetch",  "reaper.mid_transaction",
        "reaper.after_commit", "reaper.after_report_tmp",
        "reaper.after_report", "reaper.after_ack",
    };
    enum { N = sizeof points / sizeof *points };
    struct reaper_fixture *f = *state;
    int64_t deadline;
    bool never = false;
    char id[16], text[200];
    int status;
    pid_t pid;

    stop(f);
    for (int i = 0; i < N; i++) {
        pid = run_program(f, 0, points[i]);
        (void)snprintf(id, sizeof id, "t%d", i);
        (void)snprintf(text, sizeof text,
                       "{\"id\": \"%s\", \"name\": \"%s\", \"steps\": "
                       "[\"true\"]}",
                       id, id);
        submit(f, text);
        route(f, id);
        finish(f, id, STATE_SUCCEEDED, "");
        status = 0;
        deadline = loop_now_ms() + LONG_MS;
        while (waitpid(pid, &status, WNOHANG) == 0 && loop_now_ms() < deadline)
            (void)loop_until(f->loop, &never, 20);
        (void)kill(pid, SIGKILL);
        if (!WIFSIGNALED(status))
            fail_msg("it did not die at %s", points[i]);
    }
    start(f);
    deadline = loop_now_ms() + 60000; /* the ack wait is 30 s */
    while (counter(f, "succeeded") < N && loop_now_ms() < deadline)
        (void)loop_until(f->loop, &never, 100);
    assert_int_equal(counter(f, "succeeded"), N);
    assert_int_equal(counter(f, "tasks"), N);
    assert_int_equal(counter(f, "attempts"), N);
    assert_int_equal(counter(f, "superseded"), 0);
    assert_int_equal(counter(f, "quarantined"), 0);
    for (int i = 0; i < N; i++) {
        struct str report;

        (void)snprintf(text, sizeof text, "%s/reports/jobs/t%d.md", f->root, i);
        report = until_file(f, text);
        str_free(&report);
    }
#else
    (void)state;
    skip(); /* only make DEBUG=1 builds programs that die on demand */
#endif
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_ledger_that_lost_its_database_reads_all_again),
        TEST(old_results_are_believed_when_their_claims_are_not_kept_any_more),
        TEST(it_may_die_at_every_point_and_nothing_is_lost_or_counted_twice),
        TEST(a_full_disk_ends_the_process_and_costs_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
