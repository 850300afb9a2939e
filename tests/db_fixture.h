/*
 * db_fixture - a database of the ledger in a folder of its own.
 *
 * For one test program: it has its own copy of everything.
 */
#ifndef TESTS_DB_FIXTURE_H
#define TESTS_DB_FIXTURE_H

#include "lib/base/str.h"
#include "reaper/db/db.h"
#include "tests/folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    char dir[64], path[96];
    struct store *store;
    struct mem_pool *pool;
};

static inline int
open_fixture(void **state)
{
    struct fixture *f = MEM_NEW(struct fixture);
    struct err e;

    (void)snprintf(f->dir, sizeof f->dir, "/tmp/shunt-store-XXXXXX");
    if (!mkdtemp(f->dir))
        return -1;
    (void)snprintf(f->path, sizeof f->path, "%s/deep/er/ledger.db", f->dir);
    f->pool = mem_pool_new();
    *state = f;
    return store_open(&f->store, f->path, true, &e);
}

static inline int
close_fixture(void **state)
{
    struct fixture *f = *state;

    store_close(f->store);
    mem_pool_free(f->pool);
    (void)folder_remove(f->dir);
    mem_free(f);
    return 0;
}

static inline void
reopen(struct fixture *f)
{
    struct err e = {0};

    store_close(f->store);
    f->store = NULL;
    if (store_open(&f->store, f->path, true, &e) < 0)
        print_error("%s\n", e.msg);
    assert_non_null(f->store);
}

static inline void
begin(struct fixture *f)
{
    struct err e;

    assert_int_equal(store_begin(f->store, &e), 0);
}

static inline void
commit(struct fixture *f)
{
    struct err e;

    assert_int_equal(store_commit(f->store, &e), 0);
}

static inline int64_t
put(struct fixture *f, const char *id, const char *name, enum state state)
{
    struct task_state row;
    struct err e;

    fold_init(&row, id);
    row.name = name;
    row.state = state;
    assert_int_equal(store_put_task(f->store, &row, STORE_WHOLE, &e), 0);
    assert_true(row.n > 0);
    return row.n;
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, open_fixture, close_fixture)

#endif
