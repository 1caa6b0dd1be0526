#include "spool_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <apr_general.h>

/* What a look-up and a check of the directory have to say. */
typedef struct {
    acme_error_e reason;
    int error; /* errno */
    acme_digest_t digest;
    acme_error_e directory;
    uid_t owner;
} outcome_t;

typedef struct {
    const char *name;
    void (*change)(void); /* what is done to a good spool and entry */
    acme_error_e reason;
    int error;      /* errno, with ACME_SYSTEM_ERROR */
    int privileges; /* DROPPED: look as nobody, where the test runs as root */
} rule_row_t;

enum { KEPT, DROPPED };

static apr_pool_t *pool;
static outcome_t *outcome; /* shared with the child that looks as nobody */

/* --- the entry: what kind of file --- */

static void nothing(void)
{
}

static void entry_removed(void)
{
    assert_return_code(unlink(here.entry), errno);
}

static void entry_hard_linked(void)
{
    assert_return_code(link(here.entry, path_of("spool/.other")), errno);
}

static void entry_symlink(void)
{
    assert_return_code(rename(here.entry, path_of("spool/.target")), errno);
    assert_return_code(symlink(".target", here.entry), errno);
}

static void entry_symlink_elsewhere(void)
{
    assert_return_code(rename(here.entry, path_of("target")), errno);
    assert_return_code(symlink(path_of("target"), here.entry), errno);
}

static void entry_symlink_dangling(void)
{
    entry_removed();
    assert_return_code(symlink("nowhere", here.entry), errno);
}

static void entry_fifo(void)
{
    entry_removed();
    assert_return_code(mkfifo(here.entry, 0644), errno);
}

static void entry_directory(void)
{
    entry_removed();
    assert_return_code(mkdir(here.entry, 0755), errno);
}

static void entry_socket(void)
{
    entry_removed();
    assert_return_code(mknod(here.entry, S_IFSOCK | 0644, 0), errno);
}

static void entry_device(void)
{
    struct stat null;
    int fd;

    need_root();
    entry_removed();
    assert_return_code(stat("/dev/null", &null), errno);
    if (mknod(here.entry, S_IFCHR | 0644, null.st_rdev) != 0 && errno == EPERM) {
        skip_because("this container makes no devices");
    }
    fd = open(here.entry, O_RDONLY);
    if (fd < 0 && errno == EACCES) {
        skip_because("the file system is mounted nodev");
    }
    assert_return_code(fd, errno);
    close(fd);
}

/* --- the entry: whose it is and who can write or read it --- */

static void entry_of_another(void)
{
    give(here.entry, NOBODY, NOGROUP);
}

static void both_of_another(void)
{
    give(here.directory, NOBODY, NOGROUP);
    give(here.entry, NOBODY, NOGROUP);
}

static void directory_of_another_entry_of_root(void)
{
    give(here.directory, NOBODY, NOGROUP);
}

static void directory_of_one_entry_of_another(void)
{
    give(here.directory, NOBODY, NOGROUP);
    give(here.entry, SOMEBODY, NOGROUP);
}

static void entry_world_writable(void)
{
    assert_return_code(chmod(here.entry, 0646), errno);
}

static void group_writable(const char *path, mode_t mode)
{
    if (geteuid() == 0) {
        give(path, 0, NOGROUP);
    } else if (getegid() == 0) {
        skip_because("needs a group other than root's");
    }
    assert_return_code(chmod(path, mode), errno);
}

static void entry_group_writable(void)
{
    group_writable(here.entry, 0664);
}

static void entry_root_group_writable(void)
{
    give(here.entry, 0, 0);
    assert_return_code(chmod(here.entry, 0664), errno);
}

static void entry_unreadable(void)
{
    assert_return_code(chmod(here.entry, 0), errno);
}

/* What mkstemp leaves, and no one but its owner can read. */
static void entry_0600(void)
{
    need_root();
    assert_return_code(chmod(here.entry, 0600), errno);
}

