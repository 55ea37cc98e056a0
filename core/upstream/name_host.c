/* SPDX-License-Identifier: MIT */
#include "upstream/name_host.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "event/loop.h"

/* The timer is always set, so that moving it cannot fail. */
#define LOOK_NS (3600 * NS_PER_S)

/* The wait after a failure doubles so often. */
#define DOUBLINGS_MAX 3u

uint64_t
name_delay_ns(const struct name_settings *settings, uint32_t ttl_s, unsigned failures)
{
    unsigned doublings = failures > DOUBLINGS_MAX ? DOUBLINGS_MAX : failures;
    uint64_t delay_ns = failures == 0 ? ttl_s * NS_PER_S
                                      : settings->ttl_min_ns << (doublings - 1);
    delay_ns = delay_ns < settings->ttl_min_ns ? settings->ttl_min_ns : delay_ns;
    return delay_ns > settings->ttl_max_ns ? settings->ttl_max_ns : delay_ns;
}

static void
set_timer(struct name_host *host, uint64_t delay_ns)
{
    int r = timer_set(&host->timer, clock_add_ns(loop_now_ns(host->timer.loop), delay_ns));
    WEIR_ASSERT(r == 0);
}

/* ---- a round ----------------------------------------------------------------------------- */

static bool
is_asking(const struct name_host *host)
{
    return host->families[0].query != NULL || host->families[1].query != NULL;
}

/* Whether the question was answered, if only with nothing. */
static bool
is_answer(enum resolver_result result)
{
    return result == RESOLVER_FOUND || result == RESOLVER_NO_NAME || result == RESOLVER_NO_DATA;
}

/* What was found takes the place of what was known. */
static void
take_new(struct name_host_family *family)
{
    if (is_answer(family->result)) {
        free(family->addrs);
        family->addrs = family->new_addrs;
        family->count = family->new_count;
        family->new_addrs = NULL;
        family->new_count = 0;
    }
}

/* Why nothing was found: a failure says more than an answer that there is nothing. */
static enum resolver_result
reason_of(const struct name_host *host)
{
    for (size_t i = 0; i < 2; i++) {
        if (!is_answer(host->families[i].result)) {
            return host->families[i].result;
        }
    }
    return host->families[host->families[0].result == RESOLVER_NO_NAME ? 0 : 1].result;
}

static void
end_round(struct name_host *host)
{
    struct name_host_family *families = host->families;
    uint32_t ttl_s = UINT32_MAX;
    bool has_found = false, has_failed = false;
    for (size_t i = 0; i < 2; i++) {
        bool is_found = families[i].result == RESOLVER_FOUND;
        has_found |= is_found;
        has_failed |= !is_answer(families[i].result);
        ttl_s = is_found && families[i].ttl_s < ttl_s ? families[i].ttl_s : ttl_s;
    }
    for (size_t i = 0; has_found && i < 2; i++) {
        take_new(&families[i]);
    }
    host->failures = has_found ? 0 : host->failures + 1;
    host->result = has_found ? RESOLVER_FOUND : reason_of(host);
    host->is_settled = true;
    uint64_t delay_ns = name_delay_ns(host->settings, ttl_s, host->failures);
    if (has_found && has_failed) {
        uint64_t soon_ns = name_delay_ns(host->settings, 0, 1);
        delay_ns = soon_ns < delay_ns ? soon_ns : delay_ns;
    }
    set_timer(host, delay_ns);
    host->fn(host->context, host);
}

static void
on_answer(void *context, const struct resolver_answer *answer)
{
    struct name_host_family *family = context;
    family->query = NULL;
    family->result = answer->result;
    if (answer->result == RESOLVER_FOUND) {
        family->ttl_s = answer->ttl_s;
        family->new_addrs = calloc(answer->count, sizeof(struct addr));
        family->new_count = answer->count;
        if (family->new_addrs == NULL) {
            family->result = RESOLVER_EXHAUSTED;
            family->new_count = 0;
        } else {
            memcpy(family->new_addrs, answer->addrs, answer->count * sizeof(struct addr));
        }
    }
    if (!is_asking(family->host)) {
        end_round(family->host);
    }
}

static void
on_timer(struct timer *timer)
{
    static const struct {
        enum resolver_kind kind;
        enum name_family unless;
    } kinds[] = { { RESOLVER_IPV4, NAME_IPV6 }, { RESOLVER_IPV6, NAME_IPV4 } };
    struct name_host *host = (struct name_host *)((char *)timer -
            offsetof(struct name_host, timer));
    set_timer(host, LOOK_NS);
    for (size_t i = 0; i < 2; i++) {
        struct name_host_family *family = &host->families[i];
        if (host->settings->family == (int)kinds[i].unless) {
            family->result = RESOLVER_NO_DATA;
        } else if (family->query == NULL) {
            family->query = host->resolver->ask(host->resolver, kinds[i].kind, host->name,
                    on_answer, family);
            family->result = RESOLVER_EXHAUSTED; /* until an answer says something else */
        }
    }
    if (!is_asking(host)) {
        end_round(host);
    }
}

/* ---- life -------------------------------------------------------------------------------- */

struct name_host *
name_host_new(struct loop *loop, struct resolver *resolver,
        const struct name_settings *settings, const struct resolver_service *service,
        name_host_fn *fn, void *context)
{
    struct name_host *host = calloc(1, sizeof(*host));
    if (host == NULL) {
        return NULL;
    }
    host->settings = settings;
    host->resolver = resolver;
    host->fn = fn;
    host->context = context;
    host->port = service->port;
    host->priority = service->priority;
    host->weight = service->weight;
    memcpy(host->name, service->host, sizeof(host->name));
    host->families[0].host = host->families[1].host = host;
    timer_init(&host->timer, loop, on_timer);
    if (timer_set(&host->timer, loop_now_ns(loop)) < 0) {
        free(host);
        return NULL;
    }
    return host;
}

void
name_host_free(struct name_host *host)
{
    if (host == NULL) {
        return;
    }
    timer_cancel(&host->timer);
    for (size_t i = 0; i < 2; i++) {
        struct name_host_family *family = &host->families[i];
        if (family->query != NULL) {
            host->resolver->cancel(host->resolver, family->query);
        }
        free(family->addrs);
        free(family->new_addrs);
    }
    free(host);
}

bool
name_host_at(const struct name_host *host, size_t i, struct addr *out)
{
    for (size_t j = 0; j < 2; j++) {
        const struct name_host_family *family = &host->families[j];
        if (i < family->count) {
            *out = family->addrs[i];
            if (out->sa.sa_family == AF_INET) {
                out->in.sin_port = htons(host->port);
            } else {
                out->in6.sin6_port = htons(host->port);
            }
            return true;
        }
        i -= family->count;
    }
    return false;
}
