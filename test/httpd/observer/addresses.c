/*
 * Preloaded: the host of the environment's ACME_ALPN_HOST has the addresses of its
 * ACME_ALPN_ADDRESSES, in that order; all others have what they have.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* RTLD_NEXT */
#endif
#include <dlfcn.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

typedef int getaddrinfo_t(const char *node, const char *service, const struct addrinfo *hints,
                          struct addrinfo **found);

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **found)
{
    const char *host = getenv("ACME_ALPN_HOST"), *addresses = getenv("ACME_ALPN_ADDRESSES");
    char text[256] = "", *rest = text, *address;
    getaddrinfo_t *next;
    int error = 0;

    *(void **)&next = dlsym(RTLD_NEXT, "getaddrinfo");
    if (!node || !host || !addresses || strcmp(node, host) != 0) {
        return next(node, service, hints, found);
    }
    strncpy(text, addresses, sizeof(text) - 1);
    while (error == 0 && (address = strsep(&rest, ",")) != NULL) {
        error = next(address, service, hints, found);
        while (error == 0 && *found) {
            found = &(*found)->ai_next;
        }
    }
    return error;
}
