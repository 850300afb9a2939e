/* Rallies. */
#include "tests/formats_fixture.h"

#include "lib/base/str.h"

static void
the_printed_rally_becomes_a_batch(void **state)
{
    struct import in;
    const struct task *t = accept_example("rally.yaml", &in);

    (void)state;
    assert_string_equal(in.format, "rally");
    assert_int_equal(in.n_tasks, 4);
    assert_true(in.linked);
    expect_warnings(&in, WARNINGS("rally.yaml:8:61: max_fails: not acted on; "
                                  "a branch that fails keeps verify from "
                                  "starting, the others go on"));
    assert_string_equal(t[0].name, "feature-auth-prepare");
    assert_string_equal(t[0].steps[0].script, "git fetch");
    assert_int_equal(t[0].n_after, 0);
    assert_string_equal(t[0].batch->branch, "");

    assert_string_equal(t[1].name, "feature-auth-backend");
    assert_string_equal(t[1].batch->branch, "backend");
    assert_string_equal(t[1].batch->name, "feature-auth");
    assert_int_equal(t[1].batch->index, 2);
    assert_int_equal(t[1].batch->size, 4);
    assert_string_equal(t[1].hints->agent, "Builder");
    assert_string_equal(t[1].steps[0].script, "make api");
    assert_int_equal(t[1].batch->n_exclusive_write, 1);
    assert_string_equal(t[1].batch->exclusive_write[0], "src/api/**");
    assert_string_equal(t[1].batch->shared_read[0], "src/types/**");
    assert_int_equal(t[1].n_after, 1);
    assert_string_equal(t[1].after[0], "1");

    assert_string_equal(t[2].batch->branch, "frontend");
    assert_string_equal(t[2].hints->agent, "Artisan");
    assert_int_equal(t[2].batch->n_shared_read, 0);

    assert_string_equal(t[3].name, "feature-auth-verify");
    assert_int_equal(t[3].n_after, 2);
    assert_string_equal(t[3].after[0], "2");
    assert_string_equal(t[3].after[1], "3");

    formats_link(&in, NULL, pool);
    assert_string_equal(t[3].after[1], t[2].id);
    assert_string_equal(t[3].batch->id, t[0].batch->id);
}

static void
what_a_rally_leaves_out_is_not_there(void **state)
{
    struct import in;
    const struct task *t =
        accept_as("-",
                  "rally: r\nworkdir: ~/w\nrepo: o/r\nbranch: main\n"
                  "branches:\n  a:\n    prompt: do it\n    timeout: 5m\n"
                  "    odd: 1\n    workdir: /x\n  b: {steps: [make]}\n",
                  &in);

    (void)state;
    assert_int_equal(in.n_tasks, 2);
    assert_int_equal(t[0].n_after, 0);
    assert_string_equal(t[0].prompt, "do it");
    assert_int_equal(t[0].timeout_ms, 300000);
    assert_string_equal(t[0].workdir, "/x");
    assert_string_equal(t[0].tags[0].key, "odd");
    assert_string_equal(t[1].workdir, "~/w");
    assert_string_equal(t[1].repo, "o/r");
    assert_string_equal(t[1].branch, "main");
    assert_null(t[1].hints);
    expect_warnings(&in,
                    WARNINGS("-:9:5: odd: unknown key, kept as a tag",
                             "-:6:3: branch a: no exclusive_write; nothing "
                             "keeps the others off its files",
                             "-:11:3: branch b: no exclusive_write; nothing "
                             "keeps the others off its files"));
}

static void
a_rally_is_told_by_its_keys(void **state)
{
    struct import in;

    (void)state;
    (void)accept_as("-", "# x\nrally: r\nbranches: {a: {steps: [x]}}\n", &in);
    (void)accept_as("r.yml", "branches: {a: {steps: [x]}}\nrally: r\n", &in);
    assert_string_equal(in.format, "rally");
}

#define BRANCHES(a, b)                                                         \
    "rally: r\nbranches:\n  one: {steps: [x], exclusive_write: " a "}\n"       \
    "  two: {steps: [x], exclusive_write: " b "}\n"

