/*
 * Reads a policy's YAML tree key by key through tables: each map has a list of
 * keys with a reader, an offset and limits. Errors name the file, the line and
 * the column, and a remedy.
 */
#include "router/policy_private.h"

#include "lib/base/str.h"
#include "lib/base/yaml.h"
#include "lib/model/subject.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

enum {
    LINE_MOST = 40,
    DAY_MS = 86400 * 1000,
    USD_MOST = 10000, /* an hour */
};

/* A policy being read. */
struct policy_reader {
    const char *name; /* of the file */
    struct mem_pool *pool;
    struct policy *p;
    struct err *e; /* what to set on -1 */
};

/* One key of a map: `read` stores its value in the struct at `to`. */
struct key {
    const char *name;
    int (*read)(struct policy_reader *r, const struct key *k,
                const struct yaml_node *n, void *to);
    size_t offset;
    uint64_t least, most;
    bool needed;
};

/* --- maps ----------------------------------------------------------------- */

/* "a, b, c" */
static const char *
names_of(const struct policy_reader *r, const struct key *keys, size_t n)
{
    const char *text = keys[0].name;

    for (size_t i = 1; i < n; i++)
        text = mem_pool_printf(r->pool, "%s, %s", text, keys[i].name);
    return text;
}

static int
expect(const struct policy_reader *r, const struct yaml_node *n,
       enum yaml_kind kind, const char *what, const char *wanted)
{
    if (n->kind == kind && !yaml_is_null(n))
        return 0;
    return yaml_error(r->name, n, r->e, "%s: %s is expected here, not %s", what,
                      wanted, yaml_kind_words(n));
}

/* Reads the map n, named what in errors, key by key into *to. */
static int
read_map(struct policy_reader *r, const struct yaml_node *n, const char *what,
         const struct key *keys, size_t n_keys, void *to)
{
    if (expect(r, n, YAML_MAP, what, "a map") < 0)
        return -1;
    for (const struct yaml_node *v = n->first; v; v = v->next) {
        size_t i = 0;

        while (i < n_keys && strcmp(keys[i].name, v->key->text) != 0)
            i++;
        if (i == n_keys)
            return yaml_error(r->name, v->key, r->e,
                              "%s: unknown key %.40s; known are %s", what,
                              v->key->text, names_of(r, keys, n_keys));
        if (keys[i].read(r, &keys[i], v, (char *)to + keys[i].offset) < 0)
            return -1;
    }
    for (size_t i = 0; i < n_keys; i++)
        if (keys[i].needed && !yaml_get(n, keys[i].name))
            return yaml_error(r->name, n, r->e,
                              "%s: %s is missing; etc/policy.yaml shows it",
                              what, keys[i].name);
    return 0;
}

/* --- single values -------------------------------------------------------- */

static int
bad_value(const struct policy_reader *r, const struct key *k,
          const struct yaml_node *n, const char *wanted)
{
    if (n->kind != YAML_SCALAR || yaml_is_null(n))
        return yaml_error(r->name, n, r->e, "%s: %s is expected, not %s",
                          k->name, wanted, yaml_kind_words(n));
    return yaml_error(r->name, n, r->e, "%s: %s is expected, not '%.40s'",
                      k->name, wanted, n->text);
}

/* Whether a value is false: the condition is not checked. */
static bool
is_off(const struct yaml_node *n)
{
    return n->kind == YAML_SCALAR && !n->quoted &&
           strcasecmp(n->text, "false") == 0;
}

static int
read_bool(struct policy_reader *r, const struct key *k,
          const struct yaml_node *n, void *to)
{
    bool on = n->kind == YAML_SCALAR && strcasecmp(n->text, "true") == 0;

    if (n->quoted || (!on && !is_off(n)))
        return bad_value(r, k, n, "true or false");
    *(bool *)to = on;
    return 0;
}

/* A number that parse reads, within the key's limits. */
static int
read_limit(struct policy_reader *r, const struct key *k,
           const struct yaml_node *n,
           bool (*parse)(const char *text, uint64_t *out), const char *wanted,
           uint64_t *out)
{
    if (is_off(n))
        return 0;
    if (n->kind != YAML_SCALAR || !parse(n->text, out) || *out < k->least ||
        *out > k->most)
        return bad_value(r, k, n, wanted);
    return 0;
}

