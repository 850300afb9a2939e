/*
 * Reads the gateway's own section of the configuration, and looks for the
 * folders jobs/queue and .cloud-queue on the disk. Nothing is created.
 */
#include "cli/watched_folders.h"

#include "gateways/folder/folder.h"
#include "gateways/folder/folder_layout.h"
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

/* Adds the usual folders that the project in dir has; whether it has any. */
static bool
add_usual(struct watched_folders *w, const char *dir)
{
    bool found = false;

    for (size_t i = 0; i < sizeof usual / sizeof usual[0]; i++) {
        struct fleet_dir_path path;
        struct stat st;

        (void)snprintf(path.s, sizeof path.s, "%s/%s", dir, usual[i]);
        if (stat(path.s, &st) < 0 || !S_ISDIR(st.st_mode))
            continue;
        (void)json_array_append_new(w->list, json_string(path.s));
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

static int
add_configured(struct watched_folders *w, char *const *lines, const char *cwd,
               struct err *e)
{
    struct folder_layout p;

    for (; lines && *lines; lines++) {
        if (folder_layout_parse(*lines, cwd, &p, e) < 0)
            return err_wrap(e, "folder.folders: '%.200s'", *lines);
        (void)json_array_append_new(w->list, json_string(p.path));
        folder_layout_release(&p);
    }
    return 0;
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
    if (add_configured(out, section.conf.folders, dir, e) < 0)
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
