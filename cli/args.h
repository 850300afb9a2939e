/*
 * args - flags and words of a command line, through tables of options.
 *
 * One row serves parsing, help and shell completion. Flags may stand anywhere
 * before `--`; the words after it are a command and are not parsed.
 *
 * Thread: any; nothing is kept between calls.
 */
#ifndef CLI_ARGS_H
#define CLI_ARGS_H

#include "lib/base/err.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/model/task.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum arg_kind {
    ARG_SWITCH, /* bool: present or not */
    ARG_TEXT,   /* const char * into argv */
    ARG_LIST,   /* struct arg_list: repeated, or separated by commas */
    ARG_MS,     /* int64_t, a duration as in lib/base/str */
    ARG_NUMBER, /* int64_t, within [least, most] */
    ARG_TASK,   /* a property of the task: kept for task_args_apply */
};

enum { ARG_LIST_MAX = 32, ARG_TASK_MAX = 256 };

struct arg_list {
    const char *items[ARG_LIST_MAX];
    size_t n;
};

/* A property of a task that a flag sets. */
struct arg_edit {
    struct task *task;
    void *member;      /* what the row's offset points to */
    const char *value; /* NULL for a switch */
    struct mem_pool *pool;
};

typedef int arg_task_fn(const struct arg_edit *a, struct err *e);

struct arg_opt {
    const char *name; /* without the dashes; NULL ends a table */
    char letter;      /* short form, 0: none */
    const char *arg;  /* placeholder of the value; NULL: takes none; "[=X]": it
                         may be left out, and is "" then */
    const char *help; /* one line */
    enum arg_kind kind;
    void *to;            /* where the value goes; NULL for ARG_TASK */
    int64_t least, most; /* of ARG_NUMBER */
    const char *words;   /* values for completion, by spaces; NULL: any */
    arg_task_fn *set;    /* of ARG_TASK */
    size_t offset;       /* of the member of struct task that set changes */
    bool hint;           /* it is a member of struct hints instead */
};

#define ARG_END                                                                \
    {                                                                          \
        .name = NULL                                                           \
    }

struct arg_setting {
    const struct arg_opt *opt;
    const char *value; /* NULL for a switch */
};

/* The result of parsing. All text points into argv or is static. */
struct args {
    const char **words; /* neither flags nor their values, before `--` */
    size_t n_words;
    char **command; /* what follows `--` */
    size_t n_command;
    bool dashes; /* there was a `--` */
    struct arg_setting task[ARG_TASK_MAX];
    size_t n_task;
};

/* ARGS_LEADING: parsing ends at the first word. */
enum args_mode { ARGS_ALL, ARGS_LEADING };

/*
 * Parses argv[0..argc) by the rows of n tables. With ARGS_LEADING it stops at
 * the first word, whose index it writes to *stopped. words live in pool. The
 * error names the flag and, if one is near, the flag that was probably meant.
 */
int args_parse(const struct arg_opt *const *tables, size_t n, int argc,
               char **argv, enum args_mode mode, int *stopped,
               struct mem_pool *pool, struct args *out, struct err *e);

/* Adds the rows as help, in two columns. */
void args_help(const struct arg_opt *table, struct str *out);

/* Adds the parts of text, separated by commas and copied to pool, to the list.
 */
int args_list_add(struct arg_list *list, const char *text,
                  struct mem_pool *pool, struct err *e);

#endif
