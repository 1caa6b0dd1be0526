/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_acme_alpn_check.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <apr_hash.h>
#include <apr_strings.h>

#include <http_core.h>
#include <http_log.h>
#include <mpm_common.h>
#include <unixd.h>

#include "mod_acme_alpn_config.h"
#include "mod_acme_alpn_ssl.h"

APLOG_USE_MODULE(acme_alpn);

/* On failure realpath leaves the path that it could not resolve (not in every C library). The
 * directory above that one is closed; symbolic links may lead there. */
static const char *check_closed(apr_pool_t *pool, const char *directory)
{
    char path[PATH_MAX] = "";
    int is_above = !realpath(directory, path);
    char *slash = strrchr(path, '/');
    mode_t needed = is_above ? 0111 : 0555;
    struct stat status;

    if (is_above && slash) {
        slash[slash == path] = '\0';
    }
    if (stat(path, &status) != 0) {
        return acme_error_text(ACME_SPOOL_UNREADABLE);
    }
    return apr_psprintf(
        pool, "permission denied: httpd's User (uid %lu) cannot %s %s (mode %04o); %s",
        (unsigned long)geteuid(), is_above ? "enter" : "read", path,
        (unsigned int)status.st_mode & 07777,
        (status.st_mode & needed) == needed ? "check its ACL (getfacl), SELinux and AppArmor"
        : is_above                          ? "chmod a+x it, or move the spool"
                                            : "chmod 0755 it");
}

static void check_log_unusable(apr_pool_t *pool, const server_rec *server,
                               const char *directory, acme_error_e error)
{
    apr_status_t status = error == ACME_SYSTEM_ERROR ? errno : APR_SUCCESS;
    const char *text =
        error == ACME_SPOOL_UNREADABLE ? check_closed(pool, directory) : acme_error_text(error);

    if (ap_state_query(AP_SQ_RUN_MODE) == AP_SQ_RM_CONFIG_TEST) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, status, server,
                     "AALPN0003: AcmeAlpnSpool %s: httpd will answer no challenge from it: %s",
                     directory, text);
    } else {
        ap_log_error(APLOG_MARK, APLOG_ERR, status, server,
                     "AALPN0002: AcmeAlpnSpool %s: httpd answers no challenge from it: %s",
                     directory, text);
    }
}

/* An owner can write the spool whatever its mode is. With an MPM that stays root, requests
 * still run as User. */
int acme_alpn_check_is_users(const struct stat *spool)
{
    uid_t user = geteuid() != 0 ? geteuid() : ap_unixd_config.user_id;

    return spool->st_uid != 0 && spool->st_uid == user;
}

static void check_log_unsafe(apr_pool_t *pool, const server_rec *server, const char *directory,
                             const struct stat *spool)
{
    const char *parent = acme_spool_unsafe_parent(pool, directory);

    if (acme_alpn_check_is_users(spool)) {
        ap_log_error(
            APLOG_MARK, APLOG_WARNING, 0, server,
            "AALPN0004: AcmeAlpnSpool %s belongs to httpd's User (uid %lu), so any script in "
            "httpd can get certificates for every name of this server; chown it to root or to "
            "the ACME client's user",
            directory, (unsigned long)spool->st_uid);
    }
    if (parent) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, server,
                     "AALPN0005: AcmeAlpnSpool %s is not safe: users other than root and its "
                     "owner own or can write %s; correct that directory, or move the spool",
                     directory, parent);
    }
}

static void check_spool(apr_pool_t *pool, const server_rec *server, const char *directory)
{
    struct stat status;
    int fd;
    acme_error_e error = acme_spool_open(&fd, &status, directory);

    if (error != ACME_OK) {
        check_log_unusable(pool, server, directory, error);
    } else {
        close(fd);
        check_log_unsafe(pool, server, directory, &status);
    }
}

static void check_all_and_exit(apr_pool_t *pool, server_rec *server,
                               const apr_array_header_t *servers)
{
    apr_hash_t *known = apr_hash_make(pool);
    int i;

    if (ap_run_drop_privileges(pool, server) == OK) {
        for (i = 0; i < servers->nelts; i++) {
            const server_rec *one = APR_ARRAY_IDX(servers, i, server_rec *);
            const char *directory = acme_alpn_server_spool(one).directory;

            if (!apr_hash_get(known, directory, APR_HASH_KEY_STRING)) {
                apr_hash_set(known, directory, APR_HASH_KEY_STRING, "");
                check_spool(pool, one, directory);
            }
        }
    }
    _exit(0);
}

/* Mode bits do not show what a child may read: ACLs, ChrootDir, the starting user and the MPM
 * matter too. So a forked process drops its rights as a child does, and checks the spools. */
void acme_alpn_check_spools(apr_pool_t *pool, server_rec *server,
                            const apr_array_header_t *servers)
{
    pid_t child = servers->nelts > 0 ? fork() : -1;

    if (child == 0) {
        check_all_and_exit(pool, server, servers);
    }
    while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR) {
    }
}

/* mod_ssl turns "OpenSSL 3.0.19 27 Jan 2026" into "OpenSSL/3.0.19". */
int acme_alpn_check_openssl(apr_pool_t *pool, server_rec *server)
{
    APR_OPTIONAL_FN_TYPE(ssl_var_lookup) *lookup = APR_RETRIEVE_OPTIONAL_FN(ssl_var_lookup);
    int has_ssl = lookup && ap_find_linked_module("mod_ssl.c");
    const char *of_ssl = has_ssl ? lookup(pool, server, NULL, NULL, "SSL_VERSION_LIBRARY") : "";
    char *rest, *own = apr_pstrdup(pool, OpenSSL_version(OPENSSL_VERSION));

    own = apr_strtok(own, " ", &rest);
    own = apr_pstrcat(pool, own, "/", apr_strtok(NULL, " ", &rest), NULL);
    if (!of_ssl || !*of_ssl || strcmp(of_ssl, own) == 0) {
        return 1;
    }
    ap_log_error(APLOG_MARK, APLOG_EMERG, 0, server,
                 "AALPN0010: httpd cannot start: mod_ssl uses %s and mod_acme_alpn %s; rebuild "
                 "mod_acme_alpn with PKG_CONFIG_PATH set to the pkgconfig directory of "
                 "mod_ssl's OpenSSL",
                 of_ssl, own);
    return 0;
}