static int
read_ms(struct policy_reader *r, const struct key *k, const struct yaml_node *n,
        void *to)
{
    return read_limit(r, k, n, str_to_ms,
                      "a duration (10m, at most 1d) or false", to);
}

static int
read_size(struct policy_reader *r, const struct key *k,
          const struct yaml_node *n, void *to)
{
    return read_limit(r, k, n, str_to_bytes, "a size (8G, at most 1T) or false",
                      to);
}

static int
read_count(struct policy_reader *r, const struct key *k,
           const struct yaml_node *n, void *to)
{
    uint64_t count = 0;

    if (is_off(n))
        return 0;
    if (n->kind != YAML_SCALAR ||
        !str_to_u64(n->text, k->least, k->most, &count))
        return bad_value(r, k, n, "a whole number from 1 to 10000, or false");
    *(uint32_t *)to = (uint32_t)count;
    return 0;
}

/* Points, with a minus sign if they are subtracted. */
static int
read_points(struct policy_reader *r, const struct key *k,
            const struct yaml_node *n, void *to)
{
    const char *text = n->text;
    bool minus = *text == '-';
    uint64_t points = 0;

    if (n->kind != YAML_SCALAR ||
        !str_to_u64(text + (minus || *text == '+'), k->least, POLICY_POINTS_MAX,
                    &points))
        return bad_value(r, k, n,
                         k->least ? "a whole number from -100 to 100, not 0,"
                                  : "a whole number from -100 to 100");
    *(int32_t *)to = minus ? -(int32_t)points : (int32_t)points;
    return 0;
}

static bool
is_line(const char *text)
{
    size_t len = strlen(text);

    for (; *text; text++)
        if (iscntrl((unsigned char)*text))
            return false;
    return len > 0 && len <= LINE_MOST;
}

/* A line of text for people. */
static int
read_line(struct policy_reader *r, const struct key *k,
          const struct yaml_node *n, void *to)
{
    if (n->kind != YAML_SCALAR || yaml_is_null(n) || !is_line(n->text))
        return bad_value(r, k, n, "a line of at most 40 characters");
    *(const char **)to = n->text;
    return 0;
}

static int
read_unavailable(struct policy_reader *r, const struct key *k,
                 const struct yaml_node *n, void *to)
{
    static const char *const words[] = {[UNAVAILABLE_LOCAL] = "local",
                                        [UNAVAILABLE_QUEUE] = "queue",
                                        [UNAVAILABLE_REJECT] = "reject"};

    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(words[i], n->text) != 0)
            continue;
        *(enum when_unavailable *)to = (enum when_unavailable)i;
        return 0;
    }
    return bad_value(r, k, n, "local, queue or reject");
}

/* --- lists of words ------------------------------------------------------- */

/* Reads a list of texts that ok accepts; what names it in errors. */
static int
read_texts(struct policy_reader *r, const struct yaml_node *n, const char *what,
           bool (*ok)(const char *text), const char *wanted, const char ***out,
           size_t *n_out)
{
    const char **list;
    size_t i = 0;

    if (expect(r, n, YAML_LIST, what, "a list") < 0)
        return -1;
    list = mem_pool_alloc(r->pool, n->n * sizeof *list);
    for (const struct yaml_node *v = n->first; v; v = v->next) {
        if (v->kind != YAML_SCALAR || !ok(v->text))
            return yaml_error(r->name, v, r->e,
                              "%s: %s is expected, not %s%.40s", what, wanted,
                              v->kind == YAML_SCALAR ? "" : yaml_kind_words(v),
                              v->text);
        list[i++] = v->text;
    }
    *out = list;
    *n_out = i;
    return 0;
}

/* As read_texts, but refuses duplicates; *set receives the texts as well. */
static int
read_distinct(struct policy_reader *r, const struct yaml_node *n,
              const char *what, bool (*ok)(const char *text),
              const char *wanted, const char ***out, size_t *n_out,
              struct word_set *set)
{
    if (read_texts(r, n, what, ok, wanted, out, n_out) < 0)
        return -1;
    word_set_init(set, n->n, r->pool);
    for (const struct yaml_node *v = n->first; v; v = v->next)
        if (!word_set_add(set, v->text))
            return yaml_error(r->name, v, r->e,
                              "%s: %.60s is listed twice; keep one", what,
                              v->text);
    return 0;
}

/*
 * Whether text has the form of a command's reduced word: lower case, one part.
 * Anything else could never match, so it is refused.
 */
