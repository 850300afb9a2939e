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
#include <string.h>
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

static struct kin *
find_kin(const struct proc_family *f, pid_t pid, uint64_t started)
{
    for (size_t i = 0; i < f->n_kin; i++)
        if (f->kin[i].pid == pid && f->kin[i].started == started)
            return &f->kin[i];
    return NULL;
}

static struct kin *
remember(struct proc_family *f, pid_t pid, const struct procs_stat *st)
{
    struct kin *k = find_kin(f, pid, st->started);

    if (!k) {
        f->kin = mem_grow(f->kin, f->n_kin, &f->cap_kin, sizeof *f->kin);
        k = &f->kin[f->n_kin++];
        *k = (struct kin){.pid = pid, .started = st->started};
    }
    (void)str_copy(k->name, sizeof k->name, st->name);
    return k;
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
    if (at->ours || in_session(f, st) || find_kin(f, at->pid, st->started))
        return PROCS_ENV_HOLDS;
    return procs_env(at->pid, f->mark);
}

void
proc_family_let_go(struct proc_family *f)
{
    f->lets_go = true;
}

/* Whether pid, which is adopted or will be once its parent has ended, may live
 * on; then it is nobody's from now on. */
static enum procs_env
is_kept(struct proc_set *s, pid_t pid, const struct procs_stat *st)
{
    enum procs_env kept = procs_env(pid, PROC_KEEP);

    if (kept == PROCS_ENV_HOLDS && st->parent == getpid()) {
        log_info("proc.kept", "pid=%d name=%s", (int)pid, LOG_TEXT(st->name));
        proc_know(s, pid);
    }
    return kept;
}

int
proc_family_signal(struct proc_family *f, int signo)
{
    struct proc_set *s = f->set;
    struct procs_list todo = {0}, met = {0};
    enum procs_env whose;
    struct procs_stat st;
    struct kin *kin;
    int count, unready = 0;

    proc_os_push_children(s->os, &todo, getpid(), false);
    while (todo.n > 0) {
        struct procs_node at = todo.v[--todo.n];
        const struct proc *own = proc_find(s, at.pid);

        if (own && !own->ended && own->family != f)
            continue; /* another family's, with its descendants */
        if (!procs_stat(at.pid, &st))
            continue;
        whose = belongs(f, &at, &st);
        if (whose == PROCS_ENV_HOLDS && f->lets_go && !own &&
            procs_alive(&st)) {
            enum procs_env kept = is_kept(s, at.pid, &st);

            if (kept == PROCS_ENV_HOLDS)
                continue; /* with its descendants */
            if (kept == PROCS_ENV_UNREADY)
                whose = kept;
        }
        switch (whose) {
        case PROCS_ENV_LACKS:
            break;
        case PROCS_ENV_UNREADY:
            unready += procs_alive(&st);
            break;
        case PROCS_ENV_HOLDS:
            at.ours = true;
            /* Its parent may end before the next call, and with it the only
             * sign that it belongs here. */
            kin = remember(f, at.pid, &st);
            if (!procs_alive(&st))
                break;
            kin->signalled = kin->signalled || (signo && !own);
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

enum { NAMES_MOST = 8 }; /* of processes, listed; more are counted */

static bool
is_named_before(const struct proc_family *f, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (f->kin[i].signalled && !strcmp(f->kin[i].name, f->kin[n].name))
            return true;
    return false;
}

int
proc_family_signalled(const struct proc_family *f, struct str *out)
{
    int total = 0, names = 0;

    for (size_t i = 0; i < f->n_kin; i++) {
        const char *name = f->kin[i].name;
        int same = 0;

        if (!f->kin[i].signalled)
            continue;
        total++;
        if (is_named_before(f, i) || ++names > NAMES_MOST)
            continue;
        for (size_t k = i; k < f->n_kin; k++)
            same += f->kin[k].signalled && !strcmp(f->kin[k].name, name);
        str_addz(out, names > 1 ? ", " : "");
        str_add_printable(out, name, strlen(name));
        if (same > 1)
            str_addf(out, " (%d)", same);
    }
    if (names > NAMES_MOST)
        str_addz(out, ", ...");
    return total;
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
        if (procs_alive(&st) && is_kept(s, at.pid, &st) == PROCS_ENV_HOLDS)
            continue;
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
