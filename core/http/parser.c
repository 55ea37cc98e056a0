/* SPDX-License-Identifier: MIT */
/* llhttp reports a name, then a value, as spans that end at the edges of what it was fed. Since
 * lines are fed whole, each is one span; a second span for one value can only be a folded line
 * (RFC 9112 section 5.2), which head_reader.c refuses before us and this file refuses again. */
#include "http/parser.h"

#include <string.h>

#include <llhttp.h>

#include "base/assert.h"

_Static_assert(sizeof(llhttp_t) <= PARSER_STATE_BYTES, "PARSER_STATE_BYTES is too small");

static llhttp_t *
state_of(struct parser *parser)
{
    return (llhttp_t *)(void *)parser->state;
}

static int
flush_field(struct parser *parser)
{
    if (!parser->pending) {
        return 0;
    }
    parser->pending = parser->has_value = 0;
    return parser->on_field(parser->context, parser->name_at, parser->name_len,
            parser->value_at, parser->value_len);
}

static int
on_header_field(llhttp_t *state, const char *at, size_t len)
{
    struct parser *parser = state->data;
    if (flush_field(parser) != 0) {
        return -1;
    }
    parser->pending = 1;
    parser->name_at = (uint32_t)(at - parser->base);
    parser->name_len = (uint32_t)len;
    parser->value_at = parser->name_at + parser->name_len;
    parser->value_len = 0;
    return 0;
}

static int
on_header_value(llhttp_t *state, const char *at, size_t len)
{
    struct parser *parser = state->data;
    if (!parser->pending || (parser->has_value && len > 0)) {
        parser->broken = 1;
        return -1;
    }
    if (len > 0) {
        parser->has_value = 1;
        parser->value_at = (uint32_t)(at - parser->base);
        parser->value_len = (uint32_t)len;
    }
    return 0;
}

static int
on_headers_complete(llhttp_t *state)
{
    struct parser *parser = state->data;
    return flush_field(parser) != 0 ? -1 : HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
};

void
parser_init(struct parser *parser, enum parser_kind kind)
{
    memset(parser, 0, offsetof(struct parser, state));
    llhttp_init(state_of(parser), kind == PARSER_REQUEST ? HTTP_REQUEST : HTTP_RESPONSE,
            &settings);
    state_of(parser)->data = parser;
}

enum parser_result
parser_feed(struct parser *parser, const char *base, uint32_t from, uint32_t to)
{
    WEIR_ASSERT(from <= to);
    llhttp_t *state = state_of(parser);
    parser->base = base;
    llhttp_errno_t error = llhttp_execute(state, base + from, to - from);
    parser->base = NULL;
    switch ((int)error) {
    case HPE_OK:
        return PARSER_MORE;
    case HPE_PAUSED:
        /* The head must end where the lines end; anything else is two opinions about it. */
        return llhttp_get_error_pos(state) == base + to - 1 ||
                        llhttp_get_error_pos(state) == base + to
                ? PARSER_DONE
                : PARSER_BAD;
    case HPE_INVALID_METHOD:
        return PARSER_BAD_METHOD;
    case HPE_INVALID_VERSION:
        return PARSER_BAD_VERSION;
    case HPE_CB_HEADERS_COMPLETE:
        return PARSER_FAILED;
    case HPE_USER:
        return PARSER_FAILED;
    default:
        return PARSER_BAD;
    }
}
