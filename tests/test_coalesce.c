/* Which messages the ledger folds together, and how long one may wait. */
#include "reaper/ingest/coalesce.h"

#include "lib/base/mem.h"
#include "lib/model/codec.h"
#include "lib/model/subject.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { NOW = 1000000, MESSAGES = 4 * COALESCE_HELD_MOST };

/* A message of the test's own making. */
struct made {
    struct bus_msg m; /* first: what coalesce settles */
    struct str bytes;
    int64_t later_ms; /* what its verdicts say */
    bool done, again;
    int64_t again_ms; /* after which it is to come again */
};

struct coalesce_fixture {
    struct coalesce *c;
    struct made *made[MESSAGES];
    size_t n;
};

/* --- what coalesce asks of the bus ---------------------------------------- */

void
bus_msg_done(struct bus_msg *m)
{
    struct made *made = (struct made *)m;

    assert_false(made->done || made->again);
    made->done = true;
}

void
bus_msg_retry(struct bus_msg *m, int64_t delay_ms)
{
    struct made *made = (struct made *)m;

    assert_false(made->done || made->again);
    made->again = true;
    made->again_ms = delay_ms;
}

/* --- messages ------------------------------------------------------------- */

static int
setup(void **state)
{
    struct coalesce_fixture *f = MEM_NEW(struct coalesce_fixture);

    f->c = coalesce_new();
    *state = f;
    return 0;
}

/* Whatever was not taken and done is handed back. */
static int
teardown(void **state)
{
    struct coalesce_fixture *f = *state;

    coalesce_free(f->c);
    for (size_t i = 0; i < f->n; i++) {
        assert_true(f->made[i]->done || f->made[i]->again);
        str_free(&f->made[i]->bytes);
        mem_free(f->made[i]);
    }
    mem_free(f);
    return 0;
}

static struct made *
make(struct coalesce_fixture *f, const char *subject)
{
    struct made *m = MEM_NEW(struct made);

    assert_true(f->n < MESSAGES);
    f->made[f->n++] = m;
    m->m.subject = subject;
    return m;
}

static void
add(struct coalesce_fixture *f, struct made *m, enum event_kind kind,
    int64_t at_ms)
{
    struct entry entry = {.kind = kind, .stream = "S", .msg = &m->m};

    m->m.data = (const uint8_t *)str_text(&m->bytes);
    m->m.len = m->bytes.len;
    if (kind == EVENT_RESULT) {
        entry.verdicts.list = MEM_NEW(struct result_verdict);
        entry.verdicts.n = 1;
        entry.verdicts.again_ms = m->later_ms;
    }
    coalesce_add(f->c, &entry, at_ms);
}

static void
encode_task(struct str *out, const char *id)
{
    struct step step = {.name = "", .script = "true", .workdir = ""};
    struct task t;

    codec_init(CODEC_TASK, &t);
    t.id = id;
    t.steps = &step;
    t.n_steps = 1;
    codec_encode(CODEC_TASK, &t, out);
}

static struct made *
submit(struct coalesce_fixture *f, const char *id, int64_t at_ms)
{
    struct made *m = make(f, SUBJECT_TASKS_IN);

    encode_task(&m->bytes, id);
    add(f, m, EVENT_ACCEPTED, at_ms);
    return m;
}

static void
encode_routed(struct str *out, const char *id)
{
    struct routed_task rt;
    struct decision d;
    struct task t;
    struct step step = {.name = "", .script = "true", .workdir = ""};

    codec_init(CODEC_TASK, &t);
    codec_init(CODEC_DECISION, &d);
    codec_init(CODEC_ROUTED_TASK, &rt);
    t.id = id;
    t.hold = true; /* it was let go */
    t.steps = &step;
    t.n_steps = 1;
    rt.task = &t;
    rt.decision = &d;
    codec_encode(CODEC_ROUTED_TASK, &rt, out);
}

static struct made *
route(struct coalesce_fixture *f, const char *id, int64_t at_ms)
{
    struct made *m = make(f, "tasks.local.default");

    encode_routed(&m->bytes, id);
    add(f, m, EVENT_ROUTED, at_ms);
    return m;
}

static void
encode_result(struct str *out, const char *id)
{
    struct result r;

    codec_init(CODEC_RESULT, &r);
    r.task = id;
    codec_encode(CODEC_RESULT, &r, out);
}

static struct made *
finish(struct coalesce_fixture *f, const char *id, int64_t at_ms)
{
    struct made *m = make(f, "results.local.cli");

    encode_result(&m->bytes, id);
    add(f, m, EVENT_RESULT, at_ms);
    return m;
}

