#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* setgroups */
#endif
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <apr_general.h>
#include <apr_strings.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "acme_key.h"
#include "acme_placeholder.h"

#define NOBODY 65534
#define DAYS   apr_time_from_sec(24 * 60 * 60)

/* Far more than any test takes, so that what blocks ends the run. */
#define DEADLINE_SECONDS 60

static struct {
    apr_pool_t *pool;
    apr_time_t now;
    char *directory;
    char *file;
} here;

static int set_up(void **state)
{
    char directory[] = "/tmp/acme-placeholder-XXXXXX";

    (void)state;
    alarm(DEADLINE_SECONDS);
    if (!mkdtemp(directory) || chmod(directory, 0755) != 0 ||
        apr_pool_create(&here.pool, NULL) != APR_SUCCESS) {
        return -1;
    }
    here.now = apr_time_now();
    here.directory = apr_pstrdup(here.pool, directory);
    here.file = apr_pstrcat(here.pool, directory, "/" ACME_PLACEHOLDER_FILE, NULL);
    return 0;
}

static int tear_down(void **state)
{
    int failed;

    (void)state;
    if (remove(here.file) != 0 && errno != ENOENT) {
        return -1;
    }
    /* Fails where anything else was left behind. */
    failed = rmdir(here.directory);
    apr_pool_destroy(here.pool);
    return failed;
}

static void provide(int is_new)
{
    int found = -1;

    assert_reason(acme_placeholder_provide(&found, here.pool, here.directory, here.now),
                  ACME_OK);
    assert_int_equal(found, is_new);
    assert_reason(acme_placeholder_check(here.directory, here.now), ACME_OK);
}

static void refuse(acme_error_e reason)
{
    int found;

    assert_reason(acme_placeholder_check(here.directory, here.now), reason);
    assert_reason(acme_placeholder_provide(&found, here.pool, here.directory, here.now),
                  reason);
}

