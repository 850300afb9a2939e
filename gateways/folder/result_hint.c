/*
 * Counts the hints of each message. The last one released acknowledges it, has
 * it delivered again, or leaves it to the ack wait.
 */
#include "gateways/folder/result_hint.h"

#include "lib/base/mem.h"

enum {
    KEPT_MS = 15000, /* well within the ack wait */
    RETRY_MS = 5000,
};

struct hinted_msg *
result_msg_new(struct bus_msg *msg)
{
    struct hinted_msg *m = MEM_NEW(struct hinted_msg);

    m->msg = msg;
    m->hints = 1;
    return m;
}

void
result_msg_release(struct hinted_msg *m)
{
    if (--m->hints)
        return;
    if (m->dropped)
        bus_msg_drop(m->msg);
    else if (m->retry_ms)
        bus_msg_retry(m->msg, m->retry_ms);
    else
        bus_msg_done(m->msg);
    mem_free(m);
}

void
result_hint_add(struct result_hint **list, struct hinted_msg *m, int64_t now_ms)
{
    struct result_hint *h = MEM_NEW(struct result_hint);

    h->from = m;
    h->since_ms = now_ms;
    h->next = *list;
    *list = h;
    m->hints++;
}

bool
result_hint_has(const struct result_hint *list, uint64_t seq)
{
    for (; list; list = list->next)
        if (list->from->msg->seq == seq)
            return true;
    return false;
}

static void
remove_hint(struct result_hint **at)
{
    struct result_hint *h = *at;

    *at = h->next;
    result_msg_release(h->from);
    mem_free(h);
}

void
result_hint_expire(struct result_hint **list, int64_t now_ms)
{
    while (*list) {
        if (now_ms - (*list)->since_ms < KEPT_MS) {
            list = &(*list)->next;
            continue;
        }
        (*list)->from->retry_ms = RETRY_MS;
        remove_hint(list);
    }
}

void
result_hint_free(struct result_hint **list, bool settle)
{
    while (*list) {
        if (!settle)
            (*list)->from->dropped = true;
        remove_hint(list);
    }
}
