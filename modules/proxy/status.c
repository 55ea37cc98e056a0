/* SPDX-License-Identifier: MIT */
/* Proxy-Status (RFC 9209): what became of the request here, behind what proxies further up say
 * of it. */
#include <string.h>

#include <weir/reply.h>

#include "proxy.h"

/* Of an address that is told, so much at most. */
#define ADDRESS_BYTES_MAX 120u

/* Section 2.3. */
static const char *
error_word(enum weir_exchange_error error)
{
    switch (error) {
    case WEIR_EXCHANGE_REFUSED:
        return "connection_refused";
    case WEIR_EXCHANGE_UNREACHABLE:
        return "destination_ip_unroutable";
    case WEIR_EXCHANGE_CONNECT_TIMEOUT:
        return "connection_timeout";
    case WEIR_EXCHANGE_SEND_TIMEOUT:
        return "connection_write_timeout";
    case WEIR_EXCHANGE_READ_TIMEOUT:
        return "connection_read_timeout";
    case WEIR_EXCHANGE_CLOSED:
        return "connection_terminated";
    case WEIR_EXCHANGE_BAD_ANSWER:
        return "http_protocol_error";
    case WEIR_EXCHANGE_HEAD_TOO_LARGE:
        return "http_response_header_section_size";
    case WEIR_EXCHANGE_BUSY:
    case WEIR_EXCHANGE_QUEUE_TIMEOUT:
        return "connection_limit_reached";
    case WEIR_EXCHANGE_UNRESOLVED:
        return "dns_error";
    case WEIR_EXCHANGE_UNAVAILABLE:
        return "destination_unavailable";
    case WEIR_EXCHANGE_BODY:
        return "http_request_error";
    case WEIR_EXCHANGE_FINE:
    case WEIR_EXCHANGE_EXHAUSTED:
    case WEIR_EXCHANGE_ABORTED:
        break;
    }
    return "proxy_internal_error";
}

static char *
put(char *at, const char *text)
{
    size_t len = strlen(text);
    memcpy(at, text, len);
    return at + len;
}

/* As a string of RFC 8941 (section 3.3.3), which holds printable ASCII: else nothing. */
static char *
put_string(char *at, struct weir_str text)
{
    char *begin = at;
    *at++ = '"';
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c < 0x20 || c > 0x7e) {
            return begin;
        }
        if (c == '"' || c == '\\') {
            *at++ = '\\';
        }
        *at++ = (char)c;
    }
    *at++ = '"';
    return at;
}

void
proxy_put_status(struct weir_request *request, const struct proxy_conf *conf,
        const struct weir_exchange *exchange)
{
    /* The longest words take 96. */
    char text[96 + 2 * ADDRESS_BYTES_MAX];
    char *at = put(text, "weir");
    enum weir_exchange_error error = weir_exchange_error(exchange);
    unsigned status = weir_exchange_status(exchange);
    if (!conf->proxy_status) {
        return;
    }
    if (error != WEIR_EXCHANGE_FINE) {
        at = put(put(at, "; error="), error_word(error));
    }
    if (status >= 100 && status <= 999) {
        at = put(at, "; received-status=");
        *at++ = (char)('0' + status / 100);
        *at++ = (char)('0' + status / 10 % 10);
        *at++ = (char)('0' + status % 10);
    }
    struct weir_str address = weir_exchange_address(exchange);
    if (conf->next_hop && address.len > 0 && address.len <= ADDRESS_BYTES_MAX) {
        char *value = put(at, "; next-hop=");
        char *end = put_string(value, address);
        at = end > value ? end : at;
    }
    int r = weir_reply_add(request, WEIR_STR("Proxy-Status"),
            weir_str_make(text, (size_t)(at - text)));
    (void)r; /* it may be left out */
}
