/* What a task must be, what it is given when it leaves things open, and how it
 * is shown. */
#include "lib/base/str.h"
#include "lib/model/codec.h"
#include "lib/model/subject.h"
#include "lib/model/task.h"
#include "lib/model/task_name.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const int64_t NOW = 1771252245678; /* 2026-02-16 14:30:45 UTC */

static struct err e;

/* A valid task from JSON text; the checks under test come after. */
static struct task
task_from(struct mem_pool *pool, const char *text)
{
    json_t *json = codec_parse_json("test", text, strlen(text), &e);
    struct task t;

    assert_non_null(json);
    if (codec_from_json(CODEC_TASK, json, pool, &t, NULL, NULL, &e) < 0)
        fail_msg("%s: %s", text, e.msg);
    json_decref(json);
    return t;
}

static void
what_a_task_needs_is_checked(void **state)
{
    static const struct {
        const char *text, *error; /* NULL: accepted */
    } rows[] = {
        {"'steps': ['make']", NULL},
        {"'prompt': 'hi'", NULL},
        {"", "steps: missing; write what to run, or a prompt"},
        {"'steps': ['make'], 'prompt': 'hi'", "keep one of them"},
        {"'prompt': 'hi', 'id': 'a-B_9'", NULL},
        {"'prompt': 'hi', 'id': '-a'", "id: \"-a\" cannot be a name"},
        {"'prompt': 'hi', 'id': 'a.b'", "id: \"a.b\" cannot be a name"},
        {"'prompt': 'hi', 'name': 'a\\nb'", "name: must be a single line"},
        {"'prompt': 'hi', 'source': 'a/b'", "source: \"a/b\""},
        {"'prompt': 'hi', 'lane': 'a b'", "lane: \"a b\""},
        {"'prompt': 'hi', 'retry_of': '*'", "retry_of: \"*\""},
        {"'prompt': 'hi', 'batch': {'id': '>'}", "batch.id: \">\""},
        {"'prompt': 'hi', 'batch': {}", NULL},
        {"'prompt': 'hi', 'backend': 'local'", NULL},
        {"'prompt': 'hi', 'backend': 'codespace'", NULL},
        {"'prompt': 'hi', 'backend': 'secutools'", NULL},
        {"'prompt': 'hi', 'backend': 'cloud'", "write local, codespace or"},
        {"'prompt': 'hi', 'retries': 100", NULL},
        {"'prompt': 'hi', 'retries': 101", "retries: 101, at most 100"},
        {"'prompt': 'hi', 'timeout_ms': '30d'", NULL},
        {"'prompt': 'hi', 'timeout_ms': 2592000001", "timeout_ms: longer than"},
        {"'prompt': 'hi', 'idle_timeout_ms': '31d'", "idle_timeout_ms: long"},
        {"'prompt': 'hi', 'after': ['a', 'b']", NULL},
        {"'prompt': 'hi', 'after': ['a', '']", "after[1]: empty"},
        {"'prompt': 'hi', 'after': ['a b']", "after: \"a b\""},
        {"'prompt': 'hi', 'after': ['a'], 'id': 'a'", "wait for itself"},
        {"'prompt': 'hi', 'dod': 'exit_code == 0'", NULL},
        {"'prompt': 'hi', 'dod': 'exit_code =='", "dod: "},
    };
    struct mem_pool *pool = mem_pool_new();

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[500];
        struct task t;
        int rc;

        (void)snprintf(text, sizeof text, "{%s}", rows[i].text);
        for (char *c = text; *c; c++)
            *c = *c == '\'' ? '"' : *c;
        t = task_from(pool, text);
        memset(&e, 0, sizeof e);
        rc = task_check(&t, &e);
        if (rows[i].error ? rc == 0 || !strstr(e.msg, rows[i].error) : rc < 0)
            fail_msg("%s: %d \"%s\"", text, rc, e.msg);
        if (rc < 0)
            assert_int_equal(e.code, ERR_INVALID);
    }
    mem_pool_free(pool);
}

