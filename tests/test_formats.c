#include "gateways/formats/formats.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct mem_pool *pool;

static int
read_text(const char *text, struct import *in, struct err *e)
{
    *e = (struct err){0};
    return formats_read("q/job.json", text, strlen(text), pool, in, e);
}

/* The one task of a text that must be accepted. */
static const struct task *
accept(const char *text, struct import *in)
{
    struct err e;

    if (read_text(text, in, &e) < 0)
        fail_msg("%s", e.msg);
    assert_int_equal(in->n_tasks, 1);
    return in->tasks;
}

static void
refuse(const char *text, const char *want)
{
    struct import in;
    struct err e;

    assert_int_equal(read_text(text, &in, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    if (strcmp(e.msg, want) != 0)
        fail_msg("\n%s\ninstead of\n%s", e.msg, want);
    assert_int_equal(in.n_tasks, 0);
}

static const char seed_2[] =
    "{\n"
    "  \"id\": \"2025-11-XX-001\",\n"
    "  \"kind\": \"run_shell\",\n"
    "  \"workdir\": \"/workspace/vpm-mini\",\n"
    "  \"script\": [\n"
    "    \"git pull --ff-only\",\n"
    "    \"pytest tests/smoke/test_foo.py\"\n"
    "  ],\n"
    "  \"dod\": \"exit_code == 0\",\n"
    "  \"report_path\": \"reports/jobs/2025-11-XX-001.out\"\n"
    "}\n";

static void
seed_2s_job_becomes_a_task(void **state)
{
    struct import in;
    const struct task *t = accept(seed_2, &in);

    (void)state;
    assert_string_equal(in.format, "job.json");
    assert_int_equal(in.n_warnings, 0);
    assert_string_equal(t->id, "");
    assert_string_equal(t->name, "2025-11-XX-001");
    assert_string_equal(t->workdir, "/workspace/vpm-mini");
    assert_string_equal(t->dod, "exit_code == 0");
    assert_string_equal(t->report_path, "reports/jobs/2025-11-XX-001.out");
    assert_string_equal(t->format, "job.json");
    assert_string_equal(t->origin, "q/job.json");
    assert_int_equal(t->n_steps, 2);
    assert_string_equal(t->steps[0].name, "1");
    assert_int_equal(t->steps[0].kind, STEP_SHELL);
    assert_string_equal(t->steps[0].script, "git pull --ff-only");
    assert_string_equal(t->steps[1].name, "2");
    assert_string_equal(t->steps[1].script, "pytest tests/smoke/test_foo.py");
    assert_string_equal(t->command, "");
    assert_null(t->hints);
}

static void
carriage_returns_and_a_bom_are_accepted(void **state)
{
    struct import in;
    const struct task *t = accept("\xef\xbb\xbf{\r\n\"script\": \"make\",\r\n"
                                  "\"workdir\": \"~/x\"}\r\n",
                                  &in);

    (void)state;
    assert_int_equal(t->n_steps, 1);
    assert_string_equal(t->steps[0].script, "make");
    assert_string_equal(t->workdir, "~/x");
}

static void
unknown_keys_are_warned_of_with_their_line(void **state)
{
    struct import in;

    (void)state;
    (void)accept("{\"script\": [\"a: {\", \"\\\"colour\\\": b\"],\n"
                 " \"kind\": \"run_shell\",\n"
                 " \"colour\": {\"kind\": 1},\n \"owner\": null}",
                 &in);
    assert_int_equal(in.n_warnings, 2);
    assert_string_equal(in.warnings[0],
                        "q/job.json:3: colour: unknown key, ignored");
    assert_string_equal(in.warnings[1],
                        "q/job.json:4: owner: unknown key, ignored");
}

static void
mistakes_in_a_job_name_line_key_and_remedy(void **state)
{
    (void)state;
    refuse("{\"kind\": \"run_shell\"}",
           "q/job.json: script: missing; write a list of shell commands");
    refuse("{\n\"script\": []}",
           "q/job.json:2: script: missing; write a list of shell commands");
    refuse("{\"script\": 3}", "q/job.json:1: script: expected a list of shell "
                              "commands, found a number");
    refuse("{\n\n\"script\": [\"a\", {}]}",
           "q/job.json:3: script[1]: expected text, found an object");
    refuse("{\"script\": [\"a\", \" \"]}",
           "q/job.json:1: script[1]: empty; write a shell command");
    refuse("{\"script\": [\"a\"],\n\"kind\": \"run_python\"}",
           "q/job.json:2: kind: 'run_python' is unknown; accepted is "
           "run_shell");
    refuse("{\"script\": [\"a\"],\n\"workdir\": [\"/x\"]}",
           "q/job.json:2: workdir: expected text, found an array");
    refuse("{\"script\": [\"a\"], \"id\": 7}",
           "q/job.json:1: id: expected text, found a number");
    refuse("{\"script\": [\"a\"],\n\"dod\": \"exit_code = 0\"}",
           "q/job.json:2: dod: column 11: equality is written ==\n"
           "  exit_code = 0\n"
           "            ^");
}

static void
a_report_outside_its_folder_is_refused(void **state)
{
    struct import in;
    struct err e;

    (void)state;
    assert_int_equal(
        read_text("{\"script\": \"a\", \"report_path\": \"../x\"}", &in, &e),
        -1);
    assert_non_null(strstr(e.msg, "q/job.json: report_path:"));
}

static void
broken_json_gives_line_and_column(void **state)
{
    struct import in;
    struct err e;

    (void)state;
    assert_int_equal(read_text("{\n  \"script\": [\"a\" \"b\"]\n}", &in, &e),
                     -1);
    if (strncmp(e.msg, "q/job.json:2:", 13) != 0)
        fail_msg("%s", e.msg);
    assert_int_equal(
        read_text("{\"script\": \"a\", \"script\": \"b\"}", &in, &e), -1);
    assert_int_equal(read_text("{\"script\": \"a\"} trailing", &in, &e), -1);
    assert_int_equal(read_text("{\"script\": \"a\\u0000b\"}", &in, &e), -1);
    assert_int_equal(read_text("{\"script\": \"\xff\"}", &in, &e), -1);
    assert_int_equal(read_text("{\"script", &in, &e), -1);
}

static void
a_task_in_json_is_recognised(void **state)
{
    struct import in;
    const struct task *t = accept(
        "{\"id\": \"abc\", \"steps\": [\"make\", {\"script\": \"x\", \"kind\": "
        "\"python\"}],\n\"hints\": {\"agent\": \"CEO\", \"odd\": 1},\n"
        "\"colour\": 2, \"source\": \"github\"}",
        &in);

    (void)state;
    assert_string_equal(in.format, "task.json");
    assert_string_equal(t->format, "task.json");
    assert_string_equal(t->origin, "q/job.json");
    assert_string_equal(t->id, "abc");
    assert_int_equal(t->n_steps, 2);
    assert_int_equal(t->steps[1].kind, STEP_PYTHON);
    assert_string_equal(t->hints->agent, "CEO");
    assert_int_equal(in.n_warnings, 2);

    t = accept("{\"prompt\": \"explain\"}", &in);
    assert_string_equal(t->prompt, "explain");
}

static void
mistakes_in_a_task_name_the_field(void **state)
{
    struct import in;
    struct err e;

    (void)state;
    assert_int_equal(read_text("{\"steps\": [{\"kind\": \"cobol\"}]}", &in, &e),
                     -1);
    assert_non_null(strstr(e.msg, "q/job.json: steps[0].kind"));
    assert_int_equal(
        read_text("{\"steps\": [\"a\"], \"prompt\": \"b\"}", &in, &e), -1);
    assert_int_equal(read_text("{\"steps\": []}", &in, &e), -1);
}

static void
what_is_neither_is_refused_with_what_is_accepted(void **state)
{
    (void)state;
    refuse("", "q/job.json: empty; write a job.json or a task");
    refuse("\xef\xbb\xbf \r\n",
           "q/job.json: empty; write a job.json or a task");
    refuse("executor: devbox-codex\n",
           "q/job.json: not a format shunt knows; it reads job.json and tasks "
           "in JSON, which begin with {");
    refuse("{\"colour\": 1}",
           "q/job.json: neither a job.json (write \"script\") nor a task "
           "(write \"steps\" or \"prompt\")");
}

static void
a_mebibyte_fits_and_one_byte_more_does_not(void **state)
{
    static const char job[] = "{\"script\": \"true\"}";
    char *text = malloc(FORMATS_MAX_BYTES + 1);
    struct import in;
    struct err e = {0};

    (void)state;
    assert_non_null(text);
    memset(text, ' ', FORMATS_MAX_BYTES + 1);
    memcpy(text, job, sizeof job - 1);
    assert_int_equal(formats_read("-", text, FORMATS_MAX_BYTES, pool, &in, &e),
                     0);
    assert_string_equal(in.tasks->origin, "");
    assert_int_equal(
        formats_read("-", text, FORMATS_MAX_BYTES + 1, pool, &in, &e), -1);
    assert_string_equal(e.msg, "-: 1048577 bytes; at most 1 MiB is read");
    free(text);
}

static int
new_pool(void **state)
{
    (void)state;
    pool = mem_pool_new();
    return 0;
}

static int
free_pool(void **state)
{
    (void)state;
    mem_pool_free(pool);
    return 0;
}

#define POOLED(f) cmocka_unit_test_setup_teardown(f, new_pool, free_pool)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        POOLED(seed_2s_job_becomes_a_task),
        POOLED(carriage_returns_and_a_bom_are_accepted),
        POOLED(unknown_keys_are_warned_of_with_their_line),
        POOLED(mistakes_in_a_job_name_line_key_and_remedy),
        POOLED(a_report_outside_its_folder_is_refused),
        POOLED(broken_json_gives_line_and_column),
        POOLED(a_task_in_json_is_recognised),
        POOLED(mistakes_in_a_task_name_the_field),
        POOLED(what_is_neither_is_refused_with_what_is_accepted),
        POOLED(a_mebibyte_fits_and_one_byte_more_does_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
