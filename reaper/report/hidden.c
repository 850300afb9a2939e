/*
 * Hides the secrets of a submission before it is shown: values of variables
 * that hold one, wherever they stand, what a command assigns to a telling name,
 * and what has a secret's shape.
 */
#include "reaper/report/report_private.h"

#include "lib/base/mask.h"

#include <string.h>

struct hiding {
    struct mask *mask;
    struct mem_pool *pool;
    struct str text; /* scratch */
};

static void
hide(struct hiding *h, const char **text, bool command)
{
    if (!**text)
        return;
    str_reset(&h->text);
    if (command)
        mask_command(h->mask, *text, &h->text);
    else
        mask_text(h->mask, *text, strlen(*text), &h->text);
    if (strcmp(str_text(&h->text), *text) != 0)
        *text = mem_pool_strdup(h->pool, str_text(&h->text));
}

static void
hide_words(struct hiding *h, const char **words, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && words[i - 1][0] == '-' &&
            mask_is_secret(words[i - 1], words[i]))
            words[i] = MASK_TEXT;
        else
            hide(h, &words[i], true);
    }
}

static void
hide_pairs(struct hiding *h, struct key_value *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (mask_is_secret(list[i].key, list[i].value))
            list[i].value = MASK_TEXT;
        else
            hide(h, &list[i].value, false);
    }
}

void
report_hide_secrets(struct task *t, struct mem_pool *pool)
{
    struct hiding h = {.mask = mask_new(), .pool = pool};

    for (size_t i = 0; i < t->n_env; i++)
        (void)mask_add_variable(h.mask, t->env[i].key, t->env[i].value);
    hide_pairs(&h, t->env, t->n_env);
    hide_pairs(&h, t->submit_env, t->n_submit_env);
    if (t->input)
        t->input->data = (struct bytes){0}; /* its size tells enough */
    hide_pairs(&h, t->tags, t->n_tags);
    for (size_t i = 0; i < t->n_steps; i++) {
        struct step *s = &t->steps[i];

        hide(&h, &s->name, false);
        hide(&h, &s->script, true);
        hide_words(&h, s->argv, s->n_argv);
    }
    hide(&h, &t->name, false);
    hide(&h, &t->command, true);
    hide(&h, &t->prompt, true);
    hide(&h, &t->context_header, false);
    hide(&h, &t->notes, false);
    hide(&h, &t->repo, false);
    hide(&h, &t->origin, false);
    for (size_t i = 0; i < t->n_outputs; i++)
        hide(&h, &t->outputs[i].body, false);
    str_free(&h.text);
    mask_free(h.mask);
}
