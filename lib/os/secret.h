/*
 * secret - passwords and keys from files and the environment. They are never
 * logged, are compared in constant time, and are overwritten when freed.
 *
 * Thread: any; secret_take before threads that read the environment start.
 */
#ifndef LIB_OS_SECRET_H
#define LIB_OS_SECRET_H

#include "lib/base/err.h"

#include <stdbool.h>

/* Whether a file that holds a secret is kept from other users; else -1 with
 * ERR_DENIED and the remedy. A file that cannot be looked at passes: whoever
 * opens it says why. Its group may read it, as it does of a secret that is
 * mounted into a container. */
int secret_check(const char *path, const char *what, struct err *e);

/*
 * Returns the first word of the first line that starts with one of the letters
 * in first (NULL: any) after blanks. The caller owns it until secret_free. NULL
 * with ERR_INVALID: the file cannot be read, or has no such line; ERR_DENIED:
 * others can read it, too. what names the secret in the message ("token").
 */
char *secret_read(const char *path, const char *first, const char *what,
                  struct err *e);
/*
 * Moves a variable out of our environment, so that neither children nor
 * readers of /proc/PID/environ see it, and calls os_hide_memory. The caller
 * owns the copy until secret_free. NULL, without any change, if the variable is
 * not set or empty.
 */
char *secret_take(const char *name);
void secret_free(char *secret); /* NULL is fine */

/* Takes the same time for every guess of the same length. */
bool secret_equal(const char *secret, const char *guess);

#endif
