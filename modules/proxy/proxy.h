/* SPDX-License-Identifier: MIT */
/* What the parts of the module share. */
#ifndef WEIR_PROXY_PROXY_H
#define WEIR_PROXY_PROXY_H

#include <weir/exchange.h>
#include <weir/option.h>

/* How the upstream is told who asks. */
enum proxy_tells {
    PROXY_TELLS_X = 1,         /* X-Forwarded-For, -Host and -Proto */
    PROXY_TELLS_FORWARDED = 2, /* Forwarded (RFC 7239) */
};

/* Changes of one message's fields. */
struct proxy_edits {
    struct weir_map set, add; /* to templates */
    struct weir_list remove;  /* struct weir_str */
};

struct proxy_headers {
    struct proxy_edits request, response;
};

/* Narrows the upstream's own `retry`. */
struct proxy_retry {
    uint64_t times;      /* UINT64_MAX: as often as the upstream says */
    struct weir_list on; /* int: WEIR_RETRY_... */
};

struct proxy_conf {
    struct weir_str to;
    const struct weir_template *path, *host; /* NULL: the request's own */
    int forwarded;                           /* enum proxy_tells, or-ed */
    bool proxy_status, next_hop;
    struct proxy_headers headers;
    struct proxy_retry retry;
    struct weir_list intercept; /* struct weir_status */
    bool buffering;
    struct weir_list upgrade; /* of struct weir_str: protocols that are tunnelled */
};

/* Fields in place of the request's own, on their way to the upstream. */
#define PROXY_FIELDS_MAX 12u

struct proxy_fields {
    struct weir_ask_field *items; /* `own`, or the request's memory */
    uint32_t count;
    struct weir_ask_field *added; /* beside the request's; the request's memory */
    uint32_t added_count;
    struct weir_ask_field own[PROXY_FIELDS_MAX];
};

/* Puts in what tells the upstream who asks, how they reached us, and that we were between.
 * Returns 0 or -ENOMEM. */
WEIR_MUST_USE int proxy_put_fields(struct weir_request *request, const struct proxy_conf *conf,
        struct proxy_fields *fields);

/* Says what is wrong with `upgrade`, if anything. */
void proxy_check_upgrade(const struct proxy_conf *conf, struct weir_conf_report *report);

/* The first protocol that the client offers and the configuration allows; empty: none. */
struct weir_str proxy_choose_upgrade(const struct weir_request *request,
        const struct proxy_conf *conf);

/* Changes what is there, and what the request has, on its way to the upstream. Returns 0 or
 * -ENOMEM. */
WEIR_MUST_USE int proxy_edit_request(struct weir_request *request,
        const struct proxy_edits *edits, struct proxy_fields *fields);

/* Changes the answer begun. Returns 0 or as weir_reply_add(). */
WEIR_MUST_USE int proxy_edit_answer(struct weir_request *request,
        const struct proxy_edits *edits);

void proxy_check_edits(const struct proxy_headers *headers, struct weir_conf_report *report);

/* Adds Proxy-Status to the answer begun, where the configuration wants it. */
void proxy_put_status(struct weir_request *request, const struct proxy_conf *conf,
        const struct weir_exchange *exchange);

#endif
