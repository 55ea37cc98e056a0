/* SPDX-License-Identifier: MIT */
/* Loading: hold what the path leads to, look at it, open and read it if it is a regular file,
 * and look again whether it changed meanwhile. */
#include "http/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "http/file_type.h"

/* A file that changes while it is read is read again so many times. */
#define TRIES 3

/* Times of files are as fine as the kernel's tick at best and two seconds at worst: a change
 * that shortly after another may not show in them. */
#define RACY_S 2

const struct weir_file file_busy = { .error = -EBUSY, .fd = -1 };
const struct weir_file file_no_memory = { .error = -ENOMEM, .fd = -1 };
const struct weir_file file_too_long = { .error = -ENAMETOOLONG, .fd = -1 };
const struct weir_file file_invalid = { .error = -EINVAL, .fd = -1 };

static void
free_file(struct hold *hold)
{
    struct weir_file *file = file_of_hold(hold);
    WEIR_ASSERT(!file->is_kept);
    if (file->fd != -1) {
        close(file->fd);
    }
    free(file);
}

static int64_t
ns_of(struct timespec time)
{
    int64_t ns;
    /* Times beyond the years 1678 to 2262 are all the same to us. */
    if (__builtin_mul_overflow((int64_t)time.tv_sec, (int64_t)NS_PER_S, &ns) ||
            __builtin_add_overflow(ns, (int64_t)time.tv_nsec, &ns)) {
        return time.tv_sec < 0 ? INT64_MIN : INT64_MAX;
    }
    return ns;
}

static struct file_identity
identity_of(const struct stat *st)
{
    return (struct file_identity){
        .dev = st->st_dev,
        .ino = st->st_ino,
        .mode = st->st_mode,
        .size = (uint64_t)st->st_size,
        .mtime_ns = ns_of(st->st_mtim),
        .ctime_ns = ns_of(st->st_ctim),
    };
}

static bool
is_same(const struct file_identity *a, const struct file_identity *b)
{
    return a->dev == b->dev && a->ino == b->ino && a->mode == b->mode && a->size == b->size &&
            a->mtime_ns == b->mtime_ns && a->ctime_ns == b->ctime_ns;
}

/* Before a portion of a file on disk is sent: bytes of another state must not follow those of
 * the one whose validators the client was given. */
static int
check_unchanged(struct hold *hold)
{
    const struct weir_file *file = file_of_hold(hold);
    struct stat st;
    if (fstat(file->fd, &st) == -1) {
        return -errno;
    }
    bool is_whole = (uint64_t)st.st_size == file->identity.size &&
            ns_of(st.st_mtim) == file->identity.mtime_ns;
    return is_whole ? 0 : -ESTALE;
}

static struct weir_file *
new_file(const struct file_terms *terms, size_t body_bytes)
{
    size_t bytes = sizeof(struct weir_file) + terms->key.len + body_bytes;
    struct weir_file *file = malloc(bytes);
    if (file == NULL) {
        return NULL;
    }
    memset(file, 0, sizeof(*file));
    hold_init(&file->hold, free_file);
    file->fd = -1;
    file->memory_bytes = bytes;
    char *key = (char *)(file + 1);
    memcpy(key, terms->key.ptr, terms->key.len);
    file->key = weir_str_make(key, terms->key.len);
    return file;
}

static int
load_error(const struct file_terms *terms, int error, struct weir_file **out)
{
    struct weir_file *file = new_file(terms, 0);
    if (file == NULL) {
        return -ENOMEM;
    }
    file->kind = WEIR_FILE_NONE;
    file->error = error;
    switch (-error) {
    case ENOENT:
    case ENOTDIR:
    case EACCES:
    case EPERM:
    case EXDEV:
    case ELOOP:
    case EINVAL:
    case ENAMETOOLONG:
        break;
    default:
        file->is_fleeting = true;
    }
    *out = file;
    return 0;
}

/* The encodings of precompressed files: theirs is another representation of the same resource,
 * and its tag must differ even where size and time do not (RFC 9110 section 8.8.3.3). */
