#include "router/policy.h"

#include "lib/base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { MIN_MS = 60 * 1000 };

static struct mem_pool *pool;
static struct str shipped; /* the text of etc/policy.yaml */

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

static int
read_shipped(void **state)
{
    FILE *file = fopen("etc/policy.yaml", "rb");
    char buf[4096];
    size_t n;

    (void)state;
    assert_non_null(file);
    while ((n = fread(buf, 1, sizeof buf, file)) > 0)
        str_add(&shipped, buf, n);
    return fclose(file);
}

static int
free_shipped(void **state)
{
    (void)state;
    str_free(&shipped);
    return 0;
}

/* The shipped text with the one place that reads `from` changed to `to`. */
static const char *
changed(const char *from, const char *to)
{
    const char *text = str_text(&shipped), *at = strstr(text, from);

    if (!at || strstr(at + 1, from))
        fail_msg("'%s' stands not once in the shipped policy", from);
    return mem_pool_printf(pool, "%.*s%s%s", (int)(at - text), text, to,
                           at + strlen(from));
}

static void
parse(const char *text, struct policy *out)
{
    struct err e = {0};

    if (policy_parse("p.yaml", text, strlen(text), pool, out, &e) < 0)
        fail_msg("%s", e.msg);
}

/* --- what is shipped ------------------------------------------------------ */

static void
the_built_in_policy_is_the_shipped_file(void **state)
{
    const struct policy *built_in = policy_default();
    struct policy p;
    struct err e = {0};

    (void)state;
    assert_int_equal(policy_load("etc/policy.yaml", pool, &p, &e), 0);
    assert_string_equal(p.version, built_in->version);
    assert_int_equal(strncmp(p.version, "shipped-1@", 10), 0);
    assert_int_equal(strlen(p.version), 18);
    assert_int_equal(policy_load("", pool, &p, &e), 0);
    assert_string_equal(p.version, built_in->version);
}

static void
it_has_the_limits_of_the_cloud_routing_rules(void **state)
{
    const struct policy *p = policy_default();

    (void)state;
    assert_int_equal(p->threshold, 2);
    assert_int_equal(p->cloud_runtime_ms, 10 * MIN_MS);
    assert_int_equal(p->local_runtime_ms, 3 * MIN_MS);
    assert_true(p->cloud_memory_bytes == 8ULL << 30);
    assert_int_equal(p->cloud_parallel, 2);
    assert_true(p->cloud_heavy_log && p->cloud_llm && p->cloud_memory_unknown);
    assert_true(p->local_ui && p->local_light);
    assert_int_equal(p->when_unavailable, UNAVAILABLE_LOCAL);
    assert_int_equal(p->n_agents, 25);
    assert_true(p->n_keywords > 18);
    assert_int_equal(p->n_executors, 3);
    assert_int_equal(p->n_providers, 3);
}

static void
it_has_the_rows_of_the_cloud_routing_rules(void **state)
{
    static const struct {
        const char *name;
        int32_t points;
    } rows[] = {{"build", 2},
                {"batch-job", 2},
                {"test", 1},
                {"toolchain", 1},
                {"long-running", 2},
                {"heavy-log", 2},
                {"heavy-processing", 2},
                {"parallel", 2},
                {"data", 1},
                {"cloud-prefix", 3},
                {"local-prefix", -10}};
    const struct policy *p = policy_default();

    (void)state;
    assert_int_equal(p->n_rows, sizeof rows / sizeof *rows);
    for (size_t i = 0; i < p->n_rows; i++) {
        assert_string_equal(p->rows[i].name, rows[i].name);
        assert_int_equal(p->rows[i].points, rows[i].points);
    }
}

/* --- what is looked up ---------------------------------------------------- */

