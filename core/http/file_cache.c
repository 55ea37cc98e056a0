/* SPDX-License-Identifier: MIT */
#include "http/file_cache.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/assert.h"
#include "event/loop.h"
#include "event/pool.h"
#include "observe/log.h"

/* One descriptor in so many of the process's. */
#define DESCRIPTOR_SHARE 8u

/* A key: the directory's number, then the path beneath it, terminated behind its end. */
#define ID_BYTES sizeof(uint32_t)

struct key {
    char bytes[ID_BYTES + PATH_MAX];
    size_t len;
};

static struct weir_str
key_str(const struct key *key)
{
    return weir_str_make(key->bytes, key->len);
}

static const char *
key_path(const struct key *key)
{
    return key->bytes + ID_BYTES;
}

/* 0, or the error that the path is. */
static const struct weir_file *
make_key(struct key *key, uint32_t id, struct weir_str path)
{
    while (path.len > 0 && path.ptr[0] == '/') {
        path = weir_str_make(path.ptr + 1, path.len - 1);
    }
    while (path.len > 0 && path.ptr[path.len - 1] == '/') {
        path.len--;
    }
    if (path.len >= PATH_MAX) {
        return &file_too_long;
    }
    memcpy(key->bytes, &id, ID_BYTES);
    if (path.len > 0) {
        memcpy(key->bytes + ID_BYTES, path.ptr, path.len);
    }
    key->len = ID_BYTES + path.len;
    key->bytes[key->len] = '\0';
    return NULL;
}

/* ---- references -------------------------------------------------------------------------- */

void
file_ref(const struct weir_file *file)
{
    if (file->hold.references > 0) {
        hold_ref((struct hold *)(uintptr_t)&file->hold);
    }
}

void
file_unref(const struct weir_file *file)
{
    if (file != NULL && file->hold.references > 0) {
        hold_unref((struct hold *)(uintptr_t)&file->hold);
    }
}

static void
listing_ref(const struct weir_listing *listing)
{
    if (listing->hold.references > 0) {
        hold_ref((struct hold *)(uintptr_t)&listing->hold);
    }
}

void
listing_unref(const struct weir_listing *listing)
{
    if (listing != NULL && listing->hold.references > 0) {
        hold_unref((struct hold *)(uintptr_t)&listing->hold);
    }
}

/* ---- entries ----------------------------------------------------------------------------- */

static void
link_newest(struct file_cache *cache, struct weir_file *file)
{
    file->newer = NULL;
    file->older = cache->newest;
    if (cache->newest != NULL) {
        cache->newest->newer = file;
    } else {
        cache->oldest = file;
    }
    cache->newest = file;
}

static void
unlink_file(struct file_cache *cache, struct weir_file *file)
{
    *(file->newer == NULL ? &cache->newest : &file->newer->older) = file->older;
    *(file->older == NULL ? &cache->oldest : &file->older->newer) = file->newer;
    file->newer = file->older = NULL;
}

/* Takes an entry out; answers that use it keep it. */
static void
drop(struct file_cache *cache, struct weir_file *file)
{
    unlink_file(cache, file);
    map_take(&cache->entries, file->key);
    cache->bytes -= file->memory_bytes;
    cache->descriptors -= file->fd != -1;
    file->is_kept = false;
    hold_unref(&file->hold);
}

static bool
is_over(const struct file_cache *cache)
{
    return cache->entries.count > cache->settings.entries_max ||
            cache->bytes > cache->settings.bytes_max ||
            cache->descriptors > cache->settings.descriptors_max;
}

/* The oldest entries go, but each that was asked for since it was last passed over stays for
 * another round. When it is descriptors that are too many, others are no help and stay. */
static void
evict(struct file_cache *cache)
{
    struct weir_file *file = cache->oldest;
    /* Twice round: the first may only take marks away. */
    for (size_t left = 2 * cache->entries.count; is_over(cache) && file != NULL && left > 0;
            left--) {
        struct weir_file *next = file->newer;
        bool only_descriptors = cache->entries.count <= cache->settings.entries_max &&
                cache->bytes <= cache->settings.bytes_max;
        if (only_descriptors && file->fd == -1) {
            file = next == NULL ? cache->oldest : next;
            continue;
        }
        if (file->was_used) {
            file->was_used = false;
            unlink_file(cache, file);
            link_newest(cache, file);
        } else {
            drop(cache, file);
            cache->figures.evicted++;
        }
        file = next == NULL ? cache->oldest : next;
    }
}

