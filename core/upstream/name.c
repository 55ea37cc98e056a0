/* SPDX-License-Identifier: MIT */
#include "upstream/name.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "http/engine.h"
#include "observe/log.h"
#include "upstream/balance.h"
#include "upstream/group.h"

/* The timer is always set, so that moving it cannot fail. */
#define LOOK_NS (3600 * NS_PER_S)

/* Of a line in the log, so much is about addresses. */
#define LIST_BYTES 512u

static struct loop *
loop_of(const struct upstream_name *name)
{
    return name->group->all->engine->loop;
}

static void
set_timer(struct upstream_name *name, uint64_t delay_ns)
{
    int r = timer_set(&name->timer, clock_add_ns(loop_now_ns(loop_of(name)), delay_ns));
    WEIR_ASSERT(r == 0);
}

static void
free_hosts(struct name_host **hosts)
{
    while (*hosts != NULL) {
        struct name_host *host = *hosts;
        *hosts = host->next;
        name_host_free(host);
    }
}

/* ---- telling ----------------------------------------------------------------------------- */

/* One loop of a worker speaks for all. */
static bool
may_log(const struct upstream_name *name)
{
    return !name->group->all->is_quiet;
}

/* Its members, as text, cut where it is too long. */
static void
list_members(const struct upstream_name *name, char list[LIST_BYTES])
{
    const struct upstream_group *group = name->group;
    size_t at = 0;
    list[0] = '\0';
    for (size_t i = 0; i < group->target_count; i++) {
        const struct upstream_target *target = group->targets[i];
        if (target->name != name) {
            continue;
        }
        if (LIST_BYTES - at < ADDR_TEXT_BYTES + 8) {
            memcpy(list + at, ", ...", 6);
            return;
        }
        at += (size_t)snprintf(list + at, LIST_BYTES - at, "%s%.*s", at == 0 ? "" : ", ",
                WEIR_STR_ARG(target->settings.address));
    }
}

static void
tell_change(struct upstream_name *name)
{
    char list[LIST_BYTES];
    if (may_log(name)) {
        list_members(name, list);
        log_info("upstream %.*s: %.*s is %s", WEIR_STR_ARG(name->group->settings->name),
                WEIR_STR_ARG(name->settings->address), list);
    }
    upstream_show_addresses(name->group, name->settings->address, name->members);
}

/* What became of a question about `what`. The log hears of the first that fails, with its
 * reason, and of the first that is answered again; figures have them all. */
static void
tell_result(struct upstream_name *name, const char *what, enum resolver_result result,
        enum resolver_result *told)
{
    struct weir_str group = name->group->settings->name;
    const char *word = resolver_result_word(result);
    upstream_count_lookup(name->group, name->settings->address, word);
    bool is_new = (result == RESOLVER_FOUND) != (*told == RESOLVER_FOUND);
    *told = result;
    if (!is_new || !may_log(name)) {
        return;
    }
    if (result == RESOLVER_FOUND) {
        log_info("upstream %.*s: %s is resolved again", WEIR_STR_ARG(group), what);
    } else {
        log_warn("upstream %.*s: %s cannot be resolved: %s; %s", WEIR_STR_ARG(group), what,
                word, name->members == 0 ? "there is no address" : "the last addresses stay");
    }
}

/* ---- members ----------------------------------------------------------------------------- */

/* What a host's addresses weigh, and whether they are for when all others are out. */
static void
say_weight(const struct upstream_name *name, const struct name_host *host,
        struct upstream_target_settings *out)
{
    if (!name->settings->is_service) {
        return; /* as the configuration has it */
    }
    uint16_t first = UINT16_MAX, heaviest = 1;
    for (const struct name_host *i = name->hosts; i != NULL; i = i->next) {
        first = i->priority < first ? i->priority : first;
        heaviest = i->weight > heaviest ? i->weight : heaviest;
    }
    uint64_t weight = heaviest <= BALANCE_WEIGHT_MAX
            ? host->weight
            : (uint64_t)host->weight * BALANCE_WEIGHT_MAX / heaviest;
    out->weight = weight == 0 ? 1 : weight; /* "very small", says RFC 2782 */
    out->is_backup |= host->priority > first;
}

static struct upstream_target *
find_member(const struct upstream_name *name, const struct addr *addr)
{
    const struct upstream_group *group = name->group;
    for (size_t i = 0; i < group->target_count; i++) {
        struct upstream_target *target = group->targets[i];
        if (target->name == name && addr_eq(&target->settings.addr, addr)) {
            return target;
        }
    }
    return NULL;
}

