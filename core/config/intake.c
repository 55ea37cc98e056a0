/* SPDX-License-Identifier: MIT */
/* A bundle is MAGIC and then one entry for each question:
 *
 *     kind, question (a text), error (0, or a positive errno), and without an error the answer:
 *     SOURCE directory, device, inode, text    SECRET text
 *     GLOB   count, paths                      VARIABLE is set, value
 *
 * as base/wire.h writes them. It comes from a process with more rights than ours; still nothing
 * in it is believed that does not fit. */
#include "config/intake.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/wire.h"

#define MAGIC        WEIR_STR("weir bundle 1\n\0\0")
#define BUNDLE_SEALS (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW)

/* Beside the answers, a record holds the questions and some numbers. */
#define BUNDLE_MAX_BYTES (INTAKE_MAX_BYTES * 2)

enum entry_kind {
    ENTRY_SOURCE = 1,
    ENTRY_SECRET,
    ENTRY_GLOB,
    ENTRY_VARIABLE
};

void
intake_init(struct intake *intake, bool is_recording)
{
    *intake = (struct intake){ .mode = is_recording ? INTAKE_RECORD : INTAKE_SYSTEM };
    buf_init(&intake->record, BUNDLE_MAX_BYTES);
}

void
intake_fini(struct intake *intake)
{
    if (intake->record.memory != NULL) {
        explicit_bzero(intake->record.memory, intake->record.capacity_bytes);
    }
    buf_fini(&intake->record);
    if (intake->bundle.ptr != NULL) {
        munmap((void *)(uintptr_t)intake->bundle.ptr, intake->bundle.len);
    }
    intake_init(intake, false);
}

/* Bundles as a whole */

static int
write_all(int fd, struct weir_str bytes)
{
    while (bytes.len > 0) {
        ssize_t n = write(fd, bytes.ptr, bytes.len);
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        size_t written = n < 0 ? 0 : (size_t)n;
        bytes = weir_str_make(bytes.ptr + written, bytes.len - written);
    }
    return 0;
}

int
intake_seal(const struct intake *intake)
{
    int fd = memfd_create("weir-configuration", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd == -1) {
        return -errno;
    }
    int r = write_all(fd, MAGIC);
    if (r == 0) {
        r = write_all(fd, buf_str(&intake->record));
    }
    if (r == 0 && fcntl(fd, F_ADD_SEALS, BUNDLE_SEALS | F_SEAL_SEAL) == -1) {
        r = -errno;
    }
    if (r < 0) {
        close(fd);
        return r;
    }
    return fd;
}

static int
begin_replay(struct intake *intake, void *memory, size_t bytes)
{
    intake_init(intake, false);
    intake->mode = INTAKE_REPLAY;
    intake->bundle = weir_str_make(memory, bytes);
    intake->replayed_bytes = MAGIC.len;
    if (!weir_str_starts_with(intake->bundle, MAGIC)) {
        intake_fini(intake);
        return -EPROTO;
    }
    return 0;
}

int
intake_replay(struct intake *intake, int fd)
{
    intake_init(intake, false);
    struct stat status;
    if (fstat(fd, &status) == -1) {
        return -errno;
    }
    /* Sealed: it cannot change, or end early, under our eyes. */
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals == -1 || (seals & BUNDLE_SEALS) != BUNDLE_SEALS || status.st_size == 0 ||
            status.st_size > (off_t)(BUNDLE_MAX_BYTES + MAGIC.len)) {
        return -EPROTO;
    }
    void *memory = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    return memory == MAP_FAILED ? -errno : begin_replay(intake, memory, (size_t)status.st_size);
}

int
intake_replay_bytes(struct intake *intake, struct weir_str bytes)
{
    intake_init(intake, false);
    if (bytes.len == 0 || bytes.len > BUNDLE_MAX_BYTES) {
        return -EPROTO;
    }
    void *memory = mmap(NULL, bytes.len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
            -1, 0);
    if (memory == MAP_FAILED) {
        return -errno;
    }
    memcpy(memory, bytes.ptr, bytes.len);
    return begin_replay(intake, memory, bytes.len);
}