/* Keeps a file, which takes the place of what was under its key. Takes over no reference. */
static void
keep(struct file_cache *cache, struct weir_file *file, uint64_t now_ns)
{
    struct weir_file *old = map_find(&cache->entries, file->key);
    if (file->error == -EACCES && (old == NULL || old->error != file->error)) {
        log_warn("file %.*s: not readable: 403", (int)(file->key.len - ID_BYTES),
                file->key.ptr + ID_BYTES);
    }
    if (old != NULL) {
        drop(cache, old);
    }
    if (file->is_fleeting || map_set(&cache->entries, file->key, file) < 0) {
        return;
    }
    hold_ref(&file->hold);
    file->is_kept = true;
    file->was_used = true;
    file->fresh_until_ns = clock_add_ns(now_ns, cache->settings.fresh_ns);
    cache->bytes += file->memory_bytes;
    cache->descriptors += file->fd != -1;
    link_newest(cache, file);
    evict(cache);
}

static int64_t
real_s(const struct file_cache *cache)
{
    return clock_real_ns(loop_clock(cache->loop)) / (int64_t)NS_PER_S;
}

/* ---- tasks ------------------------------------------------------------------------------- */

enum load_kind {
    LOAD_FILE,
    LOAD_LISTING,
    LOAD_WARM,
    LOAD_ROOT,
};

/* What a thread is asked to do. Carries all it needs; cannot reach the cache. */
struct file_load {
    struct pool_task task;
    enum load_kind kind;
    struct weir_root *root; /* counted; NULL: WARM */
    struct root_dir *dir;   /* counted; NULL: WARM */
    enum file_way way;
    int64_t now_s;
    bool has_known;
    struct file_identity known;
    const struct weir_file *file; /* WARM: counted on the loop; its descriptor */
    uint64_t offset, bytes;       /* WARM */

    /* What came of it. */
    int error;
    struct weir_file *found; /* NULL: still what is known */
    struct weir_listing *listing;
    struct root_dir *new_dir;

    /* The loop's. */
    struct file_cache *cache;
    struct file_waiter *waiters;
    bool is_mapped;
    char map_key[1 + ID_BYTES + PATH_MAX]; /* the kind, then the file's key */
    struct weir_str name;                  /* map_key, as much as is used */
};

static struct weir_str
load_key(const struct file_load *load)
{
    return weir_str_make(load->name.ptr + 1, load->name.len - 1);
}

static void
load_free(struct file_load *load)
{
    file_unref(load->file);
    if (load->found != NULL) {
        hold_unref(&load->found->hold);
    }
    listing_unref(load->listing);
    root_dir_unref(load->dir);
    root_dir_unref(load->new_dir);
    weir_root_close(load->root);
    free(load);
}

/* On a pool's thread. */
static void
run_load(struct pool_task *task, void *thread_state)
{
    (void)thread_state;
    struct file_load *load = (struct file_load *)((char *)task -
            offsetof(struct file_load, task));
    if (load->kind == LOAD_WARM) {
        file_warm(load->file->fd, load->offset, load->bytes);
        return;
    }
    if (load->kind == LOAD_ROOT) {
        load->error = root_look(load->root, load->dir, load->way, true, &load->new_dir);
        return;
    }
    struct weir_str key = load_key(load);
    const char *path = key.ptr + ID_BYTES;
    struct file_lookup lookup = {
        .dir_fd = load->dir->fd,
        .path = path,
        .symlinks = load->root->symlinks,
        .way = load->way,
        .may_block = true,
    };
    if (load->kind == LOAD_LISTING) {
        load->listing = listing_load(&lookup, LISTING_MAX);
        load->error = load->listing == NULL ? -ENOMEM : 0;
        return;
    }
    struct file_terms terms = {
        .key = key,
        .path = weir_str_make(path, key.len - ID_BYTES),
        .types = load->root->types,
        .now_s = load->now_s,
    };
    load->error = file_load(&lookup, &terms, load->has_known ? &load->known : NULL,
            &load->found);
}

