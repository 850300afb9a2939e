#include "router/decide.h"

#include "lib/str.h"
#include "router/rules.h"

#include <ctype.h>
#include <string.h>

static const struct executor_lane default_executors[] = {
    {"devbox-codex", "local", "default"},
    {"vm-codex", "local", "default"},
    {"local-mac-codex", "local", "default"},
};

static const struct policy shipped = {
    .version = "builtin-1",
    .threshold = 2,
    .local_runtime_ms = 3 * 60 * 1000,
    .cloud_runtime_ms = 10 * 60 * 1000,
    .cloud_memory_bytes = 8ULL << 30,
    .cloud_parallel = 2,
    .executors = default_executors,
    .n_executors = sizeof default_executors / sizeof *default_executors,
    .when_unavailable = UNAVAILABLE_LOCAL,
};

const struct policy *
policy_default(void)
{
    return &shipped;
}

/* --- the question -------------------------------------------------------- */

/* The prefix of the first step's own text. */
static enum prefix
step_prefix(const struct step *s, size_t *len)
{
    if (s->n_argv)
        return signals_prefix(s->argv[0], len);
    return signals_prefix(s->script, len);
}

static void
strip_step(struct step *s, size_t len)
{
    if (!s->n_argv) {
        s->script += len;
        return;
    }
    s->argv[0] += len;
    if (!*s->argv[0]) { /* the prefix was a word of its own */
        s->argv++;
        s->n_argv--;
    }
}

/* Takes the prefix off the command and the first step, wherever it stands. */
static void
strip_prefix(struct task *t, struct question *q)
{
    struct step *first = t->n_steps ? &t->steps[0] : NULL;
    enum prefix of_step = PREFIX_NONE;
    size_t len = 0, step_len = 0;

    if (first)
        of_step = step_prefix(first, &step_len);
    q->prefix = signals_prefix(t->command, &len);
    t->command += len;
    if (q->prefix == PREFIX_NONE)
        q->prefix = of_step;
    if (of_step == PREFIX_NONE)
        return;
    strip_step(first, step_len);
    q->nothing_left = !*(first->n_argv ? first->argv[0] : first->script);
}

/* What the signals are read from: the command as typed, else the steps. */
static const char *
command_text(const struct task *t, struct mem_pool *pool)
{
    struct str text = {0};
    const char *copy;

    if (*t->command)
        return t->command;
    if (t->n_steps == 1 && !t->steps[0].n_argv)
        return t->steps[0].script;
    for (size_t i = 0; i < t->n_steps; i++) {
        const struct step *s = &t->steps[i];

        str_addz(&text, s->script);
        for (size_t j = 0; j < s->n_argv; j++) {
            str_addc(&text, ' ');
            str_add_quoted(&text, s->argv[j]);
        }
        str_addc(&text, '\n');
    }
    copy = mem_pool_strndup(pool, str_text(&text), text.len);
    str_free(&text);
    return copy;
}

