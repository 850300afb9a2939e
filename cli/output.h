/*
 * output - printing: tables and values for people, JSON for programs.
 *
 * Thread: the loop thread.
 */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include "lib/base/str.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* --- JSON (output_json.c) ----------------------------------------------------
 */

/* Prints value and a newline on stdout, and drops the reference. */
void out_json(json_t *value);
/* The same on one line, for streams of values. */
void out_json_line(json_t *value);
/* Puts "schema": "shunt.<name>/1" first in a copy of object's members; drops
 * the reference to object. */
json_t *out_with_schema(const char *name, json_t *object);
/* Prints object with its schema, and drops the reference. */
void out_object(const char *name, json_t *object);
/* Prints the array or the values of the object as an array, each with its
 * schema. */
void out_list(const char *name, const json_t *rows);
/* Sets the members of `to` that `from` has of those keys; keys ends with NULL.
 */
void out_copy(json_t *to, const json_t *from, const char *const *keys);

/* Adds the members that a decision's JSON leaves out when they are empty:
 * programs may rely on score (null without scoring), signals, lost and
 * rejected. */
void out_complete_decision(json_t *decision);

/* --- text (output_text.c) ----------------------------------------------------
 */

/* Whether to use colours on the descriptor: it is a terminal, and NO_COLOR is
 * not set. */
bool out_colour(int fd);
/* Text in a colour, a number of SGR like "32"; as it is if colour is not set.
 */
const char *out_coloured(const char *text, const char *sgr, bool colour,
                         char *buf, size_t size);
/* The columns of the terminal; 0 if fd is not one. */
unsigned out_columns(int fd);

/* Adds text, valid UTF-8 without controls, as lines of so many columns at most,
 * broken between words; those after the first begin below the text that follows
 * its label. */
void out_wrap(const char *text, size_t columns, struct str *out);

/* Prints a line of text for people, wrapped where a terminal would: what comes
 * from outside, in the arguments, reaches no terminal as a control. */
void out_line(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Writes all of data to fd; false, with errno, if that failed. */
bool out_bytes(int fd, const void *data, size_t len);
/* Writes what stdout's buffer holds; false if anything printed so far was not
 * written. */
bool out_flush(void);
/* Whether stdout is a pipe that nobody reads any more. */
bool out_is_unread(void);

/* --- tables (output_table.c) -------------------------------------------------
 */

/*
 * A column shows a member of each row, text or a whole number ("-": the row has
 * none), or what add writes to the cell. Of rank 0 it stays whatever the
 * terminal's width; others shrink, and then go, the highest rank first. state:
 * the cell is the name of a state, and has its colour.
 */
struct out_column {
    const char *head, *key;
    void (*add)(const json_t *row, struct str *cell);
    unsigned rank;
    bool state;
};

/*
 * Prints the array or the values of the object as a table on stdout. On a
 * terminal it is aligned, has a heading and fits the width; elsewhere cells are
 * separated by tabs, without a heading.
 */
void out_table(const json_t *rows, const struct out_column *columns, size_t n);
/* The same for an array of columns. */
#define OUT_TABLE(ROWS, COLUMNS)                                               \
    out_table(ROWS, COLUMNS, sizeof(COLUMNS) / sizeof *(COLUMNS))

/* Cuts text, valid UTF-8 without controls, to columns of a terminal; where it
 * is cut, it ends with an ellipsis. */
void out_cut(struct str *text, size_t columns);

/* --- more text (output_text.c) -----------------------------------------------
 */

/* A state's name, with its colour if colour is set. */
const char *out_state(const char *state, bool colour, char *buf, size_t size);

/* "3m ago", "2h ago"; "-" for 0. */
const char *out_ago(int64_t at_ms, int64_t now_ms, char *buf, size_t size);

/* Sizes for people: "512 B", "1.5 MiB". */
const char *out_size(uint64_t bytes, char *buf, size_t size);

/* --- one line that is redrawn (output_text.c) --------------------------------
 */

/* Replaces stderr's last line if it is a terminal; "" removes it. */
void out_progress(const char *text);
/* Whether stderr can have such a line. */
bool out_can_progress(void);

#endif
