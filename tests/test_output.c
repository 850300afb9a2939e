/* Output of attempts: what is in the result, what is sent, and what is left out
 * beyond the bounds. */
#include "workers/core/output.h"

#include "lib/base/mem.h"
#include "lib/bus/jetstream_setup.h"
#include "lib/model/codec.h"
#include "lib/model/subject.h"
#include "tests/broker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants these before it */
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATIENCE_MS = 20000, KB = 1024 };

static struct broker *broker;
static struct loop *loop;
static struct bus *bus;
static unsigned tasks; /* each test has a task of its own */

static int
setup(void **state)
{
    struct jetstream_conf tc = {.replicas = 1,
                                .max_bytes = -1,
                                .max_age_ms = 3600000,
                                .log_retention_ms = 3600000,
                                .log_max_bytes = -1,
                                .lanes = (char *[]){NULL}};
    char none[] = "";
    struct bus_conf bc = {none, none, none,  none, none,
                          none, none, false, none};
    struct err e;

    (void)state;
    broker = broker_start();
    bc.url = (char *)(uintptr_t)broker_url(broker);
    if (loop_open(&loop, &e) < 0 ||
        bus_open(&bus, loop, &bc, "test", PATIENCE_MS, &e) < 0 ||
        jetstream_provision(bus, &tc,
                            &(struct jetstream_rules){.change = true,
                                                      .allow_shrink = true,
                                                      .by = "test"},
                            NULL, NULL, &e) < 0)
        fail_msg("%s", e.msg);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    bus_close(bus);
    loop_close(loop);
    broker_stop(broker);
    return 0;
}

static void
note(void *ctx)
{
    *(bool *)ctx = true;
}

/* What a test of an output needs. */
struct trial {
    char task[TASK_ID_SIZE];
    struct attempt_output *output;
    struct mem_pool *pool;
    struct result result;
    bool finished, room;
};

static void
begin(struct trial *t, int64_t head, int64_t tail)
{
    const struct output_conf sc = {head, tail};

    *t = (struct trial){0};
    (void)snprintf(t->task, sizeof t->task, "t%u", ++tasks);
    t->output = output_open(bus, loop, &sc, t->task, 3, 77);
    t->pool = mem_pool_new();
    output_on_room(t->output, note, &t->room);
    codec_init(CODEC_RESULT, &t->result);
}

static void
finish(struct trial *t)
{
    output_finish(t->output, note, &t->finished);
    assert_true(loop_until(loop, &t->finished, PATIENCE_MS));
    output_result(t->output, t->pool, &t->result);
}

static void
end(struct trial *t)
{
    output_close(t->output);
    mem_pool_free(t->pool);
}

/* The parts of a list, one after the other, with a mark at each change of
 * stream: "o:text" and "e:text". The caller frees it. */
static char *
joined(const struct output_part *parts, size_t n)
{
    enum stream last = STREAM_UNSPECIFIED;
    struct str s = {0};

    for (size_t i = 0; i < n; i++) {
        if (parts[i].stream != last)
            str_addz(&s, parts[i].stream == STREAM_STDOUT ? "o:" : "e:");
        last = parts[i].stream;
        str_add(&s, parts[i].data.data, parts[i].data.len);
    }
    str_addz(&s, "");
    return s.data;
}

/* All chunks of a task as a reader of logs.<task> puts them together. */
struct output_reader {
    uint64_t from;
    struct str text;
    uint32_t chunks;
    uint64_t dropped, end;
    bool answered, over;
    bool whole; /* every part consists of whole characters */
};

static bool
is_utf8(const struct bytes *b)
{
    for (size_t at = 0, n; at < b->len; at += n)
        if ((n = str_utf8_len(b->data + at, b->len - at)) == 0)
            return false;
    return true;
}

