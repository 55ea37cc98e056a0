/* SPDX-License-Identifier: MIT */
/* Who asks, as the upstream is told (RFC 7239, X-Forwarded-*, Via, X-Request-ID). What the
 * client wrote under these names never gets there: only what a trusted peer said of the client
 * is passed on, with the peer behind it. */
#include <errno.h>

#include <weir/request.h>

#include "proxy.h"

static void
add(struct proxy_fields *fields, struct weir_str name, struct weir_str value)
{
    fields->items[fields->count++] = (struct weir_ask_field){ name, value };
}

/* All parts, one after the other, in the request's memory; .ptr NULL without. */
static struct weir_str
join(struct weir_request *request, const struct weir_str *parts, size_t count)
{
    size_t len = 0;
    for (size_t i = 0; i < count; i++) {
        len += parts[i].len;
    }
    char *memory = weir_request_alloc(request, len + 1), *at = memory;
    for (size_t i = 0; memory != NULL && i < count; i++) {
        if (parts[i].len > 0) {
            memcpy(at, parts[i].ptr, parts[i].len);
            at += parts[i].len;
        }
    }
    return weir_str_make(memory, memory == NULL ? 0 : len);
}

#define JOIN(request, ...)                                    \
    join((request), (const struct weir_str[]){ __VA_ARGS__ }, \
            sizeof((const struct weir_str[]){ __VA_ARGS__ }) / sizeof(struct weir_str))

/* Who asks and whom we speak to, if that is another. */
struct parties {
    struct weir_str client, peer; /* empty over a Unix socket */
    bool has_between;             /* the peer speaks for the client */
};

static struct parties
find_parties(struct weir_request *request)
{
    struct parties parties = { weir_request_client(request), weir_request_peer(request),
        false };
    parties.has_between = !weir_str_eq(parties.client, parties.peer);
    return parties;
}

/* The scheme under which the client reached the first of us. */
static struct weir_str
scheme_of(struct weir_request *request)
{
    struct weir_str said = weir_request_field(request, WEIR_STR("X-Forwarded-Proto"));
    bool is_known = weir_str_eq_icase(said, WEIR_STR("http")) ||
            weir_str_eq_icase(said, WEIR_STR("https"));
    return weir_request_peer_is_trusted(request) && is_known ? said
                                                             : weir_request_scheme(request);
}

static int
put_x(struct weir_request *request, const struct parties *parties, struct proxy_fields *fields)
{
    struct weir_str addresses = parties->client;
    if (parties->has_between) {
        addresses = JOIN(request, parties->client, WEIR_STR(", "), parties->peer);
        if (addresses.ptr == NULL) {
            return -ENOMEM;
        }
    }
    struct weir_str none = weir_str_make(NULL, 0);
    add(fields, WEIR_STR("X-Forwarded-For"), addresses.len > 0 ? addresses : none);
    add(fields, WEIR_STR("X-Forwarded-Proto"), scheme_of(request));
    struct weir_str host = weir_request_field(request, WEIR_STR("Host"));
    bool is_said = weir_request_peer_is_trusted(request) &&
            weir_request_field(request, WEIR_STR("X-Forwarded-Host")).len > 0;
    if (!is_said) {
        add(fields, WEIR_STR("X-Forwarded-Host"), host.len > 0 ? host : none);
    }
    add(fields, WEIR_STR("X-Real-IP"), parties->client.len > 0 ? parties->client : none);
    return 0;
}

/* for="[2001:db8::1]": an IPv6 address is quoted and bracketed (RFC 7239 section 6). */
static struct weir_str
node_of(struct weir_request *request, struct weir_str address)
{
    if (address.len == 0) {
        return WEIR_STR("for=unknown");
    }
    return memchr(address.ptr, ':', address.len) == NULL
            ? JOIN(request, WEIR_STR("for="), address)
            : JOIN(request, WEIR_STR("for=\"["), address, WEIR_STR("]\""));
}

static int
put_forwarded(struct weir_request *request, const struct parties *parties,
        struct proxy_fields *fields)
{
    struct weir_str client = node_of(request, parties->client);
    struct weir_str host = weir_request_field(request, WEIR_STR("Host"));
    struct weir_str value = client;
    if (value.ptr != NULL && host.len > 0) {
        value = JOIN(request, client, WEIR_STR(";host=\""), host, WEIR_STR("\""));
    }
    if (value.ptr != NULL) {
        value = JOIN(request, value, WEIR_STR(";proto="), scheme_of(request));
    }
    if (value.ptr != NULL && parties->has_between) {
        struct weir_str peer = node_of(request, parties->peer);
        value = peer.ptr == NULL ? peer : JOIN(request, value, WEIR_STR(", "), peer);
    }
    if (value.ptr == NULL) {
        return -ENOMEM;
    }
    add(fields, WEIR_STR("Forwarded"), value);
    return 0;
}

/* RFC 9110 section 7.6.3; what stands there already goes first. */
static int
put_via(struct weir_request *request, struct proxy_fields *fields)
{
    struct weir_str ours = weir_request_version(request) == 10 ? WEIR_STR("1.0 weir")
                                                               : WEIR_STR("1.1 weir");
    struct weir_str name, value, all = weir_str_make("", 0);
    for (uint32_t i = 0; weir_request_field_at(request, i, &name, &value); i++) {
        if (weir_str_eq_icase(name, WEIR_STR("Via"))) {
            all = JOIN(request, all, value, WEIR_STR(", "));
            if (all.ptr == NULL) {
                return -ENOMEM;
            }
        }
    }
    struct weir_str whole = all.len == 0 ? ours : JOIN(request, all, ours);
    add(fields, WEIR_STR("Via"), whole);
    return whole.ptr == NULL ? -ENOMEM : 0;
}

int
proxy_put_fields(struct weir_request *request, const struct proxy_conf *conf,
        struct proxy_fields *fields)
{
    const struct parties parties = find_parties(request);
    int r = put_via(request, fields);
    if (r == 0 && (conf->forwarded & PROXY_TELLS_X) != 0) {
        r = put_x(request, &parties, fields);
    }
    if (r == 0 && (conf->forwarded & PROXY_TELLS_FORWARDED) != 0) {
        r = put_forwarded(request, &parties, fields);
    }
    struct weir_str id = weir_request_id(request);
    if (id.len > 0) {
        add(fields, WEIR_STR("X-Request-ID"), id);
    }
    return r;
}
