#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <time.h>

#include <cmocka.h>

enum { TARGETS_MAX = 40, LARGE_BYTES = 500 * 1000, LARGE_SECONDS = 5 };

static void
run_file(const struct fuzz_target *t, const char *path)
{
    uint8_t buf[4096], *data;
    FILE *file = fopen(path, "rb");
    size_t len;

    assert_non_null(file);
    len = fread(buf, 1, sizeof buf, file);
    assert_int_equal(fclose(file), 0);
    if (len == sizeof buf)
        fail_msg("%s: a seed is smaller than %zu bytes", path, sizeof buf);
    /* Memory of just that size, so that a sanitizer sees what reads on. */
    data = mem_alloc(len);
    memcpy(data, buf, len);
    (void)fprintf(stderr, "# %s\n", path); /* the last is what broke it */
    t->run(data, len);
    mem_free(data);
}

static void
every_seed_of_this_target_holds(void **state)
{
    const struct fuzz_target *t = *state;
    char dir[128], path[512];
    struct dirent **entries;
    int n, seeds = 0;

    (void)snprintf(dir, sizeof dir, "tests/fuzz/seeds/%s", t->name);
    n = scandir(dir, &entries, NULL, alphasort);
    if (n < 0)
        fail_msg("%s: cannot be read", dir);
    for (int i = 0; i < n; i++) {
        if (entries[i]->d_name[0] != '.') {
            (void)snprintf(path, sizeof path, "%s/%s", dir, entries[i]->d_name);
            run_file(t, path);
            seeds++;
        }
        free(entries[i]);
    }
    free(entries);
    assert_true(seeds > 0);
}

/* A long input: head, then piece again and again with its number for '#'. */
static const struct large {
    const char *target, *head, *piece, *tail;
} large[] = {
    {"formats", "{\"prompt\":\"x\"", ",\"k#\":1", "}"},
    {"formats", "{\"script\":\"x\"", ",\"k#\":[\"\\\"\"]", "}"},
    {"formats", "{\"prompt\":\"x\",\"hints\":{\"ui\":true", ",\"#\":{}", "}}"},
    {"formats", "executor: x\n", "k#: 1\n", ""},
    {"formats", "---\n", "k#: 1\n", "---\nx"},
    {"formats", "", "```codex-brief\nexecutor: x\n```\n", ""},
    {"formats", "", "```yaml\nexecutor: x\n", "```\n"},
    {"formats", "", "\n    executor: x\n\nb\n", ""},
    {"formats", "executor: x\nsteps:\n", "- a\n", ""},
    {"formats", "rally: r\nbranches:\n",
     "  b#: {steps: [x], exclusive_write: ['*a*/#']}\n", ""},
    {"formats", "rally: r\nbranches: {a: {steps: [x], exclusive_write: [",
     "'*#*', ", "]}, b: {steps: [x], exclusive_write: ['/x']}}"},
    {"formats", "{\"work_branch\":\"b\",\"acceptance\":[],\"tasks\":[",
     "{\"id\":\"#\",\"commands\":[\"x\"]},", "{}]}"},
    {"formats", "{\"kind\":\"ask\",\"actions\":[{\"cmd\":\"kubectl get ", "x ",
     "\"}]}"},
    {"glob", "", "*a", "\nb"},
    {"json_task", "{\"prompt\":\"", "\\u65e5", "\"}"},
    {"json_task", "", "[", ""},
    {"json_task", "{\"prompt\":\"x\",\"env\":{\"A\":\"\"", ",\"A#\":\"x\"",
     "}}"},
    {"task_in", "{\"prompt\":\"x\"", ",\"k#\":\"x\"", "}"},
    {"task", "", "\x4a\x03\x1a\x01x", ""},     /* steps */
    {"task", "", "\x8a\x02\x03\x32\x01x", ""}, /* one batch, many globs */
    {"routed", "", "\x0a\x02\x70\x01", ""},    /* one task again and again */
    {"log_chunk", "\x0a\x01x", "\x3a\x03\x12\x01x", ""},
    {"heartbeat", "\x0a\x01x\x12\x01y", "\x1a\x01z", ""},
    {"dod", "", "not ", "1 == 1"},
    {"test_results", "", "1 failed, ", ""},
    {"test_results", "1..9\n", "ok # # ", "\n"},
    {"test_results", "", "\033[1m1..3\nok\n", ""},
    {"test_results", "{\"Package\":\"", "\\\"", "\"}"},
    {"regex", "(a|b)*a(a|b){9}c\n", "ab", ""},
    {"subject", "", "a.", ""},
    {"words", "", "a ", ""},
    {"words", "", "\"\"", ""},
    {"conf", "", "[", ""},
    {"conf", "", "- ", ""},
    {"conf", "", "? ", ""},
    {"conf", "? \"", "x ", "\"\n: 1\n"},
    {"conf", "worker: {", "slots#: 1, ", "}"},
    {"conf", "local: {", "k#: [1], ", "}"},
    {"conf", "worker: {lanes: [", "a#, ", "z]}"},
    {"conf", "", "#\n", ""},
    {"headers", "{\"error\":", "[", ""},
    {"headers", "$JS.ACK.", "1.", ""},
    {"admission", "\x01{\"steps\":[\"", "a=b -c /d 'e' $(f) ", "\"]}"},
    {"policy", "signals: [", "{name: a#, points: 1, data: []}, ", "]"},
    {"policy", "light_programs: [", "a#, ", "]"},
    {"policy", "affinity: {cloud: [", "A#, ", "]}"},
    {"policy", "signals: [{words: [", "a#, ", "]}]"},
    {"policy", "executors: {", "a#: local.default, ", "}"},
    {"policy", "prices: {", "local.a#: 1, ", "}"},
    {"decide", "\x10", "local: ", ""},
    {"decide", "\x10", "a=b ", ""},
    {"decide", "\x10", "x://y/", ""},
    {"decide", "\x10", "\\\"#", ""},
};

