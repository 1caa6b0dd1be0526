/*
 * What the kernel tells of changes in directories: inotify, where the system has it. Elsewhere
 * all of these fail with ENOSYS, and the caller has to look for itself.
 */
#ifndef ACME_INOTIFY_H
#define ACME_INOTIFY_H

/* Returns a descriptor, closed on exec, that never blocks; or -1 with errno set (EMFILE: the
 * user has too many). The caller closes it. */
int acme_inotify_open(void);

/* From here on tell of the files that come into this directory (a symlink is followed), or that
 * are written, linked or given another mode there. Returns a number for the directory, the same
 * as before for one that is told of already; or -1 with errno set (ENOSPC: too many). */
int acme_inotify_add(int fd, const char *directory);

void acme_inotify_remove(int fd, int directory);

typedef enum {
    ACME_INOTIFY_FILE, /* there may be something new about the file `name` */
    ACME_INOTIFY_GONE, /* a file was removed, or renamed away */
    ACME_INOTIFY_OVER, /* nothing more will be told of the directory, which is gone */
    ACME_INOTIFY_LOST  /* what happened in any directory may not have been told */
} acme_inotify_event_e;

/* `directory` is its number, with ACME_INOTIFY_LOST meaningless; `name` is NULL but for
 * ACME_INOTIFY_FILE, and valid during the call. */
typedef void acme_inotify_handler_fn(void *baton, acme_inotify_event_e event, int directory,
                                     const char *name);

/* Hand over what there is to be told, some hundred events at most. Returns 0 where there was
 * nothing, else non-zero. */
int acme_inotify_read(int fd, acme_inotify_handler_fn *handler, void *baton);

#endif
