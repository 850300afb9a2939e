/*
 * A local worker writes the variables of its environment that travel to
 * environment.json: a task takes its own along only where they differ, which is
 * seldom. Without such a file this user has no worker here, and none would
 * apply them.
 */
#include "cli/submit_env.h"

#include "cli/task_builder.h"
#include "lib/base/conf.h"
#include "lib/base/mask.h"
#include "lib/base/session_vars.h"
#include "lib/model/subject.h"
#include "lib/os/os.h"
#include "lib/os/place.h"
#include "lib/submit/secret_file.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    WORKER_ENV_MAX = 1024 * 1024,
    VARIABLES_MAX = 1000,
    BYTES_MAX = 128 * 1024, /* of all variables of a task */
    CONNECT_MS = 3000,
    STORE_MS = 10000, /* for one piece of the input */
};

/* What --stdin sends, in the pool of the command. */
static struct {
    bool read;
    const uint8_t *data;
    size_t len;
} sent_input;

struct submit_section {
    char **env;
};

static const struct conf_opt options[] = {
    CONF_LIST(struct submit_section, env, "submit.env", "",
              "variables that tasks take along, as NAME or PREFIX_*"),
    CONF_END};

/* --- variables -------------------------------------------------------------
 */

/* Makes room for every variable there is. */
static void
reserve(struct task *t, struct mem_pool *pool)
{
    struct key_value *list;
    size_t n = 0;

    while (environ[n])
        n++;
    list = mem_pool_alloc(pool, (t->n_submit_env + n) * sizeof *list);
    if (t->n_submit_env)
        memcpy(list, t->submit_env, t->n_submit_env * sizeof *list);
    t->submit_env = list;
}

/* Adds NAME=value, unless there is one of that name; there is room. */
static int
add_variable(struct task *t, const char *entry, struct mem_pool *pool,
             struct err *e)
{
    size_t len = strcspn(entry, "="), bytes = strlen(entry), i;
    struct key_value *list = t->submit_env;

    for (i = 0; i < t->n_submit_env; i++) {
        bytes += strlen(list[i].key) + strlen(list[i].value) + 2;
        if (strncmp(list[i].key, entry, len) == 0 && !list[i].key[len])
            return 0;
    }
    if (t->n_submit_env == VARIABLES_MAX || bytes > BYTES_MAX)
        return err_set(e, ERR_INVALID,
                       "the environment is too large to send: at most %d "
                       "variables of %d KiB together",
                       VARIABLES_MAX, BYTES_MAX / 1024);
    list[i].key = mem_pool_strndup(pool, entry, len);
    list[i].value = entry[len] ? entry + len + 1 : "";
    t->n_submit_env++;
    return 0;
}

static bool
is_text(const char *entry)
{
    struct str clean = {0};
    bool same;

    str_add_utf8(&clean, entry, strlen(entry));
    same = strcmp(str_text(&clean), entry) == 0;
    str_free(&clean);
    return same;
}

/* Not to be sent, even if all is: ours, the session's, or a secret. */
static bool
stays_here(const char *entry, struct mem_pool *pool)
{
    static const char *const own[] = {
        "SHUNT_", "NATS_", "_=", "PWD=", "OLDPWD=", "SHLVL=", "BASH_FUNC_"};
    size_t len = strcspn(entry, "=");

    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (strncmp(entry, own[i], strlen(own[i])) == 0)
            return true;
    return !len || !entry[len] || session_vars_has(entry) || !is_text(entry) ||
           mask_is_secret(mem_pool_strndup(pool, entry, len), entry + len + 1);
}

int
submit_env_set_all(const struct arg_edit *a, struct err *e)
{
    reserve(a->task, a->pool);
    for (char **at = environ; *at; at++)
        if (!stays_here(*at, a->pool) &&
            add_variable(a->task, *at, a->pool, e) < 0)
            return -1;
    return 0;
}

