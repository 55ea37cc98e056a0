/* SPDX-License-Identifier: MIT */
/* Files are read whole, once; lines are counted only when something is to be reported. */
#include "config/source.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"

static char *
copy_text(const char *text, size_t len)
{
    char *copy = malloc(len + 1);
    if (copy != NULL) {
        memcpy(copy, text, len);
        copy[len] = '\0';
    }
    return copy;
}

/* The absolute directory of `path`, without resolving links: a link to a file elsewhere keeps
 * its neighbours. */
static char *
directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    if (path[0] == '/') {
        return copy_text(path, len);
    }
    char current[PATH_MAX];
    if (getcwd(current, sizeof(current)) == NULL) {
        return copy_text(path, len);
    }
    size_t current_len = strlen(current);
    if (len == 0) {
        return copy_text(current, current_len);
    }
    char *joined = malloc(current_len + 1 + len + 1);
    if (joined != NULL) {
        memcpy(joined, current, current_len);
        joined[current_len] = '/';
        memcpy(joined + current_len + 1, path, len);
        joined[current_len + 1 + len] = '\0';
    }
    return joined;
}

/* Half built: the text follows. */
static struct source *
source_new(const char *name)
{
    struct source *source = calloc(1, sizeof(*source));
    if (source == NULL) {
        return NULL;
    }
    source->references = 1;
    source->name = copy_text(name, strlen(name));
    source->directory = directory_of(name);
    if (source->name == NULL || source->directory == NULL) {
        source_unref(source);
        return NULL;
    }
    return source;
}

/* Reads until the end of the file, which may differ from what stat() said. */
static int
read_all(int fd, size_t expected_bytes, struct weir_str *out)
{
    size_t capacity = expected_bytes + 1, len = 0;
    char *text = malloc(capacity + 1);
    while (text != NULL) {
        ssize_t n = read(fd, text + len, capacity - len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            int r = -errno;
            free(text);
            return r;
        }
        if (n == 0) {
            text[len] = '\0';
            *out = weir_str_make(text, len);
            return 0;
        }
        len += (size_t)n;
        if (len > SOURCE_MAX_BYTES) {
            free(text);
            return -EFBIG;
        }
        if (len == capacity) {
            capacity *= 2;
            char *larger = realloc(text, capacity + 1);
            if (larger == NULL) {
                free(text);
            }
            text = larger;
        }
    }
    return -ENOMEM;
}

int
source_read(const char *path, struct source **out)
{
    /* Not blocking, so that a FIFO is refused and not waited for. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd == -1) {
        return -errno;
    }
    struct source *source = NULL;
    struct stat status;
    int r = fstat(fd, &status) == -1 ? -errno : 0;
    if (r == 0 && !S_ISREG(status.st_mode)) {
        r = S_ISDIR(status.st_mode) ? -EISDIR : -ENOTSUP;
    }
    if (r == 0 && status.st_size > (off_t)SOURCE_MAX_BYTES) {
        r = -EFBIG;
    }
    if (r == 0) {
        source = source_new(path);
        r = source == NULL ? -ENOMEM : read_all(fd, (size_t)status.st_size, &source->text);
    }
    close(fd);
    if (r < 0) {
        source_unref(source);
        return r;
    }
    source->device = (uint64_t)status.st_dev;
    source->inode = (uint64_t)status.st_ino;
    *out = source;
    return 0;
}

int
source_from_text(const char *name, struct weir_str text, struct source **out)
{
    if (text.len > SOURCE_MAX_BYTES) {
        return -EFBIG;
    }
    struct source *source = source_new(name);
    if (source == NULL) {
        return -ENOMEM;
    }
    char *copy = copy_text(text.len == 0 ? "" : text.ptr, text.len);
    if (copy == NULL) {
        source_unref(source);
        return -ENOMEM;
    }
    source->text = weir_str_make(copy, text.len);
    *out = source;
    return 0;
}

int
source_restore(const char *name, struct weir_str directory, struct weir_str text,
        struct source **out)
{
    struct source *source;
    char *copy = copy_text(directory.ptr, directory.len);
    int r = copy == NULL ? -ENOMEM : source_from_text(name, text, &source);
    if (r < 0) {
        free(copy);
        return r;
    }
    free(source->directory);
    source->directory = copy;
    *out = source;
    return 0;
}

struct source *
source_ref(struct source *source)
{
    WEIR_ASSERT(source->references > 0);
    source->references++;
    return source;
}

void
source_unref(struct source *source)
{
    if (source == NULL || --source->references > 0) {
        return;
    }
    free(source->name);
    free(source->directory);
    free((void *)(uintptr_t)source->text.ptr);
    free(source);
}

size_t
source_decode(struct weir_str text, uint32_t *out)
{
    /* RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. */
    const unsigned char *p = (const unsigned char *)text.ptr;
    if (p[0] < 0x80) {
        *out = p[0];
        return 1;
    }
    size_t bytes = p[0] >= 0xf0 && p[0] <= 0xf4 ? 4
            : p[0] >= 0xe0 && p[0] < 0xf0       ? 3
            : p[0] >= 0xc2 && p[0] < 0xe0       ? 2
                                                : 0;
    if (bytes == 0 || bytes > text.len) {
        return 0;
    }
    uint32_t point = p[0] & (0xffu >> (bytes + 1));
    for (size_t i = 1; i < bytes; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
        point = point << 6 | (p[i] & 0x3fu);
    }
    if ((bytes == 3 && (point < 0x800 || (point >= 0xd800 && point <= 0xdfff))) ||
            (bytes == 4 && (point < 0x10000 || point > 0x10ffff))) {
        return 0;
    }
    *out = point;
    return bytes;
}

uint32_t
source_count_columns(struct weir_str text)
{
    uint32_t columns = 0, ignored;
    while (text.len > 0) {
        size_t bytes = source_decode(text, &ignored);
        bytes += bytes == 0;
        text.ptr += bytes;
        text.len -= bytes;
        columns++;
    }
    return columns;
}

struct source_position
source_locate(const struct config_place *place)
{
    struct weir_str text = place->source->text;
    size_t offset = place->offset < text.len ? place->offset : text.len;
    struct source_position position = { .line = 1 };
    size_t line_start = 0;
    for (const char *p = text.ptr; (p = memchr(p, '\n', offset - (size_t)(p - text.ptr)));) {
        p++;
        line_start = (size_t)(p - text.ptr);
        position.line++;
    }
    const char *end = memchr(text.ptr + offset, '\n', text.len - offset);
    size_t line_end = end == NULL ? text.len : (size_t)(end - text.ptr);
    if (line_end > line_start && text.ptr[line_end - 1] == '\r' && line_end > offset) {
        line_end--;
    }
    size_t length = place->length < line_end - offset ? place->length : line_end - offset;
    position.line_text = weir_str_make(text.ptr + line_start, line_end - line_start);
    position.column = 1 +
            source_count_columns(weir_str_make(text.ptr + line_start, offset - line_start));
    position.length = source_count_columns(weir_str_make(text.ptr + offset, length));
    position.length += position.length == 0;
    return position;
}
