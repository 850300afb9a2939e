/*
 * reaper - folds every submission, decision, result and cancel request into the
 * ledger, a SQLite database, and publishes what finished.
 *
 * The order is the promise: a message is acknowledged after the transaction
 * that holds its consequences has been committed; done.<task> and
 * batch.<batch> are published between the two; a report that was not written
 * because of a crash is written after the restart.
 *
 * A result is believed only if it carries the nonce of the claim under which
 * the attempt ran; others go into the quarantine table.
 *
 * A database that is new, beside durables that have delivered before, means
 * that the ledger was lost: the durables are created again, and everything the
 * streams hold is folded again, submissions first.
 *
 * Thread: the loop thread.
 */
#ifndef REAPER_REAPER_H
#define REAPER_REAPER_H

#include "lib/base/conf.h"
#include "lib/bus/bus.h"
#include "lib/io/loop.h"
#include "reaper/recover/reconcile.h"

struct reaper;

struct reaper_conf {
    struct bus_conf bus;
    int64_t connect_timeout_ms;
    char *database;    /* "": $XDG_STATE_HOME/shunt/ledger.db */
    bool sync;         /* a commit is on the disk when it returns */
    int64_t nice;      /* set by whoever runs the process */
    char *report_root; /* "": reports/ beside the database */
    bool report_in_workdir;
    char **report_workdirs;
    char *http;            /* ADDRESS:PORT; "", "off" or NULL: no HTTP */
    char *http_socket;     /* path of a socket; "" or NULL: none */
    char *http_token_file; /* "": none */
    int64_t after_unknown_ms;
    /* Not options; 0: the default. Tests use shorter times. */
    struct reconcile_conf reconcile;
    int64_t verify_after_ms; /* see reaper/ingest/verify.h */
    int64_t lease_ms;        /* see reaper/ledger_lease.h */
};

/* The rows of struct reaper_conf as member F of struct T. */
#define REAPER_CONF(T, F)                                                      \
    CONF_BUS(T, F.bus),                                                        \
        CONF_MS(T, F.connect_timeout_ms, "bus.connect_timeout", "60s", 0,      \
                3600000, "how long to wait for the broker at start"),          \
        CONF_STR(                                                              \
            T, F.database, "reaper.database", "",                              \
            "file of the ledger; empty: $XDG_STATE_HOME/shunt/ledger.db"),     \
        CONF_BOOL(T, F.sync, "reaper.sync", "true",                            \
                  "sync each transaction to the disk"),                        \
        CONF_INT(T, F.nice, "reaper.nice", "5", 0, 19,                         \
                 "scheduling priority, see nice(1)"),                          \
        CONF_STR(T, F.report_root, "reaper.report_root", "",                   \
                 "folder of reports; empty: reports/ beside the database"),    \
        CONF_BOOL(                                                             \
            T, F.report_in_workdir, "reaper.report_in_workdir", "false",       \
            "write a report_path below the task's workdir, if it exists"),     \
        CONF_LIST(T, F.report_workdirs, "reaper.report_workdirs", "",          \
                  "folders below which such workdirs may be; empty: any of "   \
                  "the ledger's own user"),                                    \
        CONF_STR(T, F.http, "reaper.http", "",                                 \
                 "ADDRESS:PORT of the HTTP server; empty or off: none"),       \
        CONF_STR(T, F.http_socket, "reaper.http_socket", "",                   \
                 "path of a socket of the HTTP server, for this user only"),   \
        CONF_MS(T, F.after_unknown_ms, "reaper.after_unknown", "10m", 1000,    \
                7LL * 24 * 3600 * 1000,                                        \
                "how long a task waits for one that nobody has submitted"),    \
        CONF_STR(                                                              \
            T, F.http_token_file, "reaper.http_token_file", "",                \
            "file with the token of HTTP requests; required beyond loopback")

/*
 * Opens the database, binds to the durables and starts. On 0 the caller owns
 * *out. conf must outlive it.
 */
int reaper_open(struct reaper **out, struct bus *b, struct loop *l,
                const struct reaper_conf *conf, struct err *e);

/* For loop_on_term: takes nothing new, commits the messages in hand for at most
 * 2 s, then stops the loop. A second call stops it at once. */
void reaper_drain(void *reaper, int nth);

void reaper_close(struct reaper *r); /* NULL is fine */

#endif
