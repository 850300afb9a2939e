/* Briefs, and prompts with front matter. */
#include "tests/formats_fixture.h"

/* --- briefs --------------------------------------------------------------- */

static void
expect_brief(const struct task *t)
{
    assert_string_equal(t->executor, "devbox-codex");
    assert_string_equal(t->context_header,
                        "repo=vpm-mini / branch=main / phase=Phase 3 / "
                        "track=P3-2 metrics-echo");
    assert_string_equal(t->repo, "HirakuArai/vpm-mini");
    assert_string_equal(t->branch, "main");
    assert_string_equal(t->workdir, "~/work/vpm-mini");
    assert_int_equal(t->n_steps, 1);
    assert_string_equal(t->steps[0].name,
                        "snapshot READY status for metrics-echo");
    assert_int_equal(t->steps[0].kind, STEP_SHELL);
    assert_memory_equal(t->steps[0].script,
                        "set -e\nNS=$(kubectl get ksvc -A | awk", 37);
    assert_non_null(strstr(t->steps[0].script,
                           "if [ -z \"$NS\" ]; then\n  echo \"metrics-echo"));
    assert_int_equal(t->n_outputs, 1);
    assert_string_equal(t->outputs[0].type, "pr");
    assert_string_equal(t->outputs[0].title,
                        "Reports: add metrics-echo READY snapshot for P3-2");
    assert_string_equal(t->outputs[0].commit_message,
                        "reports: add metrics-echo READY snapshot for P3-2");
    assert_int_equal(t->outputs[0].n_files, 1);
    assert_string_equal(t->outputs[0].files[0],
                        "reports/metrics-echo/"
                        "metrics_echo_ready_status_p3-2.md");
    assert_int_equal(t->outputs[0].link_issue, 774);
}

static void
a_brief_is_read_in_all_its_forms(void **state)
{
    static const char *const files[] = {"brief.md", "brief-indented.md",
                                        "brief.yaml"};
    struct import in;

    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        expect_brief(accept_example(files[i], &in));
        assert_string_equal(in.format, "codex-brief");
        assert_int_equal(in.n_tasks, 1);
        assert_int_equal(in.n_warnings, 1);
        assert_non_null(strstr(in.warnings[0], "opens pull requests"));
        assert_false(in.linked);
    }
}

#define HEAD "executor: devbox-codex\nrepo: o/r\nbranch: main\nworkdir: ~/w\n"
#define TAIL "outputs: []\n"

static void
every_kind_of_step_is_read(void **state)
{
    struct import in;
    const struct task *t =
        accept_as("b.yaml",
                  HEAD "steps:\n"
                       "  - name: one\n    python: print(1)\n"
                       "  - make: -j2 all\n    workdir: sub\n    timeout: 5m\n"
                       "  - make: [all, \"X=a b\"]\n"
                       "  - kubectl: kubectl -n \"a\" get ksvc hello -o "
                       "jsonpath='{.status[?(@.type==\"Ready\")]}'\n"
                       "  - kubectl: [kubectl, get, \"a b\"]\n"
                       "  - echo plain\n" TAIL,
                  &in);

    (void)state;
    assert_int_equal(t->n_steps, 6);
    assert_int_equal(t->steps[0].kind, STEP_PYTHON);
    assert_string_equal(t->steps[0].name, "one");
    assert_int_equal(t->steps[1].kind, STEP_MAKE);
    assert_string_equal(t->steps[1].script, "-j2 all");
    assert_string_equal(t->steps[1].name, "2");
    assert_string_equal(t->steps[1].workdir, "sub");
    assert_int_equal(t->steps[1].timeout_ms, 300000);
    assert_int_equal(t->steps[2].kind, STEP_ARGV);
    assert_int_equal(t->steps[2].n_argv, 3);
    assert_string_equal(t->steps[2].argv[2], "X=a b");
    assert_int_equal(t->steps[3].kind, STEP_KUBECTL);
    assert_int_equal(t->steps[3].n_argv, 7);
    assert_string_equal(t->steps[3].argv[0], "-n");
    assert_string_equal(t->steps[3].argv[1], "a");
    assert_string_equal(t->steps[3].argv[6],
                        "jsonpath={.status[?(@.type==\"Ready\")]}");
    assert_string_equal(t->steps[3].script, "");
    assert_int_equal(t->steps[4].n_argv, 2);
    assert_string_equal(t->steps[4].argv[1], "a b");
    assert_string_equal(t->steps[5].script, "echo plain");
}

