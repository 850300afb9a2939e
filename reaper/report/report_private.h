/*
 * report_private - what the renderers share.
 *
 *   report.c     decoding, and the choice of a format
 *   markdown.c   a task as Markdown or plain text
 *   hidden.c     secrets of a submission
 *   json.c       a task as JSON, and its parts
 *   batch.c      a batch in both formats
 */
#ifndef REAPER_REPORT_REPORT_PRIVATE_H
#define REAPER_REPORT_REPORT_PRIVATE_H

#include "lib/model/report_mark.h"
#include "reaper/report/report.h"

/* Replaces what of t nobody may read; new text is in pool. */
void report_hide_secrets(struct task *t, struct mem_pool *pool);

void report_task_markdown(const struct report_task *t, struct str *out);
void report_task_plain(const struct report_task *t, struct str *out);
void report_task_json(const struct report_task *t, struct str *out);

/* Text from outside in Markdown: on one line, escaped so that it ends no table
 * cell and no tag. */
void report_add_text(struct str *out, const char *text);

/* The line, or comment, by which a report is recognised: report_mark.h. */
void report_add_mark(bool batch, const char *id, const char *name,
                     bool markdown, struct str *out);

/* {schema, kind}, to be completed and then rendered; the latter frees o. */
json_t *report_begin_json(const char *kind);
void report_end_json(json_t *o, struct str *out);

#endif
