/* SPDX-License-Identifier: MIT */
/* Two forms of a line. Whatever a client may have written is escaped, so that no line is two
 * and no field is another, and cut, so that a line fits (WEIR_LOG_LINE_BYTES). */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <weir/reply.h>

#include "access_log.h"

/* Bytes of a field that are looked at: at most six times as many are written. */
#define FIELD_MAX  1024u
#define TARGET_MAX 6144u
/* Above everything in a line that no client writes. */
#define FIXED_BYTES 1024u

struct line {
    char *bytes;
    size_t len;
};

unsigned
access_log_status(const struct weir_request *request)
{
    bool has_left = weir_str_eq(weir_request_end_label(request), WEIR_STR("client_left"));
    unsigned status = weir_request_sent_bytes(request) > 0 ? weir_reply_status(request) : 0;
    return status == 0 && has_left ? 499 : status;
}

static void
put(struct line *line, struct weir_str text)
{
    if (text.len > 0) {
        memcpy(line->bytes + line->len, text.ptr, text.len);
        line->len += text.len;
    }
}

static void
put_u64(struct line *line, uint64_t value)
{
    char digits[24];
    int len = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)value);
    put(line, weir_str_make(digits, (size_t)len));
}

static struct weir_str
cut(struct weir_str text, size_t max)
{
    return weir_str_make(text.ptr, text.len < max ? text.len : max);
}

static void
put_hex(struct line *line, const char *before, unsigned char byte, const char *digits)
{
    put(line, weir_str_from(before));
    line->bytes[line->len++] = digits[byte >> 4];
    line->bytes[line->len++] = digits[byte & 15];
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

/* What all variable parts of a line may take, escaped. */
static size_t
room(struct weir_request *request)
{
    size_t len = cut(weir_request_target(request), TARGET_MAX).len +
            field(request, WEIR_STR("Referer")).len +
            field(request, WEIR_STR("User-Agent")).len + FIELD_MAX; /* host, method, names */
    return FIXED_BYTES + 6 * len;
}

static void
utc(const struct weir_request *request, struct tm *out, unsigned *milliseconds)
{
    int64_t ns = weir_request_began_ns(request);
    time_t seconds = (time_t)(ns / 1000000000);
    *milliseconds = (unsigned)(ns / 1000000 % 1000);
    gmtime_r(&seconds, out);
}

/* ---- JSON -------------------------------------------------------------------------------- */

/* A string (RFC 8259 section 7). Bytes outside of ASCII are written as the characters that they
 * are in ISO 8859-1 (RFC 9110 section 5.5), so that a line is always valid and nothing is lost.
 */
static void
put_json(struct line *line, const char *key, struct weir_str text)
{
    put(line, WEIR_STR(",\""));
    put(line, weir_str_from(key));
    put(line, WEIR_STR("\":\""));
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c == '"' || c == '\\') {
            line->bytes[line->len++] = '\\';
            line->bytes[line->len++] = (char)c;
        } else if (c < 0x20 || c >= 0x7f) {
            put_hex(line, "\\u00", c, "0123456789abcdef");
        } else {
            line->bytes[line->len++] = (char)c;
        }
    }
    line->bytes[line->len++] = '"';
}

static void
put_json_number(struct line *line, const char *key, uint64_t value)
{
    put(line, WEIR_STR(",\""));
    put(line, weir_str_from(key));
    put(line, WEIR_STR("\":"));
    put_u64(line, value);
}

static void
put_json_seconds(struct line *line, const char *key, uint64_t ns)
{
    char text[48];
    int len = snprintf(text, sizeof(text), ",\"%s\":%llu.%06u", key,
            (unsigned long long)(ns / 1000000000), (unsigned)(ns / 1000 % 1000000));
    put(line, weir_str_make(text, (size_t)len));
}

