/*
 * up and down: the fleet of this machine.
 */
#include "cli/commands.h"
#include "cli/output.h"
#include "fleet/supervisor.h"
#include "gateways/folder/folder.h"
#include "gateways/folder/folder_layout.h"
#include "lib/base/conf.h"
#include "lib/os/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LOOK_MS = 20 }; /* between two looks at the lock */

static struct {
    bool detach, fast;
    int64_t slots, port;
} up;

const struct arg_opt up_opts[] = {
    {"detach", 'd', NULL, "in the background; returns when it is ready",
     ARG_SWITCH, &up.detach, 0, 0, NULL, NULL},
    {"fast", 0, NULL, "faster, but a power cut may lose the newest tasks",
     ARG_SWITCH, &up.fast, 0, 0, NULL, NULL},
    {"slots", 0, "N", "tasks at once; else one per processor", ARG_NUMBER,
     &up.slots, 1, 10000, NULL, NULL},
    {"port", 0, "P",
     "port of the broker; else that of last time, or a free "
     "one",
     ARG_NUMBER, &up.port, 1, 65535, NULL, NULL},
    ARG_END,
};

/* --- the folders that are watched ------------------------------------------
 */

static struct watched_folders {
    struct folder_conf conf;
    char project[FLEET_DIR_PATH]; /* "": nothing of it is watched */
    json_t *list;                 /* the folders, for people */
} watched;

static char *key; /* of the AI platform; NULL: nothing is delegated */

static const struct conf_opt folder_opts[] = {
    FOLDER_CONF(struct watched_folders, conf), CONF_END};

static const char *const usual[] = {"jobs/queue", ".cloud-queue"};

/* Whether the project in dir has a usual folder; they are added to the list. */
static bool
add_usual(const char *dir)
{
    bool found = false;

    for (size_t i = 0; i < sizeof usual / sizeof usual[0]; i++) {
        struct fleet_dir_path path;
        struct stat st;

        (void)snprintf(path.s, sizeof path.s, "%s/%s", dir, usual[i]);
        if (stat(path.s, &st) < 0 || !S_ISDIR(st.st_mode))
            continue;
        (void)json_array_append_new(watched.list, json_string(path.s));
        found = true;
    }
    return found && str_copy(watched.project, sizeof watched.project, dir);
}

/* Cuts dir to the checkout it lies in; false if it lies in none. */
static bool
git_root(char *dir)
{
    struct fleet_dir_path path;
    char *slash;

    for (;;) {
        (void)snprintf(path.s, sizeof path.s, "%s/.git", dir);
        if (access(path.s, F_OK) == 0)
            return true;
        slash = strrchr(dir, '/');
        if (!slash || slash == dir)
            return false;
        *slash = '\0';
    }
}

/*
 * What is configured, and the usual folders of the project: the folder we are
 * in, else the checkout it belongs to. A mistake in the configuration is said
 * here, not by a gateway that cannot start.
 */
static int
find_folders(struct err *e)
{
    char dir[FLEET_DIR_PATH - 64];
    struct folder_layout p;

    watched.list = json_array();
    if (conf_load(&watched.conf, folder_opts, "", 0, NULL, e) < 0)
        return -1;
    if (!getcwd(dir, sizeof dir))
        return err_set(e, ERR_INVALID, "working folder: %s", strerror(errno));
    for (char **line = watched.conf.folders; line && *line; line++) {
        if (folder_layout_parse(*line, dir, &p, e) < 0)
            return err_wrap(e, "folder.folders: '%.200s'", *line);
        (void)json_array_append_new(watched.list, json_string(p.path));
        folder_layout_release(&p);
    }
    if (*watched.conf.project)
        (void)add_usual(watched.conf.project);
    else if (!add_usual(dir) && git_root(dir))
        (void)add_usual(dir);
    return 0;
}

static void
say_watched(struct cli *c)
{
    const json_t *v;
    size_t i;

    if (key)
        cli_say(c, "SECUTOOLS_API_KEY is set: prompts that allow it are "
                   "delegated");
    json_array_foreach(watched.list, i, v)
    {
        cli_say(c, "watching %s", json_string_value(v));
    }
}

static struct {
    int64_t timeout_ms;
} down = {60000};

const struct arg_opt down_opts[] = {
    {"timeout", 0, "TIME", "how long to wait for the end; 60s", ARG_MS,
     &down.timeout_ms, 0, 0, NULL, NULL},
    ARG_END,
};

