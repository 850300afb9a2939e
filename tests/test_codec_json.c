/* The JSON form of messages, JSON text from outside, and tasks.in, which takes
 * both forms. */
#include "tests/codec_fixture.h"

#include <stdio.h>

/* --- JSON ------------------------------------------------------------- */

static int
from_text(struct codec_fixture *f, enum codec_type type, const char *text,
          codec_unknown_fn *unknown, void *ctx)
{
    json_t *json = codec_parse_json("test", text, strlen(text), &e);
    int rc;

    assert_non_null(json);
    rc = codec_from_json(type, json, f->pool, &f->msg, unknown, ctx, &e);
    json_decref(json);
    return rc;
}

static void
json_reads_as_people_write_it(void **state)
{
    struct codec_fixture *f = *state;
    struct task *t = &f->msg.task;

    assert_int_equal(
        from_text(f, CODEC_TASK,
                  "{\"steps\": [\"make\", {\"kind\": \"argv\", \"argv\":"
                  " [\"a\", \"\"], \"timeout_ms\": \"10m\"}],"
                  " \"env\": {\"A\": \"1\", \"B\": \"\"}, \"retry\": \"never\","
                  " \"timeout_ms\": 600000, \"priority\": -5, \"hold\": true,"
                  " \"notes\": null, \"delegation\": null,"
                  " \"hints\": {\"memory_bytes\": \"9G\","
                  " \"runtime_ms\": \"1h30m\"}}",
                  NULL, NULL),
        0);
    assert_int_equal(t->n_steps, 2);
    assert_string_equal(t->steps[0].script, "make");
    assert_int_equal(t->steps[1].kind, STEP_ARGV);
    assert_int_equal(t->steps[1].n_argv, 2);
    assert_string_equal(t->steps[1].argv[1], "");
    assert_int_equal(t->steps[1].timeout_ms, 600000);
    assert_int_equal(t->n_env, 2);
    assert_string_equal(t->env[0].key, "A");
    assert_string_equal(t->env[0].value, "1");
    assert_int_equal(t->retry, RETRY_NEVER);
    assert_int_equal(t->timeout_ms, 600000);
    assert_int_equal(t->priority, -5);
    assert_true(t->hold);
    assert_string_equal(t->notes, "");
    assert_null(t->delegation);
    assert_int_equal(t->hints->memory_bytes, 9663676416);
    assert_int_equal(t->hints->runtime_ms, 5400000);
}

static void
json_is_written_as_documented(void **state)
{
    struct step steps[] = {{"", STEP_SHELL, "make", NULL, 0, "", 0}};
    struct key_value env[] = {{"A", "1"}};
    struct claim c;
    struct task t;
    json_t *json;
    char *text;

    (void)state;
    codec_init(CODEC_TASK, &t);
    t.id = "a";
    t.steps = steps;
    t.n_steps = 1;
    t.env = env;
    t.n_env = 1;
    t.retry = RETRY_SAFE;
    t.timeout_ms = INT64_MAX;
    json = codec_to_json(CODEC_TASK, &t);
    text = json_dumps(json, 0);
    assert_string_equal(
        text, "{\"id\": \"a\", \"steps\": [{\"kind\": \"shell\", \"script\": "
              "\"make\"}], \"env\": {\"A\": \"1\"}, \"timeout_ms\": "
              "9223372036854775807, \"retry\": \"safe\"}");
    free(text);
    json_decref(json);

    codec_init(CODEC_CLAIM, &c);
    c.state = STATE_RETRY_WAIT;
    c.tail = (struct bytes){(const uint8_t *)"\0\xff", 2};
    json = codec_to_json(CODEC_CLAIM, &c);
    text = json_dumps(json, 0);
    assert_string_equal(text,
                        "{\"state\": \"retry_wait\", \"tail\": \"AP8=\"}");
    free(text);
    json_decref(json);

    json = codec_schema("task");
    text = json_dumps(json, 0);
    assert_string_equal(text, "{\"schema\": \"shunt.task/1\"}");
    free(text);
    json_decref(json);
}