void
file_waiter_leave(struct file_waiter *waiter)
{
    if (waiter->load == NULL) {
        return;
    }
    *waiter->link = waiter->next;
    if (waiter->next != NULL) {
        waiter->next->link = waiter->link;
    }
    waiter->load = NULL;
}

static void
wait_for(struct file_load *load, struct file_waiter *waiter)
{
    WEIR_ASSERT(waiter->load == NULL);
    waiter->load = load;
    waiter->next = load->waiters;
    waiter->link = &load->waiters;
    if (waiter->next != NULL) {
        waiter->next->link = &waiter->next;
    }
    load->waiters = waiter;
}

/* The entry that a task of LOAD_FILE comes back with; borrowed. */
static const struct weir_file *
settle_file(struct file_cache *cache, struct file_load *load)
{
    uint64_t now_ns = loop_now_ns(cache->loop);
    if (load->found != NULL) {
        keep(cache, load->found, now_ns);
        return load->found;
    }
    struct weir_file *file = map_find(&cache->entries, load_key(load));
    if (load->error == 0 && load->has_known && file != NULL) {
        file->fresh_until_ns = clock_add_ns(now_ns, cache->settings.fresh_ns);
        return file;
    }
    return &file_busy; /* no memory, or evicted meanwhile: rare, and asked again at once */
}

static void
settle_root(struct file_cache *cache, struct file_load *load)
{
    struct root_view *view = &cache->views[load->root->number];
    view->is_being_checked = false;
    if (load->new_dir != NULL && load->new_dir != view->dir) {
        root_dir_unref(view->dir);
        view->dir = load->new_dir;
        view->id = cache->next_id++;
        load->new_dir = NULL;
    }
}

static void
on_done(struct pool_task *task, enum pool_outcome outcome)
{
    struct file_load *load = (struct file_load *)((char *)task -
            offsetof(struct file_load, task));
    struct file_cache *cache = load->cache;
    cache->out--;
    if (load->is_mapped) {
        map_take(&cache->loads, load->name);
    }
    const struct weir_file *file = NULL;
    const struct weir_listing *listing = NULL;
    switch (load->kind) {
    case LOAD_FILE:
        file = outcome == POOL_RAN ? settle_file(cache, load) : &file_busy;
        break;
    case LOAD_LISTING:
        listing = load->listing != NULL ? load->listing : &listing_busy;
        break;
    case LOAD_WARM:
        break; /* not warmed is sent cold, and waited for */
    case LOAD_ROOT:
        settle_root(cache, load);
        break;
    }
    if (file != NULL) {
        file_ref(file); /* should a waiter make the cache drop it */
    }
    while (load->waiters != NULL) {
        struct file_waiter *waiter = load->waiters;
        file_waiter_leave(waiter);
        if (file != NULL) {
            file_ref(file);
            waiter->file = file;
        }
        if (listing != NULL) {
            listing_ref(listing);
            waiter->listing = listing;
        }
        waiter->ready(waiter);
    }
    file_unref(file);
    load_free(load);
}

static struct file_load *
new_load(struct file_cache *cache, enum load_kind kind, struct weir_str key)
{
    struct file_load *load = malloc(sizeof(*load));
    if (load == NULL) {
        return NULL;
    }
    memset(load, 0, offsetof(struct file_load, map_key));
    load->kind = kind;
    load->cache = cache;
    load->way = cache->settings.way;
    load->now_s = real_s(cache);
    load->task = (struct pool_task){
        .run = run_load,
        .done = on_done,
        .reply_to = cache->mailbox,
    };
    load->map_key[0] = (char)('0' + kind);
    if (key.len > 0) {
        memcpy(load->map_key + 1, key.ptr, key.len);
    }
    load->map_key[1 + key.len] = '\0';
    load->name = weir_str_make(load->map_key, 1 + key.len);
    return load;
}

static void
submit(struct file_load *load)
{
    load->cache->figures.fetches++;
    load->cache->out++;
    pool_submit(load->cache->pool, &load->task);
}

/* ---- roots ------------------------------------------------------------------------------- */

