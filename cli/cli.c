/*
 * The broker's address comes from --nats, the configuration or the state folder
 * of this machine's fleet. Requests to the reaper block: they run the loop
 * until the answer is there.
 */
#include "cli/cli.h"

#include "cli/output.h"
#include "lib/base/conf.h"
#include "lib/base/hash.h"
#include "lib/base/nearest.h"
#include "lib/model/codec.h"
#include "lib/model/subject.h"
#include "lib/submit/spool.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    ASK_MS = 3000,   /* one request */
    FRESH_MS = 2500, /* for a task just submitted to reach the reaper */
    DRAIN_MS = 5000,
    REPLY_MAX = 8 * 1024 * 1024,
    STATUS_MAX = 1024 * 1024,
};

static const struct conf_opt bus_opts[] = {CONF_BUS(struct cli_conf, bus),
                                           CONF_END};
enum { N_BUS_OPTS = sizeof bus_opts / sizeof bus_opts[0] };

/* --- failures ------------------------------------------------------------ */

int
cli_rc(const struct err *e)
{
    switch (e->code) {
    case ERR_INVALID:
    case ERR_NOT_FOUND:
        return RC_USAGE;
    case ERR_DENIED:
        return RC_CREDENTIALS;
    case ERR_UNAVAILABLE:
    case ERR_TIMEOUT:
        return RC_UNREACHABLE;
    case ERR_FULL:
        return RC_REFUSED;
    case ERR_NONE:
    case ERR_CONFLICT:
    case ERR_BUG:
        return RC_FAILED;
    }
    return RC_FAILED;
}

/* Whether text has word, and not only as a part of another one. */
static bool
has_word(const char *text, const char *word)
{
    size_t len = strlen(word);
    const char *at = text;

    for (; (at = strstr(at, word)); at++)
        if ((at == text || !isalnum((unsigned char)at[-1])) &&
            !isalnum((unsigned char)at[len]))
            return true;
    return false;
}

int
cli_fail(int rc, const char *what, const char *object, const char *why,
         const char *next)
{
    struct str text = {0};

    str_addf(&text, "shunt: %s", what);
    /* An object that the reason names is not named twice. */
    if (object && object[0] && !has_word(why, object)) {
        str_addz(&text, ", ");
        str_add_printable(&text, object, strlen(object));
    }
    str_addz(&text, ": ");
    str_add_printable(&text, why, strlen(why));
    str_addc(&text, '\n');
    if (next)
        str_addf(&text, "  try: %s\n", next);
    (void)fflush(stdout);
    (void)fputs(str_text(&text), stderr);
    str_free(&text);
    return rc;
}

void
cli_note_submitted(struct cli *c, const char *id)
{
    if (c->n_submitted++ < CLI_NOTED_MAX)
        str_addf(&c->submitted, " %s", id);
}

bool
cli_is_ls(const struct args *a)
{
    const char *word = a->n_words ? a->words[0] : "ls";

    return a->n_words <= 1 && !a->dashes &&
           (!strcmp(word, "ls") || !strcmp(word, "list") ||
            !strcmp(word, "ps"));
}

int
cli_fail_err(const char *what, const char *object, const struct err *e,
             const char *next)
{
    return cli_fail(cli_rc(e), what, object, e->msg, next);
}

int
cli_fail_lookup(const char *what, const char *selector, const struct err *e)
{
    return cli_fail_err(what, selector, e,
                        e->code == ERR_UNAVAILABLE ? "shunt status"
                                                   : "shunt ls");
}

int
cli_usage(const struct cli *c, const char *fmt, ...)
{
    char why[512], next[128];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    (void)snprintf(next, sizeof next, "shunt %s --help", c->cmd->name);
    return cli_fail(RC_USAGE, c->cmd->name, NULL, why, next);
}

int
cli_usage_unknown(const struct cli *c, const char *kind, const char *word,
                  const char *const *names)
{
    const char *near = nearest_of(word, names);
    struct str known = {0};
    int rc;

    if (near)
        return cli_usage(c, "unknown %s %s; did you mean %s?", kind, word,
                         near);
    for (size_t i = 0; names[i]; i++)
        str_addf(&known, "%s%s", i ? ", " : "", names[i]);
    rc = cli_usage(c, "unknown %s %s; known are %s", kind, word,
                   str_text(&known));
    str_free(&known);
    return rc;
}