static void
on_entry(void *ctx, const struct bus_entry *entry, const struct err *e)
{
    struct output_reader *r = ctx;
    struct mem_pool *pool = mem_pool_new();
    struct log_chunk c;
    struct err bad;

    assert_null(e);
    r->answered = true;
    r->over = !entry;
    if (entry) {
        assert_int_equal(codec_decode(CODEC_LOG_CHUNK, entry->data, entry->len,
                                      pool, &c, &bad),
                         0);
        assert_int_equal(c.seq, ++r->chunks);
        assert_int_equal(c.attempt, 3);
        assert_int_equal(c.fence, 77);
        /* Nothing is missing but what is said to be. */
        assert_int_equal(c.offset, r->end + c.dropped_bytes);
        r->end = c.offset;
        r->dropped += c.dropped_bytes;
        for (size_t i = 0; i < c.n_parts; i++) {
            str_add(&r->text, c.parts[i].data.data, c.parts[i].data.len);
            r->end += c.parts[i].data.len;
            r->whole = r->whole && is_utf8(&c.parts[i].data);
        }
        r->from = entry->revision + 1;
    }
    mem_pool_free(pool);
}

static void
read_log(const struct trial *t, struct output_reader *r)
{
    char subject[SUBJECT_SIZE];

    *r = (struct output_reader){.from = 1, .whole = true};
    while (!r->over) {
        r->answered = false;
        bus_get_next(bus, "LOGS", subject_logs(subject, t->task), r->from,
                     PATIENCE_MS, on_entry, r);
        assert_true(loop_until(loop, &r->answered, PATIENCE_MS));
    }
}

/* len bytes that differ from place to place. */
static char *
sample(size_t len)
{
    char *out = mem_alloc(len);

    for (size_t i = 0; i < len; i++)
        out[i] = (char)('a' + (i * 7 + i / 251) % 26);
    return out;
}

static void
quick_small_output_rides_in_the_result_alone(void **state)
{
    struct trial t;
    struct output_reader r;
    char *text;

    (void)state;
    begin(&t, 65536, 65536);
    assert_true(output_write(t.output, STREAM_STDOUT, "one ", 4));
    assert_true(output_write(t.output, STREAM_STDOUT, "two", 3));
    assert_true(output_write(t.output, STREAM_STDERR, "oops", 4));
    assert_true(output_write(t.output, STREAM_STDOUT, "three", 5));
    output_finish(t.output, note, &t.finished);
    assert_true(t.finished);
    output_result(t.output, t.pool, &t.result);
    text = joined(t.result.output, t.result.n_output);
    assert_string_equal(text, "o:one twoe:oopso:three");
    assert_int_equal(t.result.output_bytes, 16);
    assert_int_equal(t.result.dropped_bytes, 0);
    assert_int_equal(t.result.log_chunks, 0);
    read_log(&t, &r);
    assert_int_equal(r.chunks, 0);
    free(text);
    end(&t);
}

static void
without_output_there_is_none(void **state)
{
    struct trial t;

    (void)state;
    begin(&t, 65536, 65536);
    output_finish(t.output, note, &t.finished);
    assert_true(t.finished);
    output_result(t.output, t.pool, &t.result);
    assert_int_equal(t.result.n_output, 0);
    assert_int_equal(t.result.output_bytes, 0);
    end(&t);
}

static void
slow_small_output_is_in_the_log_and_whole_in_the_result(void **state)
{
    struct trial t;
    struct output_reader r = {0};
    char *text;
    int64_t until = loop_now_ms() + PATIENCE_MS;

    (void)state;
    begin(&t, 65536, 65536);
    assert_true(output_write(t.output, STREAM_STDOUT, "first", 5));
    while (r.chunks == 0 && loop_now_ms() < until) {
        str_free(&r.text);
        read_log(&t, &r);
    }
    assert_int_equal(r.text.len, 5);
    str_free(&r.text);
    assert_true(output_write(t.output, STREAM_STDERR, "second", 6));
    finish(&t);
    read_log(&t, &r);
    assert_int_equal(r.chunks, 2);
    assert_string_equal(str_text(&r.text), "firstsecond");
    assert_int_equal(t.result.log_chunks, 2);
    text = joined(t.result.output, t.result.n_output);
    assert_string_equal(text, "o:firste:second");
    free(text);
    str_free(&r.text);
    end(&t);
}

