/*
 * The commands help, version and completion: help and the completion scripts
 * for bash, zsh and fish are printed from the tables of commands and flags.
 */
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/task_args.h"
#include "lib/base/version.h"

#include <stdio.h>
#include <string.h>

void
help_command(const struct command *cmd)
{
    struct str s = {0}, synonyms = {0};

    str_addf(&s, "shunt %s - %s\n\nusage: shunt %s%s%s\n", cmd->name,
             cmd->about, cmd->name, *cmd->synopsis ? " " : "", cmd->synopsis);
    cli_add_synonyms(cmd, &synonyms);
    if (synonyms.len)
        str_addf(&s, "also:  %s\n", str_text(&synonyms));
    if (cmd->more)
        str_addf(&s, "\n%s\n", cmd->more);
    if (cmd->opts) {
        str_addz(&s, "\nflags:\n");
        args_help(cmd->opts, &s);
    }
    if (cmd->task_flags) {
        str_addz(&s, "\ntask flags:\n");
        args_help(task_opts, &s);
    }
    str_addz(&s, "\nglobal flags:\n");
    args_help(cli_global_opts, &s);
    if (cmd->examples)
        str_addf(&s, "\nexamples:\n%s\n", cmd->examples);
    (void)fputs(str_text(&s), stdout);
    str_free(&synonyms);
    str_free(&s);
}

void
help_overview(void)
{
    (void)puts("shunt - a task router: submit work, it decides where to run it "
               "and reports the result\n\nusage: shunt COMMAND [FLAGS] [-- "
               "COMMAND...]\n");
    for (const struct command *cmd = cli_commands; cmd->name; cmd++)
        (void)printf("  %-12s%s\n", cmd->name, cmd->about);
    (void)puts("\nshunt COMMAND --help shows flags and examples. To begin:"
               "\n\n  shunt up -d\n  shunt run -- 'echo hello'\n"
               "  shunt status");
}

int
cmd_help(struct cli *c, const struct args *a)
{
    const struct command *cmd;

    if (!a->n_words) {
        help_overview();
        return RC_OK;
    }
    cmd = cli_command(a->words[0]);
    if (!cmd)
        return cli_usage(c, "unknown command %s", a->words[0]);
    help_command(cmd);
    return RC_OK;
}

int
cmd_version(struct cli *c, const struct args *a)
{
    (void)a;
    if (c->json)
        out_object("version", json_pack("{s:s}", "version", shunt_version));
    else
        (void)printf("shunt %s\n", shunt_version);
    return RC_OK;
}

/* --- completion ---------------------------------------------------------- */

static void
add_flags(const struct arg_opt *o, struct str *out)
{
    for (; o && o->name; o++)
        str_addf(out, " --%s", o->name);
}

static void
flags_of(const struct command *cmd, struct str *out)
{
    str_reset(out);
    add_flags(cmd->opts, out);
    if (cmd->task_flags)
        add_flags(task_opts, out);
    add_flags(cli_global_opts, out);
}

/* The values of flags with a fixed set, as arms of a case. */
static void
bash_values(const struct arg_opt *o)
{
    for (; o && o->name; o++)
        if (o->words)
            (void)printf("    --%s) COMPREPLY=($(compgen -W '%s' -- \"$cur\"));"
                         " return ;;\n",
                         o->name, o->words);
}

static void
bash_names(void)
{
    for (const struct command *cmd = cli_commands; cmd->name; cmd++)
        (void)printf("%s%s", cmd == cli_commands ? "" : " ", cmd->name);
}

static void
bash(void)
{
    struct str flags = {0};

    (void)puts(
        "# shunt: completion for bash\n_shunt()\n{\n"
        "  local cur=${COMP_WORDS[COMP_CWORD]} "
        "prev=${COMP_WORDS[COMP_CWORD-1]} i cmd=\n"
        "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
        "    case ${COMP_WORDS[i]} in\n"
        "    --) COMPREPLY=($(compgen -c -f -- \"$cur\")); return ;;\n"
        "    --nats|--config) ((i++)) ;;\n"
        "    -*) ;;\n"
        "    *) [ -n \"$cmd\" ] || cmd=${COMP_WORDS[i]} ;;\n"
        "    esac\n  done\n  case $prev in\n"
        "    --workdir) COMPREPLY=($(compgen -d -- \"$cur\")); return "
        ";;\n"
        "    --config) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;");
    bash_values(task_opts);
    bash_values(ls_opts);
    (void)puts("  esac\n  case $cmd in");
    (void)printf("  '') COMPREPLY=($(compgen -W '");
    bash_names();
    (void)puts("' -- \"$cur\")) ;;");
    for (const struct command *cmd = cli_commands; cmd->name; cmd++) {
        flags_of(cmd, &flags);
        (void)printf("  %s)\n    if [[ $cur == -* ]]; then\n      "
                     "COMPREPLY=($(compgen -W '%s' -- \"$cur\"))\n",
                     cmd->name, str_text(&flags) + 1);
        if (!strcmp(cmd->name, "help")) {
            (void)printf("    else\n      COMPREPLY=($(compgen -W '");
            bash_names();
            (void)printf("' -- \"$cur\"))\n");
        } else if (cmd->words) {
            (void)printf("    else\n      COMPREPLY=($(compgen -W '%s' -- "
                         "\"$cur\"))\n",
                         cmd->words);
        } else if (!strcmp(cmd->name, "submit") || !strcmp(cmd->name, "lint")) {
            (void)puts("    else\n      COMPREPLY=($(compgen -f -- "
                       "\"$cur\"))");
        }
        (void)puts("    fi ;;");
    }
    (void)puts("  esac\n}\ncomplete -o filenames -F _shunt shunt");
    str_free(&flags);
}

