/* SPDX-License-Identifier: MIT */
#include "upstream/health_board.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/assert.h"
#include "event/mailbox.h"
#include "upstream/group.h"
#include "upstream/health_monitor.h"

/* One address of one group. */
struct health_entry {
    struct health_entry *next;
    size_t group; /* in `upstreams` */
    struct addr addr;
    unsigned refs;         /* targets; under the board's lock */
    _Atomic(bool) is_down; /* written by the first loop, before it tells the others */
};

/* What is told to a loop: that something has changed. */
struct health_loop {
    struct letter letter; /* in the mailbox while `is_told` */
    struct health_board *board;
    _Atomic(bool) is_told;
    struct mailbox *mailbox;     /* borrowed; NULL: it has left. Under the lock */
    struct upstreams *upstreams; /* borrowed; NULL: likewise. The loop's */
};

struct health_board {
    pthread_mutex_t lock;
    struct health_entry *entries; /* owned; under the lock */
    unsigned count;
    struct health_loop loops[];
};

/* ---- what loops are told ----------------------------------------------------------------- */

static bool
reads_down(const struct health_entry *entry)
{
    /* Pairs with the release in tell(). */
    return atomic_load_explicit(&entry->is_down, memory_order_acquire);
}

/* A target at which a state may have changed; NULL: there is none. */
static struct upstream_target *
find_changed(struct upstreams *upstreams)
{
    for (size_t i = 0; i < upstreams->count; i++) {
        struct upstream_group *group = &upstreams->groups[i];
        for (size_t j = 0; group->settings->health.is_on && j < group->target_count; j++) {
            struct upstream_target *target = group->targets[j];
            if (target->health.entry != NULL &&
                    target->is_down != reads_down(target->health.entry)) {
                return target;
            }
        }
    }
    return NULL;
}

static void
on_letter(struct letter *letter)
{
    struct health_loop *loop = (struct health_loop *)((char *)letter -
            offsetof(struct health_loop, letter));
    /* First, so that a change after this posts it again. Pairs with the exchange in tell(). */
    atomic_store_explicit(&loop->is_told, false, memory_order_seq_cst);
    struct upstream_target *target;
    while (loop->upstreams != NULL && (target = find_changed(loop->upstreams)) != NULL) {
        upstream_turn(target, !target->is_down); /* the set may be another after that */
    }
}

void
health_entry_turn(struct health_board *board, struct health_entry *entry, bool is_down)
{
    atomic_store_explicit(&entry->is_down, is_down, memory_order_release);
    pthread_mutex_lock(&board->lock);
    for (unsigned i = 1; i < board->count; i++) {
        struct health_loop *loop = &board->loops[i];
        if (loop->mailbox != NULL &&
                !atomic_exchange_explicit(&loop->is_told, true, memory_order_seq_cst)) {
            mailbox_post(loop->mailbox, &loop->letter);
        }
    }
    pthread_mutex_unlock(&board->lock);
}

/* ---- entries ----------------------------------------------------------------------------- */

/* Counted; NULL without memory. Called under the lock. */
static struct health_entry *
take_entry(struct health_board *board, size_t group, const struct addr *addr)
{
    struct health_entry *entry = board->entries;
    while (entry != NULL && !(entry->group == group && addr_eq(&entry->addr, addr))) {
        entry = entry->next;
    }
    if (entry == NULL) {
        entry = calloc(1, sizeof(*entry));
        if (entry == NULL) {
            return NULL;
        }
        entry->group = group;
        entry->addr = *addr;
        entry->next = board->entries;
        board->entries = entry;
    }
    entry->refs++;
    return entry;
}

/* Called under the lock. */
static void
drop_entry(struct health_board *board, struct health_entry *entry)
{
    if (--entry->refs > 0) {
        return;
    }
    struct health_entry **link = &board->entries;
    while (*link != entry) {
        link = &(*link)->next;
    }
    *link = entry->next;
    free(entry);
}

int
health_attach(struct upstream_target *target)
{
    struct upstreams *all = target->group->all;
    struct health_board *board = all->health;
    if (board == NULL || !target->group->settings->health.is_on) {
        return 0;
    }
    pthread_mutex_lock(&board->lock);
    struct health_entry *entry = take_entry(board, (size_t)(target->group - all->groups),
            &target->settings.addr);
    pthread_mutex_unlock(&board->lock);
    if (entry == NULL) {
        return -ENOMEM;
    }
    target->health.entry = entry;
    target->is_down = reads_down(entry);
    if (all->health_index > 0) {
        return 0;
    }
    int r = health_monitor_new(board, entry, target, &target->health.monitor);
    if (r < 0) {
        health_detach(target);
    }
    return r;
}

void
health_detach(struct upstream_target *target)
{
    struct health_board *board = target->group->all->health;
    struct health_entry *entry = target->health.entry;
    if (entry == NULL) {
        return;
    }
    health_monitor_free(target->health.monitor);
    target->health.entry = NULL;
    target->health.monitor = NULL;
    pthread_mutex_lock(&board->lock);
    drop_entry(board, entry);
    pthread_mutex_unlock(&board->lock);
}

/* ---- the board --------------------------------------------------------------------------- */

struct health_board *
health_board_new(unsigned loops)
{
    struct health_board *board = calloc(1, sizeof(*board) + loops * sizeof(struct health_loop));
    if (board == NULL) {
        return NULL;
    }
    pthread_mutex_init(&board->lock, NULL);
    board->count = loops;
    for (unsigned i = 0; i < loops; i++) {
        board->loops[i].letter.fn = on_letter;
        board->loops[i].board = board;
    }
    return board;
}

void
health_board_free(struct health_board *board)
{
    if (board == NULL) {
        return;
    }
    WEIR_ASSERT(board->entries == NULL);
    pthread_mutex_destroy(&board->lock);
    free(board);
}

int
health_board_join(struct health_board *board, unsigned index, struct upstreams *upstreams,
        struct mailbox *mailbox)
{
    WEIR_ASSERT(index < board->count);
    upstreams->health = board;
    upstreams->health_index = index;
    for (size_t i = 0; i < upstreams->count; i++) {
        struct upstream_group *group = &upstreams->groups[i];
        for (size_t j = 0; j < group->target_count; j++) {
            int r = health_attach(group->targets[j]);
            if (r < 0) {
                return r;
            }
        }
    }
    pthread_mutex_lock(&board->lock);
    board->loops[index].upstreams = upstreams;
    board->loops[index].mailbox = mailbox;
    pthread_mutex_unlock(&board->lock);
    return 0;
}

void
health_board_leave(struct upstreams *upstreams)
{
    struct health_board *board = upstreams->health;
    if (board == NULL) {
        return;
    }
    struct health_loop *loop = &board->loops[upstreams->health_index];
    pthread_mutex_lock(&board->lock);
    loop->mailbox = NULL;
    loop->upstreams = NULL;
    pthread_mutex_unlock(&board->lock);
}
