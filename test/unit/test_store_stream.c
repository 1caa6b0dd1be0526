#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* RTLD_NEXT */
#endif

#include "unit.h"

#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "acme_store_stream.h"

#define LONG  apr_time_from_sec(60)
#define SHORT apr_time_from_msec(50)

/* More than the queue of a listener holds that was asked for the shortest. */
#define CROWD 4

/* By when a path that has died has to be known, in seconds. */
#define PATH_DEAD 30

static apr_pool_t *pool;
static char directory[64];
static int listener, crowd[CROWD];

/* Where not -1: its queue is relieved once somebody has found it full. */
static int relieved = -1;

typedef int connect_t(int fd, const struct sockaddr *address, socklen_t size);

/* Stands before the C library's. */
int connect(int fd, const struct sockaddr *address, socklen_t size)
{
    connect_t *next;
    int result, saved;

    *(void **)&next = dlsym(RTLD_NEXT, "connect");
    result = next(fd, address, size);
    saved = errno;
    if (result != 0 && saved == EAGAIN && relieved >= 0) {
        close(accept(relieved, NULL, NULL));
        relieved = -1;
    }
    errno = saved;
    return result;
}

static acme_store_t *parse(const char *url)
{
    acme_store_t *store = NULL;

    assert_null(acme_store_parse(&store, pool, url, NULL));
    assert_null(acme_store_load(store, pool));
    return store;
}

/* A listener with the shortest queue there is, and a crowd that fills it, where that is wanted.
 */
static void start_listener(struct sockaddr *address, socklen_t size, int is_crowded)
{
    int i;

    listener = socket(address->sa_family, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, address, size), 0);
    assert_int_equal(listen(listener, 0), 0);
    assert_int_equal(getsockname(listener, address, &size), 0);
    for (i = 0; i < CROWD; i++) {
        crowd[i] = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
        if (is_crowded) {
            connect(crowd[i], address, size);
        }
    }
}

static acme_store_t *start_socket(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    apr_snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", directory);
    start_listener((struct sockaddr *)&address, sizeof(address), 1);
    return parse(apr_pstrcat(pool, "unix://", directory, "/socket", NULL));
}

static acme_store_t *start_tcp(int is_crowded)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    start_listener((struct sockaddr *)&address, sizeof(address), is_crowded);
    return parse(apr_psprintf(pool, "redis://127.0.0.1:%d", ntohs(address.sin_port)));
}

static int end(void **state)
{
    int i;

    (void)state;
    for (i = 0; i < CROWD; i++) {
        close(crowd[i]);
    }
    close(listener);
    unlink(apr_pstrcat(pool, directory, "/socket", NULL));
    return 0;
}

static acme_error_e open_stream(acme_store_stream_t *stream, const acme_store_t *store,
                                apr_interval_time_t timeout)
{
    acme_store_call_t call;

    acme_store_begin(&call, store, timeout);
    return acme_store_stream_open(stream, &call);
}

static void test_full_queue_of_a_socket_is_waited_for(void **state)
{
    const acme_store_t *store = start_socket();
    acme_store_stream_t stream;

    (void)state;
    assert_reason(open_stream(&stream, store, SHORT), ACME_STORE_TIMEOUT);
    relieved = listener;
    assert_reason(open_stream(&stream, store, LONG), ACME_OK);
    assert_int_equal(relieved, -1);
    acme_store_stream_close(&stream);
}

static void test_connect_that_hangs_ends_in_time(void **state)
{
    const acme_store_t *store = start_tcp(1);
    acme_store_stream_t stream;
    apr_time_t before = apr_time_now(), took;

    (void)state;
    assert_reason(open_stream(&stream, store, SHORT), ACME_STORE_TIMEOUT);
    took = apr_time_now() - before;
    assert_true(took >= SHORT && took < LONG);
}

static int option_of(int fd, int level, int name)
{
    int value = 0;
    socklen_t size = sizeof(value);

    assert_int_equal(getsockopt(fd, level, name, &value, &size), 0);
    return value;
}

static void test_path_that_dies_is_noticed(void **state)
{
    const acme_store_t *store = start_tcp(0);
    acme_store_stream_t stream;

    (void)state;
    assert_reason(open_stream(&stream, store, LONG), ACME_OK);
    assert_true(option_of(stream.fd, SOL_SOCKET, SO_KEEPALIVE));
    assert_in_range(option_of(stream.fd, IPPROTO_TCP, TCP_KEEPIDLE) +
                        option_of(stream.fd, IPPROTO_TCP, TCP_KEEPINTVL) *
                            option_of(stream.fd, IPPROTO_TCP, TCP_KEEPCNT),
                    1, PATH_DEAD);
    acme_store_stream_close(&stream);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_full_queue_of_a_socket_is_waited_for, end),
        cmocka_unit_test_teardown(test_connect_that_hangs_ends_in_time, end),
        cmocka_unit_test_teardown(test_path_that_dies_is_noticed, end),
    };
    int failed;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    strcpy(directory, "/tmp/acme-alpn-stream-XXXXXX");
    if (!mkdtemp(directory)) {
        return 1;
    }
    failed = cmocka_run_group_tests_name("store stream", tests, NULL, NULL);
    rmdir(directory);
    return failed;
}