/* The help of a flag with the characters in refuse, which the shell would
 * interpret, replaced by blanks. */
static void
add_help(const char *help, const char *refuse, struct str *out)
{
    str_reset(out);
    for (; *help; help++)
        str_addc(out, strchr(refuse, *help) ? ' ' : *help);
}

static void
zsh_flags(const struct arg_opt *o, struct str *text)
{
    for (; o && o->name; o++) {
        add_help(o->help, "'[]:", text);
        (void)printf(" \\\n      '--%s[%s]", o->name, str_text(text));
        if (o->arg && o->words)
            (void)printf(":value:(%s)'", o->words);
        else if (o->arg)
            (void)printf(":value:%s'",
                         !strcmp(o->name, "workdir") ? "_files -/" : "_files");
        else
            (void)printf("'");
    }
}

static void
zsh(void)
{
    struct str text = {0};

    (void)puts("#compdef shunt\n_shunt() {\n  local -a commands\n"
               "  commands=(");
    for (const struct command *cmd = cli_commands; cmd->name; cmd++) {
        add_help(cmd->about, "':", &text);
        (void)printf("    '%s:%s'\n", cmd->name, str_text(&text));
    }
    (void)puts("  )\n  if (( CURRENT == 2 )); then\n"
               "    _describe command commands\n    return\n  fi\n"
               "  case $words[2] in");
    for (const struct command *cmd = cli_commands; cmd->name; cmd++) {
        (void)printf("  %s)\n    _arguments", cmd->name);
        zsh_flags(cmd->opts, &text);
        if (cmd->task_flags)
            zsh_flags(task_opts, &text);
        zsh_flags(cli_global_opts, &text);
        if (cmd->words)
            (void)printf(" \\\n      '*:word:(%s)'", cmd->words);
        else
            (void)printf(" \\\n      '*:file:_files'");
        (void)puts(" ;;");
    }
    (void)puts("  esac\n}\ncompdef _shunt shunt");
    str_free(&text);
}

static void
fish_flags(const struct arg_opt *o, const char *cmd, struct str *text)
{
    for (; o && o->name; o++) {
        add_help(o->help, "'\\", text);
        (void)printf("complete -c shunt%s%s%s -l %s -d '%s'",
                     cmd ? " -n '__fish_seen_subcommand_from " : "",
                     cmd ? cmd : "", cmd ? "'" : "", o->name, str_text(text));
        if (o->letter)
            (void)printf(" -s %c", o->letter);
        if (o->arg)
            (void)printf(" -r");
        if (o->words)
            (void)printf(" -f -a '%s'", o->words);
        (void)puts("");
    }
}

static void
fish(void)
{
    struct str text = {0};

    (void)puts("# shunt: completion for fish");
    for (const struct command *cmd = cli_commands; cmd->name; cmd++) {
        add_help(cmd->about, "'\\", &text);
        (void)printf("complete -c shunt -f -n __fish_use_subcommand -a %s "
                     "-d '%s'\n",
                     cmd->name, str_text(&text));
        if (cmd->words)
            (void)printf("complete -c shunt -f -n "
                         "'__fish_seen_subcommand_from %s' -a '%s'\n",
                         cmd->name, cmd->words);
        fish_flags(cmd->opts, cmd->name, &text);
        if (cmd->task_flags)
            fish_flags(task_opts, cmd->name, &text);
    }
    fish_flags(cli_global_opts, NULL, &text);
    str_free(&text);
}

int
cmd_completion(struct cli *c, const struct args *a)
{
    static const char *const shells[] = {"bash", "zsh", "fish", NULL};
    static void (*const print[])(void) = {bash, zsh, fish};

    if (a->n_words != 1)
        return cli_usage(c, "a shell is required: bash, zsh or fish");
    for (size_t i = 0; shells[i]; i++)
        if (!strcmp(a->words[0], shells[i])) {
            print[i]();
            return RC_OK;
        }
    return cli_usage_unknown(c, "shell", a->words[0], shells);
}
