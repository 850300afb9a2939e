/*
 * codec - messages to bytes and JSON and back, validated once.
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
 * Text that only people read (reasons, names of hosts, ...) is cleaned and cut
 * so that a program's odd output cannot make a message its readers refuse.
 * Everything else is written as it is: codec_check says whether it will do.
 */
void codec_encode(enum codec_type type, const void *msg, struct str *out);

/*
 * Reads the protobuf form into *msg, a struct of the type's kind that the
 * caller has; everything it points to is put into pool. On -1 *msg is zeroed.
 */
int codec_decode(enum codec_type type, const void *data, size_t len,
                 struct mem_pool *pool, void *msg, struct err *e);

/* Makes *msg empty but valid: all text "". For structs built by hand. */
void codec_init(enum codec_type type, void *msg);

/* Whether readers will take a struct built by hand: the checks of
 * codec_decode, the encoded size included. */
int codec_check(enum codec_type type, const void *msg, struct err *e);

/* A new JSON object; absent fields are left out. The caller owns it. */
json_t *codec_to_json(enum codec_type type, const void *msg);

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
 * A task as it stands on tasks.in: protobuf, or JSON if it begins with '{'.
 * Checked with task_check, which takes an id of "".
 *
 * On -1 *t is an empty, valid task with what could be read of id, name,
 * source, submission time and batch, so that it can be refused by name.
 */
int codec_decode_task_in(const void *data, size_t len, struct mem_pool *pool,
                         struct task *t, struct err *e);

/*
 * Messages of many. One member that is bad does not spoil the others.
 *
 * Of tasks, as they stand on tasks.bulk: Tasks as protobuf, or as JSON if it
 * begins with '{'. A member is what codec_decode_task_in reads.
 *
 * Of results, as they stand on results.*.*: Results, or a Result, which is a
 * message of one. A member is what codec_decode reads. The same of routed
 * tasks, as they stand on tasks.*.*.
 */
struct codec_bulk {
    enum codec_type type;
    bool alone;              /* the message is its only member */
    size_t count;            /* of members, at least one */
    size_t number;           /* of the next, from 0 */
    const uint8_t *at, *end; /* what is left */
    struct str own;          /* the members of a JSON message */
};

/* type: CODEC_TASKS, CODEC_ROUTED_TASKS or CODEC_RESULTS. The data must outlive
 * *b. On 0 the caller releases it with codec_bulk_close; -1: no such message,
 * or one without members or with too many. */
int codec_bulk_open(struct codec_bulk *b, enum codec_type type,
                    const void *data, size_t len, struct err *e);

/* The next member, of a protobuf message a part of its bytes, else valid until
 * codec_bulk_close; false: that was all. */
bool codec_bulk_next(struct codec_bulk *b, struct bytes *out);

void codec_bulk_close(struct codec_bulk *b);

/* Adds an encoded member to a message of many, which begins empty. */
void codec_bulk_add(enum codec_type type, struct str *message,
                    const void *member, size_t len);

/*
 * What is seen of a message without reading it: the task it is about, and
 * whether that is to wait for something once it is accepted. task is a part of
 * the data and not checked. False: it does not begin with an id, as JSON does
 * not. type: CODEC_TASK, CODEC_ROUTED_TASK or CODEC_RESULT.
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
