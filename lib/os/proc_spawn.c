/*
 * Starts a child: finds the program, has proc_os_spawn start it, and turns a
 * failure of one of its steps into an error that names what is missing.
 */
#include "lib/os/proc_private.h"

#include "lib/base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *
path_of_env(const char *const *env)
{
    for (; *env; env++)
        if (strncmp(*env, "PATH=", 5) == 0)
            return *env + 5;
    return "/usr/local/bin:/usr/bin:/bin";
}

/* Finds o->file in PATH as a shell does; relative entries of PATH are relative
 * to the child's folder. */
static int
look_up(const struct proc_opts *o, char *out, size_t size, struct err *e)
{
    const char *path = path_of_env(o->env), *end;
    const char *base = o->workdir ? o->workdir : ".";
    bool denied = false;
    struct stat st;
    int n;

    for (;; path = end + 1) {
        end = path + strcspn(path, ":");
        if (*path == '/')
            n = snprintf(out, size, "%.*s/%s", (int)(end - path), path,
                         o->file);
        else
            n = snprintf(out, size, "%s/%.*s/%s", base, (int)(end - path), path,
                         o->file);
        if (n > 0 && (size_t)n < size) {
            if (access(out, X_OK) == 0 && stat(out, &st) == 0 &&
                S_ISREG(st.st_mode))
                return 0;
            if (errno == EACCES)
                denied = true;
        }
        if (!*end)
            break;
    }
    if (denied)
        return err_set(e, ERR_DENIED, "%s: not executable", o->file);
    return err_set(e, ERR_NOT_FOUND, "%s: no such program in PATH", o->file);
}

static int
explain(const struct proc_spawn *sp, struct err *e)
{
    const struct proc_opts *o = sp->opts;
    const char *what = sp->stage == STAGE_WORKDIR ? o->workdir : o->file;
    const char *why = strerror(sp->error);

    if (sp->stage == STAGE_SETUP)
        return err_set(e, ERR_UNAVAILABLE, "start %s: %s", o->file, why);
    switch (sp->error) {
    case ENOENT:
    case ENOTDIR:
        return err_set(e, ERR_NOT_FOUND, "%s %s: %s",
                       sp->stage == STAGE_WORKDIR ? "folder" : "program", what,
                       why);
    case EACCES:
    case EPERM:
        return err_set(e, ERR_DENIED, "%s: %s", what, why);
    case E2BIG:
    case ENOEXEC:
    case ELOOP:
    case ENAMETOOLONG:
    case EISDIR:
    case EINVAL:
        return err_set(e, ERR_INVALID, "%s: %s", what, why);
    default:
        return err_set(e, ERR_UNAVAILABLE, "start %s: %s", what, why);
    }
}

int
proc_start(struct proc_set *s, const struct proc_opts *o,
           void (*on_end)(void *ctx, const struct proc_end *end), void *ctx,
           struct proc **out, struct err *e)
{
    struct proc_spawn sp = {.os = s->os, .opts = o, .path = o->file};
    char path[4096];
    struct proc *p;
    pid_t pid;

    sp.fds[0] = o->in < 0 ? s->null_fd : o->in;
    sp.fds[1] = o->out < 0 ? s->null_fd : o->out;
    sp.fds[2] = o->err < 0 ? s->null_fd : o->err;
    if (!strchr(o->file, '/')) {
        if (look_up(o, path, sizeof path, e) < 0)
            return -1;
        sp.path = path;
    }
    pid = proc_os_spawn(&sp);
    if (pid < 0)
        return explain(&sp, e);
    if (sp.error) {
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
        return explain(&sp, e);
    }
    p = MEM_NEW(struct proc);
    p->set = s;
    p->pid = pid;
    p->family = o->family;
    p->on_end = on_end;
    p->ctx = ctx;
    proc_link(s, p);
    *out = p;
    return 0;
}
