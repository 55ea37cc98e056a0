/* SPDX-License-Identifier: MIT */
/* Field names (RFC 9110 section 5): which of those that matter to the engine a name is, what is
 * known about each, and the grammar of names, values and lists. Pure functions; any thread.
 *
 * field_id_find() runs for every field of every request. A multiplication makes one byte of the
 * name's length, first and last bytes; that byte picks the only name it can be, which is then
 * compared. Two names in one slot do not compile (-Woverride-init); a slot that is not the
 * name's own fails field_test, which then prints a table that would do. */
#ifndef WEIR_HTTP_FIELD_H
#define WEIR_HTTP_FIELD_H

#include <stdint.h>

#include <weir/str.h>

/* At most one value: a second line, or one with two, is a mistake or an attack. */
#define FIELD_SINGLE 1u
/* A comma-separated list (5.6.1): lines may be joined with a comma. A field that is neither
 * (Cookie, Set-Cookie) may repeat and must not be joined so. */
#define FIELD_LIST 2u
/* Between two neighbours only (7.6.1): never passed on, never a module's to send. */
#define FIELD_HOP 4u
/* May stand in trailers. The others below must not (6.5.1): framing, routing, conditions,
 * authentication, content, and whatever is acted on before the body. */
#define FIELD_IN_TRAILER 8u
/* Says where a request came from; believed only from trusted peers. */
#define FIELD_NEEDS_TRUST 16u

/* Gives each name below a slot of its own. */
#define FIELD_MULTIPLIER UINT64_C(0x5c17f8ca2376a653)

