/* SPDX-License-Identifier: MIT */
/* Filling in templates. The value of each variable is found first, then written with the
 * escaping of the template's context; both passes see the same values. */
#include "config/template.h"

#include <weir/log.h>
#include <weir/template.h>

#include "base/num.h"
#include "http/path.h"
#include "http/query.h"
#include "http/request.h"
#include "module/client.h"
#include "module/exchange.h"
#include "module/generation.h"
#include "module/variable.h"

static struct weir_str
find_query(struct weir_request *request, struct weir_str name)
{
    struct weir_str raw;
    if (!query_find(request->target.query, name, &raw)) {
        return weir_str_make("", 0);
    }
    char *memory = arena_alloc(&request->arena, raw.len);
    return memory == NULL ? weir_str_make("", 0)
                          : weir_str_make(memory, query_decode(raw, memory));
}

static struct weir_str
ip_text(struct weir_request *request, const struct addr_ip *ip)
{
    char *memory = arena_alloc(&request->arena, ADDR_TEXT_BYTES);
    if (memory == NULL) {
        return weir_str_make("", 0);
    }
    return weir_str_make(memory, addr_ip_format(ip, memory));
}

static struct weir_str
number_text(struct weir_request *request, uint64_t value)
{
    char *memory = arena_alloc(&request->arena, NUM_U64_DIGITS);
    if (memory == NULL) {
        return weir_str_make("", 0);
    }
    return weir_str_make(memory, num_format_u64(memory, value));
}

/* "1.234567" */
static struct weir_str
seconds_text(struct weir_request *request, uint64_t ns)
{
    char *memory = arena_alloc(&request->arena, NUM_U64_DIGITS + 7);
    if (memory == NULL) {
        return weir_str_make("", 0);
    }
    size_t len = num_format_u64(memory, ns / NS_PER_S);
    memory[len++] = '.';
    uint64_t us = ns % NS_PER_S / NS_PER_US;
    for (uint64_t unit = 100000; unit > 0; unit /= 10) {
        memory[len++] = (char)('0' + us / unit % 10);
    }
    return weir_str_make(memory, len);
}

static struct weir_str
time_text(struct weir_request *request, enum weir_time_form form)
{
    char *memory = arena_alloc(&request->arena, WEIR_TIME_TEXT_BYTES);
    if (memory == NULL) {
        return weir_str_make("", 0);
    }
    return weir_str_make(memory, weir_request_began_text(request, form, memory));
}

static struct weir_str
protocol_text(const struct weir_request *request)
{
    switch (weir_request_version(request)) {
    case 10:
        return WEIR_STR("HTTP/1.0");
    case 20:
        return WEIR_STR("HTTP/2.0");
    default:
        return WEIR_STR("HTTP/1.1");
    }
}

/* What stands behind the authority of an absolute target, as a request for this server would
 * have it (RFC 9112 section 3.2.1): a redirect puts it behind an authority of its own. */
static struct weir_str
target_behind_authority(const struct weir_request *request)
{
    const struct target *target = &request->target;
    if (target->form != TARGET_ABSOLUTE) {
        return head_target(&request->head);
    }
    if (target->raw_path.len == 0 && !target->has_query) {
        return WEIR_STR("/");
    }
    struct weir_str raw = head_target(&request->head);
    size_t len = target->raw_path.len + (target->has_query ? 1 + target->query.len : 0);
    return weir_str_make(raw.ptr + raw.len - len, len);
}

/* An address of IPv6 is told from a port by its brackets (RFC 3986 section 3.2.2). */
static struct weir_str
host_in_target(struct weir_request *request)
{
    struct weir_str host = request->host;
    if (host.len == 0 || memchr(host.ptr, ':', host.len) == NULL) {
        return host;
    }
    char *memory = arena_alloc(&request->arena, host.len + 2);
    if (memory == NULL) {
        return weir_str_make("", 0);
    }
    memory[0] = '[';
    memcpy(memory + 1, host.ptr, host.len);
    memory[host.len + 1] = ']';
    return weir_str_make(memory, host.len + 2);
}

/* Of the upstream that was asked last; empty where there is nothing to say. */
static struct weir_str
upstream_text(struct weir_request *request, enum template_variable variable)
{
    struct exchange_facts facts;
    if (!exchange_find_facts(request, &facts)) {
        return weir_str_make("", 0);
    }
    if (variable == TEMPLATE_UPSTREAM_NAME) {
        return facts.name;
    }
    if (variable == TEMPLATE_UPSTREAM_ADDRESS) {
        return arena_copy(&request->arena, facts.address); /* a target may go at any time */
    }
    if (variable == TEMPLATE_UPSTREAM_RETRIES) {
        return number_text(request, facts.retries);
    }
    if (variable == TEMPLATE_UPSTREAM_TIME) {
        return seconds_text(request, facts.time_ns);
    }
    if (variable == TEMPLATE_UPSTREAM_CONNECT && facts.has_connected) {
        return seconds_text(request, facts.connect_ns);
    }
    if (variable == TEMPLATE_UPSTREAM_HEAD && facts.status != 0) {
        return seconds_text(request, facts.head_ns);
    }
    if (variable == TEMPLATE_UPSTREAM_STATUS && facts.status != 0) {
        return number_text(request, facts.status);
    }
    return weir_str_make("", 0);
}

