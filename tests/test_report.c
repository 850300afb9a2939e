#include "lib/model/codec.h"
#include "reaper/report/file.h"
#include "reaper/report/report.h"

#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* --- what is reported ----------------------------------------------------- */

struct report_sample {
    struct task_state row;
    struct task task;
    struct step steps[2];
    struct decision decision;
    struct report_attempt attempt;
    struct output_part part;
    struct report_task report;
};

static void
make(struct report_sample *s, const char *output)
{
    memset(s, 0, sizeof *s);
    fold_init(&s->row, "abc123");
    s->row.name = "nightly";
    s->row.state = STATE_FAILED;
    s->row.command = "make test";
    s->row.backend = "local";
    s->row.lane = "default";
    s->row.worker = "box";
    s->row.reason = "exit code 7";
    s->row.has_result = s->row.final = true;
    s->row.result_attempt = s->row.attempts = 1;
    s->row.exit_code = 7;
    s->row.failed_step = 2;
    s->row.submitted_at_ms = 1700000000000;
    s->row.started_at_ms = 1700000001000;
    s->row.finished_at_ms = 1700000003500;
    codec_init(CODEC_TASK, &s->task);
    s->task.id = "abc123";
    s->task.dod = "exit_code == 0";
    for (int i = 0; i < 2; i++)
        s->steps[i] = (struct step){.name = "",
                                    .kind = STEP_SHELL,
                                    .script = i ? "exit 7" : "echo one",
                                    .workdir = ""};
    s->task.steps = s->steps;
    s->task.n_steps = 2;
    codec_init(CODEC_DECISION, &s->decision);
    s->decision.rule = "fallback";
    s->decision.reason = "nothing else applied";
    codec_init(CODEC_RESULT, &s->attempt.result);
    s->attempt.result.task = "abc123";
    s->attempt.result.attempt = 1;
    s->attempt.result.state = STATE_FAILED;
    s->attempt.result.final = true;
    s->attempt.result.exit_code = 7;
    s->part = (struct output_part){STREAM_STDOUT,
                                   {(const uint8_t *)output, strlen(output)}};
    s->attempt.result.output = &s->part;
    s->attempt.result.n_output = 1;
    s->attempt.result.output_bytes = strlen(output);
    s->report = (struct report_task){.row = &s->row,
                                     .task = &s->task,
                                     .decision = &s->decision,
                                     .attempts = &s->attempt,
                                     .n_attempts = 1,
                                     .outcome = &s->attempt.result};
}

static char *
render(const char *output, enum report_format format)
{
    struct report_sample s;
    struct str out = {0};

    make(&s, output);
    report_task(&s.report, format, &out);
    if (!out.data)
        fail_msg("the report is empty");
    return out.data;
}

static void
assert_has(const char *text, const char *part)
{
    if (!strstr(text, part)) {
        print_error("missing: %s\nin:\n%s\n", part, text);
        fail();
    }
}

static void
markdown_tells_what_happened(void **unused)
{
    char *text = render("two\nlines\n", REPORT_MARKDOWN);

    (void)unused;
    assert_has(text, "# nightly: failed\n");
    assert_has(text, "| Exit code | 7 |");
    assert_has(text, "| Reason | exit code 7 |");
    assert_has(text, "| Where | local.default, worker box |");
    assert_has(text, "| Why | fallback: nothing else applied |");
    assert_has(text, "| Started | 2023-11-14T22:13:21.000Z |");
    assert_has(text, "| Duration | 2.5s |");
    assert_has(text, "| Failed step | 2 |");
    assert_has(text, "2. shell (failed)");
    assert_has(text, "```text\ntwo\nlines\n```\n");
    mem_free(text);
}

