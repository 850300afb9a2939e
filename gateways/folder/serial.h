/*
 * serial - the workdirs in which the tasks of files run, for folders of which
 * no two files run in one workdir at the same time (serial=workdir).
 *
 * Which file has a workdir follows from the claimed files: nothing is stored.
 *
 * Thread: any.
 */
#ifndef GATEWAYS_FOLDER_SERIAL_H
#define GATEWAYS_FOLDER_SERIAL_H

#include <stdbool.h>
#include <stddef.h>

/* The workdirs of a file, each once, links resolved. Zeroed: none. */
struct workdirs {
    char **v;
    size_t n;
};

void workdirs_add(struct workdirs *d, const char *dir);
void workdirs_free(struct workdirs *d);

struct serial;

struct serial *serial_new(void);
void serial_free(struct serial *s); /* NULL is fine */

/*
 * Takes all of the workdirs for a file; false: a file has one of them, and
 * none is taken. anyway: the file runs already, so it has them in any case.
 */
bool serial_take(struct serial *s, const struct workdirs *d, const char *file,
                 bool anyway);
void serial_release(struct serial *s, const struct workdirs *d);
/* Whether a file has one of the workdirs; its name, unless file is NULL, and
 * which workdir that is. */
bool serial_busy(struct serial *s, const struct workdirs *d, char *file,
                 size_t size, const char **dir);
/* Whether a workdir was released since the last call. */
bool serial_freed(struct serial *s);

#endif
