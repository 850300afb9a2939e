/*
 * Reads the keys of a task that every format shares: its controls, in one table
 * of keys, their synonyms and where each value goes.
 *
 * A key that would have controlled a task elsewhere, or that is nearly one of
 * ours, is refused with what to write: a task that runs without the limit its
 * author wrote is worse than one that does not run. Other unknown keys are kept
 * as tags, with a warning.
 */
#include "gateways/formats/formats_private.h"

#include "lib/base/nearest.h"
#include "lib/base/str.h"
#include "lib/model/codec.h"
#include "lib/model/dod.h"

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
    NORMAL_SIZE = 64,
    WORD_SIZE = NORMAL_SIZE + 2,
    RETRIES_MOST = 1000,
    PRIORITY_MOST = 1000
};

/* A key without what people vary: case, - and _. Longer ones are cut. */
static const char *
normal(const char *key, char out[NORMAL_SIZE])
{
    size_t n = 0;

    for (; *key && n + 1 < NORMAL_SIZE; key++)
        if (*key != '-' && *key != '_')
            out[n++] = (char)tolower((unsigned char)*key);
    out[n] = '\0';
    return out;
}

/* --- reading one control -------------------------------------------------- */

/* Where a value goes: a member of the task. */
struct control_key;
typedef int control_reader(struct import_text *s, const struct control_key *c,
                           const struct yaml_node *map, const char *key,
                           struct task *t);

struct control_key {
    const char *name;    /* normal */
    const char *say;     /* as people should write it */
    const char *also[6]; /* synonyms, normal */
    control_reader *read;
    size_t offset; /* of the member */
    bool shell;    /* decides what a command does: not from everybody */
};

#define MEMBER(type, t, c) ((type *)(void *)((char *)(t) + (c)->offset))

static int
read_text(struct import_text *s, const struct control_key *c,
          const struct yaml_node *map, const char *key, struct task *t)
{
    return formats_text(s, map, key, MEMBER(const char *, t, c));
}

static int
read_dod(struct import_text *s, const struct control_key *c,
         const struct yaml_node *map, const char *key, struct task *t)
{
    if (read_text(s, c, map, key, t) < 0)
        return -1;
    return dod_check(t->dod, s->e) < 0
               ? formats_fail(s, yaml_get(map, key), "%s: %s", key, s->e->msg)
               : 0;
}

static int
read_ms(struct import_text *s, const struct control_key *c,
        const struct yaml_node *map, const char *key, struct task *t)
{
    return formats_ms(s, map, key, MEMBER(uint64_t, t, c));
}

static int
read_flag(struct import_text *s, const struct control_key *c,
          const struct yaml_node *map, const char *key, struct task *t)
{
    return formats_flag(s, map, key, MEMBER(bool, t, c));
}

int
formats_number(const struct import_text *s, const struct yaml_node *map,
               const char *key, int64_t least, int64_t most, int64_t *out)
{
    const struct yaml_node *v = formats_get(map, key);
    bool minus = v && *v->text == '-';
    uint64_t n;

    if (!v)
        return 0;
    if (v->kind == YAML_SCALAR &&
        str_to_u64(v->text + minus, 0, INT32_MAX, &n)) {
        int64_t value = minus ? -(int64_t)n : (int64_t)n;

        if (value >= least && value <= most) {
            *out = value;
            return 0;
        }
    }
    return formats_fail(
        s, v, "%s: expected a whole number from %lld to %lld, found %s", key,
        (long long)least, (long long)most, formats_found(s, v));
}

static int
read_retries(struct import_text *s, const struct control_key *c,
             const struct yaml_node *map, const char *key, struct task *t)
{
    int64_t n = t->retries;

    (void)c;
    if (formats_number(s, map, key, 0, RETRIES_MOST, &n) < 0)
        return -1;
    t->retries = (uint32_t)n;
    return 0;
}

static int
read_priority(struct import_text *s, const struct control_key *c,
              const struct yaml_node *map, const char *key, struct task *t)
{
    int64_t n = t->priority;

    (void)c;
    if (formats_number(s, map, key, -PRIORITY_MOST, PRIORITY_MOST, &n) < 0)
        return -1;
    t->priority = (int32_t)n;
    return 0;
}

