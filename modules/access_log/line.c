/* SPDX-License-Identifier: MIT */
/* Two forms of a line. Whatever a client may have written is escaped, so that no line is two
 * and no field is another, and cut, so that a line fits (WEIR_LOG_LINE_BYTES). */
#include <string.h>

#include <weir/internal.h>
#include <weir/reply.h>

#include "access_log.h"

/* Bytes of a field that are looked at: at most ESCAPED_MAX times as many are written. */
#define FIELD_MAX   1024u
#define TARGET_MAX  6144u
#define HOST_MAX    256u
#define NAME_MAX    128u /* of what the configuration or a trusted peer names */
#define METHOD_MAX  32u
#define ESCAPED_MAX 6u
/* Above everything in a line that is no text of a request. */
#define FIXED_BYTES 1024u

unsigned
access_log_status(const struct weir_request *request)
{
    /* An internal one's head is not sent, and it may have no body. */
    bool has_left = weir_request_sent_bytes(request) > 0 || weir_request_depth(request) > 0;
    unsigned status = has_left ? weir_reply_status(request) : 0;
    if (status == 0 && weir_str_eq(weir_request_end_label(request), WEIR_STR("client_left"))) {
        return 499;
    }
    return status;
}

/* ---- writing ----------------------------------------------------------------------------- */

/* Where the line begins; NULL when there is no memory for so many bytes of text. */
static char *
begin(struct weir_request *request, struct access_log_line *line, size_t text_bytes)
{
    size_t most = FIXED_BYTES + ESCAPED_MAX * text_bytes;
    line->bytes = most <= sizeof(line->room) ? line->room : weir_request_alloc(request, most);
    return line->bytes;
}

/* All that write do so at `at`, and return where they came to. */

static inline char *
put(char *at, struct weir_str text)
{
    if (text.len > 0) {
        memcpy(at, text.ptr, text.len);
    }
    return at + text.len;
}

/* With zeros in front, up to `digits`. */
static char *
put_number(char *at, uint64_t value, unsigned digits)
{
    unsigned needed = 1;
    for (uint64_t rest = value; rest > 9; rest /= 10) {
        needed++;
    }
    char *end = at + (needed > digits ? needed : digits);
    for (char *digit = end; digit > at; value /= 10) {
        *--digit = (char)('0' + value % 10);
    }
    return end;
}

static char *
put_hex(char *at, struct weir_str before, char c, const char *digits)
{
    at = put(at, before);
    *at++ = digits[(unsigned char)c >> 4];
    *at++ = digits[(unsigned char)c & 15];
    return at;
}

/* Bytes that neither form escapes: ASCII that can be seen, but for `"` and `\`. */
static const bool is_plain[256] = {
    [' ' ... '!'] = true,
    ['#' ... '['] = true,
    [']' ... '~'] = true,
};

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

/* The high bit of each byte that is zero, and perhaps of others above one. */
static inline uint64_t
zeros(uint64_t bytes)
{
    return (bytes - EACH(1)) & ~bytes & EACH(0x80);
}

/* The same of eight bytes at once. */
static inline bool
are_plain(uint64_t bytes)
{
    uint64_t below_space = (bytes - EACH(0x20)) & ~bytes;
    uint64_t above_tilde = bytes | (bytes + EACH(1));
    uint64_t escaped = zeros(bytes ^ EACH('"')) | zeros(bytes ^ EACH('\\'));
    return ((below_space | above_tilde | escaped) & EACH(0x80)) == 0;
}

#undef EACH

/* What of `text` needs no escape is put; the rest begins with a byte that does. */
static inline char *
put_plain(char *at, struct weir_str *text)
{
    size_t len = 0;
    for (uint64_t bytes; text->len - len >= sizeof(bytes); len += sizeof(bytes)) {
        memcpy(&bytes, text->ptr + len, sizeof(bytes));
        if (!are_plain(bytes)) {
            break;
        }
        memcpy(at + len, &bytes, sizeof(bytes));
    }
    for (; len < text->len && is_plain[(unsigned char)text->ptr[len]]; len++) {
        at[len] = text->ptr[len];
    }
    if (len > 0) {
        *text = weir_str_make(text->ptr + len, text->len - len);
    }
    return at + len;
}

static struct weir_str
cut(struct weir_str text, size_t max)
{
    return weir_str_make(text.ptr, text.len < max ? text.len : max);
}

static struct weir_str
field(const struct weir_request *request, struct weir_str name)
{
    return cut(weir_request_field(request, name), FIELD_MAX);
}

static struct weir_str
protocol(const struct weir_request *request)
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

/* ---- JSON -------------------------------------------------------------------------------- */

/* A string (RFC 8259 section 7). Bytes outside of ASCII are written as the characters that they
 * are in ISO 8859-1 (RFC 9110 section 5.5), so that a line is always valid and nothing is lost.
 */
static char *
put_json(char *at, struct weir_str key, struct weir_str text)
{
    at = put(at, key);
    *at++ = '"';
    for (at = put_plain(at, &text); text.len > 0; at = put_plain(at, &text)) {
        char c = *text.ptr;
        text = weir_str_make(text.ptr + 1, text.len - 1);
        if (c == '"' || c == '\\') {
            *at++ = '\\';
            *at++ = c;
        } else {
            at = put_hex(at, WEIR_STR("\\u00"), c, "0123456789abcdef");
        }
    }
    *at++ = '"';
    return at;
}

static char *
put_json_seconds(char *at, struct weir_str key, uint64_t ns)
{
    at = put_number(put(at, key), ns / 1000000000, 1);
    *at++ = '.';
    return put_number(at, ns / 1000 % 1000000, 6);
}

