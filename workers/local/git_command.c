/*
 * A command is a child with a pipe for each of its streams; it is over when it
 * has ended and the pipes are read, whoever else may hold them. One that cannot
 * be started ends by a timer, so that done is never called at once.
 */
#include "workers/local/git_command.h"

#include "lib/base/mem.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

enum {
    ANSWER_MAX = 16 * 1024,
    ERRORS_MAX = 1024, /* of git's stderr */
    ARGS_MAX = 40,
    READ_BYTES = 64 * 1024,
};

struct git_output {
    struct git_command *c;
    int fd; /* -1: closed */
    struct loop_fd *watch;
    struct str text; /* at most max bytes */
    size_t max;
};

struct git_command {
    struct git_command_conf conf;
    const char **env;
    size_t n_env;      /* without the command's own */
    struct proc *proc; /* NULL: none runs */
    struct git_output out, err;
    void (*take)(void *ctx, const char *data, size_t len);
    void (*done)(void *ctx, const char *failure);
    void *ctx;
    struct loop_timer *timer; /* it could not be started */
    struct err failed;
};

/* --- what it prints ------------------------------------------------------- */

static void
output_take(struct git_output *o, const char *data, size_t len)
{
    size_t room = o->max - o->text.len;

    if (o == &o->c->out && o->c->take)
        o->c->take(o->c->ctx, data, len);
    else
        str_add(&o->text, data, len < room ? len : room);
}

/* Reads at most so many times. */
static void
output_read(struct git_output *o, int times)
{
    char buf[READ_BYTES];
    ssize_t n;

    while (o->fd >= 0 && times-- > 0) {
        n = read(o->fd, buf, sizeof buf);
        if (n > 0)
            output_take(o, buf, (size_t)n);
        else if (n == 0 || (errno != EAGAIN && errno != EINTR))
            loop_fd_close(&o->watch, &o->fd);
        else
            return;
    }
}

static void
on_readable(void *ctx)
{
    output_read(ctx, 1);
}

static int
output_open(struct git_output *o, int *theirs, struct err *e)
{
    if (proc_pipe(&o->fd, theirs, e) < 0) {
        o->fd = *theirs = -1;
        return -1;
    }
    o->watch = loop_fd_start(o->c->conf.loop, o->fd, on_readable, o);
    return 0;
}

/* --- the end -------------------------------------------------------------- */

/* The first line of what git has against it. */
static void
tell_as_git_says(struct git_command *c, struct str *out)
{
    const char *text = str_text(&c->err.text);

    if (strstr(text, "not a git repository")) {
        str_addz(out, "not a git repository");
        return;
    }
    if (!*text) {
        str_addz(out, "git failed");
        return;
    }
    if (strncmp(text, "fatal: ", 7) == 0)
        text += 7;
    str_addz(out, "git: ");
    str_add_printable(out, text, strcspn(text, "\n"));
}

static void
on_end(void *ctx, const struct proc_end *end)
{
    struct git_command *c = ctx;
    struct str why = {0};

    c->proc = NULL;
    /* A pipe holds no more; other holders of it are not waited for. */
    output_read(&c->out, 4);
    output_read(&c->err, 4);
    loop_fd_close(&c->out.watch, &c->out.fd);
    loop_fd_close(&c->err.watch, &c->err.fd);
    if (end->signalled)
        str_addz(&why, "git was killed");
    else if (end->code != 0)
        tell_as_git_says(c, &why);
    c->done(c->ctx, why.len ? str_text(&why) : NULL);
    str_free(&why);
}

static void
on_failed(void *ctx)
{
    struct git_command *c = ctx;

    loop_timer_stop(c->timer);
    c->timer = NULL;
    c->done(c->ctx, c->failed.msg);
}

/* --- the start ------------------------------------------------------------ */

static const char *const git[] = {
    "git",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.splitIndex=false",
    "-c",
    "core.safecrlf=false",
    "-c",
    "core.looseCompression=0",
    "-c",
    "advice.addEmbeddedRepo=false",
    NULL,
};

void
git_command_run(struct git_command *c, const struct git_run *run,
                void (*done)(void *ctx, const char *failure), void *ctx)
{
    const char *argv[ARGS_MAX] = {NULL};
    struct proc_opts o = {.env = c->env,
                          .argv = argv,
                          .workdir =
                              run->workdir ? run->workdir : c->conf.workdir,
                          .in = -1,
                          .out = -1,
                          .err = -1,
                          .family = c->conf.family,
                          .expendable = true};
    size_t n = 0, k = 0;
    int rc = -1;

    for (; !run->file && git[n]; n++)
        argv[n] = git[n];
    for (; run->argv[k] && n < ARGS_MAX - 1; k++)
        argv[n++] = run->argv[k];
    o.file = argv[0];
    for (k = 0; k < sizeof run->env / sizeof *run->env && run->env[k]; k++)
        c->env[c->n_env + k] = run->env[k];
    c->env[c->n_env + k] = NULL;
    c->take = run->take;
    c->done = done;
    c->ctx = ctx;
    str_reset(&c->out.text);
    str_reset(&c->err.text);
    if (output_open(&c->out, &o.out, &c->failed) == 0 &&
        output_open(&c->err, &o.err, &c->failed) == 0)
        rc = proc_start(c->conf.set, &o, on_end, c, &c->proc, &c->failed);
    if (o.out >= 0)
        (void)close(o.out);
    if (o.err >= 0)
        (void)close(o.err);
    if (rc == 0)
        return;
    loop_fd_close(&c->out.watch, &c->out.fd);
    loop_fd_close(&c->err.watch, &c->err.fd);
    c->timer = loop_timer_start(c->conf.loop, 0, 0, on_failed, c);
}

void
git_command_kill(struct git_command *c)
{
    if (c->proc)
        (void)proc_signal(c->proc, SIGKILL);
}

const char *
git_command_output(const struct git_command *c)
{
    return str_text(&c->out.text);
}

/* --- life ----------------------------------------------------------------- */

/* Variables that must not reach git or are set here. */
static bool
is_hidden(const char *entry)
{
    return strncmp(entry, "GIT_", 4) == 0 || strncmp(entry, "LC_ALL=", 7) == 0;
}

struct git_command *
git_command_new(const struct git_command_conf *conf)
{
    static const char *const own[] = {"LC_ALL=C", "GIT_OPTIONAL_LOCKS=0",
                                      "GIT_TERMINAL_PROMPT=0",
                                      "GIT_NO_LAZY_FETCH=1"};
    struct git_command *c = MEM_NEW(struct git_command);
    size_t n = 0;

    c->conf = *conf;
    c->out = (struct git_output){.c = c, .fd = -1, .max = ANSWER_MAX};
    c->err = (struct git_output){.c = c, .fd = -1, .max = ERRORS_MAX};
    while (conf->env[n])
        n++;
    c->env = mem_alloc((n + 8) * sizeof *c->env);
    for (size_t i = 0; i < n; i++)
        if (!is_hidden(conf->env[i]))
            c->env[c->n_env++] = conf->env[i];
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        c->env[c->n_env++] = own[i];
    return c;
}

void
git_command_free(struct git_command *c)
{
    if (!c)
        return;
    if (c->proc) {
        (void)proc_signal(c->proc, SIGKILL);
        proc_forget(c->proc);
    }
    loop_timer_stop(c->timer);
    loop_fd_close(&c->out.watch, &c->out.fd);
    loop_fd_close(&c->err.watch, &c->err.fd);
    str_free(&c->out.text);
    str_free(&c->err.text);
    mem_free(c->env);
    mem_free(c);
}
