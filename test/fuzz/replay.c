/*
 * Runs a fuzz target over CORPUS in $srcdir without libFuzzer, with the results as TAP. A
 * corpus that is missing or empty is a failure.
 */
#include "fuzz.h"

#include <dirent.h>
#include <limits.h>
#include <string.h>

static int is_seed(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* The whole file, in memory of just that size, so that a sanitizer sees a read beyond it. */
static void replay_seed(const char *path)
{
    static uint8_t buffer[1 << 20];
    FILE *file = fopen(path, "rb");
    uint8_t *data;
    size_t size;

    REQUIRE(file);
    size = fread(buffer, 1, sizeof(buffer), file);
    REQUIRE(feof(file));
    fclose(file);
    data = malloc(size ? size : 1);
    REQUIRE(data);
    memcpy(data, buffer, size);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
}

int main(int argc, char **argv)
{
    const char *srcdir = getenv("srcdir");
    char directory[PATH_MAX], path[PATH_MAX];
    struct dirent **seeds;
    int i, count;

    REQUIRE(argc > 0 && strrchr(argv[0], '_'));
    snprintf(directory, sizeof(directory), "%s/test/fuzz/corpus/%s", srcdir ? srcdir : ".",
             strrchr(argv[0], '_') + 1);
    count = scandir(directory, &seeds, is_seed, alphasort);
    REQUIRE(count > 0);
    printf("1..%d\n", count);
    for (i = 0; i < count; i++) {
        REQUIRE(snprintf(path, sizeof(path), "%s/%s", directory, seeds[i]->d_name) < PATH_MAX);
        printf("# %s\n", path);
        fflush(stdout);
        replay_seed(path);
        printf("ok %d - %s\n", i + 1, seeds[i]->d_name);
        free(seeds[i]);
    }
    free(seeds);
    return 0;
}