static char *
put_json_number(char *at, struct weir_str key, uint64_t value)
{
    return put_number(put(at, key), value, 1);
}

/* Texts of a request, in the order in which the line has them. */
struct texts {
    struct weir_str client, peer, method, target, protocol, host;
    struct weir_str id, server, route, referer, agent, end, error;
};

static size_t
length_of(const struct texts *t)
{
    return t->client.len + t->peer.len + t->method.len + t->target.len + t->protocol.len +
            t->host.len + t->id.len + t->server.len + t->route.len + t->referer.len +
            t->agent.len + t->end.len + t->error.len;
}

#define KEY(name) WEIR_STR(",\"" name "\":")

struct weir_str
access_log_json(struct weir_request *request, struct access_log_line *line)
{
    const struct texts t = {
        .client = weir_request_client(request),
        .peer = weir_request_peer(request),
        .method = cut(weir_request_method(request), METHOD_MAX),
        .target = cut(weir_request_target(request), TARGET_MAX),
        .protocol = protocol(request),
        .host = cut(weir_request_host(request), HOST_MAX),
        .id = cut(weir_request_id(request), NAME_MAX),
        .server = cut(weir_request_server_name(request), NAME_MAX),
        .route = cut(weir_request_route_name(request), NAME_MAX),
        .referer = field(request, WEIR_STR("Referer")),
        .agent = field(request, WEIR_STR("User-Agent")),
        .end = weir_request_end_label(request),
        .error = cut(weir_reply_code(request), NAME_MAX),
    };
    char *at = begin(request, line, length_of(&t));
    if (at == NULL) {
        return weir_str_make(NULL, 0);
    }
    at = put(at, WEIR_STR("{\"time\":\""));
    at += weir_request_began_text(request, WEIR_TIME_ISO, at);
    at = put(at, WEIR_STR("\""));
    at = put_json(at, KEY("client"), t.client);
    at = put_json(at, KEY("peer"), t.peer);
    at = put_json(at, KEY("method"), t.method);
    at = put_json(at, KEY("target"), t.target);
    at = put_json(at, KEY("protocol"), t.protocol);
    at = put_json(at, KEY("host"), t.host);
    at = put_json_number(at, KEY("status"), access_log_status(request));
    at = put_json_number(at, KEY("bytes_sent"), weir_request_sent_bytes(request));
    at = put_json_number(at, KEY("body_bytes_sent"), weir_request_sent_body_bytes(request));
    at = put_json_number(at, KEY("bytes_received"), weir_request_received_bytes(request));
    at = put_json_seconds(at, KEY("duration"), weir_request_duration_ns(request));
    at = put_json_seconds(at, KEY("first_byte"), weir_request_first_byte_ns(request));
    at = put_json(at, KEY("request_id"), t.id);
    at = put_json(at, KEY("server"), t.server);
    at = put_json(at, KEY("route"), t.route);
    at = put_json(at, KEY("referer"), t.referer);
    at = put_json(at, KEY("user_agent"), t.agent);
    at = put_json(at, KEY("end"), t.end);
    if (weir_request_depth(request) > 0) {
        at = put_json_number(at, KEY("internal"), weir_request_depth(request));
    }
    if (t.error.len > 0) {
        at = put_json(at, KEY("error"), t.error);
    }
    *at++ = '}';
    return weir_str_make(line->bytes, (size_t)(at - line->bytes));
}

#undef KEY

/* ---- combined ---------------------------------------------------------------------------- */

/* As nginx escapes it, which log analysers know. */
static char *
put_escaped(char *at, struct weir_str text)
{
    for (at = put_plain(at, &text); text.len > 0; at = put_plain(at, &text)) {
        at = put_hex(at, WEIR_STR("\\x"), *text.ptr, "0123456789ABCDEF");
        text = weir_str_make(text.ptr + 1, text.len - 1);
    }
    return at;
}

static char *
put_quoted(char *at, struct weir_str text)
{
    if (text.len == 0) {
        return put(at, WEIR_STR(" \"-\""));
    }
    at = put_escaped(put(at, WEIR_STR(" \"")), text);
    *at++ = '"';
    return at;
}

struct weir_str
access_log_combined(struct weir_request *request, struct access_log_line *line)
{
    struct weir_str client = weir_request_client(request);
    struct weir_str method = cut(weir_request_method(request), METHOD_MAX);
    struct weir_str target = cut(weir_request_target(request), TARGET_MAX);
    struct weir_str referer = field(request, WEIR_STR("Referer"));
    struct weir_str agent = field(request, WEIR_STR("User-Agent"));
    char *at = begin(request, line,
            client.len + method.len + target.len + referer.len + agent.len);
    if (at == NULL) {
        return weir_str_make(NULL, 0);
    }
    at = put(at, client.len == 0 ? WEIR_STR("unix:") : client);
    at = put(at, WEIR_STR(" - - ["));
    at += weir_request_began_text(request, WEIR_TIME_LOG, at);
    at = put(at, WEIR_STR("] \""));
    if (method.len == 0) {
        at = put(at, WEIR_STR("-")); /* refused before it was read */
    } else {
        at = put_escaped(at, method);
        *at++ = ' ';
        at = put_escaped(at, target);
        *at++ = ' ';
        at = put(at, protocol(request));
    }
    at = put(at, WEIR_STR("\" "));
    at = put_number(at, access_log_status(request), 1);
    *at++ = ' ';
    at = put_number(at, weir_request_sent_body_bytes(request), 1);
    at = put_quoted(at, referer);
    at = put_quoted(at, agent);
    return weir_str_make(line->bytes, (size_t)(at - line->bytes));
}
