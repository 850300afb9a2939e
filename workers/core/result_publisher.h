/*
 * result_publisher - publishes the results of attempts to RESULTS.
 *
 * Many attempts may end in one turn of the loop. Results of the same source
 * leave as one message at the end of the turn and are stored, delivered and
 * settled together. None waits for another, and a result that comes alone is a
 * message of its own.
 *
 * Thread: the loop thread.
 */
#ifndef WORKERS_CORE_RESULT_PUBLISHER_H
#define WORKERS_CORE_RESULT_PUBLISHER_H

#include "lib/bus/bus.h"
#include "lib/model/task.h"

struct attempt;
struct worker;

/* What became of a result; each may end the attempt. RESULTS has it, or, with
 * e, never will; RESULTS has what was published early, or it may not. */
typedef void result_published_fn(struct attempt *a, const struct err *e);
typedef void result_published_early_fn(struct attempt *a, bool stored);

void result_publisher_open(struct worker *w, result_published_fn *published,
                           result_published_early_fn *published_early);
void result_publisher_close(struct worker *w);

/*
 * Publishes a->result until it is stored; it is encoded at once. early: it is
 * sent once, right behind the outcome that is on its way into the claim, and
 * the ledger believes it once the claim has that. Should the outcome not get
 * there, the result must not turn up later.
 */
void result_publisher_publish(struct attempt *a, bool early);
/* Nothing is reported any more; the result stays on its way. */
void result_publisher_forget(struct attempt *a);

/* Where results of that task go; out has SUBJECT_SIZE. */
const char *result_publisher_subject(const struct attempt *a, char *out);
/* Publishes r, alone, until it is stored, without its output if that is too
 * much. */
void result_publisher_publish_one(struct worker *w, const char *subject,
                                  const struct result *r, bus_stored_fn *fn,
                                  void *ctx);

#endif
