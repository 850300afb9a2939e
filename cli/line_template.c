/*
 * Reads a shell command just far enough to know that a {} is outside of quotes.
 * Whatever could make that wrong (a command substitution within quotes, a
 * here-document, arithmetic, a command that reads its words again) ends the
 * part of the command in which {} is allowed; nothing is guessed.
 */
#include "cli/line_template.h"

#include <ctype.h>
#include <string.h>

struct line_template {
    const char **pieces; /* literal text; the line stands between two */
    size_t n;
};

struct template_reader {
    const char *text, *at;
    const char *refused; /* why {} may not stand here and later; NULL: it may */
    bool in_subscript;   /* name[, which may be arithmetic */
    struct str piece;
    struct line_template *t;
    struct mem_pool *pool;
    struct err *e;
};

static int
refuse(const struct template_reader *r, const char *where)
{
    return err_set(r->e, ERR_INVALID,
                   "column %zu: {} stands %s, where a shell would not read the "
                   "line as plain text; write {} outside of quotes, or "
                   "\"$" LINE_TEMPLATE_VARIABLE "\"; \\{} is a literal {}",
                   (size_t)(r->at - r->text) + 1, where);
}

static void
end_piece(struct template_reader *r)
{
    r->t->pieces[r->t->n++] = mem_pool_strdup(r->pool, str_text(&r->piece));
    str_reset(&r->piece);
}

/* Takes \{}, which means {}, anywhere. */
static bool
take_literal(struct template_reader *r)
{
    if (strncmp(r->at, "\\{}", 3) != 0)
        return false;
    str_addz(&r->piece, "{}");
    r->at += 3;
    return true;
}

static void
take(struct template_reader *r, size_t len)
{
    len = strnlen(r->at, len);
    str_add(&r->piece, r->at, len);
    r->at += len;
}

/* Whether the text is a plain ${NAME}. */
static bool
is_plain_expansion(const char *at)
{
    return at[2 + strcspn(at + 2, "}'\"`\\${ \n")] == '}';
}

/* Whether, within double quotes, the text begins something that may hold
 * quotes of its own. */
static bool
substitutes(const char *at)
{
    return *at == '`' || strncmp(at, "$(", 2) == 0 ||
           (strncmp(at, "${", 2) == 0 && !is_plain_expansion(at));
}

/* Takes text up to and with the end of a quoted string or a comment. */
static int
take_until(struct template_reader *r, char end, const char *where)
{
    take(r, 1);
    while (*r->at && *r->at != end) {
        if (take_literal(r))
            continue;
        if (strncmp(r->at, "{}", 2) == 0)
            return refuse(r, where);
        if (end == '"' && substitutes(r->at))
            r->refused = "after a substitution in quotes";
        take(r, end == '"' && *r->at == '\\' ? 2 : 1);
    }
    if (!*r->at)
        r->refused = where;
    take(r, 1);
    return 0;
}

/* Whether a # here begins a comment. */
static bool
begins_word(const struct template_reader *r)
{
    return r->at == r->text || strchr(" \t\n;&|()", r->at[-1]);
}

static bool
is_name_char(char c)
{
    return c == '_' || isalnum((unsigned char)c);
}

/* Whether a word begins here, and is this one. */
static bool
is_word(const struct template_reader *r, const char *word)
{
    size_t len = strlen(word);

    return begins_word(r) && strncmp(r->at, word, len) == 0 &&
           strchr(" \t\n", r->at[len]);
}

static int
take_unquoted(struct template_reader *r)
{
    const char *at = r->at;

    if (strncmp(at, "{}", 2) == 0) {
        if (r->refused)
            return refuse(r, r->refused);
        if (at > r->text && at[-1] == '$')
            return refuse(r, "after a $");
        if (r->in_subscript)
            return refuse(r, "in a subscript");
        end_piece(r);
        r->at += 2;
        return 0;
    }
    if (*at == '\'' || *at == '"')
        return take_until(r, *at, "inside quotes");
    if (*at == '#' && begins_word(r))
        return take_until(r, '\n', "in a comment");
    if (*at == '`')
        r->refused = "after a backtick";
    else if (strncmp(at, "$'", 2) == 0)
        r->refused = "after $'...'";
    else if (strncmp(at, "${", 2) == 0 && !is_plain_expansion(at))
        r->refused = "after ${...}";
    else if (strncmp(at, "((", 2) == 0)
        r->refused = "after ((";
    else if (strncmp(at, "$[", 2) == 0)
        r->refused = "after $[";
    else if (*at == '[' && at > r->text && is_name_char(at[-1]))
        r->in_subscript = true;
    else if (*at == ']')
        r->in_subscript = false;
    else if (is_word(r, "eval"))
        r->refused = "after eval";
    else if (is_word(r, "let"))
        r->refused = "after let";
    else if (strncmp(at, "<<<", 3) == 0)
        take(r, 2);
    else if (strncmp(at, "<<", 2) == 0)
        r->refused = "after a here-document";
    take(r, *r->at == '\\' ? 2 : 1);
    return 0;
}

/* A line is appended only where the end of the command is outside of quotes. */
static int
append_line(struct template_reader *r)
{
    size_t len = strlen(r->text);
    bool open = len && r->text[len - 1] == '\\';

    if (r->refused || open)
        return refuse(r, r->refused ? r->refused : "after a backslash");
    str_addc(&r->piece, ' ');
    end_piece(r);
    return 0;
}

int
line_template_parse(const char *command, struct mem_pool *pool,
                    struct line_template **out, struct err *e)
{
    struct line_template *t = mem_pool_alloc(pool, sizeof *t);
    struct template_reader r = {
        .text = command, .at = command, .t = t, .pool = pool, .e = e};
    bool named = strstr(command, LINE_TEMPLATE_VARIABLE);
    int rc = 0;

    t->n = 0;
    t->pieces =
        mem_pool_alloc(pool, (strlen(command) / 2 + 2) * sizeof *t->pieces);
    while (rc == 0 && *r.at)
        if (!take_literal(&r))
            rc = take_unquoted(&r);
    if (rc == 0 && t->n == 0 && !named)
        rc = append_line(&r);
    if (rc == 0)
        end_piece(&r);
    str_free(&r.piece);
    *out = t;
    return rc;
}

/* Whether the line may stand without quotes between these two pieces: as a
 * word of its own that is neither a number before < or >, nor an assignment,
 * nor a word of the shell's. */
static bool
is_bare(const char *line, const char *before, const char *after)
{
    size_t len = strlen(before);

    return strpbrk(line, "0123456789./") && !strchr(line, '=') && len &&
           before[len - 1] == ' ' && (!*after || *after == ' ');
}

static void
add_quoted(const char *line, struct str *out)
{
    str_addc(out, '\'');
    for (; *line; line++)
        if (*line == '\'')
            str_addz(out, "'\\''");
        else
            str_addc(out, *line);
    str_addc(out, '\'');
}

void
line_template_add(const struct line_template *t, const char *line,
                  struct str *out)
{
    for (size_t i = 0; i < t->n; i++) {
        if (i && is_bare(line, t->pieces[i - 1], t->pieces[i]))
            str_add_quoted(out, line);
        else if (i)
            add_quoted(line, out);
        str_addz(out, t->pieces[i]);
    }
}