/* --- the entry: what is in it --- */

static void entry_empty(void)
{
    write_file(here.entry, "", 0);
}

static void entry_line_feed(void)
{
    write_file(here.entry, BYTES("\n"));
}

static void entry_lf(void)
{
    write_file(here.entry, BYTES(SPOOL_VALUE "\n"));
}

static void entry_crlf(void)
{
    write_file(here.entry, BYTES(SPOOL_VALUE "\r\n"));
}

static void entry_two_lines(void)
{
    write_file(here.entry, BYTES(SPOOL_VALUE "\n" SPOOL_VALUE "\n"));
}

static void entry_nul(void)
{
    write_file(here.entry, BYTES(SPOOL_VALUE "\0"));
}

static void entry_words(void)
{
    write_file(here.entry, BYTES("no such challenge\n"));
}

static void entry_of_size(size_t size)
{
    char bytes[2048];

    memset(bytes, 'a', sizeof(bytes));
    write_file(here.entry, bytes, size);
}

static void entry_1024(void)
{
    entry_of_size(1024);
}

static void entry_1025(void)
{
    entry_of_size(1025);
}

static void entry_sparse(void)
{
    assert_return_code(truncate(here.entry, (off_t)1 << 40), errno);
}

/* /proc shows 0 as the size of a file with pages of text. */
static void entry_with_a_size_that_lies(void)
{
    struct stat status;

    if (stat("/proc/self/maps", &status) != 0) {
        skip_because("needs /proc");
    }
    assert_int_equal(status.st_size, 0);
    here.spool.directory = "/proc/self";
    assert_reason(acme_identifier_from_sni(&here.identifier, BYTES("maps")), ACME_OK);
}

/* --- the entry: its age --- */

static void aged(apr_interval_time_t age)
{
    set_mtime(here.entry, (time_t)apr_time_sec(here.now - age));
}

static void age_is_the_limit(void)
{
    aged(here.spool.entry_age);
}

static void age_is_a_second_more(void)
{
    aged(here.spool.entry_age + apr_time_from_sec(1));
}

static void five_minutes_ahead(void)
{
    aged(-apr_time_from_sec(5 * 60));
}

static void a_second_more_than_five_minutes_ahead(void)
{
    aged(-apr_time_from_sec(5 * 60 + 1));
}

static void six_minutes_ahead(void)
{
    aged(-apr_time_from_sec(6 * 60));
}

static void mtime_zero(void)
{
    set_mtime(here.entry, 0);
}

static void mtime_negative(void)
{
    set_mtime(here.entry, -1);
}

static void mtime_the_least(void)
{
    set_mtime(here.entry, (time_t)INT64_MIN);
}

static void mtime_the_most(void)
{
    set_mtime(here.entry, (time_t)INT64_MAX);
}

/* So far ahead that microseconds since 1970 overflow, where the file system can say so. */
static void mtime_that_overflows_apr(void)
{
    set_mtime(here.entry, (time_t)(INT64_MAX / APR_USEC_PER_SEC + 1));
}

static void limit_zero_and_new(void)
{
    here.spool.entry_age = 0;
    aged(0);
}

static void limit_zero_and_a_second_old(void)
{
    here.spool.entry_age = 0;
    aged(apr_time_from_sec(1));
}

static void limit_the_most_and_old(void)
{
    here.spool.entry_age = INT64_MAX;
    set_mtime(here.entry, 0);
}

/* --- the directory --- */

static void directory_moved(void)
{
    assert_return_code(rename(here.directory, path_of("moved")), errno);
}

static void parent_missing(void)
{
    here.spool.directory = path_of("nowhere/spool");
}

static void directory_empty_path(void)
{
    here.spool.directory = "";
}

static void directory_is_a_file(void)
{
    directory_moved();
    write_file(here.directory, SPOOL_VALUE, strlen(SPOOL_VALUE));
}

static void parent_is_a_file(void)
{
    here.spool.directory = path_of("spool/" SPOOL_NAME "/spool");
}

