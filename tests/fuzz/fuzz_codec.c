#include "lib/model/subject.h"
#include "tests/fuzz/fuzz.h"

/* --- what must hold of every message -------------------------------------- */

static void
same_bytes(struct fuzz *f, enum codec_type type, const void *msg)
{
    union fuzz_message again;
    struct str one = {0}, two = {0};

    codec_encode(type, msg, &one);
    FUZZ_NEED(codec_decode(type, one.data, one.len, f->pool, &again, &f->e) ==
              0);
    codec_encode(type, &again, &two);
    FUZZ_NEED(one.len == two.len && memcmp(one.data, two.data, one.len) == 0);
    str_free(&one);
    str_free(&two);
}

static void
same_json(struct fuzz *f, enum codec_type type, const void *msg)
{
    json_t *one = codec_to_json(type, msg), *parsed, *two;
    char *text = json_dumps(one, 0);
    union fuzz_message again;

    FUZZ_NEED(text);
    parsed = codec_parse_json("fuzz", text, strlen(text), &f->e);
    FUZZ_NEED(parsed);
    FUZZ_NEED(
        codec_from_json(type, parsed, f->pool, &again, NULL, NULL, &f->e) == 0);
    two = codec_to_json(type, &again);
    FUZZ_NEED(json_equal(one, two));
    free(text); /* of jansson's making */
    json_decref(one);
    json_decref(parsed);
    json_decref(two);
}

void
fuzz_round_trip(struct fuzz *f, enum codec_type type, const void *msg)
{
    FUZZ_NEED(codec_check(type, msg, &f->e) == 0);
    same_bytes(f, type, msg);
    same_json(f, type, msg);
}

/* --- protobuf ------------------------------------------------------------- */

/* 0: *out is a message that keeps what is asked of one. */
static int
read_message(struct fuzz *f, enum codec_type type, const uint8_t *data,
             size_t size, union fuzz_message *out)
{
    if (codec_decode(type, data, size, f->pool, out, &f->e) < 0)
        return fuzz_refused(f);
    fuzz_round_trip(f, type, out);
    return 0;
}

static void
any_message(enum codec_type type, const uint8_t *data, size_t size)
{
    struct fuzz f = fuzz_begin();
    union fuzz_message m;
    struct codec_glimpse seen;

    (void)read_message(&f, type, data, size, &m);
    if (codec_glimpse(type, data, size, &seen))
        FUZZ_NEED(seen.len > 0 &&
                  (const uint8_t *)seen.task + seen.len <= data + size);
    fuzz_end(&f);
}

void
fuzz_routed(const uint8_t *data, size_t size)
{
    any_message(CODEC_ROUTED_TASK, data, size);
}

void
fuzz_result(const uint8_t *data, size_t size)
{
    any_message(CODEC_RESULT, data, size);
}

void
fuzz_claim(const uint8_t *data, size_t size)
{
    any_message(CODEC_CLAIM, data, size);
}

void
fuzz_heartbeat(const uint8_t *data, size_t size)
{
    any_message(CODEC_HEARTBEAT, data, size);
}

void
fuzz_control(const uint8_t *data, size_t size)
{
    any_message(CODEC_CONTROL, data, size);
}

void
fuzz_lane_state(const uint8_t *data, size_t size)
{
    any_message(CODEC_LANE_STATE, data, size);
}

void
fuzz_log_chunk(const uint8_t *data, size_t size)
{
    any_message(CODEC_LOG_CHUNK, data, size);
}

void
fuzz_batch(const uint8_t *data, size_t size)
{
    any_message(CODEC_BATCH, data, size);
}

void
fuzz_tasks(const uint8_t *data, size_t size)
{
    any_message(CODEC_TASKS, data, size);
}

/* --- tasks ---------------------------------------------------------------- */

