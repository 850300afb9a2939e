/*
 * shunt - submits tasks to a fleet of workers and reports their results; `shunt
 * up` starts such a fleet on one machine.
 *
 * Reads    ask.ledger.* (answers), logs.<task>, done.<task>, batch.<batch>
 * Writes   tasks.in, tasks.bulk, $KV.control.cancel.<task>,
 *          ctl.<backend>.<worker>
 * Config   flags, SHUNT_* and NATS_URL, the section bus of config.yaml
 * State    SHUNT_HOME, see fleet/fleet_dir.h
 * Names    called as ccl-delegate it is `shunt delegate`
 * Exit     see enum exit_rc in cli/cli.h
 */
#include "cli/cli.h"

#include "cli/commands.h"
#include "cli/output.h"
#include "cli/submit_env.h"
#include "cli/task_args.h"
#include "lib/base/log.h"
#include "lib/base/nearest.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct cli cli = {.ask_patience_ms = 4000};
static bool help, version;

const struct arg_opt cli_global_opts[] = {
    {"json", 0, NULL, "print JSON on stdout", ARG_SWITCH, .to = &cli.json},
    {"nats", 0, "URL", "address of the broker, like nats://host:4222", ARG_TEXT,
     .to = &cli.nats},
    {"config", 0, "FILE", "read this configuration file, and no other",
     ARG_TEXT, .to = &cli.config},
    {"quiet", 'q', NULL, "print errors alone on stderr", ARG_SWITCH,
     .to = &cli.quiet},
    {"help", 'h', NULL, "show help and exit", ARG_SWITCH, .to = &help},
    ARG_END,
};

/* Allowed before the command only. */
static const struct arg_opt leading_opts[] = {
    {"version", 'V', NULL, "print the version and exit", ARG_SWITCH,
     .to = &version},
    ARG_END,
};

/* Names that other queues and container tools have for our commands. */
static const struct {
    const char *name, *command;
} synonyms[] = {
    {"ps", "ls"},       {"list", "ls"},        {"queue", "ls"},
    {"log", "logs"},    {"follow", "logs"},    {"kill", "cancel"},
    {"stop", "cancel"}, {"rm", "cancel"},      {"remove", "cancel"},
    {"info", "show"},   {"inspect", "show"},   {"describe", "show"},
    {"get", "show"},    {"add", "submit"},     {"enqueue", "submit"},
    {"exec", "run"},    {"restart", "retry"},  {"rerun", "retry"},
    {"why", "explain"}, {"workers", "worker"}, {"lanes", "lane"},
    {"jobs", "ls"},     {"tasks", "ls"},       {"tail", "logs"},
    {"output", "logs"}, {"delete", "cancel"},  {"abort", "cancel"},
    {"st", "status"},   {"stat", "status"},    {"validate", "lint"},
};

const struct command *
cli_command(const char *name)
{
    for (size_t i = 0; i < sizeof synonyms / sizeof *synonyms; i++)
        if (!strcmp(synonyms[i].name, name))
            name = synonyms[i].command;
    for (const struct command *cmd = cli_commands; cmd->name; cmd++)
        if (!strcmp(cmd->name, name))
            return cmd;
    return NULL;
}

void
cli_add_synonyms(const struct command *cmd, struct str *out)
{
    size_t n = 0;

    for (size_t i = 0; i < sizeof synonyms / sizeof *synonyms; i++)
        if (!strcmp(synonyms[i].command, cmd->name))
            str_addf(out, "%s%s", n++ ? ", " : "", synonyms[i].name);
}

static int
unknown_command(const char *name)
{
    const char *names[64], *near;
    char why[160] = "shunt help lists all commands", next[80] = "shunt help";
    size_t n = 0;

    for (const struct command *cmd = cli_commands; cmd->name && n < 63; cmd++)
        names[n++] = cmd->name;
    names[n] = NULL;
    near = nearest_of(name, names);
    if (near) {
        (void)snprintf(why, sizeof why, "did you mean %s?", near);
        (void)snprintf(next, sizeof next, "shunt %s --help", near);
    }
    return cli_fail(RC_USAGE, "unknown command", name, why, next);
}

