#include "spool_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "acme_key.h"
#include "acme_placeholder.h"

/* The directory, below the fixture's, and the file in it. */
#define IN        "F=run/" ACME_PLACEHOLDER_FILE "; "
#define FILE_PATH path_of("run/" ACME_PLACEHOLDER_FILE)

static acme_error_e write_placeholder(void)
{
    return acme_placeholder_write(here.pool, path_of("run"), here.now);
}

/* The file is there alone, and nobody else can read it. */
static void provide(void)
{
    assert_reason(acme_placeholder_check(path_of("run")), ACME_OK);
    assert_reason(write_placeholder(), ACME_OK);
    shell(IN "test \"$(ls -A run)\" = " ACME_PLACEHOLDER_FILE
             "; test \"$(stat -c '%F %a' $F)\" = 'regular file 600'");
}

static int set_up(void **state)
{
    int failed = fixture_setup(state);

    shell("mkdir run");
    return failed;
}

static void test_is_whole(void **state)
{
    FILE *file;
    X509 *certificate;
    EVP_PKEY *key;

    (void)state;
    umask(0377);
    provide();
    file = fopen(FILE_PATH, "r");
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

/* And not written through. */
static void test_what_is_there_is_replaced(void **state)
{
    (void)state;
    provide();
    shell(IN "mv $F target; cp target before; ln -s ../target $F");
    provide();
    shell(IN "cmp -s target before; ! cmp -s $F before; rm $F; mkfifo $F");
    provide();
}

static void refuse(acme_error_e reason)
{
    assert_reason(acme_placeholder_check(path_of("run")), reason);
    assert_reason(write_placeholder(), reason);
}

static void refuse_to_nobody(void)
{
    refuse(ACME_RUNTIME_UNWRITABLE);
}

static void test_directory(void **state)
{
    (void)state;
    shell(IN "mkdir $F");
    assert_reason(write_placeholder(), ACME_SYSTEM_ERROR);
    assert_int_equal(errno, EISDIR);
    shell("test \"$(ls -A run)\" = " ACME_PLACEHOLDER_FILE);
    shell("rm -r run");
    refuse(ACME_RUNTIME_MISSING);
    shell(": >run");
    refuse(ACME_RUNTIME_MISSING);
    shell("rm run; mkdir run; chmod 1777 run");
    refuse(ACME_RUNTIME_UNSAFE);
    shell("chmod 775 run");
    refuse(ACME_RUNTIME_UNSAFE);
    shell("root; chmod 755 run; chown 65534 run");
    refuse(ACME_RUNTIME_UNSAFE);
    shell("chown 0 run");
    in_child(refuse_to_nobody, 1);
}

int main(void)
{
    unit_setup = set_up;
    unit_teardown = fixture_teardown;
    UNIT_ADD(test_is_whole);
    UNIT_ADD(test_what_is_there_is_replaced);
    UNIT_ADD(test_directory);
    return cmocka_run_group_tests_name("placeholder", unit_tests, NULL, NULL);
}
