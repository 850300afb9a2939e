/*
 * Fills the template of the cloud routing rules with a decision. The headings
 * "Agent Affinity", "Signal Score" and "Total" and the words LOCAL and CLOUD
 * are the template's own in every language.
 */
#include "cli/decision_print.h"

#include "cli/japanese.h"
#include "cli/output.h"
#include "lib/model/codec.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The labels of the template. */
struct labels {
    const char *title, *task, *agent, *none, *decision, *run, *local;
    const char *rejected, *reason, *lane, *cost, *considered, *policy, *state;
    const char *waits, *undecided;
};

static const struct labels english_labels = {
    .title = "Routing decision",
    .task = "Task",
    .agent = "Agent",
    .none = "none",
    .decision = "Decision",
    .run = "Run",
    .local = "locally",
    .rejected = "REJECTED",
    .reason = "Reason",
    .lane = "Lane",
    .cost = "Cost",
    .considered = "Considered",
    .policy = "Policy",
    .state = "State",
    .waits = "Waits",
    .undecided = "not decided yet",
};
static const struct labels japanese_labels = {
    .title = "ルーティング判定",
    .task = "タスク",
    .agent = "担当エージェント",
    .none = "なし",
    .decision = "判定",
    .run = "実行",
    .local = "ローカル実行",
    .rejected = "拒否",
    .reason = "理由",
    .lane = "行き先",
    .cost = "費用",
    .considered = "検討",
    .policy = "ポリシー",
    .state = "状態",
    .waits = "待機",
    .undecided = "未判定",
};

/* The text as it grows, and the language it is in. */
struct decision_text {
    struct str text;
    const struct labels *l;
    bool japanese;
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

/* A sentence of the router or the reaper. */
static void
add_sentence(struct decision_text *p, const char *text)
{
    if (p->japanese)
        japanese_add(text, &p->text);
    else
        str_addz(&p->text, text);
}

static void
add_line(struct decision_text *p, const char *label, const char *sentence)
{
    str_addf(&p->text, "%s: ", label);
    add_sentence(p, sentence);
    str_addc(&p->text, '\n');
}

static void
add_signal(struct decision_text *p, const struct signal_hit *hit)
{
    const char *name = p->japanese ? japanese_signal(hit->name) : NULL;

    str_addf(&p->text, "- %s", hit->name);
    if (name)
        str_addf(&p->text, "(%s)", name);
    str_addf(&p->text, ": %+" PRId32, hit->points);
    if (*hit->match) {
        str_addz(&p->text, " (");
        add_sentence(p, hit->match);
        str_addc(&p->text, ')');
    }
    str_addc(&p->text, '\n');
}

static void
add_signals(struct decision_text *p, const struct decision *d)
{
    str_addz(&p->text, "### Signal Score:\n");
    for (size_t i = 0; i < d->n_signals; i++)
        add_signal(p, &d->signals[i]);
    if (d->scored)
        str_addf(&p->text, "- Total: %" PRId32 "\n", d->score);
    else
        str_addz(&p->text, "- Total: -\n");
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
add_destination(struct decision_text *p, const struct decided *j)
{
    const struct decision *d = j->decision;
    bool local = strcmp(d->backend, "local") == 0;
    struct str *s = &p->text;

    if (d->rejected) {
        str_addf(s, "### %s: %s\n", p->l->decision, p->l->rejected);
        return;
    }
    str_addf(s, "### %s: %s\n### %s: ", p->l->decision,
             local ? "LOCAL" : "CLOUD", p->l->run);
    if (strcmp(d->backend, "codespace") == 0) {
        str_addz(s, "cs run ");
        add_in_quotes(j->task, s);
    } else if (local) {
        str_addz(s, p->l->local);
    } else {
        str_addf(s, "%s %s", d->backend, d->lane);
    }
    str_addc(s, '\n');
}

/* What the template has no line for. */
static void
add_rest(struct decision_text *p, const struct decision *d)
{
    struct str *s = &p->text;

    if (!d->rejected)
        str_addf(s, "%s: %s.%s\n", p->l->lane, d->backend, d->lane);
    str_addf(s, "%s: ", p->l->reason);
    add_sentence(p, d->reason);
    str_addf(s, " (%s)\n", d->rule);
    if (*d->cost_usd)
        str_addf(s, "%s: $%s\n", p->l->cost, d->cost_usd);
    for (size_t i = 0; i < d->n_lost; i++)
        add_line(p, p->l->considered, d->lost[i]);
    str_addf(s, "%s: %s\n", p->l->policy, d->policy);
}

static void
add_decision(struct decision_text *p, const struct decided *j)
{
    const struct decision *d = j->decision;

    str_addf(&p->text, "### Agent Affinity: %s\n",
             *d->affinity ? d->affinity : "-");
    add_signals(p, d);
    str_addc(&p->text, '\n');
    add_destination(p, j);
    str_addc(&p->text, '\n');
    add_rest(p, d);
}

static void
add_state(struct decision_text *p, const char *state)
{
    const char *name = p->japanese ? japanese_state(state) : NULL;

    str_addf(&p->text, "%s: %s", p->l->state, state);
    if (name)
        str_addf(&p->text, "(%s)", name);
    str_addc(&p->text, '\n');
}

void
decision_print(const struct decided *j, bool japanese)
{
    const struct labels *l = japanese ? &japanese_labels : &english_labels;
    struct decision_text p = {.l = l, .japanese = japanese};
    struct str safe = {0};

    str_addf(&p.text, "## %s\n\n%s: %s\n%s: %s\n\n", l->title, l->task, j->task,
             l->agent, *j->agent ? j->agent : l->none);
    if (j->decision) {
        add_decision(&p, j);
    } else if (*j->refusal) {
        str_addf(&p.text, "### %s: %s\n\n", l->decision, l->rejected);
        add_line(&p, l->reason, j->refusal);
    } else {
        str_addf(&p.text, "### %s: %s\n\n", l->decision, l->undecided);
    }
    if (*j->state)
        add_state(&p, j->state);
    if (*j->waits)
        add_line(&p, l->waits, j->waits);
    str_add_printable(&safe, str_text(&p.text), p.text.len);
    (void)fputs(str_text(&safe), stdout);
    str_free(&safe);
    str_free(&p.text);
}

json_t *
decision_json(const struct decision *d)
{
    json_t *o = codec_to_json(CODEC_DECISION, d);

    out_complete_decision(o);
    return out_with_schema("decision", o);
}
