/*
 * task - the messages of proto/shunt.proto as plain structs.
 *
 * The fields are those of the .proto, where each is explained. Text is never
 * NULL ("" is absent), an optional message may be NULL, an array x has its
 * length in n_x. Everything a decoded message points to is in the pool it was
 * decoded into; strings are borrowed.
 *
 * lib/model/codec encodes, decodes and checks them: a decoded struct is valid.
 */
#ifndef LIB_MODEL_TASK_H
#define LIB_MODEL_TASK_H

#include "lib/base/err.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/model/task_state.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TASK_ID_SIZE = 41,                /* longest id and its NUL */
    TASK_MAX_BYTES = 512 * 1024,      /* of an encoded task */
    TASK_INPUT_MAX = 8 * 1024 * 1024, /* standard input */
    TASK_INPUT_INLINE = 256 * 1024,   /* standard input in the task itself */
    TASK_MAX_STEPS = 1000,            /* steps of one task */
    TASK_INLINE_OUTPUT = 32 * 1024,   /* output included in the result */
    TASK_TAIL_BYTES = 4096,           /* output kept in the claim */
    TASK_LOST_MAX = 3, /* attempts that may be lost before a task is dead */
    TASK_MULTI_MOST = 1000,  /* tasks of one message */
    TASK_WARNINGS_MOST = 50, /* of one task, and of one result */
};

enum retry_policy { RETRY_UNSPECIFIED, RETRY_SAFE, RETRY_NEVER };

enum step_kind {
    STEP_UNSPECIFIED,
    STEP_SHELL,
    STEP_ARGV,
    STEP_PYTHON,
    STEP_MAKE,
    STEP_KUBECTL
};

enum stream { STREAM_UNSPECIFIED, STREAM_STDOUT, STREAM_STDERR };

struct bytes {
    const uint8_t *data; /* NULL if len is 0 */
    size_t len;
};

struct key_value {
    const char *key, *value;
};

struct step {
    const char *name;
    enum step_kind kind;
    const char *script;
    const char **argv;
    size_t n_argv;
    const char *workdir;
    uint64_t timeout_ms;
};

struct output {
    const char *type, *title, *commit_message;
    const char **files;
    size_t n_files;
    int64_t link_issue;
    const char *path, *body;
};

struct hints {
    const char *agent;
    uint64_t runtime_ms, memory_bytes;
    bool memory_unknown;
    uint32_t parallel;
    const char *data;
    bool heavy_log, llm, ui, light;
};

struct delegation {
    const char *preferred_ai;
    bool allow_delegation, needs_claude_code;
    const char *complexity_hint, *max_cost_usd;
};

struct batch_ref {
    const char *id, *name;
    uint32_t index, size;
    const char *branch;
    const char **exclusive_write;
    size_t n_exclusive_write;
    const char **shared_read;
    size_t n_shared_read;
};

struct input {
    struct bytes data;
    uint64_t size;
    uint32_t chunks;
};

struct task {
    const char *id, *name, *project, *source, *origin, *format, *submitter;
    int64_t submitted_at_ms;
    struct step *steps;
    size_t n_steps;
    const char *prompt, *workdir, *repo, *branch;
    struct key_value *env;
    size_t n_env;
    const char *dod, *report_path;
    struct output *outputs;
    size_t n_outputs;
    uint64_t timeout_ms, idle_timeout_ms;
    uint32_t retries;
    enum retry_policy retry;
    int32_t priority;
    const char *team;
    struct key_value *tags;
    size_t n_tags;
    const char **after;
    size_t n_after;
    int64_t not_before_ms;
    bool hold;
    const char *backend, *lane, *executor;
    struct hints *hints;           /* NULL: none */
    struct delegation *delegation; /* NULL: none */
    struct batch_ref *batch;       /* NULL: no batch */
    const char *context_header, *notes, *retry_of, *command;
    struct key_value *submit_env;
    size_t n_submit_env;
    const char *submit_place, *umask;
    bool clean_env;
    const char **secret_env;
    size_t n_secret_env;
    struct input *input; /* NULL: none */
    const char **warnings;
    size_t n_warnings;
};

struct tasks {
    struct task *tasks;
    size_t n_tasks;
};

struct signal_hit {
    const char *name;
    int32_t points;
    const char *match;
};

struct decision {
    const char *backend, *lane, *rule, *reason;
    bool scored;
    int32_t score;
    struct signal_hit *signals;
    size_t n_signals;
    const char **lost;
    size_t n_lost;
    const char *affinity, *policy;
    int64_t decided_at_ms;
    const char *wanted;
    bool rejected;
    const char *cost_usd;
};

struct routed_task {
    struct task *task;
    struct decision *decision;
    uint32_t drive;
};

struct routed_tasks {
    struct routed_task *routed;
    size_t n_routed;
};

struct output_part {
    enum stream stream;
    struct bytes data;
};

