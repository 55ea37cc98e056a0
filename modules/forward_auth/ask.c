/* SPDX-License-Identifier: MIT */
/* What the upstream that decides is told: the request's own fields, so that it sees cookies and
 * credentials, and the request line in fields of ours. Nothing that a client wrote under their
 * names gets there. */
#include <errno.h>

#include <weir/request.h>
#include <weir/template.h>

#include "forward_auth.h"

#define FIELDS_MAX 20u

struct asked {
    struct weir_ask_field items[FIELDS_MAX];
    uint32_t count;
};

static void
add(struct asked *asked, struct weir_str name, struct weir_str value)
{
    asked->items[asked->count++] = (struct weir_ask_field){ name, value };
}

/* The path as it was routed and will be handled, with the query: what was sent may be written
 * so that another reader takes it for a different one. */
static struct weir_str
uri_of(struct weir_request *request)
{
    struct weir_str path = weir_request_path(request), query = weir_request_query(request);
    char *memory = weir_request_alloc(request, 3 * path.len + 1 + query.len);
    if (memory == NULL) {
        return weir_str_make(NULL, 0);
    }
    size_t len = weir_path_encode(memory, path);
    if (query.len > 0) {
        memory[len++] = '?';
        memcpy(memory + len, query.ptr, query.len);
        len += query.len;
    }
    return weir_str_make(memory, len);
}

/* The client, and the peer that speaks for it, if one does. */
static struct weir_str
addresses_of(struct weir_request *request)
{
    struct weir_str client = weir_request_client(request), peer = weir_request_peer(request);
    if (client.ptr == NULL || peer.ptr == NULL || weir_str_eq(client, peer)) {
        return client;
    }
    char *memory = weir_request_alloc(request, client.len + 2 + peer.len);
    if (memory == NULL) {
        return weir_str_make(NULL, 0);
    }
    memcpy(memory, client.ptr, client.len);
    memcpy(memory + client.len, ", ", 2);
    memcpy(memory + client.len + 2, peer.ptr, peer.len);
    return weir_str_make(memory, client.len + 2 + peer.len);
}

/* What a trusted peer says of how the client reached it, else what we know. */
static struct weir_str
said_or(struct weir_request *request, struct weir_str name, struct weir_str ours)
{
    struct weir_str said = weir_request_field(request, name);
    return weir_request_peer_is_trusted(request) && said.len > 0 ? said : ours;
}

/* The answer is about this request, and is not that to it: neither a part of something, nor
 * "not modified". And there is no body. */
static void
leave_out(struct asked *asked)
{
    static const struct weir_str names[] = {
        WEIR_STR_INIT("Content-Encoding"),
        WEIR_STR_INIT("Content-Type"),
        WEIR_STR_INIT("If-Match"),
        WEIR_STR_INIT("If-Modified-Since"),
        WEIR_STR_INIT("If-None-Match"),
        WEIR_STR_INIT("If-Range"),
        WEIR_STR_INIT("If-Unmodified-Since"),
        WEIR_STR_INIT("Range"),
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        add(asked, names[i], weir_str_make(NULL, 0));
    }
}

static int
put_fields(struct weir_request *request, struct asked *asked)
{
    struct weir_str uri = uri_of(request), addresses = addresses_of(request);
    if (uri.ptr == NULL || addresses.ptr == NULL) {
        return -ENOMEM;
    }
    struct weir_str none = weir_str_make(NULL, 0);
    struct weir_str proto = WEIR_STR("X-Forwarded-Proto"), host = WEIR_STR("X-Forwarded-Host");
    struct weir_str asked_host = said_or(request, host,
            weir_request_field(request, WEIR_STR("Host")));
    struct weir_str client = weir_request_client(request), id = weir_request_id(request);
    leave_out(asked);
    add(asked, WEIR_STR("X-Forwarded-Method"), weir_request_method(request));
    add(asked, WEIR_STR("X-Forwarded-Uri"), uri);
    add(asked, host, asked_host.len > 0 ? asked_host : none);
    add(asked, proto, said_or(request, proto, weir_request_scheme(request)));
    add(asked, WEIR_STR("X-Forwarded-For"), addresses.len > 0 ? addresses : none);
    add(asked, WEIR_STR("X-Real-IP"), client.len > 0 ? client : none);
    add(asked, WEIR_STR("X-Request-ID"), id.len > 0 ? id : none);
    return 0;
}

int
forward_auth_ask(struct weir_request *request, const struct forward_auth_conf *conf,
        struct weir_exchange **out)
{
    static const struct weir_str methods[] = {
        [FORWARD_AUTH_GET] = WEIR_STR_INIT("GET"),
        [FORWARD_AUTH_HEAD] = WEIR_STR_INIT("HEAD"),
        [FORWARD_AUTH_POST] = WEIR_STR_INIT("POST"),
    };
    struct asked asked = { .count = 0 };
    struct weir_exchange_ask ask = {
        .bytes = sizeof(ask),
        .flags = WEIR_EXCHANGE_NO_BODY,
        .upstream = conf->to,
        .method = methods[conf->method],
        .target = weir_template_text(request, conf->path),
    };
    if (conf->host != NULL) {
        ask.host = weir_template_text(request, conf->host);
    }
    bool is_lost = ask.target.ptr == NULL || (conf->host != NULL && ask.host.ptr == NULL);
    if (is_lost || put_fields(request, &asked) < 0) {
        return -ENOMEM;
    }
    if (ask.target.len == 0 || (conf->host != NULL && ask.host.len == 0)) {
        return -EINVAL;
    }
    ask.fields = asked.items;
    ask.field_count = asked.count;
    return weir_exchange_open(request, &ask, out);
}
