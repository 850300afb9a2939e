#include "lib/secret.h"

#include "lib/mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

char *
secret_take(const char *name)
{
    char *value = getenv(name), *copy;

    if (!value || !*value)
        return NULL;
    (void)prctl(PR_SET_DUMPABLE, 0);
    copy = mem_strdup(value);
    /* Where the kernel shows the environment we were started with. */
    explicit_bzero(value, strlen(value));
    (void)unsetenv(name);
    return copy;
}

void
secret_free(char *secret)
{
    if (secret)
        explicit_bzero(secret, strlen(secret));
    mem_free(secret);
}
