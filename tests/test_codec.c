/* The codec's tables against the .proto, protobuf there and back, and what
 * hostile bytes may and may not do. */
#include "tests/codec_fixture.h"

#include "shunt.pb-c.h"

#include <strings.h>

/* --- the tables ------------------------------------------------------- */

static ProtobufCType
type_of(enum codec_kind kind)
{
    switch (kind) {
    case KIND_TEXT:
    case KIND_TOKEN:
        return PROTOBUF_C_TYPE_STRING;
    case KIND_BOOL:
        return PROTOBUF_C_TYPE_BOOL;
    case KIND_INT32:
        return PROTOBUF_C_TYPE_INT32;
    case KIND_UINT32:
        return PROTOBUF_C_TYPE_UINT32;
    case KIND_INT64:
        return PROTOBUF_C_TYPE_INT64;
    case KIND_UINT64:
        return PROTOBUF_C_TYPE_UINT64;
    case KIND_DOUBLE:
        return PROTOBUF_C_TYPE_DOUBLE;
    case KIND_ENUM:
        return PROTOBUF_C_TYPE_ENUM;
    case KIND_BYTES:
        return PROTOBUF_C_TYPE_BYTES;
    case KIND_MESSAGE:
        return PROTOBUF_C_TYPE_MESSAGE;
    }
    return PROTOBUF_C_TYPE_BYTES;
}

/* "STATE_RETRY_WAIT" ends like "retry_wait", whatever the case. */
static void
compare_words(const struct codec_words *w, const ProtobufCEnumDescriptor *d)
{
    assert_int_equal(w->count, d->n_values);
    for (unsigned i = 0; i < w->count; i++) {
        const char *name = d->values[i].name, *word = w->words[i];

        if (i == 0)
            word = "unspecified";
        assert_int_equal(d->values[i].value, i);
        assert_true(strlen(name) > strlen(word));
        assert_int_equal(strcasecmp(name + strlen(name) - strlen(word), word),
                         0);
    }
}

static void
compare_table(const struct codec_table *t)
{
    assert_int_equal(t->n_rows, t->message->n_fields);
    assert_true(t->size <= sizeof(union any_message));
    for (size_t i = 0; i < t->n_rows; i++) {
        const struct codec_row *row = &t->rows[i];
        const ProtobufCFieldDescriptor *f = &t->message->fields[i];

        assert_string_equal(row->name, f->name);
        assert_int_equal(type_of(row->kind), f->type);
        assert_int_equal(row->many, f->label == PROTOBUF_C_LABEL_REPEATED);
        assert_int_equal(row->many, row->count > 0);
        if (row->kind == KIND_TEXT || row->kind == KIND_BYTES)
            assert_true(row->most > 0);
        if (row->kind == KIND_ENUM)
            compare_words(row->words, f->descriptor);
        if (row->kind == KIND_MESSAGE) {
            assert_ptr_equal(row->sub->message, f->descriptor);
            compare_table(row->sub);
        }
    }
    if (t->pairs)
        assert_int_equal(t->size, sizeof(struct key_value));
}

static void
every_table_matches_its_descriptor(void **state)
{
    (void)state;
    for (int i = 0; i < CODEC_TYPES; i++) {
        compare_table(codec_table((enum codec_type)i));
        assert_true(codec_table((enum codec_type)i)->most > 0);
    }
}

/* --- messages with every field set ------------------------------------ */

static void
a_full_message_survives_protobuf(void **state)
{
    struct codec_fixture *f = *state;

    for (int i = 0; i < CODEC_TYPES; i++) {
        enum codec_type type = (enum codec_type)i;
        struct str out = {0};

        fill_type(type, &f->msg, f->pool);
        assert_int_equal(codec_check(type, &f->msg, &e), 0);
        codec_encode(type, &f->msg, &out);
        assert_int_equal(
            codec_decode(type, out.data, out.len, f->pool, &f->msg2, &e), 0);
        str_free(&out);
        assert_same(type, &f->msg, &f->msg2);
    }
}