static void
wrong_json_is_refused_by_its_path(void **state)
{
    static const struct {
        const char *text, *error;
    } rows[] = {
        {"[]", "is an array; write an object"},
        {"{\"id\": 5}", "id: is an integer; write a string"},
        {"{\"hold\": 1}", "hold: is an integer; write true or false"},
        {"{\"retries\": -1}", "retries: -1 is out of range"},
        {"{\"retries\": 4294967296}", "retries: 4294967296 is out of range"},
        {"{\"priority\": 2147483648}", "priority: 2147483648 is out of range"},
        {"{\"timeout_ms\": -1}", "timeout_ms: -1 is out of range"},
        {"{\"retries\": 1.5}", "retries: is a number with a fraction"},
        {"{\"retries\": \"5\"}", "retries: is a string; write an integer"},
        {"{\"timeout_ms\": \"5\"}", "timeout_ms: \"5\" is not a duration"},
        {"{\"timeout_ms\": \"\"}", "timeout_ms: \"\" is not a duration"},
        {"{\"timeout_ms\": \"soon\"}", "write 600000 (milliseconds) or"},
        {"{\"timeout_ms\": true}", "milliseconds or a duration"},
        {"{\"hints\": {\"memory_bytes\": \"lots\"}}",
         "hints.memory_bytes: \"lots\" is not a size"},
        {"{\"submitted_at_ms\": \"10m\"}", "submitted_at_ms: is a string"},
        {"{\"steps\": \"make\"}", "steps: is a string; write an array"},
        {"{\"steps\": [1]}", "steps[0]: is an integer; write an object or a "
                             "string"},
        {"{\"steps\": [\"a\", null]}", "steps[1]: is null"},
        {"{\"steps\": [\"a\", {\"kind\": \"bash\"}]}",
         "steps[1].kind: \"bash\" is unknown; write one of shell, argv, "
         "python, make, kubectl"},
        {"{\"steps\": [{\"kind\": 1}]}", "steps[0].kind: is an integer"},
        {"{\"steps\": [{\"argv\": [\"a\", 2]}]}", "steps[0].argv[1]: is an"},
        {"{\"env\": [\"A=1\"]}", "env: is an array; write an object"},
        {"{\"env\": {\"PORT\": 80}}", "env.PORT: is an integer"},
        {"{\"env\": {\"\": \"x\"}}", "env[0].key: missing"},
        {"{\"hints\": []}", "hints: is an array; write an object"},
        {"{\"name\": \"a\\u0001\"}", "name: control character 0x01"},
    };
    struct codec_fixture *f = *state;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(from_text(f, CODEC_TASK, rows[i].text, NULL, NULL),
                         -1);
        assert_error(rows[i].error);
    }
    /* Only tasks are written by hand. */
    assert_int_equal(
        from_text(f, CODEC_RESULT, "{\"cpu_ms\": \"10m\"}", NULL, NULL), -1);
    assert_error("cpu_ms: is a string; write an integer");
}

static void
base64_is_read_strictly(void **state)
{
    static const struct {
        const char *text;
        int len; /* -1: refused */
    } rows[] = {
        {"", 0},      {"AA==", 1},  {"AP8=", 2},  {"AP8A", 3},
        {"A", -1},    {"AA=", -1},  {"A===", -1}, {"====", -1},
        {"A=A=", -1}, {"AP-_", -1}, {"AP8 ", -1}, {"AP8=AP8=", -1},
    };
    struct codec_fixture *f = *state;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[100];

        (void)snprintf(text, sizeof text, "{\"task\": \"a\", \"tail\": \"%s\"}",
                       rows[i].text);
        assert_int_equal(from_text(f, CODEC_CLAIM, text, NULL, NULL),
                         rows[i].len < 0 ? -1 : 0);
        if (rows[i].len >= 0)
            assert_int_equal(f->msg.claim.tail.len, rows[i].len);
    }
}

static void
note(void *ctx, const char *path)
{
    str_addf(ctx, "%s ", path);
}

static void
unknown_keys_are_reported_with_their_path(void **state)
{
    struct codec_fixture *f = *state;
    struct str seen = {0};

    assert_int_equal(from_text(f, CODEC_TASK,
                               "{\"idd\": 1, \"steps\": [\"a\", {\"script\":"
                               " \"b\", \"shell\": {}}], \"hints\":"
                               " {\"a\\nb\": 1}, \"env\": {\"X\": \"1\"}}",
                               note, &seen),
                     0);
    assert_string_equal(str_text(&seen), "steps[1].shell hints.a\\x0ab idd ");
    str_free(&seen);
}

