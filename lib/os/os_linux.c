/*
 * os.h by what only Linux and glibc have. Where an old kernel, a sandbox or a
 * file system lacks a call, the next best follows it.
 */
#include "lib/os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

/* --- time ---------------------------------------------------------------- */

int64_t
os_boot_ms(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_BOOTTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int
os_cond_init(pthread_cond_t *c)
{
    pthread_condattr_t attr;
    int rc;

    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    rc = pthread_cond_init(c, &attr);
    (void)pthread_condattr_destroy(&attr);
    return rc ? -1 : 0;
}

int
os_cond_wait(pthread_cond_t *c, pthread_mutex_t *m, int64_t until_ms)
{
    struct timespec at = {.tv_sec = (time_t)(until_ms / 1000),
                          .tv_nsec = (long)(until_ms % 1000) * 1000000};

    return pthread_cond_timedwait(c, m, &at);
}

/* --- secrets ------------------------------------------------------------- */

int
os_random(void *out, size_t len)
{
    return getrandom(out, len, 0) == (ssize_t)len ? 0 : -1;
}

void
os_wipe(void *p, size_t len)
{
    if (len > 0) /* else p may be NULL */
        explicit_bzero(p, len);
}

void
os_hide_memory(void)
{
#ifndef __SANITIZE_ADDRESS__
    (void)prctl(PR_SET_DUMPABLE, 0);
#endif
}

/* --- parents and orphans ---------------------------------------------------
 */

int
os_adopt_orphans(void)
{
    return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

void
os_signal_at_parents_end(int signo)
{
    (void)prctl(PR_SET_PDEATHSIG, signo, 0, 0, 0);
}

/* --- descriptors --------------------------------------------------------- */

int
os_pipe(int fds[2])
{
    return pipe2(fds, O_CLOEXEC);
}

int
os_stream_socket(int family, bool nonblocking)
{
    return socket(
        family, SOCK_STREAM | SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0),
        0);
}

int
os_scratch_file(void)
{
    return memfd_create("scratch", MFD_CLOEXEC);
}

int
os_open_folder(const char *path)
{
    return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* --- the order of writes -------------------------------------------------- */

/*
 * A write to a pipe in packet mode stays a packet, and each write to a pipe
 * with O_ASYNC sends its owner a signal, a queued one with F_SETSIG, that names
 * the descriptor. The signals are blocked and read from a descriptor.
 */
enum {
    WRITES_AT_ONCE = 64, /* signals per read */
    WIDE_PAGES = 64,
    USUAL_PAGES = 16,
};

struct os_writes {
    int fd;
    struct f_owner_ex owner; /* this thread: others need not block signals */
    sigset_t old;
};

static int
writes_signal(void)
{
    return SIGRTMIN + 1;
}

struct os_writes *
os_writes_open(void)
{
    struct os_writes *w;
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, writes_signal());
    (void)sigaddset(&set, SIGIO); /* comes when no more can be queued */
    w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (w->fd < 0) {
        free(w);
        return NULL;
    }
    (void)pthread_sigmask(SIG_BLOCK, &set, &w->old);
    w->owner = (struct f_owner_ex){F_OWNER_TID, (pid_t)syscall(SYS_gettid)};
    return w;
}

void
os_writes_close(struct os_writes *w)
{
    int fds[WRITES_AT_ONCE];

    if (!w)
        return;
    while (os_writes_read(w, fds, WRITES_AT_ONCE) > 0)
        ;
    (void)close(w->fd);
    (void)pthread_sigmask(SIG_SETMASK, &w->old, NULL);
    free(w);
}

int
os_writes_pipe(struct os_writes *w, bool wide, int fds[2], size_t *slots)
{
    const int bytes = WIDE_PAGES * (int)sysconf(_SC_PAGESIZE);

    if (pipe2(fds, O_CLOEXEC | O_DIRECT) < 0)
        return -1;
    if (fcntl(fds[0], F_SETOWN_EX, &w->owner) < 0 ||
        fcntl(fds[0], F_SETSIG, writes_signal()) < 0 ||
        fcntl(fds[0], F_SETFL, O_NONBLOCK | O_ASYNC) < 0) {
        (void)close(fds[0]);
        (void)close(fds[1]);
        return -1;
    }
    *slots = wide && fcntl(fds[0], F_SETPIPE_SZ, bytes) >= bytes ? WIDE_PAGES
                                                                 : USUAL_PAGES;
    return 0;
}

size_t
os_writes_read(struct os_writes *w, int *fds, size_t most)
{
    struct signalfd_siginfo got[WRITES_AT_ONCE];
    size_t n = 0;
    ssize_t len;

    if (most > WRITES_AT_ONCE)
        most = WRITES_AT_ONCE;
    while (n == 0) {
        len = read(w->fd, got, most * sizeof *got);
        if (len <= 0)
            break;
        for (size_t i = 0; i < (size_t)len / sizeof *got; i++)
            if (got[i].ssi_signo == (uint32_t)writes_signal() &&
                got[i].ssi_code > 0)
                fds[n++] = got[i].ssi_fd;
    }
    return n;
}

void
os_writes_set_apart(const int fds[2], bool apart)
{
    (void)fcntl(fds[1], F_SETFL, apart ? O_DIRECT : 0);
    (void)fcntl(fds[0], F_SETFL, O_NONBLOCK | (apart ? O_ASYNC : 0));
}

/* --- files --------------------------------------------------------------- */

int
os_rename_new(const char *from, const char *to)
{
    return renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);
}