static int
grow_views(struct file_cache *cache, uint32_t number)
{
    uint32_t count = number + 8;
    struct root_view *views = realloc(cache->views, count * sizeof(*views));
    if (views == NULL) {
        return -ENOMEM;
    }
    memset(views + cache->view_count, 0, (count - cache->view_count) * sizeof(*views));
    cache->views = views;
    cache->view_count = count;
    return 0;
}

/* Looks where the root's path leads; when that might block, a thread does, and until it comes
 * back the directory last seen is used. So it is when nothing is there. */
static void
check_view(struct file_cache *cache, struct root_view *view, struct weir_root *root,
        uint64_t now_ns)
{
    view->fresh_until_ns = clock_add_ns(now_ns, cache->settings.fresh_ns);
    struct root_dir *dir;
    int r = root_look(root, view->dir, cache->settings.way, false, &dir);
    if (r == 0) {
        if (dir != view->dir) {
            view->id = cache->next_id++;
        }
        root_dir_unref(view->dir);
        view->dir = dir;
        return;
    }
    struct file_load *load = r != -EAGAIN || view->is_being_checked
            ? NULL
            : new_load(cache, LOAD_ROOT, weir_str_make("", 0));
    if (load != NULL) {
        load->root = root_ref(root);
        load->dir = root_dir_ref(view->dir);
        view->is_being_checked = true;
        submit(load);
    }
}

static int
find_view(struct file_cache *cache, struct weir_root *root, uint64_t now_ns,
        struct root_view **out)
{
    if (root->number >= cache->view_count && grow_views(cache, root->number) < 0) {
        return -ENOMEM;
    }
    struct root_view *view = &cache->views[root->number];
    if (view->dir == NULL) {
        view->dir = root_dir_ref(root->dir);
        view->id = cache->next_id++;
    }
    if (now_ns >= view->fresh_until_ns) {
        check_view(cache, view, root, now_ns);
    }
    *out = view;
    return 0;
}

/* ---- doors ------------------------------------------------------------------------------- */

int
file_cache_find(struct file_cache *cache, struct weir_root *root, struct weir_str path,
        const struct weir_file **out)
{
    uint64_t now_ns = loop_now_ns(cache->loop);
    struct root_view *view;
    if (find_view(cache, root, now_ns, &view) < 0) {
        return -ENOMEM;
    }
    struct key key;
    *out = make_key(&key, view->id, path);
    if (*out != NULL) {
        return 0;
    }
    struct weir_file *known = map_find(&cache->entries, key_str(&key));
    if (known != NULL && now_ns < known->fresh_until_ns) {
        cache->figures.hits++;
        known->was_used = true;
        *out = known;
        return 0;
    }
    cache->figures.misses++;
    const char *end = memchr(key_path(&key), '\0', key.len - ID_BYTES);
    if (end != NULL) {
        *out = &file_invalid;
        return 0;
    }
    struct file_lookup lookup = {
        .dir_fd = view->dir->fd,
        .path = key_path(&key),
        .symlinks = root->symlinks,
        .way = cache->settings.way,
    };
    struct file_terms terms = {
        .key = key_str(&key),
        .path = weir_str_make(key_path(&key), key.len - ID_BYTES),
        .types = root->types,
        .now_s = real_s(cache),
    };
    bool may_be_same = known != NULL && known->error == 0 && !known->is_racy;
    struct weir_file *found;
    int r = file_load(&lookup, &terms, may_be_same ? &known->identity : NULL, &found);
    if (r < 0) {
        return r;
    }
    if (found == NULL) {
        known->fresh_until_ns = clock_add_ns(now_ns, cache->settings.fresh_ns);
        *out = known;
        return 0;
    }
    keep(cache, found, now_ns);
    if (!found->is_kept) {
        /* Nobody else holds it: it lives until the caller has looked. */
        file_unref(cache->passing);
        cache->passing = found;
    } else {
        hold_unref(&found->hold);
    }
    *out = found;
    return 0;
}