static void
every_kind_of_output_is_read(void **state)
{
    struct import in;
    const struct task *t =
        accept_as("b.yaml",
                  HEAD "steps: [make]\noutputs:\n"
                       "  - {type: comment, body: done, link_issue: \"#7\"}\n"
                       "  - {type: report, path: reports/x.md}\n"
                       "  - {type: pr, title: T, files: a.md}\n",
                  &in);

    (void)state;
    assert_int_equal(t->n_outputs, 3);
    assert_string_equal(t->outputs[0].body, "done");
    assert_int_equal(t->outputs[0].link_issue, 7);
    assert_string_equal(t->report_path, "reports/x.md");
    assert_int_equal(t->outputs[2].n_files, 1);
}

static void
unknown_keys_of_a_brief_are_kept(void **state)
{
    struct import in;
    const struct task *t = accept_as(
        "b.yaml",
        HEAD "phase: 3\nlists: [1]\nsteps:\n  - {shell: a, odd: 1}\n" TAIL,
        &in);

    (void)state;
    assert_int_equal(t->n_tags, 1);
    assert_string_equal(t->tags[0].key, "phase");
    assert_string_equal(t->tags[0].value, "3");
    expect_warnings(&in,
                    WARNINGS("b.yaml:5:1: phase: unknown key, kept as a tag",
                             "b.yaml:6:1: lists: unknown key, ignored",
                             "b.yaml:8:16: odd: unknown key, ignored"));
}

static const struct {
    const char *text, *error;
} bad_briefs[] = {
    {"executor:\n", "b.yaml:1:10: executor: missing; write the lane, "
                    "devbox-codex say"},
    {"executor: x\n", "b.yaml:1:1: repo: missing; write owner/name"},
    {"executor: x\nrepo: r\n",
     "b.yaml:2:7: repo: 'r' is not a repository; write owner/name"},
    {"executor: x\nrepo: o/r\n",
     "b.yaml:1:1: branch: missing; write main, say"},
    {"executor: x\nrepo: o/r\nbranch: [a]\n",
     "b.yaml:3:9: branch: expected text, found a list"},
    {"executor: x\nrepo: o/r\nbranch: a\n",
     "b.yaml:1:1: workdir: missing; write where to run"},
    {HEAD, "b.yaml:1:1: steps: missing; write a list of name: and shell:"},
    {HEAD "steps: []\n", "b.yaml:5:8: steps: empty; write what to run"},
    {HEAD "steps: make\n", "b.yaml:5:8: steps: expected a list, found text"},
    {HEAD "steps: [a]\n", "b.yaml:1:1: outputs: missing; list what the brief "
                          "produces, or [] for nothing"},
    {HEAD "steps: [a]\noutputs: x\n",
     "b.yaml:6:10: outputs: expected a list, found text"},
    {HEAD "steps: [a]\noutputs: [x]\n",
     "b.yaml:6:11: outputs: expected type: pr, comment or report, found text"},
    {HEAD "steps: [a]\noutputs:\n  - type: mail\n",
     "b.yaml:7:11: type: 'mail' is unknown; write pr, comment or report"},
    {HEAD "steps: [a]\noutputs:\n  - type: pr\n",
     "b.yaml:7:5: title: missing; write the title of the pull request"},
    {HEAD "steps: [a]\noutputs: [{type: report, path: ../x}]\n",
     "b.yaml:6:32: outputs[0].path: \"../x\" leaves its folder; remove "
     "\"..\""},
    {HEAD "steps: [a]\noutputs: [{type: comment, link_issue: soon}]\n",
     "b.yaml:6:39: link_issue: expected the number of an issue, found 'soon'"},
    {HEAD "steps:\n  - name: x\n" TAIL,
     "b.yaml:6:5: a step without shell, python, make or kubectl; write what to "
     "run"},
    {HEAD "steps:\n  - shell: a\n    make: b\n" TAIL,
     "b.yaml:7:5: make: given together with shell; write two steps"},
    {HEAD "steps:\n  - shell: ''\n" TAIL,
     "b.yaml:6:12: shell: empty; write what to run"},
    {HEAD "steps:\n  - kubectl: get pods | sh\n" TAIL,
     "b.yaml:6:14: kubectl: no shell is used, and | is one's; write it inside "
     "'...', or a command for each entry"},
    {HEAD "steps:\n  - kubectl: get \"$X\"\n" TAIL,
     "b.yaml:6:14: kubectl: a shell would read $ ` \\ and ! inside \"...\"; "
     "write '...'"},
    {HEAD "steps:\n  - kubectl: |\n      get pods\n      get nodes\n" TAIL,
     "b.yaml:6:14: kubectl: more than one line; write one command in an "
     "entry"},
    {HEAD "steps:\n  - kubectl: get 'x\n" TAIL,
     "b.yaml:6:14: kubectl: a quote is not closed"},
    {HEAD "steps:\n  - kubectl: kubectl\n" TAIL,
     "b.yaml:6:14: kubectl: no arguments; write what to do"},
    {"executor: x\ncontext_header: repo=r / topic: a: b\n",
     "b.yaml:2:31: text with \": \" in it needs quotes: key: \"a: b\""},
    {HEAD "repo: o/s\n", "b.yaml:5:1: repo: given twice; keep one"},
    {"- a\n", "b.yaml:1:1: a brief is written key: value, beginning with "
              "executor:"},
};

