/* SPDX-License-Identifier: MIT */
/* Conditions: a line each for the method, the representation's tag, If-Match, If-None-Match,
 * If-Modified-Since, If-Unmodified-Since and If-Range; an empty line is an absent field. */
#include "http/conditional.h"

#include "fuzz/fuzz.h"
#include "http/etag.h"

#define MODIFIED_S INT64_C(784111777) /* Sun, 06 Nov 1994 08:49:37 GMT */

static struct weir_str
take_field(struct weir_str *rest)
{
    struct weir_str line = fuzz_take_line(rest);
    return line.len == 0 ? weir_str_make(NULL, 0) : line;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct weir_str rest = fuzz_str(data, size);
    enum method method = method_parse(fuzz_take_line(&rest));
    struct weir_str tag = fuzz_take_line(&rest);
    struct representation representation = {
        .exists = true,
        .has_last_modified = true,
        .last_modified_s = MODIFIED_S,
        .etag = tag,
    };
    struct conditional_fields fields;
    fields.if_match = take_field(&rest);
    fields.if_none_match = take_field(&rest);
    fields.if_modified_since = take_field(&rest);
    fields.if_unmodified_since = take_field(&rest);
    fields.if_range = take_field(&rest);
    fields.range = WEIR_STR("bytes=0-1");

    bool is_read = method == METHOD_GET || method == METHOD_HEAD;
    struct conditional_result result = conditional_evaluate(method, &fields, &representation,
            MODIFIED_S + 60);
    FUZZ_CHECK(result.verdict != CONDITIONAL_NOT_MODIFIED || is_read);
    FUZZ_CHECK(result.verdict != CONDITIONAL_NOT_MODIFIED || fields.if_none_match.ptr != NULL ||
            fields.if_modified_since.ptr != NULL);
    FUZZ_CHECK(result.verdict != CONDITIONAL_PRECONDITION_FAILED ||
            fields.if_match.ptr != NULL || fields.if_unmodified_since.ptr != NULL ||
            (fields.if_none_match.ptr != NULL && !is_read));
    FUZZ_CHECK(!result.range_applies ||
            (method == METHOD_GET && result.verdict == CONDITIONAL_PROCEED));

    /* A client that sends our own tag back has what we have. */
    struct etag ours;
    if (etag_parse(tag, &ours) == 0) {
        FUZZ_CHECK(etag_eq_weak(&ours, &ours));
        fields = (struct conditional_fields){ .if_none_match = tag };
        result = conditional_evaluate(METHOD_GET, &fields, &representation, MODIFIED_S + 60);
        FUZZ_CHECK(result.verdict == CONDITIONAL_NOT_MODIFIED);
        fields = (struct conditional_fields){ .if_match = tag };
        result = conditional_evaluate(METHOD_PUT, &fields, &representation, MODIFIED_S + 60);
        FUZZ_CHECK((result.verdict == CONDITIONAL_PROCEED) == !ours.is_weak);
    }
    return 0;
}