static void directory_is_a_fifo(void)
{
    directory_moved();
    assert_return_code(mkfifo(here.directory, 0755), errno);
}

static void directory_is_a_symlink(void)
{
    directory_moved();
    assert_return_code(symlink("moved", here.directory), errno);
}

static void directory_is_a_symlink_to_what_others_can_write(void)
{
    directory_is_a_symlink();
    assert_return_code(chmod(path_of("moved"), 0777), errno);
}

static void directory_is_a_symlink_to_a_file(void)
{
    directory_moved();
    assert_return_code(symlink("moved/" SPOOL_NAME, here.directory), errno);
}

static void directory_is_a_dangling_symlink(void)
{
    directory_moved();
    assert_return_code(symlink("nowhere", here.directory), errno);
}

static void directory_is_a_symlink_loop(void)
{
    directory_moved();
    assert_return_code(symlink("spool", here.directory), errno);
}

static void directory_path_too_long(void)
{
    static char path[PATH_MAX + 2];

    memset(path, '/', sizeof(path) - 1);
    here.spool.directory = path;
}

static void directory_world_writable(void)
{
    assert_return_code(chmod(here.directory, 0757), errno);
}

static void directory_sticky(void)
{
    assert_return_code(chmod(here.directory, 01777), errno);
}

static void directory_group_writable(void)
{
    group_writable(here.directory, 0775);
}

static void directory_root_group_writable(void)
{
    give(here.directory, 0, 0);
    assert_return_code(chmod(here.directory, 0775), errno);
}

static void directory_unreadable(void)
{
    assert_return_code(chmod(here.directory, 0), errno);
}

static void directory_0700(void)
{
    need_root();
    assert_return_code(chmod(here.directory, 0700), errno);
}

static void parent_unsearchable(void)
{
    assert_return_code(chmod(here.base, 0), errno);
}

