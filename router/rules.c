/*
 * The rules in order of precedence: what the submitter pinned, then those for
 * prompts (delegation front matter), then those for steps (the cloud routing
 * rules). Each has a predicate and its reason, fixed or worded by a
 * function.
 */
#include "router/rules.h"

#include "lib/base/str.h"

#include <inttypes.h>
#include <string.h>

/* --- 1. pins of the submitter -------------------------------------------- */

/* The destination of a pin: backend and lane may each be given alone. */
static struct destination
pinned_destination(const struct decide_input *in)
{
    const struct task *t = in->task;
    struct destination p = {t->backend, t->lane};

    if (!*p.backend)
        p.backend = policy_is_provider(in->policy, t->lane) ||
                            strcmp(t->lane, "auto") == 0
                        ? "secutools"
                        : "local";
    if (*p.lane)
        return p;
    if (strcmp(p.backend, "secutools") == 0)
        p.lane = policy_is_provider(in->policy, in->preferred) ? in->preferred
                                                               : "auto";
    else
        p.lane = in->is_ai ? "claude-code" : "default";
    return p;
}

static bool
is_pinned(const struct decide_input *in)
{
    return *in->task->backend || *in->task->lane;
}

static bool
has_nothing_to_run(const struct decide_input *in)
{
    return in->nothing_left;
}

static bool
pins_unknown_backend(const struct decide_input *in)
{
    return *in->task->backend &&
           !policy_is_backend(in->task->backend, strlen(in->task->backend));
}

static bool
pins_what_cannot_run_it(const struct decide_input *in)
{
    const char *backend = pinned_destination(in).backend;

    return is_pinned(in) &&
           strcmp(backend, in->is_ai ? "codespace" : "secutools") == 0;
}

/* A prompt that its author keeps here, and that a pin or an executor would
 * send to a platform: nothing overrides the author. */
static bool
pins_what_must_stay(const struct decide_input *in)
{
    const struct delegation *d = in->task->delegation;
    const char *backend = is_pinned(in)  ? pinned_destination(in).backend
                          : in->executor ? in->executor->backend
                                         : "";

    return d && (d->needs_claude_code || !d->allow_delegation) &&
           strcmp(backend, "secutools") == 0;
}

static bool
names_executor(const struct decide_input *in)
{
    return in->executor;
}

static bool
names_unknown_executor(const struct decide_input *in)
{
    return *in->task->executor && !in->executor;
}

static const char *
why_unknown_backend(const struct decide_input *in)
{
    return mem_pool_printf(in->pool,
                           "backend '%s' is unknown; known are local, "
                           "codespace and secutools",
                           in->task->backend);
}

static const char *
why_cannot_run(const struct decide_input *in)
{
    return in->is_ai ? "backend codespace runs steps; a prompt goes to local "
                       "(lane claude-code) or secutools"
                     : "backend secutools answers prompts and cannot run "
                       "steps; use local or codespace";
}

static const char *
why_pinned(const struct decide_input *in)
{
    struct destination p = pinned_destination(in);

    return mem_pool_printf(in->pool, "the submitter asked for %s.%s", p.backend,
                           p.lane);
}

static const char *
why_unknown_executor(const struct decide_input *in)
{
    struct str known = {0};
    const char *why;

    for (size_t i = 0; i < in->policy->n_executors; i++)
        str_addf(&known, "%s%s", i ? ", " : "",
                 in->policy->executors[i].executor);
    why = mem_pool_printf(in->pool, "executor '%s' is unknown; known are %s",
                          in->task->executor, str_text(&known));
    str_free(&known);
    return why;
}

static const char *
why_executor(const struct decide_input *in)
{
    return mem_pool_printf(in->pool, "executor %s means %s.%s",
                           in->task->executor, in->executor->backend,
                           in->executor->lane);
}

/* --- 2. prompts: delegation front matter --------------------------------- */

static bool
needs_claude_code(const struct decide_input *in)
{
    return in->task->delegation && in->task->delegation->needs_claude_code;
}

