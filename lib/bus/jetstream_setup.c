/*
 * Tables of streams, consumers and built-in lanes. Each row becomes the JSON
 * configuration that the broker should have; provisioning creates or updates
 * what differs, verifying reports the first difference.
 */
#include "lib/bus/jetstream_setup.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/bus/fleet_settings.h"
#include "lib/bus/jetstream_api.h"
#include "lib/model/subject.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

enum {
    NAME_SIZE = 96,
    CLAIMS_PARTS = 2, /* one for new claims */
};

#define MS_NS INT64_C(1000000)
#define DUPLICATES_MS (INT64_C(10) * 60 * 1000)
#define HOUR_MS (INT64_C(3600) * 1000)

/* How long messages are kept; a positive number is milliseconds. */
enum { AGE_EVER = 0, AGE_TASKS = -1, AGE_LOGS = -2 };

struct stream_row {
    const char *name, *subject;
    const char *second; /* another subject; NULL: none */
    int64_t age;
    bool latest; /* one message per subject: a KV bucket */
    bool direct; /* single messages can be read (allow_direct) */
    bool discard_old;
    bool purge;        /* messages may be taken out before their time */
    int64_t max_bytes; /* 0: as the fleet's settings say */
    int64_t parts;     /* so many times what the settings say; 0: once */
};

static const struct stream_row streams[] = {
    {.name = "TASKS_IN",
     .subject = SUBJECT_TASKS_IN,
     .second = SUBJECT_TASKS_BULK,
     .age = AGE_TASKS},
    {.name = "TASKS", .subject = "tasks.*.*", .age = AGE_TASKS},
    {.name = "RESULTS", .subject = "results.*.*", .age = AGE_TASKS},
    {.name = "LOGS",
     .subject = "logs.*",
     .age = AGE_LOGS,
     .direct = true,
     .discard_old = true},
    {.name = "INPUT",
     .subject = "input.*",
     .age = 7 * 24 * HOUR_MS,
     .direct = true},
    {.name = "DEAD", .subject = "dead.*", .age = AGE_EVER, .purge = true},
    {.name = "KV_claims",
     .subject = "$KV.claims.>",
     .parts = CLAIMS_PARTS,
     .age = 48 * HOUR_MS,
     .latest = true,
     .direct = true},
    {.name = "KV_fleet",
     .subject = "$KV.fleet.>",
     .age = AGE_EVER,
     .latest = true,
     .direct = true,
     .max_bytes = 1024 * 1024},
    {.name = "KV_control",
     .subject = "$KV.control.>",
     .age = 7 * 24 * HOUR_MS,
     .latest = true,
     .direct = true},
};

struct consumer_row {
    const char *stream, *durable, *filter;
    int pending; /* max_ack_pending: unsettled messages of all pullers */
};

enum { PENDING_ONE = 1024, PENDING_LEDGER = 8192, PENDING_LANE = 20000 };

static const struct consumer_row consumers[] = {
    {"TASKS_IN", "router", "", PENDING_ONE},
    {"TASKS_IN", "ledger", "", PENDING_LEDGER},
    {"TASKS", "ledger", "", PENDING_LEDGER},
    {"RESULTS", "reaper", "", PENDING_ONE},
    {"RESULTS", "gateway_folder", "results.*.folder", PENDING_ONE},
    {"KV_control", "ledger", SUBJECT_CANCEL_ALL, PENDING_ONE},
};

static const char *const lanes[] = {
    "local.default",        "local.claude-code",
    "codespace.default",    "secutools.auto",
    "secutools.gpu",        "secutools.gemini",
    "secutools.claude-api", NULL,
};

enum {
    N_STREAMS = sizeof streams / sizeof *streams,
    N_CONSUMERS = sizeof consumers / sizeof *consumers
};

int64_t
jetstream_claims_room(int64_t max_bytes)
{
    return max_bytes / CLAIMS_PARTS;
}