static int
read_retry(struct import_text *s, const struct control_key *c,
           const struct yaml_node *map, const char *key, struct task *t)
{
    const struct yaml_node *v = formats_get(map, key);

    (void)c;
    if (!v)
        return 0;
    if (v->kind == YAML_SCALAR && strcmp(v->text, "safe") == 0)
        t->retry = RETRY_SAFE;
    else if (v->kind == YAML_SCALAR && strcmp(v->text, "never") == 0)
        t->retry = RETRY_NEVER;
    else
        return formats_fail(s, v,
                            "%s: expected safe or never, found %s; a number "
                            "is written retries: 2",
                            key, formats_found(s, v));
    return 0;
}

/* An entry of a list of pairs: NAME=value, or (if bare) NAME alone. */
static int
read_entry(const struct import_text *s, const struct yaml_node *v,
           const char *key, bool bare, struct key_value *out)
{
    const char *equals = v->kind == YAML_SCALAR ? strchr(v->text, '=') : NULL;

    if (v->kind != YAML_SCALAR || yaml_is_null(v) || (!equals && !bare))
        return formats_fail(s, v, "%s: expected NAME=value, found %s", key,
                            formats_found(s, v));
    if (!equals)
        *out = (struct key_value){v->text, ""};
    else
        *out = (struct key_value){
            mem_pool_strndup(s->pool, v->text, (size_t)(equals - v->text)),
            equals + 1};
    return 0;
}

/* Pairs, as a map or as a list of NAME=value. */
static int
read_pairs(const struct import_text *s, const struct yaml_node *map,
           const char *key, bool bare, struct key_value **out, size_t *n)
{
    const struct yaml_node *list = formats_get(map, key);
    struct key_value *pairs;
    size_t i = 0;

    if (!list)
        return 0;
    if (list->kind == YAML_SCALAR)
        return formats_fail(s, list,
                            "%s: expected names with their values, found %s",
                            key, formats_found(s, list));
    pairs = mem_pool_alloc(s->pool, (list->n + 1) * sizeof *pairs);
    for (const struct yaml_node *v = list->first; v; v = v->next, i++) {
        if (list->kind == YAML_LIST) {
            if (read_entry(s, v, key, bare, &pairs[i]) < 0)
                return -1;
        } else if (v->kind != YAML_SCALAR || yaml_is_null(v)) {
            return formats_fail(s, v, "%s.%s: expected text, found %s", key,
                                formats_short(s, v->key->text),
                                formats_kind(s, v));
        } else {
            pairs[i] = (struct key_value){v->key->text, v->text};
        }
    }
    *out = pairs;
    *n = i;
    return 0;
}

static int
read_env(struct import_text *s, const struct control_key *c,
         const struct yaml_node *map, const char *key, struct task *t)
{
    (void)c;
    return read_pairs(s, map, key, false, &t->env, &t->n_env);
}

/* Tags of unknown keys may be there already; further ones are added. */
static int
read_tags(struct import_text *s, const struct control_key *c,
          const struct yaml_node *map, const char *key, struct task *t)
{
    const struct yaml_node *v = formats_get(map, key);
    struct key_value *tags = NULL, one;
    size_t n = 0;

    (void)c;
    if (v && v->kind == YAML_SCALAR && read_entry(s, v, key, true, &one) == 0) {
        tags = &one;
        n = 1;
    } else if (read_pairs(s, map, key, true, &tags, &n) < 0) {
        return -1;
    }
    for (size_t i = 0; i < n; i++)
        formats_tag(s, t, tags[i].key, tags[i].value);
    return 0;
}

static int
read_after(struct import_text *s, const struct control_key *c,
           const struct yaml_node *map, const char *key, struct task *t)
{
    (void)c;
    return formats_texts(s, map, key, &t->after, &t->n_after);
}

static int
read_agent(struct import_text *s, const struct control_key *c,
           const struct yaml_node *map, const char *key, struct task *t)
{
    const char *agent;

    (void)c;
    if (formats_text(s, map, key, &agent) < 0)
        return -1;
    t->hints = mem_pool_alloc(s->pool, sizeof *t->hints);
    t->hints->agent = agent;
    t->hints->data = "";
    return 0;
}

