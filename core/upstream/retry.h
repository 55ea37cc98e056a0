/* SPDX-License-Identifier: MIT */
/* Asking another target, since one came to nothing (F143): when that is safe, when it is
 * wanted, and when it would only make things worse.
 *
 * Safe: nothing was sent, or the method is idempotent (RFC 9110 section 9.2.2) and all that was
 * sent of a body is still there; and nothing of an answer, interim ones included, was given to
 * whoever asked. Wanted: the configuration's `on` and `times`. Worse: a group that is down gets
 * no more than its `budget` on top of what it gets anyway, which is a share of the requests,
 * and a few a second where there are few. Where no connection came about, nothing was asked of
 * the target: the next one is asked without regard to `times` and `budget`.
 *
 * Thread: the loop's. */
#ifndef WEIR_UPSTREAM_RETRY_H
#define WEIR_UPSTREAM_RETRY_H

#include <weir/exchange.h>
#include <weir/option.h>

struct exchange;

/* Name, word for the configuration and metrics; WEIR_RETRY_... of weir/exchange.h. */
// clang-format off
#define RETRY_REASONS(X)          \
    X(CONNECT,    "connect")      \
    X(TIMEOUT,    "timeout")      \
    X(CLOSED,     "closed")       \
    X(BAD_ANSWER, "bad_answer")   \
    X(429,        "429")          \
    X(500,        "500")          \
    X(502,        "502")          \
    X(503,        "503")          \
    X(504,        "504")
// clang-format on

#define RETRY_TIMES_MAX 16u

/* As the configuration has it. */
struct retry_settings {
    uint32_t on;            /* WEIR_RETRY_..., or-ed */
    uint32_t times;         /* at most RETRY_TIMES_MAX */
    int64_t percent;        /* of the requests; -1: no bound */
    struct weir_rate floor; /* whatever their number is */
};

/* What one loop may still spend on one group. */
struct retry_budget {
    uint64_t hundredths;     /* of a retry that were saved */
    uint64_t floor_every_ns; /* one more, whatever the number of requests; CLOCK_NEVER: none */
    uint64_t floor_max;      /* in hundredths: time alone saves no more */
    uint64_t filled_ns;
};

/* One of `loops`: the floor is shared. Full. */
void retry_budget_init(struct retry_budget *budget, const struct retry_settings *settings,
        unsigned loops, uint64_t now_ns);

/* A request was made. */
void retry_budget_save(struct retry_budget *budget, const struct retry_settings *settings);

/* Takes one retry out; false when there is none. */
WEIR_MUST_USE bool retry_budget_spend(struct retry_budget *budget,
        const struct retry_settings *settings, uint64_t now_ns);

/* One of WEIR_RETRY_..., 0 for what is no reason. */
uint32_t retry_reason_of_error(enum weir_exchange_error error);
uint32_t retry_reason_of_status(unsigned status);

/* The reason's word. */
const char *retry_reason_word(uint32_t reason);

/* Fills in what the exchange may do: its group's settings, and of those what `ask` leaves. */
void retry_settle(struct exchange *exchange, const struct weir_exchange_ask *ask);

/* Something may have to be sent again, if its connection ends or its answer is passed over. */
bool retry_may_come(const struct exchange *exchange);

/* Whether the exchange, for that reason, goes to another target, of which there is one. Counts
 * it as one of its `times`, and takes it out of the budget. */
WEIR_MUST_USE bool retry_begin(struct exchange *exchange, uint32_t reason);

#endif
