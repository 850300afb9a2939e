#include "tests/formats_fixture.h"

static int
read_text(const char *text, struct import *in, struct err *e)
{
    return read_as("q/job.json", text, in, e);
}

/* The one task of a text that must be accepted. */
static const struct task *
accept(const char *text, struct import *in)
{
    const struct task *t = accept_as("q/job.json", text, in);

    assert_int_equal(in->n_tasks, 1);
    return t;
}

static void
refuse(const char *text, const char *want)
{
    refuse_as("q/job.json", text, want);
}

static void
a_job_file_becomes_a_task(void **state)
{
    struct import in;
    const struct task *t = accept_example("job.json", &in);

    (void)state;
    assert_string_equal(in.format, "job.json");
    assert_int_equal(in.n_warnings, 0);
    assert_string_equal(t->id, "");
    assert_string_equal(t->name, "2025-11-XX-001");
    assert_string_equal(t->workdir, "/workspace/vpm-mini");
    assert_string_equal(t->dod, "exit_code == 0");
    assert_string_equal(t->report_path, "reports/jobs/2025-11-XX-001.out");
    assert_string_equal(t->format, "job.json");
    assert_string_equal(t->origin, "job.json");
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
    expect_warnings(&in, WARNINGS("q/job.json:3:2: colour: unknown key, "
                                  "ignored",
                                  "q/job.json:4:2: owner: unknown key, kept as "
                                  "a tag"));
    assert_int_equal(in.tasks->n_tags, 1);
    assert_string_equal(in.tasks->tags[0].key, "owner");
    assert_string_equal(in.tasks->tags[0].value, "");
}