static void
a_step_needs_what_its_kind_runs(void **state)
{
    static const char *const words[] = {"x", ""};
    const char **x = (const char **)words, **empty = x + 1;
    const struct {
        struct step step;
        const char *error;
    } rows[] = {
        {{.script = "x"}, NULL},
        {{.script = ""}, "steps[0]: has no script"},
        {{.script = "", .argv = x, .n_argv = 1}, "set its kind to argv"},
        {{.kind = STEP_SHELL, .script = "x"}, NULL},
        {{.kind = STEP_SHELL, .script = "x", .argv = x, .n_argv = 1},
         "has argv"},
        {{.kind = STEP_PYTHON, .script = "x"}, NULL},
        {{.kind = STEP_PYTHON, .script = ""}, "has no script"},
        {{.kind = STEP_MAKE, .script = "x"}, NULL},
        {{.kind = STEP_MAKE, .script = ""}, "has no script"},
        {{.kind = STEP_ARGV, .script = "", .argv = x, .n_argv = 2}, NULL},
        {{.kind = STEP_ARGV, .script = ""}, "names no program"},
        {{.kind = STEP_ARGV, .script = "", .argv = empty, .n_argv = 1},
         "names no program"},
        {{.kind = STEP_ARGV, .script = "x", .argv = x, .n_argv = 1},
         "set its kind to shell"},
        {{.kind = STEP_KUBECTL, .script = "x"}, NULL},
        {{.kind = STEP_KUBECTL, .script = "", .argv = x, .n_argv = 1}, NULL},
        {{.kind = STEP_KUBECTL, .script = ""}, "has no arguments"},
        {{.kind = STEP_KUBECTL, .script = "x", .argv = x, .n_argv = 1},
         "keep one"},
        {{.script = "x", .timeout_ms = 2592000001}, "steps[0].timeout_ms: "},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct step step = rows[i].step;
        struct task t;
        int rc;

        codec_init(CODEC_TASK, &t);
        step.name = step.workdir = "";
        t.steps = &step;
        t.n_steps = 1;
        memset(&e, 0, sizeof e);
        rc = task_check(&t, &e);
        if (rows[i].error ? rc == 0 || !strstr(e.msg, rows[i].error) : rc < 0)
            fail_msg("row %zu: %d \"%s\"", i, rc, e.msg);
    }
}

static void
a_task_has_at_most_a_thousand_steps(void **state)
{
    static struct step steps[TASK_MAX_STEPS + 1];
    struct task t;

    (void)state;
    for (size_t i = 0; i <= TASK_MAX_STEPS; i++)
        steps[i] = (struct step){.name = "", .script = "x", .workdir = ""};
    codec_init(CODEC_TASK, &t);
    t.steps = steps;
    t.n_steps = TASK_MAX_STEPS;
    assert_int_equal(task_check(&t, &e), 0);
    t.n_steps++;
    assert_int_equal(task_check(&t, &e), -1);
    assert_non_null(strstr(e.msg, "steps: 1001 elements, at most 1000"));
}

static void
environment_names_are_names_and_not_ours(void **state)
{
    static const struct {
        const char *key;
        bool ok;
    } rows[] = {
        {"A", true},         {"_", true},    {"a_1", true},
        {"SHUNT", true},     {"1A", false},  {"A-B", false},
        {"A B", false},      {"A=B", false}, {"SHUNT_X", false},
        {"\xc3\xa4", false}, {"", false},
    };
    struct key_value env[2] = {{"A", "1"}, {"A", "2"}};
    struct task t;

    (void)state;
    codec_init(CODEC_TASK, &t);
    t.prompt = "hi";
    t.env = env;
    t.n_env = 2;
    assert_int_equal(task_check(&t, &e), -1);
    assert_string_equal(e.msg, "env: \"A\" is given twice; keep one");
    t.n_env = 1;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        env[0].key = rows[i].key;
        assert_int_equal(task_check(&t, &e), rows[i].ok ? 0 : -1);
    }
}

