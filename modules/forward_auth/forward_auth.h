/* SPDX-License-Identifier: MIT */
/* What the parts of the module share. */
#ifndef WEIR_FORWARD_AUTH_FORWARD_AUTH_H
#define WEIR_FORWARD_AUTH_FORWARD_AUTH_H

#include <weir/exchange.h>
#include <weir/option.h>

struct forward_auth_conf {
    struct weir_str to;
    const struct weir_template *path;
    const struct weir_template *host; /* NULL: the request's own */
    int method;                       /* enum forward_auth_method */
    struct weir_list copy;            /* struct weir_str: names of fields */
    int on_error;                     /* enum forward_auth_on_error */
};

enum forward_auth_on_error {
    FORWARD_AUTH_DENIES,
    FORWARD_AUTH_ALLOWS,
};

enum forward_auth_method {
    FORWARD_AUTH_GET,
    FORWARD_AUTH_HEAD,
    FORWARD_AUTH_POST,
};

/* Asks whoever decides about this request. Returns as weir_exchange_open(), or -ENOMEM. */
WEIR_MUST_USE int forward_auth_ask(struct weir_request *request,
        const struct forward_auth_conf *conf, struct weir_exchange **out);

#endif