static bool
is_configured(char **names, const char *entry)
{
    size_t len = strcspn(entry, "=");

    for (; names && *names; names++) {
        size_t size = strlen(*names);
        bool all = size && (*names)[size - 1] == '*';

        if (all ? strncmp(entry, *names, size - 1) == 0
                : size == len && strncmp(entry, *names, len) == 0)
            return true;
    }
    return false;
}

static void
umask_text(char out[8])
{
    mode_t mask = umask(0);

    (void)umask(mask);
    (void)snprintf(out, 8, "%03o", (unsigned)mask);
}

/* Whether submit.env names a variable that is set here. */
static bool
has_configured(char **names, struct mem_pool *pool)
{
    for (char **at = environ; names && *at; at++)
        if (is_configured(names, *at) && !stays_here(*at, pool))
            return true;
    return false;
}

/* What this process has, which is the same for each of its tasks. */
static struct {
    bool read;
    struct submit_section section;
    char umask[8], place[PLACE_SIZE];
    bool same; /* nothing needs to be taken along */
} here;

/* Whether no worker of this user on this machine has other variables that
 * travel, or another umask. */
static bool
is_workers(const struct cli *c, const char *mask)
{
    struct str text = {0};
    struct err e = {0};
    json_t *v = NULL, *list, *one;
    size_t i, n = 0;
    bool same;

    if (fleet_dir_read(&c->fleet_dir, "environment.json", WORKER_ENV_MAX, &text,
                       &e) < 0)
        return true;
    v = json_loads(str_text(&text), 0, NULL);
    str_free(&text);
    list = json_object_get(v, "env");
    same = strcmp(cli_text(v, "umask", ""), mask) == 0;
    for (char **at = environ; same && *at; at++) {
        if (!session_vars_travels(*at))
            continue;
        n++;
        same = false;
        json_array_foreach(list, i, one)
        {
            same = same || strcmp(json_string_value(one), *at) == 0;
        }
    }
    same = same && n == json_array_size(list);
    json_decref(v);
    return same;
}

/* Reads configuration and files once, however many tasks there are. */
static int
look_here(struct cli *c, struct err *e)
{
    if (here.read)
        return 0;
    if (c->config)
        (void)setenv("SHUNT_CONFIG", c->config, 1);
    if (conf_load(&here.section, options, "", 0, NULL, e) < 0)
        return -1;
    here.read = true;
    umask_text(here.umask);
    (void)place_here(here.place);
    /* With some variables go all that travel: what is not among them, the task
     * has not. */
    here.same =
        is_workers(c, here.umask) && !has_configured(here.section.env, c->pool);
    return 0;
}

void
submit_env_release(void)
{
    if (here.read)
        conf_free(&here.section, options);
    here.read = false;
}

int
submit_env_capture(struct cli *c, struct task *t, struct err *e)
{
    int rc = 0;

    if (t->clean_env) {
        t->n_submit_env = 0;
        return 0;
    }
    if (*t->submit_place)
        return 0; /* it has one already */
    if (look_here(c, e) < 0)
        return -1;
    if (!here.same)
        reserve(t, c->pool);
    for (char **at = environ; !here.same && *at && rc == 0; at++)
        if ((session_vars_travels(*at) ||
             is_configured(here.section.env, *at)) &&
            !stays_here(*at, c->pool))
            rc = add_variable(t, *at, c->pool, e);
    if (!here.same)
        t->umask = here.umask;
    if (t->n_submit_env || *t->umask)
        t->submit_place = here.place;
    return rc;
}

/* --- secrets ---------------------------------------------------------------
 */

int
submit_env_set_secret(const struct arg_edit *a, struct err *e)
{
    struct task *t = a->task;
    const char **names =
        mem_pool_alloc(a->pool, (t->n_secret_env + 1) * sizeof *names);

    if (!*a->value || strchr(a->value, '='))
        return err_set(e, ERR_INVALID,
                       "the name of a variable is required; its value is taken "
                       "from here, so that it stands in no command line");
    if (t->n_secret_env)
        memcpy(names, t->secret_env, t->n_secret_env * sizeof *names);
    names[t->n_secret_env++] = a->value;
    t->secret_env = names;
    return 0;
}

