/* SPDX-License-Identifier: MIT */
/* Runs a fuzz target over files, without a fuzzer. NAME_replay takes those of corpus/NAME/ and
 * regressions/NAME/ in the source tree, or the files it is given.
 *
 * Each file is tried whole, cut at every place, and with every byte in turn replaced by some
 * that mean something to a parser; a long one at as many places as a second or so allows. Each
 * try has a copy of its exact size, so that a sanitizer sees what reads past it. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "fuzz/fuzz.h"

/* Bytes of input, summed over one file's tries, after which places are skipped. */
#define EFFORT_BYTES   (4u << 20)
#define FILE_BYTES_MAX (16u << 20)

static void
try_input(const char *bytes, size_t len)
{
    char *copy = fuzz_buffer(len);
    memcpy(copy, bytes, len);
    (void)LLVMFuzzerTestOneInput((const uint8_t *)copy, len);
    free(copy);
}

static void
try_variants(char *bytes, size_t len)
{
    static const char replacements[] = { '\0', '\t', '\n', '\r', ' ', '"', '%', '*', ',', '-',
        '.', '/', '0', '9', ':', ';', '=', 'A', 'f', '\\', '\x7f', '\x80', '\xff' };
    size_t tries = len * (sizeof(replacements) + 1);
    size_t stride = 1 + tries * len / EFFORT_BYTES;

    try_input(bytes, len);
    for (size_t i = 0; i < len; i += stride) {
        try_input(bytes, i);
        char byte = bytes[i];
        for (size_t j = 0; j < sizeof(replacements); j++) {
            bytes[i] = replacements[j];
            try_input(bytes, len);
        }
        bytes[i] = byte;
    }
}

static int
replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return -1;
    }
    struct stat st;
    if (fstat(fileno(file), &st) == -1 || !S_ISREG(st.st_mode) || st.st_size < 0 ||
            (uint64_t)st.st_size > FILE_BYTES_MAX) {
        fprintf(stderr, "%s: not a file of a reasonable size\n", path);
        fclose(file);
        return -1;
    }
    size_t len = (size_t)st.st_size;
    char *bytes = fuzz_buffer(len);
    bool is_read = fread(bytes, 1, len, file) == len;
    fclose(file);
    if (is_read) {
        /* Named first, so that the last line of the log tells which one broke it. */
        printf("%s\n", path);
        fflush(stdout);
        try_variants(bytes, len);
    } else {
        fprintf(stderr, "%s: cannot be read\n", path);
    }
    free(bytes);
    return is_read ? 0 : -1;
}

/* Returns the files replayed; 0 also when there is no such folder; -1 when one failed. */
static int
replay_folder(const char *srcdir, const char *kind, struct weir_str name)
{
    char folder[4096], path[8192];
    snprintf(folder, sizeof(folder), "%s/tests/fuzz/%s/%.*s", srcdir, kind, WEIR_STR_ARG(name));
    struct dirent **entries;
    int count = scandir(folder, &entries, NULL, alphasort);
    if (count == -1) {
        return errno == ENOENT ? 0 : -1;
    }
    int files = 0, r = 0;
    for (int i = 0; i < count; i++) {
        if (r == 0 && entries[i]->d_name[0] != '.') {
            snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name);
            r = replay_file(path);
            files++;
        }
        free(entries[i]);
    }
    free(entries);
    return r == 0 ? files : -1;
}

/* NAME of DIR/NAME_replay, also when libtool runs it as DIR/lt-NAME_replay. */
static struct weir_str
target_name(const char *program)
{
    const struct weir_str prefix = WEIR_STR("lt-"), suffix = WEIR_STR("_replay");
    const char *slash = strrchr(program, '/');
    struct weir_str name = weir_str_from(slash == NULL ? program : slash + 1);
    if (weir_str_starts_with(name, prefix)) {
        name.ptr += prefix.len;
        name.len -= prefix.len;
    }
    if (name.len > suffix.len &&
            memcmp(name.ptr + name.len - suffix.len, suffix.ptr, suffix.len) == 0) {
        name.len -= suffix.len;
    }
    return name;
}

int
main(int argc, char **argv)
{
    if (argc > 1) {
        int r = 0;
        for (int i = 1; i < argc; i++) {
            r |= replay_file(argv[i]);
        }
        return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    const char *srcdir = getenv("WEIR_SRCDIR");
    if (srcdir == NULL) {
        fprintf(stderr, "usage: %s FILE..., or WEIR_SRCDIR in the environment\n", argv[0]);
        return EXIT_FAILURE;
    }
    struct weir_str name = target_name(argv[0]);
    int corpus = replay_folder(srcdir, "corpus", name);
    int regressions = corpus < 0 ? -1 : replay_folder(srcdir, "regressions", name);
    if (corpus < 1 || regressions < 0) {
        fprintf(stderr, "%s: %s\n", argv[0],
                corpus == 0 ? "its corpus is empty" : "the files cannot be replayed");
        return EXIT_FAILURE;
    }
    printf("%d inputs and %d regressions\n", corpus, regressions);
    return EXIT_SUCCESS;
}
