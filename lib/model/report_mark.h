/*
 * report_mark - how a report is recognised: by its beginning.
 *
 * Markdown and plain text begin with a line "shunt report: task ID, job NAME",
 * in Markdown a comment; JSON has the schema shunt.report/1, an id and a name.
 * Only a report is ever replaced by a report, and none is taken for a task.
 *
 * Thread: any.
 */
#ifndef LIB_MODEL_REPORT_MARK_H
#define LIB_MODEL_REPORT_MARK_H

#include "lib/base/str.h"
#include "lib/model/subject.h"
#include "lib/model/task.h"

enum { REPORT_MARK_HEAD = 1024 }; /* bytes of a file that have its mark */

struct report_mark {
    bool batch;
    char id[TASK_ID_SIZE];
    /* Of the job as a token; "" for a generated name, which says nothing. */
    char job[SUBJECT_TOKEN_MAX + 1];
};

void report_mark_init(struct report_mark *m, bool batch, const char *id,
                      const char *name);

/* Adds the mark as a line. */
void report_mark_add(const struct report_mark *m, struct str *out);

/* Reads the mark in the first bytes of a file; false: it is not a report. */
bool report_mark_read(const void *head, size_t len, struct report_mark *out);

/* Whether a report with the first mark may replace one with the second: it is
 * of the same task or batch, or of the same job. */
bool report_mark_replaces(const struct report_mark *m,
                          const struct report_mark *old);

#endif
