/* SPDX-License-Identifier: MIT */
/* Which protocol, if any, a request may go on in: what the client offers and the configuration
 * allows. What may never be tunnelled, the server does not offer (weir/request.h). */
#include <weir/request.h>

#include "proxy.h"

static bool
is_token(struct weir_str text)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool is_alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                (c >= 'A' && c <= 'Z');
        if (!is_alnum && memchr(others, c, sizeof(others) - 1) == NULL) {
            return false;
        }
    }
    return text.len > 0;
}

void
proxy_check_upgrade(const struct proxy_conf *conf, struct weir_conf_report *report)
{
    static const struct weir_str never[] = {
        WEIR_STR_INIT("h2c"),
        WEIR_STR_INIT("h2"),
        WEIR_STR_INIT("h3"),
        WEIR_STR_INIT("http"),
        WEIR_STR_INIT("tls"),
    };
    for (size_t i = 0; i < conf->upgrade.count; i++) {
        struct weir_str rest = WEIR_LIST_AT(struct weir_str, &conf->upgrade, i), name;
        weir_str_split(&rest, '/', &name);
        if (!is_token(name) || (rest.ptr != NULL && !is_token(rest))) {
            weir_conf_error(report, "upgrade",
                    "a protocol is a name, with a version perhaps (\"websocket\", \"foo/2\"), or "
                    "\"*\" for any");
            return;
        }
        for (size_t j = 0; j < sizeof(never) / sizeof(never[0]); j++) {
            if (weir_str_eq_icase(name, never[j])) {
                weir_conf_error(report, "upgrade",
                        "HTTP and TLS are not tunnelled: requests would reach the upstream that "
                        "nothing here has seen");
                return;
            }
        }
    }
}

static bool
is_allowed(const struct weir_list *allowed, struct weir_str protocol)
{
    for (size_t i = 0; i < allowed->count; i++) {
        struct weir_str entry = WEIR_LIST_AT(struct weir_str, allowed, i);
        if (weir_str_eq(entry, WEIR_STR("*")) || weir_str_eq_icase(entry, protocol)) {
            return true;
        }
    }
    return false;
}

struct weir_str
proxy_choose_upgrade(const struct weir_request *request, const struct proxy_conf *conf)
{
    struct weir_str protocol;
    for (uint32_t i = 0;
            conf->upgrade.count > 0 && weir_request_upgrade_at(request, i, &protocol); i++) {
        if (is_allowed(&conf->upgrade, protocol)) {
            return protocol;
        }
    }
    return weir_str_make(NULL, 0);
}
