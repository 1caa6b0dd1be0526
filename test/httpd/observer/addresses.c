/*
 * Preloaded: the host of the environment's ACME_ALPN_HOST has the addresses that stand in the
 * file of its ACME_ALPN_ADDRESSES at that time, in that order; all others have what they have.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* RTLD_NEXT */
#endif
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
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
    int error = EAI_NONAME;
    FILE *file;

    *(void **)&next = dlsym(RTLD_NEXT, "getaddrinfo");
    if (!node || !host || !addresses || strcmp(node, host) != 0) {
        return next(node, service, hints, found);
    }
    if (hints->ai_flags & AI_NUMERICHOST) {
        return EAI_NONAME;
    }
    file = fopen(addresses, "r");
    if (file) {
        fgets(text, sizeof(text), file);
        fclose(file);
    }
    while (*text && (address = strsep(&rest, ",")) != NULL) {
        error = next(address, service, hints, found);
        while (error == 0 && *found) {
            found = &(*found)->ai_next;
        }
    }
    return error;
}
