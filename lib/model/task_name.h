/*
 * task_name - the name of a task whose submitter gave none:
 * <project>-<word>-<YYYYMMDD-HHMM>. The word is what a person would call the
 * command: pytest for `cd backend && uv run pytest -q`, backfill for
 * `python jobs/backfill.py`.
 *
 * Thread: any.
 */
#ifndef LIB_MODEL_TASK_NAME_H
#define LIB_MODEL_TASK_NAME_H

#include "lib/model/task.h"

/* Where the time of a name is read: a submitter's clock on the wall, or the
 * same everywhere. */
enum task_name_zone { TASK_NAME_UTC, TASK_NAME_LOCAL };

/* The project of a task by its folder or repository; in pool, never empty. */
const char *task_name_project(const struct task *t, struct mem_pool *pool);

/* A name for the task, whose project is known, at now_ms; in pool. */
const char *task_name_make(const struct task *t, enum task_name_zone zone,
                           struct mem_pool *pool, int64_t now_ms);

/* Whether a name ends in date and time as made here, and perhaps a number. */
bool task_name_is_made(const char *name);

#endif
