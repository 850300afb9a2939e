/*
 * Fills the template of the cloud routing rules with a decision. The headings
 * "Agent Affinity", "Signal Score" and "Total" and the words LOCAL and CLOUD
 * are the template's own in every language.
 */
#include "cli/decision_print.h"

#include "cli/japanese.h"
#include "cli/output.h"
#include "lib/model/codec.h"
#include "lib/model/task_state.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The text as it grows, and the language it is in. */
struct decision_text {
    struct str text;
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

/* A label of the template. */
static const char *
label(const struct decision_text *p, const char *english)
{
    return p->japanese ? japanese_label(english) : english;
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
add_line(struct decision_text *p, const char *english, const char *sentence)
{
    str_addf(&p->text, "%s: ", label(p, english));
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
        str_addf(s, "### %s: %s\n", label(p, "Decision"), label(p, "REJECTED"));
        return;
    }
    str_addf(s, "### %s: %s\n### %s: ", label(p, "Decision"),
             local ? "LOCAL" : "CLOUD", label(p, "Run"));
    if (strcmp(d->backend, "codespace") == 0) {
        str_addz(s, "cs run ");
        add_in_quotes(j->task, s);
    } else if (local) {
        str_addz(s, label(p, "locally"));
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
        str_addf(s, "%s: %s.%s\n", label(p, "Lane"), d->backend, d->lane);
    str_addf(s, "%s: ", label(p, "Reason"));
    add_sentence(p, d->reason);
    str_addf(s, " (%s)\n", d->rule);
    if (*d->cost_usd)
        str_addf(s, "%s: $%s\n", label(p, "Cost"), d->cost_usd);
    for (size_t i = 0; i < d->n_lost; i++)
        add_line(p, "Considered", d->lost[i]);
    str_addf(s, "%s: %s\n", label(p, "Policy"), d->policy);
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

    str_addf(&p->text, "%s: %s", label(p, "State"), state);
    if (name)
        str_addf(&p->text, "(%s)", name);
    str_addc(&p->text, '\n');
}

void
decision_print(const struct decided *j, bool japanese)
{
    struct decision_text p = {.japanese = japanese};
    struct str safe = {0};

    str_addf(&p.text, "## %s\n\n%s: %s\n%s: %s\n\n",
             label(&p, "Routing decision"), label(&p, "Task"), j->task,
             label(&p, "Agent"), *j->agent ? j->agent : label(&p, "none"));
    if (j->decision) {
        add_decision(&p, j);
    } else if (*j->refusal) {
        str_addf(&p.text, "### %s: %s\n\n", label(&p, "Decision"),
                 label(&p, strcmp(j->state, state_name(STATE_REJECTED)) == 0
                               ? "REJECTED"
                               : "never routed"));
        add_line(&p, "Reason", j->refusal);
    } else {
        str_addf(&p.text, "### %s: %s\n\n", label(&p, "Decision"),
                 label(&p, "not decided yet"));
    }
    if (j->here)
        add_line(&p, "Here", j->here);
    if (*j->state)
        add_state(&p, j->state);
    if (*j->waits)
        add_line(&p, "Waits", j->waits);
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
    return o;
}
