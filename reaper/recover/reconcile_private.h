/*
 * reconcile_private - what the parts of reconcile share.
 *
 *   reconcile.c       a pass: what the broker says, which rows to look at
 *   reconcile_row.c   one row: its claim, and what is done about it
 */
#ifndef REAPER_RECOVER_RECONCILE_PRIVATE_H
#define REAPER_RECOVER_RECONCILE_PRIVATE_H

#include "lib/bus/stream_info.h"
#include "lib/model/subject.h"
#include "reaper/recover/reconcile.h"
#include "reaper/recover/repair.h"

enum {
    LANES_MAX = 128,
    LOOKS_MAX = 256, /* under way at once */
};

enum { AT_TASKS_IN, AT_TASKS, AT_RESULTS, AT_CLAIMS, N_STREAMS };
enum { N_OWN = 3 }; /* consumers of ours: one for each but the claims */

enum asked { ASKED_LANE, ASKED_ROUTER, ASKED_STREAM, ASKED_OWN };

/* Whose answer a request brings. */
struct inquiry {
    struct reconcile *r;
    enum asked what;
    size_t i;
};

struct lane_facts {
    struct db_lane lane;
    struct stream_info_consumer info;
    bool known; /* its durable exists */
};

struct stream_facts {
    struct stream_info_stream info;
    struct db_stream row;
    uint64_t position; /* of ours, before the broker was asked */
};

/* A row that is being seen to. */
struct claim_look {
    struct reconcile *r;
    struct claim_look *next, **at;
    int64_t n;
    char id[TASK_ID_SIZE];
    bool asking;      /* not yet known what it needs */
    bool unrouted;    /* it goes to tasks.in */
    bool gone;        /* no delivery of its message will come */
    bool drive;       /* to be sent once that is written down */
    bool over;        /* it ended meanwhile */
    uint32_t number;  /* of the drive or resubmission */
    uint32_t runs;    /* the attempt a worker says it runs, or 0 */
    struct str bytes; /* CLOSE: the result to publish then */
    char source[TASK_ID_SIZE];
};

enum reconcile_phase { IDLE, LANES, STREAMS, CATCH_UP, ROWS };

struct reconcile {
    struct reconcile_parts p;
    struct mem_pool *pool;
    struct loop_timer *timer;
    enum reconcile_phase phase;
    uint64_t passes;
    unsigned waits; /* for answers */
    bool failed;    /* one of them */
    unsigned tries; /* to catch up */
    struct inquiry inquiries[LANES_MAX + 1 + N_STREAMS];
    size_t n_inquiries;
    struct lane_facts lanes[LANES_MAX];
    size_t n_lanes;
    struct stream_info_consumer router, own[N_OWN];
    struct stream_facts streams[N_STREAMS];
    /* Where the round over all rows stands; it may take several passes. */
    struct db_lane at_lane;
    struct db_place at_place;
    int64_t at_unrouted;
    bool lanes_done;
    uint64_t lost_seen; /* rows of this round whose message was lost */
    unsigned budget;
    bool acted;
    int64_t again_ms; /* the next pass comes at least so soon; 0: as usual */
    struct claim_look *looks;
    size_t n_looks, n_asking;
    struct claims_watch *watch;
};

/* The broker's clock as far as it is known, else ours. */
int64_t reconcile_now_ms(const struct reconcile *r);

/* Sees to a row, unless it is being seen to; runs is the attempt a worker says
 * it runs, of a row whose message was lost. */
void reconcile_routed(struct reconcile *r, const struct task_state *row,
                      bool gone, uint32_t runs);
void reconcile_unrouted(struct reconcile *r, const struct task_state *row);

/* Sends what the looks of this slice decided; -1: the database failed. */
int reconcile_carry_out(struct reconcile *r, struct err *e);

/* The last look of a slice knows what it needs. */
void reconcile_asked(struct reconcile *r);

void reconcile_drop_looks(struct reconcile *r);

#endif