static const char *
tag_suffix(struct weir_str path)
{
    struct weir_str extension = file_extension(path);
    if (weir_str_eq(extension, WEIR_STR("gz"))) {
        return "-gz";
    }
    if (weir_str_eq(extension, WEIR_STR("br"))) {
        return "-br";
    }
    return weir_str_eq(extension, WEIR_STR("zst")) ? "-zst" : "";
}

static void
set_field(struct weir_file *file, int i, enum field_id id, struct weir_str value)
{
    file->fields[i] = (struct reply_field){ field_name(id), value, id };
}

/* Validators, from what was seen when the bytes were read. */
static void
describe(struct weir_file *file, const struct file_terms *terms)
{
    const struct file_identity *identity = &file->identity;
    int64_t modified_s = identity->mtime_ns / (int64_t)NS_PER_S;
    file->is_racy = file->is_racy || modified_s > terms->now_s - RACY_S;
    /* Not later than the answer itself (RFC 9110 section 8.8.2.1). */
    date_format(file->modified_text, modified_s < terms->now_s ? modified_s : terms->now_s);
    int len = snprintf(file->etag_text, sizeof(file->etag_text), "%s\"%jx-%jx%s\"",
            file->is_racy ? "W/" : "", (uintmax_t)identity->size,
            (uintmax_t)(uint64_t)identity->mtime_ns, tag_suffix(terms->path));
    WEIR_ASSERT(len > 0 && (size_t)len < sizeof(file->etag_text));
    file->etag = weir_str_make(file->etag_text, (size_t)len);
    file->type = file_type(terms->path, terms->types);
    set_field(file, 0, FIELD_CONTENT_TYPE, file->type);
    set_field(file, 1, FIELD_LAST_MODIFIED, weir_str_make(file->modified_text, DATE_BYTES));
    set_field(file, 2, FIELD_ETAG, file->etag);
    set_field(file, 3, FIELD_ACCEPT_RANGES, WEIR_STR("bytes"));
}

/* Up to `bytes` from the start. Returns how many; -EAGAIN; another negative errno. */
static ssize_t
read_start(int fd, char *dst, size_t bytes, bool may_block)
{
    size_t done = 0;
    while (done < bytes) {
        struct iovec part = { dst + done, bytes - done };
        ssize_t n = preadv2(fd, &part, 1, (off_t)done, may_block ? 0 : RWF_NOWAIT);
        if (n == -1 && errno == EINTR) {
            continue;
        }
        if (n == -1) {
            /* Not every file system can say what it has at hand. */
            return errno == EOPNOTSUPP && !may_block ? -EAGAIN : -errno;
        }
        if (n == 0) {
            break;
        }
        done += (size_t)n;
    }
    return (ssize_t)done;
}

/* Answers may be sent from the descriptor, which is the file's from now on. */
static void
keep_open(struct weir_file *file, int fd)
{
    file->fd = fd;
    file->hold.check = check_unchanged;
}

/* The file with its bytes in memory, all of one state. Takes `fd` over when it keeps it. */
static int
load_small(const struct file_terms *terms, int fd, struct stat *st, bool may_block,
        struct weir_file **out)
{
    for (int i = 1;; i++) {
        size_t bytes = (size_t)st->st_size;
        struct weir_file *file = new_file(terms, bytes);
        if (file == NULL) {
            return -ENOMEM;
        }
        char *body = (char *)(file + 1) + terms->key.len;
        ssize_t n = read_start(fd, body, bytes, may_block);
        struct stat after;
        int r = n < 0 ? (int)n : 0;
        if (r == 0 && fstat(fd, &after) == -1) {
            r = -errno;
        }
        if (r < 0) {
            hold_unref(&file->hold);
            return r == -EAGAIN ? r : load_error(terms, r, out);
        }
        file->identity = identity_of(st);
        struct file_identity now = identity_of(&after);
        bool is_whole = (size_t)n == bytes && is_same(&file->identity, &now);
        bool can_retry = i < TRIES && now.size <= FILE_BODY_MAX_BYTES;
        if (!is_whole && can_retry) {
            hold_unref(&file->hold);
            *st = after;
            continue;
        }
        if (!is_whole) {
            /* It does not stand still: what was read is served this once, as such. */
            file->identity.size = (uint64_t)n;
            file->is_racy = file->is_fleeting = true;
        } else if (bytes > FILE_OPEN_MIN_BYTES) {
            keep_open(file, fd);
        }
        file->kind = WEIR_FILE_REGULAR;
        file->body = weir_str_make(body, (size_t)n);
        *out = file;
        return 0;
    }
}