struct weir_str
access_log_json(struct weir_request *request)
{
    struct line line = { .bytes = weir_request_alloc(request, room(request)) };
    if (line.bytes == NULL) {
        return weir_str_make(NULL, 0);
    }
    struct tm t;
    unsigned ms;
    utc(request, &t, &ms);
    line.len = (size_t)snprintf(line.bytes, FIXED_BYTES,
            "{\"time\":\"%04d-%02d-%02dT%02d:%02d:%02d.%03uZ\"", t.tm_year + 1900, t.tm_mon + 1,
            t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec, ms);
    put_json(&line, "client", weir_request_client(request));
    put_json(&line, "peer", weir_request_peer(request));
    put_json(&line, "method", cut(weir_request_method(request), 32));
    put_json(&line, "target", cut(weir_request_target(request), TARGET_MAX));
    put_json(&line, "protocol", protocol(request));
    put_json(&line, "host", cut(weir_request_host(request), 256));
    put_json_number(&line, "status", access_log_status(request));
    put_json_number(&line, "bytes_sent", weir_request_sent_bytes(request));
    put_json_number(&line, "body_bytes_sent", weir_request_sent_body_bytes(request));
    put_json_number(&line, "bytes_received", weir_request_received_bytes(request));
    put_json_seconds(&line, "duration", weir_request_duration_ns(request));
    put_json_seconds(&line, "first_byte", weir_request_first_byte_ns(request));
    put_json(&line, "request_id", cut(weir_request_id(request), 128));
    put_json(&line, "server", cut(weir_request_server_name(request), 128));
    put_json(&line, "route", cut(weir_request_route_name(request), 128));
    put_json(&line, "referer", field(request, WEIR_STR("Referer")));
    put_json(&line, "user_agent", field(request, WEIR_STR("User-Agent")));
    put_json(&line, "end", weir_request_end_label(request));
    struct weir_str error = weir_reply_code(request);
    if (error.len > 0) {
        put_json(&line, "error", error);
    }
    put(&line, WEIR_STR("}"));
    return weir_str_make(line.bytes, line.len);
}

/* ---- combined ---------------------------------------------------------------------------- */

/* As nginx escapes it, which log analysers know. */
static void
put_escaped(struct line *line, struct weir_str text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\') {
            put_hex(line, "\\x", c, "0123456789ABCDEF");
        } else {
            line->bytes[line->len++] = (char)c;
        }
    }
}

static void
put_quoted(struct line *line, struct weir_str text)
{
    put(line, WEIR_STR(" \""));
    put_escaped(line, text.len == 0 ? WEIR_STR("-") : text);
    put(line, WEIR_STR("\""));
}

struct weir_str
access_log_combined(struct weir_request *request)
{
    static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug",
        "Sep", "Oct", "Nov", "Dec" };
    struct line line = { .bytes = weir_request_alloc(request, room(request)) };
    if (line.bytes == NULL) {
        return weir_str_make(NULL, 0);
    }
    struct weir_str client = weir_request_client(request);
    put(&line, client.len == 0 ? WEIR_STR("unix:") : client);
    struct tm t;
    unsigned ms;
    utc(request, &t, &ms);
    line.len += (size_t)snprintf(line.bytes + line.len, FIXED_BYTES - line.len,
            " - - [%02d/%s/%04d:%02d:%02d:%02d +0000]", t.tm_mday, months[t.tm_mon],
            t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec);
    struct weir_str method = cut(weir_request_method(request), 32);
    put(&line, WEIR_STR(" \""));
    if (method.len == 0) {
        put(&line, WEIR_STR("-")); /* refused before it was read */
    } else {
        put_escaped(&line, method);
        put(&line, WEIR_STR(" "));
        put_escaped(&line, cut(weir_request_target(request), TARGET_MAX));
        put(&line, WEIR_STR(" "));
        put(&line, protocol(request));
    }
    put(&line, WEIR_STR("\" "));
    put_u64(&line, access_log_status(request));
    put(&line, WEIR_STR(" "));
    put_u64(&line, weir_request_sent_body_bytes(request));
    put_quoted(&line, field(request, WEIR_STR("Referer")));
    put_quoted(&line, field(request, WEIR_STR("User-Agent")));
    return weir_str_make(line.bytes, line.len);
}