/* For kernels without openat2: good enough as no process runs meanwhile. */
static bool
real_path_beneath(int folder, const char *path)
{
    char link[64], base[PATH_MAX], name[2 * PATH_MAX], full[PATH_MAX];
    ssize_t n;
    int len;

    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    n = readlink(link, base, sizeof base - 1);
    if (n <= 0)
        return false;
    base[n] = '\0';
    len = snprintf(name, sizeof name, "%s/%s", base, path);
    return len > 0 && (size_t)len < sizeof name && realpath(name, full) &&
           strncmp(full, base, (size_t)n) == 0 &&
           (full[n] == '/' || !full[n] || n == 1);
}

bool
os_exists_beneath(int folder, const char *path)
{
    struct open_how how = {.flags = O_PATH | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    long fd = syscall(SYS_openat2, folder, path, &how, sizeof how);

    if (fd < 0)
        return (errno == ENOSYS || errno == EPERM) &&
               real_path_beneath(folder, path);
    (void)close((int)fd);
    return true;
}

/* A file server's client, which answers EAGAIN whenever the server has not lent
 * it the file. */
static bool
is_cifs(int fd)
{
    const uint32_t cifs = 0xff534d42, smb2 = 0xfe534d42;
    struct statfs st;

    return fstatfs(fd, &st) == 0 &&
           ((uint32_t)st.f_type == cifs || (uint32_t)st.f_type == smb2);
}

/* A lease. When a writer comes the holder is sent a signal: one that is ignored
 * by default. */
int
os_hold_writers(int fd)
{
    if (fcntl(fd, F_SETSIG, SIGURG) < 0)
        return -1;
    if (fcntl(fd, F_SETLEASE, F_RDLCK) == 0)
        return 0;
    if (errno == EAGAIN)
        errno = is_cifs(fd) ? ENOTSUP : EAGAIN;
    return -1;
}

void
os_let_writers(int fd)
{
    (void)fcntl(fd, F_SETLEASE, F_UNLCK);
}

static int64_t
nanoseconds(struct timespec ts)
{
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int64_t
os_mtime_ns(const struct stat *st)
{
    return nanoseconds(st->st_mtim);
}

int64_t
os_ctime_ns(const struct stat *st)
{
    return nanoseconds(st->st_ctim);
}

int
os_sync(int fd)
{
    return fsync(fd);
}

int
os_sync_data(int fd)
{
    return fdatasync(fd);
}

void
os_sync_begin(int fd)
{
    (void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
}

void
os_sync_all(int fd)
{
    (void)syncfs(fd);
}

bool
os_writes_through(int fd)
{
    int flags = 0;

    return ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0 && (flags & FS_SYNC_FL);
}

/* As chattr +S and -S. */
int
os_set_write_through(int fd, bool on)
{
    int flags = 0;

    if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0)
        return -1;
    if (!!(flags & FS_SYNC_FL) == on)
        return 0;
    flags = on ? flags | FS_SYNC_FL : flags & ~FS_SYNC_FL;
    return ioctl(fd, FS_IOC_SETFLAGS, &flags);
}

/* --- this process and this machine --------------------------------------- */

const char *
os_program(void)
{
    return "/proc/self/exe";
}

int
os_program_dir(char *out, size_t size)
{
    ssize_t n = readlink(os_program(), out, size - 1);
    char *slash;

    if (n < 0)
        return -1;
    out[n] = '\0';
    slash = strrchr(out, '/');
    if (slash)
        *slash = '\0';
    return 0;
}

unsigned
os_cpus(void)
{
    cpu_set_t cpus;

    if (sched_getaffinity(0, sizeof cpus, &cpus) < 0)
        return 0;
    return (unsigned)CPU_COUNT(&cpus);
}

/* The number behind key in a file of /proc; 0: there is none. */
static uint64_t
proc_number(const char *path, const char *key)
{
    size_t len = strlen(key);
    uint64_t number = 0;
    char line[128];
    FILE *f = fopen(path, "re");

    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, key, len) == 0) {
            number = strtoull(line + len, NULL, 10);
            break;
        }
    if (f)
        (void)fclose(f);
    return number;
}

