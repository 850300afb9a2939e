/*
 * task_builder - from a command line to tasks that are ready to be sent, and
 * from there to the broker or the spool.
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
 * Reads what a->command or the files a->words name, puts the flags over it,
 * completes and checks it. Returns RC_OK or prints why not. Memory is
 * c->pool's.
 */
int task_builder_tasks(struct cli *c, const struct args *a,
                       struct task_builder *out);

/*
 * The same for prompts: a->command is one, and so is what stands in the files
 * a->words name from the index on; "-" may hold mere text. Flags are not put
 * over them and nothing is completed yet.
 */
int task_builder_prompts(struct cli *c, const struct args *a, size_t from,
                         struct task_builder *out);

/* Reads FILE or "-" (stdin) up to cap bytes. */
int task_builder_read(const char *name, size_t cap, struct str *out,
                      struct err *e);

/* Prints "name:line:column: word: ..." for a message that begins with its
 * place, as importers write them, and "name: word: ..." for any other. */
void task_builder_remark(const char *name, const char *word,
                         const char *message);

/* What became of a submission. */
struct submission {
    bool spooled; /* it waits here for the broker */
    size_t known; /* submitted before under the same id */
    char why[256];
};

/* Makes the tasks durable here and sends them, if the broker is there. RC_OK:
 * they are safe; else it was said why not. */
int task_builder_submit(struct cli *c, struct task_builder *b,
                        struct submission *out);
/* Says what is special about it; sends what older commands could not. */
void task_builder_say_sent(struct cli *c, const struct task_builder *b,
                           const struct submission *s);

/* Names in --after become ids; asks the ledger if it must. */
int task_builder_resolve(struct cli *c, struct task_builder *b, struct err *e);

/* Sends what a spool file holds; *stored and *known count records. Returns 0
 * when the broker has all of them; the file is then removed. */
int task_builder_send(struct cli *c, struct spool_file *f, int64_t patience_ms,
                      size_t *known, struct err *e);

#endif
