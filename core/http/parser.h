/* SPDX-License-Identifier: MIT */
/* llhttp, fenced: the grammar of a message head, strict, no lenient flag ever (HTTP.md).
 *
 * The caller (head_reader.c) feeds complete lines that it has already measured, all in one
 * buffer that may move between two calls; names and values are reported as offsets into it.
 * Framing, limits and what a field means are not the parser's business. Pure; any thread. */
#ifndef WEIR_HTTP_PARSER_H
#define WEIR_HTTP_PARSER_H

#include <stdint.h>

#include <weir/api.h>

/* Room for an llhttp_t; parser.c asserts that it suffices. */
#define PARSER_STATE_BYTES 128

enum parser_kind {
    PARSER_REQUEST,
    PARSER_RESPONSE
};

enum parser_result {
    PARSER_MORE, /* all bytes taken, the head goes on */
    PARSER_DONE, /* the head ended with the last byte */
    PARSER_BAD_METHOD,
    PARSER_BAD_VERSION,
    PARSER_BAD,    /* any other breach of the grammar */
    PARSER_FAILED, /* the callback refused */
};

struct parser {
    /* Called for each field line in order: where its name and value stand. Returns 0, or
     * anything else to stop with PARSER_FAILED. */
    int (*on_field)(void *context, uint32_t name_at, uint32_t name_len, uint32_t value_at,
            uint32_t value_len);
    void *context;

    const char *base; /* of the call in progress */
    uint32_t name_at, name_len;
    uint32_t value_at, value_len;
    uint8_t pending; /* a name whose value has not been reported */
    uint8_t has_value;
    uint8_t broken; /* the spans did not come as they must */
    _Alignas(8) unsigned char state[PARSER_STATE_BYTES];
};

/* Sets on_field and context to NULL: the caller fills them in. */
void parser_init(struct parser *parser, enum parser_kind kind);

/* Feeds base[from, to), which continues what earlier calls fed. Once it has answered anything
 * but PARSER_MORE the parser is used up. */
WEIR_MUST_USE enum parser_result parser_feed(struct parser *parser, const char *base,
        uint32_t from, uint32_t to);

#endif