const char *const *
jetstream_streams(void)
{
    static const char *names[N_STREAMS + 1];

    for (size_t i = 0; i < N_STREAMS; i++)
        names[i] = streams[i].name;
    return names;
}

const char *const *
jetstream_lanes(void)
{
    return lanes;
}

/* --- wanted configuration ------------------------------------------------- */

static void
set(json_t *o, const char *key, json_t *value)
{
    (void)json_object_set_new(o, key, value);
}

/* The part that is the same in every installation: jetstream_verify compares
 * it. */
static json_t *
stream_shape(const struct stream_row *r)
{
    json_t *o = json_object(), *subjects = json_array();

    (void)json_array_append_new(subjects, json_string(r->subject));
    if (r->second)
        (void)json_array_append_new(subjects, json_string(r->second));
    set(o, "name", json_string(r->name));
    set(o, "subjects", subjects);
    set(o, "retention", json_string("limits"));
    set(o, "storage", json_string("file"));
    set(o, "discard", json_string(r->discard_old ? "old" : "new"));
    set(o, "max_msgs", json_integer(-1));
    set(o, "max_msgs_per_subject", json_integer(r->latest ? 1 : -1));
    set(o, "allow_direct", json_boolean(r->direct));
    set(o, "allow_rollup_hdrs", json_false()); /* it takes messages out, too */
    set(o, "deny_delete", json_true());
    set(o, "deny_purge", json_boolean(!r->purge));
    return o;
}

static int64_t
stream_age_ms(const struct stream_row *r, const struct jetstream_conf *conf)
{
    if (r->age == AGE_TASKS)
        return conf->max_age_ms;
    return r->age == AGE_LOGS ? conf->log_retention_ms : r->age;
}

static json_t *
stream_config(const struct stream_row *r, const struct jetstream_conf *conf)
{
    json_t *o = stream_shape(r);
    int64_t age = stream_age_ms(r, conf), window = DUPLICATES_MS;
    int64_t most = r->age == AGE_LOGS ? conf->log_max_bytes : conf->max_bytes;

    if (r->parts && most > 0 && most < INT64_MAX / r->parts)
        most *= r->parts;
    if (age > 0 && age < window)
        window = age; /* the broker refuses more */
    set(o, "max_age", json_integer(age * MS_NS));
    set(o, "max_bytes", json_integer(r->max_bytes ? r->max_bytes : most));
    set(o, "duplicate_window", json_integer(window * MS_NS));
    set(o, "num_replicas", json_integer(conf->replicas));
    return o;
}

static json_t *
consumer_config(const struct consumer_row *r)
{
    json_t *o = json_object();

    set(o, "durable_name", json_string(r->durable));
    set(o, "deliver_policy", json_string("all"));
    set(o, "ack_policy", json_string("explicit"));
    set(o, "ack_wait", json_integer(30000 * MS_NS));
    set(o, "max_deliver", json_integer(-1));
    set(o, "max_ack_pending", json_integer(r->pending));
    set(o, "replay_policy", json_string("instant"));
    if (*r->filter)
        set(o, "filter_subject", json_string(r->filter));
    return o;
}

/* The broker omits fields that are zero. */
static bool
is_zero(const json_t *v)
{
    return !v || json_is_false(v) || json_is_null(v) ||
           (json_is_integer(v) && json_integer_value(v) == 0) ||
           (json_is_string(v) && !*json_string_value(v));
}

/* The first field of want whose value in found differs; NULL: none. */
static const char *
difference(json_t *want, json_t *found)
{
    const char *key;
    json_t *value;

    json_object_foreach(want, key, value)
    {
        json_t *other = json_object_get(found, key);

        if (!(is_zero(value) && is_zero(other)) && !json_equal(value, other))
            return key;
    }
    return NULL;
}

static int64_t
number(const json_t *config, const char *key)
{
    return json_integer_value(json_object_get(config, key));
}