static const char *
trimmed_lower(const char *text, struct mem_pool *pool)
{
    size_t len;
    char *copy;

    while (isspace((unsigned char)*text))
        text++;
    len = strlen(text);
    while (len && isspace((unsigned char)text[len - 1]))
        len--;
    copy = mem_pool_strndup(pool, text, len);
    for (char *p = copy; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    return copy;
}

static const struct executor_lane *
find_executor(const struct policy *p, const char *name)
{
    for (size_t i = 0; i < p->n_executors; i++)
        if (strcmp(p->executors[i].executor, name) == 0)
            return &p->executors[i];
    return NULL;
}

static void
ask(struct question *q, struct task *t, const struct facts *f,
    const struct policy *p, struct mem_pool *pool)
{
    static const struct hints none = {.agent = "", .data = ""};

    *q = (struct question){.task = t,
                           .hints = t->hints ? t->hints : &none,
                           .facts = f,
                           .policy = p,
                           .pool = pool,
                           .preferred = ""};
    q->is_ai = *t->prompt && !t->n_steps;
    q->affinity = affinity_of(q->hints->agent);
    q->executor = find_executor(p, t->executor);
    if (t->delegation)
        q->preferred = trimmed_lower(t->delegation->preferred_ai, pool);
    if (q->is_ai)
        return;
    strip_prefix(t, q);
    signals_score(command_text(t, pool), q->prefix, t, f, pool, &q->score);
}

/* --- the answer ---------------------------------------------------------- */

static void
add_lost(struct decision *d, struct mem_pool *pool, const char *text)
{
    if (!d->lost)
        d->lost = mem_pool_alloc(pool, (RULES_MAX + 2) * sizeof *d->lost);
    d->lost[d->n_lost++] = mem_pool_strdup(pool, text);
}

/* The rules that held as well but stood lower, and pointed elsewhere. */
static void
list_lost(const struct rule *winner, const struct question *q,
          struct decision *d)
{
    struct place won = place_of(winner->target, q);

    for (const struct rule *r = winner + 1; r->name; r++) {
        struct place p;

        if (r->target == TARGET_REJECT || !r->holds(q))
            continue;
        p = place_of(r->target, q);
        if (strcmp(p.backend, won.backend) == 0 &&
            strcmp(p.lane, won.lane) == 0)
            continue;
        add_lost(d, q->pool,
                 mem_pool_printf(
                     q->pool, "%s.%s by %s (%s): %s stands before it",
                     p.backend, p.lane, r->name, r->why(q), winner->name));
    }
    if (winner->scored && !d->n_lost)
        add_lost(d, q->pool,
                 mem_pool_printf(q->pool, "%s: %s",
                                 winner->target == TARGET_CLOUD
                                     ? "local.default"
                                     : "codespace.default",
                                 d->reason));
}

static void
copy_signals(const struct question *q, struct decision *d)
{
    size_t size = q->score.n_hits * sizeof *d->signals;

    d->scored = true;
    d->score = q->score.points;
    d->n_signals = q->score.n_hits;
    d->signals = mem_pool_alloc(q->pool, size);
    memcpy(d->signals, q->score.hits, size);
}

static bool
is_available(const char *backend, const struct facts *f)
{
    if (!f->known)
        return true; /* judged by policy alone */
    if (strcmp(backend, "codespace") == 0)
        return f->codespace_available;
    if (strcmp(backend, "secutools") == 0)
        return f->secutools_available;
    return true;
}

static void
reject(struct decision *d)
{
    d->rejected = true;
    d->backend = d->lane = "";
}

/* A wanted backend without a worker and without configuration: what happens
 * then is policy, and is always said. */
static void
settle_unavailable(const struct rule *winner, const struct question *q,
                   struct decision *d)
{
    bool chosen =
        winner->target == TARGET_PIN || winner->target == TARGET_EXECUTOR;
    const char *reason = d->reason, *wanted = d->backend;

    if (is_available(d->backend, q->facts))
        return;
    if (chosen || q->policy->when_unavailable == UNAVAILABLE_QUEUE) {
        d->reason = mem_pool_printf(
            q->pool, "%s; no worker of %s is known, so it waits for one",
            reason, wanted);
        return;
    }
    d->wanted = wanted;
    add_lost(d, q->pool,
             mem_pool_printf(q->pool,
                             "%s.%s: not available (no worker is known and "
                             "none is configured)",
                             wanted, d->lane));
    if (q->policy->when_unavailable == UNAVAILABLE_REJECT) {
        d->reason = mem_pool_printf(
            q->pool, "%s; %s is not available, and policy rejects such tasks",
            reason, wanted);
        reject(d);
        return;
    }
    d->backend = "local";
    d->lane = q->is_ai ? "claude-code" : "default";
    d->reason = mem_pool_printf(
        q->pool, "%s; %s is not available, so it runs on local.%s", reason,
        wanted, d->lane);
}

void
decide(struct task *t, const struct facts *f, const struct policy *p,
       struct mem_pool *pool, struct decision *out)
{
    const struct rule *winner = rules;
    struct question q;
    struct place place;

    ask(&q, t, f, p, pool);
    while (!winner->holds(&q))
        winner++;
    place = place_of(winner->target, &q);
    *out = (struct decision){.backend = place.backend,
                             .lane = place.lane,
                             .rule = winner->name,
                             .reason = winner->why(&q),
                             .affinity = affinity_name(q.affinity),
                             .policy = p->version,
                             .wanted = ""};
    if (winner->scored)
        copy_signals(&q, out);
    if (winner->target == TARGET_REJECT) {
        reject(out);
        return;
    }
    list_lost(winner, &q, out);
    settle_unavailable(winner, &q, out);
}