static bool
has_variable(const struct task *t, const char *name)
{
    for (size_t i = 0; i < t->n_env; i++)
        if (strcmp(t->env[i].key, name) == 0)
            return true;
    return false;
}

/* Adds the values of --env-secret: those of the task that this one repeats,
 * else those that are set here. */
static void
add_values(struct cli *c, struct task *t)
{
    struct key_value *env =
        mem_pool_alloc(c->pool, (t->n_env + t->n_secret_env) * sizeof *env);
    const char **old = mem_pool_alloc(c->pool, t->n_secret_env * sizeof *old);
    struct task repeated = *t;
    struct err e;

    if (t->n_env)
        memcpy(env, t->env, t->n_env * sizeof *env);
    t->env = env;
    repeated.id = t->retry_of;
    if (*t->retry_of)
        (void)secret_file_read(c->fleet_dir.path, &repeated, c->pool, old, &e);
    for (size_t i = 0; i < t->n_secret_env; i++) {
        const char *name = t->secret_env[i];
        const char *value = old[i] ? old[i] : getenv(name);

        if (value && !has_variable(t, name))
            env[t->n_env++] = (struct key_value){name, value};
    }
}

/* Whether tasks go to the fleet of this state folder, running or not: workers
 * of another one do not read its files. */
static bool
is_own_fleet(struct cli *c)
{
    char url[256];
    struct err e;

    return cli_find_broker(c, &e) == 0 &&
           fleet_dir_line(&c->fleet_dir, "endpoint", url, sizeof url) &&
           strcmp(url, c->conf.bus.url) == 0;
}

static bool
has_secrets(const struct task *t)
{
    for (size_t i = 0; i < t->n_env; i++)
        if (mask_is_secret(t->env[i].key, t->env[i].value))
            return true;
    return t->n_secret_env > 0;
}

int
submit_env_hide_secrets(struct cli *c, struct task *t, struct err *e)
{
    if (!has_secrets(t) || !is_own_fleet(c))
        return 0;
    add_values(c, t);
    return secret_file_hide(c->fleet_dir.path, t, c->pool, e);
}

/* --- standard input --------------------------------------------------------
 */

int
submit_env_set_stdin(const struct arg_edit *a, struct err *e)
{
    const char *name = *a->value ? a->value : "-";
    struct str text = {0};
    struct input *in;
    uint8_t *copy;

    /* Of several files with tasks each gets the same input: read it once. */
    if (!sent_input.read && task_builder_read(name, TASK_INPUT_MAX, &text, e)) {
        str_free(&text);
        return -1;
    }
    if (!sent_input.read) {
        copy = mem_pool_alloc(a->pool, text.len + 1);
        if (text.len)
            memcpy(copy, text.data, text.len);
        sent_input.data = copy;
        sent_input.len = text.len;
        sent_input.read = true;
        str_free(&text);
    }
    in = mem_pool_alloc(a->pool, sizeof *in);
    *in = (struct input){.size = sent_input.len};
    if (sent_input.len > TASK_INPUT_INLINE)
        in->chunks = (uint32_t)((sent_input.len + TASK_INPUT_INLINE - 1) /
                                TASK_INPUT_INLINE);
    else if (sent_input.len)
        in->data = (struct bytes){sent_input.data, sent_input.len};
    a->task->input = in;
    return 0;
}

struct piece_stored {
    bool done;
    struct err e;
};

static void
on_piece(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct piece_stored *p = ctx;

    (void)stored;
    p->done = true;
    if (e)
        p->e = *e;
}

/* Waits for the callback that piece is the context of. */
static int
await_piece(struct cli *c, struct piece_stored *piece, struct err *e)
{
    if (!loop_until(c->loop, &piece->done, 2 * STORE_MS)) {
        bus_forget(c->bus, piece);
        return err_set(e, ERR_TIMEOUT, "standard input: interrupted");
    }
    if (!piece->e.code)
        return 0;
    *e = piece->e;
    return err_wrap(e, "standard input");
}

