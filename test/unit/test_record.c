/*
 * The record of handshakes: what is added is read, whole and in order, whatever becomes of
 * those who write.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit.h"

#include "acme_record.h"

#define WRITERS 4

typedef struct {
    acme_record_t *record; /* shared with child processes */
    acme_record_row_t rows[ACME_RECORD_ROWS];
} fixture_t;

static int make(void **state)
{
    fixture_t *fixture = calloc(1, sizeof(*fixture));

    fixture->record = mmap(NULL, acme_record_size(), PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(fixture->record, MAP_FAILED);
    acme_record_begin(fixture->record, 4711);
    *state = fixture;
    return 0;
}

static int unmake(void **state)
{
    fixture_t *fixture = *state;

    munmap(fixture->record, acme_record_size());
    free(fixture);
    return 0;
}

/* A row whose every part tells its number. */
static acme_record_row_t row_of(unsigned int number)
{
    acme_record_row_t row;

    memset(&row, 0, sizeof(row));
    row.ended = number;
    row.duration = number;
    row.outcome = ACME_RECORD_REFUSED;
    row.reason = ACME_NO_ENTRY;
    row.source = 1;
    row.is_identifier = 1;
    snprintf(row.name, sizeof(row.name), "name-%u.test", number);
    snprintf(row.peer, sizeof(row.peer), "192.0.2.1:%u", number);
    snprintf(row.vhost, sizeof(row.vhost), "vhost-%u.test", number);
    snprintf(row.tls, sizeof(row.tls), "TLSv1.3");
    return row;
}

static void add(fixture_t *fixture, unsigned int number)
{
    acme_record_row_t row = row_of(number);

    acme_record_add(fixture->record, &row);
}

static void assert_whole(const acme_record_row_t *row)
{
    acme_record_row_t expected = row_of((unsigned int)row->ended);

    /* The texts are what they are up to their ends. */
    assert_memory_equal(row, &expected, offsetof(acme_record_row_t, name));
    assert_string_equal(row->name, expected.name);
    assert_string_equal(row->peer, expected.peer);
    assert_string_equal(row->vhost, expected.vhost);
    assert_string_equal(row->tls, expected.tls);
}

static apr_size_t read_whole(fixture_t *fixture)
{
    apr_size_t i, count = acme_record_read(fixture->rows, fixture->record);

    for (i = 0; i < count; i++) {
        assert_whole(&fixture->rows[i]);
    }
    return count;
}

static void new_record_is_empty(void **state)
{
    fixture_t *fixture = *state;
    acme_record_counts_t counts, none;

    memset(&none, 0, sizeof(none));
    none.since = 4711;
    acme_record_counts(&counts, fixture->record);
    assert_memory_equal(&counts, &none, sizeof(none));
    assert_int_equal(acme_record_read(fixture->rows, fixture->record), 0);
}

static void rows_come_latest_first(void **state)
{
    fixture_t *fixture = *state;
    unsigned int i;

    for (i = 1; i <= 3; i++) {
        add(fixture, i);
    }
    assert_int_equal(read_whole(fixture), 3);
    for (i = 0; i < 3; i++) {
        assert_int_equal(fixture->rows[i].ended, 3 - i);
    }
}

static void only_the_last_rows_are_kept(void **state)
{
    fixture_t *fixture = *state;
    unsigned int i, most = 3 * ACME_RECORD_ROWS + 5;

    for (i = 1; i <= most; i++) {
        add(fixture, i);
    }
    assert_int_equal(read_whole(fixture), ACME_RECORD_ROWS);
    for (i = 0; i < ACME_RECORD_ROWS; i++) {
        assert_int_equal(fixture->rows[i].ended, most - i);
    }
}

static void outcomes_and_events_are_counted(void **state)
{
    fixture_t *fixture = *state;
    acme_record_row_t row = row_of(7);
    acme_record_counts_t counts;

    acme_record_add(fixture->record, &row);
    row.outcome = ACME_RECORD_ANSWERED;
    acme_record_add(fixture->record, &row);
    acme_record_add(fixture->record, &row);
    row.outcome = ACME_RECORD_INCOMPLETE;
    acme_record_add(fixture->record, &row);
    acme_record_count(fixture->record, ACME_RECORD_MINTED);
    acme_record_count(fixture->record, ACME_RECORD_CACHED);
    acme_record_count(fixture->record, ACME_RECORD_CACHED);
    acme_record_counts(&counts, fixture->record);
    assert_int_equal(counts.refused[ACME_NO_ENTRY], 1);
    assert_int_equal(counts.answered[1], 2);
    assert_int_equal(counts.answered_duration, 14);
    assert_int_equal(counts.outcomes[ACME_RECORD_ANSWERED], 2);
    assert_int_equal(counts.outcomes[ACME_RECORD_REFUSED], 1);
    assert_int_equal(counts.outcomes[ACME_RECORD_INCOMPLETE], 1);
    assert_int_equal(counts.events[ACME_RECORD_MINTED], 1);
    assert_int_equal(counts.events[ACME_RECORD_CACHED], 2);
    assert_int_equal(counts.events[ACME_RECORD_RELAYS], 0);
}

/* A byte of a row that is changed behind the record's back, as a writer would that was stopped
 * in the middle and goes on when the slot is another's. */
static void torn_row_is_left_out(void **state)
{
    fixture_t *fixture = *state;
    unsigned char *bytes = (unsigned char *)fixture->record;
    apr_size_t i, found = 0;

    add(fixture, 1);
    add(fixture, 2);
    for (i = 0; i + 11 < acme_record_size(); i++) {
        if (memcmp(bytes + i, "name-2.test", 11) == 0) {
            bytes[i] = 'N';
            found++;
        }
    }
    assert_int_equal(found, 1);
    assert_int_equal(read_whole(fixture), 1);
    assert_int_equal(fixture->rows[0].ended, 1);
}

static pid_t start_writer(fixture_t *fixture)
{
    pid_t child = fork();
    unsigned int i;

    if (child == 0) {
        for (i = 1;; i++) {
            add(fixture, i);
        }
    }
    assert_true(child > 0);
    return child;
}

static apr_uint64_t rows_so_far(fixture_t *fixture)
{
    acme_record_counts_t counts;

    acme_record_counts(&counts, fixture->record);
    return counts.refused[ACME_NO_ENTRY];
}

/* The writers go on for as long as it takes. */
static void wait_for_rows(fixture_t *fixture, apr_uint64_t total)
{
    do {
        read_whole(fixture);
    } while (rows_so_far(fixture) < total);
}

static void killed_writers_harm_nobody(void **state)
{
    fixture_t *fixture = *state;
    unsigned int round, i;

    for (round = 0; round < 50; round++) {
        pid_t writers[WRITERS];

        for (i = 0; i < WRITERS; i++) {
            writers[i] = start_writer(fixture);
        }
        wait_for_rows(fixture, rows_so_far(fixture) + 4 * ACME_RECORD_ROWS);
        for (i = 0; i < WRITERS; i++) {
            kill(writers[i], SIGKILL);
            assert_int_equal(waitpid(writers[i], NULL, 0), writers[i]);
        }
        /* Each spoils the row that it was writing, and perhaps one more, had it been held up.
         */
        assert_true(read_whole(fixture) >= ACME_RECORD_ROWS - 2 * WRITERS);
    }
    for (i = 1; i <= ACME_RECORD_ROWS; i++) {
        add(fixture, i);
    }
    assert_int_equal(read_whole(fixture), ACME_RECORD_ROWS);
}

static void processes_count_together(void **state)
{
    fixture_t *fixture = *state;
    acme_record_counts_t counts;
    unsigned int i, j, each = 2000;

    for (i = 0; i < WRITERS; i++) {
        pid_t child = fork();

        if (child == 0) {
            for (j = 1; j <= each; j++) {
                add(fixture, j);
            }
            _exit(0);
        }
        assert_true(child > 0);
    }
    while (wait(NULL) > 0) {
        read_whole(fixture);
    }
    acme_record_counts(&counts, fixture->record);
    assert_int_equal(counts.refused[ACME_NO_ENTRY], WRITERS * each);
    /* One that was held up for a whole round has put an old row in its slot. */
    assert_true(read_whole(fixture) >= ACME_RECORD_ROWS - WRITERS);
}

static void record_that_has_begun_goes_on(void **state)
{
    fixture_t *fixture = *state;
    acme_record_counts_t counts;

    add(fixture, 1);
    acme_record_begin(fixture->record, 4712);
    acme_record_counts(&counts, fixture->record);
    assert_int_equal(counts.since, 4711);
    assert_int_equal(read_whole(fixture), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(new_record_is_empty, make, unmake),
        cmocka_unit_test_setup_teardown(rows_come_latest_first, make, unmake),
        cmocka_unit_test_setup_teardown(only_the_last_rows_are_kept, make, unmake),
        cmocka_unit_test_setup_teardown(outcomes_and_events_are_counted, make, unmake),
        cmocka_unit_test_setup_teardown(torn_row_is_left_out, make, unmake),
        cmocka_unit_test_setup_teardown(killed_writers_harm_nobody, make, unmake),
        cmocka_unit_test_setup_teardown(processes_count_together, make, unmake),
        cmocka_unit_test_setup_teardown(record_that_has_begun_goes_on, make, unmake),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