static void
output_of_just_the_limit_is_inline_and_a_byte_more_is_not(void **state)
{
    char *data = sample(TASK_INLINE_OUTPUT + 1);
    struct trial t;
    struct output_reader r;

    (void)state;
    begin(&t, 65536, 65536);
    (void)output_write(t.output, STREAM_STDOUT, data, TASK_INLINE_OUTPUT);
    finish(&t);
    assert_int_equal(t.result.log_chunks, 0);
    assert_int_equal(t.result.n_output, 1);
    assert_int_equal(t.result.output[0].data.len, TASK_INLINE_OUTPUT);
    end(&t);

    begin(&t, 65536, 65536);
    (void)output_write(t.output, STREAM_STDOUT, data, TASK_INLINE_OUTPUT);
    (void)output_write(t.output, STREAM_STDOUT, data + TASK_INLINE_OUTPUT, 1);
    finish(&t);
    assert_int_equal(t.result.log_chunks, 2);
    assert_int_equal(t.result.dropped_bytes, 0);
    read_log(&t, &r);
    assert_int_equal(r.text.len, TASK_INLINE_OUTPUT + 1);
    assert_memory_equal(r.text.data, data, r.text.len);
    str_free(&r.text);
    end(&t);
    mem_free(data);
}

static void
long_output_is_whole_in_the_log_and_ends_the_result(void **state)
{
    const size_t len = 300 * KB + 17;
    char *data = sample(len), *at = data;
    struct trial t;
    struct output_reader r;
    size_t total = 0;

    (void)state;
    begin(&t, 1024 * KB, 65536);
    for (size_t left = len, n; left > 0; left -= n, at += n) {
        n = left < 1777 ? left : 1777;
        if (!output_write(t.output, STREAM_STDOUT, at, n)) {
            t.room = false;
            assert_true(loop_until(loop, &t.room, PATIENCE_MS));
        }
    }
    finish(&t);
    read_log(&t, &r);
    assert_int_equal(r.text.len, len);
    assert_memory_equal(r.text.data, data, len);
    assert_int_equal(t.result.log_chunks, r.chunks);
    assert_int_equal(t.result.output_bytes, len);
    assert_int_equal(t.result.dropped_bytes, 0);
    for (size_t i = 0; i < t.result.n_output; i++) {
        const struct bytes *b = &t.result.output[i].data;

        assert_memory_equal(b->data, data + len - TASK_TAIL_BYTES + total,
                            b->len);
        total += b->len;
    }
    assert_int_equal(total, TASK_TAIL_BYTES);
    str_free(&r.text);
    end(&t);
    mem_free(data);
}

static void
beyond_the_head_only_the_tail_is_kept(void **state)
{
    const size_t head = 64 * KB, tail = 70 * KB, len = 400 * KB + 5;
    char *data = sample(len), *at = data;
    struct trial t;
    struct output_reader r;

    (void)state;
    begin(&t, (int64_t)head, (int64_t)tail);
    for (size_t left = len, n; left > 0; left -= n, at += n) {
        n = left < 50 * KB ? left : 50 * KB;
        (void)output_write(t.output, STREAM_STDERR, at, n);
    }
    finish(&t);
    read_log(&t, &r);
    assert_int_equal(r.text.len, head + tail);
    assert_memory_equal(r.text.data, data, head);
    assert_memory_equal(r.text.data + head, data + len - tail, tail);
    assert_int_equal(r.dropped, len - head - tail);
    assert_int_equal(t.result.dropped_bytes, len - head - tail);
    assert_int_equal(t.result.output_bytes, len);
    str_free(&r.text);
    end(&t);
    mem_free(data);
}