static void
a_warning_is_told_and_no_exit_code_where_there_was_none(void **unused)
{
    enum report_format formats[] = {REPORT_MARKDOWN, REPORT_TEXT, REPORT_JSON};
    const char *warnings[] = {"ended 1 process left behind: tmux"};

    (void)unused;
    for (int i = 0; i < 3; i++) {
        struct report_sample s;
        struct str out = {0};

        make(&s, "");
        s.row.state = s.attempt.result.state = STATE_CANCELLED;
        s.row.exit_code = s.attempt.result.exit_code = 0;
        s.row.no_exit_code = s.attempt.result.no_exit_code = true;
        s.attempt.result.warnings = warnings;
        s.attempt.result.n_warnings = 1;
        report_task(&s.report, formats[i], &out);
        assert_has(out.data, "ended 1 process left behind: tmux");
        assert_null(strstr(out.data, "xit code |"));
        assert_null(strstr(out.data, "exit_code\":"));
        assert_null(strstr(out.data, "Exit code:"));
        str_free(&out);
    }
}

static void
no_run_of_backticks_in_the_output_ends_the_fence(void **unused)
{
    char *text = render("a\n`````\n# not a heading\n", REPORT_MARKDOWN);

    (void)unused;
    assert_has(text, "``````text\na\n`````\n# not a heading\n``````\n");
    mem_free(text);
}

static void
controls_and_broken_bytes_are_escaped(void **unused)
{
    enum report_format formats[] = {REPORT_MARKDOWN, REPORT_TEXT, REPORT_JSON};

    (void)unused;
    for (int i = 0; i < 3; i++) {
        char *text = render("x\033[31m\a\xff\xfe y", formats[i]);

        for (const char *p = text; *p; p++)
            assert_true(*p == '\n' || (unsigned char)*p >= 32);
        if (formats[i] != REPORT_JSON)
            assert_has(text, "x\\x1b[31m");
        mem_free(text);
    }
}

static void
a_table_cell_holds_whatever_text_it_gets(void **unused)
{
    struct report_sample s;
    struct str out = {0};

    (void)unused;
    make(&s, "");
    s.row.reason = "a|b\n| forged | row |\n<b>";
    report_task(&s.report, REPORT_MARKDOWN, &out);
    assert_has(out.data, "| Reason | a\\|b \\| forged \\| row \\| \\<b\\> |\n");
    str_free(&out);
}

static void
json_has_schema_task_and_output(void **unused)
{
    char *text = render("hello\n", REPORT_JSON);
    json_t *o = json_loads(text, 0, NULL);

    (void)unused;
    assert_non_null(o);
    assert_string_equal(json_string_value(json_object_get(o, "schema")),
                        "shunt.report/1");
    assert_string_equal(json_string_value(json_object_get(o, "state")),
                        "failed");
    assert_int_equal(json_integer_value(json_object_get(o, "exit_code")), 7);
    assert_string_equal(json_string_value(json_object_get(o, "output")),
                        "hello\n");
    assert_int_equal(json_array_size(json_object_get(o, "attempt_list")), 1);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(o, "task"), "dod")),
        "exit_code == 0");
    json_decref(o);
    mem_free(text);
}

static void
plain_text_is_a_head_and_the_output(void **unused)
{
    char *text = render("hello", REPORT_TEXT);

    (void)unused;
    assert_has(text, "State: failed\n");
    assert_has(text, "\n\nhello\n");
    mem_free(text);
}

static void
a_cut_output_says_where_the_rest_is(void **unused)
{
    struct report_sample s;
    struct str out = {0};

    (void)unused;
    make(&s, "tail");
    s.attempt.result.output_bytes = 100000;
    report_task(&s.report, REPORT_MARKDOWN, &out);
    assert_has(out.data, "The last 4 of 100000 bytes");
    assert_has(out.data, "shunt logs abc123");
    str_free(&out);
}

