/*
 * One table per message, with a row for each field in the order of its number:
 * where it is in the plain struct, its kind and its limits. A test compares the
 * tables with the descriptors.
 */
#include "lib/model/codec_private.h"

#include "shunt.pb-c.h"

/* The offset of a field; does not compile if the field is not of type T. */
#define AT(S, f, T)                                                            \
    (offsetof(struct S, f) + 0 * sizeof(_Generic(((struct S *)0)->f, T : 1)))

#define FIELD(S, f, T, K) .name = #f, .kind = (K), .offset = AT(S, f, T)

#define TEXT(S, f, max)                                                        \
    {                                                                          \
        FIELD(S, f, const char *, KIND_TEXT), .most = (max)                    \
    }
/* Text for people: encoding repairs it, so that it cannot make a message
 * invalid. */
#define PROSE(S, f, max)                                                       \
    {                                                                          \
        FIELD(S, f, const char *, KIND_TEXT), .most = (max), .repair = true    \
    }
#define TOKEN(S, f)                                                            \
    {                                                                          \
        FIELD(S, f, const char *, KIND_TOKEN)                                  \
    }
#define TOKEN_NEEDED(S, f)                                                     \
    {                                                                          \
        FIELD(S, f, const char *, KIND_TOKEN), .required = true                \
    }