/* Entries: recording */

static void
put_number(struct intake *intake, int *r, uint64_t value)
{
    *r = *r < 0 ? *r : wire_put_u64(&intake->record, value);
}

static void
put_text(struct intake *intake, int *r, struct weir_str text)
{
    *r = *r < 0 ? *r : wire_put_str(&intake->record, text);
}

/* Counts an answer of `bytes` towards what a configuration may bring. */
static int
take_bytes(struct intake *intake, size_t bytes)
{
    if (bytes > INTAKE_MAX_BYTES - intake->taken_bytes) {
        return -ENOBUFS;
    }
    intake->taken_bytes += bytes;
    return 0;
}

/* Begins an entry; without an error its answer follows. True when there is one to write. */
static bool
record_entry(struct intake *intake, int *r, enum entry_kind kind, const char *question,
        int answered)
{
    if (intake->mode != INTAKE_RECORD || answered == -ENOMEM) {
        return false; /* the whole is given up without memory */
    }
    put_number(intake, r, kind);
    put_text(intake, r, weir_str_from(question));
    put_number(intake, r, answered < 0 ? (uint64_t)-answered : 0);
    return answered >= 0;
}

/* Entries: replaying */

struct entry {
    enum entry_kind kind;
    struct weir_str question;
    int error; /* 0 or a negative errno */
    struct weir_str text, directory;
    uint64_t device, inode;
    bool is_set;
    uint64_t paths_count;
    struct weir_str paths; /* so many texts */
};

static void
skip_paths(struct wire *wire, struct entry *entry)
{
    const char *start = wire->rest.ptr;
    for (uint64_t i = 0; i < entry->paths_count && !wire->is_damaged; i++) {
        wire_get_str(wire, PATH_MAX);
    }
    entry->paths = weir_str_make(start, (size_t)(wire->rest.ptr - start));
}

static bool
read_entry(struct wire *wire, struct entry *entry)
{
    *entry = (struct entry){ 0 };
    uint64_t kind = wire_get_u64(wire, ENTRY_VARIABLE);
    entry->kind = (enum entry_kind)kind;
    entry->question = wire_get_str(wire, BUNDLE_MAX_BYTES);
    entry->error = -(int)wire_get_u64(wire, 4095);
    if (entry->error == 0 && !wire->is_damaged) {
        switch (entry->kind) {
        case ENTRY_SOURCE:
            entry->directory = wire_get_str(wire, PATH_MAX);
            entry->device = wire_get_u64(wire, UINT64_MAX);
            entry->inode = wire_get_u64(wire, UINT64_MAX);
            entry->text = wire_get_str(wire, SOURCE_MAX_BYTES);
            break;
        case ENTRY_SECRET:
            entry->text = wire_get_str(wire, INTAKE_MAX_BYTES);
            break;
        case ENTRY_GLOB:
            entry->paths_count = wire_get_u64(wire, INTAKE_MAX_PATHS);
            skip_paths(wire, entry);
            break;
        case ENTRY_VARIABLE:
            entry->is_set = wire_get_u64(wire, 1) == 1;
            entry->text = wire_get_str(wire, INTAKE_MAX_BYTES);
            break;
        }
    }
    return !wire->is_damaged && kind != 0;
}

/* Looks for an answer from `start` up to `end` of the bundle. */
static bool
find_between(struct intake *intake, size_t start, size_t end, enum entry_kind kind,
        struct weir_str question, struct entry *entry)
{
    struct wire wire;
    wire_init(&wire, weir_str_make(intake->bundle.ptr + start, end - start));
    while (wire.rest.len > 0 && read_entry(&wire, entry)) {
        if (entry->kind == kind && weir_str_eq(entry->question, question)) {
            intake->replayed_bytes = (size_t)(wire.rest.ptr - intake->bundle.ptr);
            return true;
        }
    }
    return false;
}

