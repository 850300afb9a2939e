/*
 * Finds nats-server and asks its version; picks ports by binding them; sets
 * the store's folder synchronous (chattr +S) to learn whether the file system
 * can do that; and writes nats-server.conf, token and endpoint.
 */
#include "fleet/embedded_broker.h"

#include "lib/base/feature.h"
#include "lib/base/str.h"
#include "lib/os/os.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    VERSION_MS = 10000,
    PORT_MS = 5000,        /* a killed fleet's broker may hold the port */
    PORT_GIVEN_MS = 15000, /* the same, when no other port will do */
    STORE_DEPTH = 16,
};

/* --- the program --------------------------------------------------------- */

static bool
find_in_path(const char *name, char *out, size_t size)
{
    const char *path = getenv("PATH");
    size_t len;
    int n;

    for (path = path ? path : "/usr/local/bin:/usr/bin:/bin"; *path;
         path += len + (path[len] == ':')) {
        len = strcspn(path, ":");
        n = snprintf(out, size, "%.*s/%s", (int)len, path, name);
        if (len && n > 0 && (size_t)n < size && access(out, X_OK) == 0)
            return true;
    }
    /* Debian's folder for it is not on every user's PATH. */
    n = snprintf(out, size, "/usr/sbin/%s", name);
    return n > 0 && access(out, X_OK) == 0;
}

struct version_run {
    bool ended;
    int code;
};

static void
on_end(void *ctx, const struct proc_end *end)
{
    struct version_run *c = ctx;

    c->ended = true;
    c->code = end->signalled ? 128 + end->code : end->code;
}

/* First line of `program --version`. */
static int
read_version(const char *program, struct loop *l, struct proc_set *procs,
             char *out, size_t size, struct err *e)
{
    const char *argv[] = {program, "--version", NULL}, *env[] = {NULL};
    struct proc_opts o = {
        .file = program, .argv = argv, .env = env, .in = -1, .err = -1};
    struct version_run c = {0};
    struct proc *p = NULL;
    int ours = -1, theirs = -1;
    ssize_t n;

    if (proc_pipe(&ours, &theirs, e) < 0)
        return -1;
    o.out = theirs;
    if (proc_start(procs, &o, on_end, &c, &p, e) < 0) {
        (void)close(ours);
        (void)close(theirs);
        return -1;
    }
    (void)close(theirs);
    if (!loop_until(l, &c.ended, VERSION_MS)) {
        proc_forget(p);
        (void)proc_signal(p, SIGKILL);
    }
    n = read(ours, out, size - 1);
    (void)close(ours);
    out[n > 0 ? n : 0] = '\0';
    out[strcspn(out, "\r\n")] = '\0';
    if (!c.ended || c.code || n <= 0)
        return err_set(e, ERR_INVALID, "%s --version printed no version",
                       program);
    return 0;
}

static void
default_env(struct embedded_broker_env *out, size_t *n, const char *key,
            long value, const char *unit)
{
    if (getenv(key))
        return;
    (void)snprintf(out->text[*n], sizeof out->text[*n], "%s=%ld%s", key, value,
                   unit);
    out->list[*n] = out->text[*n];
    ++*n;
}

/* In MiB. */
static long
memory_limit(void)
{
    enum { LEAST = 1024, SHARE = 8, MIB = 1024 * 1024 };
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    long share = pages > 0 && size > 0 ? pages / SHARE / (MIB / size) : 0;

    return share > LEAST ? share : LEAST;
}

void
embedded_broker_environment(struct embedded_broker_env *out)
{
    long half = (long)os_cpus() / 2;
    size_t n = 0;

    *out = (struct embedded_broker_env){0};
    default_env(out, &n, "GOMAXPROCS", half > 1 ? half : 1, "");
    default_env(out, &n, "GOGC", 200, "");
    default_env(out, &n, "GOMEMLIMIT", memory_limit(), "MiB");
}

int
embedded_broker_find(struct embedded_broker *b, struct loop *l,
                     struct proc_set *procs, struct err *e)
{
    const char *own = getenv("SHUNT_NATS_SERVER"), *v;
    char line[256];