static void
a_task_of_which_only_the_outcome_is_known_is_reported(void **unused)
{
    enum report_format formats[] = {REPORT_MARKDOWN, REPORT_TEXT, REPORT_JSON};
    struct task_state row;
    struct report_task t = {.row = &row};

    (void)unused;
    fold_init(&row, "only");
    row.state = STATE_REJECTED;
    for (int i = 0; i < 3; i++) {
        struct str out = {0};

        report_task(&t, formats[i], &out);
        assert_has(out.data, "rejected");
        str_free(&out);
    }
}

static void
the_timeline_is_in_order_of_time(void **unused)
{
    struct report_sample s;
    json_t *list;
    const char *last = "";

    (void)unused;
    make(&s, "");
    s.row.accepted_at_ms = s.row.submitted_at_ms + 5;
    s.row.routed = true;
    s.row.routed_at_ms = s.row.submitted_at_ms + 7;
    s.attempt.result.started_at_ms = s.row.started_at_ms;
    s.attempt.result.finished_at_ms = s.row.finished_at_ms;
    list = report_timeline_json(&s.report);
    assert_int_equal(json_array_size(list), 5);
    for (size_t i = 0; i < 5; i++) {
        const char *at =
            json_string_value(json_object_get(json_array_get(list, i), "at"));

        assert_true(strcmp(last, at) <= 0);
        last = at;
    }
    json_decref(list);
}

static void
a_batch_names_what_did_not_succeed(void **unused)
{
    struct batch b = {.id = "b1",
                      .name = "numbers",
                      .size = 2,
                      .accepted = 2,
                      .succeeded = 1,
                      .failed = 1,
                      .done = true};
    struct task_state good, bad;
    const struct task_state *all[] = {&good, &bad}, *failed[] = {&bad};
    struct report_batch in = {&b, all, failed, 2, 1};
    struct str out = {0};
    json_t *o;

    (void)unused;
    fold_init(&good, "g1");
    good.state = STATE_SUCCEEDED;
    good.batch_index = 1;
    bad = good;
    bad.id = "x2";
    bad.state = STATE_FAILED;
    bad.batch_index = 2;
    bad.command = "test breaks != breaks";
    report_batch(&in, REPORT_MARKDOWN, &out);
    assert_has(out.data, "# numbers: 1 of 2 succeeded");
    assert_has(out.data, "## Did not succeed");
    assert_has(out.data, "| 2 | x2 | failed |");
    assert_has(out.data, "test breaks != breaks");
    str_reset(&out);
    report_batch(&in, REPORT_JSON, &out);
    o = json_loads(out.data, 0, NULL);
    assert_non_null(o);
    assert_int_equal(json_array_size(json_object_get(o, "tasks")), 2);
    assert_int_equal(json_array_size(json_object_get(o, "failed_tasks")), 1);
    json_decref(o);
    str_free(&out);
}

static void
the_extension_chooses_the_format(void **unused)
{
    (void)unused;
    assert_int_equal(report_format_of("a/b.json"), REPORT_JSON);
    assert_int_equal(report_format_of("a/b.md"), REPORT_MARKDOWN);
    assert_int_equal(report_format_of("a/b.out"), REPORT_TEXT);
    assert_int_equal(report_format_of("a.md/b"), REPORT_TEXT);
    assert_int_equal(report_format_of("b"), REPORT_TEXT);
}

/* --- files ---------------------------------------------------------------- */

struct report_place {
    char dir[64], root[80], outside[80];
};