static bool
is_word(const char *text)
{
    size_t len = strlen(text);

    if (len == 0 || len >= POLICY_WORD_SIZE)
        return false;
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;

        if (isupper(c) || iscntrl(c) || strchr(" .:-_/=\\;|&()<>{}\"'`$,#", c))
            return false;
    }
    return true;
}

static int
read_set(struct policy_reader *r, const struct key *k,
         const struct yaml_node *n, void *to)
{
    const char **list;
    size_t len;

    return read_distinct(r, n, k->name, is_word,
                         "a word in lower case without any of . : - _ /", &list,
                         &len, to);
}

static bool
is_provider(const char *text)
{
    for (const char *p = text; *p; p++)
        if (isupper((unsigned char)*p))
            return false;
    return subject_token_ok(text) && strcmp(text, "auto") != 0 &&
           strcmp(text, "claude-code") != 0;
}

static int
read_providers(struct policy_reader *r, const struct key *k,
               const struct yaml_node *n, void *to)
{
    struct policy *p = to;
    struct word_set set;

    return read_distinct(
        r, n, k->name, is_provider,
        "a lane's name in lower case, neither auto nor claude-code,",
        &p->providers, &p->n_providers, &set);
}

/* --- agents, executors, prices -------------------------------------------- */

/* A copy of the list of n elements with room for more. */
static void *
longer(struct mem_pool *pool, const void *list, size_t n, size_t more,
       size_t size)
{
    void *out = mem_pool_alloc(pool, (n + more) * size);

    if (n)
        memcpy(out, list, n * size);
    return out;
}

/* The name of an agent, or a map of agent and the signal it depends on. */
static int
read_agent(struct policy_reader *r, const struct yaml_node *n,
           struct agent_row *out)
{
    static const struct key keys[] = {
        {"agent", read_line, offsetof(struct agent_row, agent), 0, 0, true},
        {"when", read_line, offsetof(struct agent_row, when), 0, 0, true},
    };

    out->when = "";
    if (n->kind == YAML_MAP)
        return read_map(r, n, "affinity", keys, sizeof keys / sizeof *keys,
                        out);
    out->agent = n->text;
    if (n->kind == YAML_SCALAR && is_line(n->text))
        return 0;
    return yaml_error(r->name, n, r->e,
                      "affinity: the name of an agent is expected here, or "
                      "{agent: NAME, when: SIGNAL}");
}

/* One of the three lists; names are unique across all of them, ignoring
 * case. */
static int
read_agents(struct policy_reader *r, const struct key *k,
            const struct yaml_node *n, void *to)
{
    struct policy *p = to;
    struct agent_row *all;

    if (expect(r, n, YAML_LIST, k->name, "a list") < 0)
        return -1;
    if (p->n_agents + n->n > POLICY_AGENTS_MAX)
        return yaml_error(r->name, n, r->e, "affinity: more than %d agents",
                          POLICY_AGENTS_MAX);
    p->agents = all =
        longer(r->pool, p->agents, p->n_agents, n->n, sizeof *all);
    for (const struct yaml_node *v = n->first; v; v = v->next) {
        struct agent_row *row = &all[p->n_agents];

        row->affinity = (enum affinity)k->least;
        if (read_agent(r, v, row) < 0)
            return -1;
        if (policy_agent(p, row->agent))
            return yaml_error(r->name, v, r->e,
                              "affinity: %.40s is listed twice; keep one",
                              row->agent);
        p->n_agents++;
    }
    return 0;
}

static int
read_affinity(struct policy_reader *r, const struct key *k,
              const struct yaml_node *n, void *to)
{
    static const struct key keys[] = {
        {"cloud", read_agents, 0, AFFINITY_CLOUD, 0, true},
        {"local", read_agents, 0, AFFINITY_LOCAL, 0, true},
        {"depends", read_agents, 0, AFFINITY_DEPENDS, 0, true},
    };

    return read_map(r, n, k->name, keys, sizeof keys / sizeof *keys, to);
}

