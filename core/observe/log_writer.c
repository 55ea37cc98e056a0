/* SPDX-License-Identifier: MIT */
/* A round: every ring is walked once, each file's lines are gathered and written, then the room
 * is given back. What a file does not take is dropped at once, so that one full disk holds up
 * nothing else.
 *
 * Other workers append to the same files. So that half a line can be taken back when the disk
 * is full, a batch is written under an advisory lock of the file's; who holds that for longer
 * than a moment is none of ours and is not waited for.
 *
 * `lock` guards the list of rings, the rounds and what flush waits for. */
#include "observe/log_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "observe/log.h"
#include "observe/log_file.h"
#include "observe/log_ring.h"

#define ROUND_MS    50 /* between rounds while lines come */
#define TELL_NS     NS_PER_S
#define LOCK_TRIES  20 /* a millisecond apart */
#define STUCK_WAITS 10 /* of ROUND_MS each, until a pipe's reader is given up */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t has_ended = PTHREAD_COND_INITIALIZER;
static struct log_ring *rings;              /* guarded by lock */
static uint64_t rounds_begun, rounds_ended; /* guarded by lock */

static bool is_started; /* log_writer_start()'s */
static int wake_fd = -1;
static pthread_key_t ring_key;
static atomic_bool is_asleep;
static _Atomic uint64_t written, dropped;
/* Asked for with each line: not through a call. */
static _Thread_local struct log_ring *own_ring __attribute__((tls_model("initial-exec")));

/* ---- producers --------------------------------------------------------------------------- */

static void
wake(void)
{
    uint64_t one = 1;
    ssize_t ignored = write(wake_fd, &one, sizeof(one)); /* full: it is awake */
    (void)ignored;
}

/* The thread ends; the writer frees the ring when it is empty. */
static void
leave_ring(void *ring)
{
    own_ring = NULL;
    atomic_store(&((struct log_ring *)ring)->is_orphan, true);
    wake();
}

static struct log_ring *
make_ring(void)
{
    struct log_ring *ring = log_ring_new();
    if (ring == NULL || pthread_setspecific(ring_key, ring) != 0) {
        log_ring_free(ring);
        return NULL;
    }
    pthread_mutex_lock(&lock);
    ring->next = rings;
    rings = ring;
    pthread_mutex_unlock(&lock);
    own_ring = ring;
    return ring;
}

static int
drop(struct weir_log_file *file, uint64_t lines, int error)
{
    atomic_fetch_add_explicit(&file->dropped, lines, memory_order_relaxed);
    atomic_fetch_add_explicit(&dropped, lines, memory_order_relaxed);
    return error;
}

int
log_writer_put(struct weir_log_file *file, struct weir_str line)
{
    if (line.len >= WEIR_LOG_LINE_BYTES) {
        return drop(file, 1, -EMSGSIZE);
    }
    struct log_ring *ring = own_ring != NULL ? own_ring : make_ring();
    if (ring == NULL) {
        return drop(file, 1, -ENOMEM);
    }
    bool is_in = log_ring_put(ring, file, line);
    bool is_news = log_ring_is_half_full(ring) && !atomic_exchange(&ring->is_urgent, true);
    if (is_news || (atomic_load(&is_asleep) && atomic_exchange(&is_asleep, false))) {
        wake();
    }
    return is_in ? 0 : drop(file, 1, -EAGAIN);
}

/* ---- writing ----------------------------------------------------------------------------- */

static void
pause_ms(int ms)
{
    (void)poll(NULL, 0, ms);
}

static void
take_file(int fd, short type)
{
    struct flock whole = { .l_type = type, .l_whence = SEEK_SET };
    for (int i = 0; i < LOCK_TRIES && fcntl(fd, F_SETLK, &whole) == -1 &&
            (errno == EAGAIN || errno == EACCES);
            i++) {
        pause_ms(1);
    }
}

/* Takes `bytes` off the front of the lines; how many whole ones that were. *half: bytes of the
 * next that are gone too. */
static int
count_lines(const struct weir_log_file *file, int from, size_t bytes, size_t *half)
{
    int whole = 0;
    while (from + whole < file->line_count && bytes >= file->lines[from + whole].iov_len) {
        bytes -= file->lines[from + whole].iov_len;
        whole++;
    }
    *half = bytes;
    return whole;
}