static void
mistakes_in_a_brief_name_place_and_remedy(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_briefs / sizeof *bad_briefs; i++)
        refuse_as("b.yaml", bad_briefs[i].text, bad_briefs[i].error);
}

static void
odd_plain_text_survives(void **state)
{
    struct import in;
    const struct task *t =
        accept_as("b.yaml",
                  HEAD "context_header: repo=a / b:c = #3 'x' / \"y\" & *z\n"
                       "notes: \"a: b: c\"\nsteps: [a]\n" TAIL,
                  &in);

    (void)state;
    assert_string_equal(t->context_header, "repo=a / b:c =");
    assert_string_equal(t->notes, "a: b: c");
}

/* --- where briefs stand --------------------------------------------------- */

#define BRIEF HEAD "steps: [make]\n" TAIL
#define INDENTED                                                               \
    "    executor: devbox-codex\n    repo: o/r\n    branch: main\n"            \
    "    workdir: ~/w\n\n    steps: [make]\n    outputs: []\n"

static const struct {
    const char *what, *text;
    size_t n;
} documents[] = {
    {"a fence", "a\n```codex-brief\n" BRIEF "```\nb\n", 1},
    {"tildes, indented, with more words",
     "  ~~~~ codex-brief v0\n" BRIEF "~~~\nx\n" /* not closed by three */, 0},
    {"four tildes", "  ~~~~ codex-brief v0\n" BRIEF "  ~~~~ \n", 1},
    {"two fences",
     "```codex-brief\n" BRIEF "```\n\n```codex-brief\n" BRIEF "```\n", 2},
    {"yaml", "a\n\n```yaml\n# comment\n" BRIEF "```\n", 1},
    {"yml", "a\n\n```yml\n" BRIEF "```\n", 1},
    {"yaml of something else", "---\n---\n```yaml\na: 1\n```\n", 1},
    {"yaml beside a brief",
     "```yaml\n" BRIEF "```\n```codex-brief\n" BRIEF "```\n", 1},
    {"indented", "a\n\n" INDENTED "\nb\n", 1},
    {"indented twice", INDENTED "\nb\n\n" INDENTED, 2},
    {"indented, in a fence", "---\n---\n```\n\n" INDENTED "```\n", 1},
    {"alone", "\n# comment\n" BRIEF, 1},
    {"alone behind ---", "---\n" BRIEF, 1},
};

