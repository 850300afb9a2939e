/*
 * Families: walks the tree of our descendants and attributes each process by
 * its ancestry, its session, what was seen of it before, or the mark in its
 * environment.
 */
#include "lib/os/proc_private.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

#include <signal.h>
#include <unistd.h>

uint64_t
proc_started(pid_t pid)
{
    struct procs_stat st;

    return procs_stat(pid, &st) ? st.started : 0;
}

struct proc_family *
proc_family_open(struct proc_set *s, const char *mark)
{
    struct proc_family *f = MEM_NEW(struct proc_family);

    f->set = s;
    f->opened = procs_ticks();
    (void)str_copy(f->mark, sizeof f->mark, mark);
    TAILQ_INSERT_TAIL(&s->families, f, link);
    return f;
}

static bool
is_kin(const struct proc_family *f, pid_t pid, uint64_t started)
{
    for (size_t i = 0; i < f->n_kin; i++)
        if (f->kin[i].pid == pid && f->kin[i].started == started)
            return true;
    return false;
}

static void
remember(struct proc_family *f, pid_t pid, uint64_t started)
{
    if (is_kin(f, pid, started))
        return;
    f->kin = mem_grow(f->kin, f->n_kin, &f->cap_kin, sizeof *f->kin);
    f->kin[f->n_kin++] = (struct kin){pid, started};
}

static bool
in_session(const struct proc_family *f, const struct procs_stat *st)
{
    const struct proc *leader = proc_find(f->set, st->session);

    if (leader && leader->family == f)
        return true;
    leader = proc_find(f->set, st->group);
    return leader && leader->family == f;
}

static enum procs_env
belongs(const struct proc_family *f, const struct procs_node *at,
        const struct procs_stat *st)
{
    if (at->ours || in_session(f, st) || is_kin(f, at->pid, st->started))
        return PROCS_ENV_HOLDS;
    return procs_env(at->pid, f->mark);
}

int
proc_family_signal(struct proc_family *f, int signo)
{
    struct proc_set *s = f->set;
    struct procs_list todo = {0}, met = {0};
    struct procs_stat st;
    int count, unready = 0;

    proc_os_push_children(s->os, &todo, getpid(), false);
    while (todo.n > 0) {
        struct procs_node at = todo.v[--todo.n];
        const struct proc *own = proc_find(s, at.pid);

        if (own && !own->ended && own->family != f)
            continue; /* another family's, with its descendants */
        if (!procs_stat(at.pid, &st))
            continue;
        switch (belongs(f, &at, &st)) {
        case PROCS_ENV_LACKS:
            break;
        case PROCS_ENV_UNREADY:
            unready += procs_alive(&st);
            break;
        case PROCS_ENV_HOLDS:
            at.ours = true;
            /* Its parent may end before the next call, and with it the only
             * sign that it belongs here. */
            remember(f, at.pid, st.started);
            if (procs_alive(&st))
                procs_push(&met, at.pid, true);
            break;
        }
        proc_os_push_children(s->os, &todo, at.pid, at.ours);
    }
    /* Only when all have been found: a process whose parent ends is moved. */
    for (size_t i = 0; signo && i < met.n; i++)
        (void)kill(met.v[i].pid, signo);
    count = (int)met.n + unready;
    mem_free(met.v);
    mem_free(todo.v);
    return count;
}

bool
proc_family_gone(struct proc_family *f)
{
    struct proc_set *s = f->set;

    if (f->n_alive > 0)
        return false;
    /* A process whose parent was that child came to us before the child could
     * be waited for, and every process has a parent. */
    if (s->clean < f->last_end && !proc_os_has_adopted(s))
        s->clean = s->ends;
    return s->clean >= f->last_end;
}

void
proc_sweep(struct proc_set *s)
{
    const struct proc_family *oldest = TAILQ_FIRST(&s->families);
    uint64_t limit = oldest ? oldest->opened : UINT64_MAX;
    struct procs_list todo = {0};
    struct procs_stat st;

    s->swept = s->spared = false;
    proc_os_push_children(s->os, &todo, getpid(), false);
    while (todo.n > 0) {
        struct procs_node at = todo.v[--todo.n];
        const struct proc *own = proc_find(s, at.pid);

        if ((own && !own->ended) || !procs_stat(at.pid, &st))
            continue;
        if (!at.ours && st.started >= limit) {
            s->spared = true;
            continue;
        }
        proc_os_push_children(s->os, &todo, at.pid, true);
        if (procs_alive(&st)) {
            log_warn("proc.leftover", "pid=%d session=%d", (int)at.pid,
                     (int)st.session);
            (void)kill(at.pid, SIGKILL);
            s->swept = true;
        }
    }
    mem_free(todo.v);
}

void
proc_family_close(struct proc_family *f)
{
    struct proc_set *s;
    struct proc *p, *next;
    bool gone;

    if (!f)
        return;
    s = f->set;
    gone = proc_family_gone(f);
    for (p = f->procs; p; p = next) {
        next = p->sibling;
        p->family = NULL;
        if (p->ended && !p->unreported) {
            proc_unlink(s, p);
            mem_free(p);
        }
    }
    TAILQ_REMOVE(&s->families, f, link);
    mem_free(f->kin);
    mem_free(f);
    if (s->adopt && (!gone || s->spared) && proc_os_has_adopted(s))
        proc_sweep(s);
}