/* The line after a torn one begins on a line of its own. */
static void
mend(struct weir_log_file *file)
{
    if (file->is_torn && write(file->fd, "\n", 1) == 1) {
        file->is_torn = false;
    }
}

/* Waits for the reader of a pipe or terminal. False: it has been long enough. */
static bool
wait_room(const struct weir_log_file *file)
{
    struct pollfd reader = { .fd = file->fd, .events = POLLOUT };
    return poll(&reader, 1, ROUND_MS * STUCK_WAITS) == 1 && (reader.revents & POLLOUT) != 0;
}

/* Writes the lines from `at` on with one call. Returns how many whole ones, or a negative errno
 * when it was none; half a line at the end has been taken back, finished or marked. */
static int
write_some(struct weir_log_file *file, int at)
{
    ssize_t n = writev(file->fd, file->lines + at, file->line_count - at);
    if (n < 0) {
        return -errno;
    }
    size_t half;
    int whole = count_lines(file, at, (size_t)n, &half);
    if (half == 0) {
        return whole;
    }
    struct stat status;
    off_t end = lseek(file->fd, 0, SEEK_CUR);
    if (fstat(file->fd, &status) == 0 && S_ISREG(status.st_mode) && end >= (off_t)half &&
            status.st_size == end && ftruncate(file->fd, end - (off_t)half) == 0) {
        return whole > 0 ? whole : -ENOSPC;
    }
    const struct iovec *line = &file->lines[at + whole];
    while (half < line->iov_len) {
        n = write(file->fd, (const char *)line->iov_base + half, line->iov_len - half);
        if (n > 0) {
            half += (size_t)n;
        } else if (errno != EINTR && (errno != EAGAIN || !wait_room(file))) {
            file->is_torn = true;
            return whole > 0 ? whole : -errno;
        }
    }
    return whole + 1;
}

/* What a file keeps failing with is told once a second, and that it works again. */
static void
tell(struct weir_log_file *file)
{
    uint64_t now_ns = clock_monotonic_ns(clock_system());
    uint64_t lost = atomic_load_explicit(&file->dropped, memory_order_relaxed);
    if (lost == file->told_dropped ||
            (file->told_ns != 0 && now_ns - file->told_ns < TELL_NS)) {
        return;
    }
    log_error("log file %s: %s; %llu lines were dropped", file->path,
            file->error != 0 ? strerror(file->error) : "more lines than could be written",
            (unsigned long long)(lost - file->told_dropped));
    file->told_dropped = lost;
    file->told_ns = now_ns;
}

static void
write_lines(struct weir_log_file *file)
{
    int at = 0;
    take_file(file->fd, F_WRLCK);
    mend(file);
    file->error = 0;
    while (at < file->line_count && file->error == 0) {
        int n = write_some(file, at);
        if (n >= 0) {
            at += n;
        } else if (n != -EINTR && (n != -EAGAIN || !wait_room(file))) {
            file->error = -n;
        }
    }
    take_file(file->fd, F_UNLCK);
    atomic_fetch_add_explicit(&written, (uint64_t)at, memory_order_relaxed);
    if (at < file->line_count) {
        drop(file, (uint64_t)(file->line_count - at), 0);
    }
    file->line_count = 0;
    tell(file);
}

/* ---- rounds ------------------------------------------------------------------------------ */

/* Writes all that stands in `ring`; true when there was anything. */
static bool
empty_ring(struct log_ring *ring)
{
    uint64_t head = atomic_load(&ring->head);
    uint64_t at = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    atomic_store(&ring->is_urgent, false);
    if (at == head) {
        return false;
    }
    struct weir_log_file *touched = NULL;
    const struct log_record *record;
    while ((record = log_ring_next(ring, &at, head)) != NULL) {
        struct weir_log_file *file = record->file;
        if (file->line_count == 0) {
            file->next_touched = touched;
            touched = file;
        }
        file->lines[file->line_count++] = (struct iovec){ (void *)(uintptr_t)(record + 1),
            record->bytes };
        if (file->line_count == LOG_BATCH_LINES) {
            for (struct weir_log_file **link = &touched; *link != NULL;
                    link = &(*link)->next_touched) {
                if (*link == file) {
                    *link = file->next_touched;
                    break;
                }
            }
            write_lines(file);
        }
    }
    for (; touched != NULL; touched = touched->next_touched) {
        write_lines(touched);
    }
    /* Pairs with the producer's acquire. */
    atomic_store_explicit(&ring->tail, head, memory_order_release);
    return true;
}