#define AT(member) offsetof(struct task, member)

static const struct control_key control_keys[] = {
    {"name", "name", {NULL}, read_text, AT(name), false},
    {"workdir",
     "workdir",
     {"cwd", "workingdir", "workingdirectory", "workdirectory"},
     read_text,
     AT(workdir),
     true},
    {"repo", "repo", {"repository"}, read_text, AT(repo), true},
    {"branch", "branch", {NULL}, read_text, AT(branch), true},
    {"dod", "dod", {"definitionofdone"}, read_dod, AT(dod), false},
    {"reportpath", "report_path", {"report"}, read_text, AT(report_path), true},
    {"timeout", "timeout", {"timelimit"}, read_ms, AT(timeout_ms), false},
    {"idletimeout",
     "idle_timeout",
     {NULL},
     read_ms,
     AT(idle_timeout_ms),
     false},
    {"retries", "retries", {NULL}, read_retries, 0, false},
    {"retry", "retry", {NULL}, read_retry, 0, false},
    {"env", "env", {"environment"}, read_env, 0, true},
    {"priority", "priority", {NULL}, read_priority, 0, false},
    {"team", "team", {NULL}, read_text, AT(team), false},
    {"tags", "tags", {"tag"}, read_tags, 0, false},
    {"after", "after", {NULL}, read_after, 0, false},
    {"hold", "hold", {NULL}, read_flag, AT(hold), false},
    {"agent", "agent", {NULL}, read_agent, 0, false},
};

enum { N_KEYS = sizeof control_keys / sizeof *control_keys };

static bool
is_key(const struct control_key *c, const char *word)
{
    if (strcmp(word, c->name) == 0)
        return true;
    for (size_t i = 0; i < sizeof c->also / sizeof *c->also && c->also[i]; i++)
        if (strcmp(word, c->also[i]) == 0)
            return true;
    return false;
}

static const struct control_key *
find_key(const char *key)
{
    char word[NORMAL_SIZE];

    (void)normal(key, word);
    for (size_t i = 0; i < N_KEYS; i++)
        if (is_key(&control_keys[i], word))
            return &control_keys[i];
    return NULL;
}

/* --- words of other tools ------------------------------------------------- */

/* Controls that other tools have, in normal form, with what to write here. */
static const struct {
    const char *words, *remedy;
} others[] = {
    {" timeoutminutes timeoutmins timeoutmin timeoutseconds timeoutsecs "
     "timeoutsec timeouts timeoutms timeoutmillis timeouthours maxruntime "
     "maxduration maxtime walltime deadline activedeadlineseconds ",
     "write timeout, with a unit: 10m"},
    {" noutputtimeout nooutputtimeout ", "write idle_timeout, with a unit: 5m"},
    {" maxattempts attempts maxretries maxtries tries retrycount retrylimit "
     "retrymax backofflimit retrypolicy retryon restart restartpolicy ",
     "write retries, the further attempts after one that failed"},
    {" backoff retrydelay retrydelayms retryinterval ",
     "remove it; the time between attempts is not set by a task"},
    {" dependson dependency dependencies depends needs requires blockedby "
     "waitfor runafter upstream prerequisites ",
     "write after, with ids of tasks"},
    {" schedule scheduled scheduledat cron every interval runat startat "
     "notbefore delay eta triggers trigger ",
     "remove it; a file runs when it is submitted (shunt submit --after TIME "
     "waits)"},
    {" shell interpreter executable entrypoint args argv commands command cmd "
     "run beforescript afterscript setup teardown cleanup pre post prehook "
     "posthook onfailure onsuccess onerror finally ",
     "remove it; write all commands in the list of what to run"},
    {" user runas runasuser uid gid group sudo become privileged umask nice ",
     "remove it; tasks run as the worker's user"},
    {" image container docker dockerfile services volumes mounts ports "
     "runson runner host hosts node machine vm resources cpu cpus gpus mem "
     "memory memorylimit network sandbox ",
     "remove it; the router decides where a task runs (docs/routing.md)"},
    {" if when unless only except rules condition allowfailure "
     "continueonerror ignoreerrors ignorefailure failfast strategy matrix "
     "concurrency parallel parallelism parallelmax loop foreach withitems ",
     "remove it; write the condition into the command"},
    {" on workflowdispatch ",
     "remove it; nothing but its submission starts it"},
    {" secrets permissions permissionmode allowedtools disallowedtools "
     "dangerouslyskippermissions approval requiresapproval manual ",
     "remove it; this is not acted on (hold: true waits for a person)"},
    {" lock mutex exclusive serial ",
     "remove it; a task cannot say what it must not run beside"},
};