static const char *
why_must_stay(const struct decide_input *in)
{
    return mem_pool_printf(in->pool, "%s: it is not sent to backend secutools",
                           needs_claude_code(in) ? "needs_claude_code=true"
                                                 : "allow_delegation=false");
}

static bool
prefers_claude_code(const struct decide_input *in)
{
    return strcmp(in->preferred, "claude-code") == 0;
}

static bool
must_not_delegate(const struct decide_input *in)
{
    return !(in->task->delegation && in->task->delegation->allow_delegation);
}

static bool
prefers_provider(const struct decide_input *in)
{
    return policy_is_provider(in->policy, in->preferred);
}

static bool
prefers_auto(const struct decide_input *in)
{
    return !*in->preferred || strcmp(in->preferred, "auto") == 0;
}

/* A typo must not send real work to a platform that costs money. */
static bool
prefers_something_else(const struct decide_input *in)
{
    return !prefers_claude_code(in) && !prefers_provider(in) &&
           !prefers_auto(in);
}

static const char *
why_prefers(const struct decide_input *in)
{
    return mem_pool_printf(in->pool, "preferred_ai=%s", in->preferred);
}

static const char *
why_fail_safe(const struct decide_input *in)
{
    return mem_pool_printf(in->pool, "unknown preferred_ai=%s → fail-safe",
                           in->preferred);
}

/* --- 3. steps: the cloud routing rules ----------------------------------- */

static bool
agent_is_local(const struct decide_input *in)
{
    return in->affinity == AFFINITY_LOCAL;
}

static bool
agent_is_cloud(const struct decide_input *in)
{
    return in->affinity == AFFINITY_CLOUD;
}

static bool
says_local(const struct decide_input *in)
{
    return in->prefix == PREFIX_LOCAL;
}

static bool
says_cloud(const struct decide_input *in)
{
    return in->prefix == PREFIX_CLOUD;
}

static bool
runs_long(const struct decide_input *in)
{
    return in->policy->cloud_runtime_ms &&
           in->hints->runtime_ms > in->policy->cloud_runtime_ms;
}

static bool
logs_heavily(const struct decide_input *in)
{
    return in->policy->cloud_heavy_log && in->hints->heavy_log;
}

static bool
calls_models(const struct decide_input *in)
{
    return in->policy->cloud_llm && in->hints->llm;
}

static bool
runs_parallel(const struct decide_input *in)
{
    return in->policy->cloud_parallel &&
           in->hints->parallel >= in->policy->cloud_parallel;
}

static bool
outgrows_memory(const struct decide_input *in)
{
    return in->policy->cloud_memory_bytes &&
           in->hints->memory_bytes > in->policy->cloud_memory_bytes;
}

/* More than any local worker reports to have free: here it would swap or be
 * killed. */
static bool
outgrows_free_memory(const struct decide_input *in)
{
    return in->policy->cloud_memory_free && in->facts->known &&
           in->facts->local_free_bytes &&
           in->hints->memory_bytes > in->facts->local_free_bytes;
}

static bool
memory_is_unknown(const struct decide_input *in)
{
    return in->policy->cloud_memory_unknown && in->hints->memory_unknown;
}

/* An unstated runtime is not short. */
static bool
is_short(const struct decide_input *in)
{
    return in->hints->runtime_ms > 0 &&
           in->hints->runtime_ms <= in->policy->local_runtime_ms;
}

/* All exceptions of the policy hold: short, in a UI, a light check. A policy
 * without exceptions keeps nothing here by this rule. */
static bool
is_light_ui_work(const struct decide_input *in)
{
    const struct policy *p = in->policy;

    return (p->local_runtime_ms || p->local_ui || p->local_light) &&
           (!p->local_runtime_ms || is_short(in)) &&
           (!p->local_ui || in->hints->ui) &&
           (!p->local_light || in->hints->light);
}