/* A hook before the log phase has a template for lines of logs: the configuration cannot tell.
 */
static bool
is_early(const struct weir_request *request, const struct template_piece *piece)
{
    if (request->end != REQUEST_RUNS || template_time_of(piece->variable) != TEMPLATE_ENDED) {
        return false;
    }
    weir_request_log(request, WEIR_LOG_ERROR,
            "{%s} is empty: it is known when the request has ended, to log hooks",
            template_variable_name((size_t)piece->variable - 1));
    return true;
}

static struct weir_str
value_of(struct weir_request *request, const struct template_piece *piece,
        enum weir_context context)
{
    if (is_early(request, piece)) {
        return weir_str_make("", 0);
    }
    switch (piece->variable) {
    case TEMPLATE_LITERAL:
        return piece->text;
    case TEMPLATE_METHOD:
        return head_method(&request->head);
    case TEMPLATE_SCHEME:
        return weir_request_scheme(request);
    case TEMPLATE_PROTOCOL:
        return protocol_text(request);
    case TEMPLATE_HOST:
        return context == WEIR_CONTEXT_TARGET ? host_in_target(request) : request->host;
    case TEMPLATE_TARGET:
        return context == WEIR_CONTEXT_TARGET ? target_behind_authority(request)
                                              : head_target(&request->head);
    case TEMPLATE_PATH:
        return request->target.path;
    case TEMPLATE_QUERY:
        return find_query(request, piece->text);
    case TEMPLATE_HEADER:
        return weir_request_field(request, piece->text);
    case TEMPLATE_COOKIE:
        return head_find_cookie(&request->head, piece->text);
    case TEMPLATE_CAPTURE:
        return generation_capture(request, piece->text);
    case TEMPLATE_CLIENT_IP:
        return ip_text(request, &request->client);
    case TEMPLATE_PEER_IP:
        return ip_text(request, &request->peer);
    case TEMPLATE_SERVER_NAME:
        return request->server_name;
    case TEMPLATE_ROUTE_NAME:
        return request->route_name;
    case TEMPLATE_STATUS:
        return number_text(request, weir_reply_status(request));
    case TEMPLATE_TIME:
        return time_text(request, WEIR_TIME_ISO);
    case TEMPLATE_TIME_COMBINED:
        return time_text(request, WEIR_TIME_LOG);
    case TEMPLATE_TIME_UNIX:
        return time_text(request, WEIR_TIME_UNIX);
    case TEMPLATE_INTERNAL:
        return number_text(request, request->depth);
    case TEMPLATE_DURATION:
        return seconds_text(request, weir_request_duration_ns(request));
    case TEMPLATE_FIRST_BYTE:
        return seconds_text(request, weir_request_first_byte_ns(request));
    case TEMPLATE_BYTES_RECEIVED:
        return number_text(request, weir_request_received_bytes(request));
    case TEMPLATE_BYTES_SENT:
        return number_text(request, weir_request_sent_bytes(request));
    case TEMPLATE_BODY_BYTES_SENT:
        return number_text(request, weir_request_sent_body_bytes(request));
    case TEMPLATE_END:
        return weir_request_end_label(request);
    case TEMPLATE_REQUEST_ID:
        return client_request_id(generation_trust(request), request);
    case TEMPLATE_EXTRA:
        return variable_value(request, piece->extra, piece->text);
    case TEMPLATE_UPSTREAM_NAME:
    case TEMPLATE_UPSTREAM_ADDRESS:
    case TEMPLATE_UPSTREAM_STATUS:
    case TEMPLATE_UPSTREAM_TIME:
    case TEMPLATE_UPSTREAM_CONNECT:
    case TEMPLATE_UPSTREAM_HEAD:
    case TEMPLATE_UPSTREAM_RETRIES:
        return upstream_text(request, piece->variable);
    case TEMPLATE_TLS_SNI: /* refused by config/template.c in this build */
        break;
    }
    return weir_str_make("", 0);
}

bool
template_variable_value(struct weir_request *request, const struct template_extras *extras,
        struct weir_str name, struct weir_str *value)
{
    struct template_piece piece;
    const char *message;
    if (template_variable_parse(name, extras, &piece, &message) < 0) {
        return false;
    }
    *value = value_of(request, &piece, WEIR_CONTEXT_TEXT);
    return value->len > 0;
}

