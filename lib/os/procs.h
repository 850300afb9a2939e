/*
 * procs - what the system says about processes.
 *
 * All of it is true at the moment of reading: a pid may belong to another
 * process by the time it is used, which `started` tells.
 *
 * Thread: any.
 */
#ifndef LIB_OS_PROCS_H
#define LIB_OS_PROCS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { PROCS_NAME_SIZE = 64 };

struct procs_stat {
    char name[PROCS_NAME_SIZE]; /* of the program, perhaps cut */
    char state;
    pid_t parent, group, session;
    int threads;
    uint64_t started; /* ticks since boot */
};

/* False if there is no such process. */
bool procs_stat(pid_t pid, struct procs_stat *st);
/* Also true of a zombie whose other threads still run. */
bool procs_alive(const struct procs_stat *st);
/* The time now, on the clock of `started`. */
uint64_t procs_ticks(void);

enum procs_env {
    PROCS_ENV_LACKS,
    PROCS_ENV_HOLDS,
    PROCS_ENV_UNREADY, /* pid is just executing a program: try again */
};

/* Whether the environment pid was started with holds entry ("KEY=value").
 * An environment that may not be read, as another user's, lacks it. */
enum procs_env procs_env(pid_t pid, const char *entry);

/* Processes, as a stack or a list; zeroed is empty, v is freed by mem_free. */
struct procs_node {
    pid_t pid;
    bool ours; /* for the caller */
};

struct procs_list {
    struct procs_node *v;
    size_t n, cap;
};

void procs_push(struct procs_list *l, pid_t pid, bool ours);
/* Adds the children of pid, of all its threads. lists: the kernel has lists of
 * children (/proc/<pid>/task/<tid>/children); otherwise all processes are
 * searched. */
void procs_push_children(struct procs_list *l, pid_t pid, bool ours,
                         bool lists);
/* Adds every process there is. */
void procs_push_all(struct procs_list *l);

#endif
