/*
 * task_builder - makes tasks from a command line, and submits them to the
 * broker or the spool.
 *
 * Thread: the loop thread.
 */
#ifndef CLI_TASK_BUILDER_H
#define CLI_TASK_BUILDER_H

#include "cli/cli.h"
#include "lib/submit/spool.h"

struct task_builder {
    struct task *tasks;
    size_t n;
    bool from_files;
};

/*
 * Reads the tasks that a->command or the files a->words name, applies the
 * flags, completes and checks them. RC_OK, or the exit code after the error was
 * printed. Memory is c->pool's.
 */
int task_builder_tasks(struct cli *c, const struct args *a,
                       struct task_builder *out);

/*
 * The same for prompts: of a->command, and of the files a->words name from the
 * index from on, which may hold plain text. Flags are not applied, and nothing
 * is completed yet.
 */
int task_builder_prompts(struct cli *c, const struct args *a, size_t from,
                         struct task_builder *out);

/* Reads FILE or "-" (stdin) up to cap bytes. */
int task_builder_read(const char *name, size_t cap, struct str *out,
                      struct err *e);

/* Prints "name:line:column: word: ..." for a message that begins with a place,
 * as importers write them, and "name: word: ..." for any other. */
void task_builder_remark(const char *name, const char *word,
                         const char *message);

/* The result of a submission. */
struct submission {
    bool spooled; /* the tasks wait in the spool for the broker */
    size_t known; /* tasks submitted before under the same id */
    char why[256];
};

/* Spools the tasks and sends them if the broker can be reached. RC_OK: they are
 * safe; else the exit code after the error was printed. */
int task_builder_submit(struct cli *c, struct task_builder *b,
                        struct submission *out);
/* Prints what is special about the submission; sends the spooled tasks of
 * earlier commands. */
void task_builder_say_sent(struct cli *c, const struct task_builder *b,
                           const struct submission *s);

/* Writes n tasks to a new file of the spool, durably. On 0 the caller owns
 * *out. */
int task_builder_spool(struct cli *c, const struct task *tasks, size_t n,
                       struct spool_file **out, struct err *e);

/* Replaces names in --after by ids; asks the reaper if it must. */
int task_builder_resolve(struct cli *c, struct task_builder *b, struct err *e);

/* Sends the tasks of a spool file; *known counts those the broker already had.
 * Returns 0 when the broker has stored all of them; the file is then removed.
 */
int task_builder_send(struct cli *c, struct spool_file *f, int64_t patience_ms,
                      size_t *known, struct err *e);

/* After a failed send: RC_OK if f may wait in the spool. Else the broker
 * refuses us, or is full: f is removed, the failure told, and its exit code
 * returned. */
int task_builder_refused(struct cli *c, struct spool_file *f, const char *name,
                         const struct err *e);

/* Whether we run in a task and know no way to its fleet: what is spooled into
 * the usual state folder would go to another, or to none. */
bool task_builder_is_astray(const struct cli *c);

#endif