static void
a_report_path_names_a_file_outside_of_git(void **state)
{
    static const struct {
        const char *path;
        bool ok;
    } rows[] = {
        {".gitignore", true},   {"a.git/x", true}, {".github/x.md", true},
        {".git/config", false}, {".git", false},   {"a/.GIT/x", false},
        {"dir/", false},        {".", false},      {"a/.", false},
    };
    struct task t;

    (void)state;
    codec_init(CODEC_TASK, &t);
    t.prompt = "hi";
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        t.report_path = rows[i].path;
        if (task_check(&t, &e) != (rows[i].ok ? 0 : -1))
            fail_msg("%s", rows[i].path);
    }
}

static void
reports_stay_below_their_folder(void **state)
{
    static const struct {
        const char *path;
        bool ok;
    } rows[] = {
        {"", true},        {"a.md", true},  {"a/b.md", true},
        {"a..b/c", true},  {"...", true},   {"./a", true},
        {"/etc/x", false}, {"..", false},   {"../x", false},
        {"a/../b", false}, {"a/..", false}, {"a//../b", false},
    };
    struct output out = {
        .type = "report", .title = "", .commit_message = "", .body = ""};
    struct task t;

    (void)state;
    codec_init(CODEC_TASK, &t);
    t.prompt = "hi";
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        t.report_path = rows[i].path;
        t.n_outputs = 0;
        assert_int_equal(task_check(&t, &e), rows[i].ok ? 0 : -1);
        t.report_path = "";
        out.path = rows[i].path;
        t.outputs = &out;
        t.n_outputs = 1;
        assert_int_equal(task_check(&t, &e), rows[i].ok ? 0 : -1);
    }
}

static void
a_cost_limit_must_be_an_amount(void **state)
{
    static const struct {
        const char *cost;
        bool ok;
    } rows[] = {
        {"", true},    {"2", true},      {"2.50", true}, {"0.001", true},
        {"2.", false}, {".5", false},    {"-1", false},  {"$2", false},
        {"2 ", false}, {"2.5.1", false}, {"1e3", false},
    };
    struct delegation d = {.preferred_ai = "", .complexity_hint = ""};
    struct task t;

    (void)state;
    codec_init(CODEC_TASK, &t);
    t.prompt = "hi";
    t.delegation = &d;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        d.max_cost_usd = rows[i].cost;
        assert_int_equal(task_check(&t, &e), rows[i].ok ? 0 : -1);
    }
}

static void
new_ids_are_tokens_and_differ(void **state)
{
    char a[TASK_ID_SIZE], b[TASK_ID_SIZE];

    (void)state;
    task_new_id(a);
    task_new_id(b);
    assert_int_equal(strlen(a), 16);
    assert_true(subject_token_ok(a));
    assert_string_not_equal(a, b);
}

static void
ids_made_together_begin_alike(void **state)
{
    enum { N = 1000, ALIKE = 3, TICK_MS = 128 };
    char id[TASK_ID_SIZE], last[TASK_ID_SIZE];
    int64_t began_ms = str_wall_ms();
    int changes = 0;

    (void)state;
    task_new_id(last);
    for (int i = 0; i < N; i++) {
        task_new_id(id);
        changes += strncmp(id, last, ALIKE) != 0;
        memcpy(last, id, sizeof last);
    }
    assert_true(changes <= (str_wall_ms() - began_ms) / TICK_MS + 1);
}

