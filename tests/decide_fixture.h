/*
 * decide_fixture - tasks to decide about, for the tests of the router's pure
 * half. Everything lives in pool, which each test gets anew (POOLED).
 */
#ifndef TESTS_DECIDE_FIXTURE_H
#define TESTS_DECIDE_FIXTURE_H

#include "lib/base/str.h"
#include "lib/model/codec.h"
#include "router/decide.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define MIN (60 * 1000)
#define GIB (1ULL << 30)

static struct mem_pool *pool;

/* A task of one shell step, or a prompt, with every text "". */
struct decide_sample {
    struct task task;
    struct step step;
    struct hints hints;
    struct delegation delegation;
};

static inline struct decide_sample *
blank(void)
{
    struct decide_sample *s = mem_pool_alloc(pool, sizeof *s);

    codec_init(CODEC_TASK, &s->task);
    s->step = (struct step){.name = "", .script = "", .workdir = ""};
    s->hints = (struct hints){.agent = "", .data = ""};
    s->delegation = (struct delegation){
        .preferred_ai = "", .complexity_hint = "", .max_cost_usd = ""};
    return s;
}

static inline struct decide_sample *
shell(const char *command)
{
    struct decide_sample *s = blank();

    s->step.kind = STEP_SHELL;
    s->step.script = command;
    s->task.command = command;
    s->task.steps = &s->step;
    s->task.n_steps = 1;
    s->task.hints = &s->hints;
    return s;
}

static inline struct decide_sample *
prompt(const char *preferred, bool allow, bool needs)
{
    struct decide_sample *s = blank();

    s->task.prompt = "explain";
    s->task.delegation = &s->delegation;
    s->delegation.preferred_ai = preferred;
    s->delegation.allow_delegation = allow;
    s->delegation.needs_claude_code = needs;
    return s;
}

static const struct routing_facts unknown_facts = {0};
static const struct routing_facts bare_fleet = {.known = true};
static const struct routing_facts full_fleet = {
    .known = true, .codespace_configured = true, .secutools_configured = true};

static inline struct decision
admit(struct decide_sample *s)
{
    struct decision d;

    decide(&s->task, &unknown_facts, policy_default(), pool, &d);
    return d;
}

/* "build(2) toolchain(1)" */
static inline const char *
signals_text(const struct decision *d)
{
    const char *text = "";

    for (size_t i = 0; i < d->n_signals; i++)
        text = mem_pool_printf(pool, "%s%s%s(%d)", text, i ? " " : "",
                               d->signals[i].match, d->signals[i].points);
    return text;
}

static inline int
new_pool(void **state)
{
    (void)state;
    pool = mem_pool_new();
    return 0;
}

static inline int
free_pool(void **state)
{
    (void)state;
    mem_pool_free(pool);
    return 0;
}

#define POOLED(f) cmocka_unit_test_setup_teardown(f, new_pool, free_pool)

#endif