int
cli_no_arguments(const struct cli *c, const struct args *a)
{
    if (!a->n_words && !a->dashes)
        return RC_OK;
    return cli_usage(c, "unexpected argument: %s",
                     a->n_words ? a->words[0] : "--");
}

void
cli_say(const struct cli *c, const char *fmt, ...)
{
    struct str text = {0}, safe = {0};
    char line[1024];
    va_list ap;

    if (c->quiet)
        return;
    va_start(ap, fmt);
    (void)vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    str_addf(&text, "shunt: %s\n", line);
    str_add_printable(&safe, text.data, text.len);
    (void)fflush(stdout);
    (void)fputs(str_text(&safe), stderr);
    str_free(&safe);
    str_free(&text);
}

/* --- the broker ---------------------------------------------------------- */

int
cli_loop(struct cli *c, struct err *e)
{
    return c->loop ? 0 : loop_open(&c->loop, e);
}

static void
set_text(char **field, const char *value)
{
    char *copy = mem_strdup(value);

    mem_free(*field);
    *field = copy;
}

/* Takes the address of this machine's fleet, if one was ever started. */
static void
use_endpoint(struct cli *c, bool explicit_url)
{
    char url[256];
    struct fleet_dir_path token;

    c->elsewhere = explicit_url;
    if (!fleet_dir_line(&c->fleet_dir, "endpoint", url, sizeof url))
        return;
    if (explicit_url && strcmp(url, c->conf.bus.url) != 0)
        return;
    c->elsewhere = false;
    set_text(&c->conf.bus.url, url);
    if (!c->conf.bus.token_file[0] && !c->conf.bus.creds_file[0] &&
        !c->conf.bus.nkey_file[0] &&
        access(fleet_dir_path(&c->fleet_dir, "token", &token), R_OK) == 0)
        set_text(&c->conf.bus.token_file, token.s);
}

int
cli_find_broker(struct cli *c, struct err *e)
{
    struct conf_opt opts[N_BUS_OPTS];
    const char *fallback = NULL;
    bool given;

    if (c->conf_loaded)
        return 0;
    /* Without a default, an empty address means that none was given. */
    for (size_t i = 0; i < N_BUS_OPTS; i++) {
        opts[i] = bus_opts[i];
        if (opts[i].key && !strcmp(opts[i].key, "bus.url")) {
            fallback = opts[i].fallback;
            opts[i].fallback = "";
        }
    }
    if (c->config)
        (void)setenv("SHUNT_CONFIG", c->config, 1);
    c->conf_loaded = true;
    if (conf_load(&c->conf, opts, "", 0, NULL, e) < 0)
        return -1;
    if (c->nats)
        set_text(&c->conf.bus.url, c->nats);
    given = c->conf.bus.url[0] != '\0';
    use_endpoint(c, given);
    if (!c->conf.bus.url[0])
        set_text(&c->conf.bus.url, fallback ? fallback : "");
    return 0;
}

void
cli_forget_broker(struct cli *c)
{
    if (c->conf_loaded)
        conf_free(&c->conf, bus_opts);
}

static void
on_bus_event(void *ctx, enum bus_event event, const char *text)
{
    struct cli *c = ctx;

    if (event != BUS_DENIED && event != BUS_CLOSED)
        return;
    c->denied = true;
    (void)cli_fail(RC_CREDENTIALS, "use the broker", bus_url(c->bus), text,
                   "shunt doctor");
}

int
cli_connect(struct cli *c, int64_t patience_ms, struct err *e)
{
    if (c->bus)
        return 0;
    if (cli_loop(c, e) < 0 || cli_find_broker(c, e) < 0 ||
        bus_open(&c->bus, c->loop, &c->conf.bus, "cli", patience_ms, e) < 0)
        return -1;
    bus_on_event(c->bus, on_bus_event, c);
    return 0;
}

