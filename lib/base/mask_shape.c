/*
 * What secrets look like: a table of prefixes, each with the bytes that follow
 * it, and a function per kind of secret that needs more than that.
 */
#include "lib/base/mask_private.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

enum {
    SEARCH_MAX = 4096, /* bytes of a secret that are looked at to tell */
    URL_MAX = 512,
    PORT_MAX = 5,   /* digits */
    LABEL_MAX = 48, /* "RSA PRIVATE KEY" */
    SCHEME_MAX = 16,
    HEADER_GAP_MAX = 8,
    HEADER_LEAST = 8,
    BARE_LEAST = 16, /* of a header's value without a scheme */
    JWT_LEAST = 4,   /* bytes of each part */
};

#define TOKEN(text, at, body, least)                                           \
    {                                                                          \
        text, sizeof text - 1, at, MASK_TOKEN, body, least, false, false       \
    }
#define SHAPE(text, at, kind)                                                  \
    {                                                                          \
        text, sizeof text - 1, at, kind, MASK_CLOSED, 0, false, false          \
    }

/* `at` points to a rare pair of letters of each prefix. */
const struct mask_pattern mask_shapes[] = {
    TOKEN("ghp_", 1, MASK_WORD, 8), /* GitHub */
    TOKEN("gho_", 1, MASK_WORD, 8),
    TOKEN("ghs_", 1, MASK_WORD, 8),
    TOKEN("ghu_", 1, MASK_WORD, 8),
    TOKEN("ghr_", 1, MASK_WORD, 8),
    TOKEN("github_pat_", 4, MASK_WORD, 8),
    TOKEN("glpat-", 0, MASK_DASHED, 8), /* GitLab */
    TOKEN("gldt-", 0, MASK_DASHED, 8),
    TOKEN("glrt-", 0, MASK_DASHED, 8),
    TOKEN("npm_", 0, MASK_ALNUM, 30),
    TOKEN("sk-ant-", 1, MASK_DASHED, 8), /* AI platforms */
    TOKEN("sk-proj-", 1, MASK_DASHED, 8),
    TOKEN("sk-svcacct-", 1, MASK_DASHED, 8),
    {"sk-", 3, 0, MASK_TOKEN, MASK_DASHED, 16, true, true},
    TOKEN("gsk_", 1, MASK_ALNUM, 30),
    TOKEN("xai-", 0, MASK_ALNUM, 30),
    TOKEN("pplx-", 1, MASK_ALNUM, 30),
    TOKEN("hf_", 0, MASK_ALNUM, 30),
    TOKEN("sk_live_", 1, MASK_ALNUM, 12), /* Stripe */
    TOKEN("sk_test_", 1, MASK_ALNUM, 12),
    TOKEN("rk_live_", 1, MASK_ALNUM, 12),
    TOKEN("whsec_", 0, MASK_ALNUM, 20),
    TOKEN("xoxa-", 0, MASK_DASHED, 8), /* Slack */
    TOKEN("xoxb-", 0, MASK_DASHED, 8),
    TOKEN("xoxe-", 0, MASK_DASHED, 8),
    TOKEN("xoxp-", 0, MASK_DASHED, 8),
    TOKEN("xoxr-", 0, MASK_DASHED, 8),
    TOKEN("xoxs-", 0, MASK_DASHED, 8),
    TOKEN("xapp-", 0, MASK_DASHED, 8),
    TOKEN("hooks.slack.com/services/", 4, MASK_TOKEN68, 16),
    {"AKIA", 4, 1, MASK_EXACT, MASK_UPPER, 16, false, false}, /* AWS */
    {"ASIA", 4, 1, MASK_EXACT, MASK_UPPER, 16, false, false},
    TOKEN("AIza", 0, MASK_DASHED, 30), /* Google */
    TOKEN("GOCSPX-", 0, MASK_DASHED, 20),
    TOKEN("ya29.", 0, MASK_DOTTED, 20),
    TOKEN("AccountKey=", 6, MASK_TOKEN68, 40), /* Azure */
    TOKEN("dckr_pat_", 0, MASK_DASHED, 16),
    TOKEN("dop_v1_", 3, MASK_ALNUM, 30),
    TOKEN("pypi-AgEI", 4, MASK_DASHED, 20),
    TOKEN("shpat_", 0, MASK_ALNUM, 30),
    TOKEN("tskey-", 3, MASK_DASHED, 16),
    TOKEN("lin_api_", 2, MASK_ALNUM, 30),
    TOKEN("ATATT3", 0, MASK_DASHED, 30),
    {"SG.", 3, 0, MASK_TOKEN, MASK_DOTTED, 40, true, true},
    TOKEN("AGE-SECRET-KEY-1", 2, MASK_UPPER, 40),
    SHAPE("eyJ", 0, MASK_JWT),
    SHAPE("-----BEGIN ", 4, MASK_PEM),
    SHAPE("://", 0, MASK_URL),
    SHAPE("uthorization", 5, MASK_HEADER),
};

