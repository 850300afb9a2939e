/*
 * Finds the first rule that holds (rules.c), lists the rules that would have
 * sent the task elsewhere, and applies the policy for lanes without a worker.
 */
#include "router/decide.h"

#include "lib/base/str.h"
#include "router/rules.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

enum { COST_MS_MAX = 1000000000 }; /* 11 days; anything longer is a mistake */

/* --- input --------------------------------------------------------------- */

static void
strip_step(struct step *s, size_t len)
{
    if (!s->n_argv) {
        s->script += len;
        return;
    }
    s->argv[0] += len;
    if (!*s->argv[0]) { /* the prefix was a separate word */
        s->argv++;
        s->n_argv--;
    }
}

/* Removes the prefix from the command and from the first step. */
static void
strip_prefix(struct task *t, struct decide_input *in)
{
    struct step *first = t->n_steps ? &t->steps[0] : NULL;
    enum prefix of_step = PREFIX_NONE;
    size_t len = 0, step_len = 0;

    if (first)
        of_step = scoring_prefix(first->n_argv ? first->argv[0] : first->script,
                                 &step_len);
    in->prefix = scoring_prefix(t->command, &len);
    t->command += len;
    if (in->prefix == PREFIX_NONE)
        in->prefix = of_step;
    if (of_step == PREFIX_NONE)
        return;
    strip_step(first, step_len);
    in->nothing_left = !*(first->n_argv ? first->argv[0] : first->script);
}

/* The text that is scored: the command as typed, else the steps. */
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

/* The affinity of the task's agent; where it depends on the command, and that
 * has not what it depends on, none. */
static enum affinity
affinity_of(const struct decide_input *in)
{
    const struct agent_row *row = policy_agent(in->policy, in->hints->agent);

    if (!row)
        return AFFINITY_NONE;
    for (size_t i = 0; *row->when && i < in->score.n_hits; i++)
        if (strcmp(in->score.hits[i].name, row->when) == 0)
            return row->affinity;
    return *row->when ? AFFINITY_DEPENDS : row->affinity;
}

static void
gather_input(struct decide_input *in, struct task *t,
             const struct routing_facts *f, const struct policy *p,
             struct mem_pool *pool)
{
    static const struct hints none = {.agent = "", .data = ""};

    *in = (struct decide_input){.task = t,
                                .hints = t->hints ? t->hints : &none,
                                .facts = f,
                                .policy = p,
                                .pool = pool,
                                .preferred = ""};
    in->is_ai = *t->prompt && !t->n_steps;
    in->executor = policy_executor(p, t->executor);
    if (t->delegation)
        in->preferred = trimmed_lower(t->delegation->preferred_ai, pool);
    if (in->is_ai) {
        in->affinity = affinity_of(in);
        return;
    }
    strip_prefix(t, in);
    scoring_score(command_text(t, pool), in->prefix, in->hints->data, f, p,
                  pool, &in->score);
    in->affinity = affinity_of(in);
}

/* --- decision ------------------------------------------------------------ */

static void
add_lost(struct decision *d, struct mem_pool *pool, const char *text)
{
    if (!d->lost)
        d->lost = mem_pool_alloc(pool, (RULES_MAX + 2) * sizeof *d->lost);
    d->lost[d->n_lost++] = mem_pool_strdup(pool, text);
}

/* Lists the later rules that hold as well but lead elsewhere. */
static void
list_lost(const struct rule *winner, const struct decide_input *in,
          struct decision *d)
{
    struct destination won = destination_of(winner->target, in);

    for (const struct rule *r = winner + 1; r->name; r++) {
        struct destination p;

        if (r->target == TARGET_REJECT || !rule_holds(r, in))
            continue;
        p = destination_of(r->target, in);
        if (strcmp(p.backend, won.backend) == 0 &&
            strcmp(p.lane, won.lane) == 0)
            continue;
        add_lost(d, in->pool,
                 mem_pool_printf(in->pool,
                                 "%s.%s by %s (%s): %s stands before it",
                                 p.backend, p.lane, r->name, rule_reason(r, in),
                                 winner->name));
    }
    if (winner->scored && !d->n_lost)
        add_lost(d, in->pool,
                 mem_pool_printf(in->pool, "%s: %s",
                                 winner->target == TARGET_CLOUD
                                     ? "local.default"
                                     : "codespace.default",
                                 d->reason));
}

