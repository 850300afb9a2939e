/*
 * Sets the servers, credentials and certificates of a connection in the options
 * of the NATS library, and keeps the addresses without credentials for
 * messages.
 */
#include "lib/bus/endpoint.h"

#include "lib/bus/libnats.h"
#include "lib/bus/nkey.h"

#include "lib/base/mem.h"
#include "lib/os/secret.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { SERVERS_MAX = 16 };

static natsStatus
sign(char **custom, unsigned char **signature, int *len, const char *nonce,
     void *closure)
{
    (void)custom;
    return nats_Sign(closure, nonce, signature, len);
}

static int
set_nkey(natsOptions *opts, struct endpoint *out, const char *path,
         struct err *e)
{
    char key[NKEY_PUBLIC_SIZE];

    out->seed = secret_read(path, "S", "NKey seed", e);
    if (!out->seed)
        return -1;
    if (nkey_public(out->seed, key, e) < 0)
        return err_wrap(e, "NKey file %s", path);
    out->public_key = mem_strdup(key);
    if (natsOptions_SetNKey(opts, out->public_key, sign, out->seed) != NATS_OK)
        return err_set(e, ERR_INVALID, "NKey file %s: not understood", path);
    return 0;
}

static bool
given(const char *text)
{
    return text && *text;
}

static int
set_credentials(natsOptions *opts, struct endpoint *out,
                const struct bus_conf *conf, struct err *e)
{
    natsStatus s;

    if (given(conf->token_file)) {
        char *token = secret_read(conf->token_file, NULL, "token", e);

        if (!token)
            return -1;
        s = natsOptions_SetToken(opts, token);
        secret_free(token);
        if (s != NATS_OK)
            return err_set(e, ERR_INVALID, "token file %s: not understood",
                           conf->token_file);
    }
    if (given(conf->creds_file)) {
        FILE *f;

        if (secret_check(conf->creds_file, "credentials", e) < 0)
            return -1;
        f = fopen(conf->creds_file, "re");
        if (!f)
            return err_set(e, ERR_INVALID, "open credentials file %s: %s",
                           conf->creds_file, strerror(errno));
        (void)fclose(f);
        if (natsOptions_SetUserCredentialsFromFiles(opts, conf->creds_file,
                                                    NULL) != NATS_OK)
            return err_set(e, ERR_INVALID, "credentials file %s: %s",
                           conf->creds_file, libnats_last_error());
    }
    return given(conf->nkey_file) ? set_nkey(opts, out, conf->nkey_file, e) : 0;
}

static int
set_tls(natsOptions *opts, const struct bus_conf *conf, struct err *e)
{
    bool secure = given(conf->ca_file) || given(conf->cert_file);
    natsStatus s = NATS_OK;

    if (given(conf->cert_file) != given(conf->key_file))
        return err_set(e, ERR_INVALID,
                       "cert_file and key_file belong together");
    if (given(conf->key_file) &&
        secret_check(conf->key_file, "private key", e) < 0)
        return -1;
    if (secure)
        s = natsOptions_SetSecure(opts, true);
    if (s == NATS_OK && given(conf->ca_file))
        s = natsOptions_LoadCATrustedCertificates(opts, conf->ca_file);
    if (s != NATS_OK)
        return err_set(e, ERR_INVALID, "certificates in %s: %s", conf->ca_file,
                       libnats_last_error());
    if (given(conf->cert_file))
        s = natsOptions_LoadCertificatesChain(opts, conf->cert_file,
                                              conf->key_file);
    if (s != NATS_OK)
        return err_set(e, ERR_INVALID, "certificate %s with key %s: %s",
                       conf->cert_file, conf->key_file, libnats_last_error());
    return 0;
}

/* Copies one address without its "user:password@". */
static void
add_address(struct str *shown, const char *address)
{
    const char *at = strrchr(address, '@'), *scheme = strstr(address, "://");

    if (shown->len)
        str_addc(shown, ',');
    if (at && scheme)
        str_add(shown, address, (size_t)(scheme + 3 - address));
    str_addz(shown, at ? at + 1 : address);
}

static int
set_servers(natsOptions *opts, struct endpoint *out, const char *url,
            struct err *e)
{
    const char *servers[SERVERS_MAX];
    char *copy = mem_strdup(url ? url : ""), *rest = copy, *one;
    struct str shown = {0};
    int n = 0, rc = 0;

    while (n < SERVERS_MAX && (one = strsep(&rest, ", "))) {
        if (!*one)
            continue;
        servers[n++] = one;
        add_address(&shown, one);
    }
    out->url = mem_strdup(str_text(&shown));
    str_free(&shown);
    if (n == 0)
        rc = err_set(e, ERR_INVALID, "bus.url is empty");
    else if (natsOptions_SetServers(opts, servers, n) != NATS_OK)
        rc = err_set(e, ERR_INVALID, "bus.url %s: not an address", out->url);
    mem_free(copy);
    return rc;
}

int
endpoint_options(natsOptions *opts, const struct bus_conf *conf,
                 struct endpoint *out, struct err *e)
{
    if (set_servers(opts, out, conf->url, e) < 0 ||
        set_credentials(opts, out, conf, e) < 0)
        return -1;
    out->without_cert = !given(conf->cert_file) &&
                        (given(conf->ca_file) || strstr(conf->url, "tls://"));
    return set_tls(opts, conf, e);
}

int
endpoint_reload(natsOptions *opts, const struct bus_conf *conf,
                struct endpoint *out, struct err *e)
{
    struct endpoint fresh = {0};

    if (set_credentials(opts, &fresh, conf, e) < 0) {
        /* The library may point at what is freed now. */
        if (out->seed)
            (void)natsOptions_SetNKey(opts, out->public_key, sign, out->seed);
        endpoint_free(&fresh);
        return -1;
    }
    secret_free(out->seed);
    secret_free(out->public_key);
    out->seed = fresh.seed;
    out->public_key = fresh.public_key;
    return 0;
}

void
endpoint_free(struct endpoint *r)
{
    mem_free(r->url);
    secret_free(r->seed);
    secret_free(r->public_key);
}