#define TEXTS(S, f, max, n)                                                    \
    {                                                                          \
        FIELD(S, f, const char **, KIND_TEXT),                                 \
            .many = true, .n_offset = AT(S, n_##f, size_t), .most = (max),     \
            .count = (n)                                                       \
    }
#define PROSES(S, f, max, n)                                                   \
    {                                                                          \
        FIELD(S, f, const char **, KIND_TEXT),                                 \
            .many = true, .n_offset = AT(S, n_##f, size_t), .most = (max),     \
            .count = (n), .repair = true                                       \
    }
#define BOOL(S, f)                                                             \
    {                                                                          \
        FIELD(S, f, bool, KIND_BOOL)                                           \
    }
#define INT32(S, f)                                                            \
    {                                                                          \
        FIELD(S, f, int32_t, KIND_INT32)                                       \
    }
#define UINT32(S, f)                                                           \
    {                                                                          \
        FIELD(S, f, uint32_t, KIND_UINT32)                                     \
    }
#define INT64(S, f)                                                            \
    {                                                                          \
        FIELD(S, f, int64_t, KIND_INT64)                                       \
    }
#define UINT64(S, f)                                                           \
    {                                                                          \
        FIELD(S, f, uint64_t, KIND_UINT64)                                     \
    }
#define DOUBLES(S, f, n)                                                       \
    {                                                                          \
        FIELD(S, f, double *, KIND_DOUBLE),                                    \
            .many = true, .n_offset = AT(S, n_##f, size_t), .count = (n)       \
    }
#define ENUM(S, f, T, w)                                                       \
    {                                                                          \
        FIELD(S, f, enum T, KIND_ENUM), .words = &(w)                          \
    }
#define BYTES(S, f, max)                                                       \
    {                                                                          \
        FIELD(S, f, struct bytes, KIND_BYTES), .most = (max)                   \
    }
#define MESSAGE(S, f, T)                                                       \
    {                                                                          \
        FIELD(S, f, struct T *, KIND_MESSAGE), .sub = &T##_table               \
    }
#define MESSAGE_NEEDED(S, f, T)                                                \
    {                                                                          \
        FIELD(S, f, struct T *, KIND_MESSAGE), .sub = &T##_table,              \
                                               .required = true                \
    }
#define MESSAGES(S, f, T, n)                                                   \
    {                                                                          \
        FIELD(S, f, struct T *, KIND_MESSAGE),                                 \
            .many = true, .n_offset = AT(S, n_##f, size_t), .sub = &T##_table, \
            .count = (n)                                                       \
    }

#define TABLE(S, descriptor_of, ...)                                           \
    static const struct codec_table S##_table = {                              \
        .name = #S,                                                            \
        .size = sizeof(struct S),                                              \
        .rows = S##_rows,                                                      \
        .n_rows = sizeof S##_rows / sizeof *S##_rows,                          \
        .message = &shunt__##descriptor_of##__descriptor,                      \
        __VA_ARGS__}

/* Sizes that several fields share. */
enum {
    ID_MOST = TASK_ID_SIZE - 1,
    NAME_MOST = 256,      /* short text: names, owner/name, versions */
    PATH_MOST = 4096,     /* as the kernel's PATH_MAX */
    ARG_MOST = 131071,    /* one argument or variable, the limit of exec */
    SCRIPT_MOST = 262144, /* a script, a prompt, a command line */
    NOTE_MOST = 65536,    /* text for people that may be long */
    REASON_MOST = 2000,   /* one sentence, which may quote a program */
    LIST_MOST = 1000,     /* elements of a list people write */
    PARTS_MOST = TASK_INLINE_OUTPUT, /* chunks of one byte each, at worst */
};

#define WORDS(name, ...)                                                       \
    static const char *const name##_list[] = {__VA_ARGS__};                    \
    static const struct codec_words name = {                                   \
        name##_list, sizeof name##_list / sizeof *name##_list}

WORDS(state_words, "", "submitted", "accepted", "held", "blocked", "routed",
      "running", "retry_wait", "succeeded", "failed", "unverified", "no_op",
      "timed_out", "cancelled", "rejected", "dead", "unknown", "lost",
      "preempted");
WORDS(retry_words, "", "safe", "never");
WORDS(kind_words, "", "shell", "argv", "python", "make", "kubectl");
WORDS(stream_words, "", "stdout", "stderr");

/* --- tasks ---------------------------------------------------------------- */

static const struct codec_row key_value_rows[] = {
    {FIELD(key_value, key, const char *, KIND_TEXT), .most = NAME_MOST,
     .required = true},
    TEXT(key_value, value, ARG_MOST),
};
TABLE(key_value, key_value, .pairs = true);

static const struct codec_row step_rows[] = {
    TEXT(step, name, NAME_MOST),     ENUM(step, kind, step_kind, kind_words),
    TEXT(step, script, SCRIPT_MOST), TEXTS(step, argv, ARG_MOST, 4096),
    TEXT(step, workdir, PATH_MOST),  UINT64(step, timeout_ms),
};
TABLE(step, step, .shorthand = "script");

static const struct codec_row output_rows[] = {
    TEXT(output, type, NAME_MOST),
    TEXT(output, title, NAME_MOST),
    TEXT(output, commit_message, NOTE_MOST),
    TEXTS(output, files, PATH_MOST, LIST_MOST),
    INT64(output, link_issue),
    TEXT(output, path, PATH_MOST),
    TEXT(output, body, NOTE_MOST),
};
TABLE(output, output, .most = 0);

static const struct codec_row hints_rows[] = {
    TEXT(hints, agent, NAME_MOST),
    UINT64(hints, runtime_ms),
    UINT64(hints, memory_bytes),
    BOOL(hints, memory_unknown),
    UINT32(hints, parallel),
    TEXT(hints, data, NAME_MOST),
    BOOL(hints, heavy_log),
    BOOL(hints, llm),
    BOOL(hints, ui),
    BOOL(hints, light),
};
TABLE(hints, hints, .most = 0);

static const struct codec_row delegation_rows[] = {
    TEXT(delegation, preferred_ai, NAME_MOST),
    BOOL(delegation, allow_delegation),
    BOOL(delegation, needs_claude_code),
    TEXT(delegation, complexity_hint, NAME_MOST),
    TEXT(delegation, max_cost_usd, ID_MOST),
};
TABLE(delegation, delegation, .most = 0);

static const struct codec_row batch_ref_rows[] = {
    TEXT(batch_ref, id, ID_MOST),
    TEXT(batch_ref, name, NAME_MOST),
    UINT32(batch_ref, index),
    UINT32(batch_ref, size),
    TEXT(batch_ref, branch, NAME_MOST),
    TEXTS(batch_ref, exclusive_write, PATH_MOST, LIST_MOST),
    TEXTS(batch_ref, shared_read, PATH_MOST, LIST_MOST),
};
TABLE(batch_ref, batch_ref, .most = 0);

static const struct codec_row input_rows[] = {
    BYTES(input, data, TASK_INPUT_INLINE),
    UINT64(input, size),
    UINT32(input, chunks),
};
TABLE(input, input, .most = 0);

/* A task's names are TEXT here and checked as tokens in task_check, so that a
 * task that is refused for one of them can still be reported by its id. */
static const struct codec_row task_rows[] = {
    TEXT(task, id, ID_MOST),
    TEXT(task, name, NAME_MOST),
    TEXT(task, project, NAME_MOST),
    TEXT(task, source, ID_MOST),
    PROSE(task, origin, PATH_MOST),
    TEXT(task, format, NAME_MOST),
    PROSE(task, submitter, NAME_MOST),
    INT64(task, submitted_at_ms),
    MESSAGES(task, steps, step, TASK_MAX_STEPS),
    TEXT(task, prompt, SCRIPT_MOST),
    TEXT(task, workdir, PATH_MOST),
    TEXT(task, repo, NAME_MOST),
    TEXT(task, branch, NAME_MOST),
    MESSAGES(task, env, key_value, LIST_MOST),
    TEXT(task, dod, PATH_MOST),
    TEXT(task, report_path, PATH_MOST),
    MESSAGES(task, outputs, output, 100),
    UINT64(task, timeout_ms),
    UINT64(task, idle_timeout_ms),
    UINT32(task, retries),
    ENUM(task, retry, retry_policy, retry_words),
    INT32(task, priority),
    TEXT(task, team, NAME_MOST),
    MESSAGES(task, tags, key_value, 100),
    TEXTS(task, after, ID_MOST, LIST_MOST),
    INT64(task, not_before_ms),
    BOOL(task, hold),
    TEXT(task, backend, ID_MOST),
    TEXT(task, lane, ID_MOST),
    TEXT(task, executor, NAME_MOST),
    MESSAGE(task, hints, hints),
    MESSAGE(task, delegation, delegation),
    MESSAGE(task, batch, batch_ref),
    TEXT(task, context_header, NOTE_MOST),
    TEXT(task, notes, NOTE_MOST),
    TEXT(task, retry_of, ID_MOST),
    TEXT(task, command, SCRIPT_MOST),
    MESSAGES(task, submit_env, key_value, LIST_MOST),
    TEXT(task, submit_place, NAME_MOST),
    TEXT(task, umask, ID_MOST),
    BOOL(task, clean_env),
    TEXTS(task, secret_env, NAME_MOST, LIST_MOST),
    MESSAGE(task, input, input),
    PROSES(task, warnings, REASON_MOST, TASK_WARNINGS_MOST),
};
TABLE(task, task, .most = TASK_MAX_BYTES);

static const struct codec_row tasks_rows[] = {
    MESSAGES(tasks, tasks, task, TASK_MULTI_MOST),
};
TABLE(tasks, tasks, .most = CODEC_MAX_BYTES);

/* --- decisions ------------------------------------------------------------ */

static const struct codec_row signal_hit_rows[] = {
    PROSE(signal_hit, name, NAME_MOST),
    INT32(signal_hit, points),
    PROSE(signal_hit, match, NAME_MOST),
};
TABLE(signal_hit, signal, .most = 0);

static const struct codec_row decision_rows[] = {
    TOKEN(decision, backend),
    TOKEN(decision, lane),
    PROSE(decision, rule, NAME_MOST),
    PROSE(decision, reason, REASON_MOST),
    BOOL(decision, scored),
    INT32(decision, score),
    MESSAGES(decision, signals, signal_hit, LIST_MOST),
    PROSES(decision, lost, REASON_MOST, LIST_MOST),
    PROSE(decision, affinity, NAME_MOST),
    PROSE(decision, policy, NAME_MOST),
    INT64(decision, decided_at_ms),
    PROSE(decision, wanted, NAME_MOST),
    BOOL(decision, rejected),
    PROSE(decision, cost_usd, NAME_MOST),
};
TABLE(decision, decision, .most = CODEC_MAX_BYTES);

static const struct codec_row routed_task_rows[] = {
    MESSAGE_NEEDED(routed_task, task, task),
    MESSAGE_NEEDED(routed_task, decision, decision),
    UINT32(routed_task, drive),
};
TABLE(routed_task, routed_task, .most = CODEC_MAX_BYTES);

static const struct codec_row routed_tasks_rows[] = {
    MESSAGES(routed_tasks, routed, routed_task, TASK_MULTI_MOST),
};
TABLE(routed_tasks, routed_tasks, .most = CODEC_MAX_BYTES);

/* --- attempts ------------------------------------------------------------- */

static const struct codec_row output_part_rows[] = {
    ENUM(output_part, stream, stream, stream_words),
    BYTES(output_part, data, CODEC_MAX_BYTES),
};
TABLE(output_part, output_part, .most = 0);

static const struct codec_row control_rows[] = {
    TOKEN(control, task),
    TOKEN_NEEDED(control, verb),
    PROSE(control, reason, REASON_MOST),
    PROSE(control, by, NAME_MOST),
    INT64(control, at_ms),
    TOKEN(control, worker),
    UINT32(control, version),
};
TABLE(control, control, .most = CODEC_MAX_BYTES);

static const struct codec_row result_rows[] = {
    TOKEN_NEEDED(result, task),
    UINT32(result, attempt),
    UINT64(result, fence),
    TEXT(result, nonce, NAME_MOST),
    TOKEN(result, backend),
    TOKEN(result, lane),
    TOKEN(result, worker),
    ENUM(result, state, state, state_words),
    BOOL(result, final),
    INT32(result, exit_code),
    INT32(result, signal),
    PROSE(result, reason, REASON_MOST),
    INT64(result, started_at_ms),
    INT64(result, finished_at_ms),
    MESSAGES(result, output, output_part, PARTS_MOST),
    UINT64(result, output_bytes),
    UINT64(result, dropped_bytes),
    UINT32(result, log_chunks),
    UINT32(result, failed_step),
    TOKEN(result, batch),
    INT64(result, retry_at_ms),
    PROSE(result, provider, NAME_MOST),
    PROSE(result, cost_usd, ID_MOST),
    UINT64(result, max_rss_bytes),
    UINT64(result, cpu_ms),
    BOOL(result, emitted_again),
    PROSE(result, model, NAME_MOST),
    PROSE(result, remote_id, NAME_MOST),
    UINT64(result, queue_ms),
    UINT64(result, run_ms),
    UINT64(result, input_tokens),
    UINT64(result, output_tokens),
    BOOL(result, cost_estimated),
    TEXT(result, team, NAME_MOST),
    PROSES(result, warnings, REASON_MOST, TASK_WARNINGS_MOST),
    BOOL(result, no_exit_code),
    MESSAGE(result, cancel, control),
};
TABLE(result, result, .most = CODEC_MAX_BYTES);

static const struct codec_row results_rows[] = {
    MESSAGES(results, results, result, TASK_MULTI_MOST),
};
TABLE(results, results, .most = CODEC_MAX_BYTES);

static const struct codec_row claim_rows[] = {
    TOKEN_NEEDED(claim, task),
    UINT32(claim, attempt),
    TOKEN(claim, worker),
    TEXT(claim, nonce, NAME_MOST),
    ENUM(claim, state, state, state_words),
    UINT64(claim, fence),
    UINT32(claim, lease_ms),
    INT64(claim, started_at_ms),
    INT64(claim, finished_at_ms),
    INT64(claim, retry_at_ms),
    INT32(claim, exit_code),
    PROSE(claim, reason, REASON_MOST),
    BYTES(claim, tail, TASK_TAIL_BYTES),
    UINT32(claim, lost),
    UINT32(claim, failed),
    MESSAGE(claim, result, result),
    TEXT(claim, remote, REASON_MOST),
};
TABLE(claim, claim, .most = CODEC_MAX_BYTES);

static const struct codec_row log_chunk_rows[] = {
    TOKEN_NEEDED(log_chunk, task),
    UINT32(log_chunk, attempt),
    UINT64(log_chunk, fence),
    UINT32(log_chunk, seq),
    UINT64(log_chunk, offset),
    UINT64(log_chunk, dropped_bytes),
    MESSAGES(log_chunk, parts, output_part, PARTS_MOST),
};
TABLE(log_chunk, log_chunk, .most = CODEC_MAX_BYTES);

/* --- events and the rest -------------------------------------------------- */

static const struct codec_row running_task_rows[] = {
    TOKEN_NEEDED(running_task, task),
    UINT32(running_task, attempt),
    INT64(running_task, started_at_ms),
    PROSE(running_task, name, NAME_MOST),
    TEXT(running_task, remote, REASON_MOST),
};
TABLE(running_task, running_task, .most = 0);

static const struct codec_row folder_state_rows[] = {
    TEXT(folder_state, path, PATH_MOST),
    UINT32(folder_state, waiting),
    UINT32(folder_state, running),
    PROSE(folder_state, note, REASON_MOST),
    TEXTS(folder_state, problems, REASON_MOST, LIST_MOST),
    TEXTS(folder_state, warnings, REASON_MOST, LIST_MOST),
};
TABLE(folder_state, folder_state, .most = 0);

static const struct codec_row heartbeat_rows[] = {
    TOKEN_NEEDED(heartbeat, worker),
    TOKEN_NEEDED(heartbeat, backend),
    TEXTS(heartbeat, lanes, ID_MOST, LIST_MOST),
    UINT32(heartbeat, slots),
    MESSAGES(heartbeat, running, running_task, LIST_MOST),
    UINT32(heartbeat, running_count),
    UINT64(heartbeat, memory_free_bytes),
    INT64(heartbeat, sent_at_ms),
    BOOL(heartbeat, draining),
    BOOL(heartbeat, stopped),
    INT64(heartbeat, started_at_ms),
    PROSE(heartbeat, version, NAME_MOST),
    PROSE(heartbeat, host, NAME_MOST),
    INT32(heartbeat, pid),
    DOUBLES(heartbeat, load, 3),
    BOOL(heartbeat, brisk),
    MESSAGES(heartbeat, folders, folder_state, LIST_MOST),
};
TABLE(heartbeat, heartbeat, .most = CODEC_MAX_BYTES);

static const struct codec_row batch_rows[] = {
    TOKEN_NEEDED(batch, id),  PROSE(batch, name, NAME_MOST),
    UINT32(batch, size),      UINT32(batch, accepted),
    UINT32(batch, succeeded), UINT32(batch, failed),
    UINT32(batch, cancelled), INT64(batch, first_at_ms),
    INT64(batch, last_at_ms), BOOL(batch, done),
};
TABLE(batch, batch, .most = CODEC_MAX_BYTES);

static const struct codec_row dead_letter_rows[] = {
    PROSE(dead_letter, process, NAME_MOST),
    PROSE(dead_letter, subject, NAME_MOST),
    PROSE(dead_letter, reason, REASON_MOST),
    UINT64(dead_letter, stream_seq),
    BYTES(dead_letter, payload, CODEC_MAX_BYTES),
    UINT64(dead_letter, payload_bytes),
    INT64(dead_letter, at_ms),
    PROSE(dead_letter, task, NAME_MOST),
};
TABLE(dead_letter, dead_letter, .most = CODEC_MAX_BYTES);

static const struct codec_row lane_state_rows[] = {
    TOKEN_NEEDED(lane_state, backend), TOKEN_NEEDED(lane_state, lane),
    BOOL(lane_state, paused),          PROSE(lane_state, reason, REASON_MOST),
    PROSE(lane_state, by, NAME_MOST),  INT64(lane_state, at_ms),
    INT64(lane_state, until_at_ms),    UINT32(lane_state, version),
};
TABLE(lane_state, lane_state, .most = CODEC_MAX_BYTES);

const struct codec_table *
codec_table(enum codec_type type)
{
    static const struct codec_table *const tables[] = {
        [CODEC_TASK] = &task_table,
        [CODEC_ROUTED_TASK] = &routed_task_table,
        [CODEC_DECISION] = &decision_table,
        [CODEC_CLAIM] = &claim_table,
        [CODEC_RESULT] = &result_table,
        [CODEC_LOG_CHUNK] = &log_chunk_table,
        [CODEC_HEARTBEAT] = &heartbeat_table,
        [CODEC_BATCH] = &batch_table,
        [CODEC_DEAD_LETTER] = &dead_letter_table,
        [CODEC_CONTROL] = &control_table,
        [CODEC_LANE_STATE] = &lane_state_table,
        [CODEC_TASKS] = &tasks_table,
        [CODEC_ROUTED_TASKS] = &routed_tasks_table,
        [CODEC_RESULTS] = &results_table,
    };

    return tables[type];
}
