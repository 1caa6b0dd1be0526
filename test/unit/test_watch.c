#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* RTLD_NEXT */
#endif

#include "spool_fixture.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "acme_watch.h"

/* Real directories, seen with the kernel's word and without it. */

#define NEWS_MAX 64

typedef struct {
    acme_watch_news_e news;
    apr_size_t spool;
    char name[NAME_MAX + 1];
    acme_error_e reason;
} told_t;

static struct {
    apr_pool_t *pool;
    acme_watch_memory_t *memory;
    acme_watch_spool_t spools[2];
    acme_watch_t *watch;
    int has_events;
    told_t told[NEWS_MAX];
    size_t count; /* of all, also of those beyond NEWS_MAX */
} the;

static void take(void *baton, const acme_watch_report_t *report)
{
    told_t *told = &the.told[the.count];

    (void)baton;
    if (report->news == ACME_WATCH_NO_EVENTS && !the.has_events) {
        return;
    }
    if (the.count++ < NEWS_MAX) {
        told->news = report->news;
        told->spool = report->spool;
        told->reason = report->reason;
        apr_cpystrn(told->name, report->name ? report->name : "", sizeof(told->name));
    }
}

/* A watch by a process that knows nothing but what the memory holds. */
static void watch(apr_size_t count, apr_time_t since)
{
    if (the.watch) {
        acme_watch_close(the.watch);
    }
    the.watch = acme_watch_create(the.pool, the.memory, the.spools, count, take, since);
    if (!the.has_events) {
        acme_watch_without_events(the.watch);
    }
}

/* From tick to tick, as far as the watch can tell: far more than it rests after a reading that
 * a busy machine has drawn out. */
#define TICK_SECONDS 600

static time_t ticked;

typedef int clock_gettime_t(clockid_t id, struct timespec *now);

/* Stands before libc's, and is ahead of it by what the ticks are apart. */
int clock_gettime(clockid_t id, struct timespec *now)
{
    static clock_gettime_t *next;
    int result;

    if (!next) {
        *(void **)&next = dlsym(RTLD_NEXT, "clock_gettime");
    }
    result = next(id, now);
    if (id == CLOCK_MONOTONIC) {
        now->tv_sec += ticked;
    }
    return result;
}

/* What the watch puts off, it has done afterwards. */
static void tick_at(apr_time_t now)
{
    int i;

    for (i = 0; i < 4; i++) {
        acme_watch_tick(the.watch, now, NULL);
        ticked += TICK_SECONDS;
        apr_sleep(apr_time_from_msec(5));
    }
}

static void tick(void)
{
    tick_at(apr_time_now());
}

#define DAY  apr_time_from_sec(24 * 60 * 60)
#define HOUR apr_time_from_sec(60 * 60)

/* Well after all that is in the spool has come. */
static apr_time_t later(void)
{
    return apr_time_now() + apr_time_from_sec(10);
}

static int setup(void **state, int has_events)
{
    int failed = fixture_setup_on_tmpfs(state);

    memset(&the, 0, sizeof(the));
    if (failed || apr_pool_create(&the.pool, NULL) != APR_SUCCESS) {
        return -1;
    }
    the.has_events = has_events;
    the.memory = apr_pcalloc(the.pool, sizeof(*the.memory));
    the.spools[0] = (acme_watch_spool_t){here.spool, ACME_OK};
    watch(1, later());
    tick_at(later());
    /* what comes from now on is new, however late the next tick is */
    tick();
    assert_int_equal(the.count, 0); /* the fixture's entry is good, and has been there before */
    return 0;
}

static int setup_with_events(void **state)
{
    return setup(state, 1);
}

static int setup_without_events(void **state)
{
    return setup(state, 0);
}

static int teardown(void **state)
{
    acme_watch_close(the.watch);
    apr_pool_destroy(the.pool);
    return fixture_teardown(state);
}

static const char *in_spool(const char *name)
{
    return path_of(apr_pstrcat(the.pool, "spool/", name, NULL));
}

/* As clients do it. */
static void put_with(const char *name, const char *value, mode_t mode)
{
    const char *temporary = in_spool(".tmp"), *path = in_spool(name);

    write_file(temporary, value, strlen(value));
    assert_return_code(chmod(temporary, mode), errno);
    assert_return_code(rename(temporary, path), errno);
}

static void put(const char *name)
{
    put_with(name, SPOOL_VALUE, 0644);
}

/* Both times, as touch(1) does; of an mtime alone inotify tells as if the file were written. */
static void age(const char *name, apr_interval_time_t by)
{
    const struct timespec then = {.tv_sec = (time_t)apr_time_sec(apr_time_now() - by)};
    const struct timespec times[] = {then, then};

    assert_return_code(utimensat(AT_FDCWD, in_spool(name), times, 0), errno);
}

