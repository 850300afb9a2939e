/*
 * Keeps the times of a claim's writes: when each left, and which of them the
 * broker has confirmed. A confirmed write prolongs the lease from when it left,
 * not from when its answer arrived.
 */
#include "workers/core/lease.h"

#include "lib/os/os.h"

enum { RENEW_MOST_MS = 10000 }; /* between renewals, however long the lease */

int64_t
lease_now_ms(void)
{
    return os_boot_ms();
}

int64_t
lease_renew_ms(int64_t lease_ms)
{
    return lease_ms / 3 < RENEW_MOST_MS ? lease_ms / 3 : RENEW_MOST_MS;
}

int64_t
lease_fence_ms(int64_t lease_ms)
{
    return lease_ms * 2 / 3;
}

void
lease_begin(struct lease *l)
{
    *l = (struct lease){.confirmed_ms = lease_now_ms()};
}

void
lease_sent(struct lease *l)
{
    l->sent_ms = lease_now_ms();
    if (l->unsure_ms == 0)
        l->unsure_ms = l->sent_ms;
}

void
lease_confirmed(struct lease *l)
{
    l->confirmed_ms = l->sent_ms;
    l->unsure_ms = 0;
}

void
lease_found(struct lease *l)
{
    l->confirmed_ms = l->unsure_ms;
    l->unsure_ms = 0;
}

bool
lease_is_fresh(const struct lease *l, int64_t fence_ms)
{
    return lease_now_ms() - l->confirmed_ms < fence_ms;
}

void
lease_resume(struct lease *l, int64_t gap_ms, int64_t fence_ms)
{
    int64_t now_ms = lease_now_ms(), before_ms = now_ms - gap_ms;

    if (before_ms - l->confirmed_ms < fence_ms)
        l->grace_ms = now_ms + fence_ms;
    else if (l->grace_ms && before_ms < l->grace_ms)
        l->grace_ms += gap_ms;
}

bool
lease_is_over(const struct lease *l, int64_t fence_ms)
{
    return !lease_is_fresh(l, fence_ms) && lease_now_ms() >= l->grace_ms;
}
