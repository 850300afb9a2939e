#include "lib/base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SMALL = 100, LARGE = 20000 };

static char *
fill(struct mem_pool *p, size_t size, char with)
{
    char *out = mem_pool_alloc(p, size);

    for (size_t i = 0; i < size; i++)
        assert_int_equal(out[i], 0);
    memset(out, with, size);
    return out;
}

static void
expect(const char *p, size_t size, char want)
{
    for (size_t i = 0; i < size; i++)
        assert_int_equal(p[i], want);
}

static void
what_is_large_is_given_back_and_the_rest_stays(void **state)
{
    struct mem_pool *p = mem_pool_new();
    char *before = fill(p, SMALL, 'a'), *large = fill(p, LARGE, 'b'),
         *between = fill(p, SMALL, 'c'), *other = fill(p, LARGE, 'd'),
         *after = fill(p, SMALL, 'e');
    size_t bytes = mem_pool_bytes(p);

    (void)state;
    mem_pool_forget(p, large);
    assert_in_range(bytes - mem_pool_bytes(p), LARGE, LARGE + 64);
    expect(before, SMALL, 'a');
    expect(between, SMALL, 'c');
    expect(other, LARGE, 'd');
    expect(after, SMALL, 'e');
    for (int i = 0; i < 200; i++) /* more than the first block holds */
        expect(fill(p, SMALL, 'f'), SMALL, 'f');
    expect(other, LARGE, 'd');
    mem_pool_free(p);
}

static void
what_is_small_stays(void **state)
{
    struct mem_pool *p = mem_pool_new();
    char *first = fill(p, SMALL, 'a'), *second = fill(p, SMALL, 'b');
    size_t bytes = mem_pool_bytes(p);

    (void)state;
    mem_pool_forget(p, first);
    mem_pool_forget(p, second);
    mem_pool_forget(p, "of another place");
    assert_int_equal(mem_pool_bytes(p), bytes);
    expect(first, SMALL, 'a');
    mem_pool_free(p);
}

static void
a_reset_pool_is_as_new(void **state)
{
    struct mem_pool *p = mem_pool_new();

    (void)state;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 50; i++) {
            (void)fill(p, SMALL, 'a');
            (void)fill(p, LARGE / 20, 'b');
        }
        mem_pool_reset(p);
    }
    mem_pool_free(p);
}

static void
a_growing_array_keeps_what_it_holds(void **state)
{
    size_t cap = 0;
    int *v = NULL;

    (void)state;
    for (int i = 0; i < 1000; i++) {
        v = mem_grow(v, (size_t)i, &cap, sizeof *v);
        assert_true(cap > (size_t)i);
        v[i] = i;
    }
    for (int i = 0; i < 1000; i++)
        assert_int_equal(v[i], i);
    mem_free(v);
}

static void
an_array_grows_only_when_it_is_full(void **state)
{
    size_t cap = 0, first;
    char *v = mem_grow(NULL, 0, &cap, 1);

    (void)state;
    first = cap;
    v = mem_grow(v, first - 1, &cap, 1);
    assert_int_equal(cap, first);
    v = mem_grow(v, first, &cap, 1);
    assert_int_equal(cap, 2 * first);
    mem_free(v);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_large_is_given_back_and_the_rest_stays),
        cmocka_unit_test(what_is_small_stays),
        cmocka_unit_test(a_reset_pool_is_as_new),
        cmocka_unit_test(a_growing_array_keeps_what_it_holds),
        cmocka_unit_test(an_array_grows_only_when_it_is_full),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
