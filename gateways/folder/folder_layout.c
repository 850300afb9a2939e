/*
 * Parses the configured lines, derives the folders from the style's row in a
 * table, and builds the names of claimed files, results and sidecars.
 */
#include "gateways/folder/folder_layout.h"

#include "lib/base/hash.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/model/subject.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLAIMED ".claimed-"

struct layout {
    const char *name;
    const char *usual; /* last part of a path whose style need not be given */
    const char *tail;  /* the path between the project's folder and it */
    /* Below the path; "../x" is beside it. */
    const char *waiting, *running, *done, *failed;
    const char *suffixes; /* blank-separated */
    bool serial;
};

static const struct layout layouts[] = {
    [STYLE_JOBS] = {"jobs", "queue", "jobs", "", "../running", "../done",
                    "../failed", ".json .yaml .yml .md", true},
    [STYLE_CLOUD_QUEUE] = {"cloud-queue", ".cloud-queue", "", "pending",
                           "running", "completed", "failed", ".json", false},
    [STYLE_AGENT_QUEUE] = {"agent-queue", "agent-queue", "", "", "running",
                           "done", "failed", ".md", false},
    [STYLE_INBOX] = {"inbox", "inbox", "codex", "", "_running", "_done",
                     "_failed", ".json", false},
};

enum { N_STYLES = sizeof layouts / sizeof *layouts, LINE_MAX_BYTES = 4096 };

const char *
folder_layout_style_name(enum style s)
{
    return layouts[s].name;
}

/* --- paths ---------------------------------------------------------------- */

static const char *
base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* path without its last part; "/" stays "/". */
static char *
parent_of(struct mem_pool *pool, const char *path)
{
    char *out = mem_pool_strdup(pool, path), *slash = strrchr(out, '/');

    if (slash)
        slash[slash == out] = '\0';
    return out;
}

static char *
join(struct mem_pool *pool, const char *dir, const char *rel)
{
    bool slash = *rel && *dir && !str_ends_with(dir, "/");

    return mem_pool_printf(pool, "%s%s%s", dir, slash ? "/" : "", rel);
}

/* An absolute path without "." and redundant slashes; ".." is kept, since the
 * part before it may be a link. */
static char *
absolute(struct mem_pool *pool, const char *text, const char *cwd)
{
    const char *home = getenv("HOME");
    struct str raw = {0}, out = {0};
    char *path;

    if (*text == '~' && (text[1] == '/' || !text[1]) && home) {
        str_addz(&raw, home);
        text++;
    } else if (*text != '/') {
        str_addf(&raw, "%s/", cwd);
    }
    str_addz(&raw, text);
    for (const char *p = str_text(&raw); *p;) {
        size_t len = strcspn(p, "/");

        if (len && !(len == 1 && *p == '.')) {
            str_addc(&out, '/');
            str_add(&out, p, len);
        }
        p += len + (p[len] == '/');
    }
    path = mem_pool_strdup(pool, out.len ? str_text(&out) : "/");
    str_free(&raw);
    str_free(&out);
    return path;
}

static char *
layout_dir(struct mem_pool *pool, const char *path, const char *rel)
{
    if (strncmp(rel, "../", 3) != 0)
        return join(pool, path, rel);
    return join(pool, parent_of(pool, path), rel + 3);
}

/* The project's folder: what is left without the tasks the style adds. */
static char *
root_of(struct mem_pool *pool, const char *path, enum style style)
{
    char *up = parent_of(pool, path);

    return *layouts[style].tail &&
                   strcmp(base_name(up), layouts[style].tail) == 0
               ? parent_of(pool, up)
               : up;
}

/* --- parsing -------------------------------------------------------------- */

/* Copies the next word of *at to out; quotes protect blanks. 0: none left. */
static int
next_word(const char **at, char *out, size_t size, struct err *e)
{
    const char *p = *at;
    char quote = '\0';
    size_t n = 0;

    while (isspace((unsigned char)*p))
        p++;
    if (!*p)
        return 0;
    for (; *p && (quote || !isspace((unsigned char)*p)); p++) {
        if (*p == quote) {
            quote = '\0';
        } else if (!quote && (*p == '"' || *p == '\'')) {
            quote = *p;
        } else if (n + 1 < size) {
            out[n++] = *p;
        } else {
            return err_set(e, ERR_INVALID, "'%.60s...' is too long", *at);
        }
    }
    if (quote)
        return err_set(e, ERR_INVALID, "'%.60s': a quote is not closed", *at);
    out[n] = '\0';
    *at = p;
    return 1;
}