static int
read_executors(struct policy_reader *r, const struct key *k,
               const struct yaml_node *n, void *to)
{
    struct policy *p = to;
    struct executor_lane *list;

    if (expect(r, n, YAML_MAP, k->name, "a map of executor: backend.lane") < 0)
        return -1;
    if (n->n > POLICY_EXECUTORS_MAX)
        return yaml_error(r->name, n, r->e, "%s: more than %d", k->name,
                          POLICY_EXECUTORS_MAX);
    list = mem_pool_alloc(r->pool, n->n * sizeof *list);
    p->executors = list;
    for (const struct yaml_node *v = n->first; v; v = v->next) {
        const char *dot = strchr(v->text, '.');

        if (!is_line(v->key->text))
            return yaml_error(r->name, v->key, r->e,
                              "%s: a name of at most %d characters is expected",
                              k->name, LINE_MOST);
        if (v->kind != YAML_SCALAR || !policy_is_place(v->text))
            return yaml_error(
                r->name, v, r->e,
                "%s: '%.60s' is not a lane; write backend.lane with "
                "a backend of local, codespace and secutools",
                k->name, v->text);
        list[p->n_executors++] = (struct executor_lane){
            .executor = v->key->text,
            .backend =
                mem_pool_strndup(r->pool, v->text, (size_t)(dot - v->text)),
            .lane = dot + 1};
    }
    return 0;
}

/* Parses "0.36": at most six digits after the point. */
static bool
to_usd_micros(const char *text, uint64_t *out)
{
    size_t whole = strcspn(text, "."), digits;
    char buf[16];
    uint64_t micros = 0;

    if (whole >= sizeof buf)
        return false;
    memcpy(buf, text, whole);
    buf[whole] = '\0';
    if (!str_to_u64(buf, 0, USD_MOST, out))
        return false;
    *out *= 1000000;
    if (!text[whole])
        return true;
    text += whole + 1;
    digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 6 || text[digits])
        return false;
    for (size_t i = 0; i < 6; i++)
        micros = micros * 10 + (i < digits ? (uint64_t)(text[i] - '0') : 0);
    *out += micros;
    return true;
}

static int
read_prices(struct policy_reader *r, const struct key *k,
            const struct yaml_node *n, void *to)
{
    struct policy *p = to;
    struct price *list;

    if (expect(r, n, YAML_MAP, k->name, "a map of backend: dollars an hour") <
        0)
        return -1;
    list = mem_pool_alloc(r->pool, n->n * sizeof *list);
    p->prices = list;
    for (const struct yaml_node *v = n->first; v; v = v->next) {
        struct price *price = &list[p->n_prices++];

        price->place = v->key->text;
        if (!policy_is_place(price->place) &&
            !policy_is_backend(price->place, strlen(price->place)))
            return yaml_error(r->name, v->key, r->e,
                              "%s: '%.60s' is neither a backend (local, "
                              "codespace, secutools) nor a backend.lane",
                              k->name, price->place);
        if (v->kind != YAML_SCALAR ||
            !to_usd_micros(v->text, &price->usd_micros_per_hour))
            return yaml_error(r->name, v, r->e,
                              "%s: '%.40s' is not a price; write US dollars an "
                              "hour, as in 0.36, at most %d",
                              k->name, v->text, USD_MOST);
    }
    return 0;
}

/* --- conditions ----------------------------------------------------------- */

#define FIELD(f) offsetof(struct policy, f)

static int
read_force(struct policy_reader *r, const struct key *k,
           const struct yaml_node *n, void *to)
{
    static const struct key keys[] = {
        {"runtime_over", read_ms, FIELD(cloud_runtime_ms), 1, DAY_MS, false},
        {"heavy_log", read_bool, FIELD(cloud_heavy_log), 0, 0, false},
        {"llm", read_bool, FIELD(cloud_llm), 0, 0, false},
        {"parallel_from", read_count, FIELD(cloud_parallel), 1, 10000, false},
        {"memory_over", read_size, FIELD(cloud_memory_bytes), 1, 1ULL << 40,
         false},
        {"memory_over_free", read_bool, FIELD(cloud_memory_free), 0, 0, false},
        {"memory_unknown", read_bool, FIELD(cloud_memory_unknown), 0, 0, false},
    };

    return read_map(r, n, k->name, keys, sizeof keys / sizeof *keys, to);
}

static int
read_allow(struct policy_reader *r, const struct key *k,
           const struct yaml_node *n, void *to)
{
    static const struct key keys[] = {
        {"runtime_up_to", read_ms, FIELD(local_runtime_ms), 1, DAY_MS, false},
        {"ui", read_bool, FIELD(local_ui), 0, 0, false},
        {"light", read_bool, FIELD(local_light), 0, 0, false},
    };

    return read_map(r, n, k->name, keys, sizeof keys / sizeof *keys, to);
}

