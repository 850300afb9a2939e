#include "lib/bus/multi_msg.h"

#include "lib/base/mem.h"
#include "lib/model/codec.h"
#include "lib/model/subject.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void
one_task_is_the_message_it_always_was(void **state)
{
    struct multi_msg b = {.type = CODEC_TASKS};
    struct bus_publication p;

    (void)state;
    multi_msg_add(&b, "t1", "{bytes}", 7);
    p = multi_msg_publication(&b);
    assert_string_equal(p.subject, SUBJECT_TASKS_IN);
    assert_string_equal(p.id, "t1");
    assert_int_equal(p.len, 7);
    assert_memory_equal(p.data, "{bytes}", 7);
    assert_int_equal(p.expect, BUS_ANY_REVISION);
    multi_msg_free(&b);
}

static void
several_come_apart_again(void **state)
{
    static const char *const members[] = {"{\"id\": \"a\"}", "{\"id\": \"b\"}",
                                          "{\"id\": \"c\"}"};
    struct multi_msg b = {.type = CODEC_TASKS};
    struct bus_publication p;
    struct codec_multi apart;
    struct bytes data;
    struct err e;

    (void)state;
    for (size_t i = 0; i < 3; i++)
        multi_msg_add(&b, (const char *[]){"a", "b", "c"}[i], members[i],
                      strlen(members[i]));
    p = multi_msg_publication(&b);
    assert_string_equal(p.subject, SUBJECT_TASKS_BULK);
    assert_int_equal(codec_multi_open(&apart, CODEC_TASKS, p.data, p.len, &e),
                     0);
    assert_int_equal(apart.count, 3);
    for (size_t i = 0; codec_multi_next(&apart, &data); i++) {
        assert_int_equal(data.len, strlen(members[i]));
        assert_memory_equal(data.data, members[i], data.len);
    }
    codec_multi_close(&apart);
    multi_msg_free(&b);
}

/* Adds the ids, one character each, and copies the message's id to out. */
static void
id_of(struct multi_msg *b, const char *ids, char out[64])
{
    multi_msg_reset(b);
    for (; *ids; ids++)
        multi_msg_add(b, (char[]){*ids, '\0'}, "x", 1);
    (void)snprintf(out, 64, "%s", multi_msg_publication(b).id);
}

static void
the_same_tasks_have_the_same_id(void **state)
{
    struct multi_msg b = {.type = CODEC_TASKS};
    char first[64], again[64], other[64];

    (void)state;
    id_of(&b, "abc", first);
    id_of(&b, "abc", again);
    assert_string_equal(first, again);
    assert_memory_equal(first, "bulk:", 5);
    id_of(&b, "abd", other);
    assert_string_not_equal(first, other);
    id_of(&b, "ab", other);
    assert_string_not_equal(first, other);
    multi_msg_free(&b);
}

static void
results_have_the_subject_of_their_source(void **state)
{
    struct multi_msg b = {.type = CODEC_RESULTS};
    struct bus_publication p;
    struct codec_multi apart;
    struct bytes data;
    struct err e;

    (void)state;
    multi_msg_add(&b, "t1:1", "one", 3);
    p = multi_msg_publication(&b);
    assert_null(p.subject); /* the caller's to set */
    assert_string_equal(p.id, "t1:1");
    assert_int_equal(p.len, 3);
    assert_memory_equal(p.data, "one", 3);
    multi_msg_add(&b, "t2:1", "two", 3);
    p = multi_msg_publication(&b);
    assert_null(p.subject);
    assert_memory_equal(p.id, "bulk:", 5);
    assert_int_equal(codec_multi_open(&apart, CODEC_RESULTS, p.data, p.len, &e),
                     0);
    assert_int_equal(apart.count, 2);
    assert_true(codec_multi_next(&apart, &data));
    assert_memory_equal(data.data, "one", 3);
    codec_multi_close(&apart);
    multi_msg_free(&b);
}

static void
routed_tasks_share_the_subject_of_their_lane_and_are_few(void **state)
{
    struct multi_msg b = {.type = CODEC_ROUTED_TASKS};
    struct bus_publication p;
    struct codec_multi apart;
    struct err e;

    (void)state;
    multi_msg_add(&b, "t1:r", "one", 3);
    p = multi_msg_publication(&b);
    assert_null(p.subject);
    assert_string_equal(p.id, "t1:r");
    assert_int_equal(p.len, 3);
    while (multi_msg_fits(&b, 3))
        multi_msg_add(&b, "t2:r", "two", 3);
    p = multi_msg_publication(&b);
    assert_null(p.subject);
    assert_memory_equal(p.id, "bulk:", 5);
    assert_int_equal(
        codec_multi_open(&apart, CODEC_ROUTED_TASKS, p.data, p.len, &e), 0);
    assert_false(apart.alone);
    assert_int_equal(apart.count, 16);
    codec_multi_close(&apart);
    multi_msg_free(&b);
}

static void
a_message_stays_small(void **state)
{
    static const char large[20 * 1024];
    struct multi_msg b = {.type = CODEC_TASKS};
    size_t n = 0;

    (void)state;
    assert_true(multi_msg_fits(&b, sizeof large));
    multi_msg_add(&b, "large", large, sizeof large);
    assert_false(multi_msg_fits(&b, 1));
    multi_msg_reset(&b);
    while (multi_msg_fits(&b, 100)) {
        multi_msg_add(&b, "small", large, 100);
        n++;
    }
    assert_int_equal(n, 64);
    multi_msg_reset(&b);
    while (multi_msg_fits(&b, 1000))
        multi_msg_add(&b, "middle", large, 1000);
    assert_in_range(b.data.len, 15 * 1024, 16 * 1024 + 8);
    multi_msg_free(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_task_is_the_message_it_always_was),
        cmocka_unit_test(several_come_apart_again),
        cmocka_unit_test(the_same_tasks_have_the_same_id),
        cmocka_unit_test(results_have_the_subject_of_their_source),
        cmocka_unit_test(
            routed_tasks_share_the_subject_of_their_lane_and_are_few),
        cmocka_unit_test(a_message_stays_small),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
