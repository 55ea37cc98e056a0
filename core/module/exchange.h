/* SPDX-License-Identifier: MIT */
/* What the course knows of exchanges (weir/exchange.h), and how a request becomes what is sent
 * to an upstream. Thread: the request's loop. */
#ifndef WEIR_MODULE_EXCHANGE_H
#define WEIR_MODULE_EXCHANGE_H

#include <weir/exchange.h>

struct exchange;

/* What the asker's table says, as this build knows it: what it does not have is zero. Returns
 * 0; -EINVAL. */
WEIR_MUST_USE int exchange_read_ask(const struct weir_exchange_ask *from,
        struct weir_exchange_ask *to);

/* Fills in the part of `exchange` that says what is sent: its head, and how its body goes.
 * Returns 0; -EINVAL for what no client may send; -ENOMEM. */
WEIR_MUST_USE int exchange_fill(struct exchange *exchange, struct weir_request *request,
        const struct weir_exchange_ask *ask);

/* Fills in what the request says about the target to ask; the group is known. Returns 0 or
 * -ENOMEM. */
WEIR_MUST_USE int exchange_read_wish(struct exchange *exchange, struct weir_request *request);

/* The answer that the request has begun becomes the exchange's: puts in the cookie that names
 * its target, if the client is to have one and does not. Returns as weir_reply_add(). */
WEIR_MUST_USE int exchange_say_target(const struct exchange *exchange,
        struct weir_request *request);
/* What variables say of the exchange that the request opened last, over or not. */
struct exchange_facts {
    struct weir_str name, address; /* of the upstream and the target asked last; lives as
                                      weir_exchange_address() does */
    unsigned status;               /* of the answer; 0: none */
    uint32_t retries;
    bool has_connected;
    uint64_t time_ns, connect_ns, head_ns; /* until its end or now; head_ns 0: none */
};

/* False when it has opened none; *out is untouched then. */
WEIR_MUST_USE bool exchange_find_facts(const struct weir_request *request,
        struct exchange_facts *out);

/* The request ends: so do its exchanges. */
void exchange_drop_all(struct weir_request *request);

#endif
