/*
 * Two lists of names. What git lists with `git rev-parse --local-env-vars`
 * names a repository; the rest of git's list names author, editor and pager.
 * Settings that hold for every repository (GIT_SSH_COMMAND, GIT_SSL_*) and keys
 * of agents (ANTHROPIC_API_KEY) are no session's.
 */
#include "lib/base/session_vars.h"

#include <stddef.h>
#include <string.h>

/* A name that ends in * stands for all that begin so. */
static const char *const of_git[] = {
    /* git rev-parse --local-env-vars */
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_CONFIG",
    "GIT_CONFIG_PARAMETERS",
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_KEY_*",
    "GIT_CONFIG_VALUE_*",
    "GIT_OBJECT_DIRECTORY",
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_GRAFT_FILE",
    "GIT_INDEX_FILE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_REPLACE_REF_BASE",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
    "GIT_COMMON_DIR",
    "GIT_INTERNAL_SUPER_PREFIX",
    /* of one command, one hook, one person's session */
    "GIT_INDEX_VERSION",
    "GIT_NAMESPACE",
    "GIT_CEILING_DIRECTORIES",
    "GIT_DISCOVERY_ACROSS_FILESYSTEM",
    "GIT_QUARANTINE_PATH",
    "GIT_PUSH_OPTION_*",
    "GIT_REFLOG_ACTION",
    "GIT_LITERAL_PATHSPECS",
    "GIT_GLOB_PATHSPECS",
    "GIT_NOGLOB_PATHSPECS",
    "GIT_ICASE_PATHSPECS",
    "GIT_AUTHOR_*",
    "GIT_COMMITTER_*",
    "GIT_EDITOR",
    "GIT_SEQUENCE_EDITOR",
    "GIT_PAGER",
    "GIT_PAGER_IN_USE",
    "GIT_ASKPASS",
    "GIT_EXTERNAL_DIFF",
    "GIT_EXEC_PATH",
    "GIT_MERGE_AUTOEDIT",
    "GIT_TRACE*",
};

static const char *const of_programs[] = {
    /* agents */
    "CLAUDECODE",
    "CLAUDE_CODE_ENTRYPOINT",
    "CLAUDE_CODE_EXECPATH",
    "CLAUDE_CODE_SESSION*",
    "CLAUDE_CODE_SSE_PORT",
    "CLAUDE_CODE_REMOTE*",
    "CLAUDE_PROJECT_DIR",
    "CLAUDE_ENV_FILE",
    "CODEX_SANDBOX*",
    "CODEX_THREAD_ID",
    "CODEX_SESSION*",
    "CODEX_INTERNAL_*",
    "CODEX_CI",
    "GEMINI_CLI",
    "CURSOR_AGENT",
    "CURSOR_TRACE_ID",
    "CURSOR_SESSION*",
    "OPENCODE",
    "OPENCODE_SESSION*",
    /* editors */
    "VSCODE_*",
    "NVIM",
    "NVIM_LISTEN_ADDRESS",
    "VIM",
    "VIMRUNTIME",
    "MYVIMRC",
    "INSIDE_EMACS",
    "EMACS",
    "ZED_TERM",
    "JEDITERM_SOURCE*",
    "INTELLIJ_ENVIRONMENT_READER",
    /* multiplexers and terminals */
    "TMUX",
    "TMUX_PANE",
    "STY",
    "WINDOW",
    "ZELLIJ",
    "ZELLIJ_*",
    "TERM_PROGRAM",
    "TERM_PROGRAM_VERSION",
    "TERM_SESSION_ID",
    "LC_TERMINAL",
    "LC_TERMINAL_VERSION",
    "ITERM_*",
    "KITTY_*",
    "WEZTERM_*",
    "ALACRITTY_*",
    "GHOSTTY_*",
    "KONSOLE_*",
    "VTE_VERSION",
    "WT_SESSION",
    "WT_PROFILE_ID",
    "WINDOWID",
    "COLUMNS",
    "LINES",
    /* the login they came with */
    "SSH_CLIENT",
    "SSH_CONNECTION",
    "SSH_TTY",
    "SSH_ORIGINAL_COMMAND",
    /* what ran the command that started the fleet */
    "DIRENV_*",
    "MAKEFLAGS",
    "MAKELEVEL",
    "MFLAGS",
    "GNUMAKEFLAGS",
    "npm_lifecycle_*",
    "npm_package_*",
    "npm_command",
    "npm_execpath",
    "PYTEST_CURRENT_TEST",
};

static bool
is_named(const char *entry, const char *const *names, size_t n)
{
    size_t len = strcspn(entry, "=");

    for (size_t i = 0; i < n; i++) {
        size_t size = strlen(names[i]);
        bool all = names[i][size - 1] == '*';

        if (all ? len >= size - 1 && strncmp(entry, names[i], size - 1) == 0
                : len == size && strncmp(entry, names[i], size) == 0)
            return true;
    }
    return false;
}

bool
session_vars_is_git(const char *entry)
{
    return is_named(entry, of_git, sizeof of_git / sizeof *of_git);
}

bool
session_vars_travels(const char *entry)
{
    static const char *const names[] = {"PATH",  "VIRTUAL_ENV", "CONDA_PREFIX",
                                        "NVM_*", "JAVA_HOME",   "LANG",
                                        "LC_*",  "TZ"};

    return is_named(entry, names, sizeof names / sizeof *names) &&
           !session_vars_has(entry);
}

bool
session_vars_has(const char *entry)
{
    return session_vars_is_git(entry) ||
           is_named(entry, of_programs,
                    sizeof of_programs / sizeof *of_programs);
}