static void
an_empty_message_is_valid_in_both_forms(void **state)
{
    struct codec_fixture *f = *state;
    struct task *t = &f->msg.task;
    struct str out = {0};
    json_t *json;

    codec_init(CODEC_TASK, t);
    codec_encode(CODEC_TASK, t, &out);
    assert_int_equal(out.len, 0);
    assert_non_null(out.data);
    memset(t, 0xff, sizeof *t);
    assert_int_equal(codec_decode(CODEC_TASK, "", 0, f->pool, t, &e), 0);
    assert_string_equal(t->id, "");
    assert_string_equal(t->command, "");
    assert_null(t->hints);
    assert_int_equal(t->n_steps, 0);
    json = codec_to_json(CODEC_TASK, t);
    assert_int_equal(json_object_size(json), 0);
    json_decref(json);
    str_free(&out);
}

static void
a_struct_built_by_hand_may_leave_text_null(void **state)
{
    struct codec_fixture *f = *state;
    struct task t = {.id = "a"}, back;
    struct str out = {0};
    json_t *json = codec_to_json(CODEC_TASK, &t);

    assert_int_equal(json_object_size(json), 1);
    json_decref(json);
    codec_encode(CODEC_TASK, &t, &out);
    assert_int_equal(
        codec_decode(CODEC_TASK, out.data, out.len, f->pool, &back, &e), 0);
    assert_string_equal(back.id, "a");
    assert_string_equal(back.name, "");
    str_free(&out);
}

/* --- what protobuf may not bring -------------------------------------- */

static int
decode(struct codec_fixture *f, enum codec_type type, const void *data,
       size_t len)
{
    return codec_decode(type, data, len, f->pool, &f->msg, &e);
}

static void
refusal_leaves_a_zeroed_message(void **state)
{
    struct codec_fixture *f = *state;
    struct task *t = &f->msg.task, zero;

    memset(&zero, 0, sizeof zero);
    memset(t, 0xff, sizeof *t);
    assert_int_equal(decode(f, CODEC_TASK,
                            "\x0a\x03"
                            "a\x01"
                            "b",
                            5),
                     -1);
    assert_memory_equal(t, &zero, sizeof zero);
    assert_error("id: control character 0x01 at byte 1");
}

static void
a_glimpse_tells_whose_message_it_is(void **state)
{
    const char *after[] = {"t0"};
    struct codec_glimpse seen;
    struct routed_task rt;
    struct decision d;
    struct str bytes = {0};
    struct result r;
    struct task t;

    (void)state;
    codec_init(CODEC_TASK, &t);
    t.id = "t1";
    t.command = "make";
    codec_encode(CODEC_TASK, &t, &bytes);
    assert_true(codec_glimpse(CODEC_TASK, bytes.data, bytes.len, &seen));
    assert_int_equal(seen.len, 2);
    assert_memory_equal(seen.task, "t1", 2);
    assert_false(seen.waits);
    assert_false(codec_glimpse(CODEC_TASK, bytes.data, bytes.len - 1, &seen));
    for (int i = 0; i < 3; i++) {
        t.after = after;
        t.n_after = i == 0;
        t.not_before_ms = i == 1;
        t.hold = i == 2;
        str_reset(&bytes);
        codec_encode(CODEC_TASK, &t, &bytes);
        assert_true(codec_glimpse(CODEC_TASK, bytes.data, bytes.len, &seen));
        assert_true(seen.waits);
    }
    codec_init(CODEC_ROUTED_TASK, &rt);
    codec_init(CODEC_DECISION, &d);
    rt.task = &t;
    rt.decision = &d;
    str_reset(&bytes);
    codec_encode(CODEC_ROUTED_TASK, &rt, &bytes);
    assert_true(codec_glimpse(CODEC_ROUTED_TASK, bytes.data, bytes.len, &seen));
    assert_memory_equal(seen.task, "t1", 2);
    assert_false(seen.waits); /* not any more */
    codec_init(CODEC_RESULT, &r);
    r.task = "t2";
    str_reset(&bytes);
    codec_encode(CODEC_RESULT, &r, &bytes);
    assert_true(codec_glimpse(CODEC_RESULT, bytes.data, bytes.len, &seen));
    assert_memory_equal(seen.task, "t2", 2);
    t.id = "";
    str_reset(&bytes);
    codec_encode(CODEC_TASK, &t, &bytes);
    assert_false(codec_glimpse(CODEC_TASK, bytes.data, bytes.len, &seen));
    assert_false(codec_glimpse(CODEC_TASK, "{\"id\": \"t1\"}", 12, &seen));
    assert_false(codec_glimpse(CODEC_TASK, NULL, 0, &seen));
    str_free(&bytes);
}

