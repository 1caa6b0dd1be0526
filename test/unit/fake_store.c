#include "fake_store.h"

#include "unit.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <apr_strings.h>

static struct {
    char directory[64];
    struct sockaddr_un address;
    acme_store_t *settings;
    const fake_answer_t *answers;
    int count;

    pthread_t thread;
    int wakes[2]; /* a pipe whose end ends the thread */
    /* The listener, the pipe, and the connections; only the thread changes it. */
    struct pollfd waits[2 + FAKE_REQUESTS];
    int waits_count;

    pthread_mutex_t mutex;       /* of what follows */
    int asked_on[FAKE_REQUESTS]; /* the descriptor that each request came on */
    int requests, accepted;
} fake = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* A network may bring the first byte of a reply alone. */
static void send_all(int fd, const char *bytes)
{
    assert_int_equal(send(fd, bytes, 1, MSG_NOSIGNAL), 1);
    usleep(2000);
    assert_int_equal(send(fd, bytes + 1, strlen(bytes + 1), MSG_NOSIGNAL), strlen(bytes + 1));
}

static void hang_up(int index)
{
    close(fake.waits[index].fd);
    fake.waits[index] = fake.waits[--fake.waits_count];
}

/* The caller holds the mutex. */
static void accept_one(void)
{
    struct pollfd made = {accept(fake.waits[0].fd, NULL, NULL), POLLIN, 0};

    if (made.fd >= 0 && fake.waits_count < (int)COUNT(fake.waits)) {
        fake.waits[fake.waits_count++] = made;
        fake.accepted++;
    }
}

/* Whoever asks waits for the answer, so what is read is one request. It is answered before
 * anybody hears of it. The caller holds the mutex. */
static void answer_one(int index)
{
    char request[1024];
    int fd = fake.waits[index].fd;
    fake_answer_t answer;

    if (recv(fd, request, sizeof(request), 0) <= 0) {
        hang_up(index);
        return;
    }
    answer = fake.requests < fake.count ? fake.answers[fake.requests] : FAKE_SILENCE;
    fake.asked_on[fake.requests % FAKE_REQUESTS] = fd;
    if (answer && *answer) {
        send_all(fd, answer);
    } else if (answer) {
        hang_up(index);
    }
    fake.requests++;
}

static void *serve(void *unused)
{
    while (poll(fake.waits, (nfds_t)fake.waits_count, -1) > 0 && !fake.waits[1].revents) {
        int i;

        pthread_mutex_lock(&fake.mutex);
        for (i = fake.waits_count - 1; i > 1; i--) {
            if (fake.waits[i].revents) {
                answer_one(i);
            }
        }
        if (fake.waits[0].revents) {
            accept_one();
        }
        pthread_mutex_unlock(&fake.mutex);
    }
    return unused;
}

void fake_store_start(apr_pool_t *pool, const fake_answer_t *answers, int count)
{
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);

    fake.answers = answers;
    fake.count = count;
    fake.requests = fake.accepted = 0;
    strcpy(fake.directory, "/tmp/acme-alpn-store-XXXXXX");
    assert_non_null(mkdtemp(fake.directory));
    fake.address.sun_family = AF_UNIX;
    apr_snprintf(fake.address.sun_path, sizeof(fake.address.sun_path), "%s/socket",
                 fake.directory);
    assert_int_equal(
        bind(listener, (const struct sockaddr *)&fake.address, sizeof(fake.address)), 0);
    assert_int_equal(listen(listener, FAKE_REQUESTS), 0);
    assert_int_equal(pipe(fake.wakes), 0);
    fake.waits[0] = (struct pollfd){listener, POLLIN, 0};
    fake.waits[1] = (struct pollfd){fake.wakes[0], POLLIN, 0};
    fake.waits_count = 2;
    assert_null(acme_store_parse(&fake.settings, pool,
                                 apr_pstrcat(pool, "unix://", fake.address.sun_path, NULL), 0,
                                 NULL));
    assert_null(acme_store_load(fake.settings, pool));
    assert_int_equal(pthread_create(&fake.thread, NULL, serve, NULL), 0);
}

void fake_store_stop(void)
{
    close(fake.wakes[1]);
    pthread_join(fake.thread, NULL);
    while (fake.waits_count > 0) {
        close(fake.waits[--fake.waits_count].fd);
    }
    unlink(fake.address.sun_path);
    rmdir(fake.directory);
}

const acme_store_t *fake_store_settings(void)
{
    return fake.settings;
}

void fake_store_say(int request, const char *bytes)
{
    pthread_mutex_lock(&fake.mutex);
    send_all(fake.asked_on[request], bytes);
    pthread_mutex_unlock(&fake.mutex);
}

int fake_store_requests(void)
{
    int requests;

    pthread_mutex_lock(&fake.mutex);
    requests = fake.requests;
    pthread_mutex_unlock(&fake.mutex);
    return requests;
}

int fake_store_accepted(void)
{
    int accepted;

    pthread_mutex_lock(&fake.mutex);
    accepted = fake.accepted;
    pthread_mutex_unlock(&fake.mutex);
    return accepted;
}