static const rule_row_t rules[] = {
    {"good entry", nothing, ACME_OK, 0, KEPT},
    {"good entry, looked at as nobody", nothing, ACME_OK, 0, DROPPED},
    {"no entry", entry_removed, ACME_NO_ENTRY, 0, KEPT},
    {"entry is a hard link", entry_hard_linked, ACME_OK, 0, KEPT},
    {"entry is a symlink to a good one", entry_symlink, ACME_ENTRY_SYMLINK, 0, KEPT},
    {"entry is a symlink to a good one elsewhere", entry_symlink_elsewhere, ACME_ENTRY_SYMLINK,
     0, KEPT},
    {"entry is a dangling symlink", entry_symlink_dangling, ACME_ENTRY_SYMLINK, 0, KEPT},
    {"entry is a FIFO", entry_fifo, ACME_ENTRY_NOT_REGULAR, 0, KEPT},
    {"entry is a device", entry_device, ACME_ENTRY_NOT_REGULAR, 0, KEPT},
    {"entry is a directory", entry_directory, ACME_ENTRY_NOT_REGULAR, 0, KEPT},
    {"entry is a socket", entry_socket, ACME_ENTRY_NOT_REGULAR, 0, KEPT},

    {"entry of another user", entry_of_another, ACME_ENTRY_OWNER, 0, KEPT},
    {"entry and spool of another user", both_of_another, ACME_OK, 0, KEPT},
    {"entry of root in another user's spool", directory_of_another_entry_of_root, ACME_OK, 0,
     KEPT},
    {"entry of a third user in another's spool", directory_of_one_entry_of_another,
     ACME_ENTRY_OWNER, 0, KEPT},
    {"entry that the world can write", entry_world_writable, ACME_ENTRY_WRITABLE, 0, KEPT},
    {"entry that a group can write", entry_group_writable, ACME_ENTRY_WRITABLE, 0, KEPT},
    {"entry that root's group can write", entry_root_group_writable, ACME_OK, 0, KEPT},
    {"entry of mode 0000", entry_unreadable, ACME_ENTRY_UNREADABLE, 0, DROPPED},
    {"entry of mode 0600", entry_0600, ACME_ENTRY_UNREADABLE, 0, DROPPED},

    {"entry is empty", entry_empty, ACME_VALUE_EMPTY, 0, KEPT},
    {"entry is a line feed", entry_line_feed, ACME_VALUE_EMPTY, 0, KEPT},
    {"entry ends with LF", entry_lf, ACME_OK, 0, KEPT},
    {"entry ends with CRLF", entry_crlf, ACME_OK, 0, KEPT},
    {"entry of two lines", entry_two_lines, ACME_VALUE_LINES, 0, KEPT},
    {"entry with a NUL", entry_nul, ACME_VALUE_MALFORMED, 0, KEPT},
    {"entry of words", entry_words, ACME_VALUE_MALFORMED, 0, KEPT},
    {"entry of 1024 bytes", entry_1024, ACME_VALUE_MALFORMED, 0, KEPT},
    {"entry of 1025 bytes", entry_1025, ACME_ENTRY_TOO_LARGE, 0, KEPT},
    {"entry of a terabyte, sparse", entry_sparse, ACME_ENTRY_TOO_LARGE, 0, KEPT},
    {"entry longer than its size", entry_with_a_size_that_lies, ACME_ENTRY_TOO_LARGE, 0, KEPT},

    {"entry as old as may be", age_is_the_limit, ACME_OK, 0, KEPT},
    {"entry older by a second", age_is_a_second_more, ACME_ENTRY_TOO_OLD, 0, KEPT},
    {"entry 5 minutes ahead", five_minutes_ahead, ACME_OK, 0, KEPT},
    {"entry 5 minutes and a second ahead", a_second_more_than_five_minutes_ahead,
     ACME_ENTRY_FUTURE, 0, KEPT},
    {"entry 6 minutes ahead", six_minutes_ahead, ACME_ENTRY_FUTURE, 0, KEPT},
    {"entry of 1970", mtime_zero, ACME_ENTRY_TOO_OLD, 0, KEPT},
    {"entry of before 1970", mtime_negative, ACME_ENTRY_TOO_OLD, 0, KEPT},
    {"no age allowed, entry of now", limit_zero_and_new, ACME_OK, 0, KEPT},
    {"no age allowed, entry a second old", limit_zero_and_a_second_old, ACME_ENTRY_TOO_OLD, 0,
     KEPT},
    {"any age allowed, entry of 1970", limit_the_most_and_old, ACME_OK, 0, KEPT},

    {"spool is missing", directory_moved, ACME_SPOOL_MISSING, 0, KEPT},
    {"spool's parent is missing", parent_missing, ACME_SPOOL_MISSING, 0, KEPT},
    {"spool's path is empty", directory_empty_path, ACME_SPOOL_MISSING, 0, KEPT},
    {"spool is a file", directory_is_a_file, ACME_SPOOL_NOT_DIRECTORY, 0, KEPT},
    {"spool's parent is a file", parent_is_a_file, ACME_SPOOL_NOT_DIRECTORY, 0, KEPT},
    {"spool is a FIFO", directory_is_a_fifo, ACME_SPOOL_NOT_DIRECTORY, 0, KEPT},
    {"spool is a symlink to a good one", directory_is_a_symlink, ACME_OK, 0, KEPT},
    {"spool is a symlink to one that the world can write",
     directory_is_a_symlink_to_what_others_can_write, ACME_SPOOL_WRITABLE, 0, KEPT},
    {"spool is a symlink to a file", directory_is_a_symlink_to_a_file, ACME_SPOOL_NOT_DIRECTORY,
     0, KEPT},
    {"spool is a dangling symlink", directory_is_a_dangling_symlink, ACME_SPOOL_MISSING, 0,
     KEPT},
    {"spool is a symlink loop", directory_is_a_symlink_loop, ACME_SYSTEM_ERROR, ELOOP, KEPT},
    {"spool's path is too long", directory_path_too_long, ACME_SYSTEM_ERROR, ENAMETOOLONG,
     KEPT},
    {"spool that the world can write", directory_world_writable, ACME_SPOOL_WRITABLE, 0, KEPT},
    {"spool of mode 1777", directory_sticky, ACME_SPOOL_WRITABLE, 0, KEPT},
    {"spool that a group can write", directory_group_writable, ACME_SPOOL_WRITABLE, 0, KEPT},
    {"spool that root's group can write", directory_root_group_writable, ACME_OK, 0, KEPT},
    {"spool of mode 0000", directory_unreadable, ACME_SPOOL_UNREADABLE, 0, DROPPED},
    {"spool of mode 0700", directory_0700, ACME_SPOOL_UNREADABLE, 0, DROPPED},
    {"spool's parent of mode 0000", parent_unsearchable, ACME_SPOOL_UNREADABLE, 0, DROPPED},
};