static void
a_word_finds_its_row_alone_or_after_its_companion(void **state)
{
    const struct policy *p = policy_default();
    const struct keyword *k;
    size_t at = 0;

    (void)state;
    k = policy_keyword(p, "", "build", &at);
    assert_non_null(k);
    assert_string_equal(p->rows[k->row].name, "build");
    assert_null(policy_keyword(p, "", "build", &at));
    at = 0;
    k = policy_keyword(p, "npm", "run", &at);
    assert_non_null(k);
    assert_string_equal(k->text, "npm run");
    at = 0;
    k = policy_keyword(p, "uv", "run", &at);
    assert_non_null(k);
    assert_string_equal(k->text, "uv run");
    at = 0;
    assert_null(policy_keyword(p, "pnpm", "run", &at));
    at = 0;
    assert_null(policy_keyword(p, "", "run", &at));
    at = 0;
    assert_null(policy_keyword(p, "", "", &at));
}

static void
one_word_may_complete_two_keywords(void **state)
{
    const struct policy *p;
    struct policy own;
    size_t at = 0;

    (void)state;
    parse(changed("[docker, npm run,", "[run, docker, npm run,"), &own);
    p = &own;
    assert_string_equal(policy_keyword(p, "npm", "run", &at)->text, "run");
    assert_string_equal(policy_keyword(p, "npm", "run", &at)->text, "npm run");
    assert_null(policy_keyword(p, "npm", "run", &at));
}

static void
the_nearer_price_counts(void **state)
{
    struct policy p;

    (void)state;
    parse(changed("  codespace: 0.36 ",
                  "  codespace: 0.36\n  codespace.big: 1.000001\n"
                  "  secutools.gpu: 2 "),
          &p);
    assert_int_equal(policy_price(&p, "codespace", "default"), 360000);
    assert_int_equal(policy_price(&p, "codespace", "big"), 1000001);
    assert_int_equal(policy_price(&p, "secutools", "gpu"), 2000000);
    assert_int_equal(policy_price(&p, "secutools", "auto"), 0);
    assert_int_equal(policy_price(&p, "local", "default"), 0);
}

static void
a_condition_that_is_false_or_left_out_is_not_asked(void **state)
{
    struct policy p;

    (void)state;
    parse(changed("  runtime_over: 10m ", "  runtime_over: false "), &p);
    assert_int_equal(p.cloud_runtime_ms, 0);
    parse(changed("  memory_over: 8G ", "  # "), &p);
    assert_int_equal(p.cloud_memory_bytes, 0);
    parse(changed("  ui: true ", "  ui: false "), &p);
    assert_false(p.local_ui);
}

static void
every_change_of_the_file_changes_the_version(void **state)
{
    struct policy p;

    (void)state;
    parse(changed("threshold: 2", "threshold: 3"), &p);
    assert_int_equal(p.threshold, 3);
    assert_string_not_equal(p.version, policy_default()->version);
    parse(changed("version: shipped-1", "version: mine"), &p);
    assert_int_equal(strncmp(p.version, "mine@", 5), 0);
}

/* --- what is refused ------------------------------------------------------ */

struct mistake {
    const char *name; /* a sentence */
    const char *from, *to;
    const char *says;
};

