#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* RTLD_NEXT */
#endif

#include "unit.h"

#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "acme_net.h"

#define LONG  apr_time_from_sec(60)
#define SHORT apr_time_from_msec(50)

/* More than the queue of a listener holds that was asked for the shortest. */
#define CROWD 4

/* By when a path that has died has to be known, in seconds. */
#define PATH_DEAD 30

static apr_pool_t *pool;
static char directory[64];
static int listener = -1, crowd[CROWD] = {-1, -1, -1, -1};

/* Where not -1: its queue is relieved once somebody has found it full. */
static int relieved = -1;

typedef int connect_t(int fd, const struct sockaddr *address, socklen_t size);
typedef int getaddrinfo_t(const char *host, const char *port, const struct addrinfo *hints,
                          struct addrinfo **found);

/* These two stand before the C library's. */
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

int getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                struct addrinfo **found)
{
    getaddrinfo_t *next;

    *(void **)&next = dlsym(RTLD_NEXT, "getaddrinfo");
    if (strcmp(host, "silent.test") == 0 && !(hints->ai_flags & AI_NUMERICHOST)) {
        pause();
    }
    return next(host, port, hints, found);
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
    for (i = 0; i < CROWD && is_crowded; i++) {
        crowd[i] = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
        connect(crowd[i], address, size);
    }
}

/* The address of a listener on the loopback interface. */
static void start_tcp(acme_addresses_t *addresses, int is_crowded)
{
    struct sockaddr_in *address = (struct sockaddr_in *)&addresses->address[0].socket;

    memset(addresses, 0, sizeof(*addresses));
    address->sin_family = AF_INET;
    address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    addresses->count = 1;
    addresses->address[0].size = sizeof(*address);
    start_listener((struct sockaddr *)address, sizeof(*address), is_crowded);
}

static int end(void **state)
{
    int i;

    (void)state;
    for (i = 0; i < CROWD; i++) {
        close(crowd[i]);
        crowd[i] = -1;
    }
    close(listener);
    unlink(apr_pstrcat(pool, directory, "/socket", NULL));
    return 0;
}

static acme_error_e try_to_connect(const acme_addresses_t *addresses,
                                   apr_interval_time_t timeout)
{
    int fd;
    acme_error_e error = acme_net_connect(&fd, addresses, acme_monotonic() + timeout);

    if (error == ACME_OK) {
        close(fd);
    }
    return error;
}

static void test_host_and_port(void **state)
{
    static const struct {
        const char *text, *host, *port;
    } rows[] = {
        {"name.test:443", "name.test", "443"},
        {"192.0.2.1:1", "192.0.2.1", "1"},
        {"[2001:db8::1]:65535", "2001:db8::1", "65535"},
        {"[fe80::1%lo]:443", "fe80::1%lo", "443"},
        {"name.test", NULL, NULL},
        {"443", NULL, NULL},
        {"name.test:0", NULL, NULL},
        {"name.test:65536", NULL, NULL},
        {"", NULL, NULL},
    };
    size_t i;

    (void)state;
    for (i = 0; i < COUNT(rows); i++) {
        const char *host, *port;
        int is_right = acme_net_parse(&host, &port, rows[i].text, pool);

        print_message("# %s\n", rows[i].text);
        assert_int_equal(is_right, rows[i].host != NULL);
        if (is_right) {
            assert_string_equal(host, rows[i].host);
            assert_string_equal(port, rows[i].port);
        }
    }
}

static acme_error_e resolve(acme_addresses_t *addresses, const char *host,
                            apr_interval_time_t timeout)
{
    return acme_net_resolve(addresses, host, "443", acme_monotonic() + timeout);
}

