/*
 * fake_server - starts a stand-in of tests/fake for a C test and ends it.
 */
#ifndef TESTS_FAKE_SERVER_H
#define TESTS_FAKE_SERVER_H

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <setjmp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

extern char **environ;

struct fake_server {
    pid_t pid;
    int in; /* it ends when this is closed */
    char url[64];
};

/* The programs lie beside this one's folder: build/tests/fake/NAME. */
static inline void
fake_start(struct fake_server *s, const char *name)
{
    char self[4096], path[4200], line[64] = "";
    int in[2], out[2];
    posix_spawn_file_actions_t acts;
    char *argv[] = {path, NULL};
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    unsigned port = 0;
    FILE *f;

    assert_true(n > 0);
    self[n] = '\0';
    (void)snprintf(path, sizeof path, "%s/fake/%s", dirname(self), name);
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    (void)posix_spawn_file_actions_init(&acts);
    (void)posix_spawn_file_actions_adddup2(&acts, in[0], 0);
    (void)posix_spawn_file_actions_adddup2(&acts, out[1], 1);
    assert_int_equal(posix_spawn(&s->pid, path, &acts, NULL, argv, environ), 0);
    (void)posix_spawn_file_actions_destroy(&acts);
    (void)close(in[0]);
    (void)close(out[1]);
    s->in = in[1];
    f = fdopen(out[0], "r");
    assert_non_null(fgets(line, sizeof line, f));
    assert_int_equal(sscanf(line, "port %u", &port), 1);
    (void)fclose(f);
    (void)snprintf(s->url, sizeof s->url, "http://127.0.0.1:%u", port);
}

static inline void
fake_stop(struct fake_server *s)
{
    (void)close(s->in);
    (void)waitpid(s->pid, NULL, 0);
}

#endif