/* What the background process tells the one that waits for it: a number and
 * two lines, ended by end of file. */
static void
tell(int fd, int rc, const char *a, const char *b)
{
    struct str s = {0};

    str_addf(&s, "%d\n%s\n%s\n", rc, a, b);
    (void)!write(fd, s.data, s.len);
    (void)close(fd);
    str_free(&s);
}

static void
on_ready(void *ctx, const char *url, const char *durability)
{
    int *fd = ctx;

    if (*fd >= 0) {
        tell(*fd, 0, url, durability);
        *fd = -1;
    } else {
        (void)fprintf(stderr, "shunt: the fleet is up at %s: %s\n", url,
                      durability);
    }
}

static int
already_running(struct cli *c, pid_t pid)
{
    char why[160], since[64] = "";
    struct str text = {0};
    struct err e = {0};
    json_t *v;

    if (fleet_dir_read(&c->home, "status.json", 65536, &text, &e) == 0) {
        v = json_loads(str_text(&text), 0, NULL);
        (void)str_copy(since, sizeof since, cli_text(v, "started_at", ""));
        json_decref(v);
    }
    str_free(&text);
    (void)snprintf(why, sizeof why, "already running, pid %d%s%s", (int)pid,
                   since[0] ? ", since " : "", since);
    return cli_fail(RC_FAILED, "start a fleet", c->home.dir, why,
                    "shunt status");
}

/* Where the ledger's configuration says that it answers HTTP. */
static int
find_http(const char **out, struct err *e)
{
    static struct ledger_conf {
        char *http;
    } conf;
    static const struct conf_opt opts[] = {
        CONF_STR(struct ledger_conf, http, "reaper.http", "", ""), CONF_END};

    if (conf_load(&conf, opts, "", 0, NULL, e) < 0)
        return -1;
    *out = conf.http;
    return 0;
}

static int
run_here(struct cli *c, int *news, struct err *e)
{
    struct supervisor_conf conf = {.fast = up.fast,
                                   .slots = up.slots,
                                   .port = (int)up.port,
                                   .secutools_key = key,
                                   .project = watched.project,
                                   .folders = json_array_size(watched.list) > 0,
                                   .ready = on_ready,
                                   .ctx = news};

    if (provision_conf(&conf.topology, e) < 0 || find_http(&conf.http, e) < 0)
        return -1;
    return supervisor_run(&c->home, &conf, e);
}

static int
start_failed(struct cli *c, const struct err *e)
{
    pid_t pid;

    if (e->code == ERR_CONFLICT) {
        (void)fleet_dir_locked(&c->home, &pid);
        return already_running(c, pid);
    }
    return cli_fail(e->code == ERR_INVALID ? RC_USAGE : RC_FAILED,
                    "start a fleet", c->home.dir, e->msg, "shunt doctor");
}

