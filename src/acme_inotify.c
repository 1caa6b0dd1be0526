#include "acme_inotify.h"

#include <errno.h>
#include <stddef.h>

/* A compiler that cannot tell is taken for one without. */
#ifdef __has_include
#if __has_include(<sys/inotify.h>)
#define HAS_INOTIFY 1
#endif
#endif

#ifdef HAS_INOTIFY

#include <sys/inotify.h>
#include <unistd.h>

/* IN_CREATE for links, which are never written; a file that is still being written when it is
 * looked at tells of itself again when it is closed. */
#define COMES  (IN_CREATE | IN_MOVED_TO | IN_CLOSE_WRITE | IN_ATTRIB)
#define GOES   (IN_DELETE | IN_MOVED_FROM)
#define EVENTS (COMES | GOES | IN_ONLYDIR)

/* On the stack. */
#define BUFFER_SIZE (16 * 1024)

int acme_inotify_open(void)
{
    return inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
}

int acme_inotify_add(int fd, const char *directory)
{
    return inotify_add_watch(fd, directory, EVENTS);
}

void acme_inotify_remove(int fd, int directory)
{
    inotify_rm_watch(fd, directory);
}

static void hand_over(const struct inotify_event *event, acme_inotify_handler_fn *handler,
                      void *baton)
{
    if (event->mask & IN_Q_OVERFLOW) {
        handler(baton, ACME_INOTIFY_LOST, -1, NULL);
    } else if (event->mask & (IN_IGNORED | IN_UNMOUNT)) {
        handler(baton, ACME_INOTIFY_OVER, event->wd, NULL);
    } else if (event->mask & GOES) {
        handler(baton, ACME_INOTIFY_GONE, event->wd, NULL);
    } else if (event->len > 0) {
        handler(baton, ACME_INOTIFY_FILE, event->wd, event->name);
    }
}

int acme_inotify_read(int fd, acme_inotify_handler_fn *handler, void *baton)
{
    union {
        struct inotify_event aligned;
        char bytes[BUFFER_SIZE];
    } buffer;
    ssize_t length = read(fd, &buffer, sizeof(buffer)), offset = 0;

    while (offset < length) {
        const struct inotify_event *event = (const void *)(buffer.bytes + offset);

        hand_over(event, handler, baton);
        offset += (ssize_t)(sizeof(*event) + event->len);
    }
    return length > 0;
}

#else

int acme_inotify_open(void)
{
    errno = ENOSYS;
    return -1;
}

int acme_inotify_add(int fd, const char *directory)
{
    (void)fd;
    (void)directory;
    errno = ENOSYS;
    return -1;
}

void acme_inotify_remove(int fd, int directory)
{
    (void)fd;
    (void)directory;
}

int acme_inotify_read(int fd, acme_inotify_handler_fn *handler, void *baton)
{
    (void)fd;
    (void)handler;
    (void)baton;
    return 0;
}

#endif