static int
place_open(void **state)
{
    struct report_place *p = MEM_NEW(struct report_place);

    (void)snprintf(p->dir, sizeof p->dir, "/tmp/shunt-report-XXXXXX");
    if (!mkdtemp(p->dir))
        return -1;
    (void)snprintf(p->root, sizeof p->root, "%s/root", p->dir);
    (void)snprintf(p->outside, sizeof p->outside, "%s/outside", p->dir);
    *state = p;
    return mkdir(p->root, 0755) || mkdir(p->outside, 0755);
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static int
place_close(void **state)
{
    struct report_place *p = *state;

    (void)nftw(p->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    assert_int_not_equal(access(p->dir, F_OK), 0);
    mem_free(p);
    return 0;
}

static void
assert_content(const struct report_place *p, const char *path, const char *want)
{
    char full[200], got[64] = "";
    FILE *f;

    (void)snprintf(full, sizeof full, "%s/%s", p->dir, path);
    f = fopen(full, "r");
    assert_non_null(f);
    got[fread(got, 1, sizeof got - 1, f)] = '\0';
    (void)fclose(f);
    assert_string_equal(got, want);
}

static int
put(const struct report_place *p, const char *path, const void *data,
    size_t len, struct err *e)
{
    return report_file_put(&(struct report_root){.path = p->root}, path, data,
                           len, e);
}

static void
a_file_is_written_with_its_folders_and_replaced_whole(void **state)
{
    struct report_place *p = *state;
    struct err e = {0};

    assert_int_equal(put(p, "a/b/c.txt", "first", 5, &e), 0);
    assert_content(p, "root/a/b/c.txt", "first");
    assert_int_equal(put(p, "a//./b/c.txt", "2nd", 3, &e), 0);
    assert_content(p, "root/a/b/c.txt", "2nd");
}

static void
no_path_leads_out_of_the_root(void **state)
{
    static const char *const bad[] = {
        "../outside/x", "a/../../outside/x", "/tmp/x", "..", ".", "", "a/"};
    struct report_place *p = *state;
    char path[200];
    struct err e = {0};

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(put(p, bad[i], "x", 1, &e), -1);
        assert_int_equal(e.code, ERR_INVALID);
    }
    (void)snprintf(path, sizeof path, "%s/x", p->outside);
    assert_int_not_equal(access(path, F_OK), 0);
}

static void
no_link_is_followed(void **state)
{
    struct report_place *p = *state;
    char link[200], target[200];
    struct err e = {0};

    (void)snprintf(link, sizeof link, "%s/link", p->root);
    assert_int_equal(symlink(p->outside, link), 0);
    assert_int_equal(put(p, "link/x", "x", 1, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    /* A link in the file's own place is replaced, not followed. */
    assert_int_equal(report_file_put(&(struct report_root){.path = p->outside},
                                     "f", "safe", 4, &e),
                     0);
    (void)snprintf(target, sizeof target, "%s/f", p->outside);
    (void)snprintf(link, sizeof link, "%s/f", p->root);
    assert_int_equal(symlink(target, link), 0);
    assert_int_equal(put(p, "f", "mine", 4, &e), 0);
    assert_content(p, "outside/f", "safe");
    assert_content(p, "root/f", "mine");
}

static void
nothing_leads_into_the_barred_folder(void **state)
{
    struct report_place *p = *state;
    struct report_root root = {.path = p->root};
    char path[200];
    struct stat st;
    struct err e = {0};

    assert_int_equal(put(p, "home/state/ledger.db", "rows", 4, &e), 0);
    (void)snprintf(path, sizeof path, "%s/home/state", p->root);
    assert_int_equal(stat(path, &st), 0);
    root.barred_dev = st.st_dev;
    root.barred_ino = st.st_ino;
    assert_int_equal(report_file_put(&root, "home/state/ledger.db", "x", 1, &e),
                     -1);
    assert_int_equal(e.code, ERR_INVALID);
    assert_int_equal(
        report_file_put(&root, "home/./state//spool/new", "x", 1, &e), -1);
    assert_int_equal(report_file_put(&root, "home/other", "x", 1, &e), 0);
    root.path = path;
    assert_int_equal(report_file_put(&root, "new", "x", 1, &e), -1);
    assert_content(p, "root/home/state/ledger.db", "rows");
}

/* The path at which the report of a task goes. */
static const char *
place(struct report_place *p, const char *path, const char *id,
      const char *name, const char *retry_of, struct mem_pool *pool)
{
    struct report_mark owner;
    struct err e = {0};
    const char *got;

    report_mark_init(&owner, false, id, name);
    got = report_file_place(&(struct report_root){.path = p->root}, path,
                            &owner, retry_of, pool, &e);
    return got ? got : mem_pool_printf(pool, "error: %s", e.msg);
}

static void
put_text(struct report_place *p, const char *path, const char *text)
{
    struct err e = {0};

    assert_int_equal(put(p, path, text, strlen(text), &e), 0);
}

static void
only_a_report_of_the_same_job_is_replaced(void **state)
{
    struct report_place *p = *state;
    struct mem_pool *pool = mem_pool_new();
    char path[200], full[NAME_MAX + 1];

    (void)snprintf(full, sizeof full, "%0*d.md", NAME_MAX - 3, 0);
    assert_string_equal(place(p, "r.md", "id1", "", "", pool), "r.md");
    put_text(p, "r.md", "# Mine\n");
    assert_string_equal(place(p, "r.md", "id1", "", "", pool), "r-id1.md");
    assert_string_equal(place(p, "sub.d/r", "id1", "", "", pool), "sub.d/r");
    put_text(p, "sub.d/r", "mine");
    assert_string_equal(place(p, "sub.d/r", "id1", "", "", pool),
                        "sub.d/r-id1");
    put_text(p, "r.md",
             "<!-- shunt report: task id1, job nightly\n-->\n# nightly\n");
    assert_string_equal(place(p, "r.md", "id1", "", "", pool), "r.md");
    assert_string_equal(place(p, "r.md", "id2", "nightly", "", pool), "r.md");
    assert_string_equal(place(p, "r.md", "id2", "other", "id1", pool), "r.md");
    assert_string_equal(place(p, "r.md", "0123456789abcdef", "other", "", pool),
                        "r-01234567.md");
    put_text(p, "r-01234567.md", "mine");
    assert_string_equal(place(p, "r.md", "0123456789abcdef", "other", "", pool),
                        "r-0123456789abcdef.md");
    put_text(p, "r-0123456789abcdef.md", "mine");
    assert_non_null(strstr(
        place(p, "r.md", "0123456789abcdef", "other", "", pool), "error: "));
    /* Neither a folder, a link nor a FIFO is replaced, nor read. */
    put_text(p, "dir/x", "mine");
    assert_string_equal(place(p, "dir", "id1", "", "", pool), "dir-id1");
    (void)snprintf(path, sizeof path, "%s/fifo", p->root);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_string_equal(place(p, "fifo", "id1", "", "", pool), "fifo-id1");
    (void)snprintf(path, sizeof path, "%s/link.md", p->root);
    assert_int_equal(symlink("nowhere", path), 0);
    assert_string_equal(place(p, "link.md", "id1", "", "", pool),
                        "link-id1.md");
    put_text(p, "empty", "");
    assert_string_equal(place(p, "empty", "id1", "", "", pool), "empty-id1");
    put_text(p, full, "mine");
    assert_int_equal(strlen(place(p, full, "0123456789abcdef", "", "", pool)),
                     NAME_MAX);
    assert_non_null(
        strstr(place(p, ".git/x", "id1", "", "", pool), "into .git"));
    assert_non_null(
        strstr(place(p, "a/.Git/x", "id1", "", "", pool), "into .git"));
    mem_pool_free(pool);
}

static void
a_mark_is_read_as_it_was_written(void **state)
{
    static const struct {
        const char *head, *id, *job; /* id NULL: no report */
        bool batch;
    } rows[] = {
        {"<!-- shunt report: task a1, job n\n-->\n", "a1", "n", false},
        {"<!-- shunt report: task a1\n-->\n# x", "a1", "", false},
        {"shunt report: batch b1\n", "b1", "", true},
        {"{\n  \"schema\": \"shunt.report/1\",\n  \"kind\": \"task\",\n  "
         "\"id\": \"a1\",\n  \"name\": \"n\"",
         "a1", "n", false},
        {"{\n  \"schema\": \"shunt.task/1\",\n  \"id\": \"a1\"", NULL, "",
         false},
        {"{\"x\": 1, \"report\": {\"schema\": \"shunt.report/1\", \"id\": "
         "\"a1\"",
         NULL, "", false},
        {"# shunt report: task a1\n", NULL, "", false},
        {"shunt report: task a1", NULL, "", false},
        {"shunt report: task \n", NULL, "", false},
        {"\nshunt report: task a1\n", NULL, "", false},
        {"", NULL, "", false},
    };
    static const char *const generated[] = {"x-20261130-0535",
                                            "x-20261130-0535-2"};
    struct report_mark m, back;
    struct str text = {0};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bool is = report_mark_read(rows[i].head, strlen(rows[i].head), &m);

        assert_int_equal(is, rows[i].id != NULL);
        if (!is)
            continue;
        assert_string_equal(m.id, rows[i].id);
        assert_string_equal(m.job, rows[i].job);
        assert_int_equal(m.batch, rows[i].batch);
    }
    report_mark_init(&m, true, "a1", "my job --> x");
    report_mark_add(&m, &text);
    assert_true(report_mark_read(text.data, text.len, &back));
    assert_memory_equal(&m, &back, sizeof m);
    str_free(&text);
    for (size_t i = 0; i < sizeof generated / sizeof *generated; i++) {
        report_mark_init(&m, false, "a1", generated[i]);
        assert_string_equal(m.job, "");
    }
}

static void
a_folder_in_the_way_is_an_error_that_names_the_path(void **state)
{
    struct report_place *p = *state;
    struct err e = {0};

    assert_int_equal(put(p, "a/b/c.txt", "x", 1, &e), 0);
    assert_int_equal(put(p, "a/b", "x", 1, &e), -1);
    assert_non_null(strstr(e.msg, "a/b"));
    assert_int_equal(put(p, "a/b/c.txt/d", "x", 1, &e), -1);
    assert_int_equal(
        report_file_put(&(struct report_root){.path = "/nowhere/at/all"}, "x",
                        "x", 1, &e),
        -1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(markdown_tells_what_happened),
        cmocka_unit_test(
            a_warning_is_told_and_no_exit_code_where_there_was_none),
        cmocka_unit_test(no_run_of_backticks_in_the_output_ends_the_fence),
        cmocka_unit_test(controls_and_broken_bytes_are_escaped),
        cmocka_unit_test(a_table_cell_holds_whatever_text_it_gets),
        cmocka_unit_test(json_has_schema_task_and_output),
        cmocka_unit_test(plain_text_is_a_head_and_the_output),
        cmocka_unit_test(a_cut_output_says_where_the_rest_is),
        cmocka_unit_test(a_task_of_which_only_the_outcome_is_known_is_reported),
        cmocka_unit_test(the_timeline_is_in_order_of_time),
        cmocka_unit_test(a_batch_names_what_did_not_succeed),
        cmocka_unit_test(the_extension_chooses_the_format),
        cmocka_unit_test_setup_teardown(
            a_file_is_written_with_its_folders_and_replaced_whole, place_open,
            place_close),
        cmocka_unit_test_setup_teardown(no_path_leads_out_of_the_root,
                                        place_open, place_close),
        cmocka_unit_test_setup_teardown(no_link_is_followed, place_open,
                                        place_close),
        cmocka_unit_test_setup_teardown(nothing_leads_into_the_barred_folder,
                                        place_open, place_close),
        cmocka_unit_test_setup_teardown(
            only_a_report_of_the_same_job_is_replaced, place_open, place_close),
        cmocka_unit_test(a_mark_is_read_as_it_was_written),
        cmocka_unit_test_setup_teardown(
            a_folder_in_the_way_is_an_error_that_names_the_path, place_open,
            place_close),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
