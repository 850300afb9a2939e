/* Documents: what in them is a brief, and what is no prompt. */
#include "tests/formats_fixture.h"

#define BRIEF                                                                  \
    "executor: x\nrepo: o/r\nbranch: main\nworkdir: /w\nsteps: [make]\n"       \
    "outputs: []\n"
#define FENCE "```codex-brief\n" BRIEF "```\n"

static const struct {
    const char *text;
    const char *warnings[3];
} unread[] = {
    {"<!--\n" FENCE "-->\n" FENCE,
     {"d.md:2:1: a brief inside a comment (<!-- -->) is not read"}},
    {"text <!-- off\n\n" FENCE "\n-->\n\n" FENCE,
     {"d.md:3:1: a brief inside a comment (<!-- -->) is not read"}},
    {"<!-- a --> b <!-- c\n" FENCE "-->\n" FENCE,
     {"d.md:2:1: a brief inside a comment (<!-- -->) is not read"}},
    {"<pre>\n" FENCE "</pre>\n" FENCE,
     {"d.md:2:1: a brief inside HTML is not read"}},
    {"> ```codex-brief\n> executor: y\n> ```\n\n" FENCE,
     {"d.md:1:1: a brief inside a quotation is not read"}},
    {"````\n" FENCE "````\n" FENCE,
     {"d.md:2:1: a brief inside another fence is not read"}},
    {"~~~text\n" FENCE "~~~\n" FENCE,
     {"d.md:2:1: a brief inside another fence is not read"}},
    {"`<!--` begins a comment.\n" FENCE, {NULL}},
    {"<details>\n\n" FENCE "\n</details>\n", {NULL}},
    {"<!-- a comment --> \n" FENCE "<!-- and\nanother -->\n", {NULL}},
    {FENCE "<!-- never closed\n", {NULL}},
};

static void
c2_a_brief_in_a_comment_is_not_read_and_a_warning_says_so(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof unread / sizeof *unread; i++) {
        const char *texts[] = {unread[i].text, as_dos(unread[i].text)};
        struct import in;

        for (size_t k = 0; k < 2; k++) {
            (void)accept_as("d.md", texts[k], &in);
            if (in.n_tasks != 1 || strcmp(in.format, "codex-brief") != 0)
                fail_msg("%zu tasks, %s of\n%s", in.n_tasks, in.format,
                         texts[k]);
            expect_warnings(&in, unread[i].warnings);
        }
    }
}

static void
c2_a_document_with_nothing_but_such_a_brief_is_no_prompt(void **state)
{
    (void)state;
    refuse_as("d.md", "# T\n\n<!--\n" FENCE "-->\n",
              "d.md:1:1: nothing to run: its brief is inside a comment; take "
              "it out, or remove it");
    refuse_as("d.md", "# T\n\n<!--\n```yaml\n" BRIEF "```\n-->\n",
              "d.md:1:1: nothing to run: its brief is inside a comment; take "
              "it out, or remove it");
    refuse_as("d.md", "# T\n\n<!-- off\n" FENCE,
              "d.md:3:1: this does not end, and there is a brief in it (line "
              "4); close it with -->");
}

static const char *const near[] = {
    "```Codex-Brief\n",  "```codex_brief\n",   "```codex brief\n",
    "```codexbrief\n",   "```CODEX-BRIEF\n",   "``` codex-breif\n",
    "```codex-briefs\n", "```{codex-brief}\n", "~~~codex.brief v1\n",
};

static void
c3_a_near_miss_of_the_mark_is_an_error(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof near / sizeof *near; i++) {
        const char *text =
            mem_pool_printf(pool, "a\n\n%s" BRIEF "%.3s\n", near[i], near[i]);

        refuse_as("d.md", text,
                  "d.md:3:1: this fence is nearly that of a brief; did you "
                  "mean codex-brief? (or mark an example as text)");
        /* Beside a brief that is one, too. */
        refuse_as("d.md", mem_pool_printf(pool, "%s" FENCE, text),
                  "d.md:3:1: this fence is nearly that of a brief; did you "
                  "mean codex-brief? (or mark an example as text)");
    }
}

