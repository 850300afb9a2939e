/*
 * cli - what all commands of `shunt` share: the context, the connection to the
 * broker, requests to the reaper, and how errors are printed.
 *
 * Data goes to stdout, messages to stderr. A command returns one of enum
 * exit_rc or the exit code of a task.
 *
 * Thread: the loop thread.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "cli/args.h"
#include "fleet/fleet_dir.h"
#include "lib/base/err.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/bus/bus.h"
#include "lib/io/loop.h"
#include "lib/model/task.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum { CLI_NOTED_MAX = 20 }; /* ids in an error */

enum exit_rc {
    RC_OK,
    RC_FAILED,            /* the command failed */
    RC_USAGE,             /* wrong usage or invalid input */
    RC_CANCELLED,         /* the task was cancelled */
    RC_CREDENTIALS,       /* a person must log in or grant a right */
    RC_UNSUCCESSFUL,      /* a task that was waited for did not succeed */
    RC_REFUSED,           /* by the router, a guard, ownership */
    RC_UNREACHABLE,       /* broker, reaper or target */
    RC_PENDING,           /* not finished at --timeout */
    RC_TIMED_OUT = 124,   /* run: the task exceeded its time limit */
    RC_OUR_SIDE = 125,    /* run: the outcome is not known */
    RC_INTERRUPTED = 130, /* the second ^C */
    RC_PIPE = 141         /* nobody reads stdout any more */
};

struct cli_conf {
    struct bus_conf bus;
};

struct command;

struct cli {
    const struct command *cmd;
    bool json, quiet;
    const char *nats, *config; /* --nats, --config; NULL: not given */
    struct fleet_dir fleet_dir;
    struct mem_pool *pool; /* lives as long as the process */
    struct cli_conf conf;
    bool conf_loaded;
    bool elsewhere; /* the broker is not the one of this machine's fleet */
    bool denied;    /* it has refused something for want of a permission */
    struct loop *loop;
    struct bus *bus;
    int64_t ask_patience_ms; /* how long to wait for the reaper */
    struct str submitted;    /* see cli_note_submitted */
    size_t n_submitted;
};

/* One row of the table of commands. */
struct command {
    const char *name;
    const char *synopsis; /* what follows the name */
    const char *about;    /* one line */
    const char *more;     /* paragraphs of help; NULL: none */
    const char *examples; /* lines of help */
    int (*run)(struct cli *c, const struct args *a);
    const struct arg_opt *opts; /* NULL: none of its own */
    bool task_flags;            /* takes the flags of task_args.h too */
    const char *words;          /* first words, for completion */
};

/* What stdout tells the id of was submitted: should stdout turn out not to be
 * writable, the error names it, so that it is not lost. */
void cli_note_submitted(struct cli *c, const char *id);

/* Whether the words ask for a list, as ls does: no word, or its synonyms. */
bool cli_is_ls(const struct args *a);

/* All commands, in the order of help; ends with a row without a name. */
extern const struct command cli_commands[];
extern const struct arg_opt cli_global_opts[];
/* The command of that name, or with that synonym; NULL: none. */
const struct command *cli_command(const char *name);
/* Adds the synonyms of a command, separated by commas. */
void cli_add_synonyms(const struct command *cmd, struct str *out);

/* --- failures ------------------------------------------------------------ */

/*
 * Prints "shunt: <what>, <object>: <why>" and "  try: <next>" on stderr and
 * returns rc. object and next may be NULL; text from outside is made
 * printable.
 */
int cli_fail(int rc, const char *what, const char *object, const char *why,
             const char *next);
/* The same for e; the exit code follows from its code. */
int cli_fail_err(const char *what, const char *object, const struct err *e,
                 const char *next);
/* The same for a task or batch that cannot be shown: the hint is `shunt ls`, or
 * `shunt status` if the reaper does not answer. */
int cli_fail_lookup(const char *what, const char *selector,
                    const struct err *e);
int cli_rc(const struct err *e);
/* Wrong usage of the command: the hint is its help; returns RC_USAGE. */
int cli_usage(const struct cli *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* The same for a word that is none of names, which end with NULL: names the
 * nearest, else all of them. */
int cli_usage_unknown(const struct cli *c, const char *kind, const char *word,
                      const char *const *names);
/* For commands without arguments: RC_OK, or RC_USAGE after printing the
 * first one. */
int cli_no_arguments(const struct cli *c, const struct args *a);
/* A message: one line on stderr, nothing with --quiet. */
void cli_say(const struct cli *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* --- the broker ---------------------------------------------------------- */

/* Opens the loop; idempotent. */
int cli_loop(struct cli *c, struct err *e);

/*
 * Finds the broker's address: --nats, then configuration and environment, then
 * $SHUNT_HOME/endpoint. Leaves it in c->conf.bus.
 */
int cli_find_broker(struct cli *c, struct err *e);

void cli_forget_broker(struct cli *c); /* frees what was found */

/* Connects within patience_ms; idempotent. */
int cli_connect(struct cli *c, int64_t patience_ms, struct err *e);

/* The same for commands that need the broker: RC_OK, or the exit code after
 * the error was printed. */
int cli_need_broker(struct cli *c, int64_t patience_ms);

/* Sends the spooled tasks of earlier commands, for at most a few seconds, and
 * prints how many. */
void cli_drain_spool(struct cli *c);

const char *cli_spool_dir(struct cli *c, struct fleet_dir_path *buf);
/* The same, made if it is missing. */
int cli_make_spool(struct cli *c, struct fleet_dir_path *dir, struct err *e);
/* All folders of the spool: that for the fleet of this machine, then those for
 * other brokers, with their addresses. */
void cli_each_spool(struct cli *c,
                    void (*fn)(void *ctx, const char *dir, const char *broker),
                    void *ctx);

/* What the supervisor of this machine's fleet wrote about itself; NULL if there
 * is no such file. The caller owns it. */
json_t *cli_fleet_status(const struct cli *c);

/* Runs the loop for ms, or until a signal stops it. */
void cli_pause(struct cli *c, int64_t ms);

/* --- the reaper ---------------------------------------------------------- */

/*
 * Asks ask.ledger.<verb>. Takes over request. On 0 the caller owns *reply.
 * ERR_NOT_FOUND, ERR_INVALID (also for ambiguous selectors) and ERR_UNAVAILABLE
 * are the reaper's; ERR_UNAVAILABLE also if it does not answer in time.
 */
int cli_ask(struct cli *c, const char *verb, json_t *request, json_t **reply,
            struct err *e);

/* As cli_ask("show"), but waits for a task just submitted from here. */
int cli_show(struct cli *c, const char *selector, json_t **task, struct err *e);

/* The full id of a selector's task, found as by cli_show; state may be NULL. */
int cli_find(struct cli *c, const char *selector, char id[TASK_ID_SIZE],
             enum state *state, struct err *e);

/* Remembers the newest submission, for the selector `last`. */
void cli_remember_last(const struct cli *c, const char *id);

/* Members of an answer: text, number and boolean with a fallback, and the
 * member "state". */
const char *cli_text(const json_t *object, const char *key,
                     const char *fallback);
int64_t cli_int(const json_t *object, const char *key, int64_t fallback);
bool cli_bool(const json_t *object, const char *key);
enum state cli_state(const json_t *object);

/* A member that is a time (RFC 3339) as milliseconds since 1970; 0 if absent.
 */
int64_t cli_time(const json_t *object, const char *key);
bool cli_parse_time(const char *text, int64_t *at_ms);

/* user@host */
const char *cli_user(struct mem_pool *pool);

#endif
