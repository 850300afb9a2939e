/*
 * Every sentence that `shunt decide` and `shunt explain` may print has a
 * translation: the tests walk over all rules, states, wait reasons and shipped
 * signals, and fail when English is left.
 */
#include "tests/decide_fixture.h"

#include "cli/japanese.h"
#include "lib/model/task_state.h"
#include "reaper/query/wait_reason.h"
#include "router/rules.h"

#include <ctype.h>

enum { NOW_MS = 1700000000, WAITS_MAX = 32 };

/* Hiragana, katakana and the common ideographs, in UTF-8. */
static bool
has_japanese(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text >= 0xe3 && (unsigned char)*text <= 0xe9)
            return true;
    return false;
}

/* Two words with a blank between them, which a name or a value is not. */
static bool
has_english(const char *text)
{
    for (; *text && text[1] && text[2]; text++)
        if (islower((unsigned char)text[0]) && text[1] == ' ' &&
            islower((unsigned char)text[2]))
            return true;
    return false;
}

static void
check(const char *text)
{
    struct str s = {0};

    japanese_add(text, &s);
    if (!has_japanese(str_text(&s)) || has_english(str_text(&s)))
        fail_msg("\"%s\" became \"%s\": a row in cli/japanese.c is missing",
                 text, str_text(&s));
    str_free(&s);
}

static void
check_is(const char *text, const char *japanese)
{
    struct str s = {0};

    japanese_add(text, &s);
    assert_string_equal(str_text(&s), japanese);
    str_free(&s);
}

/* --- decisions -------------------------------------------------------------
 */

/* Each rule's reason, for every kind of task that its sentence depends on. */
static void
the_reason_of_every_rule_is_translated(void **state)
{
    struct routing_facts facts = {.known = true, .local_free_bytes = GIB};
    struct policy policy = *policy_default();

    (void)state;
    for (const struct rule *r = rules; r->name; r++)
        for (unsigned bits = 0; bits < 16; bits++) {
            struct decide_sample *s = shell("true");
            struct decide_input in = {
                .task = &s->task,
                .hints = &s->hints,
                .facts = &facts,
                .policy = &policy,
                .pool = pool,
                .is_ai = bits & 1,
                .preferred = bits & 1 ? "gpu" : "elsewhere",
                .affinity = bits & 2 ? AFFINITY_LOCAL : AFFINITY_CLOUD,
                .prefix = bits & 4 ? PREFIX_LOCAL : PREFIX_CLOUD,
                .score = {.points = bits & 8 ? 50 : -50},
                .executor = policy.executors};

            s->hints.agent = "Lens";
            s->hints.runtime_ms = 5 * MIN;
            s->hints.parallel = 4;
            s->hints.memory_bytes = 9 * GIB;
            s->task.backend = "nowhere";
            s->task.executor = "nobody";
            check(r->why ? r->why(&in) : r->reason);
        }
}

static void
check_decision(const struct decision *d)
{
    check(d->reason);
    for (size_t i = 0; i < d->n_lost; i++)
        check(d->lost[i]);
}

static void
what_becomes_of_an_unavailable_backend_is_translated(void **state)
{
    static const enum when_unavailable choices[] = {
        UNAVAILABLE_LOCAL, UNAVAILABLE_QUEUE, UNAVAILABLE_REJECT};
    struct policy policy = *policy_default();
    struct decision d;

    (void)state;
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++) {
        policy.when_unavailable = choices[i];
        decide(&shell("make build")->task, &bare_fleet, &policy, pool, &d);
        assert_non_null(strstr(d.reason, "; "));
        check_decision(&d);
        decide(&prompt("gpu", true, false)->task, &bare_fleet, &policy, pool,
               &d);
        check_decision(&d);
    }
}

static void
rules_that_lost_are_translated(void **state)
{
    struct decide_sample *s = shell("local: make build");
    struct decision d;

    (void)state;
    s->hints.runtime_ms = 30 * MIN;
    s->hints.agent = "Builder";
    d = admit(s);
    assert_true(d.n_lost > 1);
    check_decision(&d);
    d = admit(shell("true"));
    assert_int_equal(d.n_lost, 1);
    check_decision(&d);
    s = prompt("gpu", false, false);
    d = admit(s);
    assert_true(d.n_lost > 0);
    check_decision(&d);
}

static void
every_shipped_signal_is_translated(void **state)
{
    const struct policy *p = policy_default();

    (void)state;
    for (size_t i = 0; i < p->n_rows; i++) {
        const char *text = japanese_signal(p->rows[i].name);

        if (!text || !has_japanese(text))
            fail_msg("signal %s is not in cli/japanese.c", p->rows[i].name);
    }
    assert_null(japanese_signal("of-somebody-else"));
    check("3 running here");
}