static void
briefs_are_found_where_they_stand(void **state)
{
    struct import in;
    struct err e;

    (void)state;
    for (size_t i = 0; i < sizeof documents / sizeof *documents; i++) {
        int rc = read_as("o/r#7", documents[i].text, &in, &e);

        if (in.n_tasks != documents[i].n)
            fail_msg("%s: %zu: %s", documents[i].what, in.n_tasks, e.msg);
        assert_int_equal(rc, documents[i].n ? 0 : -1);
        rc = read_as("o/r#7", as_dos(documents[i].text), &in, &e);
        if (in.n_tasks != documents[i].n)
            fail_msg("CRLF, %s: %zu: %s", documents[i].what, in.n_tasks, e.msg);
    }
}

static void
talk_about_briefs_is_no_brief(void **state)
{
    static const char *const texts[] = {
        "a\n````\n```codex-brief\n" BRIEF "```\n````\n",
        "> ```codex-brief\n> executor: x\n> ```\n",
        "a\n    executor: x\n", /* no blank line: goes on with a */
        "```text\n\n" INDENTED "```\n",
        "executors: x\n",
        "executor:x\n",
        "``` codex-brief ```\n",
    };
    struct import in;
    struct err e;

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_int_equal(read_as("o/r#7", texts[i], &in, &e), -1);
        if (!strstr(e.msg, "o/r#7:1:1: not a format shunt knows"))
            fail_msg("%zu: %s", i, e.msg);
    }
}

static void
mistakes_in_a_document_name_its_lines(void **state)
{
    (void)state;
    refuse_as("i.md", "# T\n\n```codex-brief\nexecutor: x\nrepo: r\n```\n",
              "i.md:5:7: repo: 'r' is not a repository; write owner/name");
    refuse_as("i.md", "# T\n\n    executor: x\n    repo: r\n",
              "i.md:4:11: repo: 'r' is not a repository; write owner/name");
    refuse_as("i.md", "a\n ```codex-brief\n" BRIEF,
              "i.md:2:2: a brief begins here and does not end; close it with "
              "```");
    refuse_as("i.md", "```codex-brief",
              "i.md:1:1: a brief begins here and does not end; close it with "
              "```");
    refuse_as("i.md", "```codex-brief\n```\n",
              "i.md:2:1: a brief is written key: value, beginning with "
              "executor:");
    refuse_as("i.md", "---\nexecutor: x\n---\nrepo: y\n",
              "i.md:3:1: a second document begins here; write one in a file");
}

/* --- prompts -------------------------------------------------------------- */

static void
delegation_front_matter_is_read(void **state)
{
    struct import in;
    const struct task *t = accept_example("task.md", &in);

    (void)state;
    assert_string_equal(in.format, "markdown");
    assert_int_equal(in.n_warnings, 0);
    assert_string_equal(t->name, "task");
    assert_string_equal(t->prompt,
                        "# Summarise the scan reports\n\nRead what the "
                        "scanners found and write one page.");
    assert_string_equal(t->delegation->preferred_ai, "gpu");
    assert_true(t->delegation->allow_delegation);
    assert_false(t->delegation->needs_claude_code);
    assert_string_equal(t->delegation->complexity_hint, "low");
    assert_string_equal(t->delegation->max_cost_usd, "0.50");
}

static void
without_front_matter_the_whole_is_the_prompt(void **state)
{
    struct import in;
    const struct task *t =
        accept_as("q/fix it.md", "\n\nFix\r\n it. \n\n", &in);

    (void)state;
    assert_string_equal(t->prompt, "Fix\n it.");
    assert_null(t->delegation);
    assert_string_equal(t->name, "fix it");
    assert_string_equal(accept_as("a.md.delegated", "x", &in)->name, "a");
    assert_string_equal(accept_as("-", "---\n---\nx", &in)->name, "");
    assert_null(accept_as("-", "---\n---\nx", &in)->delegation);
    assert_null(accept_as("-", "---\ntitle: x\n---\nx", &in)->delegation);
}

