/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_acme_alpn_check.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <apr_hash.h>
#include <apr_strings.h>

#include <http_log.h>
#include <mpm_common.h>

#include "acme_file.h"
#include "mod_acme_alpn_config.h"

APLOG_USE_MODULE(acme_alpn);

/* What a child of httpd finds. */
typedef struct {
    acme_error_e error;
    int status;        /* errno */
    apr_size_t closed; /* the length of the path of a directory that it may not pass, or 0 */
    uid_t owner, user; /* the spool's, and its own */
} check_answer_t;

typedef struct {
    const char *directory;
    server_rec *server; /* the first that has this spool */
    int has_answer;
    check_answer_t answer;
} check_spool_t;

/* Those of this configuration, by their directory. */
static apr_hash_t *check_known;

/* Those that were asked about early, in the process's pool. */
#define EARLY "mod_acme_alpn:spools"

/* As a child */

static apr_size_t check_closed(const char *directory)
{
    char path[PATH_MAX];
    apr_size_t i;

    apr_cpystrn(path, directory, sizeof(path));
    for (i = 1; path[i]; i++) {
        if (path[i] == '/') {
            path[i] = '\0';
            if (access(path, X_OK) != 0) {
                return i;
            }
            path[i] = '/';
        }
    }
    return 0;
}

/* The uids are the effective ones as well. */
static check_answer_t check_look(const char *directory)
{
    check_answer_t answer = {ACME_OK, 0, 0, 0, geteuid()};
    struct stat status;
    int fd;

    answer.error = acme_spool_open(&fd, &status, directory);
    answer.status = errno;
    if (answer.error == ACME_OK) {
        answer.owner = status.st_uid;
        close(fd);
        if (access(directory, X_OK) != 0) {
            answer.error = ACME_SPOOL_UNREADABLE;
        }
    } else if (answer.error == ACME_SPOOL_UNREADABLE) {
        answer.closed = check_closed(directory);
    }
    return answer;
}

/* Modes do not tell what httpd's children may do: there are ACLs, ChrootDir, servers that were
 * not started as root, and MPMs that stay root. So one is made, and asked. */
static void check_answer_and_exit(int fd, apr_pool_t *pool, server_rec *server,
                                  const apr_array_header_t *spools)
{
    int i;

    if (ap_run_drop_privileges(pool, server) == OK) {
        for (i = 0; i < spools->nelts; i++) {
            check_answer_t answer =
                check_look(APR_ARRAY_IDX(spools, i, check_spool_t *)->directory);

            if (write(fd, &answer, sizeof(answer)) != sizeof(answer)) {
                break;
            }
        }
    }
    _exit(0);
}

static void check_ask(apr_pool_t *pool, server_rec *server, const apr_array_header_t *spools)
{
    int ends[2], i;
    pid_t child;

    if (spools->nelts == 0 || pipe(ends) != 0) {
        return;
    }
    child = fork();
    if (child == 0) {
        check_answer_and_exit(ends[1], pool, server, spools);
    }
    close(ends[1]);
    for (i = 0; child > 0 && i < spools->nelts; i++) {
        check_spool_t *spool = APR_ARRAY_IDX(spools, i, check_spool_t *);

        spool->has_answer = acme_file_read(ends[0], (char *)&spool->answer,
                                           sizeof(spool->answer)) == sizeof(spool->answer);
    }
    close(ends[0]);
    while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR) {
    }
}

/* The log */

static const char *check_reason(apr_pool_t *pool, const check_spool_t *spool)
{
    return spool->answer.closed > 0
               ? apr_psprintf(pool, "httpd's User may not pass %s on the way to it",
                              apr_pstrndup(pool, spool->directory, spool->answer.closed))
               : acme_error_text(spool->answer.error);
}

static void check_log_unusable(apr_pool_t *pool, const check_spool_t *spool,
                               acme_alpn_moment_e moment)
{
    apr_status_t status =
        spool->answer.error == ACME_SYSTEM_ERROR ? spool->answer.status : APR_SUCCESS;

    if (moment == ACME_ALPN_AT_CONFIGTEST) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, status, spool->server,
                     "AALPN0003: AcmeAlpnSpool %s: no challenge will be answered from it: %s",
                     spool->directory, check_reason(pool, spool));
    } else {
        ap_log_error(APLOG_MARK, APLOG_ERR, status, spool->server,
                     "AALPN0002: AcmeAlpnSpool %s: no challenge is answered from it until this "
                     "is mended: %s",
                     spool->directory, check_reason(pool, spool));
    }
}