static void
too_much_on_its_way_pauses_the_writer(void **state)
{
    char *data = sample(64 * KB);
    struct trial t;
    int writes = 0;

    (void)state;
    begin(&t, 64 * KB * KB, 65536);
    while (writes < 100 && output_write(t.output, STREAM_STDOUT, data, 64 * KB))
        writes++;
    assert_true(writes > 4 && writes < 20);
    assert_true(loop_until(loop, &t.room, PATIENCE_MS));
    assert_true(output_write(t.output, STREAM_STDOUT, "x", 1));
    finish(&t);
    end(&t);
    mem_free(data);
}

static void
streams_that_alternate_byte_by_byte_stay_in_order(void **state)
{
    const size_t len = 20000;
    struct trial t;
    struct output_reader r;

    (void)state;
    begin(&t, 1024 * KB, 65536);
    for (size_t i = 0; i < len; i++) {
        char c = (char)('0' + i % 10);

        if (!output_write(t.output, i % 2 ? STREAM_STDERR : STREAM_STDOUT, &c,
                          1)) {
            t.room = false;
            assert_true(loop_until(loop, &t.room, PATIENCE_MS));
        }
    }
    finish(&t);
    read_log(&t, &r);
    assert_int_equal(r.text.len, len);
    assert_true(r.chunks < 40);
    for (size_t i = 0; i < len; i++)
        assert_int_equal(r.text.data[i], '0' + i % 10);
    str_free(&r.text);
    end(&t);
}

/* Writes data in pieces, to both streams in turn if alternate. */
static void
write_pieces(struct trial *t, const struct str *data, size_t piece,
             bool alternate)
{
    for (size_t at = 0, i = 0, n; at < data->len; at += n, i++) {
        n = data->len - at < piece ? data->len - at : piece;
        if (!output_write(t->output,
                          alternate && i % 2 ? STREAM_STDERR : STREAM_STDOUT,
                          data->data + at, n)) {
            t->room = false;
            assert_true(loop_until(loop, &t->room, PATIENCE_MS));
        }
    }
}

static void
a_character_is_never_split(void **state)
{
    static const size_t pieces[] = {1, 1000, 4096, 50001};
    struct str text = {0};

    (void)state;
    while (text.len < 300 * KB)
        str_addz(&text, "日本語のテキスト 🎉 é\n");
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        struct trial t;
        struct output_reader r;

        begin(&t, 100 * KB + 1, 65536);
        write_pieces(&t, &text, pieces[i], false);
        finish(&t);
        read_log(&t, &r);
        assert_true(r.whole);
        assert_in_range(r.text.len, 100 * KB + 65536 - 3, 100 * KB + 65537);
        assert_int_equal(r.text.len + r.dropped, text.len);
        assert_memory_equal(r.text.data + r.text.len - 60000,
                            text.data + text.len - 60000, 60000);
        for (size_t k = 0; k < t.result.n_output; k++)
            assert_true(is_utf8(&t.result.output[k].data));
        str_free(&r.text);
        end(&t);
    }
    str_free(&text);
}

static void
bytes_that_are_no_text_come_as_they_are(void **state)
{
    struct str bytes = {0};
    struct trial t;
    char *text;

    (void)state;
    str_add(&bytes, "a\xff\xe3\x81\0b\xe3\x81", 8);
    begin(&t, 65536, 65536);
    write_pieces(&t, &bytes, 1, false);
    finish(&t);
    assert_int_equal(t.result.output_bytes, 8);
    text = joined(t.result.output, t.result.n_output);
    assert_memory_equal(text, "o:a\xff\xe3\x81\0b\xe3\x81", 10);
    free(text);
    end(&t);
    str_free(&bytes);
}

