#include "lib/base/conf.h"

#include "lib/base/version.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct conf_sample {
    char *url;
    int64_t threshold, wait_ms, memory;
    bool eager;
    char **lanes;
};

static const struct conf_opt opts[] = {
    CONF_STR_ENV(struct conf_sample, url, "bus.url", "nats://default:4222",
                 "NATS_URL", "address of the broker"),
    CONF_INT(struct conf_sample, threshold, "router.threshold", "2", 1, 100,
             "score of the cloud"),
    CONF_MS(struct conf_sample, wait_ms, "router.max_wait", "30s", 1000, 600000,
            "how long to wait"),
    CONF_BYTES(struct conf_sample, memory, "router.memory", "8G", -1, 1LL << 40,
               "how much"),
    CONF_BOOL(struct conf_sample, eager, "router.eager", "no", "at once"),
    CONF_LIST(struct conf_sample, lanes, "router.lanes", "a,b", "which"),
    CONF_END};

static char dir[] = "/tmp/shunt-conf-XXXXXX";
static char conf_path[64];

static void
write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
}

/* Loads text as the file of --config, with further words on the line. */
static int
load(struct conf_sample *s, const char *text, const char *const *words,
     struct err *e)
{
    char *argv[16] = {(char *)"prog", (char *)"--config", conf_path};
    int argc = 3;

    write_file(conf_path, text);
    for (; words && *words; words++)
        argv[argc++] = (char *)*words;
    *s = (struct conf_sample){0};
    return conf_load(s, opts, "prog - a test", argc, argv, e);
}

static void
expect_error(const char *text, const char *want)
{
    struct conf_sample s;
    struct err e = {0};
    char full[512];

    if (load(&s, text, NULL, &e) == 0)
        fail_msg("accepted: %s", text);
    (void)snprintf(full, sizeof full, "%s:%s", conf_path, want);
    assert_string_equal(e.msg, full);
    assert_int_equal(e.code, ERR_INVALID);
    conf_free(&s, opts);
}

static void
what_nobody_sets_has_its_default(void **state)
{
    struct conf_sample s;
    struct err e = {0};

    (void)state;
    assert_int_equal(load(&s, "# nothing\n", NULL, &e), 0);
    assert_string_equal(s.url, "nats://default:4222");
    assert_int_equal(s.threshold, 2);
    assert_int_equal(s.wait_ms, 30000);
    assert_int_equal(s.memory, 8LL << 30);
    assert_false(s.eager);
    assert_string_equal(s.lanes[0], "a");
    assert_string_equal(s.lanes[1], "b");
    assert_null(s.lanes[2]);
    conf_free(&s, opts);
    assert_null(s.url);
}

static void
a_file_sets_every_type(void **state)
{
    struct conf_sample s;
    struct err e = {0};

    (void)state;
    assert_int_equal(load(&s,
                          "\xef\xbb\xbf"
                          "bus:\r\n"
                          "  url: nats://file:1\r\n"
                          "router:\r\n"
                          "  threshold: 5\r\n"
                          "  max_wait: 1m\r\n"
                          "  memory: -1\r\n"
                          "  eager: Yes\r\n"
                          "  lanes: [x, \"y,z\"]\r\n",
                          NULL, &e),
                     0);
    assert_string_equal(s.url, "nats://file:1");
    assert_int_equal(s.threshold, 5);
    assert_int_equal(s.wait_ms, 60000);
    assert_int_equal(s.memory, -1);
    assert_true(s.eager);
    assert_string_equal(s.lanes[0], "x");
    assert_string_equal(s.lanes[1], "y,z");
    conf_free(&s, opts);
}

static void
a_key_without_a_value_keeps_its_default(void **state)
{
    struct conf_sample s;
    struct err e = {0};

    (void)state;
    assert_int_equal(
        load(&s, "bus:\nrouter:\n  threshold:\n  eager: ~\n", NULL, &e), 0);
    assert_int_equal(s.threshold, 2);
    conf_free(&s, opts);
}

