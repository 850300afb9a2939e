/*
 * Reads the files of .cloud-queue/pending: a task of a team, described in a
 * dictionary without a fixed form.
 */
#include "gateways/formats/formats_private.h"

#include <string.h>

/* Reads what to run, if given: command, script or steps. */
static int
read_work(struct import_text *s, const struct yaml_node *data, struct task *t)
{
    static const char *const keys[] = {"command", "script", "steps"};
    const struct yaml_node *found = NULL;

    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const struct yaml_node *v = formats_get(data, keys[i]);

        if (v && found)
            return formats_fail(s, v->key,
                                "%s: given together with %s; keep one", keys[i],
                                found->key->text);
        found = v ? v : found;
    }
    if (!found)
        return 0;
    return strcmp(found->key->text, "steps") == 0
               ? formats_steps(s, found, true, t)
               : formats_commands(s, found, found->key->text, t);
}

/* Reads the prompt, else builds it from the title and description. */
static int
read_prompt(struct import_text *s, const struct yaml_node *data, struct task *t)
{
    const char *prompt, *title, *description;

    if (formats_text(s, data, "prompt", &prompt) < 0 ||
        formats_text(s, data, "title", &title) < 0 ||
        formats_text(s, data, "description", &description) < 0)
        return -1;
    if (*prompt)
        t->prompt = prompt;
    else if (*title && *description)
        t->prompt = mem_pool_printf(s->pool, "%s\n\n%s", title, description);
    else
        t->prompt = *title ? title : description;
    if (!formats_is_blank(t->prompt))
        return formats_prompt(s, data, t->prompt, strlen(t->prompt));
    return formats_fail(s, data,
                        "task_data: nothing to run and nothing to ask; write "
                        "command, script, steps, prompt or a title");
}

/* A preference, as if `cloud:` had been typed: a pin would wait forever where
 * there is no cloud; a preference falls back, and the decision says so. */
static void
wish(struct import_text *s, struct task *t, const char *place)
{
    struct step *first = &t->steps[0];

    if (first->n_argv)
        first->argv[0] =
            mem_pool_printf(s->pool, "%s: %s", place, first->argv[0]);
    else
        first->script =
            mem_pool_printf(s->pool, "%s: %s", place, first->script);
}

static int
read_mode(struct import_text *s, const struct yaml_node *root, struct task *t)
{
    const struct yaml_node *at = yaml_get(root, "execution_mode");
    const char *mode;

    if (formats_text(s, root, "execution_mode", &mode) < 0)
        return -1;
    if (!*mode)
        return 0;
    if (strcmp(mode, "cloud") != 0 && strcmp(mode, "local") != 0)
        formats_warn(s, at,
                     "execution_mode: '%s' is unknown, ignored; known "
                     "are cloud and local",
                     formats_short(s, mode));
    else if (t->n_steps > 0 && t->steps[0].kind != STEP_KUBECTL)
        wish(s, t, mode);
    else if (t->n_steps > 0)
        formats_warn(s, at,
                     "execution_mode: kubectl runs where the router "
                     "sends it");
    else if (strcmp(mode, "cloud") == 0)
        formats_warn(s, at,
                     "execution_mode: a prompt stays with local Claude Code; "
                     "only commands go to the cloud");
    return 0;
}

static int
check_status(struct import_text *s, const struct yaml_node *root)
{
    const char *status;

    if (formats_text(s, root, "status", &status) < 0)
        return -1;
    if (*status && strcmp(status, "pending") != 0)
        formats_warn(
            s, yaml_get(root, "status"),
            "status: '%s' is ignored; the folder determines what is done",
            formats_short(s, status));
    return 0;
}

/* The tags by which people search for an issue. */
static int
read_tags(struct import_text *s, const struct yaml_node *root,
          const struct yaml_node *data, struct task *t)
{
    const char *at, *identifier, *url;

    if (formats_text(s, root, "submitted_at", &at) < 0 ||
        formats_text(s, data, "identifier", &identifier) < 0 ||
        formats_text(s, data, "url", &url) < 0)
        return -1;
    if (*at)
        formats_tag(s, t, "submitted_at", at);
    if (*identifier)
        formats_tag(s, t, "identifier", identifier);
    if (*url)
        formats_tag(s, t, "url", url);
    return 0;
}

/* Of the dictionary, which may be a whole issue, only keys that control what
 * runs and cannot mean anything else. */
static int
read_controls(struct import_text *s, const struct yaml_node *data,
              struct task *t)
{
    static const char words[] =
        " workdir cwd working_dir working_directory repo branch env "
        "environment timeout time_limit idle_timeout retries retry dod "
        "report_path after hold timeout_minutes timeout_seconds timeout_ms "
        "max_attempts max_retries depends_on schedule cron run_at user image ";
    static const char *const known[] = {NULL};

    for (const struct yaml_node *v = data->first; v; v = v->next)
        if (!strchr(v->key->text, ' ') &&
            strstr(words, mem_pool_printf(s->pool, " %.60s ", v->key->text)) &&
            formats_key(s, data, v, known, t) < 0)
            return -1;
    return 0;
}

int
formats_read_cloud_queue(struct import_text *s, const struct yaml_node *root)
{
    static const char *const known[] = {
        "task_id",   "team_id",        "status", "submitted_at",
        "task_data", "execution_mode", NULL};
    const struct yaml_node *data = formats_get(root, "task_data");
    struct task *t = formats_tasks(s, "cloud-queue", 1);

    if (!data || data->kind != YAML_MAP)
        return formats_fail(s, data ? data : root,
                            "task_data: expected an object, found %s",
                            data ? formats_kind(s, data) : "nothing");
    if (formats_need(s, root, "task_id", "the task's name", &t->name) < 0 ||
        formats_text(s, root, "team_id", &t->team) < 0 ||
        check_status(s, root) < 0 || read_tags(s, root, data, t) < 0 ||
        read_work(s, data, t) < 0 || read_controls(s, data, t) < 0 ||
        formats_keys(s, root, known, t) < 0)
        return -1;
    if (t->n_steps == 0 && read_prompt(s, data, t) < 0)
        return -1;
    return read_mode(s, root, t) < 0 ? -1 : formats_check(s, root, t);
}