static void
text_must_be_text(void **state)
{
    struct codec_fixture *f = *state;

    assert_int_equal(decode(f, CODEC_TASK,
                            "\x12\x03"
                            "a\0b",
                            5),
                     -1);
    assert_error("name: a NUL byte at 1");
    assert_int_equal(decode(f, CODEC_TASK, "\x12\x01\0", 3), -1);
    assert_error("name: a NUL byte at 0");
    assert_int_equal(decode(f, CODEC_TASK,
                            "\x12\x03"
                            "ab\xff",
                            5),
                     -1);
    assert_error("name: not UTF-8 at byte 2");
    assert_int_equal(decode(f, CODEC_TASK, "\x12\x01\x1b", 3), -1);
    assert_error("control character 0x1b");
    assert_int_equal(decode(f, CODEC_TASK, "\x12\x06\t\r\n\xe3\x81\x82", 8), 0);
    /* steps { argv: "a\0" } */
    assert_int_equal(decode(f, CODEC_TASK,
                            "\x4a\x04\x22\x02"
                            "a\0",
                            6),
                     -1);
    assert_error("steps[0].argv[0]: a NUL byte at 1");
}

static void
an_enum_must_have_a_meaning(void **state)
{
    struct codec_fixture *f = *state;

    assert_int_equal(decode(f, CODEC_TASK, "\x4a\x02\x10\x05", 4), 0);
    assert_int_equal(decode(f, CODEC_TASK, "\x4a\x02\x10\x06", 4), -1);
    assert_error("steps[0].kind: 6 has no meaning");
    assert_int_equal(decode(f, CODEC_TASK,
                            "\x4a\x0b\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff"
                            "\x01",
                            13),
                     -1);
    assert_error("steps[0].kind: -1 has no meaning");
}

