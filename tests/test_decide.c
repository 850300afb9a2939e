#include "tests/decide_fixture.h"

/* --- agents --------------------------------------------------------------- */

static void
the_affinity_table_is_complete(void **state)
{
    static const struct {
        const char *agents[16], *affinity, *backend;
        const char *command; /* NULL: one without a signal */
    } rows[] = {
        {{"Analyst", "Schema", "Tuner", "Scout", "Sentinel", "Probe", "Radar",
          "Voyager", "Stream", "bolt"},
         "cloud",
         "codespace",
         NULL},
        {{"Builder", "Artisan", "Forge", "Anvil", "FORGE"},
         "cloud",
         "codespace",
         "local-tool --build"},
        {{"Lens", "Judge", "Cipher", "CEO", "Magi", "Bridge", "Canvas",
          "Scribe", "Quill", "ceo"},
         "local",
         "local",
         NULL},
        {{"Rally", "Nexus"}, "depends", "local", NULL},
        {{"Somebody", ""}, "", "local", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (size_t j = 0; j < 16 && rows[i].agents[j]; j++) {
            struct decide_sample *s =
                shell(rows[i].command ? rows[i].command : "true");
            struct decision d;

            s->hints.agent = rows[i].agents[j];
            d = admit(s);
            assert_string_equal(d.affinity, rows[i].affinity);
            assert_string_equal(d.backend, rows[i].backend);
        }
    }
}

static void
b6_an_agent_that_builds_works_in_the_cloud_only_when_it_builds(void **state)
{
    static const char *const agents[] = {"Builder", "Artisan", "Forge",
                                         "anvil"};
    static const struct {
        const char *command, *affinity, *backend;
    } rows[] = {
        {"make build", "cloud", "codespace"},
        {"cargo install x", "cloud", "codespace"},
        {"ls", "depends", "local"},
        {"git commit -m 'the build'", "depends", "local"},
        {"pytest", "depends", "local"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t j = 0; j < sizeof agents / sizeof *agents; j++) {
            struct decide_sample *s = shell(rows[i].command);
            struct decision d;

            s->hints.agent = agents[j];
            d = admit(s);
            assert_string_equal(d.affinity, rows[i].affinity);
            assert_string_equal(d.backend, rows[i].backend);
        }
}

/* --- hints ---------------------------------------------------------------- */

/* Each condition of the cloud routing rules alone, at its limit, and against
 * its neighbours in the order of rules. */

struct hint_row {
    const char *name; /* a sentence */
    const char *command;
    struct hints hints; /* agent and data may be NULL here: "" */
    const char *rule, *backend;
};

static const struct hint_row hint_rows[] = {
    {"ten minutes are in doubt",
     "true",
     {.runtime_ms = 10 * MIN},
     "runtime-in-doubt",
     "codespace"},
    {"more than ten minutes force the cloud",
     "true",
     {.runtime_ms = 10 * MIN + 1},
     "force-runtime",
     "codespace"},
    {"three minutes do not",
     "true",
     {.runtime_ms = 3 * MIN},
     "score-too-low",
     "local"},
    {"just over three minutes are in doubt",
     "true",
     {.runtime_ms = 3 * MIN + 1},
     "runtime-in-doubt",
     "codespace"},
    {"a heavy log forces the cloud",
     "true",
     {.heavy_log = true},
     "force-heavy-log",
     "codespace"},
    {"language models force the cloud",
     "true",
     {.llm = true},
     "force-llm",
     "codespace"},
    {"two jobs at once force the cloud",
     "true",
     {.parallel = 2},
     "force-parallel",
     "codespace"},
    {"one job does not", "true", {.parallel = 1}, "score-too-low", "local"},
    {"8 GB fit", "true", {.memory_bytes = 8 * GIB}, "score-too-low", "local"},
    {"one byte more does not",
     "true",
     {.memory_bytes = 8 * GIB + 1},
     "force-memory",
     "codespace"},
    {"unknown memory forces the cloud",
     "true",
     {.memory_unknown = true},
     "force-memory-unknown",
     "codespace"},
    {"the exceptions keep a build here when all three hold",
     "npm run build",
     {.ui = true, .light = true, .runtime_ms = 3 * MIN},
     "light-ui-work",
     "local"},
    {"two of three do not",
     "npm run build",
     {.ui = true, .light = true},
     "score",
     "codespace"},
    {"the exceptions keep a cloud agent here",
     "true",
     {.agent = "Builder", .ui = true, .light = true, .runtime_ms = MIN},
     "light-ui-work",
     "local"},
    {"the exceptions do not beat a forced cloud",
     "true",
     {.ui = true, .light = true, .runtime_ms = MIN, .llm = true},
     "force-llm",
     "codespace"},
    {"a prefix beats a forced cloud",
     "local: true",
     {.llm = true},
     "prefix-local",
     "local"},
    {"a local agent beats a prefix",
     "cloud: true",
     {.agent = "Judge"},
     "affinity-local",
     "local"},
    {"unknown data alone does not",
     "true",
     {.data = "unknown"},
     "score-too-low",
     "local"},
    {"unknown data and a test do",
     "pytest",
     {.data = "unknown"},
     "score",
     "codespace"},
    {"large data and a test do",
     "pytest",
     {.data = "large"},
     "score",
     "codespace"},
    {"small data does not",
     "pytest",
     {.data = "small"},
     "score-too-low",
     "local"},
};

static void
hint_case(void **state)
{
    const struct hint_row *r = *state;
    struct decide_sample *s;
    struct decision d;

    pool = mem_pool_new();
    s = shell(r->command);
    s->hints = r->hints;
    if (!s->hints.agent)
        s->hints.agent = "";
    if (!s->hints.data)
        s->hints.data = "";
    d = admit(s);
    assert_string_equal(d.rule, r->rule);
    assert_string_equal(d.backend, r->backend);
    mem_pool_free(pool);
}

/* --- delegation front matter -----------------------------------------------
 */

/* The five rules of its Decide, in their order: each row breaks only the rules
 * below the one it names. Reasons are the Go code's, byte for byte. */

static void
prompts_follow_their_delegation_front_matter(void **state)
{
    static const struct {
        const char *preferred;
        bool allow, needs;
        const char *backend, *lane, *reason;
    } rows[] = {
        {"gpu", true, true, "local", "claude-code", "needs_claude_code=true"},
        {"Claude-Code", true, false, "local", "claude-code",
         "preferred_ai=claude-code"},
        {"gpu", false, false, "local", "claude-code",
         "allow_delegation=false (default)"},
        {"", false, false, "local", "claude-code",
         "allow_delegation=false (default)"},
        {"gpu", true, false, "secutools", "gpu", "preferred_ai=gpu"},
        {" GEMINI ", true, false, "secutools", "gemini", "preferred_ai=gemini"},
        {"claude-api", true, false, "secutools", "claude-api",
         "preferred_ai=claude-api"},
        {"auto", true, false, "secutools", "auto",
         "preferred_ai=auto (smart_triage)"},
        {"", true, false, "secutools", "auto",
         "preferred_ai=auto (smart_triage)"},
        {"\tAuto\n", true, false, "secutools", "auto",
         "preferred_ai=auto (smart_triage)"},
        {"GPT", true, false, "local", "claude-code",
         "unknown preferred_ai=gpt → fail-safe"},
        {"xyz", true, false, "local", "claude-code",
         "unknown preferred_ai=xyz → fail-safe"},
        {"xyz", false, false, "local", "claude-code",
         "allow_delegation=false (default)"},
        {"claude-code", true, true, "local", "claude-code",
         "needs_claude_code=true"},
        {"claude code", true, false, "local", "claude-code",
         "unknown preferred_ai=claude code → fail-safe"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct decision d =
            admit(prompt(rows[i].preferred, rows[i].allow, rows[i].needs));

        assert_string_equal(d.backend, rows[i].backend);
        assert_string_equal(d.lane, rows[i].lane);
        assert_string_equal(d.reason, rows[i].reason);
        assert_false(d.scored);
    }
}

static void
a_prompt_without_front_matter_stays_here(void **state)
{
    struct decide_sample *s = prompt("", false, false);
    struct decision d;

    (void)state;
    s->task.delegation = NULL;
    s->task.prompt = "cloud: build everything";
    d = admit(s);
    assert_string_equal(d.lane, "claude-code");
    assert_string_equal(d.rule, "delegation-not-allowed");
    assert_string_equal(s->task.prompt, "cloud: build everything");
}

/* --- pins ----------------------------------------------------------------- */

static void
pins_and_executors_come_first(void **state)
{
    static const struct {
        const char *backend, *lane, *executor;
        const char *to_backend, *to_lane, *rule;
    } rows[] = {
        {"codespace", "", "", "codespace", "default", "pinned"},
        {"local", "claude-code", "", "local", "claude-code", "pinned"},
        {"", "claude-code", "", "local", "claude-code", "pinned"},
        {"local", "", "devbox-codex", "local", "default", "pinned"},
        {"", "", "devbox-codex", "local", "default", "executor"},
        {"", "", "vm-codex", "local", "default", "executor"},
        {"", "", "local-mac-codex", "local", "default", "executor"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct decide_sample *s = shell("cloud: make");
        struct decision d;

        s->task.backend = rows[i].backend;
        s->task.lane = rows[i].lane;
        s->task.executor = rows[i].executor;
        d = admit(s);
        assert_string_equal(d.backend, rows[i].to_backend);
        assert_string_equal(d.lane, rows[i].to_lane);
        assert_string_equal(d.rule, rows[i].rule);
        assert_false(d.scored);
        assert_string_equal(s->step.script, "make");
    }
}

static void
a_pinned_prompt_finds_the_lane_of_its_backend(void **state)
{
    struct decide_sample *s = prompt("gemini", true, false);
    struct decision d;

    (void)state;
    s->task.backend = "secutools";
    d = admit(s);
    assert_string_equal(d.lane, "gemini");
    s->task.backend = "local";
    d = admit(s);
    assert_string_equal(d.lane, "claude-code");
    s->task.backend = "";
    s->task.lane = "gpu";
    d = admit(s);
    assert_string_equal(d.backend, "secutools");
}

static void
a_prompt_that_must_stay_is_sent_away_by_nothing(void **state)
{
    static const struct {
        const char *backend, *lane;
    } pins[] = {{"secutools", ""}, {"", "gpu"}, {"", "auto"}};

    (void)state;
    for (size_t i = 0; i < sizeof pins / sizeof *pins; i++)
        for (int needs = 0; needs < 2; needs++) {
            struct decide_sample *s = prompt("gpu", needs, needs);
            struct decision d;

            s->task.backend = pins[i].backend;
            s->task.lane = pins[i].lane;
            d = admit(s);
            assert_true(d.rejected);
            assert_string_equal(d.rule, "must-not-leave");
        }
}

static void
expect_rejected(struct decide_sample *s, const char *reason)
{
    struct decision d = admit(s);

    assert_true(d.rejected);
    assert_string_equal(d.backend, "");
    assert_string_equal(d.lane, "");
    assert_string_equal(d.reason, reason);
}

static void
what_no_place_takes_is_rejected_with_the_list(void **state)
{
    struct decide_sample *s = shell("true");

    (void)state;
    s->task.executor = "codex-9";
    expect_rejected(s, "executor 'codex-9' is unknown; known are "
                       "devbox-codex, vm-codex, local-mac-codex");
    s = shell("true");
    s->task.backend = "gke";
    expect_rejected(s, "backend 'gke' is unknown; known are local, codespace "
                       "and secutools");
    s = shell("true");
    s->task.backend = "secutools";
    expect_rejected(s, "backend secutools answers prompts and cannot run "
                       "steps; use local or codespace");
    s = prompt("", false, false);
    s->task.backend = "codespace";
    expect_rejected(s, "backend codespace runs steps; a prompt goes to local "
                       "(lane claude-code) or secutools");
    expect_rejected(shell("cloud: "),
                    "nothing is left to run after the prefix");
}

/* --- prefixes ------------------------------------------------------------- */

static void
a_prefix_is_taken_off_command_and_first_step(void **state)
{
    const char *split[] = {"local:", "npm", "run", "build"};
    const char *joined[] = {"cloud:make", "all"};
    struct decide_sample *s = shell("cloud:  ruff check .");

    (void)state;
    (void)admit(s);
    assert_string_equal(s->task.command, "ruff check .");
    assert_string_equal(s->step.script, "ruff check .");

    s = shell("");
    s->step.argv = split;
    s->step.n_argv = 4;
    assert_int_equal(admit(s).score, -8);
    assert_int_equal(s->step.n_argv, 3);
    assert_string_equal(s->step.argv[0], "npm");

    s = shell("");
    s->step.argv = joined;
    s->step.n_argv = 2;
    assert_string_equal(admit(s).backend, "codespace");
    assert_string_equal(s->step.argv[0], "make");
    assert_int_equal(s->step.n_argv, 2);
}

static void
steps_are_read_where_no_command_is_given(void **state)
{
    struct step steps[] = {
        {.name = "1", .script = "git pull --ff-only", .workdir = ""},
        {.name = "2",
         .script = "uv run pytest tests/smoke/test_foo.py",
         .workdir = ""}};
    struct decide_sample *s = shell("");
    struct decision d;

    (void)state;
    s->task.steps = steps;
    s->task.n_steps = 2;
    d = admit(s);
    assert_int_equal(d.score, 2);
    assert_string_equal(d.backend, "codespace");
}

/* --- facts ---------------------------------------------------------------- */

static struct decision
decide_in(struct decide_sample *s, const struct routing_facts *f,
          enum when_unavailable then)
{
    struct policy p = *policy_default();
    struct decision d;

    p.when_unavailable = then;
    decide(&s->task, f, &p, pool, &d);
    return d;
}

static void
what_runs_already_weighs_two(void **state)
{
    struct routing_facts f = full_fleet;
    struct decision d = decide_in(shell("true"), &f, UNAVAILABLE_LOCAL);

    (void)state;
    assert_string_equal(d.backend, "local");
    f.running_local = 1;
    d = decide_in(shell("true"), &f, UNAVAILABLE_LOCAL);
    assert_string_equal(d.backend, "codespace");
    assert_string_equal(signals_text(&d), "1 running here(2)");
    f.known = false;
    d = decide_in(shell("true"), &f, UNAVAILABLE_LOCAL);
    assert_int_equal(d.score, 0);
}

static void
a_lane_is_there_if_a_worker_serves_it(void **state)
{
    static const char *const lanes[] = {"secutools.auto", "codespace.default"};
    struct routing_facts f = {.known = true, .lanes = lanes, .n_lanes = 2};
    struct decision d = decide_in(shell("make build"), &f, UNAVAILABLE_LOCAL);

    (void)state;
    assert_string_equal(d.backend, "codespace");
    d = decide_in(prompt("", true, false), &f, UNAVAILABLE_LOCAL);
    assert_string_equal(d.backend, "secutools");
    d = decide_in(prompt("gpu", true, false), &f, UNAVAILABLE_LOCAL);
    assert_string_equal(d.backend, "local");
    assert_string_equal(d.reason,
                        "preferred_ai=gpu; secutools.gpu is not available, so "
                        "it goes to local.claude-code; no worker of "
                        "local.claude-code is known, so it waits for one");
    f.n_lanes = 1;
    d = decide_in(shell("make build"), &f, UNAVAILABLE_LOCAL);
    assert_string_equal(d.wanted, "codespace");
}

/* The limit is 8 GB because the Mac of the cloud routing rules has 48: where
 * less is free, less is too much. A worker that does not say what is free
 * forces nothing. */
static void
what_no_local_worker_has_free_goes_away(void **state)
{
    struct routing_facts f = full_fleet;
    struct decide_sample *s = shell("true");
    struct decision d;

    (void)state;
    s->hints.memory_bytes = 6 * GIB;
    d = decide_in(s, &f, UNAVAILABLE_LOCAL);
    assert_string_equal(d.backend, "local");
    f.local_free_bytes = 6 * GIB;
    d = decide_in(s, &f, UNAVAILABLE_LOCAL);
    assert_string_equal(d.backend, "local");
    f.local_free_bytes = 6 * GIB - 1;
    d = decide_in(s, &f, UNAVAILABLE_LOCAL);
    assert_string_equal(d.rule, "force-memory-free");
    assert_string_equal(d.reason,
                        "stated memory 6144 MiB is more than any local worker "
                        "has free (6143 MiB)");
    s->hints.memory_bytes = 9 * GIB; /* the fixed limit stands before it */
    d = decide_in(s, &f, UNAVAILABLE_LOCAL);
    assert_string_equal(d.rule, "force-memory");
}

static void
a_missing_backend_is_said_never_silent(void **state)
{
    static const char *const lanes[] = {"local.default"};
    struct routing_facts f = bare_fleet;
    struct decision d =
        decide_in(shell("make build"), &bare_fleet, UNAVAILABLE_LOCAL);

    (void)state;
    assert_string_equal(d.backend, "local");
    assert_string_equal(d.lane, "default");
    assert_string_equal(d.wanted, "codespace");
    assert_string_equal(d.rule, "score");
    assert_string_equal(d.reason,
                        "score 2 reaches the threshold 2; codespace.default "
                        "is not available, so it goes to local.default; no "
                        "worker of local.default is known, so it waits for "
                        "one");
    f.lanes = lanes;
    f.n_lanes = 1;
    d = decide_in(shell("make build"), &f, UNAVAILABLE_LOCAL);
    assert_string_equal(d.reason,
                        "score 2 reaches the threshold 2; codespace.default "
                        "is not available, so it runs on local.default");
    d = decide_in(shell("true"), &f, UNAVAILABLE_LOCAL);
    assert_string_equal(d.reason, "score 0 is below the threshold 2");
    /* B3: nobody serves the lane of prompts yet. */
    d = decide_in(prompt("", false, false), &f, UNAVAILABLE_LOCAL);
    assert_string_equal(d.reason,
                        "allow_delegation=false (default); no worker of "
                        "local.claude-code is known, so it waits for one");
    d = decide_in(shell("make build"), &bare_fleet, UNAVAILABLE_LOCAL);
    assert_string_equal(d.lost[d.n_lost - 1],
                        "codespace.default: not available (no worker is known "
                        "and none is configured)");

    d = decide_in(shell("make build"), &bare_fleet, UNAVAILABLE_QUEUE);
    assert_string_equal(d.backend, "codespace");
    assert_non_null(strstr(d.reason, "it waits for one"));

    d = decide_in(shell("make build"), &bare_fleet, UNAVAILABLE_REJECT);
    assert_true(d.rejected);
    assert_string_equal(d.wanted, "codespace");

    d = decide_in(prompt("gpu", true, false), &bare_fleet, UNAVAILABLE_LOCAL);
    assert_string_equal(d.backend, "local");
    assert_string_equal(d.lane, "claude-code");
    assert_string_equal(d.wanted, "secutools");

    d = decide_in(prompt("gpu", true, false), &full_fleet, UNAVAILABLE_LOCAL);
    assert_string_equal(d.backend, "secutools");
    assert_string_equal(d.wanted, "");
}

static void
what_the_submitter_pinned_waits_for_its_worker(void **state)
{
    struct decide_sample *s = shell("true");
    struct decision d;

    (void)state;
    s->task.backend = "codespace";
    d = decide_in(s, &bare_fleet, UNAVAILABLE_REJECT);
    assert_false(d.rejected);
    assert_string_equal(d.backend, "codespace");
    assert_string_equal(d.reason,
                        "the submitter asked for codespace.default; no worker "
                        "of codespace.default is known, so it waits for one");
}

static void
a_stated_runtime_has_a_price_where_the_policy_knows_one(void **state)
{
    static const struct {
        uint64_t runtime_ms;
        const char *backend, *cost;
    } rows[] = {
        {60 * MIN, "codespace", "0.36"},
        {11 * MIN, "codespace", "0.07"},
        {30 * MIN, "codespace", "0.18"},
        {1, "codespace", "0.00"},
        {0, "codespace", ""},
        {60 * MIN, "local", ""},
        {UINT64_MAX, "codespace", ""},
        {240 * 60 * MIN, "codespace", "86.40"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct decide_sample *s = shell("true");

        s->task.backend = rows[i].backend;
        s->hints.runtime_ms = rows[i].runtime_ms;
        assert_string_equal(admit(s).cost_usd, rows[i].cost);
    }
}

static void
the_same_task_is_always_decided_the_same(void **state)
{
    struct decision a = admit(shell("cd x && uv run pytest"));
    struct decision b = admit(shell("cd x && uv run pytest"));

    (void)state;
    assert_string_equal(signals_text(&a), signals_text(&b));
    assert_string_equal(a.reason, b.reason);
    assert_string_equal(a.policy, policy_default()->version);
    assert_int_equal(a.decided_at_ms, 0);
    assert_int_equal(a.n_lost, b.n_lost);
}

int
main(void)
{
    static const struct CMUnitTest fixed[] = {
        POOLED(the_affinity_table_is_complete),
        POOLED(b6_an_agent_that_builds_works_in_the_cloud_only_when_it_builds),
        POOLED(prompts_follow_their_delegation_front_matter),
        POOLED(a_prompt_without_front_matter_stays_here),
        POOLED(pins_and_executors_come_first),
        POOLED(a_prompt_that_must_stay_is_sent_away_by_nothing),
        POOLED(a_pinned_prompt_finds_the_lane_of_its_backend),
        POOLED(what_no_place_takes_is_rejected_with_the_list),
        POOLED(a_prefix_is_taken_off_command_and_first_step),
        POOLED(steps_are_read_where_no_command_is_given),
        POOLED(what_runs_already_weighs_two),
        POOLED(a_lane_is_there_if_a_worker_serves_it),
        POOLED(what_no_local_worker_has_free_goes_away),
        POOLED(a_missing_backend_is_said_never_silent),
        POOLED(what_the_submitter_pinned_waits_for_its_worker),
        POOLED(a_stated_runtime_has_a_price_where_the_policy_knows_one),
        POOLED(the_same_task_is_always_decided_the_same),
    };
    enum {
        N_FIXED = sizeof fixed / sizeof *fixed,
        N_HINTS = sizeof hint_rows / sizeof *hint_rows
    };
    struct CMUnitTest tests[N_FIXED + N_HINTS];

    memcpy(tests, fixed, sizeof fixed);
    for (size_t i = 0; i < N_HINTS; i++)
        tests[N_FIXED + i] =
            (struct CMUnitTest){.name = hint_rows[i].name,
                                .test_func = hint_case,
                                .initial_state = (void *)&hint_rows[i]};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