static const struct {
    const char *text, *column;
} displaced[] = {
    {"1. Do it:\n\n    ```codex-brief\n    executor: x\n    ```\n", "3:5"},
    {"- a\n\n\t```codex-brief\n\texecutor: x\n\t```\n", "3:1"},
    {"\n\n- ```codex-brief\n  executor: x\n  ```\n", "3:1"},
    {"\n\n2) ```codex-brief\n   executor: x\n   ```\n", "3:1"},
};

static void
c3_a_fence_where_none_can_begin_is_an_error(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof displaced / sizeof *displaced; i++)
        refuse_as("d.md", displaced[i].text,
                  mem_pool_printf(pool,
                                  "d.md:%s: a brief's fence begins the line, "
                                  "after at most three blanks; move it there, "
                                  "with the lines below it",
                                  displaced[i].column));
    refuse_as("d.md", "a\n```\n" BRIEF "```\n",
              "d.md:2:1: this fence begins like a brief; mark it codex-brief, "
              "or an example as text");
}

static void
c3_a_misspelt_first_key_is_an_error(void **state)
{
    static const char *const keys[] = {"Executor", "executer", "EXECUTOR",
                                       "executors"};

    (void)state;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        refuse_as("d.md",
                  mem_pool_printf(pool, "a\n```yaml\n%s: x\nsteps: [a]\n```\n",
                                  keys[i]),
                  "d.md:2:1: this fence begins like a brief; did you mean "
                  "executor: as its first key?");
}

static void
other_fences_are_no_near_miss(void **state)
{
    static const char *const texts[] = {
        "a\n```codex\nx\n```\n",    "a\n```brief\nx\n```\n",
        "a\n```code\nx\n```\n",     "Write a `codex-brief` fence.\n",
        "See ```codex brief```.\n", "a\n```text\n" BRIEF "```\n",
    };
    struct import in;

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        (void)accept_as("d.md", texts[i], &in);
        assert_string_equal(in.format, "markdown");
    }
}

static const struct {
    const char *name, *text, *error;
} no_prompts[] = {
    {"p.md", "---\nstatus: Done\n---\nFix it.\n",
     "p.md:2:9: status: 'Done' says that it is not to be done now; remove the "
     "line to run it"},
    {"p.md", "---\npreferred_ai: gpu\nstatus: in progress\n---\nFix it.\n",
     "p.md:3:9: status: 'in progress' says that it is not to be done now; "
     "remove the line to run it"},
    {"p.md", "---\ndraft: true\n---\nFix it.\n",
     "p.md:2:8: draft: 'true' says that it is not to be done now; remove the "
     "line to run it"},
    {"p.md", "# Fix {{component}}\n",
     "p.md:1:7: {{component}} is not filled in; write what it stands for, or "
     "put it in `...`"},
    {"p.md", "---\ncomplexity_hint: low\n---\n\nSee {{ url }}.\n",
     "p.md:5:5: {{ url }} is not filled in; write what it stands for, or put "
     "it in `...`"},
    {"p.md", "on: push\njobs:\n  a: {}\n",
     "p.md:1:1: on: this is a workflow of GitHub, not a task; put it where "
     "that system looks for it"},
    {"p.md", "---\ntracker: linear\n---\nYou work on issues.\n",
     "p.md:2:1: tracker: this is a workflow of another system, not a task; put "
     "it where that system looks for it"},
    {"p.md", "steps:\n  - run: make\n",
     "p.md:1:1: steps: this is a workflow of another system (a brief begins "
     "with executor:), not a task; put it where that system looks for it"},
    {"w.yaml", "name: CI\non: [push]\n",
     "w.yaml:2:1: on: this is a workflow of GitHub, not a task; put it where "
     "that system looks for it"},
    {"c.yml", "services: {a: {image: b}}\n",
     "c.yml:1:1: services: this is a compose file, not a task; put it where "
     "that system looks for it"},
    {"k.yaml", "apiVersion: v1\nkind: Pod\n",
     "k.yaml:1:1: apiVersion: this is a Kubernetes manifest, not a task; put "
     "it where that system looks for it"},
    {"p.md", "### What\n\n_No response_\n\n### Why\n\n_No response_\n",
     "p.md:1:1: a form without answers (_No response_); fill it in"},
    {"p.md", "# Plan\n\n- [ ] one\n  more of it\n- [x] two\n1. [ ] three\n",
     "p.md:1:1: a list of tasks, not a prompt; write a file for each, or say "
     "above the list what is to be done with it"},
    {"j.json", "{\"prompt\": \"Fix {{x}}\"}",
     "j.json:1:12: {{x}} is not filled in; write what it stands for, or put it "
     "in `...`"},
    {"i.json", "{\"kind\": \"ask\", \"note\": \"{{x}}\"}",
     "i.json:1:25: {{x}} is not filled in; write what it stands for, or put it "
     "in `...`"},
};

