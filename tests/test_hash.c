/* The FNV-1a hash and the table of entries found by a text. */
#include "lib/base/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

enum { MANY = 1000 };

struct hash_entry {
    struct hash_link link;
    char name[8];
    int seen;
};

static struct hash_entry entries[MANY];

static void
fill(struct hash_table *t, int n)
{
    for (int i = 0; i < n; i++) {
        entries[i] = (struct hash_entry){0};
        (void)snprintf(entries[i].name, sizeof entries[i].name, "k%d", i);
        hash_table_add(t, &entries[i].link, entries[i].name);
    }
}

static void
a_hash_is_fnv_1a_of_64_bits(void **state)
{
    (void)state;
    assert_true(hash_text("") == HASH_EMPTY);
    assert_true(hash_text("a") == 0xaf63dc4c8601ec8cU);
    assert_true(hash_text("foobar") == 0x85944171f73967e8U);
    assert_true(hash_add(hash_text("foo"), "bar", 3) == hash_text("foobar"));
    assert_true(hash_add(HASH_EMPTY, "\0", 1) != HASH_EMPTY);
}

static void
an_empty_table_finds_and_removes_nothing(void **state)
{
    struct hash_table t = {0};
    struct hash_entry stranger = {.name = "k"};

    (void)state;
    assert_null(hash_table_find(&t, "k"));
    assert_null(hash_table_next(&t, NULL));
    hash_table_remove(&t, &stranger.link);
    hash_table_clear(&t);
    hash_table_free(&t);
}

static void
every_entry_is_found_before_and_after_the_table_grows(void **state)
{
    static const int sizes[] = {16, 17, 32, 33, MANY};
    struct hash_table t = {0};

    (void)state;
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        fill(&t, sizes[k]);
        assert_int_equal(t.n, sizes[k]);
        for (int i = 0; i < sizes[k]; i++)
            assert_ptr_equal(hash_table_find(&t, entries[i].name), &entries[i]);
        assert_null(hash_table_find(&t, "k-1"));
        hash_table_clear(&t);
    }
    hash_table_free(&t);
}

static void
a_removed_entry_is_gone_and_its_neighbours_stay(void **state)
{
    struct hash_table t = {0};

    (void)state;
    fill(&t, MANY);
    for (int i = 0; i < MANY; i += 2)
        hash_table_remove(&t, &entries[i].link);
    hash_table_remove(&t, &entries[0].link);
    assert_int_equal(t.n, MANY / 2);
    for (int i = 0; i < MANY; i++)
        assert_ptr_equal(hash_table_find(&t, entries[i].name),
                         i % 2 ? &entries[i] : NULL);
    hash_table_free(&t);
}

static void
of_entries_with_one_key_the_last_added_is_found(void **state)
{
    struct hash_table t = {0};
    struct hash_entry first = {.name = "same"}, second = {.name = "same"};

    (void)state;
    hash_table_add(&t, &first.link, first.name);
    hash_table_add(&t, &second.link, second.name);
    fill(&t, MANY); /* growing keeps their order */
    assert_ptr_equal(hash_table_find(&t, "same"), &second);
    hash_table_remove(&t, &second.link);
    assert_ptr_equal(hash_table_find(&t, "same"), &first);
    hash_table_free(&t);
}

static void
a_walk_meets_each_entry_once_and_may_remove_it(void **state)
{
    struct hash_table t = {0};
    struct hash_entry *e, *next;

    (void)state;
    fill(&t, MANY);
    for (e = hash_table_next(&t, NULL); e; e = next) {
        next = hash_table_next(&t, e);
        e->seen++;
        hash_table_remove(&t, &e->link);
    }
    for (int i = 0; i < MANY; i++)
        assert_int_equal(entries[i].seen, 1);
    assert_int_equal(t.n, 0);
    hash_table_free(&t);
}

static void
a_cleared_table_is_empty_and_can_be_filled_again(void **state)
{
    struct hash_table t = {0};

    (void)state;
    fill(&t, MANY);
    hash_table_clear(&t);
    assert_int_equal(t.n, 0);
    assert_null(hash_table_find(&t, "k1"));
    fill(&t, 3);
    assert_ptr_equal(hash_table_find(&t, "k1"), &entries[1]);
    hash_table_free(&t);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hash_is_fnv_1a_of_64_bits),
        cmocka_unit_test(an_empty_table_finds_and_removes_nothing),
        cmocka_unit_test(every_entry_is_found_before_and_after_the_table_grows),
        cmocka_unit_test(a_removed_entry_is_gone_and_its_neighbours_stay),
        cmocka_unit_test(of_entries_with_one_key_the_last_added_is_found),
        cmocka_unit_test(a_walk_meets_each_entry_once_and_may_remove_it),
        cmocka_unit_test(a_cleared_table_is_empty_and_can_be_filled_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
