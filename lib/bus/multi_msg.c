/*
 * Encodes members one after the other as the repeated field of a Tasks,
 * RoutedTasks or Results message, and remembers where the first begins, so that
 * it can be published alone. The message id of several is a hash of their ids.
 */
#include "lib/bus/multi_msg.h"

#include "lib/model/subject.h"

#include <stdio.h>
#include <string.h>

enum { MEMBERS_MOST = 64, BYTES_MOST = 16 * 1024 };

bool
multi_msg_fits(const struct multi_msg *m, size_t len)
{
    size_t most =
        m->type == CODEC_ROUTED_TASKS ? MULTI_MSG_ROUTED_MOST : MEMBERS_MOST;

    return m->n == 0 || (m->n < most && m->data.len + len <= BYTES_MOST);
}

void
multi_msg_add(struct multi_msg *m, const char *id, const void *member,
              size_t len)
{
    codec_multi_add(m->type, &m->data, member, len);
    if (m->n++ == 0)
        m->first_at = m->data.len - len;
    str_add(&m->ids, id, strlen(id) + 1);
}

struct bus_publication
multi_msg_publication(struct multi_msg *m)
{
    struct bus_publication p = {.expect = BUS_ANY_REVISION};
    bool tasks = m->type == CODEC_TASKS;
    char hash[TASK_ID_SIZE];

    if (m->n == 1) {
        p.subject = tasks ? SUBJECT_TASKS_IN : NULL;
        p.id = str_text(&m->ids);
        p.data = m->data.data + m->first_at;
        p.len = m->data.len - m->first_at;
        return p;
    }
    task_id_from_message(m->n, 0, m->ids.data, m->ids.len, hash);
    (void)snprintf(m->id, sizeof m->id, "bulk:%s", hash);
    p.subject = tasks ? SUBJECT_TASKS_BULK : NULL;
    p.id = m->id;
    p.data = m->data.data;
    p.len = m->data.len;
    return p;
}

void
multi_msg_reset(struct multi_msg *m)
{
    str_reset(&m->data);
    str_reset(&m->ids);
    m->n = 0;
}

void
multi_msg_free(struct multi_msg *m)
{
    str_free(&m->data);
    str_free(&m->ids);
    m->n = 0;
}