static int
read_style(const char *word, enum style *out, struct err *e)
{
    for (size_t i = 0; i < N_STYLES; i++) {
        if (strcmp(layouts[i].name, word) == 0) {
            *out = (enum style)i;
            return 0;
        }
    }
    return err_set(e, ERR_INVALID,
                   "'%.60s' is not a style; write jobs, cloud-queue, "
                   "agent-queue or inbox",
                   word);
}

static int
read_git(const char *value, struct folder_layout *p, struct err *e)
{
    p->pull = strcmp(value, "pull") == 0 || strcmp(value, "pull+push") == 0;
    p->push = strcmp(value, "pull+push") == 0;
    if (p->pull || strcmp(value, "no") == 0)
        return 0;
    return err_set(e, ERR_INVALID, "git=%.60s: write git=pull or git=pull+push",
                   value);
}

int
folder_layout_read_serial(const char *value, bool *out, struct err *e)
{
    *out = strcmp(value, "workdir") == 0;
    if (*out || strcmp(value, "no") == 0)
        return 0;
    return err_set(e, ERR_INVALID,
                   "serial=%.60s: write serial=workdir or serial=no", value);
}

/* One key=value. */
static int
read_option(const char *word, const char *cwd, struct folder_layout *p,
            struct err *e)
{
    const char *value = strchr(word, '=') + 1;
    size_t len = (size_t)(value - word) - 1;
    const struct {
        const char *key, *cwd;
        char **path;
    } paths[] = {{"workdir", cwd, &p->root},
                 {"running", p->path, &p->running},
                 {"done", p->path, &p->done},
                 {"failed", p->path, &p->failed}};

    if (len == 3 && memcmp(word, "git", 3) == 0)
        return read_git(value, p, e);
    if (len == 6 && memcmp(word, "serial", 6) == 0) {
        p->serial_given = true;
        return folder_layout_read_serial(value, &p->serial, e);
    }
    if (!*value)
        return err_set(e, ERR_INVALID, "%.60s: a value is missing", word);
    if (len == 7 && memcmp(word, "project", 7) == 0) {
        p->project = mem_pool_strdup(p->pool, value);
        return 0;
    }
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        if (strlen(paths[i].key) == len &&
            memcmp(word, paths[i].key, len) == 0) {
            *paths[i].path = absolute(p->pool, value, paths[i].cwd);
            return 0;
        }
    }
    return err_set(e, ERR_INVALID,
                   "%.60s: unknown; write style=, git=, serial=, workdir=, "
                   "project=, running=, done= or failed=",
                   word);
}

static void
fill(struct folder_layout *p)
{
    const struct layout *l = &layouts[p->style];
    char token[SUBJECT_TOKEN_MAX + 1];

    if (!p->serial_given)
        p->serial = l->serial;
    p->waiting = layout_dir(p->pool, p->path, l->waiting);
    if (!p->running)
        p->running = layout_dir(p->pool, p->path, l->running);
    if (!p->done)
        p->done = layout_dir(p->pool, p->path, l->done);
    if (!p->failed)
        p->failed = layout_dir(p->pool, p->path, l->failed);
    if (!p->root)
        p->root = root_of(p->pool, p->path, p->style);
    if (!p->project) {
        subject_token_from(base_name(p->root), "folder", token);
        p->project = mem_pool_strdup(p->pool, token);
    }
}

/* The folders must differ, or files would be claimed again or overwritten. */
static int
check_dirs(const struct folder_layout *p, struct err *e)
{
    const char *const taken[] = {p->waiting, p->running};
    const char *const ends[] = {p->done, p->failed};

    if (strcmp(p->waiting, p->running) == 0)
        return err_set(e, ERR_INVALID,
                       "running= is the folder where files wait: %s",
                       p->running);
    for (size_t i = 0; i < 2; i++)
        for (size_t j = 0; j < 2; j++)
            if (strcmp(taken[i], ends[j]) == 0)
                return err_set(e, ERR_INVALID,
                               "%s is where files wait or run: done= and "
                               "failed= must be elsewhere",
                               ends[j]);
    return 0;
}

static int
read_words(const char *line, const char *cwd, struct folder_layout *p,
           struct err *e)
{
    bool styled = false;
    char word[LINE_MAX_BYTES];
    int rc = next_word(&line, word, sizeof word, e);