/* Whether the first is less, of a limit where one value means that there is
 * none. */
static bool
is_less(int64_t value, int64_t than, int64_t endless)
{
    return value != endless && (than == endless || value < than);
}

/* The first field that would give a stream less than it has, so that messages
 * or copies are deleted; NULL: none. */
static const char *
shrinks(json_t *want, json_t *found)
{
    const json_t *subject;
    size_t i;

    if (number(want, "num_replicas") < number(found, "num_replicas"))
        return "num_replicas";
    if (is_less(number(want, "max_bytes"), number(found, "max_bytes"), -1))
        return "max_bytes";
    if (is_less(number(want, "max_age"), number(found, "max_age"), 0))
        return "max_age";
    json_array_foreach(json_object_get(found, "subjects"), i, subject)
    {
        if (!jetstream_api_lists(json_object_get(want, "subjects"),
                                 json_string_value(subject)))
            return "subjects";
    }
    return NULL;
}

static void
add_value(struct str *out, const json_t *value)
{
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);

    str_addz(out, text ? LOG_TEXT(text) : "none");
    mem_free(text);
}

/* "field: a -> b, ..." */
static void
add_changes(struct str *out, json_t *want, json_t *found)
{
    const char *key;
    json_t *value;

    json_object_foreach(want, key, value)
    {
        json_t *other = json_object_get(found, key);

        if ((is_zero(value) && is_zero(other)) || json_equal(value, other))
            continue;
        str_addf(out, "%s%s: ", out->len ? ", " : "", key);
        add_value(out, other);
        str_addz(out, " -> ");
        add_value(out, value);
    }
}

static int
drift(const char *what, const char *key, json_t *want, json_t *found,
      struct err *e)
{
    char *wanted = json_dumps(json_object_get(want, key), JSON_ENCODE_ANY);
    char *has = json_dumps(json_object_get(found, key), JSON_ENCODE_ANY);

    err_set(e, ERR_INVALID, "%s: %s is %s and must be %s", what, key,
            has ? LOG_TEXT(has) : "absent", wanted ? wanted : "?");
    mem_free(wanted);
    mem_free(has);
    return -1;
}

/* --- objects -------------------------------------------------------------- */

struct object {
    char what[NAME_SIZE + 16]; /* "stream TASKS" */
    char name[NAME_SIZE];      /* "TASKS" or "TASKS/router" */
    char info[SUBJECT_SIZE], create[SUBJECT_SIZE], update[SUBJECT_SIZE];
    const char *stream; /* a consumer's; NULL: this is a stream */
    json_t *want;       /* owned */
};

static void
stream_object(struct object *t, const struct stream_row *r, json_t *want)
{
    *t = (struct object){.want = want};
    (void)str_copy(t->name, sizeof t->name, r->name);
    (void)snprintf(t->what, sizeof t->what, "stream %s", r->name);
    (void)snprintf(t->info, sizeof t->info, "STREAM.INFO.%s", r->name);
    (void)snprintf(t->create, sizeof t->create, "STREAM.CREATE.%s", r->name);
    (void)snprintf(t->update, sizeof t->update, "STREAM.UPDATE.%s", r->name);
}

static void
consumer_object(struct object *t, const struct consumer_row *r)
{
    *t = (struct object){.want = consumer_config(r), .stream = r->stream};
    (void)snprintf(t->name, sizeof t->name, "%s/%s", r->stream, r->durable);
    (void)snprintf(t->what, sizeof t->what, "consumer %s/%s", r->stream,
                   r->durable);
    (void)snprintf(t->info, sizeof t->info, "CONSUMER.INFO.%s.%s", r->stream,
                   r->durable);
    /* Creating a durable that exists updates it. */
    (void)snprintf(t->create, sizeof t->create, "CONSUMER.DURABLE.CREATE.%s.%s",
                   r->stream, r->durable);
    memcpy(t->update, t->create, sizeof t->update);
}

