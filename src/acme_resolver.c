#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* dladdr */
#endif
#include "acme_resolver.h"

#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* A host that was not found is looked for again at the next question after this. */
#define UNKNOWN_FRESH apr_time_from_sec(1)

/* From then on addresses are likely enough to be wrong that it is worth a wait for new ones. */
#define OLD (2 * ACME_RESOLVER_FRESH)

struct acme_resolver_t {
    acme_resolver_t *next;
    pthread_mutex_t mutex;
    pthread_cond_t answered;
    int running;      /* a thread is asking */
    apr_time_t since; /* of the last answer; 0: there is none yet */
    acme_addresses_t known;
    char host[]; /* NUL-terminated */
};

/* All there are, so that none looks lost. */
static acme_resolver_t *resolvers;

acme_resolver_t *acme_resolver_create(const char *host)
{
    acme_resolver_t *made = calloc(1, sizeof(*made) + strlen(host) + 1);

    if (made) {
        strcpy(made->host, host);
        pthread_mutex_init(&made->mutex, NULL);
        pthread_cond_init(&made->answered, NULL);
        made->next = resolvers;
        resolvers = made;
    }
    return made;
}

static void collect(acme_addresses_t *found, const struct addrinfo *list)
{
    for (; list && found->count < ACME_RESOLVER_ADDRESSES; list = list->ai_next) {
        if (getnameinfo(list->ai_addr, list->ai_addrlen, found->address[found->count],
                        ACME_RESOLVER_TEXT, NULL, 0, NI_NUMERICHOST) == 0) {
            found->count++;
        }
    }
}

/* Where the addresses are not found any more, those that were still count: a name server that
 * fails is the likelier reason. */
static void *resolve(void *data)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    acme_resolver_t *resolver = data;
    acme_addresses_t found = {0};
    struct addrinfo *list = NULL;

    if (getaddrinfo(resolver->host, NULL, &hints, &list) == 0) {
        collect(&found, list);
        freeaddrinfo(list);
    }
    pthread_mutex_lock(&resolver->mutex);
    if (found.count > 0) {
        resolver->known = found;
    }
    resolver->since = apr_time_now();
    resolver->running = 0;
    pthread_cond_broadcast(&resolver->answered);
    pthread_mutex_unlock(&resolver->mutex);
    return NULL;
}

/* A process that ends unloads its modules, while the thread may still be about to return to
 * this one. */
static void stay_loaded(void)
{
    Dl_info self;

    if (dladdr(&resolvers, &self) && self.dli_fname) {
        dlopen(self.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
    }
}

/* The process's signals are for its own threads. The caller holds the mutex. */
static void start(acme_resolver_t *resolver)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    sigset_t all, before;
    pthread_t thread;

    pthread_once(&once, stay_loaded);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&thread, NULL, resolve, resolver) == 0) {
        pthread_detach(thread);
        resolver->running = 1;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* Whether the last answer is from so long ago, or from the future of a clock put back. */
static int is_older(const acme_resolver_t *resolver, apr_interval_time_t age, apr_time_t now)
{
    return now < resolver->since || now - resolver->since >= age;
}

static int is_stale(const acme_resolver_t *resolver, apr_time_t now)
{
    return is_older(resolver, resolver->known.count > 0 ? ACME_RESOLVER_FRESH : UNKNOWN_FRESH,
                    now);
}

/* Until when an answer is worth waiting for. What was known long ago may still be right, so
 * that some of the time is left to use it. */
static apr_time_t patience(const acme_resolver_t *resolver, apr_time_t deadline, apr_time_t now)
{
    if (resolver->known.count == 0) {
        return deadline;
    }
    return is_older(resolver, OLD, now) ? now + (deadline - now) / 2 : now;
}

acme_error_e acme_resolver_ask(acme_addresses_t *found, acme_resolver_t *resolver,
                               apr_time_t deadline)
{
    apr_time_t now = apr_time_now(), until;
    struct timespec limit;
    acme_error_e result = ACME_OK;
    int waited = 0;

    pthread_mutex_lock(&resolver->mutex);
    if (!resolver->running && is_stale(resolver, now)) {
        start(resolver);
    }
    until = patience(resolver, deadline, now);
    limit.tv_sec = (time_t)apr_time_sec(until);
    limit.tv_nsec = (long)apr_time_usec(until) * 1000;
    while (resolver->running && until > now && waited == 0) {
        waited = pthread_cond_timedwait(&resolver->answered, &resolver->mutex, &limit);
    }
    *found = resolver->known;
    if (found->count == 0) {
        result = resolver->running ? ACME_PROBE_TIMEOUT : ACME_PROBE_HOST_UNKNOWN;
    }
    pthread_mutex_unlock(&resolver->mutex);
    return result;
}
