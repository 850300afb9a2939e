/*
 * line_template - the command of `rally --each-line`, with {} for the line.
 *
 * A line is data: wherever it is put, the shell must read it as one word or as
 * a part of one. So {} stands outside of quotes, and is replaced by the line in
 * single quotes. Where the text before it makes that uncertain, it is refused;
 * "$SHUNT_LINE" is right everywhere.
 *
 * Thread: any.
 */
#ifndef CLI_LINE_TEMPLATE_H
#define CLI_LINE_TEMPLATE_H

#include "lib/base/err.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

/* Its environment variable in each task. */
#define LINE_TEMPLATE_VARIABLE "SHUNT_LINE"

struct line_template;

/*
 * Parses the command into pool. \{} is a literal {}. A command with neither {}
 * nor SHUNT_LINE gets the line appended. The error names the column, and the
 * remedy.
 */
int line_template_parse(const char *command, struct mem_pool *pool,
                        struct line_template **out, struct err *e);

/* Adds the command for that line to out. */
void line_template_add(const struct line_template *t, const char *line,
                       struct str *out);

#endif