static bool
has_worker(const struct routing_facts *f, const char *backend, const char *lane)
{
    for (size_t i = 0; i < f->n_lanes; i++)
        if (policy_is_lane(f->lanes[i], backend, lane))
            return true;
    return false;
}

/* On a local lane a task can always wait: there is nowhere else to go. */
static bool
is_available(const struct decision *d, const struct routing_facts *f)
{
    if (!f->known || strcmp(d->backend, "local") == 0)
        return true;
    if (strcmp(d->backend, "codespace") == 0 ? f->codespace_configured
                                             : f->secutools_configured)
        return true;
    return has_worker(f, d->backend, d->lane);
}

static void
reject(struct decision *d)
{
    d->rejected = true;
    d->backend = d->lane = "";
}

/* Applies the policy to a lane without a worker whose backend is not
 * configured, and gives it as the reason. */
static void
handle_unavailable(const struct rule *winner, const struct decide_input *in,
                   struct decision *d)
{
    bool chosen =
        winner->target == TARGET_PIN || winner->target == TARGET_EXECUTOR;
    const char *reason = d->reason, *wanted = d->backend, *here;

    if (is_available(d, in->facts))
        return;
    if (chosen || in->policy->when_unavailable == UNAVAILABLE_QUEUE) {
        d->reason = mem_pool_printf(
            in->pool, "%s; no worker of %s.%s is known, so it waits for one",
            reason, wanted, d->lane);
        return;
    }
    d->wanted = wanted;
    add_lost(d, in->pool,
             mem_pool_printf(in->pool,
                             "%s.%s: not available (no worker is known and "
                             "none is configured)",
                             wanted, d->lane));
    if (in->policy->when_unavailable == UNAVAILABLE_REJECT) {
        d->reason = mem_pool_printf(
            in->pool,
            "%s; %s.%s is not available, and policy rejects such tasks", reason,
            wanted, d->lane);
        reject(d);
        return;
    }
    here = in->is_ai ? "claude-code" : "default";
    d->reason = mem_pool_printf(
        in->pool, "%s; %s.%s is not available, so it %s local.%s", reason,
        wanted, d->lane,
        has_worker(in->facts, "local", here) ? "runs on" : "goes to", here);
    d->backend = "local";
    d->lane = here;
}

/* Says of a local lane that nobody serves it: the task waits there. */
static void
note_waiting(const struct decide_input *in, struct decision *d)
{
    if (!in->facts->known || strcmp(d->backend, "local") != 0 ||
        has_worker(in->facts, d->backend, d->lane))
        return;
    d->reason = mem_pool_printf(
        in->pool, "%s; no worker of %s.%s is known, so it waits for one",
        d->reason, d->backend, d->lane);
}

/* The cost of the stated runtime at the policy's price; "" if unknown. It does
 * not influence the decision. */
static const char *
cost_of(const struct decide_input *in, const struct decision *d)
{
    uint64_t price = policy_price(in->policy, d->backend, d->lane), cents;
    uint64_t ms = in->hints->runtime_ms;

    if (d->rejected || !price || !ms || ms > COST_MS_MAX)
        return "";
    cents = (price * ms + UINT64_C(18000000000)) / UINT64_C(36000000000);
    return mem_pool_printf(in->pool, "%" PRIu64 ".%02" PRIu64, cents / 100,
                           cents % 100);
}

void
decide(struct task *t, const struct routing_facts *f, const struct policy *p,
       struct mem_pool *pool, struct decision *out)
{
    const struct rule *winner = rules;
    struct decide_input in;
    struct destination place;

    gather_input(&in, t, f, p, pool);
    while (!rule_holds(winner, &in))
        winner++;
    place = destination_of(winner->target, &in);
    *out = (struct decision){.backend = place.backend,
                             .lane = place.lane,
                             .rule = winner->name,
                             .reason = rule_reason(winner, &in),
                             .affinity = policy_affinity_name(in.affinity),
                             .policy = p->version,
                             .wanted = "",
                             .cost_usd = ""};
    if (winner->scored) {
        out->scored = true;
        out->score = in.score.points;
        out->n_signals = in.score.n_hits;
        out->signals = in.score.hits;
    }
    if (winner->target == TARGET_REJECT) {
        reject(out);
        return;
    }
    list_lost(winner, &in, out);
    handle_unavailable(winner, &in, out);
    note_waiting(&in, out);
    out->cost_usd = cost_of(&in, out);
}
