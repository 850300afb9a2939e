/*
 * Reads the gateway's own section of the configuration, and looks for the
 * folders jobs/queue and .cloud-queue on the disk.
 */
#include "cli/watched_folders.h"

#include "gateways/folder/folder.h"
#include "gateways/folder/folder_layout.h"
#include "gateways/folder/folder_list.h"
#include "lib/base/conf.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct folder_section {
    struct folder_conf conf;
};

static const struct conf_opt folder_opts[] = {
    FOLDER_CONF(struct folder_section, conf), CONF_END};

static const char *const usual[] = {"jobs/queue", ".cloud-queue"};

static bool
is_listed(const json_t *list, const char *waiting)
{
    const json_t *v;
    size_t i;

    json_array_foreach(list, i, v)
    {
        const char *listed = json_string_value(json_object_get(v, "waiting"));

        if (listed && strcmp(listed, waiting) == 0)
            return true;
    }
    return false;
}

static int
add_line(struct watched_folders *w, const char *line, const char *from,
         struct err *e)
{
    struct folder_layout p;

    if (folder_layout_parse(line, from, &p, e) < 0)
        return err_wrap(e, "folder.folders: '%.200s'", line);
    if (!is_listed(w->list, p.waiting))
        (void)json_array_append_new(w->list,
                                    json_pack("{s:s, s:s, s:s, s:s}", "path",
                                              p.path, "waiting", p.waiting,
                                              "line", line, "from", from));
    folder_layout_release(&p);
    return 0;
}

/* Adds the usual folders that the project in dir has; whether it has any. */
static bool
add_usual(struct watched_folders *w, const char *dir)
{
    bool found = false;
    struct err e;

    for (size_t i = 0; i < sizeof usual / sizeof usual[0]; i++) {
        struct fleet_dir_path path;
        struct stat st;

        (void)snprintf(path.s, sizeof path.s, "%s/%s", dir, usual[i]);
        if (stat(path.s, &st) < 0 || !S_ISDIR(st.st_mode))
            continue;
        (void)add_line(w, usual[i], dir, &e); /* which is right */
        found = true;
    }
    return found && str_copy(w->project, sizeof w->project, dir);
}

/* Cuts dir to the checkout it lies in; false if it lies in none. */
static bool
cut_to_checkout(char *dir)
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

int
watched_folders_find(struct watched_folders *out, struct err *e)
{
    struct folder_section section = {0};
    char dir[FLEET_DIR_PATH - 64];
    int rc = -1;

    *out = (struct watched_folders){.list = json_array()};
    if (conf_load(&section, folder_opts, "", 0, NULL, e) < 0)
        goto out;
    if (!getcwd(dir, sizeof dir)) {
        err_set(e, ERR_INVALID, "working directory: %s", strerror(errno));
        goto out;
    }
    for (char **line = section.conf.folders; line && *line; line++)
        if (add_line(out, *line, dir, e) < 0)
            goto out;
    if (*section.conf.project)
        (void)add_usual(out, section.conf.project);
    else if (!add_usual(out, dir) && cut_to_checkout(dir))
        (void)add_usual(out, dir);
    rc = 0;
out:
    conf_free(&section, folder_opts);
    if (rc < 0)
        json_decref(out->list);
    return rc;
}

int
watched_folders_recall(struct watched_folders *w, const struct fleet_dir *dir,
                       struct err *e)
{
    json_t *list, *v;
    size_t i;
    int rc;

    rc = folder_list_read(FLEET_DIR_PATH_OF(dir, "folders"), &list, e);
    if (rc < 0)
        return -1;
    json_array_foreach(list, i, v)
    {
        if (rc == 0)
            rc = add_line(w, json_string_value(json_object_get(v, "line")),
                          json_string_value(json_object_get(v, "from")), e);
    }
    json_decref(list);
    return rc;
}

int
watched_folders_remember(const struct watched_folders *w,
                         const struct fleet_dir *dir, struct err *e)
{
    struct watched_folders all = {.list = json_array()};
    const json_t *v;
    size_t i;
    int rc = watched_folders_recall(&all, dir, e);

    json_array_foreach(w->list, i, v)
    {
        if (rc == 0)
            rc = add_line(&all, json_string_value(json_object_get(v, "line")),
                          json_string_value(json_object_get(v, "from")), e);
    }
    if (rc == 0)
        rc = folder_list_write(FLEET_DIR_PATH_OF(dir, "folders"), all.list, e);
    json_decref(all.list);
    return rc;
}

void
watched_folders_forget(const struct fleet_dir *dir)
{
    (void)unlink(FLEET_DIR_PATH_OF(dir, "folders"));
}