uint64_t
os_memory_free_bytes(void)
{
    return proc_number("/proc/meminfo", "MemAvailable:") * 1024;
}

uint64_t
os_max_rss_bytes(const struct rusage *ru)
{
    return (uint64_t)ru->ru_maxrss * 1024;
}

int
os_oom_score(void)
{
    int score = 0;
    FILE *f = fopen("/proc/self/oom_score_adj", "re");

    if (f && fscanf(f, "%d", &score) != 1)
        score = 0;
    if (f)
        (void)fclose(f);
    return score;
}

void
os_set_oom_score(int score)
{
    FILE *f = fopen("/proc/self/oom_score_adj", "we");

    if (!f)
        return;
    (void)fprintf(f, "%d", score);
    (void)fclose(f);
}

uint64_t
os_oom_kills(void)
{
    return proc_number("/proc/vmstat", "oom_kill ");
}

void
os_heap_setup(void)
{
    /* One heap: the bus library's threads would each bring their own. */
    (void)mallopt(M_ARENA_MAX, 1);
    (void)mallopt(M_TRIM_THRESHOLD, 256 * 1024);
}

void
os_heap_trim(void)
{
    (void)malloc_trim(0);
}

/* Code and constants are never written to, so their pages can be dropped at any
 * time. Those that hold relocated data are in writable segments, and are left
 * alone. */
static int
drop_clean(struct dl_phdr_info *info, size_t size, void *ctx)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

    (void)size;
    (void)ctx;
    if (info->dlpi_addr == 0 || strncmp(info->dlpi_name, "linux-", 6) == 0)
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        uintptr_t from = info->dlpi_addr + p->p_vaddr;
        uintptr_t to = from + p->p_memsz;

        if (p->p_type != PT_LOAD || (p->p_flags & PF_W))
            continue;
        from &= ~(page - 1);
        (void)madvise((void *)from, to - from, MADV_DONTNEED);
    }
    return 0;
}

void
os_code_trim(void)
{
    (void)dl_iterate_phdr(drop_clean, NULL);
}