/* A key in normal form between blanks, as lists of words have it. */
static const char *
as_word(const char *key, char out[WORD_SIZE])
{
    char word[NORMAL_SIZE];

    (void)snprintf(out, WORD_SIZE, " %s ", normal(key, word));
    return out;
}

static const char *
remedy_of_others(const char *key)
{
    char word[WORD_SIZE];

    if (!*key || strchr(key, ' '))
        return NULL;
    (void)as_word(key, word);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strstr(others[i].words, word))
            return others[i].remedy;
    return NULL;
}

/* Whether a key is a slip of the pen for candidate. Short words differ by one
 * letter from too many others. */
static bool
is_slip(const char *key, const char *candidate, size_t *least)
{
    enum { SHORTEST = 4, LONG = 7 };
    char a[NORMAL_SIZE], b[NORMAL_SIZE];
    size_t len = strlen(normal(key, a)), d = *least;

    if (len < SHORTEST || !nearest_is(a, normal(candidate, b), &d) ||
        d > (len < LONG ? 1 : 2))
        return false;
    *least = d;
    return true;
}

static const char *
meant(const char *key, const char *const *known)
{
    const char *found = NULL;
    size_t least = SIZE_MAX;

    for (; *known; known++)
        if (is_slip(key, *known, &least))
            found = *known;
    for (size_t i = 0; i < N_KEYS; i++)
        if (is_slip(key, control_keys[i].say, &least))
            found = control_keys[i].say;
    return found;
}

/* --- what must not run ---------------------------------------------------- */

static const char over[] =
    " done closed complete completed cancelled canceled finished resolved "
    "merged shipped archived obsolete rejected declined wontfix wontdo "
    "duplicate invalid deprecated superseded draft wip blocked onhold paused "
    "inprogress executing running inreview ";

/* A status of this kind, without what people vary: "In Progress". */
static bool
is_over(const char *status)
{
    char word[WORD_SIZE], letters[NORMAL_SIZE];
    size_t n = 0;

    for (; *status && n + 1 < sizeof letters; status++)
        if (isalpha((unsigned char)*status))
            letters[n++] = *status;
    letters[n] = '\0';
    return n > 0 && strstr(over, as_word(letters, word));
}

static bool
is_true(const struct yaml_node *v)
{
    return strcasecmp(v->text, "true") == 0 || strcasecmp(v->text, "yes") == 0;
}

static bool
is_false(const struct yaml_node *v)
{
    return strcasecmp(v->text, "false") == 0 || strcasecmp(v->text, "no") == 0;
}

/* Refuses a task whose own words say that it is not to be carried out. */
static int
check_status(const struct import_text *s, const struct yaml_node *v)
{
    static const char flags[] =
        " draft done completed closed archived disabled skip cancelled ";
    const char *key = v->key->text;
    char word[WORD_SIZE];
    bool is = false;

    if (v->kind != YAML_SCALAR || strchr(key, ' '))
        return 0;
    (void)as_word(key, word);
    if (strstr(" status state ", word))
        is = is_over(v->text);
    else if (strstr(flags, word))
        is = is_true(v);
    else if (strcmp(word, " enabled ") == 0)
        is = is_false(v);
    return is ? formats_fail(s, v,
                             "%s: '%s' says that it is not to be done now; "
                             "remove the line to run it",
                             key, formats_short(s, v->text))
              : 0;
}

/* --- all keys ------------------------------------------------------------- */

