/*
 * ledger - how many tasks a bare SQLite table takes per second.
 *
 * usage: ledger [-n COUNT] [-s BATCH] FILE
 *
 * Each task is three statements, as in the ledger: a row for its submission,
 * an update when it is routed, an update when it has ended. BATCH of them
 * (default 512) share a transaction. The database is FILE, made anew and left
 * there, with the settings of reaper/db/db.c: a write-ahead log, and every
 * commit on the disk. It is the limit the ledger is held against.
 *
 * Writes   "rate <tasks per second>"
 * Exit     0, 1 something did not work, 2 usage
 */
#include "bench/bench.h"

#include <err.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    TASK_BYTES = 200,   /* of a submission */
    RESULT_BYTES = 150, /* of a decision, and of a result */
    MAX_COUNT = 10000000,
    MAX_BATCH = 100000,
    TEXT_SIZE = 32,
};

static sqlite3 *db;

static void
must(int rc, int wanted)
{
    if (rc != wanted)
        errx(1, "sqlite: %s", sqlite3_errmsg(db));
}

static void
run(const char *sql)
{
    must(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
}

static sqlite3_stmt *
prepare(const char *sql)
{
    sqlite3_stmt *q = NULL;

    must(sqlite3_prepare_v2(db, sql, -1, &q, NULL), SQLITE_OK);
    return q;
}

/* Runs q for task i with size bytes beside its id. */
static void
enter(sqlite3_stmt *q, int i, int size)
{
    static char bytes[TASK_BYTES];
    char id[TEXT_SIZE];

    (void)snprintf(id, sizeof id, "bench-%010d", i);
    memset(bytes, 'x', sizeof bytes);
    must(sqlite3_bind_text(q, 1, id, -1, SQLITE_TRANSIENT), SQLITE_OK);
    must(sqlite3_bind_blob(q, 2, bytes, size, SQLITE_STATIC), SQLITE_OK);
    must(sqlite3_step(q), SQLITE_DONE);
    must(sqlite3_reset(q), SQLITE_OK);
}

static void
open_new(const char *file)
{
    if (unlink(file) == 0)
        warnx("%s was there and is made anew", file);
    must(sqlite3_open(file, &db), SQLITE_OK);
    run("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
        "PRAGMA cache_size = -1024; PRAGMA mmap_size = 0;"
        "PRAGMA temp_store = MEMORY; PRAGMA journal_size_limit = 8388608;"
        "CREATE TABLE tasks (n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,"
        " state TEXT NOT NULL, task BLOB, decision BLOB, result BLOB);");
}

/* Enters count tasks, three statements each. */
static void
enter_all(int count, int batch)
{
    static const int size[] = {TASK_BYTES, RESULT_BYTES, RESULT_BYTES};
    sqlite3_stmt *q[] = {
        prepare("INSERT INTO tasks (id, state, task) "
                "VALUES (?1, 'accepted', ?2)"),
        prepare("UPDATE tasks SET state = 'routed', decision = ?2 "
                "WHERE id = ?1"),
        prepare("UPDATE tasks SET state = 'succeeded', result = ?2 "
                "WHERE id = ?1"),
    };
    int in_hand = 0;

    run("BEGIN");
    for (int first = 0; first < count; first += batch) {
        for (size_t k = 0; k < sizeof q / sizeof *q; k++) {
            for (int i = first; i < first + batch && i < count; i++) {
                enter(q[k], i, size[k]);
                if (++in_hand < batch)
                    continue;
                run("COMMIT; BEGIN");
                in_hand = 0;
            }
        }
    }
    run("COMMIT");
    for (size_t k = 0; k < sizeof q / sizeof *q; k++)
        must(sqlite3_finalize(q[k]), SQLITE_OK);
}

int
main(int argc, char **argv)
{
    int opt, count = 20000, batch = 512;
    int64_t begin;

    while ((opt = getopt(argc, argv, "n:s:")) != -1) {
        switch (opt) {
        case 'n':
            count = bench_number(optarg, 1, MAX_COUNT);
            break;
        case 's':
            batch = bench_number(optarg, 1, MAX_BATCH);
            break;
        default:
            return 2;
        }
    }
    if (optind != argc - 1)
        errx(2, "one file");
    open_new(argv[optind]);
    begin = bench_now_ns();
    enter_all(count, batch);
    bench_print_rate(count, bench_now_ns() - begin);
    must(sqlite3_close(db), SQLITE_OK);
    return 0;
}
