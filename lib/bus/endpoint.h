/*
 * endpoint - where the broker is and how we authenticate: from the
 * configuration to the options of the NATS library.
 *
 * Thread: any.
 */
#ifndef LIB_BUS_ENDPOINT_H
#define LIB_BUS_ENDPOINT_H

#include "lib/bus/bus.h"

#include <nats/nats.h>
#include <stdbool.h>

/* What must live as long as the connection. */
struct endpoint {
    char *url; /* of all servers, without credentials */
    char *seed, *public_key;
    bool without_cert; /* under TLS, and we show no certificate */
};

/* On -1 *out may be partly filled: endpoint_free it either way. */
int endpoint_options(natsOptions *opts, const struct bus_conf *conf,
                     struct endpoint *out, struct err *e);
/* Reads the files with our token or key again, which may have been replaced. On
 * -1 the ones before are kept. */
int endpoint_reload(natsOptions *opts, const struct bus_conf *conf,
                    struct endpoint *out, struct err *e);
void endpoint_free(struct endpoint *r); /* overwrites the secrets */

#endif