static void
json_text_errors_name_line_and_column(void **state)
{
    static const struct {
        const char *text, *error;
    } rows[] = {
        {"", "job.json:"},
        {"{\n  \"a\": 1,\n  \"b\" 2\n}",
         "job.json:3:7: a : is missing between"},
        {"{\"a\": 1, \"a\": 2}", "a: given twice; keep one"},
        {"{} x", "job.json:1:4: text behind the end"},
        {"5", "job.json:1:1: JSON begins with {"},
        {"{\"a\": \"\\u0000\"}", "\\u0000 inside text; remove it"},
        {"{\"a\": 99999999999999999999}", "a number that is too large"},
        {"{\"a\": \"\xff\"}", "a byte that is not text; save it as UTF-8"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_null(codec_parse_json("job.json", rows[i].text,
                                     strlen(rows[i].text), &e));
        assert_error(rows[i].error);
        assert_null(strchr(e.msg, '\n'));
    }
    assert_null(codec_parse_json("job.json", "{\"a\":\n \0 1}", 11, &e));
    assert_error("job.json:2:2: a NUL byte");
}

static void
a_byte_order_mark_is_skipped(void **state)
{
    json_t *json;

    (void)state;
    json = codec_parse_json("x", "\xef\xbb\xbf{}", 5, &e);
    assert_non_null(json);
    json_decref(json);
}

static void
nesting_ends_at_its_limit(void **state)
{
    char text[140];
    json_t *json;

    (void)state;
    memset(text, '[', 64);
    memset(text + 64, ']', 64);
    json = codec_parse_json("x", text, 128, &e);
    assert_non_null(json);
    json_decref(json);
    memset(text, '[', 65);
    memset(text + 65, ']', 65);
    assert_null(codec_parse_json("x", text, 130, &e));
    assert_error("x:1:65: nested deeper than 64");
    /* Brackets in text do not count, nor do those behind an escaped quote. */
    memset(text, '[', 130);
    memcpy(text, "[\"\\\"", 4);
    memcpy(text + 128, "\"]", 2);
    json = codec_parse_json("x", text, 130, &e);
    assert_non_null(json);
    json_decref(json);
}

static void
json_cannot_fill_the_memory(void **state)
{
    struct codec_fixture *f = *state;
    char *text = repeat(f->pool, "[],", 3, 110000);
    char *big = mem_pool_alloc(f->pool, CODEC_MAX_JSON_BYTES + 1);

    text[0] = '[';
    assert_null(codec_parse_json("x", text, 330000, &e));
    assert_error("more than 200000 values");
    assert_null(codec_parse_json("x", big, CODEC_MAX_JSON_BYTES + 1, &e));
    assert_error("8388609 bytes of JSON");
}

static void
a_full_message_survives_json(void **state)
{
    struct codec_fixture *f = *state;

    for (int i = 0; i < CODEC_TYPES; i++) {
        enum codec_type type = (enum codec_type)i;
        json_t *json, *again;
        char *text;

        fill_type(type, &f->msg, f->pool);
        json = codec_to_json(type, &f->msg);
        text = json_dumps(json, 0);
        again = codec_parse_json("test", text, strlen(text), &e);
        assert_non_null(again);
        assert_int_equal(
            codec_from_json(type, again, f->pool, &f->msg2, NULL, NULL, &e), 0);
        json_decref(json);
        json_decref(again);
        free(text);
        assert_same(type, &f->msg, &f->msg2);
    }
}

/* --- tasks.in --------------------------------------------------------- */

static int
task_in(struct codec_fixture *f, const char *text)
{
    return codec_decode_task_in(text, strlen(text), f->pool, &f->msg.task, &e);
}

static void
tasks_arrive_as_json_or_protobuf(void **state)
{
    struct codec_fixture *f = *state;
    struct task *t = &f->msg.task;

    assert_int_equal(task_in(f, "{\"id\": \"a\", \"steps\": [\"make\"]}"), 0);
    assert_string_equal(t->id, "a");
    assert_int_equal(task_in(f, "\xef\xbb\xbf{\"steps\": [\"make\"]}"), 0);
    assert_string_equal(t->id, "");
    assert_int_equal(task_in(f, "\x0a\x01"
                                "b\x52\x02hi"),
                     0);
    assert_string_equal(t->id, "b");
    assert_string_equal(t->prompt, "hi");
}

static void
a_refused_task_keeps_its_names(void **state)
{
    struct codec_fixture *f = *state;
    struct task *t = &f->msg.task;

    assert_int_equal(task_in(f, "{\"id\": \"a\", \"source\": \"github\","
                                " \"batch\": {\"id\": \"b\"}}"),
                     -1);
    assert_error("steps: missing");
    assert_string_equal(t->id, "a");
    assert_string_equal(t->source, "github");
    assert_string_equal(t->batch->id, "b");
    assert_string_equal(t->batch->branch, "");
    assert_int_equal(codec_check(CODEC_TASK, t, &e), 0);
    /* Refused while reading; the id came first. */
    assert_int_equal(task_in(f, "{\"steps\": [7], \"id\": \"a\"}"), -1);
    assert_string_equal(t->id, "a");
    assert_int_equal(t->n_steps, 0);
    /* Names that are none are not kept. */
    assert_int_equal(task_in(f, "{\"id\": \"../x\", \"source\": \"a b\","
                                " \"name\": \"\\u0001\"}"),
                     -1);
    assert_string_equal(t->id, "");
    assert_string_equal(t->source, "");
    assert_string_equal(t->name, "");
    assert_int_equal(task_in(f, "\xff\xff"), -1);
    assert_string_equal(t->id, "");
    assert_int_equal(task_in(f, "{"), -1);
    assert_string_equal(t->id, "");
    assert_int_equal(codec_check(CODEC_TASK, t, &e), 0);
    assert_int_equal(task_in(f, ""), -1);
}

/* --- tasks.bulk ------------------------------------------------------- */

static int
bulk_in(struct codec_multi *b, const char *text)
{
    return codec_multi_open(b, CODEC_TASKS, text, strlen(text), &e);
}

/* The next member as a task; its result of codec_decode_task_in. */
static int
member_in(struct codec_fixture *f, struct codec_multi *b)
{
    struct bytes member;

    assert_true(codec_multi_next(b, &member));
    return codec_decode_task_in(member.data, member.len, f->pool, &f->msg.task,
                                &e);
}

static void
results_come_alone_or_many(void **state)
{
    struct codec_fixture *f = *state;
    struct str alone = {0}, message = {0};
    struct codec_multi b;
    struct bytes member;
    struct result r;

    codec_init(CODEC_RESULT, &r);
    r.task = "t1";
    codec_encode(CODEC_RESULT, &r, &alone);
    assert_int_equal(
        codec_multi_open(&b, CODEC_RESULTS, alone.data, alone.len, &e), 0);
    assert_int_equal(b.count, 1);
    assert_true(codec_multi_next(&b, &member));
    assert_ptr_equal(member.data, alone.data);
    assert_int_equal(member.len, alone.len);
    assert_false(codec_multi_next(&b, &member));
    codec_multi_close(&b);

    codec_multi_add(CODEC_RESULTS, &message, alone.data, alone.len);
    codec_multi_add(CODEC_RESULTS, &message, "\xff\xff", 2);
    codec_multi_add(CODEC_RESULTS, &message, alone.data, alone.len);
    assert_int_equal(
        codec_multi_open(&b, CODEC_RESULTS, message.data, message.len, &e), 0);
    assert_int_equal(b.count, 3);
    for (int i = 0; i < 3; i++) {
        assert_true(codec_multi_next(&b, &member));
        /* A part of the message, to be kept as long as that is. */
        assert_in_range((uintptr_t)member.data, (uintptr_t)message.data,
                        (uintptr_t)message.data + message.len);
        assert_int_equal(codec_decode(CODEC_RESULT, member.data, member.len,
                                      f->pool, &r, &e),
                         i == 1 ? -1 : 0);
    }
    assert_false(codec_multi_next(&b, &member));
    codec_multi_close(&b);
    /* JSON is of tasks.in alone. */
    assert_int_equal(
        codec_multi_open(&b, CODEC_RESULTS, "{\"task\": \"t1\"}", 14, &e), 0);
    assert_true(codec_multi_next(&b, &member));
    assert_int_equal(
        codec_decode(CODEC_RESULT, member.data, member.len, f->pool, &r, &e),
        -1);
    codec_multi_close(&b);
    message.len -= 1;
    assert_int_equal(
        codec_multi_open(&b, CODEC_RESULTS, message.data, message.len, &e), -1);
    assert_error("not a valid protobuf message");
    str_free(&alone);
    str_free(&message);
}

static void
many_tasks_arrive_as_protobuf(void **state)
{
    struct codec_fixture *f = *state;
    struct str message = {0};
    struct codec_multi b;
    struct bytes member;

    codec_multi_add(CODEC_TASKS, &message,
                    "\x0a\x01"
                    "b\x52\x02hi",
                    7);
    codec_multi_add(CODEC_TASKS, &message, "\xff\xff", 2);
    codec_multi_add(CODEC_TASKS, &message, "", 0);
    codec_multi_add(CODEC_TASKS, &message, "{\"id\": \"c\", \"prompt\": \"x\"}",
                    26);
    str_add(&message, "\x10\x07", 2); /* of a newer sender */
    assert_int_equal(
        codec_multi_open(&b, CODEC_TASKS, message.data, message.len, &e), 0);
    assert_int_equal(b.count, 4);
    assert_int_equal(member_in(f, &b), 0);
    assert_string_equal(f->msg.task.id, "b");
    assert_int_equal(member_in(f, &b), -1);
    assert_error("not a valid protobuf message");
    assert_int_equal(member_in(f, &b), -1);
    assert_error("steps: missing");
    assert_int_equal(member_in(f, &b), 0);
    assert_string_equal(f->msg.task.id, "c");
    assert_int_equal(b.number, 4);
    assert_false(codec_multi_next(&b, &member));
    codec_multi_close(&b);
    str_free(&message);
}

static void
many_tasks_arrive_as_json(void **state)
{
    struct codec_fixture *f = *state;
    struct codec_multi b;
    struct bytes member;

    assert_int_equal(
        bulk_in(&b,
                "{\"tasks\": [{\"id\": \"a\", \"steps\": [\"make\"],"
                " \"timeout_ms\": \"2m\"}, {\"id\": \"b\"}, \"\\u0001x\", 7,"
                " [], null, {\"id\": \"\u00e9\", \"prompt\": \"p\"},"
                " {\"id\": \"c\", \"prompt\": \"p\"}], \"more\": 1}"),
        0);
    assert_int_equal(b.count, 8);
    assert_int_equal(member_in(f, &b), 0);
    assert_string_equal(f->msg.task.id, "a");
    assert_int_equal(f->msg.task.timeout_ms, 120000);
    assert_int_equal(member_in(f, &b), -1);
    assert_error("steps: missing");
    assert_string_equal(f->msg.task.id, "b");
    for (int i = 0; i < 4; i++) {
        assert_int_equal(member_in(f, &b), -1);
        assert_true(e.code == ERR_INVALID && *e.msg);
    }
    assert_int_equal(member_in(f, &b), -1);
    assert_error("id");
    assert_int_equal(member_in(f, &b), 0);
    assert_string_equal(f->msg.task.id, "c");
    assert_false(codec_multi_next(&b, &member));
    codec_multi_close(&b);
}

static void
messages_without_tasks_are_refused(void **state)
{
    static const struct {
        const char *text, *why;
    } rows[] = {
        {"", "the message is empty"},
        {"\x10\x07", "the message is empty"},
        {"{}", "the message is empty"},
        {"{\"tasks\": []}", "the message is empty"},
        {"{\"tasks\": {}}", "must be an array"},
        {"{\"tasks\": 7}", "must be an array"},
        {"{\"tasks\": [", "tasks:1:"},
        {"\x0a\x05x", "not a valid protobuf message"},
        {"\x08\x05", "not a valid protobuf message"},
        {"\x0a\x01x\xff", "not a valid protobuf message"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct codec_multi b;

        assert_int_equal(bulk_in(&b, rows[i].text), -1);
        assert_error(rows[i].why);
    }
}

static void
a_message_holds_so_many_tasks_and_bytes(void **state)
{
    struct codec_fixture *f = *state;
    struct str message = {0};
    struct codec_multi b;
    char *big = repeat(f->pool, "x", 1, CODEC_MAX_BYTES);

    for (int i = 0; i < TASK_MULTI_MOST; i++)
        codec_multi_add(CODEC_TASKS, &message, "", 0);
    assert_int_equal(
        codec_multi_open(&b, CODEC_TASKS, message.data, message.len, &e), 0);
    assert_int_equal(b.count, TASK_MULTI_MOST);
    codec_multi_close(&b);
    codec_multi_add(CODEC_TASKS, &message, "", 0);
    assert_int_equal(
        codec_multi_open(&b, CODEC_TASKS, message.data, message.len, &e), -1);
    assert_error("1001 elements, at most 1000");

    str_reset(&message);
    codec_multi_add(CODEC_TASKS, &message, big,
                    CODEC_MAX_BYTES - 4); /* tag and length */
    assert_int_equal(message.len, CODEC_MAX_BYTES);
    assert_int_equal(
        codec_multi_open(&b, CODEC_TASKS, message.data, message.len, &e), 0);
    codec_multi_close(&b);
    str_addc(&message, '\0');
    assert_int_equal(
        codec_multi_open(&b, CODEC_TASKS, message.data, message.len, &e), -1);
    assert_error("1048577 bytes, at most 1048576");
    str_free(&message);
}

/* --- mutations -------------------------------------------------------- */

static void
mutated_json_is_refused_or_written_again(void **state)
{
    struct codec_fixture *f = *state;
    uint64_t seed = 7;
    int accepted = 0;

    for (int i = 0; i < 5000; i++) {
        enum codec_type type = (enum codec_type)(i % CODEC_TYPES);
        struct str text = {0}, out = {0};
        json_t *json;
        char *dump;

        mem_pool_reset(f->pool);
        fill_type(type, &f->msg, f->pool);
        json = codec_to_json(type, &f->msg);
        dump = json_dumps(json, JSON_COMPACT);
        json_decref(json);
        str_addz(&text, dump);
        free(dump);
        mutate(&text, &seed);
        json = codec_parse_json("x", text.data, text.len, &e);
        if (json && codec_from_json(type, json, f->pool, &f->msg, NULL, NULL,
                                    &e) == 0) {
            accepted++;
            codec_encode(type, &f->msg, &out);
            assert_int_equal(
                codec_decode(type, out.data, out.len, f->pool, &f->msg2, &e),
                0);
            assert_same(type, &f->msg, &f->msg2);
        } else {
            assert_int_equal(e.code, ERR_INVALID);
        }
        json_decref(json);
        str_free(&text);
        str_free(&out);
    }
    assert_true(accepted > 100);
}

static void
mutated_submissions_never_break_the_reader(void **state)
{
    struct codec_fixture *f = *state;
    uint64_t seed = 99;

    for (int i = 0; i < 5000; i++) {
        struct task *t = &f->msg.task;
        struct str out = {0};

        mem_pool_reset(f->pool);
        fill_type(CODEC_TASK, t, f->pool);
        t->prompt = t->dod = "";
        codec_encode(CODEC_TASK, t, &out);
        mutate(&out, &seed);
        (void)codec_decode_task_in(out.data, out.len, f->pool, t, &e);
        assert_int_equal(codec_check(CODEC_TASK, t, &e), 0);
        str_free(&out);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(json_reads_as_people_write_it),
        TEST(json_is_written_as_documented),
        TEST(wrong_json_is_refused_by_its_path),
        TEST(base64_is_read_strictly),
        TEST(unknown_keys_are_reported_with_their_path),
        TEST(json_text_errors_name_line_and_column),
        TEST(a_byte_order_mark_is_skipped),
        TEST(nesting_ends_at_its_limit),
        TEST(json_cannot_fill_the_memory),
        TEST(a_full_message_survives_json),
        TEST(tasks_arrive_as_json_or_protobuf),
        TEST(a_refused_task_keeps_its_names),
        TEST(results_come_alone_or_many),
        TEST(many_tasks_arrive_as_protobuf),
        TEST(many_tasks_arrive_as_json),
        TEST(messages_without_tasks_are_refused),
        TEST(a_message_holds_so_many_tasks_and_bytes),
        TEST(mutated_json_is_refused_or_written_again),
        TEST(mutated_submissions_never_break_the_reader),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