/* The next message is that one; NULL: there is none for now. */
static void
expect(struct coalesce_fixture *f, const struct made *m, int64_t now_ms)
{
    const struct entry *entry = coalesce_take(f->c, now_ms, false);

    if (!m)
        assert_null(entry);
    else
        assert_ptr_equal(entry ? entry->msg : NULL, &m->m);
}

/* --- with little to do ---------------------------------------------------- */

static void
a_result_waits_for_nothing_and_the_others_a_little(void **state)
{
    struct coalesce_fixture *f = *state;
    struct made *in, *out;

    in = submit(f, "t1", NOW);
    assert_false(coalesce_has_ready(f->c));
    assert_int_equal(coalesce_due_ms(f->c), NOW + COALESCE_SOON_MS);
    expect(f, NULL, NOW + COALESCE_SOON_MS - 1);
    out = finish(f, "t2", NOW);
    assert_true(coalesce_has_ready(f->c));
    expect(f, out, NOW); /* of another task: the first goes on waiting */
    expect(f, NULL, NOW);
    expect(f, in, NOW + COALESCE_SOON_MS);
    expect(f, NULL, NOW + COALESCE_SOON_MS);
    assert_false(in->done || out->done);
    coalesce_done(f->c);
    assert_true(in->done && out->done);
    assert_true(coalesce_is_empty(f->c));
    assert_true(coalesce_due_ms(f->c) == INT64_MAX);
}

/* What is known of it is committed all the same. */
static void
a_message_with_a_result_that_is_not_known_yet_comes_again(void **state)
{
    struct coalesce_fixture *f = *state;
    struct made *m = make(f, "results.local.cli");

    m->later_ms = 200;
    encode_result(&m->bytes, "t1");
    add(f, m, EVENT_RESULT, NOW);
    expect(f, m, NOW);
    coalesce_done(f->c);
    assert_true(m->again && !m->done);
    assert_int_equal(m->again_ms, 200);
    assert_true(coalesce_is_empty(f->c));
}

static void
a_result_takes_along_what_is_there_of_its_task(void **state)
{
    struct coalesce_fixture *f = *state;
    struct made *in, *routed, *out, *other;

    other = submit(f, "t2", NOW);
    in = submit(f, "t1", NOW + 1);
    routed = route(f, "t1", NOW + 2);
    out = finish(f, "t1", NOW + 3);
    /* Those two in any order, before their result. */
    for (int i = 0; i < 2; i++) {
        const struct entry *entry = coalesce_take(f->c, NOW + 3, false);

        assert_non_null(entry);
        assert_true(entry->msg == &in->m || entry->msg == &routed->m);
    }
    expect(f, out, NOW + 3);
    expect(f, NULL, NOW + 3);
    coalesce_done(f->c);
    assert_true(in->done && routed->done && out->done && !other->done);
    assert_int_equal(coalesce_due_ms(f->c), NOW + COALESCE_SOON_MS);
}

static void
so_does_a_cancel(void **state)
{
    struct coalesce_fixture *f = *state;
    struct made *in = submit(f, "t1", NOW), *cancel;

    (void)submit(f, "t2", NOW);
    cancel = make(f, "$KV.control.cancel.t1");
    add(f, cancel, EVENT_CANCEL, NOW);
    expect(f, in, NOW);
    expect(f, cancel, NOW);
    expect(f, NULL, NOW);
}

/* --- under load ----------------------------------------------------------- */

static void
what_comes_is_held_until_its_result_or_for_so_long(void **state)
{
    struct coalesce_fixture *f = *state;
    struct made *in[3], *out;

    coalesce_loaded(f->c, NOW);
    in[0] = submit(f, "t0", NOW);
    in[1] = submit(f, "t1", NOW);
    in[2] = route(f, "t2", NOW);
    for (int64_t now = NOW; now < NOW + COALESCE_HOLD_MS; now += 100) {
        coalesce_loaded(f->c, now); /* results of others go on coming */
        expect(f, NULL, now);
    }
    out = finish(f, "t1", NOW + COALESCE_HOLD_MS - 1);
    expect(f, in[1], NOW + COALESCE_HOLD_MS - 1);
    expect(f, out, NOW + COALESCE_HOLD_MS - 1);
    expect(f, NULL, NOW + COALESCE_HOLD_MS - 1);
    expect(f, in[0], NOW + COALESCE_HOLD_MS);
    expect(f, in[2], NOW + COALESCE_HOLD_MS);
}