static int
run_command(struct cli *c, int argc, char **argv)
{
    const struct arg_opt *tables[] = {cli_global_opts, c->cmd->opts,
                                      c->cmd->task_flags ? task_opts : NULL};
    struct args *args = mem_pool_alloc(c->pool, sizeof *args);
    struct err e = {0};

    if (args_parse(tables, 3, argc, argv, ARGS_ALL, NULL, c->pool, args, &e) <
        0)
        return cli_usage(c, "%s", e.msg);
    if (help) {
        help_command(c->cmd);
        return RC_OK;
    }
    return c->cmd->run(c, args);
}

/* Whether the program was called by that name. */
static bool
is_called(const char *argv0, const char *name)
{
    const char *slash = argv0 ? strrchr(argv0, '/') : NULL;

    return argv0 && !strcmp(slash ? slash + 1 : argv0, name);
}

static int
dispatch(struct cli *c, int argc, char **argv)
{
    const struct arg_opt *tables[] = {cli_global_opts, leading_opts};
    struct args *args = mem_pool_alloc(c->pool, sizeof *args);
    struct err e = {0};
    int at = 0;

    if (argc > 0 && is_called(argv[0], "ccl-delegate")) {
        c->cmd = cli_command("delegate");
        return run_command(c, argc - 1, argv + 1);
    }
    if (args_parse(tables, 2, argc - 1, argv + 1, ARGS_LEADING, &at, c->pool,
                   args, &e) < 0)
        return cli_fail(RC_USAGE, "read the command line", NULL, e.msg,
                        "shunt help");
    at++;
    if (version) {
        c->cmd = cli_command("version");
        return run_command(c, 0, argv);
    }
    if (help && at == argc) {
        help_overview();
        return RC_OK;
    }
    if (at == argc) {
        help_overview();
        return RC_USAGE;
    }
    c->cmd = cli_command(argv[at]);
    if (!c->cmd)
        return unknown_command(argv[at]);
    return run_command(c, argc - at - 1, argv + at + 1);
}

/* Opens descriptors 0, 1 and 2 if they are closed: else the next file or socket
 * would become one of them. Writing to a stdout that was closed fails. */
static void
fill_standard_streams(void)
{
    int fd;

    for (fd = 0; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            (void)open("/dev/null", fd == STDERR_FILENO ? O_RDWR : O_RDONLY);
}

/* What was printed counts as done only once it is written. */
static int
end_output(struct cli *c, int rc)
{
    struct str why = {0};

    if (out_flush() || (rc != RC_OK && !c->n_submitted))
        return rc;
    if (out_is_unread() && !c->n_submitted)
        return RC_PIPE;
    str_addz(&why, "standard output could not be written");
    if (c->n_submitted)
        str_addf(&why, "; submitted%s%s", str_text(&c->submitted),
                 c->n_submitted > CLI_NOTED_MAX ? " and more" : "");
    rc = cli_fail(rc ? rc : RC_FAILED, "print", NULL, str_text(&why),
                  c->n_submitted ? "shunt ls" : NULL);
    str_free(&why);
    return rc;
}

int
main(int argc, char **argv)
{
    struct err e = {0};
    int rc;

    fill_standard_streams();
    mem_setup();
    if (!setlocale(LC_CTYPE, "C.UTF-8")) /* text is UTF-8 in every locale */
        (void)setlocale(LC_CTYPE, "");
    log_level_set(LOG_WARN);
    log_open("shunt");
    cli.pool = mem_pool_new();
    if (fleet_dir_find(&cli.fleet_dir, &e) < 0)
        rc = cli_fail_err("find the state folder", NULL, &e,
                          "export SHUNT_HOME=/a/folder/of/your/own");
    else
        rc = dispatch(&cli, argc, argv);

    rc = end_output(&cli, rc);
    bus_close(cli.bus);
    loop_close(cli.loop);
    cli_forget_broker(&cli);
    submit_env_release();
    str_free(&cli.submitted);
    mem_pool_free(cli.pool);
    return rc;
}