static void
a_derived_id_depends_on_all_it_is_derived_from(void **state)
{
    char ids[6][TASK_ID_SIZE];

    (void)state;
    task_id_from_message(1, 2, "abc", 3, ids[0]);
    task_id_from_message(2, 2, "abc", 3, ids[1]);
    task_id_from_message(1, 3, "abc", 3, ids[2]);
    task_id_from_message(1, 2, "abd", 3, ids[3]);
    task_id_from_message(1, 2, "abc\0", 4, ids[4]);
    task_id_from_message(1, 2, "", 0, ids[5]);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(strlen(ids[i]), 16);
        assert_int_equal(strspn(ids[i], "0123456789abcdefghjkmnpqrstvwxyz"),
                         16);
        for (int k = 0; k < i; k++)
            assert_string_not_equal(ids[i], ids[k]);
    }
    /* The same for every reader, and for every version: it is on the wire. */
    task_id_from_message(1, 2, "abc", 3, ids[1]);
    assert_string_equal(ids[0], ids[1]);
    assert_string_equal(ids[0], "smg52p1etkatwekd");
}

static void
members_of_a_message_have_ids_of_their_own(void **state)
{
    char message[TASK_ID_SIZE], ids[3][TASK_ID_SIZE];

    (void)state;
    task_id_from_message(1, 2, "abc", 3, message);
    task_id_of_member(message, 0, ids[0]);
    task_id_of_member(message, 1, ids[1]);
    task_id_of_member(message, 0, ids[2]);
    assert_true(subject_token_ok(ids[0]));
    assert_memory_not_equal(ids[0], message, 8);
    assert_memory_not_equal(ids[0], ids[1], 8);
    assert_string_equal(ids[0], ids[2]);
    /* It is on the wire. */
    assert_string_equal(ids[0], "gjk5tg05t57xn2e0");
}

static void
derived_ids_of_a_stream_do_not_meet(void **state)
{
    enum { N = 2000 };
    static char ids[N][TASK_ID_SIZE];

    (void)state;
    for (uint64_t i = 0; i < N; i++) {
        task_id_from_message(i, NOW, "{}", 2, ids[i]);
        for (uint64_t k = 0; k < i; k++) /* eight characters are enough */
            assert_memory_not_equal(ids[i], ids[k], 8);
    }
}

static void
a_name_is_made_of_project_program_and_time(void **state)
{
    static const struct {
        const char *text, *name;
    } rows[] = {
        {"{\"command\": \"make -j4 test\", \"workdir\": \"/home/u/lros/\"}",
         "lros-make-20260216-1430"},
        {"{\"steps\": [\"./bin/scrape.py --all\"], \"repo\": \"o/vma.git\"}",
         "vma-scrape-20260216-1430"},
        {"{\"steps\": [\"# first\\nA=1 B=2 pytest -q\"]}",
         "task-pytest-20260216-1430"},
        {"{\"command\": \"cloud: (cd x && make)\"}", "task-make-20260216-1430"},
        {"{\"steps\": [{\"kind\": \"argv\", \"argv\": [\"/usr/bin/env\"]}]}",
         "task-env-20260216-1430"},
        {"{\"steps\": [{\"kind\": \"make\", \"script\": \"all\"}]}",
         "task-make-20260216-1430"},
        {"{\"steps\": [{\"kind\": \"python\", \"script\": \"x\"}]}",
         "task-python-20260216-1430"},
        {"{\"steps\": [{\"kind\": \"kubectl\", \"script\": \"get po\"}]}",
         "task-kubectl-20260216-1430"},
        {"{\"prompt\": \"Why?\", \"project\": \"My App!\"}",
         "My-App-prompt-20260216-1430"},
        {"{\"steps\": [\"&& ;\"], \"workdir\": \".\"}",
         "task-run-20260216-1430"},
        {"{\"steps\": [\"\xe3\x81\x82\"], \"workdir\": \"/\"}",
         "task-run-20260216-1430"},
        {"{\"name\": \"my-job\", \"prompt\": \"x\"}", "my-job"},
    };
    struct mem_pool *pool = mem_pool_new();

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct task t = task_from(pool, rows[i].text);

        task_complete(&t, pool, NOW);
        assert_string_equal(t.name, rows[i].name);
    }
    mem_pool_free(pool);
}