    if (rc == 0 || (rc > 0 && !*word))
        return err_set(e, ERR_INVALID, "empty; write a path and a style");
    if (rc < 0)
        return -1;
    p->path = absolute(p->pool, word, cwd);
    while ((rc = next_word(&line, word, sizeof word, e)) > 0) {
        if (!strchr(word, '=') || strncmp(word, "style=", 6) == 0) {
            const char *name = strchr(word, '=') ? word + 6 : word;

            if (styled)
                return err_set(e, ERR_INVALID, "'%.60s': a second style", name);
            styled = true;
            if (read_style(name, &p->style, e) < 0)
                return -1;
        } else if (read_option(word, cwd, p, e) < 0) {
            return -1;
        }
    }
    for (size_t i = 0; rc == 0 && !styled && i < N_STYLES; i++) {
        if (strcmp(base_name(p->path), layouts[i].usual) == 0) {
            p->style = (enum style)i;
            styled = true;
        }
    }
    if (rc == 0 && !styled)
        return err_set(e, ERR_INVALID,
                       "%s: no style; write style=jobs, cloud-queue, "
                       "agent-queue or inbox after the path",
                       p->path);
    return rc;
}

int
folder_layout_parse(const char *line, const char *cwd,
                    struct folder_layout *out, struct err *e)
{
    *out = (struct folder_layout){.pool = mem_pool_sized(1024),
                                  .name_max = FOLDER_LAYOUT_NAME_MAX};
    if (read_words(line, cwd, out, e) == 0) {
        fill(out);
        if (check_dirs(out, e) == 0)
            return 0;
    }
    folder_layout_release(out);
    return -1;
}

void
folder_layout_release(struct folder_layout *p)
{
    mem_pool_free(p->pool);
    *p = (struct folder_layout){0};
}

/* --- names ---------------------------------------------------------------- */

static bool
ends_with(const char *name, const char *suffix, size_t len)
{
    size_t n = strlen(name);

    return n > len && strncasecmp(name + n - len, suffix, len) == 0;
}

static bool
has_suffix(const char *name, const char *list)
{
    for (; *list; list += strspn(list, " ")) {
        size_t len = strcspn(list, " ");

        if (ends_with(name, list, len))
            return true;
        list += len;
    }
    return false;
}

/*
 * Whether people and agents keep a file of that name in a folder to describe
 * it: README of any kind, and Markdown that is called AGENTS.md or the like, or
 * begins with an underscore, as drafts do.
 */
static bool
describes_folder(const char *name)
{
    static const char *const stems[] = {
        "AGENTS",       "AGENT",    "CLAUDE",      "GEMINI",
        "SKILL",        "COPILOT",  "QWEN",        "CONVENTIONS",
        "CONTRIBUTING", "LICENSE",  "LICENCE",     "CODE_OF_CONDUCT",
        "CHANGELOG",    "SECURITY", "SUPPORT",     "GOVERNANCE",
        "NOTICE",       "AUTHORS",  "MAINTAINERS", "COPILOT-INSTRUCTIONS",
        "TODO",         "TEMPLATE"};
    size_t len = strcspn(name, ".");

    if (strncasecmp(name, "README", 6) == 0)
        return true;
    if (!has_suffix(name, ".md .markdown"))
        return false;
    for (size_t i = 0; i < sizeof stems / sizeof *stems; i++)
        if (strlen(stems[i]) == len && strncasecmp(name, stems[i], len) == 0)
            return true;
    return *name == '_';
}

bool
folder_layout_takes(const struct folder_layout *p, const char *name)
{
    return *name != '.' && !describes_folder(name) &&
           has_suffix(name, layouts[p->style].suffixes) &&
           !ends_with(name, ".result.json", 12);
}

/* --- claimed files -------------------------------------------------------- */

void
folder_layout_owner(struct folder_owner *out, const char *fleet,
                    const char *host)
{
    size_t n = 0;

    *out = (struct folder_owner){0};
    for (; *fleet && n + 1 < sizeof out->fleet; fleet++)
        if (isalnum((unsigned char)*fleet))
            out->fleet[n++] = *fleet;
    n = 0;
    for (; *host && n + 1 < sizeof out->host; host++)
        out->host[n++] = isalnum((unsigned char)*host) ? *host : '-';
}

void
folder_layout_digest(const void *text, size_t len,
                     char out[FOLDER_LAYOUT_DIGEST_SIZE])
{
    uint64_t h = hash_add(HASH_EMPTY, text, len);

    (void)snprintf(out, FOLDER_LAYOUT_DIGEST_SIZE, "%08x",
                   (unsigned)(h ^ h >> 32));
}

