/* Flags and words of the command line, and the task they describe. */
#include "cli/args.h"
#include "cli/task_args.h"
#include "lib/model/codec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST = 32 };

static struct {
    bool loud;
    const char *file;
    int64_t n, wait_ms;
    struct arg_list states;
} got;

static const struct arg_opt opts[] = {
    {"loud", 'l', NULL, "", ARG_SWITCH, .to = &got.loud},
    {"file", 'f', "FILE", "", ARG_TEXT, .to = &got.file},
    {"number", 0, "N", "", ARG_NUMBER, &got.n, .least = 1, .most = 9},
    {"wait", 0, "TIME", "", ARG_MS, .to = &got.wait_ms},
    {"state", 0, "STATE", "", ARG_LIST, .to = &got.states},
    ARG_END,
};

static struct mem_pool *pool;
static struct args args;
static struct err err;

/* Parses a line whose words are separated by single blanks. */
static int
parse(const char *line, enum args_mode mode, int *stopped)
{
    const struct arg_opt *tables[] = {opts, task_opts};
    static char *argv[MOST]; /* args points into it */
    char *copy = mem_pool_strdup(pool, line), *next;
    int argc = 0;

    memset(&got, 0, sizeof got);
    memset(&err, 0, sizeof err);
    while (*copy && argc < MOST) {
        next = copy + strcspn(copy, " ");
        argv[argc++] = copy;
        copy = *next ? next + 1 : next;
        *next = '\0';
    }
    return args_parse(tables, 2, argc, argv, mode, stopped, pool, &args, &err);
}

static int
setup(void **state)
{
    (void)state;
    pool = mem_pool_new();
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    mem_pool_free(pool);
    return 0;
}

static void
flags_and_words_may_be_mixed(void **state)
{
    (void)state;
    assert_int_equal(parse("a -l --file=x b --number 3 -fy", ARGS_ALL, NULL),
                     0);
    assert_true(got.loud);
    assert_string_equal(got.file, "y");
    assert_int_equal(got.n, 3);
    assert_int_equal(args.n_words, 2);
    assert_string_equal(args.words[1], "b");
    assert_false(args.dashes);
}

static void
nothing_after_the_dashes_is_a_flag(void **state)
{
    (void)state;
    assert_int_equal(parse("-l -- ls --file -f", ARGS_ALL, NULL), 0);
    assert_true(args.dashes);
    assert_int_equal(args.n_command, 3);
    assert_string_equal(args.command[1], "--file");
    assert_null(got.file);
}

static void
a_single_dash_is_a_word(void **state)
{
    (void)state;
    assert_int_equal(parse("-", ARGS_ALL, NULL), 0);
    assert_int_equal(args.n_words, 1);
}

static void
leading_flags_end_at_the_first_word(void **state)
{
    int at = 0;

    (void)state;
    assert_int_equal(parse("-l cmd --unknown", ARGS_LEADING, &at), 0);
    assert_int_equal(at, 1);
}

static void
an_unknown_flag_names_the_nearest(void **state)
{
    (void)state;
    assert_int_equal(parse("--retires 3", ARGS_ALL, NULL), -1);
    assert_int_equal(err.code, ERR_INVALID);
    assert_non_null(strstr(err.msg, "--retries"));
}

static void
an_unknown_flag_far_from_all_names_none(void **state)
{
    (void)state;
    assert_int_equal(parse("--zzzzzzzzzz", ARGS_ALL, NULL), -1);
    assert_null(strstr(err.msg, "mean"));
}

static void
a_missing_value_is_refused(void **state)
{
    (void)state;
    assert_int_equal(parse("--file", ARGS_ALL, NULL), -1);
    assert_int_equal(parse("--file -- x", ARGS_ALL, NULL), -1);
}

static void
a_value_for_a_switch_is_refused(void **state)
{
    (void)state;
    assert_int_equal(parse("--loud=yes", ARGS_ALL, NULL), -1);
}

static void
numbers_out_of_range_are_refused(void **state)
{
    (void)state;
    assert_int_equal(parse("--number 9", ARGS_ALL, NULL), 0);
    assert_int_equal(parse("--number 10", ARGS_ALL, NULL), -1);
    assert_int_equal(parse("--number 1x", ARGS_ALL, NULL), -1);
}

static void
lists_grow_by_repetition_and_commas(void **state)
{
    (void)state;
    assert_int_equal(parse("--state a,b --state c", ARGS_ALL, NULL), 0);
    assert_int_equal(got.states.n, 3);
    assert_string_equal(got.states.items[2], "c");
}

static void
durations_are_read(void **state)
{
    (void)state;
    assert_int_equal(parse("--wait 1m30s", ARGS_ALL, NULL), 0);
    assert_int_equal(got.wait_ms, 90000);
    assert_int_equal(parse("--wait soon", ARGS_ALL, NULL), -1);
}

/* --- the task ------------------------------------------------------------- */

static int
make(const char *line, struct task *t)
{
    if (parse(line, ARGS_ALL, NULL) < 0 || task_args_new(t, pool, &err) < 0 ||
        (args.dashes &&
         task_args_command(t, args.command, args.n_command, pool, &err) < 0))
        return -1;
    return task_args_apply(&args, t, pool, &err);
}

