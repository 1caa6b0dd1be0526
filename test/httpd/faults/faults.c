/*
 * Preloaded into httpd by harness/faults.py: makes functions of libraries fail where the module
 * calls them, and nobody else, as long as the directory $ACME_ALPN_FAULTS has a file of the
 * function's name.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <apr_errno.h>
#include <apr_optional.h>
#include <apr_shm.h>
#include <apr_thread_mutex.h>

#include <openssl/evp.h>
#include <openssl/ssl.h>

static int fails(const char *function, const void *caller)
{
    const char *directory = getenv("ACME_ALPN_FAULTS");
    char path[PATH_MAX];
    Dl_info object;

    if (!directory || !dladdr(caller, &object) || !strstr(object.dli_fname, "mod_acme_alpn")) {
        return 0;
    }
    snprintf(path, sizeof(path), "%s/%s", directory, function);
    return access(path, F_OK) == 0;
}

/* The library's function, behind this one of the same name. */
#define FAULT(type, function, parameters, arguments, failure)                                  \
    type function parameters                                                                   \
    {                                                                                          \
        type(*original) parameters;                                                            \
                                                                                               \
        if (fails(#function, __builtin_return_address(0))) {                                   \
            return failure;                                                                    \
        }                                                                                      \
        *(void **)&original = dlsym(RTLD_NEXT, #function);                                     \
        return original arguments;                                                             \
    }

FAULT(apr_status_t, apr_shm_create,
      (apr_shm_t * *made, apr_size_t size, const char *name, apr_pool_t *pool),
      (made, size, name, pool), APR_ENOMEM)
FAULT(apr_status_t, apr_thread_mutex_create,
      (apr_thread_mutex_t * *made, unsigned int flags, apr_pool_t *pool), (made, flags, pool),
      APR_ENOMEM)
FAULT(apr_opt_fn_t *, apr_dynamic_fn_retrieve, (const char *name), (name), NULL)
/* A number, of which no event ever tells. Where there is a file "denied", it gets a byte for
 * each try, and the try fails as it does with SELinux. */
static int unwatched(void)
{
    char path[PATH_MAX];
    int fd;

    snprintf(path, sizeof(path), "%s/denied", getenv("ACME_ALPN_FAULTS"));
    fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fd < 0 || write(fd, ".", 1) != 1) {
        return 1;
    }
    close(fd);
    errno = EACCES;
    return -1;
}
FAULT(int, inotify_add_watch, (int fd, const char *path, uint32_t mask), (fd, path, mask),
      unwatched())
FAULT(int, EVP_PKEY_keygen, (EVP_PKEY_CTX * context, EVP_PKEY **key), (context, key), 0)
FAULT(SSL_CTX *, SSL_CTX_new, (const SSL_METHOD *method), (method), NULL)
