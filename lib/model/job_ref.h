/*
 * job_ref - the note in a claim of work that goes on at a platform, "key K id
 * J": K names the submission, and stands there before the platform is asked; J
 * is the platform's name of the job, once it is known.
 *
 * Pure. Thread: any.
 */
#ifndef LIB_MODEL_JOB_REF_H
#define LIB_MODEL_JOB_REF_H

#include <stdbool.h>

enum {
    REMOTE_KEY_SIZE = 64,
    REMOTE_ID_SIZE = 201,
    REMOTE_NOTE_SIZE = REMOTE_KEY_SIZE + REMOTE_ID_SIZE + 8,
};

struct remote {
    char key[REMOTE_KEY_SIZE], id[REMOTE_ID_SIZE]; /* id "": not known yet */
};

/* False, and both are "", if it is no such note. */
bool remote_read(const char *note, struct remote *out);
void remote_write(const struct remote *r, char out[REMOTE_NOTE_SIZE]);

#endif
