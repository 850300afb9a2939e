/*
 * secret - passwords and keys from files and the environment, compared without
 * telling how much of a guess was right. They are never logged, and written
 * over when freed.
 *
 * Thread: any; secret_take before threads that read the environment start.
 */
#ifndef LIB_OS_SECRET_H
#define LIB_OS_SECRET_H

#include "lib/base/err.h"

#include <stdbool.h>

/*
 * The first line of the file that starts with one of the letters in first
 * (NULL: any), without blanks around it. The caller owns it until secret_free.
 * NULL with ERR_INVALID: the file cannot be read, or has no such line; what
 * names the secret in the message ("token").
 */
char *secret_read(const char *path, const char *first, const char *what,
                  struct err *e);
/*
 * Takes a variable: removes it from our environment, for children and for
 * whoever reads /proc/PID/environ, and makes the process one that is not
 * dumped and whose memory other processes of the user cannot read. The caller
 * owns the copy until secret_free. NULL, and nothing is changed, if it is not
 * set or empty.
 */
char *secret_take(const char *name);
void secret_free(char *secret); /* NULL is fine */

/* Takes as long for every guess of one length. */
bool secret_equal(const char *secret, const char *guess);

#endif
