/*
 * Reads the keys for which a fleet of one machine has defaults of its own, and
 * sets those that the configuration leaves out. All other keys the reaper reads
 * itself.
 */
#include "fleet/reaper_env.h"

#include "fleet/embedded_broker.h"
#include "lib/base/conf.h"
#include "lib/base/log.h"

#include <string.h>
#include <sys/un.h>

struct reaper_section {
    char *http, *http_socket, *http_token_file, *database;
    bool report_in_workdir;
};

static const struct conf_opt opts[] = {
    CONF_STR(struct reaper_section, http, "reaper.http", "", ""),
    CONF_STR(struct reaper_section, http_socket, "reaper.http_socket", "", ""),
    CONF_STR(struct reaper_section, http_token_file, "reaper.http_token_file",
             "", ""),
    CONF_STR(struct reaper_section, database, "reaper.database", "", ""),
    CONF_BOOL(struct reaper_section, report_in_workdir,
              "reaper.report_in_workdir", "true", ""),
    CONF_END};

static int
set_port(struct daemon_env *env, const struct fleet_dir *dir, struct loop *l,
         const struct reaper_section *conf, struct reaper_http *out,
         struct err *e)
{
    struct fleet_dir_path path;
    char token[64];

    if (*conf->http)
        (void)str_copy(out->address, sizeof out->address, conf->http);
    else if (embedded_broker_http(dir, out->address, sizeof out->address, l,
                                  e) < 0)
        return -1;
    if (*conf->http_token_file) {
        (void)str_copy(out->token_file, sizeof out->token_file,
                       conf->http_token_file);
    } else {
        if (fleet_dir_token(dir, "http-token", token, e) < 0)
            return -1;
        (void)str_copy(out->token_file, sizeof out->token_file,
                       fleet_dir_path(dir, "http-token", &path));
    }
    daemon_env_set(env, "SHUNT_REAPER_HTTP", out->address);
    daemon_env_set(env, "SHUNT_REAPER_HTTP_TOKEN_FILE", out->token_file);
    return 0;
}

static void
set_socket(struct daemon_env *env, const struct fleet_dir *dir,
           const struct reaper_section *conf, struct reaper_http *out)
{
    struct fleet_dir_path path;

    (void)str_copy(out->socket, sizeof out->socket,
                   *conf->http_socket
                       ? conf->http_socket
                       : fleet_dir_path(dir, "http.sock", &path));
    if (strlen(out->socket) >= sizeof((struct sockaddr_un *)0)->sun_path) {
        log_warn("http.socket",
                 "path=%s text=\"the path is too long for a "
                 "socket: there is none\"",
                 LOG_TEXT(out->socket));
        *out->socket = '\0';
        return;
    }
    daemon_env_set(env, "SHUNT_REAPER_HTTP_SOCKET", out->socket);
}

int
reaper_env_set(struct daemon_env *env, const struct fleet_dir *dir,
               struct loop *l, struct reaper_http *out, struct err *e)
{
    struct reaper_section conf = {0};
    struct fleet_dir_path path;
    int rc = conf_load(&conf, opts, "", 0, NULL, e);

    *out = (struct reaper_http){.address = ""};
    if (rc == 0) {
        daemon_env_set(env, "SHUNT_REAPER_DATABASE",
                       *conf.database
                           ? conf.database
                           : fleet_dir_path(dir, "ledger.db", &path));
        daemon_env_set(env, "SHUNT_REAPER_REPORT_IN_WORKDIR",
                       conf.report_in_workdir ? "true" : "false");
        if (strcmp(conf.http, "off") != 0) {
            set_socket(env, dir, &conf, out);
            rc = set_port(env, dir, l, &conf, out, e);
        }
    }
    conf_free(&conf, opts);
    return rc;
}
