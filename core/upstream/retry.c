/* SPDX-License-Identifier: MIT */
#include "upstream/retry.h"

#include "base/clock.h"
#include "event/loop.h"
#include "http/engine.h"
#include "upstream/exchange.h"

/* What requests save up, in hundredths: a burst of a hundred. */
#define SAVED_MAX 10000u

/* ---- the budget -------------------------------------------------------------------------- */

void
retry_budget_init(struct retry_budget *budget, const struct retry_settings *settings,
        unsigned loops, uint64_t now_ns)
{
    const struct weir_rate *floor = &settings->floor;
    budget->floor_every_ns = CLOCK_NEVER;
    budget->floor_max = 0;
    if (floor->count > 0) {
        uint64_t every_ns = floor->per_ns / floor->count * loops;
        uint64_t share = floor->count / loops + (floor->count % loops != 0);
        budget->floor_every_ns = every_ns > 0 ? every_ns : 1;
        budget->floor_max = (share < SAVED_MAX / 100 ? share : SAVED_MAX / 100) * 100;
    }
    budget->hundredths = budget->floor_max;
    budget->filled_ns = now_ns;
}

void
retry_budget_save(struct retry_budget *budget, const struct retry_settings *settings)
{
    if (settings->percent > 0 && budget->hundredths < SAVED_MAX) {
        budget->hundredths += (uint64_t)settings->percent;
    }
}

/* What time alone has brought. */
static void
fill(struct retry_budget *budget, uint64_t now_ns)
{
    uint64_t count = (now_ns - budget->filled_ns) / budget->floor_every_ns;
    budget->filled_ns += count * budget->floor_every_ns;
    if (budget->hundredths >= budget->floor_max) {
        return;
    }
    uint64_t room = budget->floor_max - budget->hundredths;
    budget->hundredths += count <= room / 100 ? count * 100 : room;
}

bool
retry_budget_spend(struct retry_budget *budget, const struct retry_settings *settings,
        uint64_t now_ns)
{
    if (settings->percent < 0) {
        return true;
    }
    fill(budget, now_ns);
    if (budget->hundredths < 100) {
        return false;
    }
    budget->hundredths -= 100;
    return true;
}

/* ---- reasons ----------------------------------------------------------------------------- */

uint32_t
retry_reason_of_error(enum weir_exchange_error error)
{
    switch (error) {
    case WEIR_EXCHANGE_REFUSED:
    case WEIR_EXCHANGE_UNREACHABLE:
    case WEIR_EXCHANGE_CONNECT_TIMEOUT:
        return WEIR_RETRY_CONNECT;
    case WEIR_EXCHANGE_SEND_TIMEOUT:
    case WEIR_EXCHANGE_READ_TIMEOUT:
        return WEIR_RETRY_TIMEOUT;
    case WEIR_EXCHANGE_CLOSED:
        return WEIR_RETRY_CLOSED;
    case WEIR_EXCHANGE_BAD_ANSWER:
    case WEIR_EXCHANGE_HEAD_TOO_LARGE:
        return WEIR_RETRY_BAD_ANSWER;
    case WEIR_EXCHANGE_FINE:
    case WEIR_EXCHANGE_BUSY:
    case WEIR_EXCHANGE_QUEUE_TIMEOUT:
    case WEIR_EXCHANGE_UNRESOLVED:
    case WEIR_EXCHANGE_BODY:
    case WEIR_EXCHANGE_EXHAUSTED:
    case WEIR_EXCHANGE_ABORTED:
    case WEIR_EXCHANGE_UNAVAILABLE:
        break;
    }
    return 0;
}

uint32_t
retry_reason_of_status(unsigned status)
{
    switch (status) {
    case 429:
        return WEIR_RETRY_429;
    case 500:
        return WEIR_RETRY_500;
    case 502:
        return WEIR_RETRY_502;
    case 503:
        return WEIR_RETRY_503;
    case 504:
        return WEIR_RETRY_504;
    default:
        return 0;
    }
}

const char *
retry_reason_word(uint32_t reason)
{
#define REASON(name, word)           \
    if (reason == WEIR_RETRY_##name) \
        return word;
    RETRY_REASONS(REASON)
#undef REASON
    return "";
}

/* ---- exchanges --------------------------------------------------------------------------- */

void
retry_settle(struct exchange *exchange, const struct weir_exchange_ask *ask)
{
    const struct retry_settings *settings = &exchange->group->settings->retry;
    bool is_fewer = ask->retry_times > 0 && ask->retry_times < settings->times;
    exchange->retry_on = settings->on & (ask->retry_on == 0 ? UINT32_MAX : ask->retry_on);
    exchange->retries_left = is_fewer ? ask->retry_times : settings->times;
}

bool
retry_may_come(const struct exchange *exchange)
{
    return exchange->is_idempotent && exchange->retries_left > 0 &&
            (exchange->retry_on & ~WEIR_RETRY_CONNECT) != 0;
}

bool
retry_begin(struct exchange *exchange, uint32_t reason)
{
    struct upstream_group *group = exchange->group;
    bool is_safe = exchange->is_idempotent || exchange_has_sent_nothing(exchange);
    if ((exchange->retry_on & reason) == 0 || exchange->retries_left == 0 || !is_safe ||
            !exchange->can_replay_body || exchange->interims > 0 || exchange->has_head ||
            !upstream_has_untried(group, &exchange->tried)) {
        return false;
    }
    uint64_t now_ns = loop_now_ns(group->all->engine->loop);
    if (!retry_budget_spend(&group->retry_budget, &group->settings->retry, now_ns)) {
        upstream_count_retry_refused(group);
        return false;
    }
    exchange->retries_left--;
    exchange->retry_reason = reason;
    return true;
}
