/* SPDX-License-Identifier: MIT */
/* Only what a trusted neighbour added itself is believed, and that stands at the right end. */
#include "module/client.h"

#include <errno.h>

#include "base/clock.h"
#include "base/random.h"
#include "event/loop.h"

#define ID_BYTES     26u
#define ID_BYTES_MAX 128u

bool
client_is_trusted(const struct site_trust *trust, const struct addr_ip *peer)
{
    int family = peer->family == AF_INET ? 4 : peer->family == AF_INET6 ? 6 : 0;
    for (size_t i = 0; family != 0 && i < trust->peers.count; i++) {
        if (weir_network_has(&WEIR_LIST_AT(struct weir_network, &trust->peers, i), family,
                    peer->bytes)) {
            return true;
        }
    }
    return false;
}

bool
client_peer_is_trusted(const struct site_trust *trust, const struct weir_request *request)
{
    return client_is_trusted(trust, &request->peer);
}

/* for="[2001:db8::1]:4711" of one element of Forwarded (RFC 7239 section 4). */
static struct weir_str
find_for(struct weir_str element)
{
    struct weir_str parameter;
    while (weir_str_split(&element, ';', &parameter)) {
        if (parameter.len < 4 ||
                !weir_str_eq_icase(weir_str_make(parameter.ptr, 4), WEIR_STR("for="))) {
            continue;
        }
        struct weir_str value = weir_str_make(parameter.ptr + 4, parameter.len - 4);
        if (value.len >= 2 && value.ptr[0] == '"' && value.ptr[value.len - 1] == '"') {
            value = weir_str_make(value.ptr + 1, value.len - 2);
        }
        return value;
    }
    return weir_str_make("", 0);
}

/* The nth element, counted from the right and from 1, over all lines of the field; the leftmost
 * when there are fewer. .ptr is NULL when there is none. */
static struct weir_str
nth_from_right(const struct head *head, struct weir_str name, uint64_t n)
{
    uint64_t total = 0;
    struct weir_str element, rest;
    for (uint32_t i = 0; (i = head_find_named(head, name, i)) < head->field_count; i++) {
        rest = head_field_value(head, i);
        while (field_list_next(&rest, &element)) {
            total++;
        }
    }
    uint64_t wanted = n <= total ? total - n : 0;
    uint64_t at = 0;
    for (uint32_t i = 0; (i = head_find_named(head, name, i)) < head->field_count; i++) {
        rest = head_field_value(head, i);
        while (field_list_next(&rest, &element)) {
            if (at++ == wanted) {
                return element;
            }
        }
    }
    return weir_str_make(NULL, 0);
}

int
client_find(const struct site_trust *trust, const struct weir_request *request,
        struct addr_ip *out)
{
    *out = request->peer;
    if (trust->peers.count == 0 || !client_is_trusted(trust, &request->peer)) {
        return 0;
    }
    struct weir_str element = nth_from_right(&request->head, trust->header, trust->hops);
    if (element.ptr == NULL) {
        return 0;
    }
    if (weir_str_eq(trust->header, WEIR_STR("forwarded"))) {
        element = find_for(element);
    }
    return addr_ip_parse(element, out);
}

bool
client_may_ask(const struct site_trust *trust, const struct weir_request *request)
{
    return request->target.scheme != TARGET_HTTPS || client_is_trusted(trust, &request->peer);
}

/* Crockford's base 32, which has no I, L, O or U. */
static void
put_base32(char *dst, size_t digits, uint64_t value)
{
    for (size_t i = digits; i > 0; i--) {
        dst[i - 1] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"[value & 31];
        value >>= 5;
    }
}

static bool
is_acceptable(struct weir_str id)
{
    return id.len > 0 && id.len <= ID_BYTES_MAX && field_token_len(id) == id.len;
}

struct weir_str
client_request_id(const struct site_trust *trust, struct weir_request *request)
{
    if (request->id.len > 0) {
        return request->id;
    }
    struct weir_str sent = head_find(&request->head, FIELD_X_REQUEST_ID);
    if (trust != NULL && is_acceptable(sent) && client_is_trusted(trust, &request->peer)) {
        request->id = sent;
        return sent;
    }
    char *id = arena_alloc(&request->arena, ID_BYTES);
    if (id == NULL) {
        return weir_str_make("", 0);
    }
    int64_t real_ns = clock_real_ns(loop_clock(request->engine->loop));
    put_base32(id, 10, (uint64_t)(real_ns < 0 ? 0 : real_ns) / NS_PER_MS);
    put_base32(id + 10, 8, random_next());
    put_base32(id + 18, 8, random_next());
    request->id = weir_str_make(id, ID_BYTES);
    return request->id;
}