static void
make_large(const struct large *l, struct str *out)
{
    str_addz(out, l->head);
    for (unsigned i = 0; out->len < LARGE_BYTES; i++) {
        for (const char *p = l->piece; *p; p++) {
            if (*p == '#')
                str_addf(out, "%x", i);
            else
                str_addc(out, *p);
        }
    }
    str_addz(out, l->tail);
}

static void
a_long_input_does_not_take_long(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof large / sizeof *large; i++) {
        const struct fuzz_target *t = fuzz_targets;
        struct str text = {0};
        struct timespec from, to;

        while (strcmp(t->name, large[i].target) != 0)
            t++;
        make_large(&large[i], &text);
        (void)clock_gettime(CLOCK_MONOTONIC, &from);
        t->run((const uint8_t *)text.data, text.len);
        (void)clock_gettime(CLOCK_MONOTONIC, &to);
        str_free(&text);
        (void)fprintf(stderr, "# %s %zu: %.2f s\n", t->name, i,
                      (double)(to.tv_sec - from.tv_sec) +
                          (double)(to.tv_nsec - from.tv_nsec) / 1e9);
        if (to.tv_sec - from.tv_sec > LARGE_SECONDS)
            fail_msg("row %zu (%s): %ld s", i, t->name,
                     (long)(to.tv_sec - from.tv_sec));
    }
}

int
main(void)
{
    struct CMUnitTest tests[TARGETS_MAX + 1] = {
        cmocka_unit_test(a_long_input_does_not_take_long)};
    size_t n = 1;

    for (const struct fuzz_target *t = fuzz_targets; t->name; t++)
        tests[n++] = (struct CMUnitTest){
            t->name, every_seed_of_this_target_holds, NULL, NULL, (void *)t};
    return _cmocka_run_group_tests("fuzz seeds", tests, n, NULL, NULL);
}