/* That this is all that was told since the last time. */
static void assert_told(size_t count, ...)
{
    va_list list;
    size_t i;

    assert_int_equal(the.count, count);
    va_start(list, count);
    for (i = 0; i < count; i++) {
        assert_int_equal(the.told[i].news, va_arg(list, acme_watch_news_e));
        assert_string_equal(the.told[i].name, va_arg(list, const char *));
        assert_reason(the.told[i].reason, va_arg(list, acme_error_e));
    }
    va_end(list);
    the.count = 0;
}

static void assert_silent(void)
{
    tick();
    tick_at(later());
    assert_told(0);
}

/* Entries */

static void test_good_entry_is_told_once(void **state)
{
    (void)state;
    put("a.test");
    tick();
    assert_told(1, ACME_WATCH_ARRIVED, "a.test", ACME_OK);
    assert_silent();
}

static void test_bad_entry_is_told_with_its_reason_and_once_it_is_mended(void **state)
{
    (void)state;
    put_with("a.test", SPOOL_VALUE, 0666);
    tick();
    assert_told(1, ACME_WATCH_REFUSED, "a.test", ACME_ENTRY_WRITABLE);
    assert_silent();
    put("a.test");
    tick();
    assert_told(1, ACME_WATCH_ARRIVED, "a.test", ACME_OK);
}

static void test_changes_in_place_are_told(void **state)
{
    (void)state;
    assert_return_code(chmod(here.entry, 0666), errno);
    tick();
    assert_told(1, ACME_WATCH_REFUSED, SPOOL_NAME, ACME_ENTRY_WRITABLE);
    assert_return_code(chmod(here.entry, 0644), errno);
    tick();
    assert_told(1, ACME_WATCH_ARRIVED, SPOOL_NAME, ACME_OK);
    write_file(here.entry, BYTES("nonsense"));
    tick();
    assert_told(1, ACME_WATCH_REFUSED, SPOOL_NAME, ACME_VALUE_MALFORMED);
}

static void test_names_that_are_no_identifiers_are_told(void **state)
{
    (void)state;
    put("Upper.test");
    tick();
    assert_told(1, ACME_WATCH_REFUSED, "Upper.test", ACME_NAME_INVALID);
    assert_return_code(mkdir(in_spool("directory.test"), 0755), errno);
    tick();
    assert_told(1, ACME_WATCH_REFUSED, "directory.test", ACME_ENTRY_NOT_REGULAR);
    assert_return_code(symlink("nowhere", in_spool("link.test")), errno);
    tick();
    assert_told(1, ACME_WATCH_REFUSED, "link.test", ACME_ENTRY_SYMLINK);
}

static void test_removal_is_not_told(void **state)
{
    (void)state;
    put("a.test");
    assert_return_code(unlink(in_spool("a.test")), errno);
    assert_return_code(unlink(here.entry), errno);
    assert_silent();
}

static void test_what_is_bad_from_the_start_is_told(void **state)
{
    (void)state;
    put_with("bad.test", "nonsense", 0644);
    put("good.test");
    memset(the.memory, 0, sizeof(*the.memory));
    watch(1, later());
    tick_at(later());
    assert_told(1, ACME_WATCH_REFUSED, "bad.test", ACME_VALUE_MALFORMED);
    assert_silent();
}

/* Age */

static void test_entry_that_becomes_too_old_is_told_once(void **state)
{
    (void)state;
    age(SPOOL_NAME, DAY - HOUR);
    put("a.test"); /* which also shows a watch without events that there is something new */
    tick();
    tick_at(later());
    the.count = 0; /* the new mtime is a change like others */
    tick_at(apr_time_now() + HOUR / 2);
    assert_told(0);
    tick_at(apr_time_now() + HOUR + apr_time_from_sec(10));
    assert_told(1, ACME_WATCH_REFUSED, SPOOL_NAME, ACME_ENTRY_TOO_OLD);
    tick_at(apr_time_now() + 2 * HOUR);
    assert_told(0);
    tick_at(apr_time_now() + DAY + HOUR);
    assert_told(1, ACME_WATCH_REFUSED, "a.test", ACME_ENTRY_TOO_OLD);
}

static void test_entry_that_is_too_old_when_it_comes_is_told_once(void **state)
{
    (void)state;
    put("a.test");
    age("a.test", DAY + HOUR);
    tick();
    assert_told(1, ACME_WATCH_REFUSED, "a.test", ACME_ENTRY_TOO_OLD);
    assert_silent();
}

