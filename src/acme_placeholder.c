#include "acme_placeholder.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>

#include "acme_certificate.h"
#include "acme_file.h"
#include "acme_key.h"

#define ROOT_UID 0
#define ROOT_GID 0

/* Loads at each of OpenSSL's security levels but the last, which takes no common curve. */
#define KEY_TYPE ACME_KEY_P384

/* Some 1,000 bytes are in it. */
#define FILE_MAX 16384

#define OTHERS (S_IRWXG | S_IRWXO)

static acme_error_e placeholder_directory_error(int error)
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

/* Whoever can replace the file could have httpd load, as root, what they like. The group of
 * root may, since its members could become root anyway. */
static int placeholder_is_safe(const struct stat *directory)
{
    return (directory->st_uid == ROOT_UID || directory->st_uid == geteuid()) &&
           !(directory->st_mode & S_IWOTH) &&
           (!(directory->st_mode & S_IWGRP) || directory->st_gid == ROOT_GID);
}

/* The directory may be reached by a symlink. With ACME_OK the caller closes *fd. */
static acme_error_e placeholder_open_directory(int *fd, const char *directory)
{
    acme_error_e error;
    struct stat status;

    *fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0) {
        return placeholder_directory_error(errno);
    }
    error = fstat(*fd, &status) == 0 ? ACME_OK : ACME_SYSTEM_ERROR;
    if (error == ACME_OK && !placeholder_is_safe(&status)) {
        error = ACME_RUNTIME_UNSAFE;
    }
    if (error != ACME_OK) {
        close(*fd);
    }
    return error;
}

/* A file that others could read or write holds no key that is worth the name. Returns the
 * length of what is in `text`, or -1. */
static int placeholder_read_file(int directory_fd, char text[FILE_MAX])
{
    int fd = openat(directory_fd, ACME_PLACEHOLDER_FILE,
                    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    ssize_t length = -1;
    struct stat status;

    if (fd < 0) {
        return -1;
    }
    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_uid == geteuid() &&
        !(status.st_mode & OTHERS) && status.st_size <= FILE_MAX) {
        length = acme_file_read(fd, text, FILE_MAX);
    }
    close(fd);
    return (int)length;
}

/* For a key that somebody has encrypted: OpenSSL's own would ask on the terminal. */
static int placeholder_no_passphrase(char *buffer, int size, int writing, void *argument)
{
    (void)buffer;
    (void)size;
    (void)writing;
    (void)argument;
    return -1;
}

static int placeholder_is_valid_at(const X509 *certificate, apr_time_t now)
{
    time_t from = (time_t)apr_time_sec(now);
    time_t until = (time_t)apr_time_sec(now + ACME_PLACEHOLDER_REST);

    return X509_cmp_time(X509_get0_notBefore(certificate), &from) < 0 &&
           X509_cmp_time(X509_get0_notAfter(certificate), &until) > 0;
}

static int placeholder_is_usable(const char *text, int length, apr_time_t now)
{
    BIO *first = BIO_new_mem_buf(text, length), *second = BIO_new_mem_buf(text, length);
    X509 *certificate =
        first ? PEM_read_bio_X509(first, NULL, placeholder_no_passphrase, NULL) : NULL;
    EVP_PKEY *key =
        second ? PEM_read_bio_PrivateKey(second, NULL, placeholder_no_passphrase, NULL) : NULL;
    int usable = certificate && key && X509_check_private_key(certificate, key) == 1 &&
                 placeholder_is_valid_at(certificate, now);

    EVP_PKEY_free(key);
    X509_free(certificate);
    BIO_free(second);
    BIO_free(first);
    return usable;
}

static int placeholder_has_usable(int directory_fd, apr_time_t now)
{
    char text[FILE_MAX];
    int length = placeholder_read_file(directory_fd, text), usable = 0;

    if (length > 0) {
        ERR_set_mark();
        usable = placeholder_is_usable(text, length, now);
        ERR_pop_to_mark();
    }
    OPENSSL_cleanse(text, sizeof(text));
    return usable;
}

/* The certificate and its key as PEM, which the caller frees; NULL where OpenSSL failed. */
static BIO *placeholder_make(apr_time_t now)
{
    BIO *text = BIO_new(BIO_s_mem());
    EVP_PKEY *key = acme_key_generate(KEY_TYPE);
    X509 *certificate = NULL;
    int made = text && key &&
               acme_certificate_mint_placeholder(&certificate, KEY_TYPE, key, now) == ACME_OK &&
               PEM_write_bio_X509(text, certificate) == 1 &&
               PEM_write_bio_PrivateKey(text, key, NULL, NULL, 0, NULL, NULL) == 1;

    X509_free(certificate);
    EVP_PKEY_free(key);
    if (!made) {
        BIO_free(text);
        text = NULL;
    }
    return text;
}

static acme_error_e placeholder_renew(apr_pool_t *pool, const char *directory, apr_time_t now)
{
    BIO *text = placeholder_make(now);
    acme_error_e error = ACME_SYSTEM_ERROR;
    char *content;
    long length;

    errno = 0;
    if (text) {
        length = BIO_get_mem_data(text, &content);
        error = acme_file_replace(pool, directory, ACME_PLACEHOLDER_FILE, content,
                                  (apr_size_t)length, S_IRUSR | S_IWUSR)
                    ? ACME_OK
                    : placeholder_directory_error(errno);
    }
    BIO_free(text);
    return error;
}

acme_error_e acme_placeholder_provide(int *is_new, apr_pool_t *pool, const char *directory,
                                      apr_time_t now)
{
    int fd, saved;
    acme_error_e error = placeholder_open_directory(&fd, directory);

    if (error != ACME_OK) {
        return error;
    }
    *is_new = !placeholder_has_usable(fd, now);
    if (*is_new) {
        error = placeholder_renew(pool, directory, now);
    }
    saved = errno;
    close(fd);
    errno = saved;
    return error;
}

acme_error_e acme_placeholder_check(const char *directory, apr_time_t now)
{
    int fd, saved;
    acme_error_e error = placeholder_open_directory(&fd, directory);

    if (error != ACME_OK) {
        return error;
    }
    if (!placeholder_has_usable(fd, now) && faccessat(fd, ".", W_OK | X_OK, AT_EACCESS) != 0) {
        error = placeholder_directory_error(errno);
    }
    saved = errno;
    close(fd);
    errno = saved;
    return error;
}