const size_t mask_n_shapes = sizeof mask_shapes / sizeof *mask_shapes;

/* --- bodies --------------------------------------------------------------- */

static bool
is_alnum(uint8_t c)
{
    return c < 128 && isalnum(c);
}

static bool
is_body(unsigned body, uint8_t c)
{
    switch ((enum mask_body)body) {
    case MASK_CLOSED:
        return false;
    case MASK_ALNUM:
        return is_alnum(c);
    case MASK_WORD:
        return is_alnum(c) || c == '_';
    case MASK_DASHED:
        return is_alnum(c) || c == '_' || c == '-';
    case MASK_DOTTED:
        return is_alnum(c) || c == '_' || c == '-' || c == '.';
    case MASK_UPPER:
        return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    case MASK_TOKEN68:
    case MASK_KEY:
        return is_alnum(c) || (c && strchr("-._~+/=:", c));
    }
    return false;
}

/* Bytes of the body from `from` on. */
static size_t
span(unsigned body, const struct mask_place *at, size_t from)
{
    size_t n = from;

    while (n < at->len && is_body(body, at->text[n]))
        n++;
    return n - from;
}

/*
 * A private key goes on over lines of base 64, indented or with \n for a
 * newline, and headers, up to its -----END ...-----. Beside MASK_KEY, open has
 * the dashes seen in a row and whether END was begun and blanks may follow.
 */
enum {
    KEY_KIND = 0xff,
    KEY_DASH = 0x100,
    KEY_DASHES = 0x700,
    KEY_ENDING = 0x1000,
    KEY_BLANK = 0x2000,
};

static size_t
key_rest(unsigned *open, const uint8_t *text, size_t len)
{
    unsigned state = *open;

    for (size_t i = 0; i < len; i++) {
        uint8_t c = text[i];
        unsigned dashes = (state & KEY_DASHES) / KEY_DASH;

        if (state & KEY_ENDING && dashes == 5 && c != '-') {
            *open = MASK_CLOSED;
            return i;
        }
        if (c == '-') {
            state &= ~(unsigned)(KEY_DASHES | KEY_BLANK);
            state |= (dashes < 5 ? dashes + 1 : 5) * KEY_DASH;
            continue;
        }
        if (dashes == 5 && c == 'E')
            state |= KEY_ENDING;
        state &= ~(unsigned)KEY_DASHES;
        if (c == '\n' || c == ':' || (c == ',' && !(state & KEY_ENDING)))
            state |= KEY_BLANK;
        else if (!((c == ' ' || c == '\t') &&
                   state & (KEY_BLANK | KEY_ENDING))) {
            if (!is_alnum(c) && (!c || !strchr("+/=\r\\", c))) {
                *open = MASK_CLOSED;
                return i;
            }
            state &= ~(unsigned)KEY_BLANK;
        }
    }
    *open = state;
    return len;
}

size_t
mask_shape_rest(unsigned *open, const uint8_t *text, size_t len)
{
    const struct mask_place at = {.text = text, .len = len};
    size_t n;

    if ((*open & KEY_KIND) == MASK_KEY)
        return key_rest(open, text, len);
    n = span(*open, &at, 0);
    if (n < len)
        *open = MASK_CLOSED;
    return n;
}