static void
what_is_held_goes_when_no_more_results_come(void **state)
{
    struct coalesce_fixture *f = *state;
    struct made *in;

    coalesce_loaded(f->c, NOW);
    in = submit(f, "t1", NOW + 400);
    assert_int_equal(coalesce_due_ms(f->c), NOW + COALESCE_LOAD_MS);
    expect(f, NULL, NOW + COALESCE_LOAD_MS - 1);
    expect(f, in, NOW + COALESCE_LOAD_MS);
    /* And the next one is not held. */
    in = submit(f, "t2", NOW + COALESCE_LOAD_MS);
    expect(f, in, NOW + COALESCE_LOAD_MS + COALESCE_SOON_MS);
}

static void
what_its_result_has_overtaken_is_not_held(void **state)
{
    struct coalesce_fixture *f = *state;
    struct made *in, *out;

    coalesce_loaded(f->c, NOW);
    out = finish(f, "t1", NOW);
    expect(f, out, NOW);
    in = submit(f, "t1", NOW);
    (void)submit(f, "t2", NOW);
    coalesce_loaded(f->c, NOW + COALESCE_SOON_MS);
    expect(f, in, NOW + COALESCE_SOON_MS);
    expect(f, NULL, NOW + COALESCE_SOON_MS);
}

static void
a_message_of_many_goes_with_the_first_of_them(void **state)
{
    struct coalesce_fixture *f = *state;
    struct made *in = make(f, SUBJECT_TASKS_BULK), *other, *routed[2], *out;
    struct str bytes = {0};

    coalesce_loaded(f->c, NOW);
    for (int i = 0; i < 6; i++) {
        char id[] = {'t', (char)('0' + i), '\0'};

        str_reset(&bytes);
        encode_task(&bytes, id);
        codec_multi_add(CODEC_TASKS, &in->bytes, bytes.data, bytes.len);
    }
    add(f, in, EVENT_ACCEPTED, NOW);
    other = submit(f, "t9", NOW);
    for (int i = 0; i < 2; i++) {
        routed[i] = make(f, "tasks.local.default");
        for (int k = 0; k < 3; k++) {
            char id[] = {'t', (char)('0' + 3 * i + k), '\0'};

            str_reset(&bytes);
            encode_routed(&bytes, id);
            codec_multi_add(CODEC_ROUTED_TASKS, &routed[i]->bytes, bytes.data,
                            bytes.len);
        }
        add(f, routed[i], EVENT_ROUTED, NOW);
    }
    out = make(f, "results.local.cli");
    for (int i = 1; i < 3; i++) {
        char id[] = {'t', (char)('0' + i), '\0'};

        str_reset(&bytes);
        encode_result(&bytes, id);
        codec_multi_add(CODEC_RESULTS, &out->bytes, bytes.data, bytes.len);
    }
    str_free(&bytes);
    add(f, out, EVENT_RESULT, NOW);
    for (int i = 0; i < 2; i++) {
        const struct entry *entry = coalesce_take(f->c, NOW, false);

        assert_non_null(entry);
        assert_true(entry->msg == &in->m || entry->msg == &routed[0]->m);
    }
    expect(f, out, NOW);
    expect(f, NULL, NOW);
    coalesce_done(f->c);
    assert_false(other->done || routed[1]->done);
}

static void
what_waits_for_something_is_not_held(void **state)
{
    struct coalesce_fixture *f = *state;
    const char *after[] = {"t0"};
    struct made *gated[3], *json, *junk;
    struct task t;

    coalesce_loaded(f->c, NOW);
    for (int i = 0; i < 3; i++) {
        codec_init(CODEC_TASK, &t);
        t.id = "t1";
        if (i == 0) {
            t.after = after;
            t.n_after = 1;
        }
        t.not_before_ms = i == 1;
        t.hold = i == 2;
        gated[i] = make(f, SUBJECT_TASKS_IN);
        codec_encode(CODEC_TASK, &t, &gated[i]->bytes);
        add(f, gated[i], EVENT_ACCEPTED, NOW);
    }
    json = make(f, SUBJECT_TASKS_IN);
    str_addz(&json->bytes, "{\"id\": \"t2\"}");
    add(f, json, EVENT_ACCEPTED, NOW);
    junk = make(f, "tasks.local.default");
    str_addz(&junk->bytes, "\xff\xff");
    add(f, junk, EVENT_ROUTED, NOW);
    add(f, make(f, SUBJECT_TASKS_BULK), EVENT_ACCEPTED, NOW); /* empty */
    expect(f, NULL, NOW + COALESCE_SOON_MS - 1);
    for (int i = 0; i < 3; i++) /* with the first, the others of its task */
        assert_non_null(coalesce_take(f->c, NOW + COALESCE_SOON_MS, false));
    expect(f, json, NOW + COALESCE_SOON_MS);
    expect(f, junk, NOW + COALESCE_SOON_MS);
    assert_non_null(coalesce_take(f->c, NOW + COALESCE_SOON_MS, false));
    expect(f, NULL, NOW + COALESCE_SOON_MS);
    coalesce_done(f->c);
    assert_true(gated[0]->done && gated[1]->done && gated[2]->done);
}

