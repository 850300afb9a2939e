/*
 * watched_folders - the folders whose files become tasks: those of the
 * configuration, and the usual ones of the project we are in.
 *
 * Thread: any.
 */
#ifndef CLI_WATCHED_FOLDERS_H
#define CLI_WATCHED_FOLDERS_H

#include "fleet/fleet_dir.h"
#include "lib/base/err.h"

#include <jansson.h>

struct watched_folders {
    char project[FLEET_DIR_PATH]; /* whose usual folders they are; "": none */
    /* {path, waiting, line, from}: as configured, where its files wait, and as
     * in folder_list */
    json_t *list;
};

/*
 * Finds them. The project is the configured one, else the working directory if
 * it has a usual folder, else the checkout it lies in. On 0 the caller owns
 * out->list. On -1 e names the mistake in the configuration, which a gateway
 * would only write to its log.
 */
int watched_folders_find(struct watched_folders *out, struct err *e);

/* Adds what earlier calls of watched_folders_remember have left in the fleet's
 * folder. */
int watched_folders_recall(struct watched_folders *w,
                           const struct fleet_dir *dir, struct err *e);
/* Adds them to what the fleet watches, also after it was killed. */
int watched_folders_remember(const struct watched_folders *w,
                             const struct fleet_dir *dir, struct err *e);
/* Until now: the fleet was stopped. */
void watched_folders_forget(const struct fleet_dir *dir);

#endif
