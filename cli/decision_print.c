#include "cli/decision_print.h"

#include "cli/output.h"
#include "lib/model/codec.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The words of the template. */
struct decision_words {
    const char *title, *task, *agent, *none, *verdict, *run, *local, *rejected;
    const char *reason, *place, *cost, *lost, *policy, *state, *waits;
    const char *undecided;
};

static const struct decision_words english = {
    .title = "Routing decision",
    .task = "Task",
    .agent = "Agent",
    .none = "none",
    .verdict = "Decision",
    .run = "Run",
    .local = "locally",
    .rejected = "REJECTED",
    .reason = "Reason",
    .place = "Place",
    .cost = "Cost",
    .lost = "Considered",
    .policy = "Policy",
    .state = "State",
    .waits = "Waits",
    .undecided = "not decided yet",
};
static const struct decision_words japanese_words = {
    .title = "ルーティング判定",
    .task = "タスク",
    .agent = "担当エージェント",
    .none = "なし",
    .verdict = "判定",
    .run = "実行",
    .local = "ローカル実行",
    .rejected = "拒否",
    .reason = "理由",
    .place = "行き先",
    .cost = "費用",
    .lost = "検討",
    .policy = "ポリシー",
    .state = "状態",
    .waits = "待機",
    .undecided = "未判定",
};

bool
decision_in_japanese(void)
{
    static const char *const names[] = {"LC_ALL", "LC_MESSAGES", "LANG"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = getenv(names[i]);

        if (value && *value)
            return strncmp(value, "ja", 2) == 0;
    }
    return false;
}

static void
add_signals(const struct decision *d, struct str *s)
{
    str_addz(s, "### Signal Score:\n");
    for (size_t i = 0; i < d->n_signals; i++) {
        const struct signal_hit *hit = &d->signals[i];

        str_addf(s, "- %s: %+" PRId32, hit->name, hit->points);
        if (*hit->match)
            str_addf(s, " (%s)", hit->match);
        str_addc(s, '\n');
    }
    if (d->scored)
        str_addf(s, "- Total: %" PRId32 "\n", d->score);
    else
        str_addz(s, "- Total: -\n");
}

/* Text within double quotes, as a shell reads them. */
static void
add_in_quotes(const char *text, struct str *s)
{
    str_addc(s, '"');
    for (; *text; text++) {
        if (strchr("\"\\$`", *text))
            str_addc(s, '\\');
        str_addc(s, *text);
    }
    str_addc(s, '"');
}

static void
add_verdict(const struct decided *j, const struct decision_words *w,
            struct str *s)
{
    const struct decision *d = j->reason;
    bool local = strcmp(d->backend, "local") == 0;

    if (d->rejected) {
        str_addf(s, "### %s: %s\n", w->verdict, w->rejected);
        return;
    }
    str_addf(s, "### %s: %s\n### %s: ", w->verdict, local ? "LOCAL" : "CLOUD",
             w->run);
    if (strcmp(d->backend, "codespace") == 0) {
        str_addz(s, "cs run ");
        add_in_quotes(j->task, s);
    } else if (local) {
        str_addz(s, w->local);
    } else {
        str_addf(s, "%s %s", d->backend, d->lane);
    }
    str_addc(s, '\n');
}

/* What the template has no line for. */
static void
add_rest(const struct decision *d, const struct decision_words *w,
         struct str *s)
{
    if (!d->rejected)
        str_addf(s, "%s: %s.%s\n", w->place, d->backend, d->lane);
    str_addf(s, "%s: %s (%s)\n", w->reason, d->reason, d->rule);
    if (*d->cost_usd)
        str_addf(s, "%s: $%s\n", w->cost, d->cost_usd);
    for (size_t i = 0; i < d->n_lost; i++)
        str_addf(s, "%s: %s\n", w->lost, d->lost[i]);
    str_addf(s, "%s: %s\n", w->policy, d->policy);
}

static void
add_decision(const struct decided *j, const struct decision_words *w,
             struct str *s)
{
    const struct decision *d = j->reason;

    str_addf(s, "### Agent Affinity: %s\n", *d->affinity ? d->affinity : "-");
    add_signals(d, s);
    str_addc(s, '\n');
    add_verdict(j, w, s);
    str_addc(s, '\n');
    add_rest(d, w, s);
}

void
decision_print(const struct decided *j, bool japanese)
{
    const struct decision_words *w = japanese ? &japanese_words : &english;
    struct str s = {0}, safe = {0};

    str_addf(&s, "## %s\n\n%s: %s\n%s: %s\n\n", w->title, w->task, j->task,
             w->agent, *j->agent ? j->agent : w->none);
    if (j->reason)
        add_decision(j, w, &s);
    else if (*j->refusal)
        str_addf(&s, "### %s: %s\n\n%s: %s\n", w->verdict, w->rejected,
                 w->reason, j->refusal);
    else
        str_addf(&s, "### %s: %s\n\n", w->verdict, w->undecided);
    if (*j->state)
        str_addf(&s, "%s: %s\n", w->state, j->state);
    if (*j->waits)
        str_addf(&s, "%s: %s\n", w->waits, j->waits);
    str_add_printable(&safe, str_text(&s), s.len);
    (void)fputs(str_text(&safe), stdout);
    str_free(&safe);
    str_free(&s);
}

json_t *
decision_json(const struct decision *d)
{
    json_t *o = codec_to_json(CODEC_DECISION, d);

    out_complete_decision(o);
    return out_with_schema("decision", o);
}
