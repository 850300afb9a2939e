/*
 * formats_fixture - a pool for each test, texts that must be accepted, and
 * texts that must be refused in certain words.
 */
#ifndef TESTS_FORMATS_FIXTURE_H
#define TESTS_FORMATS_FIXTURE_H

#include "gateways/formats/formats.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct mem_pool *pool;

static inline int
new_pool(void **state)
{
    (void)state;
    pool = mem_pool_new();
    return 0;
}

static inline int
free_pool(void **state)
{
    (void)state;
    mem_pool_free(pool);
    return 0;
}

#define POOLED(f) cmocka_unit_test_setup_teardown(f, new_pool, free_pool)

static inline int
read_as(const char *name, const char *text, struct import *in, struct err *e)
{
    *e = (struct err){0};
    return formats_read(name, text, strlen(text), pool, in, e);
}

static inline const struct task *
accept_as(const char *name, const char *text, struct import *in)
{
    struct err e;

    if (read_as(name, text, in, &e) < 0)
        fail_msg("%s", e.msg);
    assert_true(in->n_tasks > 0);
    for (size_t i = 0; i < in->n_tasks; i++) {
        assert_int_equal(task_check(&in->tasks[i], &e), 0);
        assert_string_equal(in->tasks[i].format, in->format);
    }
    return in->tasks;
}

static inline void
refuse_as(const char *name, const char *text, const char *want)
{
    struct import in;
    struct err e;

    if (read_as(name, text, &in, &e) == 0)
        fail_msg("accepted:\n%s", text);
    assert_int_equal(e.code, ERR_INVALID);
    if (strcmp(e.msg, want) != 0)
        fail_msg("\n%s\ninstead of\n%s", e.msg, want);
    assert_int_equal(in.n_tasks, 0);
}

/* The warnings are these, and no more; the list ends with NULL. */
static inline void
expect_warnings(const struct import *in, const char *const *want)
{
    size_t i = 0;

    for (; want[i]; i++) {
        if (i == in->n_warnings)
            fail_msg("missing: %s", want[i]);
        assert_string_equal(in->warnings[i], want[i]);
    }
    if (i < in->n_warnings)
        fail_msg("too much: %s", in->warnings[i]);
}

#define WARNINGS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Reads a file of tests/data/examples. */
static inline const struct task *
accept_example(const char *file, struct import *in)
{
    char path[128], *text = mem_pool_alloc(pool, 64 * 1024);
    FILE *f;
    size_t len;

    (void)snprintf(path, sizeof path, "tests/data/examples/%s", file);
    f = fopen(path, "rb");
    if (!f)
        fail_msg("%s: cannot be read", path);
    len = fread(text, 1, 64 * 1024 - 1, f);
    text[len] = '\0';
    assert_int_equal(fclose(f), 0);
    return accept_as(file, text, in);
}

/* The same text with CRLF for LF, and a BOM in front. */
static inline const char *
as_dos(const char *text)
{
    char *out = mem_pool_alloc(pool, 2 * strlen(text) + 4), *p = out;

    memcpy(p, "\xef\xbb\xbf", 3);
    for (p += 3; *text; text++) {
        if (*text == '\n')
            *p++ = '\r';
        *p++ = *text;
    }
    return out;
}

#endif