static void write_file(const void *content, size_t length)
{
    int fd = open(here.file, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_return_code(fd, errno);
    assert_int_equal(write(fd, content, length), length);
    close(fd);
}

static void test_is_whole_and_private(void **state)
{
    FILE *file;
    X509 *certificate;
    EVP_PKEY *key;
    struct stat status;

    (void)state;
    umask(0377);
    provide(1);
    umask(022);
    assert_return_code(lstat(here.file, &status), errno);
    assert_int_equal(status.st_mode, S_IFREG | 0600);
    file = fopen(here.file, "r");
    assert_non_null(file);
    certificate = PEM_read_X509(file, NULL, NULL, NULL);
    key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
    fclose(file);
    assert_int_equal(X509_check_private_key(certificate, key), 1);
    assert_int_equal(X509_verify(certificate, key), 1);
    assert_int_equal(X509_check_ca(certificate), 0);
    assert_int_equal(X509_get_ext_count(certificate), 1);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

static void test_is_kept_while_it_is_good(void **state)
{
    (void)state;
    provide(1);
    provide(0);
    here.now += 28 * DAYS;
    provide(0);
    here.now += 2 * DAYS;
    provide(1);
    provide(0);
    /* Of a time that is still to come. */
    here.now -= 10 * DAYS;
    provide(1);
}

static void test_damage_is_mended(void **state)
{
    static const char garbage[] = "-----BEGIN CERTIFICATE-----\nAAAA\n";
    char large[20000] = {0};

    (void)state;
    write_file("", 0);
    provide(1);
    write_file(garbage, sizeof(garbage) - 1);
    provide(1);
    write_file(large, sizeof(large));
    provide(1);
    assert_return_code(truncate(here.file, 700), errno);
    provide(1);
    provide(0);
}

/* The certificate stays, and this key takes the place of its own. */
static void replace_key(const EVP_CIPHER *cipher)
{
    EVP_PKEY *key = acme_key_generate(ACME_KEY_P384);
    FILE *file = fopen(here.file, "r+");
    X509 *certificate = PEM_read_X509(file, NULL, NULL, NULL);

    assert_non_null(certificate);
    rewind(file);
    assert_int_equal(ftruncate(fileno(file), 0), 0);
    assert_int_equal(PEM_write_X509(file, certificate), 1);
    assert_int_equal(
        PEM_write_PrivateKey(file, key, cipher, (unsigned char *)"secret", 6, NULL, NULL), 1);
    fclose(file);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

static void test_key_of_another_certificate(void **state)
{
    (void)state;
    provide(1);
    replace_key(NULL);
    provide(1);
}

/* With OpenSSL's own callback it would wait at the terminal, until the alarm. */
static void test_encrypted_key_is_no_question(void **state)
{
    (void)state;
    provide(1);
    replace_key(EVP_aes_128_cbc());
    provide(1);
}

static void test_what_others_can_read_is_replaced(void **state)
{
    static const mode_t modes[] = {0604, 0640, 0602, 0620};
    size_t i;

    (void)state;
    provide(1);
    for (i = 0; i < COUNT(modes); i++) {
        assert_return_code(chmod(here.file, modes[i]), errno);
        provide(1);
    }
}

static void test_symlink_is_replaced_and_not_followed(void **state)
{
    const char *target = apr_pstrcat(here.pool, here.directory, "/target", NULL);
    struct stat status;

    (void)state;
    provide(1);
    assert_return_code(rename(here.file, target), errno);
    assert_return_code(symlink(target, here.file), errno);
    provide(1);
    assert_return_code(lstat(here.file, &status), errno);
    assert_true(S_ISREG(status.st_mode));
    assert_return_code(unlink(target), errno);
}

static void test_fifo_is_replaced_and_does_not_block(void **state)
{
    (void)state;
    assert_return_code(mkfifo(here.file, 0600), errno);
    provide(1);
}

static void test_directory_in_its_place(void **state)
{
    int found;

    (void)state;
    assert_return_code(mkdir(here.file, 0700), errno);
    assert_reason(acme_placeholder_provide(&found, here.pool, here.directory, here.now),
                  ACME_SYSTEM_ERROR);
    assert_int_equal(errno, EISDIR);
}

static void test_missing_directory(void **state)
{
    char *directory = here.directory;

    (void)state;
    here.directory = apr_pstrcat(here.pool, directory, "/none", NULL);
    refuse(ACME_RUNTIME_MISSING);
    here.directory = directory;
}

static void test_directory_that_others_can_write(void **state)
{
    (void)state;
    assert_return_code(chmod(here.directory, 01777), errno);
    refuse(ACME_RUNTIME_UNSAFE);
    assert_return_code(chmod(here.directory, 0755), errno);
    if (geteuid() == 0) {
        assert_return_code(chown(here.directory, NOBODY, NOBODY), errno);
        refuse(ACME_RUNTIME_UNSAFE);
    }
}

/* In a child, which becomes somebody who may read the directory and no more. */
static void test_directory_that_cannot_be_written(void **state)
{
    int found = 0, status;
    pid_t child;

    (void)state;
    if (geteuid() != 0) {
        skip_because("needs root");
    }
    child = fork();
    if (child == 0) {
        int dropped = setgroups(0, NULL) == 0 && setgid(NOBODY) == 0 && setuid(NOBODY) == 0;

        _exit(dropped &&
                      acme_placeholder_check(here.directory, here.now) ==
                          ACME_RUNTIME_UNWRITABLE &&
                      acme_placeholder_provide(&found, here.pool, here.directory, here.now) ==
                          ACME_RUNTIME_UNWRITABLE
                  ? 0
                  : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_is_whole_and_private),
        CASE(test_is_kept_while_it_is_good),
        CASE(test_damage_is_mended),
        CASE(test_key_of_another_certificate),
        CASE(test_encrypted_key_is_no_question),
        CASE(test_what_others_can_read_is_replaced),
        CASE(test_symlink_is_replaced_and_not_followed),
        CASE(test_fifo_is_replaced_and_does_not_block),
        CASE(test_directory_in_its_place),
        CASE(test_missing_directory),
        CASE(test_directory_that_others_can_write),
        CASE(test_directory_that_cannot_be_written),
    };

    apr_initialize();
    return cmocka_run_group_tests_name("placeholder", tests, NULL, NULL);
}