static void
b8_the_word_of_a_name_tells_what_the_command_does(void **state)
{
    static const struct {
        const char *command, *word;
    } rows[] = {
        {"cd backend && uv run pytest -q", "pytest"},
        {"python backfill.py", "backfill"},
        {"python3 -u jobs/backfill.py --all", "backfill"},
        {"python -m pytest tests", "pytest"},
        {"uv run python -m app.jobs.backfill", "backfill"},
        {"uv run --with x --extra dev pytest", "pytest"},
        {"A=1 sudo -u me env B=2 nice -n 5 ./train.sh", "train"},
        {"time timeout -k 5 10m make -j4", "make"},
        {"npm run build", "build"},
        {"npm --version", "npm"},
        {"npx vitest run", "vitest"},
        {"uv sync", "uv"},
        {"poetry run python x/scrape.py", "scrape"},
        {"bash -c 'cd x; cargo test'", "cargo"},
        {"bash -lc \"set -e; ./deploy.sh\"", "deploy"},
        {"sh", "sh"},
        {"node", "node"},
        {"set -e\nexport A=1\nmake all", "make"},
        {"if [ -d x ]; then rm -r x; fi", "rm"},
        {"mkdir -p out && (cd out && cmake ..)", "cmake"},
        {"cloud: cd x; docker compose up", "docker"},
        {"cd x", "cd"},
        {"\"my tool/run it.sh\" x", "run-it"},
        {"deno run -A jobs/aggregate.ts", "aggregate"},
        {"# only a comment", "run"},
        {"売上", "run"},
        {"", "run"},
        {"'", "run"},
        {"FOO=bar", "run"},
    };
    struct mem_pool *pool = mem_pool_new();

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct step step = {.kind = STEP_SHELL, .script = rows[i].command};
        struct task t;
        const char *want;

        codec_init(CODEC_TASK, &t);
        t.command = rows[i].command;
        t.steps = &step;
        t.n_steps = 1;
        want = mem_pool_printf(pool, "task-%s-20260216-1430", rows[i].word);
        assert_string_equal(task_name_make(&t, TASK_NAME_UTC, pool, NOW), want);
    }
    assert_true(task_name_is_made("x-20260216-1430"));
    assert_true(task_name_is_made("x-20260216-1430-2"));
    assert_false(task_name_is_made("x-20260216"));
    assert_false(task_name_is_made("nightly"));
    mem_pool_free(pool);
}

static void
only_what_was_left_open_is_filled_in(void **state)
{
    struct mem_pool *pool = mem_pool_new();
    struct task t = task_from(pool, "{\"prompt\": \"x\"}");
    struct task full =
        task_from(pool, "{\"prompt\": \"x\", \"id\": \"a\", \"project\": \"p\","
                        " \"source\": \"github\", \"submitter\": \"me@here\","
                        " \"submitted_at_ms\": 5}");

    (void)state;
    task_complete(&t, pool, NOW);
    assert_int_equal(strlen(t.id), 16);
    assert_string_equal(t.source, "cli");
    assert_string_equal(t.project, "task");
    assert_non_null(strchr(t.submitter, '@'));
    assert_int_equal(t.submitted_at_ms, NOW);
    task_complete(&full, pool, NOW);
    assert_string_equal(full.id, "a");
    assert_string_equal(full.source, "github");
    assert_string_equal(full.project, "p");
    assert_string_equal(full.submitter, "me@here");
    assert_int_equal(full.submitted_at_ms, 5);
    mem_pool_free(pool);
}

