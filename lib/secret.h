/*
 * secret - a token from the environment, taken so that nobody else finds it.
 *
 * Thread: any, before threads that read the environment are started.
 */
#ifndef LIB_SECRET_H
#define LIB_SECRET_H

/*
 * Takes the variable: removes it from our environment, for children and for
 * whoever reads /proc/PID/environ, and makes the process one that is not
 * dumped and whose memory other processes of the user cannot read. The caller
 * owns the copy until secret_free. NULL, and nothing is changed, if it is not
 * set or empty.
 */
char *secret_take(const char *name);

void secret_free(char *secret); /* wipes it; NULL is fine */

#endif