/* Between the two limits: in doubt a task goes to the cloud. */
static bool
runtime_is_in_doubt(const struct decide_input *in)
{
    return in->policy->local_runtime_ms &&
           in->hints->runtime_ms > in->policy->local_runtime_ms &&
           !runs_long(in);
}

static bool
score_is_high(const struct decide_input *in)
{
    return in->score.points >= in->policy->threshold;
}

static bool
score_is_low(const struct decide_input *in)
{
    return !score_is_high(in);
}

static const char *
why_agent(const struct decide_input *in)
{
    return mem_pool_printf(
        in->pool, "agent %s works %s", in->task->hints->agent,
        in->affinity == AFFINITY_LOCAL ? "locally" : "in the cloud");
}

static const char *
why_prefix(const struct decide_input *in)
{
    return in->prefix == PREFIX_LOCAL ? "the prefix local: keeps it here"
                                      : "the prefix cloud: sends it away";
}

static const char *
compare_runtime(const struct decide_input *in, const char *words,
                uint64_t limit_ms)
{
    char runtime[32], limit[32];

    return mem_pool_printf(
        in->pool, "stated runtime %s %s %s",
        str_duration(in->hints->runtime_ms, runtime, sizeof runtime), words,
        str_duration(limit_ms, limit, sizeof limit));
}

static const char *
why_long(const struct decide_input *in)
{
    return compare_runtime(in, "is over", in->policy->cloud_runtime_ms);
}

static const char *
why_doubt(const struct decide_input *in)
{
    return compare_runtime(in, "leaves doubt: it is over",
                           in->policy->local_runtime_ms);
}

static const char *
why_parallel(const struct decide_input *in)
{
    return mem_pool_printf(in->pool, "it runs %" PRIu32 " jobs at once",
                           in->hints->parallel);
}

static const char *
why_memory(const struct decide_input *in)
{
    return mem_pool_printf(
        in->pool, "stated memory %" PRIu64 " MiB is over %" PRIu64 " MiB",
        (in->hints->memory_bytes + (1U << 20) - 1) >> 20,
        in->policy->cloud_memory_bytes >> 20);
}

static const char *
why_memory_free(const struct decide_input *in)
{
    return mem_pool_printf(in->pool,
                           "stated memory %" PRIu64
                           " MiB is more than any local worker has free "
                           "(%" PRIu64 " MiB)",
                           (in->hints->memory_bytes + (1U << 20) - 1) >> 20,
                           in->facts->local_free_bytes >> 20);
}

static const char *
why_score(const struct decide_input *in)
{
    return mem_pool_printf(
        in->pool, "score %" PRId32 " %s the threshold %" PRId32,
        in->score.points, score_is_high(in) ? "reaches" : "is below",
        in->policy->threshold);
}

/* --- the table ----------------------------------------------------------- */

/* The first rule that holds decides. One of the last rules for each kind of
 * task always holds. */