/* The task of that kind and path, begun unless it is out already. */
static int
start(struct file_cache *cache, enum load_kind kind, struct weir_root *root,
        struct weir_str path, struct file_waiter *waiter)
{
    struct root_view *view;
    if (find_view(cache, root, loop_now_ns(cache->loop), &view) < 0) {
        return -ENOMEM;
    }
    struct key key;
    if (make_key(&key, view->id, path) != NULL ||
            memchr(key_path(&key), '\0', key.len - ID_BYTES) != NULL) {
        return -EINVAL;
    }
    struct file_load *load = new_load(cache, kind, key_str(&key));
    if (load == NULL) {
        return -ENOMEM;
    }
    struct file_load *out = map_find(&cache->loads, load->name);
    if (out != NULL) {
        free(load);
        wait_for(out, waiter);
        return 0;
    }
    if (map_set(&cache->loads, load->name, load) < 0) {
        free(load);
        return -ENOMEM;
    }
    load->is_mapped = true;
    load->root = root_ref(root);
    load->dir = root_dir_ref(view->dir);
    const struct weir_file *known = kind == LOAD_FILE
            ? map_find(&cache->entries, load_key(load))
            : NULL;
    if (known != NULL && known->error == 0 && !known->is_racy) {
        load->has_known = true;
        load->known = known->identity;
    }
    wait_for(load, waiter);
    submit(load);
    return 0;
}

int
file_cache_fetch(struct file_cache *cache, struct weir_root *root, struct weir_str path,
        struct file_waiter *waiter)
{
    return start(cache, LOAD_FILE, root, path, waiter);
}

int
file_cache_list(struct file_cache *cache, struct weir_root *root, struct weir_str path,
        struct file_waiter *waiter)
{
    return start(cache, LOAD_LISTING, root, path, waiter);
}

int
file_cache_warm(struct file_cache *cache, const struct weir_file *file, uint64_t offset,
        uint64_t bytes, struct file_waiter *waiter)
{
    struct file_load *load = new_load(cache, LOAD_WARM, weir_str_make("", 0));
    if (load == NULL) {
        return -ENOMEM;
    }
    file_ref(file);
    load->file = file;
    load->offset = offset;
    load->bytes = bytes;
    cache->figures.warmed++;
    wait_for(load, waiter);
    submit(load);
    return 0;
}

bool
file_cache_is_warm(struct file_cache *cache, const struct weir_file *file_, uint64_t offset,
        uint64_t bytes)
{
    struct weir_file *file = (struct weir_file *)(uintptr_t)
            file_; /* but for the cache's part */
    uint64_t now_ns = loop_now_ns(cache->loop);
    if (offset == 0 && bytes <= file->warm_bytes && now_ns < file->warm_until_ns) {
        return true;
    }
    if (!file_is_warm(file, offset, bytes)) {
        return false;
    }
    if (offset == 0) {
        file->warm_bytes = bytes;
        file->warm_until_ns = clock_add_ns(now_ns, cache->settings.fresh_ns);
    }
    return true;
}

static uint64_t
descriptor_share(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == -1) {
        return 64;
    }
    return limit.rlim_cur == RLIM_INFINITY ? 8192 : limit.rlim_cur / DESCRIPTOR_SHARE;
}

int
file_cache_new(struct loop *loop, struct pool *pool, struct mailbox *mailbox,
        const struct file_cache_settings *settings, struct file_cache **out)
{
    struct file_cache *cache = calloc(1, sizeof(*cache));
    if (cache == NULL) {
        return -ENOMEM;
    }
    cache->loop = loop;
    cache->pool = pool;
    cache->mailbox = mailbox;
    cache->settings = *settings;
    if (settings->descriptors_max == 0) {
        cache->settings.descriptors_max = descriptor_share();
    }
    enum file_way way = file_way_probe();
    cache->settings.way = settings->way < way ? settings->way : way;
    map_init(&cache->entries);
    map_init(&cache->loads);
    *out = cache;
    return 0;
}

void
file_cache_free(struct file_cache *cache)
{
    if (cache == NULL) {
        return;
    }
    while (cache->oldest != NULL) {
        drop(cache, cache->oldest);
    }
    file_unref(cache->passing);
    for (uint32_t i = 0; i < cache->view_count; i++) {
        root_dir_unref(cache->views[i].dir);
    }
    free(cache->views);
    map_fini(&cache->entries);
    map_fini(&cache->loads);
    free(cache);
}