// clang-format off
#define FIELDS(X)                                                                                                      \
    /* id                            name as the core sends it        slot  flags */                                   \
    X(HOST,                          "Host",                          0xfd, FIELD_SINGLE)                              \
    X(CONNECTION,                    "Connection",                    0x16, FIELD_LIST | FIELD_HOP)                    \
    X(CONTENT_LENGTH,                "Content-Length",                0xfa, FIELD_SINGLE)                              \
    X(TRANSFER_ENCODING,             "Transfer-Encoding",             0x34, FIELD_LIST | FIELD_HOP)                    \
    X(EXPECT,                        "Expect",                        0xce, FIELD_LIST)                                \
    X(TE,                            "TE",                            0xe6, FIELD_LIST | FIELD_HOP)                    \
    X(TRAILER,                       "Trailer",                       0x78, FIELD_LIST | FIELD_HOP)                    \
    X(UPGRADE,                       "Upgrade",                       0xb7, FIELD_LIST | FIELD_HOP)                    \
    X(KEEP_ALIVE,                    "Keep-Alive",                    0x5c, FIELD_LIST | FIELD_HOP)                    \
    X(PROXY_CONNECTION,              "Proxy-Connection",              0x59, FIELD_LIST | FIELD_HOP)                    \
    X(HTTP2_SETTINGS,                "HTTP2-Settings",                0x07, FIELD_SINGLE | FIELD_HOP)                  \
    X(IF_MATCH,                      "If-Match",                      0x2f, FIELD_LIST)                                \
    X(IF_NONE_MATCH,                 "If-None-Match",                 0x48, FIELD_LIST)                                \
    X(IF_MODIFIED_SINCE,             "If-Modified-Since",             0xe9, FIELD_SINGLE)                              \
    X(IF_UNMODIFIED_SINCE,           "If-Unmodified-Since",           0x00, FIELD_SINGLE)                              \
    X(IF_RANGE,                      "If-Range",                      0x1a, FIELD_SINGLE)                              \
    X(RANGE,                         "Range",                         0x75, FIELD_SINGLE)                              \
    X(DATE,                          "Date",                          0xb4, FIELD_SINGLE)                              \
    X(SERVER,                        "Server",                        0x70, FIELD_SINGLE)                              \
    X(CONTENT_TYPE,                  "Content-Type",                  0xa3, FIELD_SINGLE)                              \
    X(CONTENT_ENCODING,              "Content-Encoding",              0x0d, FIELD_LIST)                                \
    X(CONTENT_RANGE,                 "Content-Range",                 0xb5, FIELD_SINGLE)                              \
    X(ACCEPT,                        "Accept",                        0x44, FIELD_LIST)                                \
    X(ACCEPT_CHARSET,                "Accept-Charset",                0x94, FIELD_LIST)                                \
    X(ACCEPT_ENCODING,               "Accept-Encoding",               0x71, FIELD_LIST)                                \
    X(ACCEPT_LANGUAGE,               "Accept-Language",               0x50, FIELD_LIST)                                \
    X(ACCEPT_RANGES,                 "Accept-Ranges",                 0x76, FIELD_LIST)                                \
    X(AGE,                           "Age",                           0x67, FIELD_SINGLE)                              \
    X(ALLOW,                         "Allow",                         0x4e, FIELD_LIST)                                \
    X(AUTHORIZATION,                 "Authorization",                 0xa0, FIELD_SINGLE)                              \
    X(CACHE_CONTROL,                 "Cache-Control",                 0x1d, FIELD_LIST)                                \
    X(COOKIE,                        "Cookie",                        0xca, 0)                                         \
    X(ETAG,                          "ETag",                          0x79, FIELD_SINGLE | FIELD_IN_TRAILER)           \
    X(EXPIRES,                       "Expires",                       0xe4, FIELD_SINGLE)                              \
    X(LAST_MODIFIED,                 "Last-Modified",                 0xfc, FIELD_SINGLE)                              \
    X(LOCATION,                      "Location",                      0xcc, FIELD_SINGLE)                              \
    X(ORIGIN,                        "Origin",                        0xb1, FIELD_SINGLE)                              \
    X(REFERER,                       "Referer",                       0x66, FIELD_SINGLE)                              \
    X(SET_COOKIE,                    "Set-Cookie",                    0x17, 0)                                         \
    X(USER_AGENT,                    "User-Agent",                    0xad, FIELD_SINGLE)                              \
    X(VARY,                          "Vary",                          0x49, FIELD_LIST)                                \
    X(VIA,                           "Via",                           0x06, FIELD_LIST)                                \
    X(WWW_AUTHENTICATE,              "WWW-Authenticate",              0x20, FIELD_LIST)                                \
    X(FORWARDED,                     "Forwarded",                     0x54, FIELD_LIST | FIELD_NEEDS_TRUST)            \
    X(X_FORWARDED_FOR,               "X-Forwarded-For",               0xc2, FIELD_LIST | FIELD_NEEDS_TRUST)            \
    X(X_FORWARDED_HOST,              "X-Forwarded-Host",              0x1b, FIELD_LIST | FIELD_NEEDS_TRUST)            \
    X(X_FORWARDED_PORT,              "X-Forwarded-Port",              0x81, FIELD_LIST | FIELD_NEEDS_TRUST)            \
    X(X_FORWARDED_PREFIX,            "X-Forwarded-Prefix",            0x9a, FIELD_LIST | FIELD_NEEDS_TRUST)            \
    X(X_FORWARDED_PROTO,             "X-Forwarded-Proto",             0xc8, FIELD_LIST | FIELD_NEEDS_TRUST)            \
    X(X_FORWARDED_SERVER,            "X-Forwarded-Server",            0x5d, FIELD_LIST | FIELD_NEEDS_TRUST)            \
    X(X_FORWARDED_SSL,               "X-Forwarded-Ssl",               0x40, FIELD_SINGLE | FIELD_NEEDS_TRUST)          \
    X(X_REAL_IP,                     "X-Real-IP",                     0xc9, FIELD_SINGLE | FIELD_NEEDS_TRUST)          \
    X(X_REQUEST_ID,                  "X-Request-ID",                  0x1f, FIELD_SINGLE)                              \
    X(TRACEPARENT,                   "Traceparent",                   0xf1, FIELD_SINGLE)                              \
    X(TRACESTATE,                    "Tracestate",                    0xcf, FIELD_LIST)                                \
    X(BAGGAGE,                       "Baggage",                       0xa1, FIELD_LIST)                                \
    X(SEC_WEBSOCKET_ACCEPT,          "Sec-WebSocket-Accept",          0x62, FIELD_SINGLE)                              \
    X(SEC_WEBSOCKET_EXTENSIONS,      "Sec-WebSocket-Extensions",      0xdf, FIELD_LIST)                                \
    X(SEC_WEBSOCKET_KEY,             "Sec-WebSocket-Key",             0x72, FIELD_SINGLE)                              \
    X(SEC_WEBSOCKET_PROTOCOL,        "Sec-WebSocket-Protocol",        0xd1, FIELD_LIST)                                \
    X(SEC_WEBSOCKET_VERSION,         "Sec-WebSocket-Version",         0xee, FIELD_LIST)                                \
    X(AUTHENTICATION_INFO,           "Authentication-Info",           0xb8, FIELD_LIST | FIELD_IN_TRAILER)             \
    X(PROXY_AUTHENTICATE,            "Proxy-Authenticate",            0xf6, FIELD_LIST | FIELD_HOP)                    \
    X(PROXY_AUTHENTICATION_INFO,     "Proxy-Authentication-Info",     0x23, FIELD_LIST | FIELD_HOP | FIELD_IN_TRAILER) \
    X(PROXY_AUTHORIZATION,           "Proxy-Authorization",           0x19, FIELD_SINGLE | FIELD_HOP)                  \
    X(PROXY,                         "Proxy",                         0x80, FIELD_SINGLE)                              \
    X(MAX_FORWARDS,                  "Max-Forwards",                  0x33, FIELD_SINGLE)                              \
    X(RETRY_AFTER,                   "Retry-After",                   0x8e, FIELD_SINGLE)                              \
    X(PRAGMA,                        "Pragma",                        0x3b, FIELD_LIST)                                \
    X(CONTENT_DISPOSITION,           "Content-Disposition",           0x14, FIELD_SINGLE)                              \
    X(CONTENT_LANGUAGE,              "Content-Language",              0x7f, FIELD_LIST)                                \
    X(CONTENT_LOCATION,              "Content-Location",              0x6d, FIELD_SINGLE)                              \
    X(CONTENT_SECURITY_POLICY,       "Content-Security-Policy",       0x32, FIELD_LIST)                                \
    X(LINK,                          "Link",                          0x21, FIELD_LIST)                                \
    X(ALT_SVC,                       "Alt-Svc",                       0x87, FIELD_LIST)                                \
    X(STRICT_TRANSPORT_SECURITY,     "Strict-Transport-Security",     0xb3, FIELD_SINGLE)                              \
    X(ACCESS_CONTROL_ALLOW_ORIGIN,   "Access-Control-Allow-Origin",   0xe5, FIELD_SINGLE)                              \
    X(ACCESS_CONTROL_REQUEST_METHOD, "Access-Control-Request-Method", 0x90, FIELD_SINGLE)                              \
    X(EARLY_DATA,                    "Early-Data",                    0xc7, FIELD_SINGLE)                              \
    X(PRIORITY,                      "Priority",                      0x38, FIELD_LIST)                                \
    X(PREFER,                        "Prefer",                        0x7d, FIELD_LIST)                                \
    X(CACHE_STATUS,                  "Cache-Status",                  0x83, FIELD_LIST | FIELD_IN_TRAILER)             \
    X(PROXY_STATUS,                  "Proxy-Status",                  0x4d, FIELD_LIST | FIELD_IN_TRAILER)             \
    X(SERVER_TIMING,                 "Server-Timing",                 0xd2, FIELD_LIST | FIELD_IN_TRAILER)             \
    X(X_ACCEL_BUFFERING,             "X-Accel-Buffering",             0xcb, FIELD_SINGLE)                              \
    X(X_ACCEL_REDIRECT,              "X-Accel-Redirect",              0x60, FIELD_SINGLE)                              \
    X(X_SENDFILE,                    "X-Sendfile",                    0xd0, FIELD_SINGLE)                              \
    X(X_CONTENT_TYPE_OPTIONS,        "X-Content-Type-Options",        0x2b, FIELD_SINGLE)