/* --- kinds ---------------------------------------------------------------- */

/* The text ends before it is clear. */
static enum mask_verdict
ends_early(const struct mask_place *at)
{
    return at->whole || at->len - at->start > SEARCH_MAX ? MASK_NO
                                                         : MASK_PARTIAL;
}

static enum mask_verdict
hide(const struct mask_place *at, size_t from, size_t n, unsigned body,
     struct mask_hit *out)
{
    *out = (struct mask_hit){
        from, n, from + n == at->len && !at->whole ? body : MASK_CLOSED};
    return MASK_YES;
}

/* Whether no word is just before the place: an escape sequence that ends in m,
 * or \n as JSON writes it, is none. */
static bool
stands_apart(const struct mask_place *at)
{
    unsigned char b = at->start >= 1 ? at->text[at->start - 1] : at->last[1];
    unsigned char a = at->start >= 2   ? at->text[at->start - 2]
                      : at->start == 1 ? at->last[1]
                                       : at->last[0];

    if (!is_body(MASK_WORD, b))
        return true;
    return (b == 'm' && (isdigit(a) || a == '[' || a == ';')) ||
           ((b == 'n' || b == 't') && a == '\\');
}

static enum mask_verdict
match_token(const struct mask_pattern *p, const struct mask_place *at,
            struct mask_hit *out)
{
    size_t body = at->start + p->len, n = span(p->body, at, body);
    bool digit = !p->digit;

    if (p->apart && !stands_apart(at))
        return MASK_NO;
    for (size_t i = 0; i < n && !digit; i++)
        digit = isdigit(at->text[body + i]);
    if (n >= p->least && digit)
        return hide(at, at->start, p->len + n, p->body, out);
    return body + n < at->len ? MASK_NO : ends_early(at);
}

static enum mask_verdict
match_exact(const struct mask_pattern *p, const struct mask_place *at,
            struct mask_hit *out)
{
    size_t body = at->start + p->len, n = span(p->body, at, body);

    if (n > p->least)
        return MASK_NO;
    if (body + n == at->len && !at->whole)
        return MASK_PARTIAL;
    if (n < p->least ||
        (body + n < at->len && is_body(MASK_WORD, at->text[body + n])))
        return MASK_NO;
    return hide(at, at->start, p->len + n, MASK_CLOSED, out);
}

static enum mask_verdict
match_jwt(const struct mask_place *at, struct mask_hit *out)
{
    size_t end = at->start;

    for (int part = 1; part <= 3; part++) {
        size_t n = span(MASK_DASHED, at, end);

        end += n;
        if (part == 3 && n >= JWT_LEAST)
            return hide(at, at->start, end - at->start, MASK_DASHED, out);
        if (end == at->len)
            return ends_early(at);
        if (n < JWT_LEAST || part == 3 || at->text[end++] != '.')
            return MASK_NO;
    }
    return MASK_NO;
}

static enum mask_verdict
match_pem(const struct mask_pattern *p, const struct mask_place *at,
          struct mask_hit *out)
{
    static const char what[] = "PRIVATE KEY";
    size_t label = at->start + p->len, end = label, n;
    unsigned open = MASK_KEY;

    while (end < at->len && end - label < LABEL_MAX &&
           (is_body(MASK_UPPER, at->text[end]) || at->text[end] == ' '))
        end++;
    if (end + 5 > at->len)
        return end - label < LABEL_MAX ? ends_early(at) : MASK_NO;
    if (memcmp(at->text + end, "-----", 5) != 0 ||
        !memmem(at->text + label, end - label, what, sizeof what - 1))
        return MASK_NO;
    n = end + 5 + mask_shape_rest(&open, at->text + end + 5, at->len - end - 5);
    *out = (struct mask_hit){at->start, n - at->start,
                             at->whole ? MASK_CLOSED : open};
    return MASK_YES;
}

