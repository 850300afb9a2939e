/*
 * commands - the function of each command, which its help (commands.c) and
 * docs/cli.md describe.
 */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

#include "cli/cli.h"

int cmd_up(struct cli *c, const struct args *a);
int cmd_down(struct cli *c, const struct args *a);
int cmd_status(struct cli *c, const struct args *a);
int cmd_spool(struct cli *c, const struct args *a);
int cmd_provision(struct cli *c, const struct args *a);
int cmd_submit(struct cli *c, const struct args *a);
int cmd_run(struct cli *c, const struct args *a);
int cmd_ls(struct cli *c, const struct args *a);
int cmd_show(struct cli *c, const struct args *a);
int cmd_logs(struct cli *c, const struct args *a);
int cmd_wait(struct cli *c, const struct args *a);
int cmd_cancel(struct cli *c, const struct args *a);
int cmd_retry(struct cli *c, const struct args *a);
int cmd_decide(struct cli *c, const struct args *a);
int cmd_explain(struct cli *c, const struct args *a);
int cmd_route(struct cli *c, const struct args *a);
int cmd_lint(struct cli *c, const struct args *a);
int cmd_rally(struct cli *c, const struct args *a);
int cmd_delegate(struct cli *c, const struct args *a);
int cmd_lane(struct cli *c, const struct args *a);
int cmd_worker(struct cli *c, const struct args *a);
int cmd_doctor(struct cli *c, const struct args *a);
int cmd_version(struct cli *c, const struct args *a);
int cmd_completion(struct cli *c, const struct args *a);
int cmd_help(struct cli *c, const struct args *a);

extern const struct arg_opt up_opts[], down_opts[], ls_opts[], logs_opts[],
    run_opts[];
extern const struct arg_opt wait_opts[], cancel_opts[], decide_opts[];
extern const struct arg_opt rally_opts[], route_opts[], provision_opts[];
extern const struct arg_opt lane_opts[], delegate_opts[];

/* What `provision` and `up` create, from configuration and environment. The
 * result stays valid for the life of the process. */
struct jetstream_conf;
int provision_conf(struct jetstream_conf *out, struct err *e);

/* Prints the help of one command, or the overview. */
void help_command(const struct command *cmd);
void help_overview(void);

#endif