static void
sections_of_other_programs_are_skipped(void **state)
{
    struct conf_sample s;
    struct err e = {0};

    (void)state;
    assert_int_equal(load(&s,
                          "worker:\n  slots: 4\n  lanes: [a]\n"
                          "reaper: {database: {deep: [1, 2]}}\n"
                          "bus: {connect_timeout: 3s, lanes: [local.x]}\n"
                          "router: {threshold: 7}\n",
                          NULL, &e),
                     0);
    assert_int_equal(s.threshold, 7);
    conf_free(&s, opts);
}

static void
mistakes_in_a_file_carry_file_and_line(void **state)
{
    (void)state;
    expect_error("router:\n  treshold: 3\n",
                 "2: router.treshold: unknown key; did you mean "
                 "router.threshold?");
    expect_error("router:\n  colour_of_it_all: 3\n",
                 "2: router.colour_of_it_all: unknown key");
    expect_error("\nruoter:\n  threshold: 3\n",
                 "2: ruoter: unknown section; did you mean router?");
    expect_error("router:\n  threshold: 3\n  eager: no\n  threshold: 3\n",
                 "4:3: threshold: given twice; keep one");
    expect_error("router: {}\nbus: {}\nrouter: {}\n",
                 "3:1: router: given twice; keep one");
    expect_error("router:\n  threshold: three\n",
                 "2: router.threshold: 'three' is not a whole number");
    expect_error("router:\n  threshold: 101\n",
                 "2: router.threshold: 101 is out of range; it must lie "
                 "between 1 and 100");
    expect_error("router:\n  max_wait: 999ms\n",
                 "2: router.max_wait: 999ms is out of range; it must lie "
                 "between 1.0s and 10m00s");
    expect_error("router:\n  eager: perhaps\n",
                 "2: router.eager: 'perhaps' is not true or false");
    expect_error("router:\n  eager: [yes]\n",
                 "2: router.eager: a list, but true or false is expected");
    expect_error("bus:\n  url: {a: b}\n",
                 "2: bus.url: a mapping, but text is expected");
    expect_error("- a\n", "1: sections are expected, 'bus:' say");
    expect_error("router: 3\n", "1: router: a section holds 'key: value'");
    expect_error("bus: &x {}\nrouter: *x\n",
                 "1:6: text that begins with & or * needs quotes (anchors and "
                 "aliases are not accepted)");
    expect_error("bus:\n\turl: x\n", "2:1: a tab; indent with blanks");
}

static void
ranges_end_where_the_row_says(void **state)
{
    struct conf_sample s;
    struct err e = {0};

    (void)state;
    assert_int_equal(
        load(&s, "router: {threshold: 100, max_wait: 600s}\n", NULL, &e), 0);
    conf_free(&s, opts);
    assert_int_equal(load(&s, "router: {threshold: 0}\n", NULL, &e), -1);
    conf_free(&s, opts);
    assert_int_equal(load(&s, "router: {max_wait: 601s}\n", NULL, &e), -1);
    conf_free(&s, opts);
}