static const struct {
    const char *text, *error;
} bad[] = {
    {"rally:\n", "r:1:7: rally: missing; write its name"},
    {"rally: r\n", "r:1:1: branches: missing; write a name for each branch, "
                   "and below it agent, steps and exclusive_write"},
    {"rally: r\nbranches: [a]\n",
     "r:2:11: branches: missing; write a name for each branch, and below it "
     "agent, steps and exclusive_write"},
    {"rally: r\nbranches: {a: x}\n",
     "r:2:15: branch a: expected agent, steps and exclusive_write, found text"},
    {"rally: r\nbranches: {a: {agent: B}}\n",
     "r:2:12: branch a: no steps; write what to run"},
    {"rally: r\nbranches: {a: {steps: [x], prompt: y}}\n",
     "r:2:16: steps: given together with prompt; keep one"},
    {"rally: r\nmerge: RESOLVE\nbranches: {a: {steps: [x]}}\n",
     "r:2:8: merge: RESOLVE cannot be done: the branches work in one folder; "
     "write CONCAT or MANUAL"},
    {"rally: r\nmerge: MAGIC\nbranches: {a: {steps: [x]}}\n",
     "r:2:8: merge: 'MAGIC' is unknown; write CONCAT or MANUAL"},
    {"rally: r\nprepare: []\nbranches: {a: {steps: [x]}}\n",
     "r:2:10: steps: empty; write what to run"},
    {"rally: r\nbranches: {a: {steps: [x]}, b: {steps: [x]}}\n"
     "limits: {branches: 1}\n",
     "r:2:1: branches: 2, the limit is 1; split the work, or raise it"},
    {"rally: r\nbranches: {a: {steps: [x, y]}}\n"
     "limits: {steps_per_branch: 1}\n",
     "r:2:12: steps_per_branch: 2, the limit is 1; split the work, or raise "
     "it"},
    {"rally: r\nbranches: {a: {steps: [x]}, b: {steps: [x]}}\n"
     "limits: {total_steps: 1}\n",
     "r:2:1: total_steps: 2, the limit is 1; split the work, or raise it"},
    {"rally: r\nbranches: {a: {steps: [x]}}\nlimits: {branches: few}\n",
     "r:3:20: branches: expected a whole number"},
    {"rally: r\nbranches: {a: {steps: [x]}}\nlimits: 3\n",
     "r:3:9: limits: expected a map, found text"},
    {"rally: r\nbranches: {a: {steps: [x], exclusive_write: [../x]}}\n",
     "r:2:46: exclusive_write: '../x': leaves the work; remove \"..\""},
    {"rally: r\nbranches: {a: {steps: [x], shared_read: 'x/[a'}}\n",
     "r:2:41: shared_read: 'x/[a': a set without ], or of an unknown class; "
     "write \\[ for a bracket"},
    {"rally: r\nbranches: {a: {steps: [x]}, a: {steps: [y]}}\n",
     "r:2:29: a: given twice; keep one"},
    {BRANCHES("[src/api/**]", "[docs/**, src/**/x.c]"),
     "r:4:48: exclusive_write: branches one and two both claim 'src/api/x.c' "
     "(src/api/** and src/**/x.c); give it to one of them"},
    {BRANCHES("src/api", "src/api/v1/*.c"),
     "r:4:38: exclusive_write: branches one and two both claim "
     "'src/api/v1/.c' (src/api and src/api/v1/*.c); give it to one of them"},
    {BRANCHES("'**'", "README.md"),
     "r:4:38: exclusive_write: branches one and two both claim 'README.md' "
     "(** and README.md); give it to one of them"},
};

static void
mistakes_in_a_rally_name_place_and_remedy(void **state)
{
    struct import in;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        refuse_as("r", bad[i].text, bad[i].error);
    (void)accept_as("r", BRANCHES("[src/api/**]", "[src/ap, docs/**]"), &in);
}

static void
globs_that_cost_too_much_are_refused(void **state)
{
    struct import in;
    struct err e;
    struct str text = {0};

    (void)state;
    str_addz(&text, "rally: r\nbranches:\n");
    for (int i = 0; i < 600; i++)
        str_addf(&text,
                 "  b%d: {steps: [x], exclusive_write: "
                 "['*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*/%d']}\n",
                 i, i);
    assert_int_equal(read_as("r", str_text(&text), &in, &e), -1);
    assert_non_null(strstr(e.msg, "more globs than can be compared"));
    str_free(&text);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        POOLED(the_printed_rally_becomes_a_batch),
        POOLED(what_a_rally_leaves_out_is_not_there),
        POOLED(a_rally_is_told_by_its_keys),
        POOLED(mistakes_in_a_rally_name_place_and_remedy),
        POOLED(globs_that_cost_too_much_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