void
folder_layout_claim_path(const struct folder_layout *p,
                         const struct folder_claim *c,
                         char out[FOLDER_LAYOUT_CLAIM_SIZE])
{
    int head = snprintf(out, FOLDER_LAYOUT_CLAIM_SIZE, CLAIMED "%.*s.%s.%s.%s",
                        FOLDER_LAYOUT_ID_LEN, c->id, c->owner.fleet,
                        c->owner.host, c->digest);
    bool fits = (size_t)head + 1 + strlen(c->name) <= p->name_max;

    (void)snprintf(out + head, FOLDER_LAYOUT_CLAIM_SIZE - (size_t)head, "%c%s",
                   fits ? '-' : '/', c->name);
}

/* Copies the part after at, which ends at one of stops or the end, and returns
 * where; NULL: it is too long. */
static const char *
read_part(const char *at, const char *stops, char *out, size_t size)
{
    size_t len = strcspn(at + 1, stops);

    if (len >= size)
        return NULL;
    memcpy(out, at + 1, len);
    out[len] = '\0';
    return at + 1 + len;
}

/* ".<fleet>.<host>.<digest>" */
static const char *
read_parts(const char *at, struct folder_claim *out)
{
    at = read_part(at, ".", out->owner.fleet, sizeof out->owner.fleet);
    if (at && *at == '.')
        at = read_part(at, ".", out->owner.host, sizeof out->owner.host);
    return at && *at == '.'
               ? read_part(at, "-/", out->digest, sizeof out->digest)
               : NULL;
}

bool
folder_layout_read_claim(const char *path, struct folder_claim *out)
{
    const size_t head = sizeof CLAIMED - 1;
    const char *at = path + head + FOLDER_LAYOUT_ID_LEN;

    *out = (struct folder_claim){0};
    if (strncmp(path, CLAIMED, head) != 0 ||
        strlen(path) <= head + FOLDER_LAYOUT_ID_LEN)
        return false;
    memcpy(out->id, path + head, FOLDER_LAYOUT_ID_LEN);
    if (*at == '.')
        at = read_parts(at, out);
    else if (*at != '-') /* of an earlier version: "<id>-<name>" */
        return false;
    if (!at || (*at && !str_copy(out->name, sizeof out->name, at + 1)))
        return false;
    return (*at != '-' || *out->name) && subject_token_ok(out->id);
}

/* --- names beside a file -------------------------------------------------- */

/* Where the last suffix begins, or the end. */
static size_t
suffix_at(const char *name)
{
    const char *dot = strrchr(name, '.');

    return dot && dot != name ? (size_t)(dot - name) : strlen(name);
}

/* The first stem bytes of name, cut if need be, and suffix. */
static void
beside(const struct folder_layout *p, const char *name, size_t stem,
       const char *suffix, char out[FOLDER_LAYOUT_FILE_SIZE])
{
    enum { HASH_BYTES = FOLDER_LAYOUT_DIGEST_SIZE };
    size_t room = p->name_max > strlen(suffix) + HASH_BYTES
                      ? p->name_max - strlen(suffix)
                      : HASH_BYTES;
    char hash[FOLDER_LAYOUT_DIGEST_SIZE] = "";
    bool cut = stem > room;

    if (cut) {
        folder_layout_digest(name, stem, hash);
        stem = str_utf8_cut(name, stem, room - HASH_BYTES);
    }
    (void)snprintf(out, FOLDER_LAYOUT_FILE_SIZE, "%.*s%s%s%s", (int)stem, name,
                   cut ? "~" : "", hash, suffix);
}

void
folder_layout_second_name(const struct folder_layout *p, const char *id,
                          const char *name, char out[FOLDER_LAYOUT_FILE_SIZE])
{
    char suffix[FOLDER_LAYOUT_FILE_SIZE + 16];
    size_t at = suffix_at(name);

    (void)snprintf(suffix, sizeof suffix, ".%.8s%s", id, name + at);
    beside(p, name, at, suffix, out);
}

void
folder_layout_result_name(const struct folder_layout *p, const char *name,
                          char out[FOLDER_LAYOUT_FILE_SIZE])
{
    beside(p, name,
           ends_with(name, ".json", 5) ? strlen(name) - 5 : strlen(name),
           ".result.json", out);
}

void
folder_layout_sidecar_name(const struct folder_layout *p, const char *name,
                           char out[FOLDER_LAYOUT_FILE_SIZE])
{
    beside(p, name, strlen(name), ".delegated", out);
}

void
folder_layout_error_name(const struct folder_layout *p, const char *name,
                         char out[FOLDER_LAYOUT_FILE_SIZE])
{
    beside(p, name, strlen(name), ".error", out);
}

void
folder_layout_stem(const char *name, char out[FOLDER_LAYOUT_FILE_SIZE])
{
    (void)snprintf(out, FOLDER_LAYOUT_FILE_SIZE, "%.*s", (int)suffix_at(name),
                   name);
}