/* Whoever owns the spool can write it, whatever its mode says. */
static void check_log_owner(const check_spool_t *spool)
{
    if (spool->answer.owner != 0 && spool->answer.owner == spool->answer.user) {
        ap_log_error(
            APLOG_MARK, APLOG_WARNING, 0, spool->server,
            "AALPN0004: AcmeAlpnSpool %s belongs to httpd's User (uid %lu): whatever "
            "runs in httpd can get certificates for every name of this server; give it "
            "to root or to the ACME client's user",
            spool->directory, (unsigned long)spool->answer.owner);
    }
}

static void check_log_parent(apr_pool_t *pool, const check_spool_t *spool)
{
    const char *parent = acme_spool_unsafe_parent(pool, spool->directory);

    if (parent) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, spool->server,
                     "AALPN0005: AcmeAlpnSpool %s is not safe: others than root and its owner "
                     "can replace it, since they own or can write %s",
                     spool->directory, parent);
    }
}

static apr_array_header_t *check_collect(apr_pool_t *pool, const apr_array_header_t *servers)
{
    apr_array_header_t *spools = apr_array_make(pool, 4, sizeof(check_spool_t *));
    int i;

    check_known = apr_hash_make(pool);
    for (i = 0; i < servers->nelts; i++) {
        server_rec *server = APR_ARRAY_IDX(servers, i, server_rec *);
        const char *directory = acme_alpn_server_spool(server).directory;

        if (!apr_hash_get(check_known, directory, APR_HASH_KEY_STRING)) {
            check_spool_t *spool = apr_pcalloc(pool, sizeof(*spool));

            spool->directory = apr_pstrdup(pool, directory);
            spool->server = server;
            apr_hash_set(check_known, spool->directory, APR_HASH_KEY_STRING, spool);
            APR_ARRAY_PUSH(spools, check_spool_t *) = spool;
        }
    }
    return spools;
}

void acme_alpn_check_ask_early(server_rec *server, const apr_array_header_t *servers)
{
    apr_pool_t *pool = server->process->pool;

    check_ask(pool, server, check_collect(pool, servers));
    apr_pool_userdata_set(check_known, EARLY, apr_pool_cleanup_null, pool);
}

/* Returns whether they had been asked about. */
static int check_take_early(server_rec *server, const apr_array_header_t *spools)
{
    void *early = NULL;
    int i;

    apr_pool_userdata_get(&early, EARLY, server->process->pool);
    apr_pool_userdata_set(NULL, EARLY, apr_pool_cleanup_null, server->process->pool);
    for (i = 0; early && i < spools->nelts; i++) {
        check_spool_t *spool = APR_ARRAY_IDX(spools, i, check_spool_t *);
        const check_spool_t *asked = apr_hash_get(early, spool->directory, APR_HASH_KEY_STRING);

        if (asked) {
            spool->has_answer = asked->has_answer;
            spool->answer = asked->answer;
        }
    }
    return early != NULL;
}

void acme_alpn_check_spools(apr_pool_t *pool, server_rec *server,
                            const apr_array_header_t *servers, acme_alpn_moment_e moment)
{
    apr_array_header_t *spools = check_collect(pool, servers);
    int i;

    if (!check_take_early(server, spools)) {
        check_ask(pool, server, spools);
    }
    for (i = 0; i < spools->nelts; i++) {
        const check_spool_t *spool = APR_ARRAY_IDX(spools, i, check_spool_t *);

        if (spool->has_answer && spool->answer.error != ACME_OK) {
            check_log_unusable(pool, spool, moment);
        } else if (spool->has_answer) {
            check_log_owner(spool);
            check_log_parent(pool, spool);
        }
    }
}

acme_error_e acme_alpn_check_found(const char *directory)
{
    const check_spool_t *spool = apr_hash_get(check_known, directory, APR_HASH_KEY_STRING);

    return spool ? spool->answer.error : ACME_OK;
}
