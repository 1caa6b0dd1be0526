#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* setgroups, MAP_ANONYMOUS */
#endif
#include "spool_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <apr_general.h>

/* Far more than any test takes, so that a look-up that blocks ends the run. */
#define DEADLINE_SECONDS 600

fixture_t here;

const char *path_of(const char *name)
{
    static char paths[2][PATH_MAX];
    static int next;
    char *path = paths[next++ % 2];

    assert_true(snprintf(path, PATH_MAX, "%s/%s", here.base, name) < PATH_MAX);
    return path;
}

void use_longest_name(void)
{
    char longest[ACME_IDENTIFIER_MAX];
    size_t i;

    for (i = 0; i < sizeof(longest); i++) {
        longest[i] = i % 2 ? '.' : 'a';
    }
    assert_reason(acme_identifier_from_sni(&here.identifier, longest, sizeof(longest)),
                  ACME_OK);
}

void set_mtime(const char *path, time_t seconds)
{
    const struct timespec times[] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = seconds}};

    assert_return_code(utimensat(AT_FDCWD, path, times, 0), errno);
}

void shell(const char *commands)
{
    static const char start[] =
        "root() { test $(id -u) = 0 || exit 77; }\n"
        "set -e; E=spool/" SPOOL_NAME " V=" SPOOL_VALUE " O=" OTHER_VALUE "; cd";
    char script[PATH_MAX + 2048];
    int status;

    assert_uint_in_range(
        snprintf(script, sizeof(script), "%s %s; %s", start, here.base, commands), 1,
        sizeof(script) - 1);
    status = system(script);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        skip_because("needs root, or what this file system lacks");
    }
    assert_int_equal(status, 0);
}

void *shared(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    assert_ptr_not_equal(memory, MAP_FAILED);
    return memory;
}

void in_child(void (*body)(void), int is_nobody)
{
    int status;
    pid_t child = fork();

    assert_return_code(child, errno);
    if (child == 0) {
        alarm(DEADLINE_SECONDS);
        if (is_nobody && geteuid() == 0 &&
            (setgroups(0, NULL) != 0 || setgid(NOGROUP) != 0 || setuid(NOBODY) != 0)) {
            _exit(1);
        }
        body();
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* How many are open, of as many as a test could ever use. */
static int open_descriptors(void)
{
    int fd, count = 0;

    for (fd = 0; fd < 256; fd++) {
        count += fcntl(fd, F_GETFD) >= 0;
    }
    return count;
}

static int set_up_in(const char *parent)
{
    alarm(DEADLINE_SECONDS);
    umask(022);
    snprintf(here.base, sizeof(here.base), "%s/acme-spool-XXXXXX", parent);
    if (!mkdtemp(here.base)) {
        return -1;
    }
    strcpy(here.directory, path_of("spool"));
    strcpy(here.entry, path_of("spool/" SPOOL_NAME));
    shell("chmod 755 .; mkdir spool; printf %s $V >$E");
    assert_return_code(mknod(path_of("socket"), S_IFSOCK | 0644, 0), errno);
    if (apr_initialize() != APR_SUCCESS || apr_pool_create(&here.pool, NULL) != APR_SUCCESS) {
        return -1;
    }
    here.now = apr_time_now();
    here.descriptors = open_descriptors();
    here.spool = (acme_spool_t){here.directory, apr_time_from_sec(24 * 60 * 60), NULL};
    assert_reason(acme_identifier_from_sni(&here.identifier, BYTES(SPOOL_NAME)), ACME_OK);
    return 0;
}

int fixture_setup(void **state)
{
    const char *parent = getenv("TMPDIR");

    (void)state;
    return set_up_in(parent ? parent : "/tmp");
}

int fixture_setup_on_tmpfs(void **state)
{
    return access("/dev/shm", W_OK) == 0 ? set_up_in("/dev/shm") : fixture_setup(state);
}

int fixture_teardown(void **state)
{
    char script[4 * PATH_MAX];

    (void)state;
    alarm(0);
    assert_int_equal(open_descriptors(), here.descriptors);
    apr_pool_destroy(here.pool);
    /* A test may have locked even us out, or have removed or replaced the spool. */
    snprintf(script, sizeof(script), "chmod 755 %s %s 2>/dev/null; rm -rf %s", here.base,
             here.directory, here.base);
    return system(script);
}