    if (own && own[0]) {
        if (!str_copy(b->program, sizeof b->program, own) ||
            access(own, X_OK) < 0)
            return err_set(e, ERR_NOT_FOUND, "SHUNT_NATS_SERVER=%s: %s", own,
                           strerror(errno));
    } else if (!find_in_path("nats-server", b->program, sizeof b->program)) {
        return err_set(e, ERR_NOT_FOUND,
                       "nats-server is not on PATH; install it (Debian: apt "
                       "install nats-server) or set SHUNT_NATS_SERVER");
    }
    if (read_version(b->program, l, procs, line, sizeof line, e) < 0)
        return -1;
    v = line + strcspn(line, "0123456789");
    if (sscanf(v, "%d.%d.%d", &b->major, &b->minor, &b->patch) != 3)
        return err_set(e, ERR_INVALID, "%s --version printed \"%s\"",
                       b->program, line);
    if (b->major < 2 || (b->major == 2 && b->minor < 9))
        return err_set(e, ERR_INVALID,
                       "%s is version %d.%d.%d; 2.9 or later is required",
                       b->program, b->major, b->minor, b->patch);
    return 0;
}

/* --- the port ------------------------------------------------------------ */

/* Binds as the server would; 0 asks for a free one. Returns the port or -1. */
static int
try_port(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                            .sin_port = htons((uint16_t)port)};
    socklen_t len = sizeof a;
    int fd = os_stream_socket(AF_INET, false), on = 1, got = -1;

    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) == 0 && listen(fd, 1) == 0 &&
        getsockname(fd, (struct sockaddr *)&a, &len) == 0)
        got = ntohs(a.sin_port);
    (void)close(fd);
    return got;
}

static bool
wait_port(int port, int64_t ms, struct loop *l)
{
    int64_t until = loop_now_ms() + ms;
    const bool never = false;

    while (try_port(port) < 0) {
        if (loop_now_ms() >= until)
            return false;
        (void)loop_until(l, &never, 100);
    }
    return true;
}

/* The port of the address in that file; 0: there is none. */
static int
last_port(const struct fleet_dir *dir, const char *file)
{
    const char *colon;
    char line[128];
    uint64_t port = 0;

    if (!fleet_dir_line(dir, file, line, sizeof line))
        return 0;
    colon = strrchr(line, ':');
    if (colon)
        (void)str_to_u64(colon + 1, 1, 65535, &port);
    return (int)port;
}

/* The last port if it is free, else any free one; 0: there is none. */
static int
choose_any_port(const struct fleet_dir *dir, const char *file, struct loop *l,
                struct err *e)
{
    int port = last_port(dir, file);

    if (port && wait_port(port, PORT_MS, l))
        return port;
    port = try_port(0);
    if (port > 0)
        return port;
    err_set(e, ERR_UNAVAILABLE, "no free port on 127.0.0.1: %s",
            strerror(errno));
    return 0;
}

static int
choose_port(struct embedded_broker *b, const struct fleet_dir *dir, int given,
            struct loop *l, struct err *e)
{
    if (given && !wait_port(given, PORT_GIVEN_MS, l))
        return err_set(e, ERR_UNAVAILABLE,
                       "port %d is in use by another program", given);
    b->port = given ? given : choose_any_port(dir, "endpoint", l, e);
    return b->port ? 0 : -1;
}

int
embedded_broker_http(const struct fleet_dir *dir, char *address, size_t size,
                     struct loop *l, struct err *e)
{
    int port = choose_any_port(dir, "http", l, e);
    char line[64];

    if (!port)
        return -1;
    (void)snprintf(address, size, "127.0.0.1:%d", port);
    (void)snprintf(line, sizeof line, "http://%s\n", address);
    return fleet_dir_write(dir, "http", line, 0600, e);
}

/* --- durability ---------------------------------------------------------- */

/* Sets or clears the flag on a folder and all files in it: new files inherit
 * it, those of an earlier start do not. Takes over fd. */
static int
sync_tree(int fd, bool on, int depth)
{
    struct dirent *entry;
    struct stat st;
    DIR *d;
    int child, rc = os_set_write_through(fd, on);

    d = fdopendir(fd);
    if (!d) {
        (void)close(fd);
        return -1;
    }
    while (rc == 0 && (entry = readdir(d))) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        child = openat(dirfd(d), entry->d_name,
                       O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
        if (child < 0)
            continue;
        if (fstat(child, &st) == 0 && S_ISDIR(st.st_mode) && depth > 0) {
            rc = sync_tree(child, on, depth - 1);
            continue;
        }
        rc = S_ISREG(st.st_mode) ? os_set_write_through(child, on) : 0;
        (void)close(child);
    }
    (void)closedir(d);
    return rc;
}

static bool
has_sync_interval(const struct embedded_broker *b)
{
    return b->major > 2 || b->minor >= 10;
}

