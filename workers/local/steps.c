/*
 * A script becomes the shell with -c, or from a memory file if it is too long
 * for one argument, or its own words if it is a simple command; make and
 * kubectl steps become those programs with their arguments.
 */
#include "workers/local/steps.h"

#include "lib/os/file.h"
#include "lib/os/os.h"
#include "workers/local/simple_command.h"

#include <string.h>
#include <unistd.h>

enum {
    SCRIPT_ARG_MAX = 96 * 1024
}; /* longer ones do not fit in one argument */

/* A script as an open memory file; -1 if there is no memory for it. */
static int
script_file(const char *script, size_t len)
{
    int fd = os_scratch_file();

    if (fd < 0)
        return -1;
    if (file_write_all(fd, script, len) < 0) {
        (void)close(fd);
        return -1;
    }
    (void)lseek(fd, 0, SEEK_SET);
    return fd;
}

static const char **
argv_of(struct mem_pool *pool, const char *a, const char *b, const char *c,
        const char *d)
{
    const char **argv = mem_pool_alloc(pool, 5 * sizeof *argv);

    argv[0] = a;
    argv[1] = b;
    argv[2] = c;
    argv[3] = d;
    return argv;
}

static int
shell_exec(const char *script, const char *shell, struct mem_pool *pool,
           struct step_exec *out, struct err *e)
{
    size_t len = strlen(script);

    if (len > SCRIPT_ARG_MAX) {
        out->in = script_file(script, len);
        if (out->in < 0)
            return err_set(e, ERR_UNAVAILABLE, "no memory for the script");
        script = "SHUNT_SCRIPT=$(cat); exec </dev/null; "
                 "eval \"unset SHUNT_SCRIPT; $SHUNT_SCRIPT\"";
    }
    out->argv = argv_of(pool, shell, "-c", "--", script);
    return 0;
}

static int
python_exec(const char *script, struct mem_pool *pool, struct step_exec *out,
            struct err *e)
{
    size_t len = strlen(script);

    if (len > SCRIPT_ARG_MAX) {
        out->in = script_file(script, len);
        if (out->in < 0)
            return err_set(e, ERR_UNAVAILABLE, "no memory for the script");
        out->argv = argv_of(pool, "python3", "-", NULL, NULL);
    } else {
        out->argv = argv_of(pool, "python3", "-c", script, NULL);
    }
    return 0;
}

/* program (NULL: none), then the words of the step from argv or script; NULL if
 * only a shell could split the script. */
static const char **
argv_with(const char *program, const struct step *s, struct mem_pool *pool)
{
    const char **words = s->argv, **argv;
    size_t n = s->n_argv, at = 0;

    if (n == 0 && program) {
        words = simple_command_args(s->script, pool);
        if (!words)
            return NULL;
        while (words[n])
            n++;
    }
    argv = mem_pool_alloc(pool, (n + 2) * sizeof *argv);
    if (program)
        argv[at++] = program;
    if (n > 0)
        memcpy(argv + at, words, n * sizeof *argv);
    return argv;
}

int
step_exec(const struct step *s, const char *shell, bool exec_simple,
          struct mem_pool *pool, struct step_exec *out, struct err *e)
{
    *out = (struct step_exec){.in = -1};
    switch (s->kind) {
    case STEP_UNSPECIFIED:
    case STEP_SHELL:
        if (exec_simple)
            out->argv = simple_command_words(s->script, pool);
        out->simple = out->argv != NULL;
        return out->simple ? 0 : shell_exec(s->script, shell, pool, out, e);
    case STEP_ARGV:
        if (s->n_argv == 0)
            return err_set(e, ERR_INVALID, "no program given");
        out->argv = argv_with(NULL, s, pool);
        return 0;
    case STEP_PYTHON:
        return python_exec(s->script, pool, out, e);
    case STEP_MAKE:
        out->argv = argv_with("make", s, pool);
        if (out->argv)
            return 0;
        return shell_exec(mem_pool_printf(pool, "make %s", s->script), shell,
                          pool, out, e);
    case STEP_KUBECTL:
        out->argv = argv_with("kubectl", s, pool);
        if (!out->argv)
            return err_set(e, ERR_INVALID,
                           "arguments of kubectl are split without a shell: "
                           "quote them plainly, or give a list");
        return 0;
    }
    return err_set(e, ERR_INVALID, "a step of an unknown kind");
}