static void
front_matter_is_read_from_dos_too(void **state)
{
    struct import in;
    const struct task *t = accept_as(
        "-",
        as_dos(
            "---\nallow_delegation: yes\ntitle: T\nlabels: [a]\n---\na\nb\n"),
        &in);

    (void)state;
    assert_string_equal(t->prompt, "T\n\na\nb");
    assert_true(t->delegation->allow_delegation);
    assert_string_equal(t->delegation->preferred_ai, "");
    expect_warnings(&in, WARNINGS("-:4:1: labels: unknown key, ignored"));
}

static void
words_that_do_nothing_are_warned_of(void **state)
{
    struct import in;

    (void)state;
    (void)accept_as(
        "-", "---\npreferred_ai: GPU\ncomplexity_hint: huge\n---\nx", &in);
    expect_warnings(&in, WARNINGS("-:3:18: complexity_hint: 'huge' is unknown; "
                                  "known are low, medium and high"));
    (void)accept_as("-", "---\npreferred_ai: gpt\n---\nx", &in);
    expect_warnings(&in, WARNINGS("-:2:15: preferred_ai: 'gpt' is unknown, so "
                                  "the task stays with local Claude Code; "
                                  "known are auto, claude-code, gpu, gemini "
                                  "and claude-api"));
}

static void
a_brief_in_a_prompt_is_part_of_it(void **state)
{
    struct import in;

    (void)state;
    (void)accept_as(
        "a.md", "---\npreferred_ai: auto\n---\n```codex-brief\nx\n```\n", &in);
    assert_string_equal(in.format, "markdown");
    (void)accept_as("a.md",
                    "---\ntitle: x\n---\n```codex-brief\n" BRIEF "```\n", &in);
    assert_string_equal(in.format, "codex-brief");
}

static void
mistakes_in_front_matter_name_place_and_remedy(void **state)
{
    (void)state;
    refuse_as("a.md", "---\npreferred_ai: gpu\n",
              "a.md:1:1: front matter begins here and does not end; write --- "
              "below it");
    refuse_as("a.md", "---\nallow_delegation: perhaps\n---\nx",
              "a.md:2:19: allow_delegation: expected true or false, found "
              "'perhaps'");
    refuse_as("a.md", "---\nallow_delegation: \"true\"\n---\nx",
              "a.md:2:19: allow_delegation: expected true or false, found "
              "'true'");
    refuse_as("a.md", "---\nmax_cost_usd: much\n---\nx",
              "a.md:2:15: max_cost_usd: \"much\" is not an amount; write 2 or "
              "2.50");
    refuse_as(
        "a.md", "---\npreferred_ai: gpu\n---\n \n",
        "a.md:1:1: no text below the front matter; write the prompt there");
    refuse_as("a.md", "---\n- a\n---\nx",
              "a.md:2:1: front matter is written key: value, preferred_ai: gpu "
              "say");
    refuse_as("a.md",
              "---\nallow_delegation: yes\nallow_delegation: no\n---\nx",
              "a.md:3:1: allow_delegation: given twice; keep one");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        POOLED(a_brief_is_read_in_all_its_forms),
        POOLED(every_kind_of_step_is_read),
        POOLED(every_kind_of_output_is_read),
        POOLED(unknown_keys_of_a_brief_are_kept),
        POOLED(mistakes_in_a_brief_name_place_and_remedy),
        POOLED(odd_plain_text_survives),
        POOLED(briefs_are_found_where_they_stand),
        POOLED(talk_about_briefs_is_no_brief),
        POOLED(mistakes_in_a_document_name_its_lines),
        POOLED(delegation_front_matter_is_read),
        POOLED(without_front_matter_the_whole_is_the_prompt),
        POOLED(front_matter_is_read_from_dos_too),
        POOLED(words_that_do_nothing_are_warned_of),
        POOLED(a_brief_in_a_prompt_is_part_of_it),
        POOLED(mistakes_in_front_matter_name_place_and_remedy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