static void
set_lossy(struct embedded_broker *b)
{
    b->durable = b->confirm = false;
    (void)snprintf(b->durability, sizeof b->durability,
                   "not durable: a power cut may lose tasks of the last minute "
                   "(nats-server %d.%d on this file system cannot write "
                   "through)",
                   b->major, b->minor);
}

/* Tries the flag out, clears what an earlier start has set, and chooses. */
static void
choose_durability(struct embedded_broker *b, const struct fleet_dir *dir,
                  bool fast)
{
    int fd = open(FLEET_DIR_PATH_OF(dir, "nats"),
                  O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool can = fd >= 0 && os_set_write_through(fd, true) == 0;
    bool confirm = !fast && can && feature_on(FEATURE_FSYNC);
    bool through = !fast && can && !confirm && !has_sync_interval(b);

    if (fd >= 0)
        (void)sync_tree(fd, through, STORE_DEPTH);
    b->confirm = confirm;
    b->durable = !fast && (can || has_sync_interval(b));
    if (fast)
        (void)str_copy(b->durability, sizeof b->durability,
                       "not durable: a power cut may lose tasks of the last "
                       "minutes (--fast)");
    else if (b->confirm)
        (void)str_copy(b->durability, sizeof b->durability,
                       "durable: accepted tasks survive a power cut");
    else if (b->durable)
        (void)snprintf(b->durability, sizeof b->durability,
                       "durable: accepted tasks survive a power cut (%s)",
                       through ? "each message written through"
                               : "sync_interval: always");
    else
        set_lossy(b);
}

int
embedded_broker_write_through(struct embedded_broker *b,
                              const struct fleet_dir *dir, struct err *e)
{
    /* Submissions, their input, and cancels: people and foreign programs write
     * them. */
    static const char *const streams[] = {"TASKS_IN", "INPUT", "KV_control"};
    char rel[128];
    int fd;

    for (size_t i = 0; b->confirm && i < sizeof streams / sizeof *streams;
         i++) {
        (void)snprintf(rel, sizeof rel, "nats/jetstream/$G/streams/%s/msgs",
                       streams[i]);
        fd = open(FLEET_DIR_PATH_OF(dir, rel),
                  O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 || sync_tree(fd, true, STORE_DEPTH) < 0) {
            err_set(e, ERR_UNAVAILABLE, "make %s synchronous: %s", rel,
                    strerror(errno));
            set_lossy(b);
            return -1;
        }
    }
    return 0;
}

/* --- configuration ------------------------------------------------------- */

static int
write_conf(const struct embedded_broker *b, const struct fleet_dir *dir,
           const char *token, struct err *e)
{
    struct str s = {0};
    int rc;

    str_addf(&s,
             "# Written by `shunt up` at each start; changes are lost.\n"
             "server_name: shunt\n"
             "host: 127.0.0.1\n"
             "port: %d\n"
             "max_payload: 1MB\n"
             "ping_interval: \"10s\"\n"
             "authorization { token: \"%s\" }\n"
             "jetstream {\n"
             "  store_dir: \"%s/nats\"\n"
             "  max_mem: 64MB\n"
             "  max_file: 1TB\n", /* what streams may reserve, not use */
             b->port, token, dir->path);
    if (b->durable && !b->confirm && has_sync_interval(b))
        str_addz(&s, "  sync_interval: always\n");
    str_addz(&s, "}\n");
    rc = fleet_dir_write(dir, "nats-server.conf", str_text(&s), 0600, e);
    str_free(&s);
    return rc;
}

int
embedded_broker_prepare(struct embedded_broker *b, const struct fleet_dir *dir,
                        int port, bool fast, struct loop *l, struct err *e)
{
    char token[64], line[80];

    if (strpbrk(dir->path, "\"\\\n"))
        return err_set(e, ERR_INVALID,
                       "%s: the path must not contain quotes, backslashes or "
                       "line breaks",
                       dir->path);
    if (choose_port(b, dir, port, l, e) < 0 ||
        fleet_dir_token(dir, "token", token, e) < 0)
        return -1;
    (void)snprintf(b->url, sizeof b->url, "nats://127.0.0.1:%d", b->port);
    (void)snprintf(line, sizeof line, "%s\n", b->url);
    choose_durability(b, dir, fast);
    if (write_conf(b, dir, token, e) < 0)
        return -1;
    return fleet_dir_write(dir, "endpoint", line, 0600, e);
}
