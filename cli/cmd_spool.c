/*
 * The command spool: lists, sends and removes submissions that no broker has
 * stored yet. Those for the fleet of this machine are in spool/ of its state
 * folder, those for another broker in a folder below that, which names it.
 */
#include "cli/commands.h"
#include "cli/output.h"
#include "lib/model/codec.h"
#include "lib/submit/spool.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { CONNECT_MS = 2000, NAMES_MOST = 10000 };

typedef void spool_file_fn(void *ctx, const char *dir, const char *name,
                           const char *broker);

/* Calls fn for each file of a folder. */
static void
each_file(const char *dir, const char *broker, spool_file_fn *fn, void *ctx)
{
    struct dirent *entry;
    char name[TASK_ID_SIZE];
    DIR *d = opendir(dir);
    size_t n = 0;

    while (d && n < NAMES_MOST && (entry = readdir(d))) {
        size_t len = strlen(entry->d_name);

        if (len <= 5 || strcmp(entry->d_name + len - 5, ".task") != 0 ||
            len - 5 >= sizeof name)
            continue;
        memcpy(name, entry->d_name, len - 5);
        name[len - 5] = '\0';
        fn(ctx, dir, name, broker);
        n++;
    }
    if (d)
        (void)closedir(d);
}

struct every_file {
    spool_file_fn *fn;
    void *ctx;
};

static void
on_dir(void *ctx, const char *dir, const char *broker)
{
    const struct every_file *all = ctx;

    each_file(dir, broker, all->fn, all->ctx);
}

/* --- ls ------------------------------------------------------------------- */

static const struct out_column columns[] = {
    {"FILE", "file", NULL, 0, false},   {"TASKS", "tasks", NULL, 0, true},
    {"NAME", "name", NULL, 1, false},   {"BROKER", "broker", NULL, 0, false},
    {"SINCE", "since", NULL, 2, false},
};

/* The name of the first task of a file; "" if another process sends it. */
static size_t
look_into(const char *dir, const char *name, char *title, size_t size)
{
    struct mem_pool *pool = mem_pool_new();
    struct spool_file *f = NULL;
    const uint8_t *data;
    size_t at = 0, len, n = 0;
    struct task t;
    struct err e;

    *title = '\0';
    if (spool_take(&f, dir, name, &e) == 0) {
        n = spool_count(f);
        if (spool_next(f, &at, &data, &len) &&
            codec_decode(CODEC_TASK, data, len, pool, &t, &e) == 0)
            (void)str_copy(title, size, t.name);
    }
    spool_close(f);
    mem_pool_free(pool);
    return n;
}

static void
add_row(void *ctx, const char *dir, const char *name, const char *broker)
{
    char title[256], since[32] = "", path[FLEET_DIR_PATH + 64];
    size_t n = look_into(dir, name, title, sizeof title);
    struct stat st;

    (void)snprintf(path, sizeof path, "%s/%s.task", dir, name);
    if (stat(path, &st) < 0)
        return; /* it has been sent */
    (void)str_time((int64_t)st.st_mtime * 1000, since, sizeof since);
    (void)json_array_append_new(
        ctx, json_pack("{s:s, s:I, s:s, s:s, s:s}", "file", name, "tasks",
                       (json_int_t)n, "name", title, "broker", broker, "since",
                       since));
}

static int
spool_ls(struct cli *c)
{
    json_t *rows = json_array();
    struct every_file all = {add_row, rows};

    cli_each_spool(c, on_dir, &all);
    if (c->json)
        out_object("spool", json_pack("{s:o}", "files", rows));
    else {
        OUT_TABLE(rows, columns);
        json_decref(rows);
    }
    return RC_OK;
}

/* --- rm ------------------------------------------------------------------- */

struct spool_removal {
    const char *name;
    bool found, sent; /* by another process, just now */
};

static void
remove_file(void *ctx, const char *dir, const char *name, const char *broker)
{
    struct spool_removal *r = ctx;
    struct spool_file *f = NULL;
    struct err e;

    (void)broker;
    if (strcmp(name, r->name) != 0)
        return;
    r->found = true;
    if (spool_take(&f, dir, name, &e) < 0)
        r->sent = e.code != ERR_INVALID;
    else
        spool_remove(f);
    spool_close(f);
}

static int
spool_rm(struct cli *c, const struct args *a)
{
    for (size_t i = 1; i < a->n_words; i++) {
        struct spool_removal r = {.name = a->words[i]};
        struct every_file all = {remove_file, &r};

        cli_each_spool(c, on_dir, &all);
        if (!r.found)
            return cli_fail(RC_USAGE, "remove from the spool", r.name,
                            "there is no such file", "shunt spool ls");
        if (r.sent)
            return cli_fail(RC_FAILED, "remove from the spool", r.name,
                            "it is being sent, or has been", "shunt ls");
        cli_say(c, "removed %s: its tasks are not submitted", r.name);
    }
    return RC_OK;
}

/* --- send ----------------------------------------------------------------- */

static int
spool_send_all(struct cli *c)
{
    struct spool_backlog left;
    struct fleet_dir_path dir;
    int rc = cli_need_broker(c, CONNECT_MS);

    if (rc)
        return rc;
    cli_drain_spool(c);
    spool_look(cli_spool_dir(c, &dir), &left);
    if (left.files)
        return cli_fail(RC_PENDING, "send the spool", dir.s,
                        "not all of it is stored", "shunt spool ls");
    cli_say(c, "nothing is left for %s", bus_url(c->bus));
    return RC_OK;
}

int
cmd_spool(struct cli *c, const struct args *a)
{
    const char *verb = a->n_words ? a->words[0] : "";

    if (cli_is_ls(a))
        return spool_ls(c);
    if (strcmp(verb, "send") == 0 && a->n_words == 1)
        return spool_send_all(c);
    if (strcmp(verb, "rm") == 0 && a->n_words > 1)
        return spool_rm(c, a);
    return cli_usage(c, "use ls, send or rm FILE...");
}
