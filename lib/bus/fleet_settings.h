/*
 * fleet_settings - what all machines of a fleet have in common: how many copies
 * its streams have, how large and how old they get, its lanes, and the layout
 * of the streams. One entry of the bucket KV_fleet, key settings, as JSON.
 *
 * A machine whose configuration says nothing about a setting uses the fleet's;
 * one that says something else changes nothing unless that is asked for.
 *
 * Blocks: call before loop_run.
 */
#ifndef LIB_BUS_FLEET_SETTINGS_H
#define LIB_BUS_FLEET_SETTINGS_H

#include "lib/bus/jetstream_setup.h"

#include <jansson.h>

/* Of the streams and consumers of this program. A program refuses to set up
 * streams of a higher one. */
enum { FLEET_LAYOUT = 2 };

struct fleet_settings {
    bool known;     /* the fleet has been set up */
    int64_t layout; /* of the program that did; 0: before there was an entry */
    char version[64];             /* of the same */
    struct jetstream_conf values; /* lanes is NULL */
    json_t *lanes;                /* names; owned */
};

/* Reads the entry; without one what the streams say; without streams known is
 * false. */
int fleet_settings_read(struct bus *b, struct fleet_settings *out,
                        struct err *e);
void fleet_settings_release(struct fleet_settings *s);

/*
 * The settings to set up: what conf says, else the fleet's, else the default.
 * Where conf and fleet differ rules decide: ERR_CONFLICT names key, both values
 * and the flag. Lanes are added to the fleet's. Changes *s.
 */
int fleet_settings_merge(struct fleet_settings *s,
                         const struct jetstream_conf *conf,
                         const struct jetstream_rules *rules, struct err *e);

/* Stores them, if they are not what is stored. */
int fleet_settings_write(struct bus *b, const struct fleet_settings *s,
                         const char *by, struct err *e);

#endif