static void
mistakes_in_a_job_name_line_key_and_remedy(void **state)
{
    (void)state;
    refuse("{\"kind\": \"run_shell\"}",
           "q/job.json:1:1: script: missing; write a list of shell commands");
    refuse("{\n\"script\": []}",
           "q/job.json:2:11: script: empty; write what to run");
    refuse("{\"script\": 3}",
           "q/job.json:1:12: script: expected a list of shell "
           "commands, found a number");
    refuse("{\n\n\"script\": [\"a\", {}]}",
           "q/job.json:3:17: script[1]: expected text, found an object");
    refuse("{\"script\": [\"a\", \" \"]}",
           "q/job.json:1:18: script[1]: empty; write what to run");
    refuse("{\"script\": [\"a\"],\n\"kind\": \"run_python\"}",
           "q/job.json:2:9: kind: 'run_python' is unknown; accepted is "
           "run_shell");
    refuse("{\"script\": [\"a\"],\n\"workdir\": [\"/x\"]}",
           "q/job.json:2:12: workdir: expected text, found an array");
    refuse("{\"script\": [\"a\"], \"id\": 7}",
           "q/job.json:1:25: id: expected text, found a number");
    refuse("{\"script\": [\"a\"],\n\"dod\": \"exit_code = 0\"}",
           "q/job.json:2:8: dod: column 11: equality is written ==\n"
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
    assert_non_null(strstr(e.msg, "q/job.json:1:32: report_path:"));
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
    assert_non_null(strstr(e.msg, "q/job.json:1:21: steps[0].kind"));
    assert_int_equal(
        read_text("{\"steps\": [\"a\"], \"prompt\": \"b\"}", &in, &e), -1);
    assert_int_equal(read_text("{\"steps\": []}", &in, &e), -1);
}

static void
what_is_neither_is_refused_with_what_is_accepted(void **state)
{
    (void)state;
    refuse("", "q/job.json:1:1: empty; write a task (docs/formats.md)");
    refuse("\xef\xbb\xbf \r\n",
           "q/job.json:1:1: empty; write a task (docs/formats.md)");
    refuse("make test\n",
           "q/job.json:1:1: not a format shunt knows; it reads JSON ({...), a "
           "brief (executor: or a codex-brief fence), a rally (rally:), and "
           "Markdown with front matter or the ending .md");
    refuse("{\"colour\": 1}",
           "q/job.json:1:1: not a format shunt knows; write \"script\" (a "
           "job.json), \"steps\" or \"prompt\" (a task), \"task_data\" "
           "(cloud-queue), \"actions\" (inbox) or \"work_branch\" (run "
           "contract)");
}

static void
text_that_is_none_is_refused_where_it_stands(void **state)
{
    struct import in;
    struct err e;

    (void)state;
    refuse("{\"script\":\n \"a\xff\"}",
           "q/job.json:2:4: a byte that is not text; save it as UTF-8");
    assert_int_equal(formats_read("x", "{\n\0}", 4, pool, &in, &e), -1);
    assert_string_equal(e.msg,
                        "x:2:1: a byte that is not text; save it as UTF-8");
}

static void
a_key_given_twice_is_refused_at_the_second(void **state)
{
    (void)state;
    refuse("{\"script\": \"a\",\n  \"script\": \"b\"}",
           "q/job.json:2:3: script: given twice; keep one");
    refuse("{\"script\": \"a\", \"\xc3\xa9\": 1, \"x\\\"\": 1, \"x\\\"\": 2}",
           "q/job.json:1:35: x\\\": given twice; keep one");
}

static void
places_count_characters_and_skip_a_bom(void **state)
{
    (void)state;
    refuse("\xef\xbb\xbf{\"id\": \"\u65e5\u6b21\", \"script\": 3}",
           "q/job.json:1:24: script: expected a list of shell commands, found "
           "a number");
}

static void
d12_mistakes_are_told_in_words_of_their_author(void **state)
{
    struct import in;
    struct err e;

    (void)state;
    refuse("// a job\n{\"script\": \"a\"}",
           "q/job.json:1:1: JSON has no comments; remove it");
    refuse("{\"script\": \"a\",\n}",
           "q/job.json:1:15: a comma behind the last entry; remove it");
    refuse("{\"script\": \"a\"}\n{\"script\": \"b\"}\n",
           "q/job.json:2:1: a second object begins here; write one in a file");
    refuse("[{\"script\": \"a\"}]",
           "q/job.json:1:1: a list; write one task in a file, {...}, or what "
           "it runs as a list in \"script\"");
    refuse("{'script': 'a'}",
           "q/job.json:1:2: text is written in \"...\" here, not in '...'");
    assert_int_equal(formats_read("x", "\xff\xfe{\0}\0", 6, pool, &in, &e), -1);
    assert_string_equal(e.msg, "x:1:1: UTF-16; save it as UTF-8");
    assert_int_equal(formats_read("x", "{\0}\0", 4, pool, &in, &e), -1);
    assert_string_equal(e.msg, "x:1:1: UTF-16; save it as UTF-8");
    refuse_as("b.yaml", "executor: \u201cx\u201d\n",
              "b.yaml:1:11: executor: typographic quotes are part of the text; "
              "write \", or none");
    assert_string_equal(
        accept_as("p.md", "[a link](x) says it all.\n", &in)->format,
        "markdown");
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

int
main(void)
{
    const struct CMUnitTest tests[] = {
        POOLED(a_job_file_becomes_a_task),
        POOLED(carriage_returns_and_a_bom_are_accepted),
        POOLED(unknown_keys_are_warned_of_with_their_line),
        POOLED(mistakes_in_a_job_name_line_key_and_remedy),
        POOLED(a_report_outside_its_folder_is_refused),
        POOLED(broken_json_gives_line_and_column),
        POOLED(a_task_in_json_is_recognised),
        POOLED(mistakes_in_a_task_name_the_field),
        POOLED(what_is_neither_is_refused_with_what_is_accepted),
        POOLED(text_that_is_none_is_refused_where_it_stands),
        POOLED(a_key_given_twice_is_refused_at_the_second),
        POOLED(places_count_characters_and_skip_a_bom),
        POOLED(d12_mistakes_are_told_in_words_of_their_author),
        POOLED(a_mebibyte_fits_and_one_byte_more_does_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