/* An address that it stands for: a member from now on, or still. */
static bool
keep_member(struct upstream_name *name, const struct name_host *host, const struct addr *addr,
        bool *is_full)
{
    char text[ADDR_TEXT_BYTES];
    struct upstream_target *target = find_member(name, addr);
    struct upstream_target_settings settings = *name->settings;
    say_weight(name, host, &settings);
    if (target != NULL) {
        bool is_first = target->name_round != name->round; /* of two records with one address */
        target->name_round = name->round;
        if (is_first && target->settings.weight != settings.weight) {
            upstream_target_weigh(target, settings.weight);
        }
        target->settings.is_backup = is_first ? settings.is_backup : target->settings.is_backup;
        return false;
    }
    settings.label = name->settings->address;
    settings.address = weir_str_make(text, addr_format(addr, text));
    settings.addr = *addr;
    if (upstream_target_add(name->group, &settings, &target) < 0) {
        *is_full = true;
        return false;
    }
    target->name = name;
    target->name_round = name->round;
    if (!name->is_settled) {
        target->up_since_ns = 0; /* it need not be new: we are */
    }
    return true;
}

static bool
keep_members(struct upstream_name *name, bool *is_full)
{
    bool has_changed = false;
    struct addr addr;
    *is_full = false;
    for (const struct name_host *host = name->hosts; host != NULL; host = host->next) {
        for (size_t i = 0; name_host_at(host, i, &addr); i++) {
            has_changed |= keep_member(name, host, &addr, is_full);
        }
    }
    return has_changed;
}

/* Those that it stands for no more. */
static bool
drop_members(struct upstream_name *name)
{
    struct upstream_group *group = name->group;
    bool has_changed = false;
    for (size_t i = group->target_count; i-- > 0;) {
        struct upstream_target *target = group->targets[i];
        if (target->name == name && target->name_round != name->round) {
            upstream_target_remove(target);
            has_changed = true;
        }
    }
    return has_changed;
}

static bool
has_address(const struct name_host *hosts)
{
    struct addr addr;
    while (hosts != NULL && !name_host_at(hosts, 0, &addr)) {
        hosts = hosts->next;
    }
    return hosts != NULL;
}

/* The group's members are what the name's hosts have. */
static void
apply(struct upstream_name *name)
{
    bool is_full = false;
    if (has_address(name->hosts)) {
        name->round++;
        bool has_changed = keep_members(name, &is_full);
        has_changed |= drop_members(name);
        if (is_full) {
            has_changed |= keep_members(name, &is_full); /* there may be room now */
        }
        name->members = 0;
        for (size_t i = 0; i < name->group->target_count; i++) {
            name->members += name->group->targets[i]->name == name;
        }
        if (has_changed) {
            upstream_serve_all(name->group);
            tell_change(name);
        }
        if (is_full && has_changed && may_log(name)) {
            log_warn("upstream %.*s: some addresses of %.*s are left out: no memory, or more "
                     "than %u targets",
                    WEIR_STR_ARG(name->group->settings->name),
                    WEIR_STR_ARG(name->settings->address), UPSTREAM_TARGETS_MAX);
        }
    }
}

/* It has been asked for once. */
static void
settle(struct upstream_name *name)
{
    if (!name->is_settled) {
        name->is_settled = true;
        name->group->unsettled_names--;
        upstream_serve_all(name->group);
    }
}

/* ---- hosts ------------------------------------------------------------------------------- */

static bool
are_settled(const struct name_host *hosts)
{
    while (hosts != NULL && hosts->is_settled) {
        hosts = hosts->next;
    }
    return hosts == NULL;
}

static bool
is_among(const struct name_host *host, const struct name_host *hosts)
{
    while (hosts != NULL && hosts != host) {
        hosts = hosts->next;
    }
    return hosts != NULL;
}

static void
on_host(void *context, struct name_host *host)
{
    struct upstream_name *name = context;
    tell_result(name, host->name, host->result, &host->told);
    if (is_among(host, name->coming)) {
        if (!are_settled(name->coming)) {
            return;
        }
        /* Those without any address are no better than what there is; they go on asking. */
        if (has_address(name->coming) || name->hosts == NULL) {
            free_hosts(&name->hosts);
            name->hosts = name->coming;
            name->coming = NULL;
        }
    }
    apply(name);
    settle(name);
}

/* ---- services ---------------------------------------------------------------------------- */