/* Creates the object, or updates it with the wanted fields. */
static int
write_object(struct bus *b, const struct object *t, json_t *found,
             struct err *e)
{
    json_t *config = found ? json_deep_copy(found) : json_object();
    json_t *body = config, *answer = NULL;
    int64_t api;
    int rc;

    (void)json_object_update(config, t->want);
    if (t->stream) {
        body = json_object();
        set(body, "stream_name", json_string(t->stream));
        set(body, "config", config);
    }
    rc = jetstream_api_call(b, found ? t->update : t->create, body, &answer,
                            &api, e);
    json_decref(answer);
    json_decref(body);
    return rc;
}

/* What a run of jetstream_provision shares. */
struct provisioning {
    struct bus *bus;
    const struct jetstream_rules *rules;
    jetstream_report_fn *report;
    void *ctx;
};

/* The configuration of an object; *out NULL if it does not exist. */
static int
read_config(struct bus *b, const struct object *t, json_t **out, struct err *e)
{
    json_t *answer;

    *out = NULL;
    if (jetstream_api_info(b, t->info, &answer, e) < 0)
        return err_wrap(e, "%s", t->what);
    if (!answer)
        return 0;
    *out = json_incref(json_object_get(answer, "config"));
    json_decref(answer);
    if (!*out)
        return err_set(e, ERR_UNAVAILABLE, "%s: no config in the reply",
                       t->what);
    return 0;
}

/* Fields of found that the rules protect: they are kept, or that is an error.
 */
static int
protect(const struct provisioning *p, const struct object *t, json_t *found,
        struct err *e)
{
    const char *key;

    while (!t->stream && !p->rules->allow_shrink &&
           (key = shrinks(t->want, found))) {
        if (!p->rules->keep) {
            drift(t->what, key, t->want, found, e);
            return err_set(e, ERR_CONFLICT,
                           "%s, which is less and may delete messages: "
                           "--allow-shrink does it",
                           e->msg);
        }
        log_warn("fleet.kept", "object=\"%s\" field=%s", t->what, key);
        set(t->want, key, json_incref(json_object_get(found, key)));
    }
    return 0;
}

/* Writes the object, and reads what the broker made of it. key: the field that
 * differs, NULL: it is new. */
static int
apply(struct bus *b, const struct object *t, const char *key, json_t *found,
      struct err *e)
{
    json_t *now = NULL;
    int rc = 0;

    if (write_object(b, t, found, e) < 0) {
        struct err why = *e;

        if (!key || why.code != ERR_INVALID)
            return err_wrap(e, "%s", t->what);
        drift(t->what, key, t->want, found, e);
        return err_set(e, ERR_INVALID, "%s, which cannot be changed: %s",
                       e->msg, why.msg);
    }
    if (read_config(b, t, &now, e) < 0)
        return -1;
    /* An old broker ignores fields that it does not know. */
    key = difference(t->want, now);
    if (key)
        rc = drift(t->what, key, t->want, now, e);
    json_decref(now);
    return rc;
}

static int
provision(const struct provisioning *p, const struct object *t, struct err *e)
{
    const char *did = "ok", *key = NULL;
    struct str changes = {0};
    json_t *found;
    int rc = 0;

    if (read_config(p->bus, t, &found, e) < 0)
        return -1;
    if (found)
        rc = protect(p, t, found, e);
    if (rc == 0 && found)
        key = difference(t->want, found);
    if (key)
        add_changes(&changes, t->want, found);
    if (!found)
        did = p->rules->dry_run ? "to create" : "created";
    else if (key)
        did = p->rules->dry_run ? "to update" : "updated";
    if (rc == 0 && (!found || key) && !p->rules->dry_run)
        rc = apply(p->bus, t, key, found, e);
    if (rc == 0 && p->report)
        p->report(p->ctx, did, t->name, str_text(&changes));
    str_free(&changes);
    json_decref(found);
    return rc;
}

