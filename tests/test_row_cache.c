#include "lib/base/str.h"
#include "reaper/ingest/row_cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct row_cache_fixture {
    char dir[64], path[96];
    struct db *db;
    struct row_cache *cache;
    struct mem_pool *pool;
};

static int
open_fixture(void **state)
{
    struct row_cache_fixture *f = MEM_NEW(struct row_cache_fixture);
    struct err e;

    (void)snprintf(f->dir, sizeof f->dir, "/tmp/shunt-rows-XXXXXX");
    if (!mkdtemp(f->dir))
        return -1;
    (void)snprintf(f->path, sizeof f->path, "%s/ledger.db", f->dir);
    f->pool = mem_pool_new();
    *state = f;
    if (db_open(&f->db, f->path, true, &e) < 0)
        return -1;
    f->cache = row_cache_new(f->db);
    return 0;
}

static int
close_fixture(void **state)
{
    static const char *const endings[] = {"", ".lock", "-wal", "-shm"};
    struct row_cache_fixture *f = *state;
    char path[128];

    row_cache_free(f->cache);
    db_close(f->db);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        (void)snprintf(path, sizeof path, "%s%s", f->path, endings[i]);
        (void)unlink(path);
    }
    (void)rmdir(f->dir);
    mem_pool_free(f->pool);
    mem_free(f);
    return 0;
}

static void
begin(struct row_cache_fixture *f)
{
    struct err e;

    assert_int_equal(db_begin(f->db, &e), 0);
    row_cache_begin(f->cache);
}

static void
commit(struct row_cache_fixture *f)
{
    struct err e;

    assert_int_equal(row_cache_write(f->cache, &e), 0);
    assert_int_equal(db_commit(f->db, &e), 0);
}

static struct cached_row *
row_of(struct row_cache_fixture *f, const char *id)
{
    struct cached_row *r = NULL;
    struct err e;

    assert_int_equal(row_cache_row(f->cache, id, &r, &e), 0);
    return r;
}

/* Takes a row from where it is to an end. */
static void
end(struct row_cache_fixture *f, const char *id, uint64_t fence)
{
    struct cached_row *r = row_of(f, id);
    struct cached_attempt *a;
    struct err e;

    r->row.batch = "b1";
    r->row.state = STATE_SUCCEEDED;
    r->row.task_from = TASK_FROM_ACCEPTED;
    r->row.attempts = r->row.finals = 1;
    r->changed_by |= 1u << EVENT_RESULT;
    assert_int_equal(row_cache_attempt(f->cache, r, 1, fence, &a, &e), 0);
    assert_false(a->attempt.known);
    a->changed = a->attempt.known = true;
}

static void
add(void *ctx, const char *scope, const char *name, int64_t value)
{
    if (!*scope && strcmp(name, "tasks") == 0)
        *(int64_t *)ctx = value;
}

static void
rows_are_written_once_in_the_order_of_first_sight(void **state)
{
    struct row_cache_fixture *f = *state;
    struct task_state got;
    struct batch_state b;
    struct attempt_row a;
    int64_t n, tasks = 0;
    struct err e;

    begin(f);
    row_of(f, "t1")->changed_by |= 1u << EVENT_ACCEPTED;
    end(f, "t2", 5);
    end(f, "t1", 6);
    assert_ptr_equal(row_of(f, "t1"), row_of(f, "t1"));
    (void)row_of(f, "untouched");
    assert_int_equal(db_task(f->db, "t1", f->pool, &got, &e), 0);
    commit(f);
    assert_true(row_cache_changes(f->cache)->schedule);
    assert_int_equal(row_cache_changes(f->cache)->n_batches, 1);
    assert_int_equal(db_task(f->db, "untouched", f->pool, &got, &e), 0);
    assert_int_equal(db_task(f->db, "t1", f->pool, &got, &e), 1);
    assert_int_equal(got.n, 1);
    n = got.n;
    assert_int_equal(db_attempt(f->db, n, 1, 6, f->pool, &a, &e), 0);
    assert_true(a.known);
    assert_int_equal(db_batch(f->db, "b1", f->pool, &b, &e), 1);
    assert_int_equal(b.b.succeeded, 2);
    assert_int_equal(db_counters(f->db, add, &tasks, &e), 0);
    assert_int_equal(tasks, 2);
}

static void
a_recorded_attempt_is_found_again(void **state)
{
    struct row_cache_fixture *f = *state;
    struct cached_attempt *a;
    struct err e;

    begin(f);
    end(f, "t1", 6);
    commit(f);
    begin(f);
    assert_int_equal(row_cache_attempt(f->cache, row_of(f, "t1"), 1, 6, &a, &e),
                     0);
    assert_true(a->attempt.known);
    assert_int_equal(row_cache_attempt(f->cache, row_of(f, "t1"), 2, 7, &a, &e),
                     0);
    assert_false(a->attempt.known);
    commit(f);
}

/* What is too much for the memory goes out before the commit; the sums are
 * those of a single write. */
static void
a_full_cache_may_be_written_in_between(void **state)
{
    struct row_cache_fixture *f = *state;
    struct batch_state b;
    int64_t tasks = 0;
    struct err e;

    begin(f);
    end(f, "t1", 1);
    assert_false(row_cache_is_full(f->cache));
    (void)mem_pool_alloc(row_cache_pool(f->cache), 3 * 1024 * 1024);
    assert_true(row_cache_is_full(f->cache));
    assert_int_equal(row_cache_write(f->cache, &e), 0);
    assert_false(row_cache_is_full(f->cache));
    assert_int_equal(row_of(f, "t1")->row.state, STATE_SUCCEEDED);
    end(f, "t2", 2);
    commit(f);
    assert_int_equal(row_cache_changes(f->cache)->n_batches, 1);
    assert_int_equal(db_batch(f->db, "b1", f->pool, &b, &e), 1);
    assert_int_equal(b.b.accepted, 2);
    assert_int_equal(db_counters(f->db, add, &tasks, &e), 0);
    assert_int_equal(tasks, 2);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, open_fixture, close_fixture)
    const struct CMUnitTest tests[] = {
        TEST(rows_are_written_once_in_the_order_of_first_sight),
        TEST(a_recorded_attempt_is_found_again),
        TEST(a_full_cache_may_be_written_in_between),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
