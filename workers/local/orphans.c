/*
 * Scans /proc for the mark in environments, kills the sessions of those
 * processes and repeats until none is left.
 */
#include "workers/local/orphans.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/io/loop.h"
#include "lib/os/proc.h"
#include "lib/os/procs.h"

#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <unistd.h>

enum {
    CHECK_MS = 20,
    UNREADY_CHECKS = 100, /* of a process within exec, 1 ms apart */
};

static bool
holds(const struct procs_list *l, pid_t pid)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->v[i].pid == pid)
            return true;
    return false;
}

/* Adds this process and its ancestors. */
static void
push_ancestors(struct procs_list *l)
{
    struct procs_stat st;

    for (pid_t pid = getpid(); pid > 0 && !holds(l, pid);) {
        procs_push(l, pid, false);
        pid = procs_stat(pid, &st) ? st.parent : 0;
    }
}

static bool
carries(pid_t pid, const char *mark)
{
    enum procs_env found = procs_env(pid, mark);

    for (int i = 0; found == PROCS_ENV_UNREADY && i < UNREADY_CHECKS; i++) {
        (void)poll(NULL, 0, 1);
        found = procs_env(pid, mark);
    }
    return found == PROCS_ENV_HOLDS;
}

/* Whether it may outlive its task, and so its worker. */
static bool
is_kept(pid_t pid)
{
    return procs_env(pid, PROC_KEEP) == PROCS_ENV_HOLDS;
}

/* Finds the sessions of processes that carry the mark. */
static void
find_sessions(const struct procs_list *all, const struct procs_list *spared,
              const char *mark, struct procs_list *out)
{
    pid_t own = getsid(0);
    struct procs_stat st;

    for (size_t i = 0; i < all->n; i++)
        if (!holds(spared, all->v[i].pid) && carries(all->v[i].pid, mark) &&
            procs_stat(all->v[i].pid, &st) && procs_alive(&st) &&
            st.session != own && !holds(out, st.session) &&
            !is_kept(all->v[i].pid))
            procs_push(out, st.session, false);
}

/* Kills all that are alive now; returns how many. */
static int
kill_once(const char *mark, bool tell)
{
    struct procs_list all = {0}, spared = {0}, sessions = {0};
    struct procs_stat st;
    int n = 0;

    push_ancestors(&spared);
    procs_push_all(&all);
    find_sessions(&all, &spared, mark, &sessions);
    for (size_t i = 0; sessions.n > 0 && i < all.n; i++) {
        pid_t pid = all.v[i].pid;

        if (holds(&spared, pid) || !procs_stat(pid, &st) || !procs_alive(&st) ||
            !holds(&sessions, st.session) || is_kept(pid))
            continue;
        n++;
        if (tell)
            log_warn("worker.orphan", "pid=%d session=%d", (int)pid,
                     (int)st.session);
        (void)kill(pid, SIGKILL);
    }
    mem_free(all.v);
    mem_free(spared.v);
    mem_free(sessions.v);
    return n;
}

int
orphans_kill(const char *mark, int64_t patience_ms)
{
    int64_t until = loop_now_ms() + patience_ms;
    bool tell = true;
    int n;

    while ((n = kill_once(mark, tell)) > 0 && loop_now_ms() < until) {
        tell = false;
        (void)poll(NULL, 0, CHECK_MS);
    }
    return n;
}