/* Keeps a short value as a tag, and warns. */
static void
keep(struct import_text *s, const struct yaml_node *v, struct task *t)
{
    const char *key = v->key->text;
    size_t n = t ? t->n_tags : 0;

    if (t && v->kind == YAML_SCALAR && strlen(key) <= FORMATS_TAG_BYTES &&
        strlen(v->text) <= FORMATS_TAG_BYTES)
        formats_tag(s, t, key, yaml_is_null(v) ? "" : v->text);
    formats_warn(s, v->key, "%s: unknown key, %s", formats_short(s, key),
                 t && t->n_tags > n ? "kept as a tag" : "ignored");
}

/* The same control under another key. */
static const struct yaml_node *
twin(const struct yaml_node *map, const struct yaml_node *of,
     const struct control_key *c)
{
    for (const struct yaml_node *v = map->first; v; v = v->next)
        if (v != of && find_key(v->key->text) == c)
            return v;
    return NULL;
}

static int
take(struct import_text *s, const struct yaml_node *map,
     const struct yaml_node *v, const struct control_key *c, struct task *t)
{
    const struct yaml_node *other;
    const char *key = v->key->text;

    if (!t)
        return formats_fail(s, v->key,
                            "%s: not read here; write %s beside the steps",
                            formats_short(s, key), c->say);
    if (s->no_shell && c->shell)
        return formats_fail(s, v->key,
                            "%s: not accepted from here; set it up where the "
                            "worker runs",
                            formats_short(s, key));
    if (s->no_after && c->read == read_after)
        return formats_fail(s, v->key, "%s: not read here; %s",
                            formats_short(s, key), s->no_after);
    other = twin(map, v, c);
    if (other)
        return formats_fail(s, v->key, "%s: given together with %s; keep one",
                            key, other->key->text);
    return c->read(s, c, map, key, t);
}

int
formats_key(struct import_text *s, const struct yaml_node *map,
            const struct yaml_node *v, const char *const *known, struct task *t)
{
    const char *key = v->key->text, *remedy, *near;
    const struct control_key *c = find_key(key);

    if (t && check_status(s, v) < 0)
        return -1;
    /* The format has a name of its own. */
    if (c && t && c->offset == AT(name) && c->read == read_text && *t->name) {
        keep(s, v, t);
        return 0;
    }
    if (c)
        return take(s, map, v, c, t);
    remedy = remedy_of_others(key);
    if (remedy)
        return formats_fail(s, v->key, "%s: not known here; %s",
                            formats_short(s, key), remedy);
    near = meant(key, known);
    if (near)
        return formats_fail(s, v->key, "%s: unknown key; did you mean %s?",
                            formats_short(s, key), near);
    if (codec_delegation_key(key))
        return formats_fail(s, v->key,
                            "%s: not read here; a prompt has it in delegation: "
                            "{%s: ...}, and steps are never delegated",
                            formats_short(s, key), codec_delegation_key(key));
    keep(s, v, t);
    return 0;
}

static bool
is_one_of(const char *word, const char *const *words)
{
    for (; *words; words++)
        if (strcmp(word, *words) == 0)
            return true;
    return false;
}

int
formats_keys(struct import_text *s, const struct yaml_node *map,
             const char *const *known, struct task *t)
{
    for (const struct yaml_node *v = map->first; v; v = v->next)
        if (!is_one_of(v->key->text, known) &&
            formats_key(s, map, v, known, t) < 0)
            return -1;
    return 0;
}

void
formats_inherit(const struct task *from, struct task *t)
{
    const char *const *text[] = {&from->workdir, &from->repo, &from->branch,
                                 &from->dod, &from->team};
    const char **own[] = {&t->workdir, &t->repo, &t->branch, &t->dod, &t->team};

    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (!**own[i])
            *own[i] = *text[i];
    if (!t->timeout_ms)
        t->timeout_ms = from->timeout_ms;
    if (!t->idle_timeout_ms)
        t->idle_timeout_ms = from->idle_timeout_ms;
    if (!t->retries)
        t->retries = from->retries;
    if (!t->retry)
        t->retry = from->retry;
    if (!t->priority)
        t->priority = from->priority;
    if (!t->n_env) {
        t->env = from->env;
        t->n_env = from->n_env;
    }
    t->hold = t->hold || from->hold;
    if (!t->hints)
        t->hints = from->hints;
}