/* --- waiting ---------------------------------------------------------------
 */

/* All wait reasons of a state, for every combination of facts they look at. */
static void
check_state(enum state state, bool *seen)
{
    for (unsigned bits = 0; bits < 1U << 10; bits++) {
        struct wait_facts f = {.state = state,
                               .now_ms = NOW_MS,
                               .cancelled = bits % 64 == 63,
                               .released = bits & 1,
                               .after = {"a1", "b2", "c3"},
                               .n_after = bits & 2   ? 0
                                          : bits & 4 ? 2
                                                     : 5,
                               .not_before_ms = bits & 8 ? NOW_MS + 1 : 0,
                               .retry_at_ms = bits & 16 ? NOW_MS + 1 : 0,
                               .backend = "local",
                               .lane = "gpu",
                               .workers = bits & 32 ? 2 : 0,
                               .draining = bits & 64 ? 2 : 1,
                               .ahead = bits & 128 ? bits & 1 ? 1 : 7 : 0,
                               .ahead_max = bits & 2 ? 7 : 1000,
                               .paused = bits & 256,
                               .paused_until_ms = bits & 1 ? NOW_MS + 1 : 0,
                               .pause_reason =
                                   bits & 2 ? "paused by a person" : "",
                               .refused_until_ms = bits & 512 ? NOW_MS + 1 : 0,
                               .refused_reason = "its lane is paused"};
        struct str text = {0};
        enum wait_for wait = wait_reason(&f, &text);

        assert_in_range(wait, 0, WAITS_MAX - 1);
        seen[wait] = true;
        if (wait != WAIT_NOTHING)
            check(str_text(&text));
        str_free(&text);
    }
}

static void
every_wait_reason_is_translated(void **state)
{
    bool seen[WAITS_MAX] = {false};

    (void)state;
    for (enum state s = STATE_UNSPECIFIED; s < STATE_COUNT; s++)
        check_state(s, seen);
    for (int w = WAIT_NOTHING + 1; *wait_reason_name((enum wait_for)w); w++)
        if (!seen[w])
            fail_msg("wait reason %s was not tried",
                     wait_reason_name((enum wait_for)w));
    check("is spooled here, not sent to a broker yet");
}

static void
every_state_is_translated(void **state)
{
    (void)state;
    for (enum state s = STATE_SUBMITTED; s < STATE_COUNT; s++) {
        const char *text = japanese_state(state_name(s));

        if (!text || !has_japanese(text))
            fail_msg("state %s is not in cli/japanese.c", state_name(s));
    }
    assert_null(japanese_state("nonsense"));
}

/* --- the catalogue ---------------------------------------------------------
 */

static void
values_stand_where_the_translation_has_them(void **state)
{
    (void)state;
    check_is("score 3 reaches the threshold 2",
             "スコア 3 がしきい値 2 に達した");
    check_is("agent CEO works locally",
             "エージェント CEO はローカルで作業する");
    check_is("is queued on lane local.gpu behind 1 task",
             "レーン local.gpu で順番待ち。前に 1 件");
}

static void
a_sentence_within_a_sentence_is_translated(void **state)
{
    (void)state;
    check_is("score 3 reaches the threshold 2; codespace.default is not "
             "available, so it runs on local.default",
             "スコア 3 がしきい値 2 に達した。ただし codespace.default は"
             "利用できないため、local.default で実行する");
    check_is("local.claude-code by delegation-not-allowed "
             "(allow_delegation=false (default)): pinned stands before it",
             "local.claude-code(規則 delegation-not-allowed: "
             "委任が許可されていない(allow_delegation=false、既定値))"
             "よりも規則 pinned が優先する");
}

static void
what_somebody_else_wrote_stays(void **state)
{
    (void)state;
    check_is("out of credits", "out of credits");
    check_is("", "");
    check_is("lane local.gpu is paused: out of credits",
             "レーン local.gpu は休止中: out of credits");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        POOLED(the_reason_of_every_rule_is_translated),
        POOLED(what_becomes_of_an_unavailable_backend_is_translated),
        POOLED(rules_that_lost_are_translated),
        POOLED(every_shipped_signal_is_translated),
        cmocka_unit_test(every_wait_reason_is_translated),
        cmocka_unit_test(every_state_is_translated),
        cmocka_unit_test(values_stand_where_the_translation_has_them),
        cmocka_unit_test(a_sentence_within_a_sentence_is_translated),
        cmocka_unit_test(what_somebody_else_wrote_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
