/*
 * What SHUNT_WITHOUT switches off.
 */
#include "lib/base/feature.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void
named_features_are_off_and_the_others_on(void **state)
{
    (void)state;
    assert_false(feature_on(FEATURE_TCP));
    assert_false(feature_on(FEATURE_COALESCE));
    assert_true(feature_on(FEATURE_MULTI)); /* "multiple" is another word */
    assert_true(feature_on(FEATURE_PREFETCH));
    assert_true(feature_on(FEATURE_FSYNC));
}

static void
the_environment_is_read_once(void **state)
{
    (void)state;
    (void)setenv("SHUNT_WITHOUT", "fsync", 1);
    assert_true(feature_on(FEATURE_FSYNC));
    assert_false(feature_on(FEATURE_TCP));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(named_features_are_off_and_the_others_on),
        cmocka_unit_test(the_environment_is_read_once),
    };

    (void)setenv("SHUNT_WITHOUT", "tcp,,multiple,coalesce", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