static void
secrets_are_hidden_wherever_they_are_cut(void **state)
{
    static const size_t pieces[] = {1, 777, 4096, 65536};
    struct str text = {0};

    (void)state;
    for (int i = 0; text.len < 400 * KB; i++)
        str_addf(&text, "line %d with hunter2hunter2 and ghp_%032d\n", i, i);
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        struct trial t;
        struct output_reader r;
        struct mask *m = mask_new();
        size_t at;

        mask_add_value(m, "hunter2hunter2");
        begin(&t, 65536, 65536);
        output_mask(t.output, NULL, m);
        write_pieces(&t, &text, pieces[i], false);
        finish(&t);
        read_log(&t, &r);
        assert_null(strstr(r.text.data, "hunter2"));
        assert_null(strstr(r.text.data, "ghp_"));
        assert_null(strstr(r.text.data, "2hunter2"));
        assert_int_equal(t.result.output_bytes, r.text.len + r.dropped);
        assert_int_equal(t.result.dropped_bytes, r.dropped);
        assert_true(r.dropped > 0);
        /* What the margin before the tail cuts is no piece of one. */
        assert_false(mask_find(m, r.text.data, r.text.len, &at));
        assert_string_equal(output_masked(t.output, "x hunter2hunter2", t.pool),
                            "x ***");
        str_free(&r.text);
        end(&t);
    }
    str_free(&text);
}

static void
the_tail_without_a_gap_hides_what_began_in_the_head(void **state)
{
    struct str text = {0};
    struct trial t;
    struct output_reader r;

    (void)state;
    while (text.len < 65536 - 5)
        str_addc(&text, 'x');
    str_addz(&text, " hunter2hunter2 end\n");
    for (size_t piece = 1; piece < 9; piece++) {
        struct mask *m = mask_new();

        mask_add_value(m, "hunter2hunter2");
        begin(&t, 65536, 65536);
        output_mask(t.output, NULL, m);
        write_pieces(&t, &text, piece * 3, false);
        finish(&t);
        read_log(&t, &r);
        assert_string_equal(r.text.data + 65536 - 5, " *** end\n");
        assert_int_equal(r.dropped, 0);
        assert_int_equal(t.result.output_bytes, r.text.len);
        str_free(&r.text);
        end(&t);
    }
    str_free(&text);
}

static void
a_prompt_shows_wholly(void **state)
{
    int64_t until = loop_now_ms() + PATIENCE_MS;
    struct output_reader r = {0};
    struct trial t;

    (void)state;
    begin(&t, 65536, 65536);
    assert_true(output_write(t.output, STREAM_STDOUT, "done", 4));
    while (r.chunks == 0 && loop_now_ms() < until) {
        str_free(&r.text);
        read_log(&t, &r);
    }
    assert_string_equal(str_text(&r.text), "done");
    str_free(&r.text);
    finish(&t);
    assert_int_equal(t.result.output_bytes, 4);
    end(&t);
}

static void
a_sink_is_closed_with_chunks_on_their_way(void **state)
{
    char *data = sample(64 * KB);
    struct trial t;

    (void)state;
    begin(&t, 1024 * KB, 65536);
    (void)output_write(t.output, STREAM_STDOUT, data, 64 * KB);
    end(&t);
    mem_free(data);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quick_small_output_rides_in_the_result_alone),
        cmocka_unit_test(without_output_there_is_none),
        cmocka_unit_test(
            slow_small_output_is_in_the_log_and_whole_in_the_result),
        cmocka_unit_test(
            output_of_just_the_limit_is_inline_and_a_byte_more_is_not),
        cmocka_unit_test(long_output_is_whole_in_the_log_and_ends_the_result),
        cmocka_unit_test(beyond_the_head_only_the_tail_is_kept),
        cmocka_unit_test(too_much_on_its_way_pauses_the_writer),
        cmocka_unit_test(streams_that_alternate_byte_by_byte_stay_in_order),
        cmocka_unit_test(a_character_is_never_split),
        cmocka_unit_test(bytes_that_are_no_text_come_as_they_are),
        cmocka_unit_test(secrets_are_hidden_wherever_they_are_cut),
        cmocka_unit_test(the_tail_without_a_gap_hides_what_began_in_the_head),
        cmocka_unit_test(a_prompt_shows_wholly),
        cmocka_unit_test(a_sink_is_closed_with_chunks_on_their_way),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