static void
c7_what_is_no_prompt_is_refused_with_what_it_is(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof no_prompts / sizeof *no_prompts; i++)
        refuse_as(no_prompts[i].name, no_prompts[i].text, no_prompts[i].error);
}

static void
c7_prompts_that_look_a_little_like_that_are_prompts(void **state)
{
    static const char *const texts[] = {
        "Replace `{{name}}` in the templates.\n",
        "Replace this:\n\n```jinja\n{{ name }}\n```\n",
        "Use ``a {{x}} b`` here.\n",
        "Do these:\n\n- [ ] one\n- [ ] two\n",
        "### What\n\nA bug.\n\n### Why\n\n_No response_\n",
        "Steps: first read, then write.\n",
        "On: hold that thought.\n",
        "{{}} is an empty pair.\n",
        "---\nstatus: open\n---\nFix it.\n",
        "---\nstate: todo\ndraft: false\nenabled: true\n---\nFix it.\n",
    };
    struct import in;

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        (void)accept_as("d.md", texts[i], &in);
        assert_string_equal(in.format, "markdown");
    }
}

static void
d9_branches_that_wait_for_each_other_are_refused(void **state)
{
    struct import in;
    const struct task *t =
        accept_as("r.yaml",
                  "rally: r\nprepare: [p]\nbranches:\n  a: {steps: [a]}\n"
                  "  b: {steps: [b], after: a}\n  c: {steps: [c], after: [a, "
                  "b]}\n",
                  &in);

    (void)state;
    assert_int_equal(t[2].n_after, 2);
    assert_string_equal(t[2].after[0], "2");
    assert_string_equal(t[3].after[0], "2");
    assert_string_equal(t[3].after[1], "3");
    refuse_as(
        "r.yaml",
        "rally: r\nbranches:\n  a: {steps: [a], after: b}\n  b: {steps: "
        "[b], after: c}\n  c: {steps: [c], after: b}\n",
        "r.yaml:3:26: after: these branches wait for each other: b \u2192 "
        "c \u2192 b; remove one of the keys");
    refuse_as("r.yaml", "rally: r\nbranches:\n  a: {steps: [a], after: a}\n",
              "r.yaml:3:26: after: these branches wait for each other: a "
              "\u2192 a; remove one of the keys");
    refuse_as("r.yaml", "rally: r\nbranches:\n  a: {steps: [a], after: z}\n",
              "r.yaml:3:26: after: 'z' is not a branch of this rally");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        POOLED(c2_a_brief_in_a_comment_is_not_read_and_a_warning_says_so),
        POOLED(c2_a_document_with_nothing_but_such_a_brief_is_no_prompt),
        POOLED(c3_a_near_miss_of_the_mark_is_an_error),
        POOLED(c3_a_fence_where_none_can_begin_is_an_error),
        POOLED(c3_a_misspelt_first_key_is_an_error),
        POOLED(other_fences_are_no_near_miss),
        POOLED(c7_what_is_no_prompt_is_refused_with_what_it_is),
        POOLED(c7_prompts_that_look_a_little_like_that_are_prompts),
        POOLED(d9_branches_that_wait_for_each_other_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