/* 0, or the error that was the answer; -EPROTO when nobody asked this before. */
static int
replay_entry(struct intake *intake, enum entry_kind kind, const char *question,
        struct entry *entry)
{
    struct weir_str words = weir_str_from(question);
    size_t here = intake->replayed_bytes;
    if (intake->is_foreign || /* one search of the whole is enough */
            (!find_between(intake, here, intake->bundle.len, kind, words, entry) &&
                    !find_between(intake, MAGIC.len, here, kind, words, entry))) {
        intake->is_foreign = true;
        return -EPROTO;
    }
    return entry->error;
}

struct weir_str
intake_main_file(const struct intake *intake)
{
    struct wire wire;
    struct entry entry;
    wire_init(&wire,
            intake->mode == INTAKE_REPLAY ? weir_str_make(intake->bundle.ptr + MAGIC.len,
                                                    intake->bundle.len - MAGIC.len)
                                          : buf_str(&intake->record));
    return wire.rest.len > 0 && read_entry(&wire, &entry) && entry.kind == ENTRY_SOURCE
            ? entry.question
            : weir_str_make("", 0);
}

const char *
intake_error_text(int error)
{
    switch (error) {
    case -ENOTSUP:
        return "it is no regular file";
    case -EFBIG:
        return "it is larger than 8 MiB";
    case -ENOBUFS:
        return "the configuration brings more than 64 MiB in all";
    case -EPROTO:
        return "it was not asked for when the configuration was read";
    default:
        return strerrordesc_np(-error);
    }
}

/* Files */

int
intake_source(struct intake *intake, const char *path, struct source **out)
{
    struct source *source = NULL;
    int r;
    if (intake->mode == INTAKE_REPLAY) {
        struct entry entry;
        r = replay_entry(intake, ENTRY_SOURCE, path, &entry);
        r = r < 0 ? r : source_restore(path, entry.directory, entry.text, &source);
        if (r == 0) {
            source->device = entry.device;
            source->inode = entry.inode;
            *out = source;
        }
        return r;
    }
    r = source_read(path, &source);
    r = r < 0 ? r : take_bytes(intake, source->text.len);
    int recorded = 0;
    if (record_entry(intake, &recorded, ENTRY_SOURCE, path, r)) {
        put_text(intake, &recorded, weir_str_from(source->directory));
        put_number(intake, &recorded, source->device);
        put_number(intake, &recorded, source->inode);
        put_text(intake, &recorded, source->text);
    }
    r = recorded < 0 ? recorded : r;
    if (r < 0) {
        source_unref(source);
        return r;
    }
    *out = source;
    return 0;
}

static ssize_t
read_small(const char *path, char *dst, size_t dst_bytes)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd == -1) {
        return -errno;
    }
    struct stat status;
    ssize_t result = 0;
    if (fstat(fd, &status) == -1) {
        result = -errno;
    } else if (S_ISDIR(status.st_mode)) {
        result = -EISDIR;
    }
    size_t len = 0;
    while (result == 0) {
        ssize_t n = len == dst_bytes ? -1 : read(fd, dst + len, dst_bytes - len);
        if (len == dst_bytes) {
            result = -EFBIG;
        } else if (n < 0 && errno != EINTR) {
            result = -errno;
        } else if (n == 0) {
            result = (ssize_t)len;
            break;
        } else if (n > 0) {
            len += (size_t)n;
        }
    }
    close(fd);
    return result;
}

ssize_t
intake_secret(struct intake *intake, const char *path, char *dst, size_t dst_bytes)
{
    if (intake->mode == INTAKE_REPLAY) {
        struct entry entry;
        int r = replay_entry(intake, ENTRY_SECRET, path, &entry);
        if (r < 0) {
            return r;
        }
        if (entry.text.len > dst_bytes) {
            return -EFBIG;
        }
        memcpy(dst, entry.text.ptr, entry.text.len);
        return (ssize_t)entry.text.len;
    }
    ssize_t n = read_small(path, dst, dst_bytes);
    int r = n < 0 ? (int)n : take_bytes(intake, (size_t)n);
    int recorded = 0;
    if (record_entry(intake, &recorded, ENTRY_SECRET, path, r)) {
        put_text(intake, &recorded, weir_str_make(dst, (size_t)n));
    }
    r = recorded < 0 ? recorded : r;
    return r < 0 ? r : n;
}