static const struct mistake mistakes[] = {
    {"an unknown key is named with the known ones", "threshold: 2",
     "treshold: 2", "policy: unknown key treshold; known are version, "},
    {"a missing part is named", "when_unavailable: local", "",
     "policy: when_unavailable is missing; etc/policy.yaml shows it"},
    {"a key given twice is refused", "threshold: 2",
     "threshold: 2\nthreshold: 3", "threshold: given twice"},
    {"an unknown condition is refused", "  heavy_log: true ",
     "  heavy_logs: true ", "force_cloud: unknown key heavy_logs; known"},
    {"a condition is true or false", "  llm: true ", "  llm: perhaps ",
     "llm: true or false is expected, not 'perhaps'"},
    {"a quoted true is text", "  llm: true ", "  llm: \"true\" ",
     "llm: true or false is expected"},
    {"a runtime is a duration", "  runtime_over: 10m ", "  runtime_over: ten ",
     "runtime_over: a duration (10m, at most 1d) or false is expected"},
    {"nothing runs longer than a day", "  runtime_over: 10m ",
     "  runtime_over: 25h ", "runtime_over: a duration"},
    {"a memory is a size", "  memory_over: 8G ", "  memory_over: big ",
     "memory_over: a size (8G, at most 1T) or false is expected, not 'big'"},
    {"jobs at once are counted from one", "  parallel_from: 2 ",
     "  parallel_from: 0 ", "parallel_from: a whole number from 1"},
    {"what is short is not longer than what is long", "  runtime_up_to: 3m ",
     "  runtime_up_to: 11m ", "runtime_up_to is longer than runtime_over"},
    {"points have a limit", "    points: -10", "    points: -101",
     "points: a whole number from -100 to 100, not 0, is expected"},
    {"a row without points says nothing", "    points: -10", "    points: 0",
     "points: a whole number from -100 to 100, not 0, is expected"},
    {"points are whole", "    points: 3", "    points: 2.5", "not '2.5'"},
    {"the threshold has a limit", "threshold: 2", "threshold: many",
     "threshold: a whole number from -100 to 100 is expected, not 'many'"},
    {"a word of two rows is refused", "words: [watch, dev, serve]",
     "words: [watch, build, serve]",
     "words: 'build' is listed in two rows or twice in one; keep one"},
    {"a word twice in its row is refused", "words: [watch, dev, serve]",
     "words: [watch, watch]", "words: 'watch' is listed in two rows or twice"},
    {"a word that cannot match is refused", "words: [watch, dev, serve]",
     "words: [watch, train.py]", "words: 'train.py' could never match"},
    {"so is one in capitals", "words: [watch, dev, serve]", "words: [Watch]",
     "words: 'Watch' could never match"},
    {"and three words", "words: [watch, dev, serve]", "words: [a b c]",
     "words: 'a b c' could never match"},
    {"words are a list", "words: [watch, dev, serve]", "words: watch",
     "words: a list is expected here, not text"},
    {"a row is one thing", "    prefix: cloud",
     "    prefix: cloud\n    data: [large]",
     "signals: cloud-prefix needs exactly one of words, prefix, "
     "running_local and data"},
    {"a row is something", "    prefix: cloud", "",
     "signals: cloud-prefix needs exactly one of"},
    {"rows have names of their own", "  - name: local-prefix",
     "  - name: cloud-prefix", "signals: two rows are named cloud-prefix"},
    {"a prefix is cloud or local", "    prefix: cloud", "    prefix: gpu",
     "prefix: cloud or local is expected, not 'gpu'"},
    {"an amount of data is one of three", "    data: [unknown, large]",
     "    data: [huge]", "data: small, large or unknown is expected"},
    {"an agent is in one list", "    - Rally", "    - builder",
     "affinity: builder is listed twice; keep one"},
    {"agents are lists", "  depends:\n    - Rally\n    - Nexus",
     "  depends: Rally", "depends: a list is expected here, not text"},
    {"there are three kinds of agents", "  depends:", "  perhaps:",
     "affinity: unknown key perhaps; known are cloud, local, depends"},
    {"an unknown backend is refused", "  vm-codex: local.default",
     "  vm-codex: gke.default",
     "executors: 'gke.default' is not a lane; write backend.lane"},
    {"a lane needs its backend", "  vm-codex: local.default",
     "  vm-codex: default", "executors: 'default' is not a lane"},
    {"an executor twice is refused", "  vm-codex: local.default",
     "  devbox-codex: local.default", "devbox-codex: given twice"},
    {"a provider in capitals is refused", "providers: [gpu,",
     "providers: [GPU,", "providers: a lane's name in lower case"},
    {"auto is not a provider", "providers: [gpu,", "providers: [auto,",
     "neither auto nor claude-code, is expected, not auto"},
    {"a light program is a word", "  [git, cd, ls,", "  [git, ./cd, ls,",
     "light_programs: a word in lower case"},
    {"a suffix is listed once", "  [log, md, txt,", "  [log, md, log,",
     "data_suffixes: log is listed twice; keep one"},
    {"what to do without a worker is one of three", "when_unavailable: local",
     "when_unavailable: panic",
     "when_unavailable: local, queue or reject is expected, not 'panic'"},
    {"a price is an amount", "  codespace: 0.36 ", "  codespace: cheap ",
     "prices: 'cheap' is not a price; write US dollars an hour"},
    {"a price has six digits at most", "  codespace: 0.36 ",
     "  codespace: 0.3600001 ", "is not a price"},
    {"a price is of a place", "  codespace: 0.36 ", "  moon: 0.36 ",
     "prices: 'moon' is neither a backend"},
    {"a version is a line", "version: shipped-1", "version:",
     "version: a line of at most 40 characters is expected, not nothing"},
    {"invalid YAML is refused", "threshold: 2", "threshold: [2", ""},
};