/* --- lanes ---------------------------------------------------------------- */

/* Whether lane is "backend.lane", with its two tokens. */
static bool
split_lane(const char *lane, char *backend, char *rest)
{
    return subject_token_at(lane, 0, backend) &&
           subject_token_at(lane, 1, rest) &&
           strlen(lane) == strlen(backend) + 1 + strlen(rest);
}

static int
provision_lane(const struct provisioning *p, const char *lane, struct err *e)
{
    char backend[SUBJECT_TOKEN_MAX + 1], rest[SUBJECT_TOKEN_MAX + 1];
    char durable[SUBJECT_SIZE], filter[SUBJECT_SIZE];
    struct consumer_row row = {"TASKS", durable, filter, PENDING_LANE};
    struct object t;
    int rc;

    if (!split_lane(lane, backend, rest))
        return err_set(e, ERR_INVALID, "lane %s: not of the form backend.lane",
                       LOG_TEXT(lane));
    subject_lane_durable(durable, backend, rest);
    subject_task(filter, backend, rest);
    consumer_object(&t, &row);
    rc = provision(p, &t, e);
    json_decref(t.want);
    return rc;
}

static bool
built_in(const char *lane)
{
    for (const char *const *l = lanes; *l; l++)
        if (strcmp(*l, lane) == 0)
            return true;
    return false;
}

/* --- provisioning and verifying ------------------------------------------- */

static int
provision_all(const struct provisioning *p, const struct fleet_settings *fleet,
              struct err *e)
{
    const json_t *lane;
    struct object t;
    size_t at;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < N_STREAMS; i++) {
        stream_object(&t, &streams[i],
                      stream_config(&streams[i], &fleet->values));
        rc = provision(p, &t, e);
        json_decref(t.want);
    }
    for (size_t i = 0; rc == 0 && i < N_CONSUMERS; i++) {
        consumer_object(&t, &consumers[i]);
        rc = provision(p, &t, e);
        json_decref(t.want);
    }
    for (const char *const *l = lanes; rc == 0 && *l; l++)
        rc = provision_lane(p, *l, e);
    json_array_foreach(fleet->lanes, at, lane)
    {
        if (rc == 0 && !built_in(json_string_value(lane)))
            rc = provision_lane(p, json_string_value(lane), e);
    }
    return rc;
}

int
jetstream_provision(struct bus *b, const struct jetstream_conf *conf,
                    const struct jetstream_rules *rules,
                    jetstream_report_fn *report, void *ctx, struct err *e)
{
    const struct provisioning p = {b, rules, report, ctx};
    struct fleet_settings fleet;
    int rc;

    if (fleet_settings_read(b, &fleet, e) < 0)
        return -1;
    rc = fleet_settings_merge(&fleet, conf, rules, e);
    if (rc == 0)
        rc = provision_all(&p, &fleet, e);
    if (rc == 0 && !rules->dry_run)
        rc = fleet_settings_write(b, &fleet, rules->by, e);
    fleet_settings_release(&fleet);
    return rc;
}

static int
verify(struct bus *b, const struct object *t, struct err *e)
{
    json_t *found;
    const char *key;
    int rc = 0;

    if (read_config(b, t, &found, e) < 0)
        return -1;
    key = found ? difference(t->want, found) : NULL;
    if (!found)
        rc = err_set(e, ERR_NOT_FOUND,
                     "%s does not exist: run `shunt provision`", t->what);
    else if (key)
        rc = drift(t->what, key, t->want, found, e);
    if (key)
        err_set(e, e->code, "%s: run `shunt provision`", e->msg);
    json_decref(found);
    return rc;
}