/* Globs */

static int
compare_paths(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void
intake_paths_free(struct intake_paths *paths)
{
    for (size_t i = 0; i < paths->count; i++) {
        free(paths->items[i]);
    }
    free(paths->items);
    *paths = (struct intake_paths){ .items = NULL };
}

static int
paths_new(struct intake_paths *paths, size_t count)
{
    *paths = (struct intake_paths){ .items = calloc(count + 1, sizeof(*paths->items)) };
    return paths->items == NULL ? -ENOMEM : 0;
}

static int
paths_add(struct intake_paths *paths, struct weir_str path)
{
    char *copy = strndup(path.ptr, path.len);
    if (copy == NULL) {
        return -ENOMEM;
    }
    paths->items[paths->count++] = copy;
    return 0;
}

static int
find_paths(const char *pattern, struct intake_paths *paths)
{
    glob_t found = { .gl_pathc = 0 };
    int r = glob(pattern, GLOB_NOSORT, NULL, &found);
    r = r == GLOB_NOSPACE                                 ? -ENOMEM
            : r == GLOB_ABORTED                           ? -EACCES
            : r == 0 && found.gl_pathc > INTAKE_MAX_PATHS ? -E2BIG
                                                          : paths_new(paths, found.gl_pathc);
    for (size_t i = 0; r == 0 && i < found.gl_pathc; i++) {
        r = paths_add(paths, weir_str_from(found.gl_pathv[i]));
    }
    globfree(&found);
    return r;
}

static int
replay_paths(struct intake *intake, const char *pattern, struct intake_paths *paths)
{
    struct entry entry;
    int r = replay_entry(intake, ENTRY_GLOB, pattern, &entry);
    r = r < 0 ? r : paths_new(paths, (size_t)entry.paths_count);
    if (r < 0) {
        return r;
    }
    struct wire wire;
    wire_init(&wire, entry.paths);
    for (uint64_t i = 0; r == 0 && i < entry.paths_count; i++) {
        r = paths_add(paths, wire_get_str(&wire, PATH_MAX));
    }
    return r;
}

int
intake_glob(struct intake *intake, const char *pattern, struct intake_paths *out)
{
    struct intake_paths paths = { .items = NULL };
    int recorded = 0;
    int r = intake->mode == INTAKE_REPLAY ? replay_paths(intake, pattern, &paths)
                                          : find_paths(pattern, &paths);
    if (r == 0) {
        /* By bytes, whatever the locale: lists append in this order. */
        qsort(paths.items, paths.count, sizeof(*paths.items), compare_paths);
    }
    if (record_entry(intake, &recorded, ENTRY_GLOB, pattern, r)) {
        put_number(intake, &recorded, paths.count);
        for (size_t i = 0; i < paths.count; i++) {
            put_text(intake, &recorded, weir_str_from(paths.items[i]));
        }
    }
    r = recorded < 0 ? recorded : r;
    if (r < 0) {
        intake_paths_free(&paths);
        return r;
    }
    *out = paths;
    return 0;
}

/* The environment */

int
intake_environment(struct intake *intake, const char *name, struct weir_str *out)
{
    if (intake->mode == INTAKE_REPLAY) {
        struct entry entry;
        int r = replay_entry(intake, ENTRY_VARIABLE, name, &entry);
        if (r == 0) {
            *out = entry.is_set ? entry.text : weir_str_make(NULL, 0);
        }
        return r;
    }
    const char *value = getenv(name);
    struct weir_str text = weir_str_from(value);
    int r = take_bytes(intake, text.len);
    int recorded = 0;
    if (record_entry(intake, &recorded, ENTRY_VARIABLE, name, r)) {
        put_number(intake, &recorded, value != NULL);
        put_text(intake, &recorded, text);
    }
    r = recorded < 0 ? recorded : r;
    if (r == 0) {
        *out = text;
    }
    return r;
}