static void test_dot_file_is_told_after_an_hour(void **state)
{
    (void)state;
    write_file(in_spool(".left"), BYTES("anything"));
    assert_silent();
    tick_at(apr_time_now() + HOUR - apr_time_from_sec(10));
    assert_told(0);
    tick_at(apr_time_now() + HOUR + apr_time_from_sec(10));
    assert_told(1, ACME_WATCH_LEFTOVER, ".left", ACME_OK);
    tick_at(apr_time_now() + 2 * HOUR);
    assert_told(0);
}

/* Who takes over */

static void test_successor_tells_what_is_new_alone(void **state)
{
    (void)state;
    put("good.test");
    put_with("bad.test", "nonsense", 0644);
    age(SPOOL_NAME, 2 * DAY);
    write_file(in_spool(".left"), BYTES("anything"));
    age(".left", 2 * HOUR);
    tick();
    assert_int_equal(the.count, 4);
    the.count = 0;

    put("new.test");
    watch(1, apr_time_now());
    tick();
    assert_told(1, ACME_WATCH_ARRIVED, "new.test", ACME_OK);
    assert_silent();

    watch(1, later());
    tick_at(later());
    assert_told(0);
}

static void test_successor_tells_what_has_become_too_old(void **state)
{
    (void)state;
    watch(1, later());
    tick_at(apr_time_now() + DAY + HOUR);
    assert_told(1, ACME_WATCH_REFUSED, SPOOL_NAME, ACME_ENTRY_TOO_OLD);
    watch(1, later());
    tick_at(apr_time_now() + DAY + 2 * HOUR);
    assert_told(0);
}

static void test_clock_that_is_set_back_hides_nothing(void **state)
{
    (void)state;
    tick_at(apr_time_now() + DAY / 2);
    assert_told(0);
    put("a.test");
    watch(1, apr_time_now());
    tick();
    assert_told(1, ACME_WATCH_ARRIVED, "a.test", ACME_OK);
}

/* The directory */

static void test_directory_is_removed_and_made_again(void **state)
{
    const char *away = path_of("away");

    (void)state;
    assert_return_code(rename(here.directory, away), errno);
    tick();
    assert_told(1, ACME_WATCH_UNUSABLE, "", ACME_SPOOL_MISSING);
    assert_return_code(mkdir(here.directory, 0755), errno);
    tick();
    assert_told(1, ACME_WATCH_USABLE, "", ACME_OK);
    put("a.test");
    tick();
    assert_told(1, ACME_WATCH_ARRIVED, "a.test", ACME_OK);
}

static void test_directory_is_replaced_between_two_ticks(void **state)
{
    (void)state;
    assert_return_code(unlink(here.entry), errno);
    assert_return_code(rmdir(here.directory), errno);
    assert_return_code(mkdir(here.directory, 0755), errno);
    put_with("bad.test", "nonsense", 0644);
    tick();
    assert_told(1, ACME_WATCH_REFUSED, "bad.test", ACME_VALUE_MALFORMED);
    put("a.test");
    tick();
    assert_told(1, ACME_WATCH_ARRIVED, "a.test", ACME_OK);
}

static void test_symlink_is_switched(void **state)
{
    const char *entry;

    (void)state;
    assert_return_code(mkdir(path_of("other"), 0755), errno);
    entry = path_of("other/bad.test");
    write_file(entry, BYTES("nonsense"));
    assert_return_code(rename(here.directory, path_of("first")), errno);
    assert_return_code(symlink("other", here.directory), errno);
    tick();
    assert_told(1, ACME_WATCH_REFUSED, "bad.test", ACME_VALUE_MALFORMED);
    write_file(path_of("first/unseen.test"), BYTES("nonsense"));
    assert_silent();
    put("a.test");
    tick();
    assert_told(1, ACME_WATCH_ARRIVED, "a.test", ACME_OK);
}

static void test_directory_that_others_can_write_is_told(void **state)
{
    (void)state;
    assert_return_code(chmod(here.directory, 0777), errno);
    put("a.test");
    tick();
    assert_told(1, ACME_WATCH_UNUSABLE, "", ACME_SPOOL_WRITABLE);
    assert_silent();
    assert_return_code(chmod(here.directory, 0755), errno);
    tick();
    assert_told(2, ACME_WATCH_USABLE, "", ACME_OK, ACME_WATCH_ARRIVED, "a.test", ACME_OK);
}

static void test_what_is_known_of_a_directory_is_not_told(void **state)
{
    (void)state;
    assert_return_code(chmod(here.directory, 0777), errno);
    the.spools[0].known = ACME_SPOOL_WRITABLE;
    watch(1, apr_time_now());
    assert_silent();
}

