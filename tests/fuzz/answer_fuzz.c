/* SPDX-License-Identifier: MIT */
/* Answers of upstreams: the outcome must not depend on how they are cut, and what is accepted
 * has exactly one meaning: no two lengths, no byte that another reader might take for a line's
 * end, and a body that is part of the input. The first byte says how it is cut, and whether it
 * answers HEAD. */
#include "upstream/answer.h"

#include "base/buf.h"
#include "fuzz/fuzz.h"

struct outcome {
    enum answer_fault fault;
    bool has_head, is_ended;
    size_t taken;
    unsigned status;
    enum answer_framing framing;
    uint32_t fields;
    struct buf body;
};

static void
check_head(const struct answer_head *head)
{
    unsigned lengths = 0, codings = 0;
    FUZZ_CHECK(head->status >= 100 && head->status <= 599 && head->minor <= 1);
    FUZZ_CHECK(head->field_count <= ANSWER_FIELDS_MAX);
    for (uint32_t i = 0; i < head->field_count; i++) {
        struct weir_str name = answer_field_name(head, i), value = answer_field_value(head, i);
        FUZZ_CHECK(name.len > 0 && field_name_is_valid(name) && field_value_is_valid(value));
        lengths += weir_str_eq_icase(name, WEIR_STR("content-length"));
        codings += weir_str_eq_icase(name, WEIR_STR("transfer-encoding"));
    }
    FUZZ_CHECK(lengths + codings <= 1);
    FUZZ_CHECK(head->framing != ANSWER_CHUNKED || codings == 1);
    FUZZ_CHECK(head->framing != ANSWER_LENGTH || lengths == 1);
    FUZZ_CHECK(head->framing != ANSWER_UNTIL_CLOSE ||
            (lengths + codings == 0 && !head->keep_alive));
}

static void
read_all(struct weir_str text, bool is_to_head, size_t step, struct outcome *out)
{
    struct arena arena;
    struct answer_reader reader;
    struct answer_head head;
    struct answer_body body = { .framing = ANSWER_NO_BODY };
    arena_init(&arena, NULL, 0, 4 << 20);
    *out = (struct outcome){ .fault = ANSWER_GOOD };
    buf_init(&out->body, text.len + 1);
    answer_reader_init(&reader, &arena, is_to_head, &head);
    for (size_t at = 0; at < text.len && out->fault == ANSWER_GOOD && !out->is_ended;) {
        size_t len = text.len - at < step ? text.len - at : step;
        char *piece = fuzz_buffer(len);
        memcpy(piece, text.ptr + at, len);
        struct weir_str input = weir_str_make(piece, len), data;
        while (input.len > 0 && out->fault == ANSWER_GOOD && !out->is_ended) {
            if (!out->has_head) {
                out->has_head = answer_reader_feed(&reader, &input, &out->fault) == ANSWER_DONE;
                if (out->has_head) {
                    check_head(&head);
                    answer_body_init(&body, &head);
                }
            } else if (answer_body_step(&body, &input, &data, &out->fault) ==
                    ANSWER_BODY_DATA) {
                FUZZ_CHECK(data.ptr >= piece && data.ptr + data.len <= piece + len);
                FUZZ_CHECK(buf_append(&out->body, data) == 0);
            }
            out->is_ended = out->has_head && body.is_ended;
        }
        at += len;
        out->taken = at - input.len;
        free(piece);
    }
    if (out->has_head) {
        out->status = head.status;
        out->framing = head.framing;
        out->fields = head.field_count;
        FUZZ_CHECK(head.framing != ANSWER_LENGTH ||
                buf_str(&out->body).len <= head.declared_bytes);
    }
    answer_body_fini(&body);
    arena_reset(&arena);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    struct weir_str text = fuzz_str(data + 1, size - 1);
    bool is_to_head = (data[0] & 1) != 0;
    struct outcome whole;
    read_all(text, is_to_head, SIZE_MAX, &whole);
    const size_t steps[] = { 1, data[0] / 2u + 2 };
    for (int i = 0; i < 2; i++) {
        struct outcome cut;
        read_all(text, is_to_head, steps[i], &cut);
        FUZZ_CHECK(cut.fault == whole.fault && cut.has_head == whole.has_head);
        FUZZ_CHECK(cut.is_ended == whole.is_ended && cut.status == whole.status);
        FUZZ_CHECK(cut.framing == whole.framing && cut.fields == whole.fields);
        FUZZ_CHECK(!cut.is_ended || cut.taken == whole.taken);
        FUZZ_CHECK(weir_str_eq(buf_str(&cut.body), buf_str(&whole.body)));
        buf_fini(&cut.body);
    }
    buf_fini(&whole.body);
    return 0;
}