static void
a_summary_is_one_line_of_the_right_length(void **state)
{
    static const struct {
        const char *text;
        size_t size;
        const char *summary;
    } rows[] = {
        {"{\"command\": \"make  test\", \"steps\": [\"other\"]}", 100,
         "make test"},
        {"{\"steps\": [\"a\\n  b\\n\", \"c\"]}", 100, "a b ; c"},
        {"{\"steps\": [{\"kind\": \"argv\", \"argv\": [\"a\", \"b c\"]}]}", 100,
         "a 'b c'"},
        {"{\"steps\": [{\"kind\": \"kubectl\", \"argv\": [\"get\", \"po\"]}]}",
         100, "kubectl get po"},
        {"{\"steps\": [{\"kind\": \"make\", \"script\": \"all\"}]}", 100,
         "make all"},
        {"{\"prompt\": \"\\n Why \\n so? \\n\"}", 100, "Why so?"},
        {"{\"prompt\": \"abcdef\"}", 7, "abcdef"},
        {"{\"prompt\": \"abcdef\"}", 6, "abcde"},
        {"{\"prompt\": \"ab\xe3\x81\x82z\"}", 6, "ab\xe3\x81\x82"},
        {"{\"prompt\": \"ab\xe3\x81\x82z\"}", 5, "ab"},
        {"{\"prompt\": \"ab\xe3\x81\x82z\"}", 4, "ab"},
        {"{}", 10, ""},
    };
    struct mem_pool *pool = mem_pool_new();
    char out[100];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct task t = task_from(pool, rows[i].text);

        memset(out, 'z', sizeof out);
        assert_string_equal(task_summary(&t, out, rows[i].size),
                            rows[i].summary);
    }
    mem_pool_free(pool);
}

/* The broker drops what it has seen the id of: only the same may have it. */
static void
a_result_is_known_by_task_attempt_and_nonce(void **state)
{
    char one[RESULT_ID_SIZE], other[RESULT_ID_SIZE];
    struct result r;

    (void)state;
    codec_init(CODEC_RESULT, &r);
    r.task = "t1";
    r.attempt = 2;
    assert_string_equal(task_result_id(&r, one), "t1:2");
    r.nonce = "holderholder";
    assert_string_equal(task_result_id(&r, one), "t1:2:holderho");
    r.state = STATE_FAILED;
    assert_string_equal(task_result_id(&r, other), one);
    r.nonce = "closercloser";
    assert_string_not_equal(task_result_id(&r, other), one);
    r.nonce = "holderholder";
    r.attempt = 3;
    assert_string_not_equal(task_result_id(&r, other), one);
    r.task = "a234567890123456789012345678901234567890";
    r.attempt = UINT32_MAX;
    (void)task_result_id(&r, one);
    assert_true(strstr(one, ":4294967295:holderho") != NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_result_is_known_by_task_attempt_and_nonce),
        cmocka_unit_test(what_a_task_needs_is_checked),
        cmocka_unit_test(a_step_needs_what_its_kind_runs),
        cmocka_unit_test(a_task_has_at_most_a_thousand_steps),
        cmocka_unit_test(environment_names_are_names_and_not_ours),
        cmocka_unit_test(reports_stay_below_their_folder),
        cmocka_unit_test(a_report_path_names_a_file_outside_of_git),
        cmocka_unit_test(a_cost_limit_must_be_an_amount),
        cmocka_unit_test(new_ids_are_tokens_and_differ),
        cmocka_unit_test(ids_made_together_begin_alike),
        cmocka_unit_test(a_derived_id_depends_on_all_it_is_derived_from),
        cmocka_unit_test(members_of_a_message_have_ids_of_their_own),
        cmocka_unit_test(derived_ids_of_a_stream_do_not_meet),
        cmocka_unit_test(a_name_is_made_of_project_program_and_time),
        cmocka_unit_test(b8_the_word_of_a_name_tells_what_the_command_does),
        cmocka_unit_test(only_what_was_left_open_is_filled_in),
        cmocka_unit_test(a_summary_is_one_line_of_the_right_length),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
