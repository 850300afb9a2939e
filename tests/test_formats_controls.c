/* The keys of a task that every format shares. */
#include "tests/formats_fixture.h"

static void
a_job_takes_the_controls_of_a_task(void **state)
{
    struct import in;
    const struct task *t =
        accept_as("j.json",
                  "{\"script\": [\"sleep 12\"], \"timeout\": \"2s\", "
                  "\"retries\": 2, \"env\": {\"A\": \"1\", \"B\": 2, "
                  "\"C\": true}, \"cwd\": \"/\", \"idle-timeout\": \"1m\", "
                  "\"retry\": \"never\", \"priority\": -3, \"team\": \"t\", "
                  "\"tags\": [\"a=b\", \"c\"], \"after\": \"other\", "
                  "\"hold\": true, \"agent\": \"Forge\", "
                  "\"reportPath\": \"reports/x.md\", \"name\": \"n\"}",
                  &in);

    (void)state;
    assert_int_equal(in.n_warnings, 0);
    assert_int_equal(t->timeout_ms, 2000);
    assert_int_equal(t->idle_timeout_ms, 60000);
    assert_int_equal(t->retries, 2);
    assert_int_equal(t->retry, RETRY_NEVER);
    assert_int_equal(t->n_env, 3);
    assert_string_equal(t->env[0].value, "1");
    assert_string_equal(t->env[1].value, "2");
    assert_string_equal(t->env[2].value, "true");
    assert_string_equal(t->workdir, "/");
    assert_int_equal(t->priority, -3);
    assert_string_equal(t->team, "t");
    assert_int_equal(t->n_tags, 2);
    assert_string_equal(t->tags[0].value, "b");
    assert_string_equal(t->after[0], "other");
    assert_true(t->hold);
    assert_string_equal(t->hints->agent, "Forge");
    assert_string_equal(t->report_path, "reports/x.md");
    assert_string_equal(t->name, "n");
}

#define HEAD "executor: x\nrepo: o/r\nbranch: main\nworkdir: /w\n"
#define TAIL "steps: [a]\noutputs: []\n"
#define CONTROLS "timeout: 90\nretries: 1\nenv: {A: x}\n"

static const struct {
    const char *name, *text;
} takers[] = {
    {"b.yaml", HEAD CONTROLS TAIL},
    {"p.md", "---\n" CONTROLS "---\nDo it.\n"},
    {"r.yaml", "rally: r\n" CONTROLS "branches:\n  a: {steps: [a]}\n"},
    {"r.yaml", "rally: r\nbranches:\n  a: {steps: [a], timeout: 90, retries: "
               "1, env: {A: x}}\n"},
    {"q.json", "{\"task_id\": \"T\", \"task_data\": {\"command\": \"a\"}, "
               "\"timeout\": 90, \"retries\": 1, \"env\": {\"A\": \"x\"}}"},
    {"q.json", "{\"task_id\": \"T\", \"task_data\": {\"command\": \"a\", "
               "\"timeout\": 90, \"retries\": 1, \"env\": {\"A\": \"x\"}}}"},
    {"c.json", "{\"work_branch\": \"b\", \"tasks\": [{\"id\": \"i\", "
               "\"commands\": [\"a\"]}], \"acceptance\": [], \"timeout\": 90, "
               "\"retries\": 1, \"env\": [\"A=x\"]}"},
    {"c.json", "{\"work_branch\": \"b\", \"tasks\": [{\"id\": \"i\", "
               "\"commands\": [\"a\"], \"timeout\": 90, \"retries\": 1, "
               "\"env\": [\"A=x\"]}], \"acceptance\": []}"},
    {"t.json", "{\"steps\": [\"a\"], \"timeout\": 90, \"retries\": 1, "
               "\"env\": {\"A\": \"x\"}}"},
};

static void
every_format_takes_them(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof takers / sizeof *takers; i++) {
        struct import in;
        const struct task *t = accept_as(takers[i].name, takers[i].text, &in);

        if (t->timeout_ms != 90000 || t->retries != 1 || t->n_env != 1 ||
            strcmp(t->env[0].value, "x") != 0)
            fail_msg("%zu: %s", i, takers[i].text);
        assert_int_equal(in.n_warnings, 0);
    }
}

#define JOB(rest) "{\"script\": \"a\",\n " rest "}"

