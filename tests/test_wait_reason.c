#include "reaper/query/wait_reason.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { NOW_MS = 1700000000 };

struct wait_reason_row {
    const char *name; /* a sentence */
    struct wait_facts facts;
    enum wait_for wait;
    const char *text;
};

#define ON(B, L) .backend = B, .lane = L

static const struct wait_reason_row rows[] = {
    {"a held task waits for a person",
     {.state = STATE_HELD},
     WAIT_PERSON,
     "held by its submitter"},
    {"a blocked task names the tasks it comes after",
     {.state = STATE_BLOCKED, .after = {"a1", "b2"}, .n_after = 2},
     WAIT_TASKS,
     "waits for a1, b2"},
    {"three are named, the rest counted",
     {.state = STATE_BLOCKED, .after = {"a1", "b2", "c3"}, .n_after = 5},
     WAIT_TASKS,
     "waits for a1, b2, c3 and 2 more"},
    {"one that nobody has submitted is named as such",
     {.state = STATE_BLOCKED,
      .after = {"a1", "b2"},
      .n_after = 2,
      .unknown = "b2"},
     WAIT_TASKS,
     "waits for a1, b2; b2 has not been submitted"},
    {"a time is added to the tasks",
     {.state = STATE_BLOCKED,
      .after = {"a1"},
      .n_after = 1,
      .not_before_ms = NOW_MS + 1},
     WAIT_TASKS,
     "waits for a1, and until 1970-01-20T16:13:20.001Z"},
    {"a time alone",
     {.state = STATE_BLOCKED, .not_before_ms = NOW_MS + 1},
     WAIT_TIME,
     "waits until 1970-01-20T16:13:20.001Z"},
    {"a time that has come is no reason",
     {.state = STATE_BLOCKED, .not_before_ms = NOW_MS},
     WAIT_ROUTER,
     "is on its way to the router"},
    {"a task that was let go waits for the router",
     {.state = STATE_BLOCKED, .released = true, .n_after = 1, .after = {"a"}},
     WAIT_ROUTER,
     "is on its way to the router"},
    {"an accepted task waits for the router",
     {.state = STATE_ACCEPTED},
     WAIT_ROUTER,
     "is not routed yet; the router has not answered"},
    {"nobody serves its lane",
     {.state = STATE_ROUTED, ON("local", "gpu")},
     WAIT_WORKER,
     "no worker serves lane local.gpu; it waits for one"},
    {"those who serve it are draining",
     {.state = STATE_ROUTED, ON("local", "gpu"), .workers = 2, .draining = 2},
     WAIT_DRAINING,
     "every worker of lane local.gpu is draining"},
    {"one that is not draining is enough",
     {.state = STATE_ROUTED, ON("local", "gpu"), .workers = 2, .draining = 1},
     WAIT_SLOT,
     "is next on lane local.gpu, for a free slot"},
    {"one task is before it",
     {.state = STATE_ROUTED,
      ON("local", "default"),
      .workers = 1,
      .ahead = 1,
      .ahead_max = 100},
     WAIT_SLOT,
     "is queued on lane local.default behind 1 task"},
    {"the place would not take it, and says why",
     {.state = STATE_ROUTED,
      ON("secutools", "gpu"),
      .workers = 1,
      .refused_until_ms = NOW_MS + 1,
      .refused_reason = "it may cost too much"},
     WAIT_REFUSED,
     "waits until 1970-01-20T16:13:20.001Z at the latest: it may cost too "
     "much"},
    {"a refusal whose time has come is no reason",
     {.state = STATE_ROUTED,
      ON("secutools", "gpu"),
      .workers = 1,
      .refused_until_ms = NOW_MS,
      .refused_reason = "it may cost too much"},
     WAIT_SLOT,
     "is next on lane secutools.gpu, for a free slot"},
    {"a pause outweighs a refusal",
     {.state = STATE_ROUTED,
      ON("secutools", "gpu"),
      .workers = 1,
      .paused = true,
      .pause_reason = "enough",
      .refused_until_ms = NOW_MS + 1,
      .refused_reason = "it may cost too much"},
     WAIT_LANE,
     "lane secutools.gpu is paused: enough"},
    {"many are before it",
     {.state = STATE_ROUTED,
      ON("local", "default"),
      .workers = 1,
      .ahead = 99,
      .ahead_max = 100},
     WAIT_SLOT,
     "is queued on lane local.default behind 99 tasks"},
    {"more than are counted",
     {.state = STATE_ROUTED,
      ON("local", "default"),
      .workers = 1,
      .ahead = 100,
      .ahead_max = 100},
     WAIT_SLOT,
     "is queued on lane local.default behind at least 100 tasks"},
    {"a paused lane stands before its workers",
     {.state = STATE_ROUTED,
      ON("codespace", "default"),
      .paused = true,
      .paused_until_ms = NOW_MS,
      .pause_reason = "budget"},
     WAIT_LANE,
     "lane codespace.default is paused until 1970-01-20T16:13:20.000Z: budget"},
    {"a lane may be paused without end or reason",
     {.state = STATE_ROUTED, ON("local", "gpu"), .paused = true, .workers = 1},
     WAIT_LANE,
     "lane local.gpu is paused"},
    {"the next attempt is due later",
     {.state = STATE_RETRY_WAIT,
      ON("local", "gpu"),
      .retry_at_ms = NOW_MS + 12000},
     WAIT_RETRY,
     "its last attempt did not succeed; the next is due in 12.0s"},
    {"the next attempt is due and nobody takes it",
     {.state = STATE_RETRY_WAIT, ON("local", "gpu"), .retry_at_ms = NOW_MS},
     WAIT_WORKER,
     "its next attempt is due; no worker serves lane local.gpu; it waits for "
     "one"},
    {"what is to be cancelled waits for that",
     {.state = STATE_ROUTED, ON("local", "gpu"), .cancelled = true},
     WAIT_CANCEL,
     "is being cancelled"},
    {"what runs waits for nothing",
     {.state = STATE_RUNNING, .cancelled = true},
     WAIT_NOTHING,
     ""},
    {"what is over waits for nothing",
     {.state = STATE_CANCELLED, .cancelled = true},
     WAIT_NOTHING,
     ""},
};

static void
one_row(void **state)
{
    const struct wait_reason_row *r = *state;
    struct wait_facts f = r->facts;
    struct str text = {0};

    f.now_ms = NOW_MS;
    if (!f.pause_reason)
        f.pause_reason = "";
    assert_int_equal(wait_reason(&f, &text), r->wait);
    assert_string_equal(str_text(&text), r->text);
    assert_int_equal(*wait_reason_name(r->wait) == '\0',
                     r->wait == WAIT_NOTHING);
    str_free(&text);
}

int
main(void)
{
    enum { N = sizeof rows / sizeof *rows };
    struct CMUnitTest tests[N];

    for (size_t i = 0; i < N; i++)
        tests[i] = (struct CMUnitTest){rows[i].name, one_row, NULL, NULL,
                                       (void *)&rows[i]};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
