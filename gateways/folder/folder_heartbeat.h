/*
 * folder_heartbeat - tells the reaper every 10 s, and when something changes,
 * how many files wait in each folder, and why: `status` and `doctor` show it.
 *
 * Thread: the loop thread.
 */
#ifndef GATEWAYS_FOLDER_FOLDER_HEARTBEAT_H
#define GATEWAYS_FOLDER_FOLDER_HEARTBEAT_H

struct folder;

void folder_heartbeat_open(struct folder *f);
void
folder_heartbeat_close(struct folder *f); /* says that it was the last one */
/* Something has changed. */
void folder_heartbeat_soon(struct folder *f);

#endif