const struct rule rules[] = {
    {"nothing-to-run", TASKS_ALL, has_nothing_to_run, TARGET_REJECT,
     .reason = "nothing is left to run after the prefix"},
    {"unknown-backend", TASKS_ALL, pins_unknown_backend, TARGET_REJECT,
     .why = why_unknown_backend},
    {"wrong-backend", TASKS_ALL, pins_what_cannot_run_it, TARGET_REJECT,
     .why = why_cannot_run},
    {"must-not-leave", TASKS_PROMPT, pins_what_must_stay, TARGET_REJECT,
     .why = why_must_stay},
    {"pinned", TASKS_ALL, is_pinned, TARGET_PIN, .why = why_pinned},
    {"unknown-executor", TASKS_ALL, names_unknown_executor, TARGET_REJECT,
     .why = why_unknown_executor},
    {"executor", TASKS_ALL, names_executor, TARGET_EXECUTOR,
     .why = why_executor},

    {"needs-claude-code", TASKS_PROMPT, needs_claude_code, TARGET_CLAUDE,
     .reason = "needs_claude_code=true"},
    {"preferred-claude-code", TASKS_PROMPT, prefers_claude_code, TARGET_CLAUDE,
     .why = why_prefers},
    {"delegation-not-allowed", TASKS_PROMPT, must_not_delegate, TARGET_CLAUDE,
     .reason = "allow_delegation=false (default)"},
    {"preferred-provider", TASKS_PROMPT, prefers_provider, TARGET_PROVIDER,
     .why = why_prefers},
    {"preferred-auto", TASKS_PROMPT, prefers_auto, TARGET_AUTO,
     .reason = "preferred_ai=auto (smart_triage)"},
    {"unknown-provider", TASKS_PROMPT, prefers_something_else, TARGET_CLAUDE,
     .why = why_fail_safe},

    {"affinity-local", TASKS_STEPS, agent_is_local, TARGET_LOCAL,
     .why = why_agent},
    {"prefix-local", TASKS_STEPS, says_local, TARGET_LOCAL, .scored = true,
     .why = why_prefix},
    {"prefix-cloud", TASKS_STEPS, says_cloud, TARGET_CLOUD, .scored = true,
     .why = why_prefix},
    {"force-runtime", TASKS_STEPS, runs_long, TARGET_CLOUD, .why = why_long},
    {"force-heavy-log", TASKS_STEPS, logs_heavily, TARGET_CLOUD,
     .reason = "it prints a great deal"},
    {"force-llm", TASKS_STEPS, calls_models, TARGET_CLOUD,
     .reason = "it calls language models or embeddings"},
    {"force-parallel", TASKS_STEPS, runs_parallel, TARGET_CLOUD,
     .why = why_parallel},
    {"force-memory", TASKS_STEPS, outgrows_memory, TARGET_CLOUD,
     .why = why_memory},
    {"force-memory-free", TASKS_STEPS, outgrows_free_memory, TARGET_CLOUD,
     .why = why_memory_free},
    {"force-memory-unknown", TASKS_STEPS, memory_is_unknown, TARGET_CLOUD,
     .reason = "its memory is stated to be unknown"},
    {"light-ui-work", TASKS_STEPS, is_light_ui_work, TARGET_LOCAL,
     .reason = "every exception of allow_local holds"},
    {"affinity-cloud", TASKS_STEPS, agent_is_cloud, TARGET_CLOUD,
     .why = why_agent},
    {"runtime-in-doubt", TASKS_STEPS, runtime_is_in_doubt, TARGET_CLOUD,
     .why = why_doubt},
    {"score", TASKS_STEPS, score_is_high, TARGET_CLOUD, .scored = true,
     .why = why_score},
    {"score-too-low", TASKS_STEPS, score_is_low, TARGET_LOCAL, .scored = true,
     .why = why_score},
    {.name = NULL},
};
_Static_assert(sizeof rules / sizeof *rules <= RULES_MAX, "room for them");

bool
rule_holds(const struct rule *r, const struct decide_input *in)
{
    return (r->tasks == TASKS_ALL || (r->tasks == TASKS_PROMPT) == in->is_ai) &&
           r->holds(in);
}

const char *
rule_reason(const struct rule *r, const struct decide_input *in)
{
    return r->why ? r->why(in) : r->reason;
}

struct destination
destination_of(enum target target, const struct decide_input *in)
{
    switch (target) {
    case TARGET_REJECT:
        break;
    case TARGET_PIN:
        return pinned_destination(in);
    case TARGET_EXECUTOR:
        return (struct destination){in->executor->backend, in->executor->lane};
    case TARGET_CLAUDE:
        return (struct destination){"local", "claude-code"};
    case TARGET_PROVIDER:
        return (struct destination){"secutools", in->preferred};
    case TARGET_AUTO:
        return (struct destination){"secutools", "auto"};
    case TARGET_LOCAL:
        return (struct destination){"local", "default"};
    case TARGET_CLOUD:
        return (struct destination){"codespace", "default"};
    }
    return (struct destination){"", ""};
}