/* On tmpfs, which keeps such times as they are. */
static const rule_row_t times[] = {
    {"entry as old as can be told", mtime_the_least, ACME_ENTRY_TOO_OLD, 0, KEPT},
    {"entry as far ahead as can be told", mtime_the_most, ACME_ENTRY_FUTURE, 0, KEPT},
    {"entry too far ahead for APR's clock", mtime_that_overflows_apr, ACME_ENTRY_FUTURE, 0,
     KEPT},
};

static int is_about_the_directory(acme_error_e reason)
{
    return reason == ACME_SYSTEM_ERROR ||
           (reason >= ACME_SPOOL_MISSING && reason <= ACME_SPOOL_WRITABLE);
}

static acme_error_e check_for(uid_t user, gid_t group, uid_t *owner)
{
    const char *closed;

    return acme_spool_check(pool, here.spool.directory, user, group, owner, &closed);
}

static void look(void)
{
    memset(outcome, 0, sizeof(*outcome));
    memcpy(outcome->digest.bytes, UNTOUCHED_DIGEST, ACME_DIGEST_SIZE);
    outcome->directory = check_for(geteuid(), getegid(), &outcome->owner);
    errno = 0;
    outcome->reason =
        acme_spool_find(&outcome->digest, &here.spool, &here.identifier, here.now);
    outcome->error = errno;
}

static void look_as_nobody(void)
{
    become_nobody();
    look();
}

static void look_with(int privileges)
{
    if (privileges == DROPPED && geteuid() == 0) {
        in_child(look_as_nobody);
    } else {
        look();
    }
}

static void assert_outcome(acme_error_e reason, const char *digest)
{
    assert_reason(outcome->reason, reason);
    assert_memory_equal(outcome->digest.bytes, digest, ACME_DIGEST_SIZE);
    assert_reason(outcome->directory, is_about_the_directory(reason) ? reason : ACME_OK);
}

/* How many file descriptors are open, of as many as a test could ever use. */
static int open_descriptors(void)
{
    int fd, count = 0;

    for (fd = 0; fd < 256; fd++) {
        count += fcntl(fd, F_GETFD) >= 0;
    }
    return count;
}

static void test_rule(void **state)
{
    const rule_row_t *row = *state;
    int descriptors = open_descriptors();

    look_with(row->privileges);
    assert_outcome(ACME_OK, SPOOL_DIGEST);

    row->change();
    look_with(row->privileges);
    assert_outcome(row->reason, row->reason == ACME_OK ? SPOOL_DIGEST : UNTOUCHED_DIGEST);
    if (row->reason == ACME_SYSTEM_ERROR) {
        assert_int_equal(outcome->error, row->error);
    }
    assert_int_equal(open_descriptors(), descriptors);
}

static void assert_look(acme_error_e reason, const char *digest)
{
    look();
    assert_outcome(reason, digest);
}