/* The text of a variable or of a placeholder is no secret. */
static bool
is_placeholder(const uint8_t *text, size_t len)
{
    return len == 0 || strchr("$<{*", text[0]) ||
           (text[0] == '%' && (len < 3 || !isxdigit(text[1]))) ||
           (len >= 3 && memcmp(text, "...", 3) == 0);
}

static enum mask_verdict
match_url(const struct mask_pattern *p, const struct mask_place *at,
          struct mask_hit *out)
{
    size_t user = at->start + p->len, end = user, password = 0, host = 0;

    for (; end < at->len; end++) {
        uint8_t c = at->text[end];

        if (c <= ' ' || strchr("/\"'`<>\\", c) || end - user > URL_MAX)
            break;
        if (c == ':' && !password)
            password = end + 1;
        if (c == '@' && !password)
            return MASK_NO;
        if (c == '@')
            host = end; /* the last one: a password may have some */
    }
    if (end == at->len && !at->whole) {
        /* Without a password so far, or with what is rather a port. */
        bool port = password && end - password <= PORT_MAX;

        for (size_t i = password; i < end && port; i++)
            port = isdigit(at->text[i]);
        out->at = !password || port ? end : password;
        return MASK_PARTIAL;
    }
    if (!host || is_placeholder(at->text + password, host - password))
        return MASK_NO;
    return hide(at, password, host - password, MASK_CLOSED, out);
}

static enum mask_verdict
match_header(const struct mask_pattern *p, const struct mask_place *at,
             struct mask_hit *out)
{
    size_t end = at->start + p->len, word, n;
    bool assigned = false, digit = false;

    for (word = end;
         end < at->len && at->text[end] && strchr(" \t:='\"\\", at->text[end]);
         end++)
        assigned = assigned || at->text[end] == ':' || at->text[end] == '=';
    if (end - word > HEADER_GAP_MAX || (end < at->len && !assigned))
        return MASK_NO;
    word = out->at = end;
    n = span(MASK_TOKEN68, at, word);
    if (word + n == at->len && !at->whole)
        return ends_early(at);
    if (n > 0 && n <= SCHEME_MAX && word + n < at->len &&
        at->text[word + n] == ' ') {
        /* After the scheme: Bearer, Basic, token ... */
        word = out->at = word + n + 1;
        n = span(MASK_TOKEN68, at, word);
        if (n >= HEADER_LEAST)
            return hide(at, word, n, MASK_TOKEN68, out);
        return word + n < at->len ? MASK_NO : ends_early(at);
    }
    for (size_t i = 0; i < n && !digit; i++)
        digit = isdigit(at->text[word + i]);
    if (n < BARE_LEAST || !digit)
        return MASK_NO;
    return hide(at, word, n, MASK_TOKEN68, out);
}

enum mask_verdict
mask_shape_match(const struct mask_pattern *p, const struct mask_place *at,
                 struct mask_hit *out)
{
    const char *text = (const char *)at->text + at->start;
    size_t left = at->len - at->start, n = left < p->len ? left : p->len;

    if (p->kind == MASK_HEADER ? strncasecmp(text, p->text, n) != 0
                               : memcmp(text, p->text, n) != 0)
        return MASK_NO;
    *out = (struct mask_hit){.at = at->start};
    if (p->kind == MASK_URL || p->kind == MASK_HEADER)
        out->at = at->start + n; /* what introduces it is no secret */
    if (n < p->len)
        return at->whole || (p->apart && !stands_apart(at)) ? MASK_NO
                                                            : MASK_PARTIAL;
    switch (p->kind) {
    case MASK_VALUE:
        return hide(at, at->start, p->len, MASK_CLOSED, out);
    case MASK_TOKEN:
        return match_token(p, at, out);
    case MASK_EXACT:
        return match_exact(p, at, out);
    case MASK_JWT:
        return match_jwt(at, out);
    case MASK_PEM:
        return match_pem(p, at, out);
    case MASK_URL:
        return match_url(p, at, out);
    case MASK_HEADER:
        return match_header(p, at, out);
    }
    return MASK_NO;
}
