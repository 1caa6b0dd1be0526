#include "spool_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "acme_key.h"
#include "acme_placeholder.h"

#define DAYS apr_time_from_sec(24 * 60 * 60)

/* The directory, below the fixture's, and the file in it. */
#define IN        "F=run/" ACME_PLACEHOLDER_FILE "; "
#define FILE_PATH path_of("run/" ACME_PLACEHOLDER_FILE)

/* The file is there alone, and nobody else can read it. */
static void provide(int is_new)
{
    int found = -1;

    assert_reason(acme_placeholder_provide(&found, here.pool, path_of("run"), here.now),
                  ACME_OK);
    assert_int_equal(found, is_new);
    assert_reason(acme_placeholder_check(path_of("run"), here.now), ACME_OK);
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
    provide(1);
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

static void test_is_kept_while_it_is_good(void **state)
{
    (void)state;
    provide(1);
    provide(0);
    here.now += 28 * DAYS;
    provide(0);
    here.now += 1 * DAYS;
    provide(1);
    provide(0);
    /* Of a time that is still to come. */
    here.now -= 10 * DAYS;
    provide(1);
}

typedef struct {
    const char *name;
    const char *change; /* to a good file, by the shell */
} damage_row_t;

#define CERTIFICATE "sed -n '/BEGIN CERTIFICATE/,/END CERTIFICATE/p' "

static const damage_row_t damages[] = {
    {"file is empty", ": >$F"},
    {"file is no PEM", "echo '-----BEGIN CERTIFICATE-----' >$F"},
    {"file is large", "truncate -s 20000 $F"},
    {"file ends early", "truncate -s 700 $F"},
    {"key of another certificate",
     CERTIFICATE "$F >mixed; sed '1,/END CERTIFICATE/d' other >>mixed; cat mixed >$F"},
    /* With OpenSSL's own callback it would wait at the terminal, until the alarm. */
    {"key that is encrypted",
     CERTIFICATE "$F >mixed; echo '-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
                 "MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAi2xAZyiKHv/QICCAAw\n"
                 "DAYIKoZIhvcNAgkFADAdBglghkgBZQMEAQIEED3cg1g5iUBzRL1bNbfPVlMEgZBc\n"
                 "UTDXCx3TW18hsBQAbVZlTC3XJu2iwtqUPk5WwTHDwu/b5xvfbSO4z6CzufySc+S3\n"
                 "LyOlZyetwD/8+kx2N/gLsPOnsyG6k1sRI2TjKaF7kla42Sz63NTrlOwwCJtjiVvX\n"
                 "SELmJybbYUuQxeSGZPVRj8jPxwaZMHel+JzmsGUVjmJL6CwDI80APnrRFxjixWY=\n"
                 "-----END ENCRYPTED PRIVATE KEY-----' >>mixed; cat mixed >$F"},
    {"others can read it", "chmod 604 $F"},
    {"the group can read it", "chmod 640 $F"},
    {"others can write it", "chmod 602 $F"},
    {"the group can write it", "chmod 620 $F"},
    {"file is a symlink", "mv $F target; ln -s ../target $F"},
    {"file is a FIFO", "rm $F; mkfifo $F"},
};

/* What is not as it should be is replaced. */
static void test_damage(void **state)
{
    const damage_row_t *row = *state;
    char change[2048];

    provide(1);
    assert_return_code(rename(FILE_PATH, path_of("other")), errno);
    provide(1);
    snprintf(change, sizeof(change), IN "%s", row->change);
    shell(change);
    provide(1);
}

static void refuse(acme_error_e reason)
{
    int found;

    assert_reason(acme_placeholder_check(path_of("run"), here.now), reason);
    assert_reason(acme_placeholder_provide(&found, here.pool, path_of("run"), here.now),
                  reason);
}

static void refuse_to_nobody(void)
{
    refuse(ACME_RUNTIME_UNWRITABLE);
}

static void test_directory(void **state)
{
    int found;

    (void)state;
    shell(IN "mkdir $F");
    assert_reason(acme_placeholder_provide(&found, here.pool, path_of("run"), here.now),
                  ACME_SYSTEM_ERROR);
    assert_int_equal(errno, EISDIR);
    shell("test \"$(ls -A run)\" = " ACME_PLACEHOLDER_FILE);
    shell("rm -r run");
    refuse(ACME_RUNTIME_MISSING);
    shell("mkdir run; chmod 1777 run");
    refuse(ACME_RUNTIME_UNSAFE);
    shell("root; chmod 755 run; chown 65534 run");
    refuse(ACME_RUNTIME_UNSAFE);
    shell("chown 0 run");
    in_child(refuse_to_nobody, 1);
}

int main(void)
{
    unit_setup = set_up;
    unit_teardown = fixture_teardown_closed;
    UNIT_ADD(test_is_whole);
    UNIT_ADD(test_is_kept_while_it_is_good);
    UNIT_ADD_ROWS(test_damage, damages);
    UNIT_ADD(test_directory);
    return cmocka_run_group_tests_name("placeholder", unit_tests, NULL, NULL);
}
