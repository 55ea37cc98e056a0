/* SPDX-License-Identifier: MIT */
/* weir_file_find() and weir_listing_find(): the cache's answer at once, or the hook waits for a
 * pool's thread.
 *
 * A request keeps what it was answered, so that each path is waited for once and a hook that is
 * run again from its beginning gets the same answers. */
#include <errno.h>
#include <stddef.h>

#include <weir/file.h>

#include "event/loop.h"
#include "event/timer.h"
#include "http/file_cache.h"
#include "http/range.h"
#include "http/request.h"
#include "module/course.h"

/* What is brought into memory before an answer begins: one portion of output.c's. */
#define WARM_BYTES (256u << 10)

enum finding_kind {
    FINDING_FILE,
    FINDING_LISTING,
};

/* One thing that a request asked for and waited for. In its arena, and ends with it. */
struct file_finding {
    struct course_wait wait;
    struct file_waiter waiter;
    struct weir_request *request;
    enum finding_kind kind;
    const struct weir_root *root;
    struct weir_str path;
    const struct weir_file *file;       /* counted */
    const struct weir_listing *listing; /* counted */
    bool is_warm;
    bool is_late;       /* no thread had looked within timeouts.wait */
    struct timer timer; /* set while it is waited for */
    struct file_finding *next;
};

static void
on_ready(struct file_waiter *waiter)
{
    struct file_finding *finding = (struct file_finding *)((char *)waiter -
            offsetof(struct file_finding, waiter));
    if (waiter->file != NULL) {
        finding->file = waiter->file;
        waiter->file = NULL;
    }
    if (waiter->listing != NULL) {
        finding->listing = waiter->listing;
        waiter->listing = NULL;
    }
    timer_cancel(&finding->timer);
    course_ripen(&finding->wait);
}

/* A disk that does not answer: the request goes on without it. */
static void
on_deadline(struct timer *timer)
{
    struct file_finding *finding = (struct file_finding *)((char *)timer -
            offsetof(struct file_finding, timer));
    file_waiter_leave(&finding->waiter);
    finding->is_late = true;
    course_ripen(&finding->wait);
}

static void
leave(struct file_finding *finding)
{
    timer_cancel(&finding->timer);
    file_waiter_leave(&finding->waiter);
}

static void
on_abandon(struct course_wait *wait)
{
    struct file_finding *finding = (struct file_finding *)((char *)wait -
            offsetof(struct file_finding, wait));
    leave(finding);
}

static void
release_finding(void *object)
{
    struct file_finding *finding = object;
    leave(finding);
    file_unref(finding->file);
    listing_unref(finding->listing);
}

static void
release_file(void *object)
{
    file_unref(object);
}

static struct file_finding *
find(const struct weir_request *request, enum finding_kind kind, const struct weir_root *root,
        struct weir_str path)
{
    struct file_finding *finding = request->findings;
    while (finding != NULL &&
            !(finding->kind == kind && finding->root == root &&
                    weir_str_eq(finding->path, path))) {
        finding = finding->next;
    }
    return finding;
}

static struct file_finding *
add(struct weir_request *request, enum finding_kind kind, const struct weir_root *root,
        struct weir_str path)
{
    struct file_finding *finding = arena_zalloc(&request->arena, sizeof(*finding));
    if (finding == NULL) {
        return NULL;
    }
    finding->wait.abandon = on_abandon;
    finding->waiter.ready = on_ready;
    finding->request = request;
    timer_init(&finding->timer, request->engine->loop, on_deadline);
    finding->kind = kind;
    finding->root = root;
    finding->path = arena_copy(&request->arena, path);
    if (finding->path.ptr == NULL ||
            arena_defer(&request->arena, release_finding, finding) < 0) {
        return NULL;
    }
    finding->next = request->findings;
    request->findings = finding;
    return finding;
}

/* Suspends the hook until the waiter of `finding`, which was told to wait, is ready. */
static enum weir_verdict
suspend(struct file_finding *finding, weir_request_fn *resume)
{
    struct weir_request *request = finding->request;
    uint64_t deadline_ns = clock_add_ns(loop_now_ns(request->engine->loop),
            request->timeouts->wait_ns);
    bool is_set = deadline_ns == CLOCK_NEVER || timer_set(&finding->timer, deadline_ns) == 0;
    enum weir_verdict verdict = is_set ? course_wait_for(request, &finding->wait, resume)
                                       : WEIR_FAILED;
    if (verdict != WEIR_PENDING) {
        leave(finding);
    }
    return verdict;
}

