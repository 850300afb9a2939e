/*
 * columns - the columns of the ledger's relations, each of them once.
 *
 * X(TYPE, column, member): the type in the schema, the column's name, and the
 * member of the row's struct that it holds. The text of the statements, what is
 * bound to them and what is loaded from them (rows.c) follow from the lists; a
 * unit test compares them with the schema. A new column is a line here, a
 * member of the struct, and a migration (schema.c). Not listed is what a
 * statement must name: the key, and one column to begin a list of assignments
 * with.
 */
#ifndef REAPER_DB_COLUMNS_H
#define REAPER_DB_COLUMNS_H

/* clang-format off */

/* tasks: struct task_state; also n, id and state. What belongs to each part
 * that is updated: */
#define TASK_COMMON(X)                                                         \
    X(INTEGER, report_due, report_due)

#define TASK_ROUTING(X) /* DB_ROUTING */                                       \
    X(INTEGER, routed, routed)                                                 \
    X(INTEGER, drive, dispatch)                                                \
    X(INTEGER, routed_at, routed_at_ms)                                        \
    X(INTEGER, routed_seq, routed_seq)                                         \
    X(TEXT, backend, backend)                                                  \
    X(TEXT, lane, lane)                                                        \
    X(BLOB, decision, decision)                                                \
    X(BLOB, routed_task, routed_task)

#define TASK_OUTCOME(X) /* DB_OUTCOME */                                       \
    X(INTEGER, has_result, has_result)                                         \
    X(INTEGER, final, final)                                                   \
    X(INTEGER, again, again)                                                   \
    X(INTEGER, result_attempt, result_attempt)                                 \
    X(INTEGER, result_fence, result_fence)                                     \
    X(INTEGER, exit_code, exit_code)                                           \
    X(INTEGER, no_exit_code, no_exit_code)                                     \
    X(INTEGER, failed_step, failed_step)                                       \
    X(TEXT, reason, reason)                                                    \
    X(TEXT, worker, worker)                                                    \
    X(INTEGER, started_at, started_at_ms)                                      \
    X(INTEGER, finished_at, finished_at_ms)                                    \
    X(INTEGER, retry_at, retry_at_ms)                                          \
    X(INTEGER, attempts, attempts)                                             \
    X(INTEGER, finals, finals)

#define TASK_DETAILS(X) /* written with the whole row only */                  \
    X(INTEGER, task_from, task_from)                                           \
    X(TEXT, name, name)                                                        \
    X(TEXT, source, source)                                                    \
    X(TEXT, command, command)                                                  \
    X(TEXT, report_path, report_path)                                          \
    X(TEXT, batch, batch)                                                      \
    X(TEXT, batch_name, batch_name)                                            \
    X(INTEGER, batch_index, batch_index)                                       \
    X(INTEGER, batch_size, batch_size)                                         \
    X(INTEGER, submitted_at, submitted_at_ms)                                  \
    X(INTEGER, accepted_at, accepted_at_ms)                                    \
    X(INTEGER, accepted_seq, accepted_seq)                                     \
    X(INTEGER, gate, gate)                                                     \
    X(INTEGER, ungated, ungated)                                               \
    X(INTEGER, cancel_at, cancel_at_ms)                                        \
    X(TEXT, cancel_by, cancel_by)                                              \
    X(TEXT, cancel_reason, cancel_reason)                                      \
    X(INTEGER, released, released)                                             \
    X(TEXT, report, report)                                                    \
    X(BLOB, task, task)                                                        \
    X(INTEGER, drives, dispatches)                                             \
    X(INTEGER, resubmits, resubmits)                                           \
    X(INTEGER, in_at, in_at_ms)                                                \
    X(INTEGER, in_seq, in_seq)                                                 \
    TASK_EXTRA(X)

/* A test adds a column here. */
#ifndef TASK_EXTRA
#define TASK_EXTRA(X)
#endif

#define TASK_COLUMNS(X)                                                        \
    TASK_COMMON(X) TASK_ROUTING(X) TASK_OUTCOME(X) TASK_DETAILS(X)

/* attempts: struct attempt_row; also task, the n of its task. */
#define ATTEMPT_COLUMNS(X)                                                     \
    X(INTEGER, attempt, attempt)                                               \
    X(INTEGER, fence, fence)                                                   \
    X(INTEGER, final, final)                                                   \
    X(INTEGER, again, again)                                                   \
    X(INTEGER, at, at_ms)                                                      \
    X(BLOB, result, result)

/* costs: the same struct; also task, and what is derived, day and nano. */
#define COST_COLUMNS(X)                                                        \
    X(INTEGER, attempt, attempt)                                               \
    X(INTEGER, fence, fence)                                                   \
    X(TEXT, backend, backend)                                                  \
    X(TEXT, provider, provider)                                                \
    X(TEXT, team, team)                                                        \
    X(INTEGER, estimated, estimated)

/* batches: struct batch_state; also n, id and name. */
#define BATCH_COLUMNS(X)                                                       \
    X(INTEGER, size, b.size)                                                   \
    X(INTEGER, accepted, b.accepted)                                           \
    X(INTEGER, succeeded, b.succeeded)                                         \
    X(INTEGER, failed, b.failed)                                               \
    X(INTEGER, cancelled, b.cancelled)                                         \
    X(INTEGER, first_at, b.first_at_ms)                                        \
    X(INTEGER, last_at, b.last_at_ms)                                          \
    X(INTEGER, done, b.done)                                                   \
    X(INTEGER, report_due, report_due)                                         \
    X(TEXT, report, report)

/* clang-format on */

#endif