static void
a_flag_beats_the_environment_beats_the_file(void **state)
{
    const char *const words[] = {"--router-threshold=9", "--router-eager",
                                 "--bus-url", "nats://flag:1", NULL};
    struct conf_sample s;
    struct err e = {0};

    (void)state;
    assert_int_equal(setenv("SHUNT_ROUTER_THRESHOLD", "8", 1), 0);
    assert_int_equal(setenv("SHUNT_ROUTER_MAX_WAIT", "8s", 1), 0);
    assert_int_equal(setenv("SHUNT_ROUTER_LANES", "p, q,,", 1), 0);
    assert_int_equal(setenv("NATS_URL", "nats://env:1", 1), 0);
    assert_int_equal(
        load(&s, "router: {threshold: 7, max_wait: 7s}\n", words, &e), 0);
    assert_int_equal(s.threshold, 9);
    assert_int_equal(s.wait_ms, 8000);
    assert_true(s.eager);
    assert_string_equal(s.url, "nats://flag:1");
    assert_string_equal(s.lanes[1], "q");
    assert_null(s.lanes[2]);
    conf_free(&s, opts);

    assert_int_equal(load(&s, "bus: {url: nats://file:1}\n", NULL, &e), 0);
    assert_string_equal(s.url, "nats://env:1");
    conf_free(&s, opts);

    /* our own name is the more specific one */
    assert_int_equal(setenv("SHUNT_BUS_URL", "nats://own:1", 1), 0);
    assert_int_equal(load(&s, "", NULL, &e), 0);
    assert_string_equal(s.url, "nats://own:1");
    conf_free(&s, opts);

    assert_int_equal(setenv("SHUNT_ROUTER_THRESHOLD", "x", 1), 0);
    assert_int_equal(load(&s, "", NULL, &e), -1);
    assert_string_equal(e.msg, "SHUNT_ROUTER_THRESHOLD: router.threshold: 'x' "
                               "is not a whole number");
    conf_free(&s, opts);

    /* empty is not set */
    assert_int_equal(setenv("SHUNT_ROUTER_THRESHOLD", "", 1), 0);
    assert_int_equal(load(&s, "", NULL, &e), 0);
    assert_int_equal(s.threshold, 2);
    conf_free(&s, opts);
    unsetenv("SHUNT_ROUTER_THRESHOLD");
    unsetenv("SHUNT_ROUTER_MAX_WAIT");
    unsetenv("SHUNT_ROUTER_LANES");
    unsetenv("NATS_URL");
    unsetenv("SHUNT_BUS_URL");
}

static void
expect_flag_error(const char *first, const char *want)
{
    const char *const words[] = {first, NULL};
    struct conf_sample s;
    struct err e = {0};

    assert_int_equal(load(&s, "", words, &e), -1);
    assert_string_equal(e.msg, want);
    conf_free(&s, opts);
}

static void
mistakes_on_the_line_are_named(void **state)
{
    (void)state;
    expect_flag_error("--router-treshold=1",
                      "--router-treshold: unknown option; did you mean "
                      "--router-threshold?");
    expect_flag_error("--what",
                      "--what: unknown option; --help lists the known ones");
    expect_flag_error("loose",
                      "loose: unexpected argument; --help lists the options");
    expect_flag_error("--bus-url", "--bus-url: a value is missing");
    expect_flag_error("--router-threshold=0",
                      "--router-threshold: router.threshold: 0 is out of "
                      "range; it must lie between 1 and 100");
}

