/*
 * folder - the gateway of folders: files become tasks, outcomes become what
 * the folder's style says. Any number may watch one folder.
 *
 * What is true stands in two places: the names of claimed files, and the
 * ledger. Everything in memory is found again from them, so that a kill at any
 * point neither loses nor doubles a file; watches on folders and results on
 * the bus are hints that make it quick.
 *
 * Thread: the loop thread; what blocks on the disk is done by threads of the
 * loop's pool.
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
        CONF_MS(T, F.settle_ms, "folder.settle", "500ms", 10, 600000,          \
                "how long a file must not change before it is taken"),         \
        CONF_MS(T, F.patience_ms, "folder.patience", "5s", 0, 3600000,         \
                "how long a file that cannot be read may yet change"),         \
        CONF_MS(T, F.rescan_ms, "folder.rescan", "10s", 100, 3600000,          \
                "between two looks at a folder that is quiet"),                \
        CONF_MS(T, F.repair_ms, "folder.repair", "1m", 100, 86400000,          \
                "after this the ledger is asked about a file in work"),        \
        CONF_BOOL(T, F.watch, "folder.watch", "true",                          \
                  "be told of changes, beside looking for them"),              \
        CONF_INT(T, F.window, "folder.window", "20000", 1, 1000000,            \
                 "files in work at once"),                                     \
        CONF_MS(T, F.git_interval_ms, "folder.git_interval", "60s", 100,       \
                86400000, "between two pulls of a checkout"),                  \
        CONF_MS(T, F.drain_timeout_ms, "folder.drain_timeout", "5s", 0,        \
                600000, "after TERM, for files in hand")

struct folder;

/*
 * Binds to the results and begins. The configuration must outlive the
 * gateway. On 0 the caller owns *out until folder_close. On -1 e says
 * ERR_INVALID (a line of the configuration, which it quotes) or what the bus
 * said.
 */
int folder_open(struct folder **out, struct bus *b, struct loop *l,
                const struct folder_conf *conf, struct err *e);

/* For loop_on_term: the first call takes nothing new, finishes what is in
 * hand and stops the loop; the second stops it at once. Neither loses
 * anything. */
void folder_drain(void *folder, int nth);

void folder_close(struct folder *f); /* NULL is fine */

#endif