static void test_entry_counts_from_rename_to_unlink(void **state)
{
    (void)state;
    write_file(path_of("spool/.new"), BYTES(OTHER_VALUE "\n"));
    assert_look(ACME_OK, SPOOL_DIGEST);
    assert_return_code(rename(path_of("spool/.new"), here.entry), errno);
    assert_look(ACME_OK, OTHER_DIGEST);
    assert_look(ACME_OK, OTHER_DIGEST);
    assert_return_code(unlink(here.entry), errno);
    assert_look(ACME_NO_ENTRY, UNTOUCHED_DIGEST);
}

static void test_directory_replaced_between_look_ups(void **state)
{
    (void)state;
    assert_look(ACME_OK, SPOOL_DIGEST);
    directory_moved();
    assert_look(ACME_SPOOL_MISSING, UNTOUCHED_DIGEST);
    assert_return_code(mkdir(here.directory, 0755), errno);
    assert_look(ACME_NO_ENTRY, UNTOUCHED_DIGEST);
    write_file(here.entry, BYTES(OTHER_VALUE));
    assert_look(ACME_OK, OTHER_DIGEST);
}

static void test_directory_mended_between_look_ups(void **state)
{
    (void)state;
    directory_world_writable();
    assert_look(ACME_SPOOL_WRITABLE, UNTOUCHED_DIGEST);
    assert_return_code(chmod(here.directory, 0755), errno);
    assert_look(ACME_OK, SPOOL_DIGEST);
}

static void test_symlink_to_the_spool_pointed_elsewhere(void **state)
{
    (void)state;
    directory_is_a_symlink();
    assert_look(ACME_OK, SPOOL_DIGEST);
    assert_return_code(mkdir(path_of("second"), 0755), errno);
    write_file(path_of("second/" SPOOL_NAME), BYTES(OTHER_VALUE));
    assert_return_code(symlink("second", path_of("link")), errno);
    assert_return_code(rename(path_of("link"), here.directory), errno);
    assert_look(ACME_OK, OTHER_DIGEST);
}

/* Names as long as there are, and IPv6 addresses with their colons, are file names. */
static void test_entry_of_each_kind_of_name(void **state)
{
    static const char ipv6[] =
        "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
    char path[PATH_MAX];

    (void)state;
    use_longest_name();
    assert_look(ACME_NO_ENTRY, UNTOUCHED_DIGEST);
    snprintf(path, sizeof(path), "spool/%s", here.identifier.name);
    write_file(path_of(path), BYTES(OTHER_VALUE));
    assert_look(ACME_OK, OTHER_DIGEST);

    assert_reason(acme_identifier_from_sni(&here.identifier, BYTES(ipv6)), ACME_OK);
    assert_look(ACME_NO_ENTRY, UNTOUCHED_DIGEST);
    write_file(path_of("spool/2001:db8::1"), BYTES(SPOOL_VALUE));
    assert_look(ACME_OK, SPOOL_DIGEST);
}

static void test_owner_is_told(void **state)
{
    (void)state;
    look();
    assert_int_equal(outcome->owner, geteuid());
    give(here.directory, SOMEBODY, NOGROUP);
    look();
    assert_int_equal(outcome->owner, SOMEBODY);
}

/* Who asks about the spool is root when httpd starts, and does not know by trying. */
static void test_check_for_another_user(void **state)
{
    static const struct {
        mode_t mode;
        int is_owner, is_group; /* of the user that the check is about */
        acme_error_e reason;
    } rows[] = {
        {0755, 0, 0, ACME_OK},
        {0754, 0, 0, ACME_SPOOL_UNREADABLE},
        {0751, 0, 0, ACME_SPOOL_UNREADABLE},
        {0750, 0, 0, ACME_SPOOL_UNREADABLE},
        {0750, 0, 1, ACME_OK},
        {0745, 0, 1, ACME_SPOOL_UNREADABLE},
        {0705, 0, 1, ACME_SPOOL_UNREADABLE},
        {0700, 0, 1, ACME_SPOOL_UNREADABLE},
        {0700, 1, 0, ACME_OK},
        {0500, 1, 1, ACME_OK},
        {0655, 1, 1, ACME_SPOOL_UNREADABLE},
        {0355, 1, 1, ACME_SPOOL_UNREADABLE},
    };
    uid_t owner;
    size_t i;

    (void)state;
    give(here.directory, NOBODY, NOGROUP);
    for (i = 0; i < COUNT(rows); i++) {
        assert_return_code(chmod(here.directory, rows[i].mode), errno);
        assert_reason(check_for(rows[i].is_owner ? NOBODY : SOMEBODY,
                                rows[i].is_group ? NOGROUP : NOGROUP - 1, &owner),
                      rows[i].reason);
        assert_reason(check_for(0, 0, &owner), ACME_OK);
    }
}