/* --- signals -------------------------------------------------------------- */

/* "docker", or "npm run". */
static bool
read_keyword(struct policy_reader *r, const char *text, struct keyword *out)
{
    const char *blank = strchr(text, ' ');

    out->text = out->word = text;
    out->before = "";
    out->option = false;
    if (blank) {
        out->before = mem_pool_strndup(r->pool, text, (size_t)(blank - text));
        out->word = blank + 1;
        out->option = *out->word == '-';
        out->word += strspn(out->word, "-");
    }
    return is_word(out->word) && (!blank || is_word(out->before));
}

static int
read_words(struct policy_reader *r, const struct key *k,
           const struct yaml_node *n, void *to)
{
    struct signal_row *row = to;
    struct policy *p = r->p;
    struct keyword *all;

    if (expect(r, n, YAML_LIST, k->name, "a list") < 0)
        return -1;
    p->keywords = all =
        longer(r->pool, p->keywords, p->n_keywords, n->n, sizeof *all);
    for (const struct yaml_node *v = n->first; v; v = v->next) {
        struct keyword *word = &all[p->n_keywords++];

        word->row = p->n_rows;
        word->line = v->line;
        if (v->kind != YAML_SCALAR || !read_keyword(r, v->text, word))
            return yaml_error(
                r->name, v, r->e,
                "words: '%.60s' could never match; write one or two words in "
                "lower case, without any of . : - _ /; the second may be an "
                "option, as in tail -f",
                v->text);
    }
    row->kind = SIGNAL_WORDS;
    return 0;
}

static int
read_prefix(struct policy_reader *r, const struct key *k,
            const struct yaml_node *n, void *to)
{
    struct signal_row *row = to;

    row->kind = SIGNAL_PREFIX;
    if (strcmp(n->text, "cloud") == 0)
        row->prefix = PREFIX_CLOUD;
    else if (strcmp(n->text, "local") == 0)
        row->prefix = PREFIX_LOCAL;
    else
        return bad_value(r, k, n, "cloud or local");
    return 0;
}

static int
read_running(struct policy_reader *r, const struct key *k,
             const struct yaml_node *n, void *to)
{
    struct signal_row *row = to;
    uint64_t least = 0;

    row->kind = SIGNAL_RUNNING_LOCAL;
    if (n->kind != YAML_SCALAR ||
        !str_to_u64(n->text, k->least, k->most, &least))
        return bad_value(r, k, n, "a whole number from 1 to 10000");
    row->running_local = (uint32_t)least;
    return 0;
}

static bool
is_amount(const char *text)
{
    return strcmp(text, "small") == 0 || strcmp(text, "large") == 0 ||
           strcmp(text, "unknown") == 0;
}

static int
read_data(struct policy_reader *r, const struct key *k,
          const struct yaml_node *n, void *to)
{
    struct signal_row *row = to;
    struct word_set set;

    row->kind = SIGNAL_DATA;
    return read_distinct(r, n, k->name, is_amount, "small, large or unknown",
                         &row->data, &row->n_data, &set);
}

#define OF_ROW(f) offsetof(struct signal_row, f)

static int
read_row(struct policy_reader *r, const struct yaml_node *n,
         struct signal_row *row)
{
    static const struct key keys[] = {
        {"name", read_line, OF_ROW(name), 0, 0, true},
        {"points", read_points, OF_ROW(points), 1, 0, true},
        {"words", read_words, 0, 0, 0, false},
        {"parts", read_bool, OF_ROW(parts), 0, 0, false},
        {"prefix", read_prefix, 0, 0, 0, false},
        {"running_local", read_running, 0, 1, 10000, false},
        {"data", read_data, 0, 0, 0, false},
    };

    if (read_map(r, n, "signals", keys, sizeof keys / sizeof *keys, row) < 0)
        return -1;
    if (n->n != (yaml_get(n, "parts") ? 4 : 3) ||
        (yaml_get(n, "parts") && row->kind != SIGNAL_WORDS))
        return yaml_error(r->name, n, r->e,
                          "signals: %s needs exactly one of words, "
                          "prefix, running_local and data; parts goes with "
                          "words",
                          row->name);
    for (size_t i = 0; i < r->p->n_rows; i++)
        if (strcmp(r->p->rows[i].name, row->name) == 0)
            return yaml_error(r->name, n, r->e,
                              "signals: two rows are named %s; rename one",
                              row->name);
    return 0;
}