static const struct {
    const char *text, *error;
} refused[] = {
    {JOB("\"timeout_minutes\": 5"),
     "j:2:2: timeout_minutes: not known here; write timeout, with a unit: 10m"},
    {JOB("\"max_attempts\": 3"),
     "j:2:2: max_attempts: not known here; write retries, the further attempts "
     "after one that failed"},
    {JOB("\"depends_on\": [\"a\"]"),
     "j:2:2: depends_on: not known here; write after, with ids of tasks"},
    {JOB("\"cron\": \"* * * * *\""),
     "j:2:2: cron: not known here; remove it; a file runs when it is submitted "
     "(shunt submit --after TIME waits)"},
    {JOB("\"shell\": \"bash\""),
     "j:2:2: shell: not known here; remove it; write all commands in the list "
     "of what to run"},
    {JOB("\"user\": \"root\""),
     "j:2:2: user: not known here; remove it; tasks run as the worker's user"},
    {JOB("\"if\": \"x\""), "j:2:2: if: not known here; remove it; write the "
                           "condition into the command"},
    {JOB("\"timeuot\": 3"), "j:2:2: timeuot: unknown key; did you mean "
                            "timeout?"},
    {JOB("\"retires\": 3"), "j:2:2: retires: unknown key; did you mean "
                            "retries?"},
    {JOB("\"cwd\": \"/\", \"workdir\": \"/\""),
     "j:2:2: cwd: given together with workdir; keep one"},
    {JOB("\"commands\": [\"b\"]"),
     "j:2:2: commands: given together with script; keep one"},
    {JOB("\"timeout\": \"PT2M\""), "j:2:13: timeout: expected a duration such "
                                   "as 30s or 10m, found 'PT2M'"},
    {JOB("\"timeout\": [1]"), "j:2:13: timeout: expected a duration such as "
                              "30s or 10m, found an array"},
    {JOB("\"timeout\": \"-1s\""), "j:2:13: timeout: expected a duration such "
                                  "as 30s or 10m, found '-1s'"},
    {JOB("\"retries\": \"many\""), "j:2:13: retries: expected a whole number "
                                   "from 0 to 1000, found 'many'"},
    {JOB("\"retries\": -1"), "j:2:13: retries: expected a whole number from 0 "
                             "to 1000, found '-1'"},
    {JOB("\"retry\": 3"), "j:2:11: retry: expected safe or never, found '3'; a "
                          "number is written retries: 2"},
    {JOB("\"env\": \"A=1\""), "j:2:9: env: expected names with their values, "
                              "found 'A=1'"},
    {JOB("\"env\": [\"A\"]"), "j:2:10: env: expected NAME=value, found 'A'"},
    {JOB("\"env\": {\"A\": {}}"),
     "j:2:15: env.A: expected text, found an object"},
    {JOB("\"env\": {\"A-B\": \"\"}"),
     "j:2:9: env: \"A-B\" is not a variable name; use letters, digits and _, "
     "not a digit first"},
    {JOB("\"do-d\": \"exit_code = 0\""),
     "j:2:10: do-d: column 11: equality is written ==\n"
     "  exit_code = 0\n"
     "            ^"},
    {JOB("\"status\": \"Done\""),
     "j:2:12: status: 'Done' says that it is not to be done now; remove the "
     "line to run it"},
    {JOB("\"enabled\": false"),
     "j:2:13: enabled: 'false' says that it is not to be done now; remove the "
     "line to run it"},
    {"{\"steps\": [\"a\"], \"timeout_minutes\": 5}",
     "j:1:18: timeout_minutes: not known here; write timeout, with a unit: "
     "10m"},
    {"{\"prompt\": \"a\", \"lane\": \"gpu\", \"allow_delegation\": false}",
     "j:1:32: allow_delegation: not read here; a prompt has it in delegation: "
     "{allow_delegation: ...}, and steps are never delegated"},
    {"{\"prompt\": \"a\", \"hints\": {\"needsClaudeCode\": true}}",
     "j:1:27: needsClaudeCode: not read here; a prompt has it in delegation: "
     "{needs_claude_code: ...}, and steps are never delegated"},
    {JOB("\"preferred-ai\": \"gpu\""),
     "j:2:2: preferred-ai: not read here; a prompt has it in delegation: "
     "{preferred_ai: ...}, and steps are never delegated"},
    {"{\"steps\": [{\"script\": \"a\", \"timeout\": 5}]}",
     "j:1:28: timeout: not read here; write timeout beside the steps"},
    {"{\"kind\": \"ask\", \"env\": {\"KUBECONFIG\": \"/x\"}, \"note\": \"n\"}",
     "j:1:17: env: not accepted from here; set it up where the worker runs"},
    {"rally: r\nafter: x\nbranches: {a: {steps: [a]}}\n",
     "j:2:1: after: not read here; remove it; submit the rally when that task "
     "is over"},
    {HEAD "steps:\n  - shell: a\n    env: {A: b}\n",
     "j:7:5: env: not read here; write env beside the steps"},
};

static void
what_looks_like_a_control_and_is_none_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        refuse_as("j", refused[i].text, refused[i].error);
}