static int
send_piece(struct cli *c, const struct task *t, uint32_t number,
           const uint8_t *data, size_t len, struct err *e)
{
    char subject[SUBJECT_SIZE], id[TASK_ID_SIZE + 16];
    struct bus_publication p = {.subject = subject_input(subject, t->id),
                                .id = id,
                                .data = data,
                                .len = len,
                                .expect = BUS_ANY_REVISION};
    struct piece_stored piece = {0};

    (void)snprintf(id, sizeof id, "%s:in:%u", t->id, number);
    bus_publish(c->bus, &p, STORE_MS, on_piece, &piece);
    return await_piece(c, &piece, e);
}

struct piece_read {
    struct piece_stored piece; /* first: the context of the callback */
    struct str data;
    uint64_t seq;
    bool found;
};

static void
on_old_piece(void *ctx, const struct bus_entry *entry, const struct err *e)
{
    struct piece_read *r = ctx;

    r->piece.done = true;
    if (e)
        r->piece.e = *e;
    r->found = entry != NULL;
    if (!entry)
        return;
    r->seq = entry->revision;
    str_add(&r->data, entry->data, entry->len);
}

/* Stores the pieces of the task that t repeats once more, as those of t. */
static int
repeat_pieces(struct cli *c, const struct task *t, struct err *e)
{
    char subject[SUBJECT_SIZE];
    struct piece_read r = {0};
    int rc = *t->retry_of ? 0
                          : err_set(e, ERR_INVALID,
                                    "standard input of more than 256 KiB is "
                                    "given with --stdin=FILE");

    for (uint32_t i = 0; i < t->input->chunks && rc == 0; i++) {
        r.piece = (struct piece_stored){0};
        str_reset(&r.data);
        bus_get_next(c->bus, "INPUT", subject_input(subject, t->retry_of),
                     r.seq + 1, STORE_MS, on_old_piece, &r);
        rc = await_piece(c, &r.piece, e);
        if (rc == 0 && !r.found)
            rc = err_set(e, ERR_NOT_FOUND,
                         "standard input of task %s is no longer stored; "
                         "submit it again with --stdin",
                         t->retry_of);
        if (rc == 0)
            rc = send_piece(c, t, i, (const uint8_t *)r.data.data, r.data.len,
                            e);
    }
    str_free(&r.data);
    return rc;
}

int
submit_env_send_input(struct cli *c, const struct task *t, struct err *e)
{
    uint32_t chunks = t->input ? t->input->chunks : 0;

    if (chunks && cli_connect(c, CONNECT_MS, e) < 0)
        return err_wrap(e,
                        "standard input of more than 256 KiB is not spooled");
    if (chunks && !sent_input.read)
        return repeat_pieces(c, t, e);
    for (uint32_t i = 0; i < chunks; i++) {
        size_t at = (size_t)i * TASK_INPUT_INLINE;
        size_t left = sent_input.len - at;

        if (send_piece(c, t, i, sent_input.data + at,
                       left < TASK_INPUT_INLINE ? left : TASK_INPUT_INLINE,
                       e) < 0)
            return -1;
    }
    return 0;
}

void
submit_env_note_stdin(const struct cli *c, const struct task *t)
{
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
    struct stat st;
    char byte;

    if (t->input || fstat(STDIN_FILENO, &st) < 0 ||
        !(S_ISFIFO(st.st_mode) || (S_ISREG(st.st_mode) && st.st_size > 0)) ||
        poll(&p, 1, 0) != 1 || !(p.revents & POLLIN))
        return;
    if (S_ISREG(st.st_mode) &&
        pread(STDIN_FILENO, &byte, 1, lseek(STDIN_FILENO, 0, SEEK_CUR)) != 1)
        return; /* read to its end already */
    cli_say(c, "standard input is ignored; --stdin sends it");
}
