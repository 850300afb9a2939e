/* The word that was probably meant. */
#include "lib/base/nearest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const char *
meant(const char *word, const char *name)
{
    const char *names[] = {name, NULL};

    return nearest_of(word, names);
}

static void
the_nearest_word_is_found(void **state)
{
    static const char *const names[] = {"status", "submit", "show", NULL};

    (void)state;
    assert_string_equal(nearest_of("statsu", names), "status");
    assert_string_equal(nearest_of("sub", names), "submit");
    assert_null(nearest_of("elephant", names));
    assert_null(nearest_of("", names));
}

static void
a_longer_word_may_differ_in_more_letters(void **state)
{
    (void)state;
    assert_non_null(meant("sat", "cat"));
    assert_null(meant("sad", "cat"));
    assert_non_null(meant("stotas", "status"));
    assert_null(meant("stotez", "status"));
    assert_non_null(meant("provosoin", "provision"));
    assert_null(meant("brovosoem", "provision"));
}

static void
letters_swapped_count_once(void **state)
{
    (void)state;
    assert_non_null(meant("cta", "cat"));
    assert_null(meant("tca", "cat"));
}

static void
a_beginning_of_two_letters_is_enough(void **state)
{
    (void)state;
    assert_non_null(meant("pr", "provision"));
    assert_null(meant("p", "provision"));
}

static void
only_a_nearer_word_replaces_what_was_found(void **state)
{
    size_t least = SIZE_MAX;

    (void)state;
    assert_true(nearest_is("treshold", "thresholds", &least));
    assert_int_equal(least, 2);
    assert_false(nearest_is("treshold", "thresholt", &least));
    assert_true(nearest_is("treshold", "threshold", &least));
    assert_int_equal(least, 1);
}

static void
words_of_64_bytes_are_not_compared(void **state)
{
    char a[65], b[65];

    (void)state;
    for (int i = 0; i < 64; i++)
        a[i] = b[i] = 'a';
    a[64] = b[64] = '\0';
    a[0] = 'b';
    assert_null(meant(a, b));
    assert_non_null(meant(a + 1, b + 2));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_nearest_word_is_found),
        cmocka_unit_test(a_longer_word_may_differ_in_more_letters),
        cmocka_unit_test(letters_swapped_count_once),
        cmocka_unit_test(a_beginning_of_two_letters_is_enough),
        cmocka_unit_test(only_a_nearer_word_replaces_what_was_found),
        cmocka_unit_test(words_of_64_bytes_are_not_compared),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