static void test_two_spools(void **state)
{
    (void)state;
    assert_return_code(mkdir(path_of("second"), 0755), errno);
    the.spools[1] = the.spools[0];
    the.spools[1].spool.directory = apr_pstrdup(the.pool, path_of("second"));
    watch(2, apr_time_now());
    assert_silent();
    put("a.test");
    write_file(path_of("second/b.test"), BYTES("nonsense"));
    tick();
    assert_int_equal(the.told[0].spool, 0);
    assert_int_equal(the.told[1].spool, 1);
    assert_told(2, ACME_WATCH_ARRIVED, "a.test", ACME_OK, ACME_WATCH_REFUSED, "b.test",
                ACME_VALUE_MALFORMED);
}

static void test_two_paths_to_one_directory_tell_once(void **state)
{
    (void)state;
    assert_return_code(symlink("spool", path_of("link")), errno);
    the.spools[1] = the.spools[0];
    the.spools[1].spool.directory = apr_pstrdup(the.pool, path_of("link"));
    watch(2, apr_time_now());
    assert_silent();
    put("a.test");
    tick();
    assert_told(1, ACME_WATCH_ARRIVED, "a.test", ACME_OK);
    assert_return_code(unlink(path_of("link")), errno);
    tick();
    assert_told(1, ACME_WATCH_UNUSABLE, "", ACME_SPOOL_MISSING);
    put("b.test");
    tick();
    assert_told(1, ACME_WATCH_ARRIVED, "b.test", ACME_OK);
}

/* Many */

#define MANY 20000 /* more events than the kernel keeps */

static size_t arrived;

static void count_arrived(void *baton, const acme_watch_report_t *report)
{
    (void)baton;
    arrived += report->news == ACME_WATCH_ARRIVED;
    the.count += report->news == ACME_WATCH_LOST;
}

static void test_more_events_than_there_is_room_for(void **state)
{
    const char *first = in_spool("0.many.test");
    char name[PATH_MAX + 32];
    int i;

    (void)state;
    the.watch = acme_watch_create(the.pool, the.memory, the.spools, 1, count_arrived, later());
    tick_at(later());
    put("0.many.test");
    for (i = 1; i < MANY; i++) {
        snprintf(name, sizeof(name), "%s/%d.many.test", here.directory, i);
        assert_return_code(link(first, name), errno);
    }
    for (i = 0; i < 50 && arrived < MANY; i++) {
        tick();
    }
    assert_int_equal(the.count, 1);
    /* some may have been told twice, since not all of so many are remembered */
    assert_true(arrived >= MANY);
}

/* Where one in sixteen would be forgotten if each had but one place. */
static void test_thousand_files_are_told_once(void **state)
{
    static acme_watch_memory_t memory;
    const struct stat status = {0};
    char name[32];
    int round, i;

    (void)state;
    for (round = 0; round < 2; round++) {
        for (i = 0; i < 1000; i++) {
            snprintf(name, sizeof(name), "%d.test", i);
            assert_int_equal(acme_watch_memory_is_new(&memory, name, &status, 0), round == 0);
        }
    }
}

static void test_memory_is_bounded(void **state)
{
    (void)state;
    assert_true(sizeof(acme_watch_memory_t) <= 96 * 1024);
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, setup_with_events, teardown)
#define WITHOUT(test)                                                                          \
    ((struct CMUnitTest){#test " without events", test, setup_without_events, teardown, NULL})
#define BOTH(test) WITH(test), WITHOUT(test)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_good_entry_is_told_once),
        BOTH(test_bad_entry_is_told_with_its_reason_and_once_it_is_mended),
        WITH(test_changes_in_place_are_told),
        BOTH(test_names_that_are_no_identifiers_are_told),
        BOTH(test_removal_is_not_told),
        BOTH(test_what_is_bad_from_the_start_is_told),
        BOTH(test_entry_that_becomes_too_old_is_told_once),
        BOTH(test_entry_that_is_too_old_when_it_comes_is_told_once),
        BOTH(test_dot_file_is_told_after_an_hour),
        BOTH(test_successor_tells_what_is_new_alone),
        BOTH(test_successor_tells_what_has_become_too_old),
        BOTH(test_clock_that_is_set_back_hides_nothing),
        BOTH(test_directory_is_removed_and_made_again),
        BOTH(test_directory_is_replaced_between_two_ticks),
        BOTH(test_symlink_is_switched),
        BOTH(test_directory_that_others_can_write_is_told),
        BOTH(test_what_is_known_of_a_directory_is_not_told),
        BOTH(test_two_spools),
        BOTH(test_two_paths_to_one_directory_tell_once),
        WITH(test_more_events_than_there_is_room_for),
        cmocka_unit_test(test_thousand_files_are_told_once),
        cmocka_unit_test(test_memory_is_bounded),
    };

    apr_initialize();
    return cmocka_run_group_tests_name("watch", tests, NULL, NULL);
}
