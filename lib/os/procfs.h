/*
 * procfs - what /proc says about processes.
 *
 * All of it is true at the moment of reading: a number may belong to another
 * process by the time it is used, which (pid, started) together tells.
 *
 * Thread: any.
 */
#ifndef LIB_OS_PROCFS_H
#define LIB_OS_PROCFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Of /proc/<pid>/stat. */
struct procfs_stat {
    char state;
    pid_t parent, group, session;
    int threads;
    uint64_t started; /* ticks since boot */
};

/* False if there is no such process. */
bool procfs_stat(pid_t pid, struct procfs_stat *st);
/* A leader that has ended while other threads run is a zombie by name only. */
bool procfs_alive(const struct procfs_stat *st);
/* Now, on the clock of started. */
uint64_t procfs_ticks(void);

enum procfs_env {
    PROCFS_ENV_LACKS,
    PROCFS_ENV_HOLDS,
    PROCFS_ENV_UNREADY, /* pid is just executing a program: ask again */
};

/* Whether the environment pid was started with holds entry ("KEY=value").
 * Where it may not be read, as another user's, it lacks it. */
enum procfs_env procfs_env(pid_t pid, const char *entry);

/* Processes, as a stack or a list; zeroed is empty, v is freed by mem_free. */
struct procfs_node {
    pid_t pid;
    bool ours; /* for the caller */
};

struct procfs_list {
    struct procfs_node *v;
    size_t n, cap;
};

void procfs_push(struct procfs_list *l, pid_t pid, bool ours);
/* Adds the children of pid, of all its threads. lists: the kernel keeps lists
 * of children (/proc/<pid>/task/<tid>/children); else everybody is asked. */
void procfs_push_children(struct procfs_list *l, pid_t pid, bool ours,
                          bool lists);
/* Adds every process there is. */
void procfs_push_all(struct procfs_list *l);

#endif