/* In place of libc's, since no user has other groups for sure. */
static int has_other_group;

struct passwd *getpwuid(uid_t user)
{
    static struct passwd somebody = {.pw_name = "somebody"};

    return user == SOMEBODY && has_other_group ? &somebody : NULL;
}

int getgrouplist(const char *user, gid_t primary, gid_t *groups, int *count)
{
    assert_string_equal(user, "somebody");
    assert_true(*count >= 2);
    groups[0] = primary;
    groups[1] = NOGROUP;
    *count = 2;
    return *count;
}

static void test_check_for_a_user_with_other_groups(void **state)
{
    uid_t owner;

    (void)state;
    give(here.directory, NOBODY, NOGROUP);
    assert_return_code(chmod(here.directory, 0750), errno);
    assert_reason(check_for(SOMEBODY, NOGROUP - 1, &owner), ACME_SPOOL_UNREADABLE);
    has_other_group = 1;
    assert_reason(check_for(SOMEBODY, NOGROUP - 1, &owner), ACME_OK);
    has_other_group = 0;
}

static void test_no_file_descriptor_left(void **state)
{
    struct rlimit limit, none;

    (void)state;
    assert_return_code(getrlimit(RLIMIT_NOFILE, &limit), errno);
    none = limit;
    none.rlim_cur = 0;
    assert_return_code(setrlimit(RLIMIT_NOFILE, &none), errno);
    look();
    assert_return_code(setrlimit(RLIMIT_NOFILE, &limit), errno);
    assert_outcome(ACME_SYSTEM_ERROR, UNTOUCHED_DIGEST);
    assert_int_equal(outcome->error, EMFILE);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
    static const struct CMUnitTest others[] = {
        CASE(test_entry_counts_from_rename_to_unlink),
        CASE(test_directory_replaced_between_look_ups),
        CASE(test_directory_mended_between_look_ups),
        CASE(test_symlink_to_the_spool_pointed_elsewhere),
        CASE(test_entry_of_each_kind_of_name),
        CASE(test_owner_is_told),
        CASE(test_check_for_another_user),
        CASE(test_check_for_a_user_with_other_groups),
        CASE(test_no_file_descriptor_left),
    };
    struct CMUnitTest tests[COUNT(rules) + COUNT(times) + COUNT(others)];
    size_t i, n = 0;
    int failed;

    for (i = 0; i < COUNT(rules); i++, n++) {
        tests[n] = unit_case(rules[i].name, test_rule, &rules[i]);
        tests[n].setup_func = fixture_setup;
        tests[n].teardown_func = fixture_teardown;
    }
    for (i = 0; i < COUNT(times); i++, n++) {
        tests[n] = unit_case(times[i].name, test_rule, &times[i]);
        tests[n].setup_func = fixture_setup_on_tmpfs;
        tests[n].teardown_func = fixture_teardown;
    }
    memcpy(tests + n, others, sizeof(others));
    if (apr_initialize() != APR_SUCCESS || apr_pool_create(&pool, NULL) != APR_SUCCESS) {
        return 1;
    }
    outcome = shared(sizeof(*outcome));
    failed = cmocka_run_group_tests_name("spool", tests, NULL, NULL);
    apr_terminate();
    return failed;
}