/* Where sending will begin: at the first byte of a single range, if the range is one that will
 * be sent. */
static uint64_t
first_byte(const struct weir_request *request, uint64_t size)
{
    struct weir_str value = head_find(&request->head, FIELD_RANGE);
    struct range_set set;
    return value.ptr != NULL && range_parse(value, size, &set) == 0 ? set.ranges[0].first : 0;
}

/* Waits for the first bytes of the file unless they are in memory. Where that is not possible
 * they are sent all the same, and waited for then. */
static enum weir_verdict
warm(struct weir_request *request, struct weir_root *root, struct weir_str path,
        weir_request_fn *resume, const struct weir_file *file, struct file_finding *finding)
{
    if (file->fd == -1 || file->body.ptr != NULL ||
            request_sent_method(request) == METHOD_HEAD ||
            (finding != NULL && finding->is_warm)) {
        return WEIR_NEXT;
    }
    uint64_t size = file->identity.size;
    uint64_t from = first_byte(request, size);
    uint64_t bytes = size - from < WARM_BYTES ? size - from : WARM_BYTES;
    if (file_cache_is_warm(request->engine->files, file, from, bytes)) {
        return WEIR_NEXT;
    }
    if (finding == NULL) {
        finding = add(request, FINDING_FILE, root, path);
        if (finding == NULL) {
            return WEIR_NEXT;
        }
        file_ref(file);
        finding->file = file;
    }
    finding->is_warm = true;
    struct file_cache *cache = request->engine->files;
    if (file_cache_warm(cache, file, from, bytes, &finding->waiter) < 0) {
        return WEIR_NEXT;
    }
    return suspend(finding, resume) == WEIR_PENDING ? WEIR_PENDING : WEIR_NEXT;
}

/* Has a thread look, and waits. */
static enum weir_verdict
fetch(struct weir_request *request, struct weir_root *root, struct weir_str path,
        weir_request_fn *resume, const struct weir_file **out)
{
    struct file_finding *finding = add(request, FINDING_FILE, root, path);
    if (finding != NULL &&
            file_cache_fetch(request->engine->files, root, path, &finding->waiter) == 0) {
        return suspend(finding, resume);
    }
    *out = &file_no_memory;
    return WEIR_NEXT;
}

enum weir_verdict
weir_file_find(struct weir_request *request, struct weir_root *root, struct weir_str path,
        uint32_t flags, weir_request_fn *resume, const struct weir_file **out)
{
    struct file_cache *cache = request->engine->files;
    if (cache == NULL) {
        return WEIR_FAILED;
    }
    struct file_finding *finding = request->findings == NULL
            ? NULL
            : find(request, FINDING_FILE, root, path);
    if (finding != NULL) {
        *out = finding->file != NULL ? finding->file
                : finding->is_late   ? &file_busy
                                     : &file_no_memory;
    } else {
        int r = file_cache_find(cache, root, path, out);
        if (r == -EAGAIN) {
            return fetch(request, root, path, resume, out);
        }
        if (r < 0) {
            *out = &file_no_memory;
            return WEIR_NEXT;
        }
        /* Lives as long as the request, whatever becomes of its place in the cache. */
        file_ref(*out);
        if (arena_defer(&request->arena, release_file, (void *)(uintptr_t)*out) < 0) {
            file_unref(*out);
            *out = &file_no_memory;
        }
    }
    return (flags & WEIR_FILE_TO_SEND) == 0 ? WEIR_NEXT
                                            : warm(request, root, path, resume, *out, finding);
}

enum weir_verdict
weir_listing_find(struct weir_request *request, struct weir_root *root, struct weir_str path,
        weir_request_fn *resume, const struct weir_listing **out)
{
    struct file_cache *cache = request->engine->files;
    if (cache == NULL) {
        return WEIR_FAILED;
    }
    struct file_finding *finding = find(request, FINDING_LISTING, root, path);
    if (finding != NULL) {
        *out = finding->listing != NULL ? finding->listing
                : finding->is_late      ? &listing_busy
                                        : &listing_no_memory;
        return WEIR_NEXT;
    }
    finding = add(request, FINDING_LISTING, root, path);
    int r = finding == NULL ? -ENOMEM : file_cache_list(cache, root, path, &finding->waiter);
    if (r == 0) {
        return suspend(finding, resume);
    }
    *out = r == -EINVAL ? &listing_invalid : &listing_no_memory;
    return WEIR_NEXT;
}
