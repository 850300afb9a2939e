#include "lib/bus/nkey.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* The example of the NATS documentation. */
#define SEED "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"
#define PUBLIC "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"

static void
a_seed_has_one_public_key(void **state)
{
    char out[NKEY_PUBLIC_SIZE];
    struct err e;

    (void)state;
    assert_int_equal(nkey_public(SEED, out, &e), 0);
    assert_string_equal(out, PUBLIC);
}

static void
what_is_no_seed_of_a_user_is_refused(void **state)
{
    /* clang-format off */
    static const char *const bad[] = {
        "", "SU", PUBLIC, SEED "A",
        "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3V!"};
    /* clang-format on */
    char out[NKEY_PUBLIC_SIZE], damaged[] = SEED;
    struct err e;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(nkey_public(bad[i], out, &e), -1);
    for (size_t i = 0; i < strlen(SEED); i++) {
        damaged[i] = SEED[i] == 'A' ? 'B' : 'A';
        assert_int_equal(nkey_public(damaged, out, &e), -1);
        assert_int_equal(e.code, ERR_INVALID);
        assert_null(strstr(e.msg, damaged));
        damaged[i] = SEED[i];
    }
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_seed_has_one_public_key),
        cmocka_unit_test(what_is_no_seed_of_a_user_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
