/*
 * Runs a fuzz target over a corpus without libFuzzer, with the results as TAP. A corpus that is
 * missing or empty is a failure.
 *
 * usage: replay [DIRECTORY]    (default: CORPUS in $srcdir)
 */
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

static int is_seed(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* The whole file, in memory of just that size, so that a sanitizer sees a read beyond it. */
static uint8_t *read_seed(const char *path, size_t *size)
{
    static uint8_t buffer[1 << 20];
    FILE *file = fopen(path, "rb");
    uint8_t *data;

    if (!file) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(1);
    }
    *size = fread(buffer, 1, sizeof(buffer), file);
    if (ferror(file) || !feof(file)) {
        fprintf(stderr, "%s: cannot be read, or is larger than a seed may be\n", path);
        exit(1);
    }
    fclose(file);
    data = malloc(*size ? *size : 1);
    REQUIRE(data);
    memcpy(data, buffer, *size);
    return data;
}

static int replay(const char *directory)
{
    struct dirent **seeds;
    int i, count = scandir(directory, &seeds, is_seed, alphasort);

    if (count <= 0) {
        fprintf(stderr, "%s: %s\n", directory, count < 0 ? strerror(errno) : "empty corpus");
        return 1;
    }
    printf("1..%d\n", count);
    for (i = 0; i < count; i++) {
        char path[PATH_MAX];
        size_t size;
        uint8_t *data;

        REQUIRE(snprintf(path, sizeof(path), "%s/%s", directory, seeds[i]->d_name) < PATH_MAX);
        printf("# %s\n", path);
        fflush(stdout);
        data = read_seed(path, &size);
        LLVMFuzzerTestOneInput(data, size);
        printf("ok %d - %s\n", i + 1, seeds[i]->d_name);
        free(data);
        free(seeds[i]);
    }
    free(seeds);
    return 0;
}

int main(int argc, char **argv)
{
    const char *srcdir = getenv("srcdir");
    char directory[PATH_MAX];

    REQUIRE(snprintf(directory, sizeof(directory), "%s/%s", srcdir ? srcdir : ".", CORPUS) <
            PATH_MAX);
    return replay(argc > 1 ? argv[1] : directory);
}