static int
load_regular(const struct file_lookup *lookup, const struct file_terms *terms, int held,
        struct stat *st, struct weir_file **out)
{
    int fd = file_open(lookup, held, st);
    if (fd < 0) {
        return fd == -EAGAIN && !lookup->may_block ? fd : load_error(terms, fd, out);
    }
    if ((uint64_t)st->st_size <= FILE_BODY_MAX_BYTES) {
        int r = load_small(terms, fd, st, lookup->may_block, out);
        if (r < 0 || (*out)->fd == -1) {
            close(fd);
        }
        return r;
    }
    struct weir_file *file = new_file(terms, 0);
    if (file == NULL) {
        close(fd);
        return -ENOMEM;
    }
    file->kind = WEIR_FILE_REGULAR;
    file->identity = identity_of(st);
    keep_open(file, fd);
    *out = file;
    return 0;
}

int
file_load(const struct file_lookup *lookup, const struct file_terms *terms,
        const struct file_identity *known, struct weir_file **out)
{
    int held;
    struct stat st;
    int r = file_hold(lookup, &held, &st);
    if (r < 0) {
        return r == -EAGAIN ? r : load_error(terms, r, out);
    }
    struct file_identity identity = identity_of(&st);
    if (known != NULL && is_same(&identity, known)) {
        close(held);
        *out = NULL;
        return 0;
    }
    if (S_ISREG(st.st_mode)) {
        r = load_regular(lookup, terms, held, &st, out);
    } else {
        struct weir_file *file = new_file(terms, 0);
        r = file == NULL ? -ENOMEM : 0;
        if (file != NULL) {
            file->kind = S_ISDIR(st.st_mode) ? WEIR_FILE_DIRECTORY : WEIR_FILE_OTHER;
            file->identity = identity;
            *out = file;
        }
    }
    close(held);
    if (r == 0 && (*out)->kind == WEIR_FILE_REGULAR) {
        describe(*out, terms);
    }
    return r;
}

bool
file_is_warm(const struct weir_file *file, uint64_t offset, uint64_t bytes)
{
    if (file->fd == -1 || bytes == 0) {
        return true;
    }
    char byte;
    struct iovec part = { &byte, 1 };
    ssize_t n;
    do {
        n = preadv2(file->fd, &part, 1, (off_t)(offset + bytes - 1), RWF_NOWAIT);
    } while (n == -1 && errno == EINTR);
    return n >= 0; /* none: it was cut short, which sending it will find */
}

void
file_warm(int fd, uint64_t offset, uint64_t bytes)
{
    /* What follows is on its way too by the time it is sent. */
    int ignored = posix_fadvise(fd, (off_t)offset, 0, POSIX_FADV_SEQUENTIAL);
    (void)ignored;
    char block[16384];
    while (bytes > 0) {
        size_t len = bytes < sizeof(block) ? (size_t)bytes : sizeof(block);
        ssize_t n = pread(fd, block, len, (off_t)offset);
        if (n <= 0) {
            return; /* sending it will find the same */
        }
        offset += (uint64_t)n;
        bytes -= (uint64_t)n;
    }
}

enum weir_file_kind
weir_file_kind(const struct weir_file *file)
{
    return file->kind;
}

int
weir_file_error(const struct weir_file *file)
{
    return file->error;
}

uint64_t
weir_file_size(const struct weir_file *file)
{
    return file->identity.size;
}

int64_t
weir_file_modified_ns(const struct weir_file *file)
{
    return file->identity.mtime_ns;
}

struct weir_str
weir_file_etag(const struct weir_file *file)
{
    return file->etag;
}

struct weir_str
weir_file_type(const struct weir_file *file)
{
    return file->type;
}
