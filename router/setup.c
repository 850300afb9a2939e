#include "router/setup.h"

#include <string.h>

int
setup_check(const struct router_conf *conf, struct err *e)
{
    for (char **p = conf->backends; p && *p; p++)
        if (!policy_is_backend(*p, strlen(*p)))
            return err_set(e, ERR_INVALID,
                           "router.backends: '%.60s' is none of local, "
                           "codespace and secutools",
                           *p);
    for (char **p = conf->lanes; p && *p; p++)
        if (!policy_is_place(*p))
            return err_set(e, ERR_INVALID,
                           "bus.lanes: '%.60s' is no lane; write "
                           "backend.lane, as in local.gpu",
                           *p);
    return 0;
}

int
setup_policy(const struct router_conf *conf, struct mem_pool *pool,
             struct policy *out, struct err *e)
{
    if (policy_load(conf->policy, pool, out, e) == 0)
        return 0;
    return err_wrap(e, "router.policy");
}
