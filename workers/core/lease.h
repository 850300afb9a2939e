/*
 * lease - when an attempt's claim is to be renewed, and when it may be lost.
 *
 * A claim that is not written for the length of its lease counts as lost, and
 * another worker may take the task. Its holder renews it after a third of that
 * time and fences itself off after two thirds without a confirmation: the
 * attempt is killed before anybody else can start one. A holder that was itself
 * suspended writes first and gives up when it learns that the claim is
 * another's, or after a grace: for so long two may run.
 *
 * Pure but for the clock.
 */
#ifndef WORKERS_CORE_LEASE_H
#define WORKERS_CORE_LEASE_H

#include <stdbool.h>
#include <stdint.h>

struct lease {
    int64_t sent_ms;      /* when the last write left */
    int64_t unsure_ms;    /* the oldest write without an answer; 0: none */
    int64_t confirmed_ms; /* when the last write that was stored left */
    int64_t grace_ms;     /* until then nobody gives up; 0: no grace */
};

/*
 * Leases are measured with os_boot_ms, which counts what CLOCK_MONOTONIC
 * counts and the time of a suspend as well. What is fresh by this clock is
 * fresh by both.
 */
int64_t lease_now_ms(void);

/* Between renewals, and after how long without one an attempt is killed. */
int64_t lease_renew_ms(int64_t lease_ms);
int64_t lease_fence_ms(int64_t lease_ms);

void lease_begin(struct lease *l);
/* A write leaves. */
void lease_sent(struct lease *l);
/* The write on its way is stored. */
void lease_confirmed(struct lease *l);
/* A write that had no answer is found stored. It may be any since the last
 * answer, so the lease counts from the oldest. */
void lease_found(struct lease *l);

/* Whether nobody can have taken the claim for lost, as far as one can know. */
bool lease_is_fresh(const struct lease *l, int64_t fence_ms);

/* The holder was suspended for gap_ms: whoever may have taken the claim was so
 * perhaps as well, and a write will tell. If the lease was fresh before, nobody
 * gives up for fence_ms from now; a grace that runs is not used up meanwhile.
 */
void lease_resume(struct lease *l, int64_t gap_ms, int64_t fence_ms);
/* Whether the holder must give up: the lease is not fresh, and no grace runs.
 */
bool lease_is_over(const struct lease *l, int64_t fence_ms);

#endif