int
cli_need_broker(struct cli *c, int64_t patience_ms)
{
    struct err e = {0};
    pid_t pid;

    if (cli_connect(c, patience_ms, &e) == 0)
        return RC_OK;
    /* The reason names the address; the setting may have a password. */
    return cli_fail_err("connect to the broker", NULL, &e,
                        e.code == ERR_DENIED ? "shunt doctor"
                        : fleet_dir_locked(&c->fleet_dir, &pid)
                            ? "shunt status"
                            : "shunt up -d");
}

/* --- the spool ------------------------------------------------------------ */

/* The address without a name and a password in it. */
static const char *
plain_address(const char *url)
{
    const char *at = strrchr(url, '@');

    return at ? at + 1 : url;
}

/* What is submitted to another broker waits for that, in a folder named by its
 * address and by who we are there. */
static const char *
elsewhere_dir(struct cli *c, struct fleet_dir_path *buf)
{
    const struct bus_conf *b = &c->conf.bus;
    const char *parts[] = {plain_address(b->url), b->creds_file, b->nkey_file,
                           b->token_file, b->cert_file};
    uint64_t hash = HASH_EMPTY;
    char rel[64];

    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        hash = hash_add(hash_add(hash, parts[i], strlen(parts[i])), "\n", 1);
    (void)snprintf(rel, sizeof rel, "spool/%016" PRIx64, hash);
    return fleet_dir_path(&c->fleet_dir, rel, buf);
}

const char *
cli_spool_dir(struct cli *c, struct fleet_dir_path *buf)
{
    struct err e;

    if (cli_find_broker(c, &e) == 0 && c->elsewhere)
        return elsewhere_dir(c, buf);
    return fleet_dir_path(&c->fleet_dir, "spool", buf);
}

int
cli_make_spool(struct cli *c, struct fleet_dir_path *dir, struct err *e)
{
    struct fleet_dir_path top;
    char rel[64];

    if (fleet_dir_make(&c->fleet_dir, e) < 0)
        return -1;
    (void)cli_spool_dir(c, dir);
    if (!c->elsewhere)
        return 0;
    (void)fleet_dir_path(&c->fleet_dir, "", &top);
    if (mkdir(dir->s, 0700) < 0 && errno != EEXIST)
        return err_set(e, ERR_UNAVAILABLE, "make %s: %s", dir->s,
                       strerror(errno));
    (void)snprintf(rel, sizeof rel, "%.40s/broker", dir->s + strlen(top.s));
    return fleet_dir_write(&c->fleet_dir, rel, plain_address(c->conf.bus.url),
                           0600, e);
}

void
cli_each_spool(struct cli *c,
               void (*fn)(void *ctx, const char *dir, const char *broker),
               void *ctx)
{
    struct fleet_dir_path dir, sub;
    char rel[64], broker[256];
    struct dirent *entry;
    DIR *d;

    fn(ctx, fleet_dir_path(&c->fleet_dir, "spool", &dir), "this machine");
    d = opendir(dir.s);
    while (d && (entry = readdir(d))) {
        if (strlen(entry->d_name) != 16)
            continue;
        (void)snprintf(rel, sizeof rel, "spool/%.16s/broker", entry->d_name);
        if (!fleet_dir_line(&c->fleet_dir, rel, broker, sizeof broker))
            continue;
        (void)snprintf(rel, sizeof rel, "spool/%.16s", entry->d_name);
        fn(ctx, fleet_dir_path(&c->fleet_dir, rel, &sub), broker);
    }
    if (d)
        (void)closedir(d);
}

struct drained {
    bool done;
    struct spool_report report;
};

static void
on_drained(void *ctx, const struct spool_report *r)
{
    struct drained *d = ctx;

    d->report = *r;
    d->done = true;
}