static void
other_words_are_kept(void **state)
{
    struct import in;

    (void)state;
    (void)accept_as("j",
                    JOB("\"note\": 1, \"date\": 2, \"owner\": 3, \"type\": 4, "
                        "\"phase\": 5, \"status\": \"open\", \"task\": 6"),
                    &in);
    assert_int_equal(in.n_warnings, 7);
    assert_int_equal(in.tasks->n_tags, 7);
}

static void
unknown_keys_are_added_to_a_tasks_own_tags(void **state)
{
    struct import in;
    const struct task *t =
        accept_as("j",
                  "{\"steps\": [\"a\"], \"tags\": {\"x\": \"1\", \"y\": \"2\", "
                  "\"z\": \"3\"}, \"owner\": 4, \"phase\": 5}",
                  &in);

    (void)state;
    assert_int_equal(t->n_tags, 5);
    assert_string_equal(t->tags[2].value, "3");
    assert_string_equal(t->tags[4].key, "phase");
}

/* However many keys come before it. */
static void
b1_a_key_of_delegation_is_never_dropped(void **state)
{
    struct str text = {0}, want = {0};

    (void)state;
    str_addz(&text, "{\"prompt\": \"a\", \"lane\": \"gpu\",");
    for (int i = 0; i < 300; i++)
        str_addf(&text, "\"odd%d\": 1,", i);
    str_addf(&want,
             "j:1:%zu: allow_delegation: not read here; a prompt has it in "
             "delegation: {allow_delegation: ...}, and steps are never "
             "delegated",
             text.len + 1);
    str_addz(&text, "\"allow_delegation\": false}");
    refuse_as("j", str_text(&text), str_text(&want));
    str_free(&text);
    str_free(&want);
}

static void
warnings_travel_with_the_task(void **state)
{
    struct import in;
    const struct task *t = accept_as("j", JOB("\"owner\": 3"), &in);

    (void)state;
    assert_int_equal(t->n_warnings, 1);
    assert_string_equal(t->warnings[0],
                        "j:2:2: owner: unknown key, kept as a tag");
}

static void
a_job_may_call_its_script_commands(void **state)
{
    struct import in;
    const struct task *t =
        accept_as("j", "{\"commands\": [\"a\", \"b\"]}", &in);

    (void)state;
    assert_string_equal(in.format, "job.json");
    assert_int_equal(t->n_steps, 2);
    t = accept_as("j", "{\"id\": \"i\", \"name\": \"n\", \"cmd\": \"a\"}", &in);
    assert_string_equal(t->name, "i");
    expect_warnings(&in, WARNINGS("j:1:13: name: unknown key, kept as a tag"));
}

static void
c8_the_keys_of_claude_code_queue_mean_what_they_mean_there(void **state)
{
    struct import in;
    const struct task *t = accept_as(
        "q/0001-fix.md",
        "---\npriority: 1\nworking_directory: /srv/app\ncontext_files: [a.py, "
        "b.py]\nmax_retries: 3\nestimated_tokens: null\ncreated_at: "
        "2025-01-02T03:04:05\nstatus: queued\nretry_count: 0\ntitle: Fix it\n"
        "---\nThe parser drops tabs.\n",
        &in);

    (void)state;
    assert_int_equal(t->priority, -1);
    assert_int_equal(t->retries, 2);
    assert_string_equal(t->workdir, "/srv/app");
    assert_string_equal(t->prompt,
                        "@a.py @b.py\n\nFix it\n\nThe parser drops tabs.");
    assert_null(t->delegation);
    expect_warnings(&in,
                    WARNINGS("q/0001-fix.md:8:1: status: unknown key, kept as "
                             "a tag"));
    t = accept_as("-", "---\ntitle: Fix it\n---\n# Fix it\n\nNow.\n", &in);
    assert_string_equal(t->prompt, "# Fix it\n\nNow.");
    assert_int_equal(
        accept_as("-", "---\nmax_retries: 0\n---\nx", &in)->retries, 0);
    refuse_as("-", "---\nmax_retries: often\n---\nx",
              "-:2:14: max_retries: expected a whole number from 0 to 1000, "
              "found 'often'");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        POOLED(a_job_takes_the_controls_of_a_task),
        POOLED(every_format_takes_them),
        POOLED(what_looks_like_a_control_and_is_none_is_refused),
        POOLED(other_words_are_kept),
        POOLED(unknown_keys_are_added_to_a_tasks_own_tags),
        POOLED(b1_a_key_of_delegation_is_never_dropped),
        POOLED(warnings_travel_with_the_task),
        POOLED(a_job_may_call_its_script_commands),
        POOLED(c8_the_keys_of_claude_code_queue_mean_what_they_mean_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
