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

struct db_fixture {
    char dir[64], path[96];
    struct db *db;
    struct mem_pool *pool;
};

static inline int
open_fixture(void **state)
{
    struct db_fixture *f = MEM_NEW(struct db_fixture);
    struct err e;

    (void)snprintf(f->dir, sizeof f->dir, "/tmp/shunt-db-XXXXXX");
    if (!mkdtemp(f->dir))
        return -1;
    (void)snprintf(f->path, sizeof f->path, "%s/deep/er/ledger.db", f->dir);
    f->pool = mem_pool_new();
    *state = f;
    return db_open(&f->db, f->path, true, &e);
}

static inline int
close_fixture(void **state)
{
    struct db_fixture *f = *state;

    db_close(f->db);
    mem_pool_free(f->pool);
    (void)folder_remove(f->dir);
    mem_free(f);
    return 0;
}

static inline void
reopen(struct db_fixture *f)
{
    struct err e = {0};

    db_close(f->db);
    f->db = NULL;
    if (db_open(&f->db, f->path, true, &e) < 0)
        print_error("%s\n", e.msg);
    assert_non_null(f->db);
}

static inline void
begin(struct db_fixture *f)
{
    struct err e;

    assert_int_equal(db_begin(f->db, &e), 0);
}

static inline void
commit(struct db_fixture *f)
{
    struct err e;

    assert_int_equal(db_commit(f->db, &e), 0);
}

static inline int64_t
put(struct db_fixture *f, const char *id, const char *name, enum state state)
{
    struct task_state row;
    struct err e;

    fold_init(&row, id);
    row.name = name;
    row.state = state;
    assert_int_equal(db_put_task(f->db, &row, DB_WHOLE, &e), 0);
    assert_true(row.n > 0);
    return row.n;
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, open_fixture, close_fixture)

#endif
