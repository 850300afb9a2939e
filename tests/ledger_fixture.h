/*
 * ledger_fixture - a database with what answers questions from it, without a
 * broker.
 */
#ifndef TESTS_LEDGER_FIXTURE_H
#define TESTS_LEDGER_FIXTURE_H

#include "reaper/query/query.h"

#include "lib/model/codec.h"
#include "reaper/ingest/fold.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { SMALL_BYTES = 8192 };

/* A ledger of its own, without a broker. */
struct ledger_fixture {
    char dir[64];
    struct db *db;
    struct presence *presence;
    struct query *query;
    struct mem_pool *pool;
};

static inline int
open_ledger(void **state)
{
    struct ledger_fixture *l = MEM_NEW(struct ledger_fixture);
    char path[96];
    struct err e = {0};

    (void)str_copy(l->dir, sizeof l->dir, "/tmp/shunt-query-XXXXXX");
    assert_non_null(mkdtemp(l->dir));
    (void)snprintf(path, sizeof path, "%s/ledger.db", l->dir);
    l->pool = mem_pool_new();
    if (db_open(&l->db, path, true, &e) < 0 ||
        presence_open(&l->presence, NULL, &e) < 0 ||
        query_open(&l->query,
                   &(struct query_parts){.db = l->db,
                                         .presence = l->presence,
                                         .max_bytes = SMALL_BYTES},
                   &e) < 0)
        fail_msg("%s", e.msg);
    *state = l;
    return 0;
}

static inline int
close_ledger(void **state)
{
    static const char *const files[] = {"ledger.db", "ledger.db-wal",
                                        "ledger.db-shm", "ledger.db.lock"};
    struct ledger_fixture *l = *state;
    char path[128];

    query_close(l->query);
    presence_close(l->presence);
    db_close(l->db);
    mem_pool_free(l->pool);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", l->dir, files[i]);
        (void)unlink(path);
    }
    assert_int_equal(rmdir(l->dir), 0);
    mem_free(l);
    return 0;
}

static inline struct bytes
encoded(struct ledger_fixture *l, enum codec_type type, const void *msg)
{
    struct str s = {0};
    struct bytes b;

    codec_encode(type, msg, &s);
    b = (struct bytes){
        (const uint8_t *)mem_pool_strndup(l->pool, str_text(&s), s.len), s.len};
    str_free(&s);
    return b;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_ledger, close_ledger)

#endif
