/*
 * peek - prints the messages of a stream, one JSON object per line, for the
 * checker.
 *
 * usage: peek URL TOKEN_FILE tasks|results|claims   TOKEN_FILE may be ""
 *        peek URL TOKEN_FILE leader STREAM          name of the server
 *
 * A message that cannot be read is {"seq": n, "bad": true}.
 */
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/bus/bus.h"
#include "lib/io/loop.h"
#include "lib/model/codec.h"
#include "lib/model/subject.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONNECT_MS = 10000, CALL_MS = 5000, TRIES = 5 };

static const struct peek_view {
    const char *word, *stream;
    enum codec_type type;
} views[] = {
    {"tasks", "TASKS_IN", CODEC_TASK},
    {"results", "RESULTS", CODEC_RESULT},
    {"claims", "KV_claims", CODEC_CLAIM},
};

static int
value_of(char c)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;

    return at ? (int)(at - digits) : -1;
}

static void
decode_base64(const char *text, struct str *out)
{
    unsigned bits = 0, n = 0;
    uint8_t byte;
    int v;

    for (; (v = value_of(*text)) >= 0; text++) {
        bits = bits << 6 | (unsigned)v;
        n += 6;
        if (n >= 8) {
            n -= 8;
            byte = (uint8_t)(bits >> n);
            str_add(out, &byte, 1);
        }
    }
}

/* Asks the broker; a replica that is electing its leader may need a moment. */
static json_t *
ask(struct bus *b, const char *subject, const char *body)
{
    struct str answer = {0};
    json_t *v = NULL;
    struct err e = {0};

    for (int i = 0; !v && i < TRIES; i++) {
        str_reset(&answer);
        if (bus_call(b, subject, body, strlen(body), CALL_MS, &answer, &e) == 0)
            v = json_loadb(str_text(&answer), answer.len, 0, NULL);
    }
    if (!v)
        (void)fprintf(stderr, "peek: %s: %s\n", subject, e.msg);
    str_free(&answer);
    return v;
}

static json_t *
decoded(const struct peek_view *view, struct bytes data, struct mem_pool *pool)
{
    union {
        struct task task;
        struct result result;
        struct claim claim;
    } u;
    struct err e;
    int rc;

    if (view->type == CODEC_TASK)
        rc = codec_decode_task_in(data.data, data.len, pool, &u.task, &e);
    else
        rc = codec_decode(view->type, data.data, data.len, pool, &u, &e);
    return rc == 0 ? codec_to_json(view->type, &u)
                   : json_pack("{s:b}", "bad", true);
}

/* Prints v, which is consumed. */
static void
print_line(json_t *v, uint64_t seq)
{
    char *line;

    (void)json_object_set_new(v, "seq", json_integer((json_int_t)seq));
    line = json_dumps(v, JSON_COMPACT);
    (void)puts(line);
    free(line);
    json_decref(v);
}

/* Prints a line for each task or result of a message of several. */
static void
print_many(const struct peek_view *view, enum codec_type type,
           const struct str *data, uint64_t seq, struct mem_pool *pool)
{
    struct codec_multi members;
    struct bytes member;
    struct err e;

    if (codec_multi_open(&members, type, data->data, data->len, &e) < 0) {
        print_line(json_pack("{s:b}", "bad", true), seq);
        return;
    }
    while (codec_multi_next(&members, &member))
        print_line(decoded(view, member, pool), seq);
    codec_multi_close(&members);
}

static void
print_message(const struct peek_view *view, json_t *reply, uint64_t seq,
              struct mem_pool *pool)
{
    json_t *message = json_object_get(reply, "message");
    const char *text = json_string_value(json_object_get(message, "data"));
    const char *subject =
        json_string_value(json_object_get(message, "subject"));
    struct str data = {0};

    if (!message)
        return; /* replaced by a newer one, or expired */
    decode_base64(text ? text : "", &data);
    mem_pool_reset(pool);
    if (subject && strcmp(subject, SUBJECT_TASKS_BULK) == 0)
        print_many(view, CODEC_TASKS, &data, seq, pool);
    else if (view->type == CODEC_RESULT)
        print_many(view, CODEC_RESULTS, &data, seq, pool);
    else
        print_line(decoded(view,
                           (struct bytes){(const uint8_t *)data.data, data.len},
                           pool),
                   seq);
    str_free(&data);
}

static int
dump(struct bus *b, const struct peek_view *view)
{
    char subject[128], body[64];
    struct mem_pool *pool;
    json_t *info, *state, *reply;
    int64_t seq, last;
    int rc = 0;

    (void)snprintf(subject, sizeof subject, "$JS.API.STREAM.INFO.%s",
                   view->stream);
    info = ask(b, subject, "");
    state = json_object_get(info, "state");
    if (!state) {
        json_decref(info);
        return 1;
    }
    pool = mem_pool_new();
    seq = json_integer_value(json_object_get(state, "first_seq"));
    last = json_integer_value(json_object_get(state, "last_seq"));
    (void)snprintf(subject, sizeof subject, "$JS.API.STREAM.MSG.GET.%s",
                   view->stream);
    for (; rc == 0 && seq <= last; seq++) {
        (void)snprintf(body, sizeof body, "{\"seq\":%" PRId64 "}", seq);
        reply = ask(b, subject, body);
        if (reply)
            print_message(view, reply, (uint64_t)seq, pool);
        else
            rc = 1;
        json_decref(reply);
    }
    mem_pool_free(pool);
    json_decref(info);
    return rc;
}

static int
leader(struct bus *b, const char *stream)
{
    char subject[128];
    const char *name;
    json_t *info;

    (void)snprintf(subject, sizeof subject, "$JS.API.STREAM.INFO.%s", stream);
    info = ask(b, subject, "");
    name = json_string_value(
        json_object_get(json_object_get(info, "cluster"), "leader"));
    if (name)
        (void)puts(name);
    json_decref(info);
    return name ? 0 : 1;
}

static int
carry_out(struct bus *b, int argc, char **argv)
{
    if (strcmp(argv[3], "leader") == 0 && argc == 5)
        return leader(b, argv[4]);
    for (size_t i = 0; i < sizeof views / sizeof views[0]; i++)
        if (argc == 4 && strcmp(argv[3], views[i].word) == 0)
            return dump(b, &views[i]);
    (void)fprintf(stderr, "peek: usage: peek URL TOKEN_FILE "
                          "tasks|results|claims|leader STREAM\n");
    return 2;
}

int
main(int argc, char **argv)
{
    char none[] = "";
    struct bus_conf conf = {.creds_file = none,
                            .nkey_file = none,
                            .ca_file = none,
                            .cert_file = none,
                            .key_file = none};
    struct loop *loop = NULL;
    struct bus *bus = NULL;
    struct err e = {0};
    int rc = 1;

    if (argc < 4)
        return 2;
    conf.url = argv[1];
    conf.token_file = argv[2];
    if (loop_open(&loop, &e) < 0 ||
        bus_open(&bus, loop, &conf, "peek", CONNECT_MS, &e) < 0)
        (void)fprintf(stderr, "peek: %s\n", e.msg);
    else
        rc = carry_out(bus, argc, argv);
    bus_close(bus);
    loop_close(loop);
    return rc;
}