static void
one_mistake(void **state)
{
    const struct mistake *m = *state;
    const char *text = changed(m->from, m->to), *colon;
    struct policy p = {.version = "untouched"};
    struct err e = {0};

    assert_int_equal(policy_parse("p.yaml", text, strlen(text), pool, &p, &e),
                     -1);
    assert_int_equal(e.code, ERR_INVALID);
    if (!strstr(e.msg, m->says))
        fail_msg("\"%s\" does not say \"%s\"", e.msg, m->says);
    colon = strchr(e.msg, ':');
    if (strncmp(e.msg, "p.yaml:", 7) != 0 || colon[1] < '1' || colon[1] > '9')
        fail_msg("no file and line: %s", e.msg);
    assert_string_equal(p.version, "untouched");
}

static void
an_error_carries_line_and_column(void **state)
{
    static const char text[] = "version: x\nthreshold: 2\nforce_cloud:\n"
                               "  llm: maybe\n";
    struct policy p;
    struct err e = {0};

    (void)state;
    assert_int_equal(
        policy_parse("p.yaml", text, sizeof text - 1, pool, &p, &e), -1);
    assert_string_equal(e.msg, "p.yaml:4:8: llm: true or false is expected, "
                               "not 'maybe'");
}

static void
what_is_no_file_or_too_large_is_refused(void **state)
{
    struct str large = {0};
    struct policy p;
    struct err e = {0};

    (void)state;
    assert_int_equal(policy_load("no/such/policy.yaml", pool, &p, &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    assert_non_null(strstr(e.msg, "no/such/policy.yaml"));
    assert_int_equal(policy_load("/", pool, &p, &e), -1);
    while (large.len <= POLICY_BYTES_MAX)
        str_addz(&large, "# a comment\n");
    assert_int_equal(
        policy_parse("p.yaml", str_text(&large), large.len, pool, &p, &e), -1);
    assert_non_null(strstr(e.msg, "more than"));
    assert_int_equal(policy_parse("p.yaml", "", 0, pool, &p, &e), -1);
    str_free(&large);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, new_pool, free_pool)

int
main(void)
{
    static const struct CMUnitTest fixed[] = {
        TEST(the_built_in_policy_is_the_shipped_file),
        TEST(it_has_the_limits_of_the_cloud_routing_rules),
        TEST(it_has_the_rows_of_the_cloud_routing_rules),
        TEST(a_word_finds_its_row_alone_or_after_its_companion),
        TEST(one_word_may_complete_two_keywords),
        TEST(the_nearer_price_counts),
        TEST(a_condition_that_is_false_or_left_out_is_not_asked),
        TEST(every_change_of_the_file_changes_the_version),
        TEST(an_error_carries_line_and_column),
        TEST(what_is_no_file_or_too_large_is_refused),
    };
    enum {
        N_FIXED = sizeof fixed / sizeof *fixed,
        N_MISTAKES = sizeof mistakes / sizeof *mistakes
    };
    struct CMUnitTest tests[N_FIXED + N_MISTAKES];

    memcpy(tests, fixed, sizeof fixed);
    for (size_t i = 0; i < N_MISTAKES; i++)
        tests[N_FIXED + i] =
            (struct CMUnitTest){mistakes[i].name, one_mistake, new_pool,
                                free_pool, (void *)&mistakes[i]};
    return cmocka_run_group_tests(tests, read_shipped, free_shipped);
}
