/*
 * Checks the Host header of an HTTP request: a literal address, or localhost,
 * with or without a port.
 */
#include "reaper/http/host_check.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

bool
host_check_is_ours(const char *host)
{
    char name[INET6_ADDRSTRLEN] = "";
    const char *rest;
    struct in6_addr six;
    struct in_addr four;
    bool literal = host[0] == '[';
    size_t len;

    host += literal;
    len = strcspn(host, literal ? "]" : ":");
    rest = host + len;
    if (literal && *rest++ != ']')
        return false;
    if (*rest == ':')
        rest += 1 + strspn(rest + 1, "0123456789");
    if (*rest || len >= sizeof name)
        return false;
    memcpy(name, host, len);
    if (literal)
        return inet_pton(AF_INET6, name, &six) == 1;
    return strcasecmp(name, "localhost") == 0 ||
           inet_pton(AF_INET, name, &four) == 1;
}