static void
a_named_file_must_exist(void **state)
{
    char *argv[] = {(char *)"prog", (char *)"--config=/nowhere/x.yaml"};
    struct conf_sample s = {0};
    struct err e = {0};

    (void)state;
    assert_int_equal(conf_load(&s, opts, "", 2, argv, &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    assert_string_equal(e.msg,
                        "open /nowhere/x.yaml: No such file or directory");
    conf_free(&s, opts);
}

static void
the_project_beats_the_user_and_is_found_from_below(void **state)
{
    char path[128], below[128];
    struct conf_sample s = {0};
    struct err e = {0};

    (void)state;
    (void)snprintf(path, sizeof path, "%s/xdg", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(setenv("XDG_CONFIG_HOME", path, 1), 0);
    (void)snprintf(path, sizeof path, "%s/xdg/shunt", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    (void)snprintf(path, sizeof path, "%s/xdg/shunt/config.yaml", dir);
    write_file(path, "router: {threshold: 10, max_wait: 10s}\n");
    (void)snprintf(path, sizeof path, "%s/.shunt.yaml", dir);
    write_file(path, "router: {threshold: 11}\n");
    (void)snprintf(below, sizeof below, "%s/below", dir);
    assert_int_equal(mkdir(below, 0700), 0);
    assert_int_equal(chdir(below), 0);

    assert_int_equal(conf_load(&s, opts, "", 0, NULL, &e), 0);
    assert_int_equal(s.threshold, 11);
    assert_int_equal(s.wait_ms, 10000);
    conf_free(&s, opts);

    /* SHUNT_CONFIG replaces them all */
    write_file(conf_path, "router: {eager: on}\n");
    assert_int_equal(setenv("SHUNT_CONFIG", conf_path, 1), 0);
    assert_int_equal(conf_load(&s, opts, "", 0, NULL, &e), 0);
    assert_int_equal(s.threshold, 2);
    assert_true(s.eager);
    conf_free(&s, opts);
    unsetenv("SHUNT_CONFIG");
    unsetenv("XDG_CONFIG_HOME");
}

static void
one_value_can_be_set_by_key(void **state)
{
    struct conf_sample s = {0};
    struct err e = {0};

    (void)state;
    assert_int_equal(conf_set(&s, opts, "router.threshold", "4", "--slots", &e),
                     0);
    assert_int_equal(s.threshold, 4);
    assert_int_equal(conf_set(&s, opts, "router.eagre", "4", "--slots", &e),
                     -1);
    assert_string_equal(e.msg, "--slots: router.eagre: unknown key; did you "
                               "mean router.eager?");
    conf_free(&s, opts);
}

/* What conf_load prints before it exits 0, in a child. */
static void
output_of(const char *word, char *out, size_t size)
{
    char *argv[] = {(char *)"/usr/bin/prog", (char *)word};
    int fds[2], status;
    size_t len = 0;
    ssize_t n;
    pid_t pid;

    assert_int_equal(pipe(fds), 0);
    (void)fflush(stdout);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct conf_sample s = {0};
        struct err e = {0};

        (void)dup2(fds[1], STDOUT_FILENO);
        (void)conf_load(&s, opts, "prog - a test", 2, argv, &e);
        _exit(9);
    }
    (void)close(fds[1]);
    while (len < size - 1 && (n = read(fds[0], out + len, size - 1 - len)) > 0)
        len += (size_t)n;
    out[len] = '\0';
    (void)close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void
help_and_version_print_and_exit_0(void **state)
{
    char out[8192], want[128];

    (void)state;
    output_of("--version", out, sizeof out);
    (void)snprintf(want, sizeof want, "prog %s\n", shunt_version);
    assert_string_equal(out, want);
    output_of("--help", out, sizeof out);
    assert_non_null(strstr(out, "prog - a test\n"));
    assert_non_null(strstr(out, "--router-max-wait\n"));
    assert_non_null(strstr(out, "default: 30s;"));
    assert_non_null(strstr(out, "SHUNT_BUS_URL, NATS_URL"));
}

static int
setup(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    (void)snprintf(conf_path, sizeof conf_path, "%s/c.yaml", dir);
    unsetenv("SHUNT_CONFIG");
    unsetenv("NATS_URL");
    unsetenv("SHUNT_BUS_URL");
    return 0;
}

static int
teardown(void **state)
{
    static const char *const names[] = {
        "xdg/shunt/config.yaml", "xdg/shunt", "xdg", "below",
        ".shunt.yaml",           "c.yaml",    "."};
    char path[128];

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        (void)remove(names[i][0] == '.' && !names[i][1] ? dir : path);
    }
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_nobody_sets_has_its_default),
        cmocka_unit_test(a_file_sets_every_type),
        cmocka_unit_test(a_key_without_a_value_keeps_its_default),
        cmocka_unit_test(sections_of_other_programs_are_skipped),
        cmocka_unit_test(mistakes_in_a_file_carry_file_and_line),
        cmocka_unit_test(ranges_end_where_the_row_says),
        cmocka_unit_test(a_flag_beats_the_environment_beats_the_file),
        cmocka_unit_test(mistakes_on_the_line_are_named),
        cmocka_unit_test(a_named_file_must_exist),
        cmocka_unit_test(the_project_beats_the_user_and_is_found_from_below),
        cmocka_unit_test(one_value_can_be_set_by_key),
        cmocka_unit_test(help_and_version_print_and_exit_0),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
