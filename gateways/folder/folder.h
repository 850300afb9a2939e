/*
 * folder - the gateway of folders: files become tasks, and outcomes are written
 * back in the folder's style. Any number may watch one folder.
 *
 * The state is in two places: the names of claimed files, and the ledger.
 * Everything in memory is rebuilt from them, so that a kill at any point
 * neither loses nor doubles a file; watches on folders and results on the bus
 * are only hints that save time.
 *
 * Thread: the loop thread; threads of the loop's pool do what blocks on the
 * disk.
 */
#ifndef GATEWAYS_FOLDER_FOLDER_H
#define GATEWAYS_FOLDER_FOLDER_H

#include "lib/base/conf.h"
#include "lib/bus/bus.h"
#include "lib/io/loop.h"

struct folder_conf {
    struct bus_conf bus;
    int64_t connect_timeout_ms;
    char **folders; /* lines as folder_layout_parse reads them */
    char *project;  /* whose usual folders are watched; "": none */
    char *added;    /* the file of folder_list, "": none */
    char *serial;   /* for folders that do not say; "": as their style does */
    char *fleet;    /* marks claimed files; "": as the broker tells */
    int64_t settle_ms, rescan_ms, patience_ms, repair_ms, window;
    int64_t git_interval_ms, drain_timeout_ms;
    bool watch;
};

/* The rows of struct folder_conf as member F of struct T. */
#define FOLDER_CONF(T, F)                                                      \
    CONF_BUS(T, F.bus),                                                        \
        CONF_MS(T, F.connect_timeout_ms, "bus.connect_timeout", "60s", 0,      \
                3600000, "how long to wait for the broker at start"),          \
        CONF_LIST(T, F.folders, "folder.folders", "",                          \
                  "folders to watch: PATH style=STYLE [git=pull] ..."),        \
        CONF_STR(T, F.project, "folder.project", "",                           \
                 "its jobs/queue and .cloud-queue are watched too"),           \
        CONF_STR(T, F.added, "folder.added", "",                               \
                 "file with more folders, read again at USR1"),                \
        CONF_STR(T, F.serial, "folder.serial", "",                             \
                 "workdir: one file at a time in each; no (default: by "       \
                 "style)"),                                                    \
        CONF_STR(T, F.fleet, "folder.fleet", "",                               \
                 "marks claimed files as this fleet's (default: its broker)"), \
        CONF_MS(T, F.settle_ms, "folder.settle", "500ms", 10, 600000,          \
                "how long a file must stay unchanged"),                        \
        CONF_MS(T, F.patience_ms, "folder.patience", "5s", 0, 3600000,         \
                "how long an unreadable file may still change"),               \
        CONF_MS(T, F.rescan_ms, "folder.rescan", "10s", 100, 3600000,          \
                "time between two scans of a quiet folder"),                   \
        CONF_MS(T, F.repair_ms, "folder.repair", "1m", 100, 86400000,          \
                "time after which the reaper is asked about a file"),          \
        CONF_BOOL(T, F.watch, "folder.watch", "true",                          \
                  "watch for changes, besides scanning"),                      \
        CONF_INT(T, F.window, "folder.window", "20000", 1, 1000000,            \
                 "files in progress at once"),                                 \
        CONF_MS(T, F.git_interval_ms, "folder.git_interval", "60s", 100,       \
                86400000, "time between two pulls of a checkout"),             \
        CONF_MS(T, F.drain_timeout_ms, "folder.drain_timeout", "5s", 0,        \
                600000, "after TERM, time for files being stored")

struct folder;

/*
 * Subscribes to the results and starts. The configuration must outlive the
 * gateway. On 0 the caller owns *out until folder_close. On -1 e says
 * ERR_INVALID (a line of the configuration, which it quotes) or the bus's
 * error.
 */
int folder_open(struct folder **out, struct bus *b, struct loop *l,
                const struct folder_conf *conf, struct err *e);

/* For loop_on_term: the first call stops intake, finishes what is being stored
 * and then stops the loop; the second stops it at once. Neither loses
 * anything. */
void folder_drain(void *folder, int nth);

void folder_close(struct folder *f); /* NULL is fine */

#endif