struct result {
    const char *task;
    uint32_t attempt;
    uint64_t fence;
    const char *nonce, *backend, *lane, *worker;
    enum state state;
    bool final;
    int32_t exit_code, signal;
    const char *reason;
    int64_t started_at_ms, finished_at_ms;
    struct output_part *output;
    size_t n_output;
    uint64_t output_bytes, dropped_bytes;
    uint32_t log_chunks, failed_step;
    const char *batch;
    int64_t retry_at_ms;
    const char *provider, *cost_usd;
    uint64_t max_rss_bytes, cpu_ms;
    bool emitted_again;
    const char *model, *remote_id;
    uint64_t queue_ms, run_ms, input_tokens, output_tokens;
    bool cost_estimated;
    const char *team;
    const char **warnings;
    size_t n_warnings;
    bool no_exit_code;
    struct control *cancel; /* NULL: not cancelled, or by nobody's request */
};

struct results {
    struct result *results;
    size_t n_results;
};

struct claim {
    const char *task;
    uint32_t attempt;
    const char *worker, *nonce;
    enum state state;
    uint64_t fence;
    uint32_t lease_ms;
    int64_t started_at_ms, finished_at_ms, retry_at_ms;
    int32_t exit_code;
    const char *reason;
    struct bytes tail;
    uint32_t lost, failed;
    struct result *result; /* NULL while it runs */
    const char *remote;
};

struct log_chunk {
    const char *task;
    uint32_t attempt;
    uint64_t fence;
    uint32_t seq;
    uint64_t offset, dropped_bytes;
    struct output_part *parts;
    size_t n_parts;
};

struct running_task {
    const char *task;
    uint32_t attempt;
    int64_t started_at_ms;
    const char *name, *remote;
};

struct folder_state {
    const char *path;
    uint32_t waiting, running;
    const char *note;
    const char **problems;
    size_t n_problems;
    const char **warnings;
    size_t n_warnings;
};

#define HEARTBEAT_FOLDER "folder" /* the backend of a gateway, no worker */

struct heartbeat {
    const char *worker, *backend;
    const char **lanes;
    size_t n_lanes;
    uint32_t slots;
    struct running_task *running;
    size_t n_running;
    uint32_t running_count;
    uint64_t memory_free_bytes;
    int64_t sent_at_ms;
    bool draining, stopped;
    int64_t started_at_ms;
    const char *version, *host;
    int32_t pid;
    double *load;
    size_t n_load;
    bool brisk;
    struct folder_state *folders;
    size_t n_folders;
};

struct batch {
    const char *id, *name;
    uint32_t size, accepted, succeeded, failed, cancelled;
    int64_t first_at_ms, last_at_ms;
    bool done;
};

struct dead_letter {
    const char *process, *subject, *reason;
    uint64_t stream_seq;
    struct bytes payload;
    uint64_t payload_bytes;
    int64_t at_ms;
    const char *task;
};

enum { CONTROL_VERSION = 1 }; /* of struct control and struct lane_state */

struct control {
    const char *task, *verb, *reason, *by;
    int64_t at_ms;
    const char *worker;
    uint32_t version; /* 0: of the time before there was one */
};

struct lane_state {
    const char *backend, *lane;
    bool paused;
    const char *reason, *by;
    int64_t at_ms, until_at_ms;
    uint32_t version; /* as in struct control */
};

/*
 * A new id: 16 characters, of which the first eight are enough to type. Three
 * tell the time within the hour, so that ids created together are adjacent in
 * an index, as in the ledger; the others are random.
 */
void task_new_id(char out[TASK_ID_SIZE]);

/*
 * The id of a task that was submitted without one, derived from the position
 * and content of its message in the stream, so that all readers derive the
 * same.
 */
void task_id_from_message(uint64_t seq, int64_t stored_at_ms, const void *data,
                          size_t len, char out[TASK_ID_SIZE]);

/* The id of the number-th task, from 0, in a message of several tasks;
 * message_id is what task_id_from_message gives for that message. */
void task_id_of_member(const char *message_id, size_t number,
                       char out[TASK_ID_SIZE]);

enum { RESULT_ID_SIZE = TASK_ID_SIZE + 24 };

/*
 * The Nats-Msg-Id of a result. It contains the nonce, so that the result of the
 * worker and that of another process which closed the attempt, under its own
 * nonce, are two messages: otherwise the broker would drop the second, which
 * may be the valid one.
 */
const char *task_result_id(const struct result *r, char out[RESULT_ID_SIZE]);

/* Whether exit_code is that of a program: a result of an attempt that was lost,
 * never ran or was closed by somebody else has none. */
bool task_has_exit_code(const struct result *r);

/*
 * Checks what the codec cannot check field by field: a valid id or none, steps
 * or a prompt but not both, a definition of done that parses, valid tokens,
 * paths that stay below their folder. The error names the field and the remedy.
 */
int task_check(const struct task *t, struct err *e);

/*
 * Sets the fields that the submitter left out: id, project, name
 * (<project>-<task>-<YYYYMMDD-HHMM>), submitter, submission time, source.
 * Strings are allocated from pool.
 */
void task_complete(struct task *t, struct mem_pool *pool, int64_t now_ms);

/* Adds the bytes of both streams to a text for people, in the order of the
 * parts: where the stream changes within a line, a new line begins. */
void task_add_output(struct str *out, const struct output_part *parts,
                     size_t n);

/* The command for people: command, or the steps joined, or the prompt; at most
 * size - 1 bytes. */
const char *task_summary(const struct task *t, char *out, size_t size);

#endif
