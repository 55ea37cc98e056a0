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

struct proxy_conf {
    struct weir_str to;
    const struct weir_template *path, *host; /* NULL: the request's own */
    int forwarded;                           /* enum proxy_tells, or-ed */
    bool proxy_status;
    bool buffering;
    struct weir_list upgrade; /* of struct weir_str: protocols that are tunnelled */
};

/* Fields in place of the request's own, on their way to the upstream. */
#define PROXY_FIELDS_MAX 12u

struct proxy_fields {
    struct weir_ask_field items[PROXY_FIELDS_MAX];
    uint32_t count;
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

#endif
