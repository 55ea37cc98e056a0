/* SPDX-License-Identifier: MIT */
/* Who may come, by the client's address (F153):
 *     { "access": { "allow": ["10.0.0.0/8"], "deny": ["10.0.0.99"] } }
 *
 * Who is denied is denied, whatever layer allows it; where anything is allowed, everybody else
 * is denied. The client is whom `trust` makes of the peer and its fields. */
#include <weir/module.h>
#include <weir/reply.h>
#include <weir/request.h>

struct access_conf {
    struct weir_list allow, deny; /* struct weir_network */
};

static bool
has_client(const struct weir_list *networks, const struct weir_request *request)
{
    for (size_t i = 0; i < networks->count; i++) {
        if (weir_request_client_in(request, &WEIR_LIST_AT(struct weir_network, networks, i))) {
            return true;
        }
    }
    return false;
}

static enum weir_verdict
admit(struct weir_request *request, const void *conf_)
{
    const struct access_conf *conf = conf_;
    bool may_pass = !has_client(&conf->deny, request) &&
            (conf->allow.count == 0 || has_client(&conf->allow, request));
    return may_pass ? WEIR_NEXT : weir_reply_error(request, 403);
}

static int
check(const void *conf_, struct weir_conf_report *report)
{
    const struct access_conf *conf = conf_;
    if (conf->allow.count == 0 && conf->deny.count == 0) {
        weir_conf_error(report, NULL,
                "neither `allow` nor `deny` names a network: to deny everybody, deny "
                "0.0.0.0/0 and ::/0");
    }
    return 0;
}

static const struct weir_option options[] = {
    WEIR_LIST(struct access_conf, allow, .element = WEIR_TYPE_NETWORK,
            .merge = WEIR_MERGE_APPEND,
            .help = "Networks whose clients may pass; when it is given nobody else does"),
    WEIR_LIST(struct access_conf, deny, .element = WEIR_TYPE_NETWORK,
            .merge = WEIR_MERGE_APPEND,
            .help = "Networks whose clients may not pass, also when they are allowed"),
};

static const struct weir_hook hooks[] = {
    { .on = WEIR_ON_ACCESS, .stage = WEIR_STAGE_AUTHORIZE, .request = admit },
};

const struct weir_module weir_module_v1 = {
    WEIR_MODULE_HEAD("access", "1.0.0", "Admits clients by their address"),
    .flags = WEIR_MODULE_MANY_LOOPS,
    WEIR_HANDLERS({ .name = "access",
            .options = WEIR_OPTIONS(struct access_conf, options),
            .hooks = WEIR_HOOKS(hooks),
            .help = "Answers 403 to clients of other networks",
            .conf_check = check }),
};