/* The background process; never returns. */
static void
detached(struct cli *c, int fd)
{
    struct fleet_dir_path path;
    struct err e = {0};
    int null, log, news = fd;

    (void)setsid();
    if (fleet_dir_make(&c->home, &e) == 0) {
        log = open(fleet_dir_path(&c->home, "log/supervisor.log", &path),
                   O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        null = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (null >= 0)
            (void)dup2(null, STDIN_FILENO);
        if (log >= 0) {
            (void)dup2(log, STDOUT_FILENO);
            (void)dup2(log, STDERR_FILENO);
        }
        if (run_here(c, &news, &e) == 0)
            _exit(0);
    }
    if (news >= 0) {
        char code[16];

        (void)snprintf(code, sizeof code, "%d", (int)e.code);
        tell(news, 1, code, e.msg);
    }
    _exit(1);
}

static int
read_news(int fd, struct str *text)
{
    char buf[1024];
    ssize_t n;

    while ((n = read(fd, buf, sizeof buf)) != 0) {
        if (n < 0 && errno != EINTR)
            return -1;
        if (n > 0)
            str_add(text, buf, (size_t)n);
    }
    return text->len ? 0 : -1;
}

static int
say_up(struct cli *c, pid_t pid, const char *url, const char *durability)
{
    if (c->json) {
        out_json(out_with_schema(
            "up", json_pack("{s:s, s:i, s:s, s:b, s:O}", "url", url, "pid",
                            (int)pid, "durability", durability, "delegating",
                            key != NULL, "watching", watched.list)));
        return RC_OK;
    }
    (void)printf("%s\n", url);
    cli_say(c, "the fleet is up, pid %d: %s", (int)pid, durability);
    say_watched(c);
    if (!c->quiet)
        (void)fputs("  next: shunt run -- 'echo hello'\n"
                    "        shunt status\n"
                    "        shunt down\n",
                    stderr);
    return RC_OK;
}

static int
up_detached(struct cli *c)
{
    struct str text = {0};
    struct err e = {0};
    char *lines[3] = {NULL};
    int fds[2], rc;
    size_t i;
    pid_t pid;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return cli_fail(RC_FAILED, "start a fleet", NULL, strerror(errno),
                        NULL);
    pid = fork();
    if (pid == 0) {
        (void)close(fds[0]);
        detached(c, fds[1]);
    }
    (void)close(fds[1]);
    if (pid < 0)
        return cli_fail(RC_FAILED, "start a fleet", NULL, strerror(errno),
                        NULL);
    if (read_news(fds[0], &text) < 0) {
        (void)close(fds[0]);
        str_free(&text);
        return cli_fail(RC_FAILED, "start a fleet", c->home.dir,
                        "the supervisor ended at once; see "
                        "log/supervisor.log there",
                        "shunt up");
    }
    (void)close(fds[0]);
    for (i = 0, lines[0] = text.data; i < 2; i++) {
        lines[i + 1] = lines[i] + strcspn(lines[i], "\n");
        if (*lines[i + 1])
            *lines[i + 1]++ = '\0';
    }
    lines[2][strcspn(lines[2], "\n")] = '\0';
    if (lines[0][0] == '0') {
        rc = say_up(c, pid, lines[1], lines[2]);
    } else {
        uint64_t code = ERR_BUG;

        (void)str_to_u64(lines[1], 0, ERR_BUG, &code);
        err_set(&e, (enum err_code)code, "%s", lines[2]);
        rc = start_failed(c, &e);
        (void)waitpid(pid, NULL, 0);
    }
    str_free(&text);
    return rc;
}

int
cmd_up(struct cli *c, const struct args *a)
{
    struct err e = {0};
    pid_t pid;
    int none = -1, rc;

    if (a->n_words || a->dashes)
        return cli_usage(c, "no arguments are taken");
    /* Said here already, so that a mistake in a file is seen at once. */
    if (cli_find_broker(c, &e) < 0 || find_folders(&e) < 0)
        return cli_fail_err("configuration", NULL, &e, NULL);
    if (fleet_dir_locked(&c->home, &pid) && pid)
        return already_running(c, pid);
    key = secret_take("SECUTOOLS_API_KEY");
    if (up.detach) {
        rc = up_detached(c);
    } else {
        say_watched(c);
        rc = run_here(c, &none, &e) < 0 ? start_failed(c, &e) : RC_OK;
    }
    secret_free(key);
    return rc;
}

/* --- down ---------------------------------------------------------------- */

static int
say_down(struct cli *c, bool was_running, pid_t pid)
{
    if (c->json)
        out_json(
            out_with_schema("down", json_pack("{s:b, s:i}", "stopped",
                                              was_running, "pid", (int)pid)));
    else
        cli_say(c, was_running ? "the fleet is stopped" : "not running");
    return RC_OK;
}

int
cmd_down(struct cli *c, const struct args *a)
{
    int64_t until = loop_now_ms() + down.timeout_ms;
    struct timespec pause = {.tv_nsec = LOOK_MS * 1000000L};
    bool told = false;
    char why[128];
    pid_t pid, first = 0;

    if (a->n_words || a->dashes)
        return cli_usage(c, "no arguments are taken");
    while (fleet_dir_locked(&c->home, &pid)) {
        if (!first)
            first = pid;
        /* Another one that was started meanwhile is not ours to stop. */
        if (pid && first && pid != first)
            break;
        if (pid && !told) {
            if (kill(pid, SIGTERM) < 0 && errno == EPERM)
                return cli_fail(RC_CREDENTIALS, "stop the fleet", c->home.dir,
                                "it belongs to another user", NULL);
            told = true;
        }
        if (loop_now_ms() > until) {
            (void)snprintf(why, sizeof why,
                           "pid %d has not ended yet; tasks may still run",
                           (int)pid);
            return cli_fail(RC_PENDING, "stop the fleet", c->home.dir, why,
                            "shunt down, which then kills");
        }
        (void)nanosleep(&pause, NULL);
    }
    return say_down(c, first != 0, first);
}