void
cli_drain_spool(struct cli *c)
{
    struct spool_backlog backlog;
    struct drained d = {0};
    struct spool_drain *drain;
    struct fleet_dir_path dir;

    spool_look(cli_spool_dir(c, &dir), &backlog);
    if (!backlog.files || !c->bus)
        return;
    drain = spool_drain_start(dir.s, c->bus, c->loop, on_drained, &d);
    (void)loop_until(c->loop, &d.done, DRAIN_MS);
    spool_drain_free(drain);
    if (d.report.tasks)
        cli_say(c, "sent %zu spooled task%s", d.report.tasks,
                d.report.tasks == 1 ? "" : "s");
    if (d.report.corrupt)
        cli_say(c, "%zu unreadable spool file%s now in %s/corrupt",
                d.report.corrupt, d.report.corrupt == 1 ? " is" : "s are",
                dir.s);
}

json_t *
cli_fleet_status(const struct cli *c)
{
    struct str text = {0};
    struct err e = {0};
    json_t *v = NULL;

    if (fleet_dir_read(&c->fleet_dir, "status.json", STATUS_MAX, &text, &e) ==
        0)
        v = json_loads(str_text(&text), 0, NULL);
    str_free(&text);
    return v;
}

void
cli_pause(struct cli *c, int64_t ms)
{
    const bool never = false;

    (void)loop_until(c->loop, &never, ms);
}

/* --- the reaper ---------------------------------------------------------- */

static int
reaper_error(const json_t *error, struct err *e)
{
    static const struct {
        const char *name;
        enum err_code code;
    } codes[] = {{"not-found", ERR_NOT_FOUND},
                 {"ambiguous", ERR_INVALID},
                 {"invalid", ERR_INVALID},
                 {"unavailable", ERR_UNAVAILABLE}};
    const char *name = cli_text(error, "code", "");

    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        if (!strcmp(name, codes[i].name))
            return err_set(e, codes[i].code, "%s",
                           cli_text(error, "message", name));
    return err_set(e, ERR_BUG, "the reaper answered \"%s\"",
                   cli_text(error, "message", name));
}

static int
ask_once(struct cli *c, const char *verb, const char *request, json_t **reply,
         struct err *e)
{
    char subject[SUBJECT_SIZE];
    struct str answer = {0};
    json_t *value = NULL, *error;
    int rc = -1;

    if (bus_call(c->bus, subject_ask(subject, verb), request, strlen(request),
                 ASK_MS, &answer, e) < 0)
        goto out;
    if (answer.len > REPLY_MAX) {
        err_set(e, ERR_INVALID, "the reaper's answer is too large");
        goto out;
    }
    value = codec_parse_json("the reaper's answer", str_text(&answer),
                             answer.len, e);
    if (!value)
        goto out;
    error = json_object_get(value, "error");
    if (json_is_object(error)) {
        reaper_error(error, e);
        goto out;
    }
    *reply = json_incref(value);
    rc = 0;
out:
    json_decref(value);
    str_free(&answer);
    return rc;
}

int
cli_ask(struct cli *c, const char *verb, json_t *request, json_t **reply,
        struct err *e)
{
    char *text = json_dumps(request, JSON_COMPACT);
    int64_t until = loop_now_ms() + c->ask_patience_ms;
    int rc;

    json_decref(request);
    if (!text)
        return err_set(e, ERR_INVALID, "the request is not valid UTF-8");
    while ((rc = ask_once(c, verb, text, reply, e)) < 0 &&
           e->code == ERR_UNAVAILABLE && loop_now_ms() < until)
        cli_pause(c, 200);
    if (rc < 0 && (e->code == ERR_UNAVAILABLE || e->code == ERR_TIMEOUT))
        err_wrap(e, "the reaper does not answer");
    free(text);
    return rc;
}

void
cli_remember_last(const struct cli *c, const char *id)
{
    struct err e = {0};
    char line[TASK_ID_SIZE + 1];

    (void)snprintf(line, sizeof line, "%s\n", id);
    (void)fleet_dir_write(&c->fleet_dir, "last", line, 0600, &e);
}

/* Asks, and asks again for a while if the task was submitted from here and may
 * not have reached the reaper yet. */
static int
ask_fresh(struct cli *c, const char *verb, const char *selector, json_t **reply,
          struct err *e)
{
    int64_t until = loop_now_ms() + FRESH_MS;
    char last[TASK_ID_SIZE] = "";
    bool ours;
    int rc;

