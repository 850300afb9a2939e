/*
 * The file `names` of the state folder has the names of the current minute, a
 * line each, under a lock; the first name of another minute empties it. Nothing
 * depends on it after a crash.
 */
#include "cli/name_counter.h"

#include "lib/base/str.h"
#include "lib/os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { NAMES_MAX = 64 * 1024, MINUTE_LEN = 13 /* YYYYMMDD-HHMM */ };

/* The date and time that the name ends in. */
static const char *
minute_of(const char *name)
{
    size_t len = strlen(name);

    return len > MINUTE_LEN ? name + len - MINUTE_LEN : name;
}

static unsigned
count_lines(const char *text, const char *line)
{
    size_t len = strlen(line);
    unsigned n = 0;

    for (; *text; text += strcspn(text, "\n"), text += *text == '\n')
        n += strncmp(text, line, len) == 0 && text[len] == '\n';
    return n;
}

unsigned
name_counter_next(const struct fleet_dir *dir, const char *name)
{
    struct fleet_dir_path path;
    struct str text = {0}, line = {0};
    size_t first;
    unsigned n = 0;
    int fd = open(fleet_dir_path(dir, "names", &path),
                  O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    if (fd < 0)
        return 1;
    if (flock(fd, LOCK_EX) == 0 &&
        (file_read_all(fd, NAMES_MAX, &text) == 0 || errno == EFBIG)) {
        first = strcspn(str_text(&text), "\n");
        if (text.len >= NAMES_MAX || first < MINUTE_LEN ||
            strncmp(text.data + first - MINUTE_LEN, minute_of(name),
                    MINUTE_LEN) != 0)
            (void)ftruncate(fd, 0);
        else
            n = count_lines(text.data, name);
        str_addf(&line, "%s\n", name);
        (void)file_write_all(fd, line.data, line.len);
    }
    (void)close(fd);
    str_free(&line);
    str_free(&text);
    return n + 1;
}
