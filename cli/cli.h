/*
 * cli - what all commands of `shunt` share: the context, the way to the
 * broker and to the ledger, and how failures are told.
 *
 * Data goes to stdout, talk to stderr. A command returns one of enum exit_rc
 * or the exit code of a child.
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

enum exit_rc {
    RC_OK,
    RC_FAILED,           /* the command did not do what it should */
    RC_USAGE,            /* wrong use or invalid input */
    RC_CANCELLED,        /* the task was cancelled */
    RC_CREDENTIALS,      /* a person must log in or grant a right */
    RC_UNSUCCESSFUL,     /* a task that was waited for did not succeed */
    RC_REFUSED,          /* by the router, a guard, ownership */
    RC_UNREACHABLE,      /* broker, ledger or target */
    RC_PENDING,          /* not finished at --timeout */
    RC_TIMED_OUT = 124,  /* of run: the task exceeded its limit */
    RC_OUR_SIDE = 125,   /* of run: no outcome to report */
    RC_INTERRUPTED = 130 /* left at the second ^C */
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
    struct loop *loop;
    struct bus *bus;
    bool denied;             /* the broker refused a right; said already */
    int64_t ask_patience_ms; /* while the ledger does not answer */
};

/* One row of the table of commands. */
struct command {
    const char *name;
    const char *synopsis;       /* what follows the name */
    const char *about;          /* one line */
    const char *more;           /* paragraphs of help; NULL: none */
    const char *examples;       /* lines of help */
    const struct arg_opt *opts; /* NULL: none of its own */
    bool task_flags;            /* takes the flags of task_args.h too */
    const char *words;          /* first words, for completion */
    int (*run)(struct cli *c, const struct args *a);
};

/* All commands, in the order of help; ends with a row without a name. */
extern const struct command cli_commands[];
extern const struct arg_opt cli_global_opts[];
const struct command *cli_command(const char *name); /* NULL: none */

/* --- failures ------------------------------------------------------------ */

/*
 * Prints "shunt: <what>, <object>: <why>" and "  try: <next>" on stderr and
 * returns rc. object and next may be NULL; text from outside is made fit for
 * a terminal.
 */
int cli_fail(int rc, const char *what, const char *object, const char *why,
             const char *next);
/* The same for e; the exit code follows from its code. */
int cli_fail_err(const char *what, const char *object, const struct err *e,
                 const char *next);
int cli_rc(const struct err *e);
/* Wrong use of the command itself: points to its help; returns RC_USAGE. */
int cli_usage(const struct cli *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* For commands that take flags alone: RC_OK, or the complaint is printed. */
int cli_no_arguments(const struct cli *c, const struct args *a);
/* Talk: one line on stderr, nothing with --quiet. */
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

/* Connects, waiting at most patience_ms for a server; idempotent. */
int cli_connect(struct cli *c, int64_t patience_ms, struct err *e);

/* The same for commands that cannot do without: prints the failure and
 * returns the exit code, RC_OK if connected. */
int cli_need_broker(struct cli *c, int64_t patience_ms);

/* Sends what older commands could not; at most a few seconds. Says what it
 * did. */
void cli_drain_spool(struct cli *c);

const char *cli_spool_dir(const struct cli *c, struct fleet_dir_path *buf);

/* Runs the loop for ms, or until a signal stops it. */
void cli_pause(struct cli *c, int64_t ms);

/* --- the ledger ---------------------------------------------------------- */

/*
 * Asks ask.ledger.<verb>. Takes over request. On 0 the caller owns *reply.
 * ERR_NOT_FOUND, ERR_INVALID (ambiguous selectors too) and ERR_UNAVAILABLE as
 * the ledger says; ERR_UNAVAILABLE if it does not answer for a few seconds.
 */
int cli_ask(struct cli *c, const char *verb, json_t *request, json_t **reply,
            struct err *e);

/* As cli_ask("show"), but a task just submitted from here is waited for. */
int cli_show(struct cli *c, const char *selector, json_t **task, struct err *e);

/* The full id behind a selector, as cli_show; state may be NULL. */
int cli_find(struct cli *c, const char *selector, char id[TASK_ID_SIZE],
             enum state *state, struct err *e);

/* Remembers the newest submission, for the selector `last`. */
void cli_remember_last(const struct cli *c, const char *id);

/* Text, number and boolean members with a fallback. */
const char *cli_text(const json_t *object, const char *key,
                     const char *fallback);
int64_t cli_int(const json_t *object, const char *key, int64_t fallback);
bool cli_bool(const json_t *object, const char *key);
/* A time member (RFC 3339) as milliseconds since 1970; 0 if absent. */
int64_t cli_time(const json_t *object, const char *key);
bool cli_parse_time(const char *text, int64_t *at_ms);

/* user@host */
const char *cli_user(struct mem_pool *pool);

#endif
