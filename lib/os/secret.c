/*
 * Reads secrets without leaving copies: buffers on the stack, stdio's and the
 * environment's are wiped or not used.
 */
#include "lib/os/secret.h"

#include "lib/base/mem.h"
#include "lib/os/os.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { SECRET_MAX = 4096 };

int
secret_check(const char *path, const char *what, struct err *e)
{
    struct stat st;

    if (stat(path, &st) < 0 || !S_ISREG(st.st_mode) || (st.st_mode & 07) == 0)
        return 0;
    return err_set(e, ERR_DENIED,
                   "%s file %s is open to all users (mode %04o): chmod 600 %s",
                   what, path, (unsigned)(st.st_mode & 07777), path);
}

char *
secret_read(const char *path, const char *first, const char *what,
            struct err *e)
{
    char line[SECRET_MAX], *out = NULL, *start;
    FILE *f;

    if (secret_check(path, what, e) < 0)
        return NULL;
    f = fopen(path, "re");
    if (!f) {
        err_set(e, ERR_INVALID, "open %s file %s: %s", what, path,
                strerror(errno));
        return NULL;
    }
    /* stdio's buffer would keep a copy. */
    (void)setvbuf(f, NULL, _IONBF, 0);
    while (!out && fgets(line, sizeof line, f)) {
        start = line + strspn(line, " \t");
        start[strcspn(start, " \t\r\n")] = '\0';
        if (*start && (!first || strchr(first, *start)))
            out = mem_strdup(start);
    }
    (void)fclose(f);
    os_wipe(line, sizeof line);
    if (!out)
        err_set(e, ERR_INVALID, "%s file %s: no %s in it", what, path, what);
    return out;
}

char *
secret_take(const char *name)
{
    char *value = getenv(name), *copy;

    if (!value || !*value)
        return NULL;
    os_hide_memory();
    copy = mem_strdup(value);
    /* This is the memory that /proc/PID/environ shows. */
    os_wipe(value, strlen(value));
    (void)unsetenv(name);
    return copy;
}

void
secret_free(char *secret)
{
    if (secret)
        os_wipe(secret, strlen(secret));
    mem_free(secret);
}

bool
secret_equal(const char *secret, const char *guess)
{
    size_t len = strlen(secret), n = strlen(guess);
    volatile unsigned char differs = len != n || !len;

    for (size_t i = 0; i < n; i++)
        differs =
            (unsigned char)(differs | (guess[i] ^ secret[len ? i % len : 0]));
    return !differs;
}