// clang-format on

enum field_id {
    FIELD_OTHER, /* any name that is not below */
#define FIELD_ENUM(id, name, slot, flags) FIELD_##id,
    FIELDS(FIELD_ENUM)
#undef FIELD_ENUM
    FIELD_COUNT
};

/* Which field `name` is, ASCII case ignored; FIELD_OTHER when it is none of them. */
enum field_id field_id_find(struct weir_str name);

/* The name as the core writes it (Title-Case); borrowed for ever; empty for FIELD_OTHER. */
struct weir_str field_name(enum field_id id);

/* FIELD_SINGLE and the like; 0 for FIELD_OTHER. */
unsigned field_flags(enum field_id id);

/* False for what a recipient drops from trailers; true for unknown names. */
static inline bool
field_may_be_trailer(enum field_id id)
{
    return id == FIELD_OTHER || (field_flags(id) & FIELD_IN_TRAILER) != 0;
}

/* Which fields were seen: one bit each. All zero is empty. */
struct field_set {
    uint64_t bits[2];
};

static inline void
field_set_add(struct field_set *set, enum field_id id)
{
    set->bits[(unsigned)id / 64] |= UINT64_C(1) << ((unsigned)id % 64);
}

static inline bool
field_set_has(const struct field_set *set, enum field_id id)
{
    return (set->bits[(unsigned)id / 64] >> ((unsigned)id % 64) & 1) != 0;
}

/* A byte of a token (5.6.2). */
extern const bool field_token_bytes[256];

static inline bool
field_is_token_byte(char c)
{
    return field_token_bytes[(unsigned char)c];
}

/* How many bytes at the front of `s` are token bytes. */
size_t field_token_len(struct weir_str s);

/* A token: what a field name, a method, a connection option and many parameters are. Not
 * empty. */
bool field_name_is_valid(struct weir_str name);

/* No control byte but a tab (5.5): no CR, LF or NUL, above all. Bytes above 0x7F (obs-text)
 * pass. May be empty. */
bool field_value_is_valid(struct weir_str value);

/* An underscore: such a name and its twin with hyphens become one variable in CGI and WSGI. */
bool field_name_has_underscore(struct weir_str name);

/* Takes the next element of a list (5.6.1) off the front of *rest into *element, trimmed.
 * Empty elements are passed over; a comma within a quoted string (5.6.4) does not separate. A
 * string that is not closed reaches to the end. False at the end. */
bool field_list_next(struct weir_str *rest, struct weir_str *element);

/* For the test of the table: what a name of 2 bytes or more is reduced to, and the slot that
 * follows from it. */
uint64_t field_key(struct weir_str name);

static inline uint8_t
field_slot(uint64_t key, uint64_t multiplier)
{
    return (uint8_t)(key * multiplier >> 56);
}

#endif
