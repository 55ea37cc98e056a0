/* SPDX-License-Identifier: MIT */
#include "module/pools.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "module/life_thread.h"

struct pools {
    size_t count;
    struct named_pool {
        char *name; /* owned, terminated: the pool names its threads by it */
        struct pool *pool;
    } items[];
};

static int
start_pool(struct named_pool *named, const struct site_pool *site, struct life *life)
{
    named->name = strndup(site->name.ptr, site->name.len);
    if (named->name == NULL) {
        return -ENOMEM;
    }
    struct pool_settings settings = {
        .name = named->name,
        .threads_min = (int)site->min,
        .threads_max = site->max < 0 ? POOL_UNLIMITED : (int)site->max,
        .queue_max = (size_t)site->queue_size,
        .queue_timeout_ns = site->queue_timeout_ns,
        .idle_timeout_ns = site->idle_timeout_ns,
    };
    if (life != NULL && life_keeps_threads(life)) {
        settings.thread_start = life_thread_new;
        settings.thread_stop = life_thread_free;
        settings.context = life;
    }
    return pool_new(&settings, &named->pool);
}

int
pools_new(const struct site *site, struct life *life, struct pools **out)
{
    struct pools *pools = calloc(1,
            sizeof(*pools) + site->pools_count * sizeof(struct named_pool));
    if (pools == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < site->pools_count; i++) {
        int r = start_pool(&pools->items[i], &site->pools[i], life);
        pools->count = i + 1;
        if (r < 0) {
            pools_stop(pools, 0);
            pools_free(pools);
            return r;
        }
    }
    *out = pools;
    return 0;
}

struct pool *
pools_find(const struct pools *pools, struct weir_str name)
{
    for (size_t i = 0; i < pools->count; i++) {
        if (weir_str_eq(name, weir_str_from(pools->items[i].name))) {
            return pools->items[i].pool;
        }
    }
    return NULL;
}

struct pool *
pools_at(const struct pools *pools, size_t i, const char **name)
{
    if (i >= pools->count) {
        return NULL;
    }
    *name = pools->items[i].name;
    return pools->items[i].pool;
}

bool
pools_stop(struct pools *pools, uint64_t deadline_ns)
{
    bool all_ended = true;
    for (size_t i = 0; i < pools->count; i++) {
        if (pools->items[i].pool != NULL) {
            all_ended &= pool_stop(pools->items[i].pool, deadline_ns);
        }
    }
    return all_ended;
}

void
pools_free(struct pools *pools)
{
    if (pools == NULL) {
        return;
    }
    for (size_t i = 0; i < pools->count; i++) {
        pool_free(pools->items[i].pool);
        free(pools->items[i].name);
    }
    free(pools);
}