static bool
is_encoded_in_target(char c)
{
    return !((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
            (c != '\0' && strchr("-._~!$&'()*+,;=:@/?%[]", c) != NULL));
}

static struct weir_str
html_reference(char c)
{
    switch (c) {
    case '&':
        return WEIR_STR("&amp;");
    case '<':
        return WEIR_STR("&lt;");
    case '>':
        return WEIR_STR("&gt;");
    case '"':
        return WEIR_STR("&quot;");
    case '\'':
        return WEIR_STR("&#39;");
    default:
        return weir_str_make(NULL, 0);
    }
}

/* One byte of a value, escaped; at most six bytes. Returns how many. */
static size_t
put_escaped(char *dst, char c, enum weir_context context)
{
    static const char hex[] = "0123456789ABCDEF";
    unsigned char byte = (unsigned char)c;
    switch (context) {
    case WEIR_CONTEXT_TEXT:
        break;
    case WEIR_CONTEXT_HEADER:
        if ((byte < 0x20 && byte != '\t') || byte == 0x7f) {
            return 0;
        }
        break;
    case WEIR_CONTEXT_TARGET:
        if (is_encoded_in_target(c)) {
            dst[0] = '%';
            dst[1] = hex[byte >> 4];
            dst[2] = hex[byte & 15];
            return 3;
        }
        break;
    case WEIR_CONTEXT_PATH:
        if (byte == 0) {
            return 0;
        }
        break;
    case WEIR_CONTEXT_LOG: /* as nginx and Apache do */
        if (byte < 0x20 || byte >= 0x7f || c == '"' || c == '\\') {
            dst[0] = '\\';
            dst[1] = 'x';
            dst[2] = hex[byte >> 4];
            dst[3] = hex[byte & 15];
            return 4;
        }
        break;
    case WEIR_CONTEXT_HTML: {
        struct weir_str reference = html_reference(c);
        if (reference.ptr != NULL) {
            memcpy(dst, reference.ptr, reference.len);
            return reference.len;
        }
        break;
    }
    }
    *dst = c;
    return 1;
}

/* {path} is decoded: where it goes into a target it is encoded again as a path. Everything else
 * there (the target, a query value) is escaped byte by byte. */
static size_t
put_value(char *dst, const struct template_piece *piece, struct weir_str value,
        enum weir_context context)
{
    if (piece->variable == TEMPLATE_LITERAL) {
        if (value.len > 0) {
            memcpy(dst, value.ptr, value.len);
        }
        return value.len;
    }
    bool is_decoded = piece->variable == TEMPLATE_PATH || piece->variable == TEMPLATE_CAPTURE ||
            piece->variable == TEMPLATE_QUERY;
    if (context == WEIR_CONTEXT_TARGET && is_decoded) {
        return path_encode(dst, value);
    }
    size_t at = 0;
    for (size_t i = 0; i < value.len; i++) {
        at += put_escaped(dst + at, value.ptr[i], context);
    }
    return at;
}

/* Whether bytes `at` and `at` + 1 of what the pieces became come from one literal. */
static bool
is_literal_pair(const struct weir_template *text, const struct weir_str *values, size_t at)
{
    size_t i = 0;
    while (at >= values[i].len) {
        at -= values[i++].len;
    }
    return text->pieces[i].variable == TEMPLATE_LITERAL && at + 1 < values[i].len;
}

/* A path goes up where the template says so, and nowhere else: `..` that a variable had a part
 * in becomes the name of nothing. `values` are as long as what they became. */
static void
break_dots(const struct weir_template *text, const struct weir_str *values, char *path,
        size_t len)
{
    for (size_t i = 0; i + 1 < len; i++) {
        bool is_segment = (i == 0 || path[i - 1] == '/') &&
                (i + 2 == len || path[i + 2] == '/');
        if (is_segment && path[i] == '.' && path[i + 1] == '.' &&
                !is_literal_pair(text, values, i)) {
            memcpy(path + i, "__", 2);
        }
    }
}

#define ESCAPED_MAX 6u

struct weir_str
weir_template_text(struct weir_request *request, const struct weir_template *text)
{
    if (text->is_literal) {
        return text->count == 0 ? weir_str_make("", 0) : text->pieces[0].text;
    }
    struct weir_str *values = arena_array(&request->arena, text->count, sizeof(*values));
    if (values == NULL) {
        return weir_str_make(NULL, 0);
    }
    size_t bytes = 0;
    for (size_t i = 0; i < text->count; i++) {
        values[i] = value_of(request, &text->pieces[i], text->context);
        bytes += values[i].len;
    }
    char *memory = arena_alloc(&request->arena, bytes * ESCAPED_MAX);
    if (memory == NULL) {
        return weir_str_make(NULL, 0);
    }
    size_t at = 0;
    for (size_t i = 0; i < text->count; i++) {
        values[i].len = put_value(memory + at, &text->pieces[i], values[i], text->context);
        at += values[i].len;
    }
    if (text->context == WEIR_CONTEXT_PATH) {
        break_dots(text, values, memory, at);
    }
    return weir_str_make(memory, at);
}

struct weir_str
weir_template_source(const struct weir_template *text)
{
    return text->raw;
}
