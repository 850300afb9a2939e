/*
 * Opens the ledger's SQLite file, brings its schema up to date, keeps the
 * statements that were prepared, and runs transactions.
 *
 * A lock file beside the database keeps a second process out. Counters are
 * collected in memory and written by db_commit, each of them once.
 */
#include "reaper/db/db_private.h"

#include "lib/base/log.h"
#include "lib/base/str.h"
#include "lib/os/file.h"
#include "lib/os/lock_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUSY_MS = 2000 };

/* --- statements ----------------------------------------------------------- */

/* What went wrong, for whoever runs the reaper; NULL: a mistake of ours, of
 * which only SQLite's words tell. */
static const char *
reason(const struct db *db)
{
    /* Without a handle there was no memory for one. */
    int code = db->handle ? sqlite3_errcode(db->handle) : SQLITE_NOMEM;

    switch (code & 0xff) { /* SQLite adds values */
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return "the file is damaged, or is no database: move it away, and the "
               "ledger is built again from the streams";
    case SQLITE_FULL:
        return "the disk is full";
    case SQLITE_IOERR:
        return "the disk reports an error";
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return "the file may not be written: look at its owner and its disk";
    case SQLITE_CANTOPEN:
        return "the file cannot be opened: look at its folder's owner";
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return "another program has it locked";
    case SQLITE_NOMEM:
        return "not enough memory";
    default:
        return NULL;
    }
}

int
db_fail(struct db *db, const char *what, struct err *e)
{
    const char *why = reason(db);

    return err_set(e, ERR_UNAVAILABLE, "ledger database: %s: %s", what,
                   why ? why : sqlite3_errmsg(db->handle));
}

sqlite3_stmt *
db_sql(struct db *db, const char *sql)
{
    struct db_statement *s;
    sqlite3_stmt *q = NULL;

    for (size_t i = 0; i < db->n_statements; i++)
        if (db->statements[i].sql == sql)
            return db->statements[i].q;
    if (sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &q,
                           NULL) != SQLITE_OK)
        return NULL;
    db->statements = mem_grow(db->statements, db->n_statements,
                              &db->cap_statements, sizeof *s);
    s = &db->statements[db->n_statements++];
    *s = (struct db_statement){sql, q};
    return q;
}

void
db_done(sqlite3_stmt *q)
{
    (void)sqlite3_reset(q);
    if (q)
        (void)sqlite3_clear_bindings(q);
}

int
db_step(struct db *db, sqlite3_stmt *q, struct err *e)
{
    int rc = sqlite3_step(q);
    const char *why;

    if (rc == SQLITE_ROW)
        return 1;
    if (rc == SQLITE_DONE)
        return 0;
    if ((why = reason(db)))
        return err_set(e, ERR_UNAVAILABLE, "ledger database: %s", why);
    /* SQLite's reason comes first: the text of a statement is long. */
    return err_set(e, ERR_UNAVAILABLE, "ledger database: %s (%.40s...)",
                   sqlite3_errmsg(db->handle), q ? sqlite3_sql(q) : "");
}

int
db_run(struct db *db, sqlite3_stmt *q, struct err *e)
{
    int rc = db_step(db, q, e);

    db_done(q);
    return rc < 0 ? -1 : 0;
}

/* Binding fails only for want of memory or a wrong index; the step that
 * follows then meets NULL where the schema or the reader does not mind. */
void
db_bind_int(sqlite3_stmt *q, int at, int64_t v)
{
    (void)sqlite3_bind_int64(q, at, v);
}

void
db_bind_text(sqlite3_stmt *q, int at, const char *v)
{
    (void)sqlite3_bind_text(q, at, v, -1, SQLITE_STATIC);
}

int
db_number(struct db *db, sqlite3_stmt *q, int64_t *out, struct err *e)
{
    int rc = db_step(db, q, e);

    *out = rc > 0 ? sqlite3_column_int64(q, 0) : 0;
    db_done(q);
    return rc < 0 ? -1 : 0;
}

void
db_copy_text(sqlite3_stmt *q, int at, char *out, size_t size)
{
    const char *text = (const char *)sqlite3_column_text(q, at);

    (void)str_copy(out, size, text ? text : "");
}

/* --- opening -------------------------------------------------------------- */

/* Makes the folder, if need be, and locks the database in it. */
static int
take_lock(struct db *db, const char *path, struct err *e)
{
    char name[4096], *slash;
    pid_t holder = 0;

    if (snprintf(name, sizeof name, "%s.lock", path) >= (int)sizeof name)
        return err_set(e, ERR_INVALID, "reaper.database: path too long");
    slash = strrchr(name, '/');
    if (slash && slash != name) {
        *slash = '\0';
        if (file_make_dirs(name, 0700) < 0)
            return err_set(e, ERR_DENIED, "make folder %s: %s", name,
                           strerror(errno));
        *slash = '/';
    }
    db->lock = lock_file_take(name, 0, &holder);
    if (db->lock >= 0)
        return 0;
    if (errno != EWOULDBLOCK)
        return err_set(e, ERR_DENIED, "lock %s: %s", name, strerror(errno));
    return err_set(e, ERR_CONFLICT,
                   "another reaper has the ledger %s open; stop it, or "
                   "give this one its own reaper.database",
                   path);
}