static bool
has_host(const struct name_host *hosts, const struct resolver_service *service)
{
    for (; hosts != NULL; hosts = hosts->next) {
        if (hosts->port == service->port && hosts->priority == service->priority &&
                hosts->weight == service->weight &&
                weir_str_eq_icase(weir_str_from(hosts->name), weir_str_from(service->host))) {
            return true;
        }
    }
    return false;
}

/* Whether the records are those of the hosts, in whatever order. */
static bool
says_the_same(const struct name_host *hosts, const struct resolver_answer *answer)
{
    size_t count = 0;
    for (const struct name_host *host = hosts; host != NULL; host = host->next) {
        count++;
    }
    for (size_t i = 0; count == answer->count && i < count; i++) {
        if (!has_host(hosts, &answer->services[i])) {
            return false;
        }
    }
    return count == answer->count;
}

/* Its hosts are asked for, and take the place of the others when they have all been. */
static bool
begin_hosts(struct upstream_name *name, const struct resolver_answer *answer)
{
    if (says_the_same(name->coming, answer)) {
        return true;
    }
    free_hosts(&name->coming);
    if (says_the_same(name->hosts, answer)) {
        return true;
    }
    for (size_t i = 0; i < answer->count; i++) {
        struct name_host *host = name_host_new(loop_of(name), name->group->resolver,
                &name->group->settings->names, &answer->services[i], on_host, name);
        if (host == NULL) {
            free_hosts(&name->coming);
            return false;
        }
        host->next = name->coming;
        name->coming = host;
    }
    return true;
}

static void
end_service_round(struct upstream_name *name, enum resolver_result result, uint32_t ttl_s)
{
    name->failures = result == RESOLVER_FOUND ? 0 : name->failures + 1;
    set_timer(name, name_delay_ns(&name->group->settings->names, ttl_s, name->failures));
    tell_result(name, name->settings->host, result, &name->told);
    if (result != RESOLVER_FOUND) {
        settle(name);
    }
}

static void
on_service(void *context, const struct resolver_answer *answer)
{
    struct upstream_name *name = context;
    enum resolver_result result = answer->result;
    name->query = NULL;
    if (result == RESOLVER_FOUND && !begin_hosts(name, answer)) {
        result = RESOLVER_EXHAUSTED;
    }
    end_service_round(name, result, answer->ttl_s);
}

static void
on_timer(struct timer *timer)
{
    struct upstream_name *name = (struct upstream_name *)((char *)timer -
            offsetof(struct upstream_name, timer));
    struct resolver *resolver = name->group->resolver;
    set_timer(name, LOOK_NS);
    if (name->query == NULL) {
        name->query = resolver->ask(resolver, RESOLVER_SRV, name->settings->host, on_service,
                name);
        if (name->query == NULL) {
            end_service_round(name, RESOLVER_EXHAUSTED, 0);
        }
    }
}

/* ---- life -------------------------------------------------------------------------------- */

static int
begin(struct upstream_name *name)
{
    if (name->settings->is_service) {
        return timer_set(&name->timer, loop_now_ns(loop_of(name)));
    }
    struct resolver_service service = { .port = name->settings->port };
    snprintf(service.host, sizeof(service.host), "%s", name->settings->host);
    name->hosts = name_host_new(loop_of(name), name->group->resolver,
            &name->group->settings->names, &service, on_host, name);
    return name->hosts == NULL ? -ENOMEM : 0;
}

int
upstream_name_add(struct upstream_group *group, const struct upstream_target_settings *settings)
{
    struct upstream_name *name = calloc(1, sizeof(*name));
    if (name == NULL) {
        return -ENOMEM;
    }
    name->group = group;
    name->settings = settings;
    timer_init(&name->timer, loop_of(name), on_timer);
    if (begin(name) < 0) {
        free(name);
        return -ENOMEM;
    }
    name->next = group->names;
    group->names = name;
    group->unsettled_names++;
    return 0;
}

void
upstream_names_free(struct upstream_group *group)
{
    while (group->names != NULL) {
        struct upstream_name *name = group->names;
        group->names = name->next;
        timer_cancel(&name->timer);
        if (name->query != NULL) {
            group->resolver->cancel(group->resolver, name->query);
        }
        free_hosts(&name->hosts);
        free_hosts(&name->coming);
        free(name);
    }
}

bool
upstream_awaits_names(const struct upstream_group *group)
{
    return group->target_count == 0 && group->unsettled_names > 0;
}