static int
read_signals(struct policy_reader *r, const struct key *k,
             const struct yaml_node *n, void *to)
{
    struct policy *p = to;
    struct signal_row *rows;

    if (expect(r, n, YAML_LIST, k->name, "a list") < 0)
        return -1;
    if (n->n > POLICY_ROWS_MAX)
        return yaml_error(r->name, n, r->e, "%s: more than %d rows", k->name,
                          POLICY_ROWS_MAX);
    rows = mem_pool_alloc(r->pool, n->n * sizeof *rows);
    p->rows = rows;
    for (const struct yaml_node *v = n->first; v; v = v->next) {
        if (read_row(r, v, &rows[p->n_rows]) < 0)
            return -1;
        p->n_rows++;
    }
    return 0;
}

/* An agent depends on a row of words. */
static int
check_agents(const struct policy_reader *r, const struct yaml_node *root)
{
    const struct policy *p = r->p;

    for (size_t i = 0; i < p->n_agents; i++) {
        size_t row = 0;

        if (!*p->agents[i].when)
            continue;
        while (row < p->n_rows &&
               (strcmp(p->rows[row].name, p->agents[i].when) != 0 ||
                p->rows[row].kind != SIGNAL_WORDS))
            row++;
        if (row == p->n_rows)
            return yaml_error(r->name, yaml_get(root, "affinity"), r->e,
                              "affinity: %.40s: when: '%.40s' is not a signal "
                              "with words",
                              p->agents[i].agent, p->agents[i].when);
    }
    return 0;
}

/* Refuses words that occur twice, in one row or in two. */
static int
check_words(const struct policy_reader *r)
{
    const struct policy *p = r->p;
    struct word_set seen;

    word_set_init(&seen, p->n_keywords, r->pool);
    for (size_t i = 0; i < p->n_keywords; i++)
        if (!word_set_add(&seen, p->keywords[i].text))
            return err_set(r->e, ERR_INVALID,
                           "%s:%zu: words: '%s' is listed in two rows or twice "
                           "in one; keep one",
                           r->name, p->keywords[i].line, p->keywords[i].text);
    return 0;
}

/* --- complete policy ------------------------------------------------------ */

static int
check_whole(const struct policy_reader *r, const struct yaml_node *root)
{
    const struct policy *p = r->p;

    if (p->cloud_runtime_ms && p->local_runtime_ms > p->cloud_runtime_ms)
        return yaml_error(
            r->name, yaml_get(yaml_get(root, "allow_local"), "runtime_up_to"),
            r->e,
            "allow_local: runtime_up_to is longer than "
            "runtime_over of force_cloud");
    if (check_agents(r, root) < 0)
        return -1;
    return check_words(r);
}

int
policy_read(const char *name, const char *text, size_t len,
            struct mem_pool *pool, struct policy *out, struct err *e)
{
    static const struct key keys[] = {
        {"version", read_line, FIELD(version), 0, 0, true},
        {"executors", read_executors, 0, 0, 0, true},
        {"providers", read_providers, 0, 0, 0, true},
        {"affinity", read_affinity, 0, 0, 0, true},
        {"force_cloud", read_force, 0, 0, 0, true},
        {"allow_local", read_allow, 0, 0, 0, true},
        {"threshold", read_points, FIELD(threshold), 0, 0, true},
        {"signals", read_signals, 0, 0, 0, true},
        {"prefix_hides_below", read_points, FIELD(prefix_hides_below), 0, 0,
         true},
        {"light_programs", read_set, FIELD(light_programs), 0, 0, true},
        {"data_suffixes", read_set, FIELD(data_suffixes), 0, 0, true},
        {"when_unavailable", read_unavailable, FIELD(when_unavailable), 0, 0,
         true},
        {"prices", read_prices, 0, 0, 0, false},
    };
    struct policy_reader r = {.name = name, .pool = pool, .p = out, .e = e};
    const struct yaml_node *root;

    if (yaml_parse(name, text, len, pool, &root, e) < 0 ||
        read_map(&r, root, "policy", keys, sizeof keys / sizeof *keys, out) < 0)
        return -1;
    return check_whole(&r, root);
}
