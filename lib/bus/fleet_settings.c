/*
 * The numbers are rows of a table: key of the configuration, name in the entry,
 * default, and which value means no limit. Reading, merging and writing walk
 * over it.
 */
#include "lib/bus/fleet_settings.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/version.h"
#include "lib/bus/jetstream_api.h"
#include "lib/model/subject.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define DAY_MS (INT64_C(24) * 3600 * 1000)
#define GIB (INT64_C(1024) * 1024 * 1024)
#define MS_NS INT64_C(1000000)

enum { ANSWER_MS = 10000, LANES_MOST = 1024 };

static const struct setting {
    const char *key, *name;
    size_t offset; /* in struct jetstream_conf */
    int64_t fallback;
    int64_t endless; /* the value that means no limit; 0: none does */
    /* Where it stands in a stream that was set up without an entry. */
    const char *stream, *field;
    int64_t unit;
} settings[] = {
    {"bus.replicas", "replicas", offsetof(struct jetstream_conf, replicas), 1,
     0, "TASKS", "num_replicas", 1},
    {"bus.max_bytes", "max_bytes", offsetof(struct jetstream_conf, max_bytes),
     2 * GIB, -1, "TASKS", "max_bytes", 1},
    {"bus.max_age", "max_age_ms", offsetof(struct jetstream_conf, max_age_ms),
     30 * DAY_MS, 0, "TASKS", "max_age", MS_NS},
    {"bus.log_retention", "log_retention_ms",
     offsetof(struct jetstream_conf, log_retention_ms), 7 * DAY_MS, 0, "LOGS",
     "max_age", MS_NS},
    {"bus.log_max_bytes", "log_max_bytes",
     offsetof(struct jetstream_conf, log_max_bytes), 2 * GIB, -1, "LOGS",
     "max_bytes", 1},
};

enum { N_SETTINGS = sizeof settings / sizeof *settings };

static int64_t *
value_of(struct jetstream_conf *c, const struct setting *s)
{
    return (int64_t *)(void *)((char *)c + s->offset);
}

static int64_t
value_in(const struct jetstream_conf *c, const struct setting *s)
{
    int64_t value;

    memcpy(&value, (const char *)c + s->offset, sizeof value);
    return value;
}

/* --- reading -------------------------------------------------------------- */

static int
read_entry(const struct str *text, struct fleet_settings *out, struct err *e)
{
    json_t *o = json_loadb(str_text(text), text->len, 0, NULL);
    const json_t *lanes = json_object_get(o, "lanes");
    const char *version = json_string_value(json_object_get(o, "version"));
    const json_t *lane;
    size_t at;

    out->layout = json_integer_value(json_object_get(o, "layout"));
    (void)str_copy(out->version, sizeof out->version,
                   version ? LOG_TEXT(version) : "");
    for (size_t i = 0; i < N_SETTINGS; i++)
        *value_of(&out->values, &settings[i]) =
            json_integer_value(json_object_get(o, settings[i].name));
    json_array_foreach(lanes, at, lane)
    {
        if (at < LANES_MOST && json_is_string(lane))
            (void)json_array_append_new(out->lanes,
                                        json_string(json_string_value(lane)));
    }
    json_decref(o);
    if (out->layout > 0)
        return 0;
    return err_set(e, ERR_INVALID,
                   "$KV.fleet.settings is not what shunt provision writes");
}

/* What a fleet has that was set up before there was an entry. */
static int
read_streams(struct bus *b, struct fleet_settings *out, struct err *e)
{
    char subject[SUBJECT_SIZE];

    for (size_t i = 0; i < N_SETTINGS; i++) {
        const struct setting *s = &settings[i];
        json_t *info;
        int64_t value;

        (void)snprintf(subject, sizeof subject, "STREAM.INFO.%s", s->stream);
        if (jetstream_api_info(b, subject, &info, e) < 0)
            return -1;
        if (!info)
            continue;
        out->known = true;
        value = json_integer_value(
            json_object_get(json_object_get(info, "config"), s->field));
        *value_of(&out->values, s) = value / s->unit;
        json_decref(info);
    }
    return 0;
}

int
fleet_settings_read(struct bus *b, struct fleet_settings *out, struct err *e)
{
    struct str text = {0};
    json_t *info;
    int rc;

    *out = (struct fleet_settings){.lanes = json_array()};
    rc = jetstream_api_info(b, "STREAM.INFO.KV_fleet", &info, e);
    if (rc == 0 && info) /* a broker of 2.9 does not answer without a stream */
        rc = bus_call(b, "$JS.API.DIRECT.GET.KV_fleet." SUBJECT_FLEET_SETTINGS,
                      "", 0, ANSWER_MS, &text, e);
    if (rc == 0 && text.len) {
        out->known = true;
        rc = read_entry(&text, out, e);
    } else if (rc == 0) {
        rc = read_streams(b, out, e);
    }
    json_decref(info);
    str_free(&text);
    if (rc < 0)
        fleet_settings_release(out);
    return rc;
}