/* A task that passed task_check still does when it was completed and sent. */
static void
good_task(struct fuzz *f, struct task *t)
{
    char line[80];

    FUZZ_NEED(strlen(task_summary(t, line, sizeof line)) < sizeof line);
    task_complete(t, f->pool, INT64_C(1753000000000));
    FUZZ_NEED(subject_token_ok(t->id) && subject_token_ok(t->source));
    FUZZ_NEED(*t->name && *t->project);
    FUZZ_NEED(task_check(t, &f->e) == 0);
    fuzz_round_trip(f, CODEC_TASK, t);
}

void
fuzz_task(const uint8_t *data, size_t size)
{
    struct fuzz f = fuzz_begin();
    union fuzz_message m;

    if (read_message(&f, CODEC_TASK, data, size, &m) == 0) {
        if (task_check(&m.task, &f.e) == 0)
            good_task(&f, &m.task);
        else
            (void)fuzz_refused(&f);
    }
    fuzz_end(&f);
}

void
fuzz_task_in(const uint8_t *data, size_t size)
{
    struct fuzz f = fuzz_begin();
    struct task t;

    if (codec_decode_task_in(data, size, f.pool, &t, &f.e) == 0) {
        good_task(&f, &t);
    } else {
        (void)fuzz_refused(&f);
        /* What is left of it can be refused by name. */
        FUZZ_NEED(t.n_steps == 0 && !*t.prompt);
        FUZZ_NEED(!*t.id || subject_token_ok(t.id));
        fuzz_round_trip(&f, CODEC_TASK, &t);
    }
    fuzz_end(&f);
}

/* What is taken apart is what its members make when put together. */
static void
any_bulk(enum codec_type type, enum codec_type member_type, const uint8_t *data,
         size_t size)
{
    struct fuzz f = fuzz_begin();
    struct str again = {0};
    struct codec_multi b;
    struct bytes member;
    union fuzz_message m;
    struct task t;
    size_t n = 0;

    if (codec_multi_open(&b, type, data, size, &f.e) == 0) {
        for (; codec_multi_next(&b, &member); n++) {
            FUZZ_NEED(b.number == n + 1);
            codec_multi_add(type, &again, member.data, member.len);
            if ((type == CODEC_TASKS
                     ? codec_decode_task_in(member.data, member.len, f.pool, &t,
                                            &f.e)
                     : codec_decode(member_type, member.data, member.len,
                                    f.pool, &m, &f.e)) < 0)
                (void)fuzz_refused(&f);
        }
        FUZZ_NEED(n == b.count && n > 0);
        codec_multi_close(&b);
        FUZZ_NEED(codec_multi_open(&b, type, again.data, again.len, &f.e) == 0);
        FUZZ_NEED(b.count == n);
        codec_multi_close(&b);
    } else {
        (void)fuzz_refused(&f);
    }
    str_free(&again);
    fuzz_end(&f);
}

void
fuzz_bulk(const uint8_t *data, size_t size)
{
    any_bulk(CODEC_TASKS, CODEC_TASK, data, size);
}

void
fuzz_routed_many(const uint8_t *data, size_t size)
{
    any_bulk(CODEC_ROUTED_TASKS, CODEC_ROUTED_TASK, data, size);
}

void
fuzz_results(const uint8_t *data, size_t size)
{
    any_bulk(CODEC_RESULTS, CODEC_RESULT, data, size);
}

static void
on_unknown(void *ctx, const char *path)
{
    (void)ctx;
    FUZZ_NEED(*path);
}

void
fuzz_json_task(const uint8_t *data, size_t size)
{
    struct fuzz f = fuzz_begin();
    json_t *json = codec_parse_json("fuzz", data, size, &f.e);
    struct task t;

    if (json && codec_from_json(CODEC_TASK, json, f.pool, &t, on_unknown, NULL,
                                &f.e) == 0)
        fuzz_round_trip(&f, CODEC_TASK, &t);
    else
        (void)fuzz_refused(&f);
    json_decref(json);
    fuzz_end(&f);
}