/* Frees the rings of threads that have ended. Their files may be gone by the next round. */
static void
free_orphans(void)
{
    pthread_mutex_lock(&lock);
    for (struct log_ring **at = &rings; *at != NULL;) {
        struct log_ring *ring = *at;
        if (atomic_load(&ring->is_orphan) &&
                atomic_load(&ring->head) == atomic_load(&ring->tail)) {
            *at = ring->next;
            log_ring_free(ring);
        } else {
            at = &ring->next;
        }
    }
    pthread_mutex_unlock(&lock);
}

static bool
make_round(void)
{
    pthread_mutex_lock(&lock);
    rounds_begun++;
    struct log_ring *ring = rings; /* new ones come in front: these stay as they are */
    pthread_mutex_unlock(&lock);
    bool has_moved = false;
    for (; ring != NULL; ring = ring->next) {
        has_moved |= empty_ring(ring);
    }
    free_orphans();
    pthread_mutex_lock(&lock);
    rounds_ended = rounds_begun;
    pthread_cond_broadcast(&has_ended);
    pthread_mutex_unlock(&lock);
    return has_moved;
}

static bool
has_lines(void)
{
    pthread_mutex_lock(&lock);
    bool found = false;
    for (const struct log_ring *ring = rings; ring != NULL; ring = ring->next) {
        found |= atomic_load(&ring->head) != atomic_load(&ring->tail);
    }
    pthread_mutex_unlock(&lock);
    return found;
}

static void
wait_for_lines(bool has_moved)
{
    int timeout_ms = ROUND_MS;
    if (!has_moved) {
        atomic_store(&is_asleep, true);
        timeout_ms = has_lines() ? 0 : -1;
    }
    struct pollfd news = { .fd = wake_fd, .events = POLLIN };
    (void)poll(&news, 1, timeout_ms);
    atomic_store(&is_asleep, false);
    uint64_t count;
    ssize_t ignored = read(wake_fd, &count, sizeof(count));
    (void)ignored;
}

static void *
run(void *unused)
{
    for (;;) {
        wait_for_lines(make_round());
    }
    return unused;
}

int
log_writer_start(void)
{
    if (is_started) {
        return 0;
    }
    int r = wake_fd != -1 ? 0 : pthread_key_create(&ring_key, leave_ring);
    if (r != 0) {
        return -r;
    }
    wake_fd = wake_fd != -1 ? wake_fd : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake_fd == -1) {
        r = -errno;
        pthread_key_delete(ring_key);
        return r;
    }
    /* Signals are for the loops; the one for a file that has grown too large is for nobody. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t thread;
    r = pthread_create(&thread, NULL, run, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r == 0) {
        is_started = true;
        pthread_detach(thread);
    }
    return -r;
}

bool
log_writer_flush(unsigned timeout_ms)
{
    if (!is_started) {
        return true;
    }
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += (long)(timeout_ms % 1000) * (long)NS_PER_MS;
    if (until.tv_nsec >= (long)NS_PER_S) {
        until.tv_sec++;
        until.tv_nsec -= (long)NS_PER_S;
    }
    pthread_mutex_lock(&lock);
    uint64_t wanted = rounds_begun + 1; /* the one that runs may be past a ring */
    pthread_mutex_unlock(&lock);
    wake(); /* not before: the round that this begins is to count */
    pthread_mutex_lock(&lock);
    int r = 0;
    while (rounds_ended < wanted && r == 0) {
        r = pthread_cond_timedwait(&has_ended, &lock, &until);
    }
    bool is_done = rounds_ended >= wanted;
    pthread_mutex_unlock(&lock);
    return is_done;
}

struct log_file_figures
log_file_figures(void)
{
    return (struct log_file_figures){
        .written = atomic_load_explicit(&written, memory_order_relaxed),
        .dropped = atomic_load_explicit(&dropped, memory_order_relaxed),
    };
}