    (void)fleet_dir_line(&c->fleet_dir, "last", last, sizeof last);
    ours = strlen(selector) == 16 || !strcmp(selector, last);
    for (;;) {
        rc = cli_ask(c, verb, json_pack("{s:s}", "task", selector), reply, e);
        if (rc == 0 || e->code != ERR_NOT_FOUND || !ours ||
            loop_now_ms() > until)
            return rc;
        cli_pause(c, 50);
    }
}

/* `last` is the newest task the reaper knows: waits for the last one submitted
 * from here. */
static void
settle_last(struct cli *c, const char *selector)
{
    char last[TASK_ID_SIZE];
    json_t *reply = NULL;
    struct err e = {0};

    if (strcmp(selector, "last") != 0 ||
        !fleet_dir_line(&c->fleet_dir, "last", last, sizeof last))
        return;
    if (ask_fresh(c, "find", last, &reply, &e) == 0)
        json_decref(reply);
}

int
cli_show(struct cli *c, const char *selector, json_t **task, struct err *e)
{
    json_t *reply = NULL, *found;

    settle_last(c, selector);
    if (ask_fresh(c, "show", selector, &reply, e) < 0)
        return -1;
    found = json_object_get(reply, "task");
    if (json_is_object(found))
        *task = json_incref(found);
    json_decref(reply);
    return json_is_object(found)
               ? 0
               : err_set(e, ERR_BUG, "the reaper's answer holds no task");
}

int
cli_find(struct cli *c, const char *selector, char id[TASK_ID_SIZE],
         enum state *state, struct err *e)
{
    json_t *reply = NULL;
    bool ok;

    settle_last(c, selector);
    if (ask_fresh(c, "find", selector, &reply, e) < 0)
        return -1;
    ok = str_copy(id, TASK_ID_SIZE, cli_text(reply, "id", "")) && id[0];
    if (state)
        *state = state_from_name(cli_text(reply, "state", ""));
    json_decref(reply);
    return ok ? 0 : err_set(e, ERR_BUG, "the reaper's answer holds no id");
}

/* --- small readers ------------------------------------------------------- */

const char *
cli_text(const json_t *object, const char *key, const char *fallback)
{
    const char *s = json_string_value(json_object_get(object, key));

    return s ? s : fallback;
}

int64_t
cli_int(const json_t *object, const char *key, int64_t fallback)
{
    const json_t *v = json_object_get(object, key);

    return json_is_integer(v) ? json_integer_value(v)
           : json_is_real(v)  ? (int64_t)json_real_value(v)
                              : fallback;
}

bool
cli_bool(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

enum state
cli_state(const json_t *object)
{
    return state_from_name(cli_text(object, "state", ""));
}

bool
cli_parse_time(const char *text, int64_t *at_ms)
{
    struct tm tm = {0};
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    int64_t ms = 0, scale = 100, offset = 0;
    int hours, minutes, n = 0;
    bool local = false;

    if (!rest)
        return false;
    if (*rest == '.')
        for (rest++; *rest >= '0' && *rest <= '9'; rest++, scale /= 10)
            ms += (*rest - '0') * scale;
    if (*rest == 'Z' || *rest == 'z')
        rest++;
    else if ((*rest == '+' || *rest == '-') &&
             sscanf(rest + 1, "%2d:%2d%n", &hours, &minutes, &n) == 2) {
        offset = (hours * 60 + minutes) * 60 * (*rest == '-' ? -1 : 1);
        rest += 1 + n;
    } else {
        local = true;
    }
    if (*rest)
        return false;
    tm.tm_isdst = -1;
    *at_ms = ((local ? mktime(&tm) : timegm(&tm)) - offset) * 1000 + ms;
    return true;
}

int64_t
cli_time(const json_t *object, const char *key)
{
    int64_t at_ms;

    return cli_parse_time(cli_text(object, key, ""), &at_ms) ? at_ms : 0;
}

const char *
cli_user(struct mem_pool *pool)
{
    const struct passwd *user = getpwuid(geteuid());
    char host[256] = "localhost";

    (void)gethostname(host, sizeof host - 1);
    return mem_pool_printf(pool, "%s@%s", user ? user->pw_name : "?", host);
}