/* --- bounds --------------------------------------------------------------- */

static void
beyond_its_bounds_a_submission_waits_for_its_decision_alone(void **state)
{
    struct coalesce_fixture *f = *state;
    struct made *in, *routed, *out;
    char id[24];

    coalesce_loaded(f->c, NOW);
    for (size_t i = 0; i < COALESCE_HELD_MOST; i++) {
        (void)snprintf(id, sizeof id, "held%zu", i);
        (void)submit(f, id, NOW);
    }
    in = submit(f, "passes", NOW);
    routed = route(f, "passes", NOW + 10);
    coalesce_loaded(f->c, NOW + 10);
    expect(f, NULL, NOW + COALESCE_PAIR_MS - 1);
    expect(f, in, NOW + COALESCE_PAIR_MS);
    expect(f, routed, NOW + COALESCE_PAIR_MS);
    expect(f, NULL, NOW + COALESCE_PAIR_MS);
    /* Those that were first are still there for their results. */
    out = finish(f, "held0", NOW + COALESCE_PAIR_MS);
    expect(f, f->made[0], NOW + COALESCE_PAIR_MS);
    expect(f, out, NOW + COALESCE_PAIR_MS);
}

static void
no_more_than_so_many_bytes_are_held(void **state)
{
    struct coalesce_fixture *f = *state;
    size_t large = COALESCE_HELD_BYTES / 4;
    struct str script = {0};
    struct made *in[5];

    for (size_t i = 0; i < large; i++)
        str_addz(&script, "x");
    coalesce_loaded(f->c, NOW);
    for (int i = 0; i < 5; i++) {
        char id[] = {'t', (char)('0' + i), '\0'};
        struct step step = {
            .name = "", .script = str_text(&script), .workdir = ""};
        struct task t;

        codec_init(CODEC_TASK, &t);
        t.id = id;
        t.steps = &step;
        t.n_steps = 1;
        in[i] = make(f, SUBJECT_TASKS_IN);
        codec_encode(CODEC_TASK, &t, &in[i]->bytes);
        add(f, in[i], EVENT_ACCEPTED, NOW);
    }
    str_free(&script);
    coalesce_loaded(f->c, NOW + COALESCE_PAIR_MS);
    expect(f, in[3],
           NOW + COALESCE_PAIR_MS); /* three are what there is room for */
    expect(f, in[4], NOW + COALESCE_PAIR_MS);
    expect(f, NULL, NOW + COALESCE_PAIR_MS);
}

static void
all_is_taken_when_somebody_asks(void **state)
{
    struct coalesce_fixture *f = *state;
    size_t n = 0;

    (void)submit(f, "t0", NOW);
    coalesce_loaded(f->c, NOW);
    (void)submit(f, "t1", NOW);
    (void)route(f, "t2", NOW);
    (void)finish(f, "t3", NOW);
    while (coalesce_take(f->c, NOW, true))
        n++;
    assert_int_equal(n, 4);
    assert_false(coalesce_is_empty(f->c)); /* it may yet fail */
    coalesce_done(f->c);
    assert_true(coalesce_is_empty(f->c));
    coalesce_trim(f->c);
    (void)submit(f, "t4", NOW);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_result_waits_for_nothing_and_the_others_a_little),
        TEST(a_message_with_a_result_that_is_not_known_yet_comes_again),
        TEST(a_result_takes_along_what_is_there_of_its_task),
        TEST(so_does_a_cancel),
        TEST(what_comes_is_held_until_its_result_or_for_so_long),
        TEST(what_is_held_goes_when_no_more_results_come),
        TEST(what_its_result_has_overtaken_is_not_held),
        TEST(a_message_of_many_goes_with_the_first_of_them),
        TEST(what_waits_for_something_is_not_held),
        TEST(beyond_its_bounds_a_submission_waits_for_its_decision_alone),
        TEST(no_more_than_so_many_bytes_are_held),
        TEST(all_is_taken_when_somebody_asks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
