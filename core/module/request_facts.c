/* SPDX-License-Identifier: MIT */
/* Where a request comes from and how it goes, as hooks ask for it (weir/request.h). Nothing of
 * it is worked out before somebody asks. */
#include <sys/socket.h>

#include <weir/request.h>

#include "base/num.h"
#include "event/loop.h"
#include "http/request.h"
#include "module/client.h"
#include "module/generation.h"

static struct weir_str
ip_text(struct weir_request *request, const struct addr_ip *ip)
{
    char *memory = arena_alloc(&request->arena, ADDR_TEXT_BYTES);
    return memory == NULL ? weir_str_make(NULL, 0)
                          : weir_str_make(memory, addr_ip_format(ip, memory));
}

struct weir_str
weir_request_peer(struct weir_request *request)
{
    return ip_text(request, &request->peer);
}

static const struct addr_ip *
client_of(const struct weir_request *request)
{
    bool is_known = request->client.family != 0; /* its server has said whom to believe */
    return is_known ? &request->client : &request->peer;
}

struct weir_str
weir_request_client(struct weir_request *request)
{
    return ip_text(request, client_of(request));
}

bool
weir_request_peer_is_trusted(const struct weir_request *request)
{
    const struct site_trust *trust = course_map_of(request)->generation == NULL
            ? NULL
            : generation_trust(request);
    return trust != NULL && client_peer_is_trusted(trust, request);
}

bool
weir_request_client_in(const struct weir_request *request, const struct weir_network *network)
{
    const struct addr_ip *client = client_of(request);
    return (client->family == AF_INET || client->family == AF_INET6) &&
            weir_network_has(network, client->family == AF_INET ? 4 : 6, client->bytes);
}

int
weir_request_client_address(const struct weir_request *request, uint8_t address[16])
{
    const struct addr_ip *client = client_of(request);
    if (client->family != AF_INET && client->family != AF_INET6) {
        return 0;
    }
    memcpy(address, client->bytes, client->family == AF_INET ? 4 : 16);
    return client->family == AF_INET ? 4 : 6;
}

unsigned
weir_request_peer_port(const struct weir_request *request)
{
    return request->peer.port;
}

struct weir_str
weir_request_id(struct weir_request *request)
{
    bool has_place = course_map_of(request)->generation != NULL;
    return client_request_id(has_place ? generation_trust(request) : NULL, request);
}

struct weir_str
weir_request_scheme(const struct weir_request *request)
{
    /* Until listeners speak TLS: where another is allowed, a gateway has said so. */
    return request->target.scheme == TARGET_HTTPS ? WEIR_STR("https") : WEIR_STR("http");
}

struct weir_str
weir_request_server_name(const struct weir_request *request)
{
    return request->server_name;
}

struct weir_str
weir_request_route_name(const struct weir_request *request)
{
    return request->route_name;
}

/* Read anew: a turn may have been long, and here its length matters. */
static uint64_t
now_ns(const struct weir_request *request)
{
    return clock_monotonic_ns(loop_clock(request->engine->loop));
}

int64_t
weir_request_began_ns(const struct weir_request *request)
{
    return engine_real_ns(request->engine, request->began_ns);
}

/* ".123" */
static size_t
put_milliseconds(char *dst, unsigned milliseconds)
{
    dst[0] = '.';
    dst[1] = (char)('0' + milliseconds / 100);
    dst[2] = (char)('0' + milliseconds / 10 % 10);
    dst[3] = (char)('0' + milliseconds % 10);
    return 4;
}

size_t
weir_request_began_text(const struct weir_request *request, enum weir_time_form form, char *dst)
{
    struct engine *engine = request->engine;
    int64_t ns = engine_real_ns(engine, request->began_ns);
    ns = ns < 0 ? 0 : ns; /* a clock that was never set */
    int64_t second = ns / (int64_t)NS_PER_S;
    unsigned milliseconds = (unsigned)(ns / (int64_t)NS_PER_MS % 1000);
    size_t len = 0;
    switch (form) {
    case WEIR_TIME_ISO:
        date_log_refresh(&engine->log_date, second);
        memcpy(dst, engine->log_date.iso, DATE_ISO_BYTES);
        len = DATE_ISO_BYTES + put_milliseconds(dst + DATE_ISO_BYTES, milliseconds);
        dst[len++] = 'Z';
        break;
    case WEIR_TIME_LOG:
        date_log_refresh(&engine->log_date, second);
        memcpy(dst, engine->log_date.log, DATE_LOG_BYTES);
        len = DATE_LOG_BYTES;
        break;
    case WEIR_TIME_UNIX:
        len = num_format_u64(dst, (uint64_t)second);
        len += put_milliseconds(dst + len, milliseconds);
        break;
    }
    return len;
}

uint64_t
weir_request_now_ns(const struct weir_request *request)
{
    return loop_now_ns(request->engine->loop);
}

uint64_t
weir_request_duration_ns(const struct weir_request *request)
{
    uint64_t ended_ns = request->ended_ns != 0 ? request->ended_ns : now_ns(request);
    return ended_ns - request->began_ns;
}

uint64_t
weir_request_first_byte_ns(const struct weir_request *request)
{
    return request->reply_left_ns == 0 ? 0 : request->reply_left_ns - request->began_ns;
}

uint64_t
weir_request_received_bytes(const struct weir_request *request)
{
    return request->head_bytes + request->in.received_bytes;
}

uint64_t
weir_request_sent_bytes(const struct weir_request *request)
{
    return request->sent_bytes;
}

uint64_t
weir_request_sent_body_bytes(const struct weir_request *request)
{
    uint64_t head = request->reply_head_bytes;
    return request->sent_bytes > head ? request->sent_bytes - head : 0;
}

struct weir_str
weir_request_end_label(const struct weir_request *request)
{
    return weir_str_from(request_end_label(request->end));
}

uint32_t
weir_request_ordinal(const struct weir_request *request)
{
    return request->ordinal;
}
