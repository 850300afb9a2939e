/*
 * Hashes the machine's id, the host's name and the identity of the root folder,
 * which a container has of its own.
 */
#include "lib/os/place.h"

#include "lib/base/hash.h"
#include "lib/base/str.h"
#include "lib/os/file.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *
place_here(char out[PLACE_SIZE])
{
    struct str text = {0};
    char host[256] = "";
    struct stat st;

    (void)file_read("/etc/machine-id", 256, &text);
    (void)gethostname(host, sizeof host - 1);
    if (stat("/", &st) < 0)
        memset(&st, 0, sizeof st);
    str_addf(&text, "\n%s\n%" PRIuMAX ":%" PRIuMAX, host, (uintmax_t)st.st_dev,
             (uintmax_t)st.st_ino);
    (void)snprintf(out, PLACE_SIZE, "%u@%016" PRIx64, (unsigned)geteuid(),
                   hash_add(HASH_EMPTY, text.data, text.len));
    str_free(&text);
    return out;
}
