#include "lib/bus/multi_msg.h"

#include "lib/model/subject.h"

#include <stdio.h>
#include <string.h>

enum { MEMBERS_MOST = 64, BYTES_MOST = 16 * 1024 };

bool
multi_msg_fits(const struct multi_msg *b, size_t len)
{
    size_t most =
        b->type == CODEC_ROUTED_TASKS ? MULTI_MSG_ROUTED_MOST : MEMBERS_MOST;

    return b->n == 0 || (b->n < most && b->data.len + len <= BYTES_MOST);
}

void
multi_msg_add(struct multi_msg *b, const char *id, const void *member,
              size_t len)
{
    codec_bulk_add(b->type, &b->data, member, len);
    if (b->n++ == 0)
        b->first_at = b->data.len - len;
    str_add(&b->ids, id, strlen(id) + 1);
}

struct bus_publication
multi_msg_publication(struct multi_msg *b)
{
    struct bus_publication p = {.expect = BUS_ANY_REVISION};
    bool tasks = b->type == CODEC_TASKS;
    char hash[TASK_ID_SIZE];

    if (b->n == 1) {
        p.subject = tasks ? SUBJECT_TASKS_IN : NULL;
        p.id = str_text(&b->ids);
        p.data = b->data.data + b->first_at;
        p.len = b->data.len - b->first_at;
        return p;
    }
    task_id_from_message(b->n, 0, b->ids.data, b->ids.len, hash);
    (void)snprintf(b->id, sizeof b->id, "bulk:%s", hash);
    p.subject = tasks ? SUBJECT_TASKS_BULK : NULL;
    p.id = b->id;
    p.data = b->data.data;
    p.len = b->data.len;
    return p;
}

void
multi_msg_reset(struct multi_msg *b)
{
    str_reset(&b->data);
    str_reset(&b->ids);
    b->n = 0;
}

void
multi_msg_free(struct multi_msg *b)
{
    str_free(&b->data);
    str_free(&b->ids);
    b->n = 0;
}
