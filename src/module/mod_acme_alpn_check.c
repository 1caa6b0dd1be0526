/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_acme_alpn_check.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <apr_hash.h>
#include <apr_strings.h>

#include <http_core.h>
#include <http_log.h>
#include <mpm_common.h>

#include "acme_file.h"
#include "mod_acme_alpn_config.h"

APLOG_USE_MODULE(acme_alpn);

/* What a child of httpd finds. */
typedef struct {
    acme_error_e error;
    int status;         /* errno */
    apr_size_t blocked; /* the length of the first directory that it may not pass, or 0 */
    uid_t owner, user;  /* of the spool, and of the process that looked */
} check_answer_t;

typedef struct {
    const char *directory;
    server_rec *server; /* the first that has this spool */
    check_answer_t answer;
} check_spool_t;

/* As a child */

static apr_size_t check_blocked(const char *directory)
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

/* access() asks for the real uid, which is the effective one here. */
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
    } else if (answer.error == ACME_SPOOL_UNREADABLE) {
        answer.blocked = check_blocked(directory);
    }
    return answer;
}

/* Mode bits do not show what a child of httpd may do: ACLs, ChrootDir, a start by another user
 * than root and MPMs that stay root change it. So this forked process drops its rights as a
 * child does, and writes what it finds in each spool to `fd`. */
static void check_answer_and_exit(int fd, apr_pool_t *pool, server_rec *server,
                                  const apr_array_header_t *spools)
{
    int i;

    if (ap_run_drop_privileges(pool, server) == OK) {
        for (i = 0; i < spools->nelts; i++) {
            check_answer_t answer =
                check_look(APR_ARRAY_IDX(spools, i, check_spool_t).directory);

            if (write(fd, &answer, sizeof(answer)) != sizeof(answer)) {
                break;
            }
        }
    }
    _exit(0);
}

/* Returns how many of the spools have an answer. */
static int check_ask(apr_pool_t *pool, server_rec *server, const apr_array_header_t *spools)
{
    int ends[2], count = 0, is_answered = 1;
    pid_t child;

    if (spools->nelts == 0 || pipe(ends) != 0) {
        return 0;
    }
    child = fork();
    if (child == 0) {
        check_answer_and_exit(ends[1], pool, server, spools);
    }
    close(ends[1]);
    while (is_answered && count < spools->nelts) {
        check_answer_t *answer = &APR_ARRAY_IDX(spools, count, check_spool_t).answer;

        is_answered =
            acme_file_read(ends[0], (char *)answer, sizeof(*answer)) == sizeof(*answer);
        count += is_answered;
    }
    close(ends[0]);
    while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR) {
    }
    return count;
}

/* The log */

static const char *check_reason(apr_pool_t *pool, const check_spool_t *spool)
{
    return spool->answer.blocked > 0
               ? apr_psprintf(pool, "httpd's User may not pass %s on the way to it",
                              apr_pstrndup(pool, spool->directory, spool->answer.blocked))
               : acme_error_text(spool->answer.error);
}

static void check_log_unusable(apr_pool_t *pool, const check_spool_t *spool, int is_test)
{
    apr_status_t status =
        spool->answer.error == ACME_SYSTEM_ERROR ? spool->answer.status : APR_SUCCESS;

    if (is_test) {
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

/* The owner can write the spool, whatever its mode is. */
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
    apr_array_header_t *spools = apr_array_make(pool, 4, sizeof(check_spool_t));
    apr_hash_t *known = apr_hash_make(pool);
    int i;

    for (i = 0; i < servers->nelts; i++) {
        server_rec *server = APR_ARRAY_IDX(servers, i, server_rec *);
        const char *directory = acme_alpn_server_spool(server).directory;

        if (!apr_hash_get(known, directory, APR_HASH_KEY_STRING)) {
            apr_hash_set(known, directory, APR_HASH_KEY_STRING, "");
            APR_ARRAY_PUSH(spools, check_spool_t) = (check_spool_t){directory, server, {0}};
        }
    }
    return spools;
}

void acme_alpn_check_spools(apr_pool_t *pool, server_rec *server,
                            const apr_array_header_t *servers)
{
    int is_test = ap_state_query(AP_SQ_RUN_MODE) == AP_SQ_RM_CONFIG_TEST;
    apr_array_header_t *spools = check_collect(pool, servers);
    int count = check_ask(pool, server, spools), i;

    for (i = 0; i < count; i++) {
        const check_spool_t *spool = &APR_ARRAY_IDX(spools, i, check_spool_t);

        if (spool->answer.error != ACME_OK) {
            check_log_unusable(pool, spool, is_test);
        } else {
            check_log_owner(spool);
            check_log_parent(pool, spool);
        }
    }
}
