#include "lib/os/secret.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define VARIABLE "SHUNT_TEST_KEY"
#define VALUE "open-sesame"

static char path[32];

static void
write_file(const char *text)
{
    int fd;

    (void)snprintf(path, sizeof path, "/tmp/shunt-secret-XXXXXX");
    fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    (void)close(fd);
}

static void
expect(const char *text, const char *first, const char *want)
{
    struct err e = {0};
    char *got;

    write_file(text);
    got = secret_read(path, first, "token", &e);
    (void)unlink(path);
    if (want)
        assert_string_equal(got ? got : "", want);
    else
        assert_null(got);
    if (!want) {
        assert_int_equal(e.code, ERR_INVALID);
        assert_null(strstr(e.msg, text));
    }
    secret_free(got);
}

static void
a_file_that_all_may_read_is_refused(void **state)
{
    struct err e = {0};
    char *got;

    (void)state;
    write_file("abc\n");
    assert_int_equal(chmod(path, 0644), 0);
    assert_null(secret_read(path, NULL, "token", &e));
    assert_int_equal(e.code, ERR_DENIED);
    assert_non_null(strstr(e.msg, "chmod 600"));
    assert_int_equal(secret_check(path, "token", &e), -1);
    assert_int_equal(chmod(path, 0640), 0); /* as mounted into a container */
    got = secret_read(path, NULL, "token", &e);
    assert_non_null(got);
    secret_free(got);
    (void)unlink(path);
    assert_int_equal(secret_check(path, "token", &e), 0);
}

static void
the_first_line_that_says_something_is_the_secret(void **state)
{
    (void)state;
    expect("abc\n", NULL, "abc");
    expect("\n  abc \r\nmore\n", NULL, "abc");
    expect("UKEY\nSSEED\n", "S", "SSEED");
}

static void
a_file_without_one_is_an_error_that_does_not_quote_it(void **state)
{
    struct err e = {0};

    (void)state;
    expect("\n \n", NULL, NULL);
    expect("UKEY\n", "S", NULL);
    assert_null(secret_read("/nonexistent", NULL, "token", &e));
    assert_int_equal(e.code, ERR_INVALID);
}

static void
only_the_whole_secret_is_equal(void **state)
{
    (void)state;
    assert_true(secret_equal("abc", "abc"));
    assert_false(secret_equal("abc", "abd"));
    assert_false(secret_equal("abc", "ab"));
    assert_false(secret_equal("abc", "abcabc"));
    assert_false(secret_equal("abc", ""));
    assert_false(secret_equal("", ""));
    assert_false(secret_equal("", "a"));
}

/* The value of a variable as the kernel shows our environment; NULL: none. */
static const char *
shown(const char *name, char *room, size_t size)
{
    FILE *f = fopen("/proc/self/environ", "re");
    size_t len, n = strlen(name);

    assert_non_null(f);
    len = fread(room, 1, size - 1, f);
    (void)fclose(f);
    room[len] = '\0';
    for (char *at = room; at < room + len; at += strlen(at) + 1)
        if (strncmp(at, name, n) == 0 && at[n] == '=')
            return at + n + 1;
    return NULL;
}

/* main has started us with it. */
static void
what_is_taken_is_shown_to_nobody(void **state)
{
    static char room[65536];
    char *key;

    (void)state;
    assert_string_equal(shown(VARIABLE, room, sizeof room), VALUE);
    assert_int_equal(prctl(PR_SET_DUMPABLE, 1), 0);
    assert_null(secret_take("SHUNT_TEST_NOT_SET"));
    assert_int_equal(prctl(PR_GET_DUMPABLE), 1);
    key = secret_take(VARIABLE);
    assert_non_null(key);
    assert_string_equal(key, VALUE);
    assert_null(getenv(VARIABLE));
#ifdef __SANITIZE_ADDRESS__ /* see os_hide_memory */
    assert_int_equal(prctl(PR_GET_DUMPABLE), 1);
#else
    assert_int_equal(prctl(PR_GET_DUMPABLE), 0);
#endif
    assert_int_equal(prctl(PR_SET_DUMPABLE, 1), 0); /* so that we may look */
    assert_string_equal(shown(VARIABLE, room, sizeof room), "");
    secret_free(key);
}

int
main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_line_that_says_something_is_the_secret),
        cmocka_unit_test(a_file_that_all_may_read_is_refused),
        cmocka_unit_test(a_file_without_one_is_an_error_that_does_not_quote_it),
        cmocka_unit_test(only_the_whole_secret_is_equal),
        cmocka_unit_test(what_is_taken_is_shown_to_nobody),
    };

    (void)argc;
    if (!getenv(VARIABLE)) { /* what is there at the start is what counts */
        (void)setenv(VARIABLE, VALUE, 1);
        (void)execv("/proc/self/exe", argv);
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