static void test_name_is_resolved_in_time(void **state)
{
    acme_addresses_t addresses;
    apr_time_t before = acme_monotonic();

    (void)state;
    assert_reason(resolve(&addresses, "localhost", LONG), ACME_OK);
    assert_true(addresses.count > 0);
    /* A label that is too long: no server is asked. */
    assert_reason(
        resolve(&addresses,
                "a-label-of-more-than-sixty-three-characters-which-the-dns-cannot-have"
                ".test",
                LONG),
        ACME_PROBE_HOST_UNKNOWN);
    assert_reason(resolve(&addresses, "silent.test", SHORT), ACME_PROBE_TIMEOUT);
    assert_true(acme_monotonic() - before < LONG);
    /* An address takes no time. */
    assert_reason(resolve(&addresses, "192.0.2.1", 0), ACME_OK);
    assert_int_equal(addresses.address[0].socket.ss_family, AF_INET);
    assert_reason(resolve(&addresses, "2001:db8::1", 0), ACME_OK);
    assert_int_equal(addresses.address[0].socket.ss_family, AF_INET6);
    /* No process is left. */
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void test_full_queue_of_a_socket_is_waited_for(void **state)
{
    acme_addresses_t addresses;

    (void)state;
    assert_true(
        acme_net_socket_address(&addresses, apr_pstrcat(pool, directory, "/socket", NULL)));
    start_listener((struct sockaddr *)&addresses.address[0].socket, addresses.address[0].size,
                   1);
    assert_reason(try_to_connect(&addresses, SHORT), ACME_PROBE_TIMEOUT);
    relieved = listener;
    assert_reason(try_to_connect(&addresses, LONG), ACME_OK);
    assert_int_equal(relieved, -1);
}

static void test_connect_that_hangs_ends_in_time(void **state)
{
    acme_addresses_t addresses;
    apr_time_t before = acme_monotonic(), took;

    (void)state;
    start_tcp(&addresses, 1);
    assert_reason(try_to_connect(&addresses, SHORT), ACME_PROBE_TIMEOUT);
    took = acme_monotonic() - before;
    assert_true(took >= SHORT && took < LONG);
}

/* The first hangs, and leaves the second its share. */
static void test_next_address_is_tried(void **state)
{
    acme_addresses_t addresses, other;
    struct sockaddr_in free_port = {.sin_family = AF_INET,
                                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int good;

    (void)state;
    start_tcp(&other, 0);
    good = listener;
    start_tcp(&addresses, 1);
    addresses.address[addresses.count++] = other.address[0];
    assert_reason(try_to_connect(&addresses, 4 * SHORT), ACME_OK);
    /* One that nobody listens at does not hide that another hangs. */
    memcpy(&addresses.address[1].socket, &free_port, sizeof(free_port));
    assert_reason(try_to_connect(&addresses, 4 * SHORT), ACME_PROBE_TIMEOUT);
    addresses.address[0] = addresses.address[1];
    assert_reason(try_to_connect(&addresses, LONG), ACME_PROBE_CONNECTION_REFUSED);
    addresses.count = 0;
    assert_reason(try_to_connect(&addresses, LONG), ACME_PROBE_HOST_UNKNOWN);
    close(good);
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
    acme_addresses_t addresses;
    int fd;

    (void)state;
    start_tcp(&addresses, 0);
    assert_reason(acme_net_connect(&fd, &addresses, acme_monotonic() + LONG), ACME_OK);
    assert_true(option_of(fd, SOL_SOCKET, SO_KEEPALIVE));
    assert_uint_in_range(option_of(fd, IPPROTO_TCP, TCP_KEEPIDLE) +
                             option_of(fd, IPPROTO_TCP, TCP_KEEPINTVL) *
                                 option_of(fd, IPPROTO_TCP, TCP_KEEPCNT),
                         1, PATH_DEAD);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_host_and_port),
        cmocka_unit_test(test_name_is_resolved_in_time),
        cmocka_unit_test_teardown(test_full_queue_of_a_socket_is_waited_for, end),
        cmocka_unit_test_teardown(test_connect_that_hangs_ends_in_time, end),
        cmocka_unit_test_teardown(test_next_address_is_tried, end),
        cmocka_unit_test_teardown(test_path_that_dies_is_noticed, end),
    };
    int failed;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    strcpy(directory, "/tmp/acme-alpn-net-XXXXXX");
    if (!mkdtemp(directory)) {
        return 1;
    }
    failed = cmocka_run_group_tests_name("net", tests, NULL, NULL);
    rmdir(directory);
    return failed;
}