static void
a_number_must_fit_json_and_sqlite(void **state)
{
    struct codec_fixture *f = *state;

    /* timeout_ms (18): 2^63 - 1, then 2^63 */
    assert_int_equal(decode(f, CODEC_TASK,
                            "\x90\x01\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 11),
                     0);
    assert_int_equal(decode(f, CODEC_TASK,
                            "\x90\x01\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
                            12),
                     -1);
    assert_error("timeout_ms: 9223372036854775808 is larger");
}

static void
a_load_must_be_finite(void **state)
{
    struct codec_fixture *f = *state;
    const char nan[] = "\x0a\x01w\x12\x01"
                       "b\x7a\x08\0\0\0\0\0\0\xf8\x7f";

    assert_int_equal(decode(f, CODEC_HEARTBEAT, nan, sizeof nan - 1), -1);
    assert_error("load[0]: not a finite number");
}

static void
names_on_the_bus_must_be_tokens(void **state)
{
    struct codec_fixture *f = *state;

    assert_int_equal(decode(f, CODEC_RESULT, "", 0), -1);
    assert_error("task: missing");
    assert_int_equal(decode(f, CODEC_RESULT,
                            "\x0a\x03"
                            "a.b",
                            5),
                     -1);
    assert_error("task: \"a.b\" cannot be a name");
    assert_int_equal(decode(f, CODEC_RESULT,
                            "\x0a\x01"
                            "a",
                            3),
                     0);
    assert_int_equal(decode(f, CODEC_RESULT,
                            "\x0a\x01"
                            "a\x3a\x02../",
                            7),
                     -1);
    assert_int_equal(decode(f, CODEC_ROUTED_TASK, "", 0), -1);
    assert_error("task: missing");
    assert_int_equal(decode(f, CODEC_ROUTED_TASK, "\x0a\0", 2), -1);
    assert_error("decision: missing");
    assert_int_equal(decode(f, CODEC_ROUTED_TASK, "\x0a\0\x12\0", 4), 0);
}

static void
a_key_must_not_be_empty(void **state)
{
    struct codec_fixture *f = *state;

    assert_int_equal(decode(f, CODEC_TASK, "\x72\x03\x12\x01x", 5), -1);
    assert_error("env[0].key: missing");
}

static void
garbage_is_no_message(void **state)
{
    struct codec_fixture *f = *state;

    assert_int_equal(decode(f, CODEC_TASK, "\xff\xff\xff", 3), -1);
    assert_error("not a valid protobuf message");
    assert_int_equal(decode(f, CODEC_TASK, "\x0a\x7f", 2), -1);
    assert_error("not a valid protobuf message");
}

static void
fields_from_the_future_are_skipped(void **state)
{
    struct codec_fixture *f = *state;
    struct task *t = &f->msg.task;

    /* 1000: varint 5; 1001: "xyz" */
    assert_int_equal(decode(f, CODEC_TASK,
                            "\x0a\x01"
                            "a\xc0\x3e\x05\xca\x3e\x03xyz",
                            12),
                     0);
    assert_string_equal(t->id, "a");
}

static void
a_task_at_its_limit_fits_and_a_byte_more_does_not(void **state)
{
    struct codec_fixture *f = *state;
    char *data = mem_pool_alloc(f->pool, TASK_MAX_BYTES + 1);

    /* An unknown field of the right length: 4 bytes of tag and length. */
    memcpy(data, "\xca\x3e\xfb\xff\x1f", 5);
    assert_int_equal(decode(f, CODEC_TASK, data, TASK_MAX_BYTES), 0);
    assert_int_equal(decode(f, CODEC_TASK, data, TASK_MAX_BYTES + 1), -1);
    assert_error("524289 bytes, at most 524288");
}

static void
long_text_is_refused_with_a_remedy(void **state)
{
    struct codec_fixture *f = *state;
    struct step steps[3];
    struct task t;
    char *script = mem_pool_alloc(f->pool, 262146);
    char *name = mem_pool_alloc(f->pool, 258);

    codec_init(CODEC_TASK, &t);
    memset(steps, 0, sizeof steps);
    t.steps = steps;
    t.n_steps = 3;
    memset(script, 'x', 262144);
    steps[2].script = script;
    assert_int_equal(codec_check(CODEC_TASK, &t, &e), 0);
    script[262144] = 'x';
    assert_int_equal(codec_check(CODEC_TASK, &t, &e), -1);
    assert_string_equal(e.msg, "steps[2].script: longer than 262144 bytes; put "
                               "it in a file");
    steps[2].script = "x";
    memset(name, 'n', 256);
    t.name = name;
    assert_int_equal(codec_check(CODEC_TASK, &t, &e), 0);
    name[256] = 'n';
    assert_int_equal(codec_check(CODEC_TASK, &t, &e), -1);
    assert_string_equal(e.msg, "name: longer than 256 bytes; shorten it");
}

static void
a_task_too_big_in_all_is_refused(void **state)
{
    struct codec_fixture *f = *state;
    char *script = mem_pool_alloc(f->pool, 262145);
    struct step steps[2];
    struct str out = {0};
    struct task t;

    codec_init(CODEC_TASK, &t);
    memset(script, 'x', 262144);
    memset(steps, 0, sizeof steps);
    steps[0].script = steps[1].script = script;
    t.steps = steps;
    t.n_steps = 2;
    assert_int_equal(codec_check(CODEC_TASK, &t, &e), -1);
    assert_error("put large text in a file");
    /* Each step costs 8 bytes beside its script. */
    steps[1].script = script + 16;
    codec_encode(CODEC_TASK, &t, &out);
    assert_int_equal(out.len, TASK_MAX_BYTES);
    assert_int_equal(codec_check(CODEC_TASK, &t, &e), 0);
    steps[1].script = script + 15;
    assert_int_equal(codec_check(CODEC_TASK, &t, &e), -1);
    str_free(&out);
}

static void
lists_end_where_their_limit_is(void **state)
{
    struct codec_fixture *f = *state;
    char *data = repeat(f->pool, "\x4a\x00", 2, 1001);

    assert_int_equal(decode(f, CODEC_TASK, data, 2 * 1000), 0);
    assert_int_equal(decode(f, CODEC_TASK, data, 2 * 1001), -1);
    assert_error("steps: 1001 elements, at most 1000");
}

static void
small_bytes_cannot_fill_the_memory(void **state)
{
    struct codec_fixture *f = *state;

    /* Empty submessages, the worst there is: 100 times their size. */
    assert_int_equal(
        decode(f, CODEC_TASK, repeat(f->pool, "\x4a\x00", 2, 262144), 524288),
        -1);
    assert_error("too many list elements");
    /* A submessage given again and again is merged, list and all. */
    mem_pool_reset(f->pool);
    assert_int_equal(decode(f, CODEC_TASK,
                            repeat(f->pool, "\x8a\x02\x03\x32\x01x", 6, 80000),
                            480000),
                     -1);
    assert_error("too many list elements");
    /* One text given again and again: each copy counts, an empty one is none.
     */
    mem_pool_reset(f->pool);
    assert_int_equal(
        decode(f, CODEC_TASK, repeat(f->pool, "\x0a\x00", 2, 262144), 524288),
        0);
    mem_pool_reset(f->pool);
    assert_int_equal(
        decode(f, CODEC_TASK, repeat(f->pool, "\x0a\x01x", 3, 174762), 524286),
        0);
    assert_true(mem_pool_bytes(f->pool) < 10 * 1024 * 1024);
}

static void
what_the_checks_pass_fits_the_memory(void **state)
{
    struct codec_fixture *f = *state;
    struct step *steps = mem_pool_alloc(f->pool, 10 * sizeof *steps);
    const char **argv = mem_pool_alloc(f->pool, 4096 * sizeof *argv);
    struct output_part *parts;
    struct str out = {0};
    struct result r;
    struct task t;

    /* Arguments of one byte, as many as a task may have. */
    for (size_t i = 0; i < 4096; i++)
        argv[i] = "x";
    for (size_t i = 0; i < 10; i++)
        steps[i] = (struct step){.argv = argv, .n_argv = 3999};
    codec_init(CODEC_TASK, &t);
    t.steps = steps;
    t.n_steps = 10;
    assert_int_equal(codec_check(CODEC_TASK, &t, &e), 0);
    codec_encode(CODEC_TASK, &t, &out);
    assert_int_equal(decode(f, CODEC_TASK, out.data, out.len), 0);
    steps[0].n_argv = 4010;
    assert_int_equal(codec_check(CODEC_TASK, &t, &e), -1);
    assert_error("more than 40000 list elements");

    /* Output that changes its stream at every byte. */
    mem_pool_reset(f->pool);
    parts = mem_pool_alloc(f->pool, TASK_INLINE_OUTPUT * sizeof *parts);
    for (size_t i = 0; i < TASK_INLINE_OUTPUT; i++)
        parts[i] = (struct output_part){i % 2 ? STREAM_STDOUT : STREAM_STDERR,
                                        {(const uint8_t *)"y", 1}};
    codec_init(CODEC_RESULT, &r);
    r.task = "a";
    r.output = parts;
    r.n_output = TASK_INLINE_OUTPUT;
    str_reset(&out);
    codec_encode(CODEC_RESULT, &r, &out);
    assert_int_equal(decode(f, CODEC_RESULT, out.data, out.len), 0);
    str_free(&out);
}

static void
a_reason_full_of_odd_bytes_still_arrives(void **state)
{
    struct codec_fixture *f = *state;
    struct result r, *back = &f->msg.result;
    struct str out = {0};
    char *reason = mem_pool_alloc(f->pool, 10000);

    memset(reason, 'x', 9999);
    memcpy(reason, "\x1b\xff\xe3\x81\x82", 5);
    codec_init(CODEC_RESULT, &r);
    r.task = "a";
    r.reason = reason;
    codec_encode(CODEC_RESULT, &r, &out);
    assert_int_equal(decode(f, CODEC_RESULT, out.data, out.len), 0);
    assert_int_equal(strlen(back->reason), 2000);
    assert_memory_equal(back->reason, "\\x1b\xef\xbf\xbd\xe3\x81\x82xx", 12);
    str_free(&out);
}

static void
bytes_may_be_anything(void **state)
{
    struct codec_fixture *f = *state;
    struct claim c, *back = &f->msg.claim;
    struct str out = {0};

    codec_init(CODEC_CLAIM, &c);
    c.task = "a";
    c.tail = (struct bytes){(const uint8_t *)"\0\xff\x1b", 3};
    codec_encode(CODEC_CLAIM, &c, &out);
    assert_int_equal(decode(f, CODEC_CLAIM, out.data, out.len), 0);
    assert_int_equal(back->tail.len, 3);
    assert_memory_equal(back->tail.data, "\0\xff\x1b", 3);
    str_free(&out);
}

/* --- mutations -------------------------------------------------------- */

static void
mutated_bytes_are_refused_or_written_again(void **state)
{
    struct codec_fixture *f = *state;
    uint64_t seed = 20260216;
    int accepted = 0;

    for (int i = 0; i < 20000; i++) {
        enum codec_type type = (enum codec_type)(i % CODEC_TYPES);
        struct str out = {0};

        mem_pool_reset(f->pool);
        fill_type(type, &f->msg, f->pool);
        codec_encode(type, &f->msg, &out);
        mutate(&out, &seed);
        if (decode(f, type, out.data, out.len) == 0) {
            json_t *json = codec_to_json(type, &f->msg);

            accepted++;
            assert_int_equal(codec_check(type, &f->msg, &e), 0);
            str_reset(&out);
            codec_encode(type, &f->msg, &out);
            assert_int_equal(
                codec_decode(type, out.data, out.len, f->pool, &f->msg2, &e),
                0);
            assert_same(type, &f->msg, &f->msg2);
            json_decref(json);
        } else {
            assert_int_equal(e.code, ERR_INVALID);
        }
        str_free(&out);
    }
    assert_true(accepted > 1000);
}

/* --- beside the library ----------------------------------------------- */

static void
pack_again(enum codec_type type, const struct str *bytes, struct str *out,
           bool *ok)
{
    ProtobufCMessage *m =
        protobuf_c_message_unpack(codec_table(type)->message, NULL, bytes->len,
                                  (const uint8_t *)bytes->data);
    uint8_t *packed;

    *ok = m != NULL;
    str_reset(out);
    if (!m)
        return;
    packed = mem_alloc(protobuf_c_message_get_packed_size(m));
    str_add(out, packed, protobuf_c_message_pack(m, packed));
    mem_free(packed);
    protobuf_c_message_free_unpacked(m, NULL);
}

static void
the_library_packs_the_same_bytes(void **state)
{
    struct codec_fixture *f = *state;
    struct str out = {0}, again = {0};
    bool ok;

    for (int i = 0; i < CODEC_TYPES; i++) {
        enum codec_type type = (enum codec_type)i;

        mem_pool_reset(f->pool);
        fill_type(type, &f->msg, f->pool);
        str_reset(&out);
        codec_encode(type, &f->msg, &out);
        pack_again(type, &out, &again, &ok);
        assert_true(ok);
        assert_int_equal(out.len, again.len);
        assert_memory_equal(out.data, again.data, out.len);
    }
    str_free(&out);
    str_free(&again);
}

static void
what_the_library_refuses_is_refused(void **state)
{
    struct codec_fixture *f = *state;
    struct str out = {0}, again = {0};
    uint64_t seed = 20260301;
    int taken = 0;
    bool ok;

    for (int i = 0; i < 20000; i++) {
        enum codec_type type = (enum codec_type)(i % CODEC_TYPES);

        mem_pool_reset(f->pool);
        fill_type(type, &f->msg, f->pool);
        str_reset(&out);
        codec_encode(type, &f->msg, &out);
        mutate(&out, &seed);
        pack_again(type, &out, &again, &ok);
        if (decode(f, type, out.data, out.len) < 0)
            continue;
        assert_true(ok);
        taken++;
    }
    assert_true(taken > 1000);
    str_free(&out);
    str_free(&again);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_table_matches_its_descriptor),
        TEST(a_full_message_survives_protobuf),
        TEST(an_empty_message_is_valid_in_both_forms),
        TEST(a_struct_built_by_hand_may_leave_text_null),
        TEST(refusal_leaves_a_zeroed_message),
        TEST(a_glimpse_tells_whose_message_it_is),
        TEST(text_must_be_text),
        TEST(an_enum_must_have_a_meaning),
        TEST(a_number_must_fit_json_and_sqlite),
        TEST(a_load_must_be_finite),
        TEST(names_on_the_bus_must_be_tokens),
        TEST(a_key_must_not_be_empty),
        TEST(garbage_is_no_message),
        TEST(fields_from_the_future_are_skipped),
        TEST(a_task_at_its_limit_fits_and_a_byte_more_does_not),
        TEST(long_text_is_refused_with_a_remedy),
        TEST(a_task_too_big_in_all_is_refused),
        TEST(lists_end_where_their_limit_is),
        TEST(small_bytes_cannot_fill_the_memory),
        TEST(what_the_checks_pass_fits_the_memory),
        TEST(a_reason_full_of_odd_bytes_still_arrives),
        TEST(bytes_may_be_anything),
        TEST(mutated_bytes_are_refused_or_written_again),
        TEST(the_library_packs_the_same_bytes),
        TEST(what_the_library_refuses_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