static int
exec(struct db *db, const char *text, struct err *e)
{
    if (sqlite3_exec(db->handle, text, NULL, NULL, NULL) != SQLITE_OK)
        return db_fail(db, "set up", e);
    return 0;
}

static int
migrate(struct db *db, struct err *e)
{
    char pragma[64];
    int64_t version;
    int newest = 0;

    while (db_migrations[newest])
        newest++;
    if (db_number(db, db_sql(db, "PRAGMA user_version"), &version, e) < 0)
        return -1;
    if (version > newest)
        return err_set(e, ERR_INVALID,
                       "the ledger has schema %d, this program knows %d: it "
                       "was written by a newer shunt",
                       (int)version, newest);
    for (; version < newest; version++) {
        (void)snprintf(pragma, sizeof pragma,
                       "PRAGMA user_version = %d; COMMIT;", (int)version + 1);
        if (exec(db, "BEGIN IMMEDIATE", e) < 0 ||
            exec(db, db_migrations[version], e) < 0 || exec(db, pragma, e) < 0)
            return -1;
    }
    return 0;
}

int
db_open(struct db **out, const char *path, bool sync, struct err *e)
{
    struct db *db = MEM_NEW(struct db);
    mode_t mask;
    int rc;

    db->lock = -1;
    if (take_lock(db, path, e) < 0)
        goto fail;
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    mask = umask(0077); /* commands may hold what others should not read */
    rc = sqlite3_open_v2(
        path, &db->handle,
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc != SQLITE_OK) {
        (void)db_fail(db, "open", e);
    } else {
        (void)sqlite3_busy_timeout(db->handle, BUSY_MS);
        rc = exec(db,
                  "PRAGMA journal_mode = WAL;"
                  "PRAGMA cache_size = -2048; PRAGMA mmap_size = 0;"
                  "PRAGMA wal_autocheckpoint = 2000;"
                  "PRAGMA temp_store = MEMORY;"
                  "PRAGMA journal_size_limit = 8388608;",
                  e);
        if (rc == 0)
            rc = exec(db,
                      sync ? "PRAGMA synchronous = FULL"
                           : "PRAGMA synchronous = NORMAL",
                      e);
        if (rc == 0)
            rc = migrate(db, e);
    }
    (void)umask(mask);
    if (rc != 0) {
        (void)err_wrap(e, "%s", path);
        goto fail;
    }
    *out = db;
    return 0;
fail:
    db_close(db);
    return -1;
}

void
db_close(struct db *db)
{
    if (!db)
        return;
    for (size_t i = 0; i < db->n_statements; i++)
        (void)sqlite3_finalize(db->statements[i].q);
    mem_free(db->statements);
    (void)sqlite3_close(db->handle);
    if (db->lock >= 0)
        (void)close(db->lock);
    mem_free(db->counts);
    mem_free(db);
}

/* --- transactions --------------------------------------------------------- */

int
db_begin(struct db *db, struct err *e)
{
    sqlite3_stmt *q = db_sql(db, "BEGIN IMMEDIATE");

    db->n_counts = 0;
    return db_run(db, q, e);
}

void
db_count(void *ctx, const char *scope, const char *name, int64_t delta)
{
    struct db *db = ctx;
    struct db_delta *d;

    for (size_t i = 0; i < db->n_counts; i++) {
        d = &db->counts[i];
        if (strcmp(d->name, name) == 0 && strcmp(d->scope, scope) == 0) {
            d->delta += delta;
            return;
        }
    }
    db->counts =
        mem_grow(db->counts, db->n_counts, &db->cap_counts, sizeof *db->counts);
    d = &db->counts[db->n_counts++];
    (void)snprintf(d->scope, sizeof d->scope, "%s", scope);
    (void)snprintf(d->name, sizeof d->name, "%s", name);
    d->delta = delta;
}

int
db_commit(struct db *db, struct err *e)
{
    sqlite3_stmt *q = db_sql(
        db, "INSERT INTO counters(scope, name, value) VALUES(?1, ?2, ?3) "
            "ON CONFLICT(scope, name) DO UPDATE SET value = value + ?3");

    for (size_t i = 0; i < db->n_counts; i++) {
        if (!db->counts[i].delta)
            continue;
        db_bind_text(q, 1, db->counts[i].scope);
        db_bind_text(q, 2, db->counts[i].name);
        db_bind_int(q, 3, db->counts[i].delta);
        if (db_run(db, q, e) < 0)
            return -1;
    }
    db->n_counts = 0;
    return db_run(db, db_sql(db, "COMMIT"), e);
}

void
db_rollback(struct db *db)
{
    sqlite3_stmt *q = db_sql(db, "ROLLBACK");
    struct err e;

    db->n_counts = 0;
    if (!sqlite3_get_autocommit(db->handle))
        (void)db_run(db, q, &e);
}

void
db_give_up(struct db *db, struct loop *l, const struct err *e)
{
    db_rollback(db);
    log_error("reaper.store", "error=\"%s\"", LOG_TEXT(e->msg));
    loop_stop(l, 1);
}

void
db_idle(struct db *db)
{
    /* The next commit meets a failure again and returns it. */
    (void)sqlite3_wal_checkpoint_v2(db->handle, NULL, SQLITE_CHECKPOINT_PASSIVE,
                                    NULL, NULL);
    (void)sqlite3_db_release_memory(db->handle);
}
