/* SPDX-License-Identifier: Apache-2.0 */
#include "acme_placeholder.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <openssl/pem.h>

#include "acme_certificate.h"
#include "acme_file.h"
#include "acme_key.h"

/* OpenSSL loads it at each security level but 5, which accepts no common curve. */
#define KEY_TYPE ACME_KEY_P384

static acme_error_e placeholder_error(int error)
{
    switch (error) {
    case ENOENT:
    case ENOTDIR:
        return ACME_RUNTIME_MISSING;
    case EACCES:
    case EPERM:
    case EROFS:
        return ACME_RUNTIME_UNWRITABLE;
    default:
        return ACME_SYSTEM_ERROR;
    }
}

/* A user who can replace the file could make httpd load any content as root. */
acme_error_e acme_placeholder_check(const char *directory)
{
    struct stat status;

    if (stat(directory, &status) != 0) {
        return placeholder_error(errno);
    }
    if (!S_ISDIR(status.st_mode)) {
        return ACME_RUNTIME_MISSING;
    }
    if (!acme_file_is_safe(&status, geteuid())) {
        return ACME_RUNTIME_UNSAFE;
    }
    return faccessat(AT_FDCWD, directory, W_OK | X_OK, AT_EACCESS) == 0
               ? ACME_OK
               : placeholder_error(errno);
}

/* The certificate and its key as PEM, which the caller frees; NULL where OpenSSL failed. */
static BIO *placeholder_make(apr_time_t now)
{
    BIO *text = BIO_new(BIO_s_mem());
    EVP_PKEY *key = acme_key_generate(KEY_TYPE);
    X509 *certificate = NULL;
    int done = text && key &&
               acme_certificate_mint_placeholder(&certificate, KEY_TYPE, key, now) == ACME_OK &&
               PEM_write_bio_X509(text, certificate) == 1 &&
               PEM_write_bio_PrivateKey(text, key, NULL, NULL, 0, NULL, NULL) == 1;

    X509_free(certificate);
    EVP_PKEY_free(key);
    if (!done) {
        BIO_free(text);
        text = NULL;
    }
    return text;
}

acme_error_e acme_placeholder_write(apr_pool_t *pool, const char *directory, apr_time_t now)
{
    acme_error_e error = acme_placeholder_check(directory);
    BIO *text;
    char *content;
    long length;

    if (error != ACME_OK) {
        return error;
    }
    text = placeholder_make(now);
    if (!text) {
        errno = 0;
        return ACME_SYSTEM_ERROR;
    }
    length = BIO_get_mem_data(text, &content);
    if (!acme_file_replace(pool, directory, ACME_PLACEHOLDER_FILE, content, (apr_size_t)length,
                           S_IRUSR | S_IWUSR)) {
        error = placeholder_error(errno);
    }
    BIO_free(text);
    return error;
}