void
fleet_settings_release(struct fleet_settings *s)
{
    json_decref(s->lanes);
    s->lanes = NULL;
}

/* --- merging -------------------------------------------------------------- */

static bool
is_less(const struct setting *s, int64_t value, int64_t than)
{
    if (s->endless && (value == s->endless || than == s->endless))
        return value != s->endless;
    return value < than;
}

static int
merge_value(struct fleet_settings *fleet, const struct setting *s,
            int64_t wanted, const struct jetstream_rules *rules, struct err *e)
{
    int64_t *has = value_of(&fleet->values, s);

    if (*has == 0)
        *has = wanted ? wanted : s->fallback;
    if (wanted == 0 || wanted == *has)
        return 0;
    if (!is_less(s, wanted, *has)) {
        if (!rules->change)
            return err_set(e, ERR_CONFLICT,
                           "%s: the fleet has %" PRId64
                           ", the configuration here says %" PRId64
                           ": remove it here, or change the fleet with "
                           "--change",
                           s->key, *has, wanted);
    } else if (rules->keep) {
        log_warn("fleet.kept",
                 "key=%s fleet=%" PRId64 " configured=%" PRId64
                 " text=\"less than the fleet has may delete messages: shunt "
                 "provision --allow-shrink does it\"",
                 s->key, *has, wanted);
        return 0;
    } else if (!rules->allow_shrink) {
        return err_set(e, ERR_CONFLICT,
                       "%s: the fleet has %" PRId64
                       ", the configuration here says %" PRId64
                       ", which is less and may delete messages: remove it "
                       "here, or change the fleet with --allow-shrink",
                       s->key, *has, wanted);
    }
    *has = wanted;
    return 0;
}

int
fleet_settings_merge(struct fleet_settings *s,
                     const struct jetstream_conf *conf,
                     const struct jetstream_rules *rules, struct err *e)
{
    if (s->layout > FLEET_LAYOUT)
        return err_set(e, ERR_CONFLICT,
                       "the fleet was set up by shunt %s (layout %" PRId64
                       "), this is shunt %s (layout %d): use that version or a "
                       "later one",
                       s->version, s->layout, shunt_version, FLEET_LAYOUT);
    for (size_t i = 0; i < N_SETTINGS; i++)
        if (merge_value(s, &settings[i], value_in(conf, &settings[i]), rules,
                        e) < 0)
            return -1;
    for (char **l = conf->lanes; l && *l; l++)
        if (!jetstream_api_lists(s->lanes, *l) &&
            json_array_size(s->lanes) < LANES_MOST)
            (void)json_array_append_new(s->lanes, json_string(*l));
    return 0;
}

/* --- writing -------------------------------------------------------------- */

static bool
is_same(const struct fleet_settings *a, const struct fleet_settings *b)
{
    for (size_t i = 0; i < N_SETTINGS; i++)
        if (value_in(&a->values, &settings[i]) !=
            value_in(&b->values, &settings[i]))
            return false;
    return json_equal(a->lanes, b->lanes);
}

int
fleet_settings_write(struct bus *b, const struct fleet_settings *s,
                     const char *by, struct err *e)
{
    struct fleet_settings stored;
    struct str answer = {0};
    json_t *o, *error;
    char at[32], *text;
    int rc;

    if (fleet_settings_read(b, &stored, e) < 0)
        return -1;
    if (stored.layout == FLEET_LAYOUT && is_same(&stored, s)) {
        fleet_settings_release(&stored);
        return 0;
    }
    fleet_settings_release(&stored);
    o = json_pack("{s:i, s:s, s:O, s:s, s:s}", "layout", FLEET_LAYOUT,
                  "version", shunt_version, "lanes", s->lanes, "by", by, "at",
                  str_time(str_wall_ms(), at, sizeof at));
    for (size_t i = 0; i < N_SETTINGS; i++)
        (void)json_object_set_new(
            o, settings[i].name,
            json_integer(value_in(&s->values, &settings[i])));
    text = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    rc = bus_call(b, SUBJECT_FLEET_SETTINGS, text, strlen(text), ANSWER_MS,
                  &answer, e);
    mem_free(text);
    o = rc == 0 ? json_loadb(str_text(&answer), answer.len, 0, NULL) : NULL;
    error = json_object_get(o, "error");
    if (rc == 0 && (!json_is_integer(json_object_get(o, "seq")) || error))
        rc = err_set(e, ERR_UNAVAILABLE, "store $KV.fleet.settings: %s",
                     LOG_TEXT(str_text(&answer)));
    json_decref(o);
    str_free(&answer);
    return rc;
}
