/*
 * codec - encodes messages as protobuf and JSON, decodes and validates them.
 *
 * One table per message (codec_tables.c) drives the protobuf form, the JSON
 * form and the checks: lengths, counts, enum ranges, UTF-8, no NUL in text.
 * Bytes from outside that do not pass give ERR_INVALID with the field's name.
 *
 * JSON: keys as in the .proto; enums as lower-case words without prefix
 * ("safe", "retry_wait"); env and tags as objects; bytes as base64; a step may
 * be a plain string (a shell script); unknown keys are reported, not fatal.
 *
 * Thread: any; a pool belongs to one thread at a time.
 */
#ifndef LIB_MODEL_CODEC_H
#define LIB_MODEL_CODEC_H

#include "lib/base/err.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/model/task.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

enum codec_type {
    CODEC_TASK,         /* struct task */
    CODEC_ROUTED_TASK,  /* struct routed_task */
    CODEC_DECISION,     /* struct decision */
    CODEC_CLAIM,        /* struct claim */
    CODEC_RESULT,       /* struct result */
    CODEC_LOG_CHUNK,    /* struct log_chunk */
    CODEC_HEARTBEAT,    /* struct heartbeat */
    CODEC_BATCH,        /* struct batch */
    CODEC_DEAD_LETTER,  /* struct dead_letter */
    CODEC_CONTROL,      /* struct control */
    CODEC_LANE_STATE,   /* struct lane_state */
    CODEC_TASKS,        /* struct tasks */
    CODEC_ROUTED_TASKS, /* struct routed_tasks */
    CODEC_RESULTS,      /* struct results */
};

/*
 * Appends the protobuf form of *msg (the struct that belongs to type).
 *
 * Text for people (reasons, names of hosts, ...) is repaired and cut, so that a
 * program's odd output cannot make a message that readers refuse. Everything
 * else is written as it is: codec_check says whether it is valid.
 */
void codec_encode(enum codec_type type, const void *msg, struct str *out);

/*
 * Reads the protobuf form into *msg, a struct of the type's kind that the
 * caller has; everything it points to is put into pool. On -1 *msg is zeroed.
 */
int codec_decode(enum codec_type type, const void *data, size_t len,
                 struct mem_pool *pool, void *msg, struct err *e);

/* Makes *msg empty but valid, all text "", before its fields are set. */
void codec_init(enum codec_type type, void *msg);

/* Whether readers will accept the encoded message: the checks of codec_decode,
 * including the size. */
int codec_check(enum codec_type type, const void *msg, struct err *e);

/* A new JSON object; absent fields are left out. The caller owns it. */
json_t *codec_to_json(enum codec_type type, const void *msg);

/*
 * The member of a task's delegation that an unknown key elsewhere in the task
 * means, by the last part of its path, whatever its case, - and _; NULL if
 * none. A task with one is refused, not warned of: what its author said of who
 * may read the prompt must not be lost.
 */
const char *codec_delegation_key(const char *path);

/* Called once for each key that the message does not have. */
typedef void codec_unknown_fn(void *ctx, const char *path);

/*
 * As codec_decode, from parsed JSON; path in errors ("steps[2].kind"); null is
 * absent. In a task, durations and sizes may also be text: "timeout_ms":
 * "10m", "memory_bytes": "9G". unknown may be NULL.
 */
int codec_from_json(enum codec_type type, const json_t *json,
                    struct mem_pool *pool, void *msg, codec_unknown_fn *unknown,
                    void *ctx, struct err *e);

/*
 * Parses JSON text from outside, an object or an array: BOM skipped; duplicate
 * keys, trailing text, depth beyond 64, more than 8 MiB and more than 200,000
 * values refused. what names the text in errors ("job.json"); they carry line
 * and column. The caller owns the value; NULL on failure.
 */
json_t *codec_parse_json(const char *what, const void *data, size_t len,
                         struct err *e);

/*
 * Decodes a message of tasks.in: protobuf, or JSON if it begins with '{'.
 * Checked with task_check, which accepts an id of "".
 *
 * On -1 *t is an empty, valid task with what could be read of id, name,
 * source, submission time and batch, so that it can be refused by name.
 */
int codec_decode_task_in(const void *data, size_t len, struct mem_pool *pool,
                         struct task *t, struct err *e);

/*
 * Several tasks, routed tasks or results in one message. An invalid member does
 * not affect the others.
 *
 * On tasks.bulk: Tasks as protobuf, or as JSON if it begins with '{'. A member
 * is read by codec_decode_task_in.
 *
 * On results.*.*: Results, or a single Result. A member is read by
 * codec_decode. The same with RoutedTasks or a RoutedTask on tasks.*.*.
 */
struct codec_multi {
    enum codec_type type;
    bool alone;              /* the message is a single member */
    size_t count;            /* number of members, at least one */
    size_t number;           /* of the next member, from 0 */
    const uint8_t *at, *end; /* the rest of the message */
    struct str own;          /* the members of a JSON message */
};

/* type: CODEC_TASKS, CODEC_ROUTED_TASKS or CODEC_RESULTS. The data must outlive
 * *b. On 0 the caller releases it with codec_multi_close; -1: the message is
 * invalid, or has no members or too many. */
int codec_multi_open(struct codec_multi *b, enum codec_type type,
                     const void *data, size_t len, struct err *e);

/* The next member: a part of the data, or, of a JSON message, valid until
 * codec_multi_close. False: there are no more. */
bool codec_multi_next(struct codec_multi *b, struct bytes *out);

void codec_multi_close(struct codec_multi *b);

/* Appends an encoded member to a message, which begins empty. */
void codec_multi_add(enum codec_type type, struct str *message,
                     const void *member, size_t len);

/*
 * Reads the id of a message's task without decoding the message, and whether
 * the task has to wait for something once it is accepted. task points into the
 * data and is not checked. False: the message does not begin with an id; JSON
 * does not. type: CODEC_TASK, CODEC_ROUTED_TASK or CODEC_RESULT.
 */
struct codec_glimpse {
    const char *task;
    size_t len;
    bool waits;
};
bool codec_glimpse(enum codec_type type, const void *data, size_t len,
                   struct codec_glimpse *out);

/* {"schema": "shunt.<name>/1"} for the CLI's --json. */
json_t *codec_schema(const char *name);

#endif
