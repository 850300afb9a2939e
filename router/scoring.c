/*
 * Adds up the policy's signals: keywords of the command, its prefix, the stated
 * amount of data, and what runs here.
 */
#include "router/scoring.h"

#include "router/keywords.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

/* --- scoring -------------------------------------------------------------- */

/*
 * The cloud routing rules count `npm run build` as 3 (build 2, npm 1) and
 * `local: npm run build` as -8 (prefix -10, build 2): with a prefix, rows of
 * little weight do not count.
 */
static bool
is_hidden(const struct policy *p, const struct signal_row *row,
          enum prefix prefix)
{
    int32_t weight = row->points < 0 ? -row->points : row->points;

    return prefix != PREFIX_NONE && weight < p->prefix_hides_below;
}

/* The text that the row matched; NULL if it does not apply. */
static const char *
match_row(const struct policy *p, const struct signal_row *row,
          const struct keyword *found, enum prefix prefix, const char *data,
          const struct routing_facts *f, struct mem_pool *pool)
{
    switch (row->kind) {
    case SIGNAL_WORDS:
        return found && !is_hidden(p, row, prefix) ? found->text : NULL;
    case SIGNAL_PREFIX:
        if (row->prefix != prefix)
            return NULL;
        return prefix == PREFIX_CLOUD ? "cloud:" : "local:";
    case SIGNAL_RUNNING_LOCAL:
        if (!f->known || f->running_local < row->running_local)
            return NULL;
        return mem_pool_printf(pool, "%u running here", f->running_local);
    case SIGNAL_DATA:
        for (size_t i = 0; i < row->n_data; i++)
            if (strcmp(row->data[i], data) == 0)
                return row->data[i];
        return NULL;
    }
    return NULL;
}

void
scoring_score(const char *text, enum prefix prefix, const char *data,
              const struct routing_facts *f, const struct policy *p,
              struct mem_pool *pool, struct score *out)
{
    const struct keyword *found[POLICY_ROWS_MAX] = {0};

    *out = (struct score){
        .hits = mem_pool_alloc(pool, p->n_rows * sizeof *out->hits)};
    keywords_find(text, p, found);
    for (size_t i = 0; i < p->n_rows; i++) {
        const struct signal_row *row = &p->rows[i];
        const char *match = match_row(p, row, found[i], prefix, data, f, pool);

        if (!match)
            continue;
        out->hits[out->n_hits++] =
            (struct signal_hit){row->name, row->points, match};
        out->points += row->points;
    }
}

enum prefix
scoring_prefix(const char *text, size_t *len)
{
    static const size_t prefix_len = sizeof "cloud:" - 1;
    size_t blank = strspn(text, " \t\r\n");
    enum prefix found;

    *len = 0;
    if (strncasecmp(text + blank, "cloud:", prefix_len) == 0)
        found = PREFIX_CLOUD;
    else if (strncasecmp(text + blank, "local:", prefix_len) == 0)
        found = PREFIX_LOCAL;
    else
        return PREFIX_NONE;
    *len = blank + prefix_len;
    *len += strspn(text + *len, " \t\r\n");
    return found;
}
