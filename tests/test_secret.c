#include "lib/secret.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

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

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_line_that_says_something_is_the_secret),
        cmocka_unit_test(a_file_without_one_is_an_error_that_does_not_quote_it),
        cmocka_unit_test(only_the_whole_secret_is_equal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