static void
one_word_is_a_script_and_several_are_arguments(void **state)
{
    struct task t;

    (void)state;
    assert_int_equal(make("-- make", &t), 0);
    assert_int_equal(t.steps[0].kind, STEP_SHELL);
    assert_string_equal(t.command, "make");
    assert_int_equal(make("-- printf a;b", &t), 0);
    assert_int_equal(t.steps[0].kind, STEP_ARGV);
    assert_int_equal(t.steps[0].n_argv, 2);
    assert_string_equal(t.command, "printf 'a;b'");
}

static void
an_empty_command_is_refused(void **state)
{
    struct task t;

    (void)state;
    assert_int_equal(make("--", &t), -1);
}

static void
flags_fill_the_task(void **state)
{
    struct task t;

    (void)state;
    assert_int_equal(
        make("--name n --workdir /w --repo o/r --branch b --env A=1=2 "
             "--timeout 10m --idle-timeout 5s --retries 2 --retry never",
             &t),
        0);
    assert_string_equal(t.name, "n");
    assert_string_equal(t.workdir, "/w");
    assert_string_equal(t.env[0].key, "A");
    assert_string_equal(t.env[0].value, "1=2");
    assert_int_equal(t.timeout_ms, 600000);
    assert_int_equal(t.idle_timeout_ms, 5000);
    assert_int_equal(t.retries, 2);
    assert_int_equal(t.retry, RETRY_NEVER);
    assert_null(t.hints);
}

static void
hints_fill_the_task(void **state)
{
    struct task t;

    (void)state;
    assert_int_equal(make("--agent CEO --runtime 11m --memory 9G --parallel 2 "
                          "--data large --heavy-log --llm --ui --light",
                          &t),
                     0);
    assert_string_equal(t.hints->agent, "CEO");
    assert_int_equal(t.hints->runtime_ms, 660000);
    assert_true(t.hints->memory_bytes == 9ull << 30);
    assert_int_equal(t.hints->parallel, 2);
    assert_true(t.hints->heavy_log && t.hints->llm && t.hints->ui &&
                t.hints->light);
    assert_int_equal(make("--memory 9G --memory unknown", &t), 0);
    assert_true(t.hints->memory_unknown);
    assert_true(t.hints->memory_bytes == 0);
}

static void
the_last_value_of_a_variable_wins(void **state)
{
    struct task t;

    (void)state;
    assert_int_equal(make("--env A=1 --env B=2 --env A=3", &t), 0);
    assert_int_equal(t.n_env, 2);
    assert_string_equal(t.env[0].value, "3");
}

static void
a_variable_without_value_takes_ours(void **state)
{
    struct task t;

    (void)state;
    assert_int_equal(setenv("TEST_CLI_ARGS", "here", 1), 0);
    assert_int_equal(make("--env TEST_CLI_ARGS", &t), 0);
    assert_string_equal(t.env[0].value, "here");
    assert_int_equal(unsetenv("TEST_CLI_ARGS"), 0);
    assert_int_equal(make("--env TEST_CLI_ARGS", &t), -1);
}

static void
relative_folders_become_absolute(void **state)
{
    struct task t;

    (void)state;
    assert_int_equal(make("--workdir sub", &t), 0);
    assert_int_equal(t.workdir[0], '/');
    assert_string_equal(strrchr(t.workdir, '/'), "/sub");
}

static void
after_takes_ids_and_times(void **state)
{
    struct task t;
    int64_t at;

    (void)state;
    assert_int_equal(make("--after 0123456789abcdef --after 10m", &t), 0);
    assert_int_equal(t.n_after, 1);
    assert_true(t.not_before_ms > 0);
    assert_true(task_args_time("2026-02-16T14:30:00Z", 0, &at));
    assert_true(at == 1771252200000);
    assert_true(task_args_time("+5", 1000, &at));
    assert_true(at == 6000);
    assert_false(task_args_time("12345678", 0, &at));
    assert_false(task_args_time("build", 0, &at));
    assert_false(task_args_time("25:00", 0, &at));
}

static void
wrong_values_name_their_flag(void **state)
{
    static const char *const lines[] = {
        "--timeout x", "--retries -1", "--retry maybe", "--priority 1001",
        "--env =x",    "--tag =x",     "--memory lots", "--data some",
    };
    struct task t;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        assert_int_equal(make(lines[i], &t), -1);
        assert_int_equal(strncmp(err.msg, lines[i], strcspn(lines[i], " ")), 0);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flags_and_words_may_be_mixed),
        cmocka_unit_test(nothing_after_the_dashes_is_a_flag),
        cmocka_unit_test(a_single_dash_is_a_word),
        cmocka_unit_test(leading_flags_end_at_the_first_word),
        cmocka_unit_test(an_unknown_flag_names_the_nearest),
        cmocka_unit_test(an_unknown_flag_far_from_all_names_none),
        cmocka_unit_test(a_missing_value_is_refused),
        cmocka_unit_test(a_value_for_a_switch_is_refused),
        cmocka_unit_test(numbers_out_of_range_are_refused),
        cmocka_unit_test(lists_grow_by_repetition_and_commas),
        cmocka_unit_test(durations_are_read),
        cmocka_unit_test(one_word_is_a_script_and_several_are_arguments),
        cmocka_unit_test(an_empty_command_is_refused),
        cmocka_unit_test(flags_fill_the_task),
        cmocka_unit_test(hints_fill_the_task),
        cmocka_unit_test(the_last_value_of_a_variable_wins),
        cmocka_unit_test(a_variable_without_value_takes_ours),
        cmocka_unit_test(relative_folders_become_absolute),
        cmocka_unit_test(after_takes_ids_and_times),
        cmocka_unit_test(wrong_values_name_their_flag),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