/* Finds the row of a durable; for a lane it is made up in *row. */
static bool
find_consumer(const char *stream, const char *durable, char *filter,
              struct consumer_row *row)
{
    char backend[SUBJECT_TOKEN_MAX + 1];
    const char *lane = strchr(durable, '_');
    size_t len = lane ? (size_t)(lane - durable) : 0;

    for (size_t i = 0; i < N_CONSUMERS; i++) {
        *row = consumers[i];
        if (strcmp(row->stream, stream) == 0 &&
            strcmp(row->durable, durable) == 0)
            return true;
    }
    if (strcmp(stream, "TASKS") != 0 || len == 0 || len > SUBJECT_TOKEN_MAX ||
        !subject_token_ok(lane + 1))
        return false;
    memcpy(backend, durable, len);
    backend[len] = '\0';
    *row = (struct consumer_row){"TASKS", durable,
                                 subject_task(filter, backend, lane + 1),
                                 PENDING_LANE};
    return subject_token_ok(backend);
}

int
jetstream_verify(struct bus *b, const char *stream, const char *durable,
                 struct err *e)
{
    char filter[SUBJECT_SIZE];
    struct consumer_row row;
    struct object t;
    size_t i = 0;
    int rc;

    while (i < N_STREAMS && strcmp(streams[i].name, stream) != 0)
        i++;
    if (i == N_STREAMS)
        return err_set(e, ERR_BUG, "stream %s is not in the table", stream);
    stream_object(&t, &streams[i], stream_shape(&streams[i]));
    rc = verify(b, &t, e);
    json_decref(t.want);
    if (rc < 0 || !durable)
        return rc;
    if (!find_consumer(stream, durable, filter, &row))
        return err_set(e, ERR_BUG, "consumer %s/%s is not in the table", stream,
                       durable);
    consumer_object(&t, &row);
    rc = verify(b, &t, e);
    json_decref(t.want);
    return rc;
}

/* --- resetting the consumers of the ledger -------------------------------- */

static bool
is_ledgers(const struct consumer_row *r)
{
    return strcmp(r->durable, "ledger") == 0 ||
           strcmp(r->durable, "reaper") == 0;
}

static int
reset_consumer(struct bus *b, const struct consumer_row *row, struct err *e)
{
    static const struct jetstream_rules rules = {.change = true};
    const struct provisioning p = {.bus = b, .rules = &rules};
    char subject[SUBJECT_SIZE];
    json_t *answer = NULL;
    struct object t;
    int64_t api;
    int rc;

    (void)snprintf(subject, sizeof subject, "CONSUMER.DELETE.%s.%s",
                   row->stream, row->durable);
    consumer_object(&t, row);
    rc = jetstream_api_call(b, subject, NULL, &answer, &api, e);
    json_decref(answer);
    if (rc == 0 || api == JETSTREAM_NO_CONSUMER)
        rc = provision(&p, &t, e);
    else
        err_wrap(e, "%s", t.what);
    json_decref(t.want);
    return rc;
}

int
jetstream_reset_ledger(struct bus *b, struct err *e)
{
    for (size_t i = 0; i < N_CONSUMERS; i++)
        if (is_ledgers(&consumers[i]) &&
            reset_consumer(b, &consumers[i], e) < 0)
            return -1;
    return 0;
}

int
jetstream_ledger_used(struct bus *b, bool *out, struct err *e)
{
    *out = false;
    for (size_t i = 0; i < N_CONSUMERS && !*out; i++) {
        json_t *answer = NULL;
        struct object t;
        int64_t api;
        int rc;

        if (!is_ledgers(&consumers[i]))
            continue;
        consumer_object(&t, &consumers[i]);
        json_decref(t.want);
        rc = jetstream_api_call(b, t.info, NULL, &answer, &api, e);
        if (rc < 0)
            return err_wrap(e, "%s", t.what);
        *out = json_integer_value(json_object_get(
                   json_object_get(answer, "delivered"), "consumer_seq")) > 0;
        json_decref(answer);
    }
    return 0;
}
