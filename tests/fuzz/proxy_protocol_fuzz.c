/* SPDX-License-Identifier: MIT */
/* Headers of the PROXY protocol: the outcome must not depend on how they are cut, what is
 * accepted is one in whole, and what we write ourselves reads back. The first byte says how it
 * is cut. */
#include "net/proxy_protocol.h"

#include "fuzz/fuzz.h"

struct outcome {
    enum proxy_progress progress;
    enum proxy_fault fault;
    size_t taken;
    struct proxy_ends ends;
};

static void
read_all(struct weir_str text, size_t step, struct outcome *out)
{
    struct proxy_reader reader = { .taken = 0 };
    *out = (struct outcome){ .progress = PROXY_MORE };
    while (out->progress == PROXY_MORE && out->taken < text.len) {
        size_t len = text.len - out->taken < step ? text.len - out->taken : step;
        char *piece = fuzz_buffer(len);
        memcpy(piece, text.ptr + out->taken, len);
        struct weir_str input = weir_str_make(piece, len);
        out->progress = proxy_reader_feed(&reader, &input, &out->fault);
        FUZZ_CHECK(out->progress != PROXY_MORE || input.len == 0);
        out->taken += len - input.len;
        free(piece);
    }
    out->ends = reader.ends;
}

static bool
is_same(const struct addr_ip *a, const struct addr_ip *b)
{
    return a->family == b->family && a->port == b->port &&
            memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

/* Speaks for the same in its own words. */
static void
check_written(const struct proxy_ends *ends, enum proxy_version version)
{
    char text[PROXY_HEADER_BYTES_MAX];
    size_t len = proxy_header_format(version, &ends->source, &ends->destination, text);
    FUZZ_CHECK(len > 0 && len <= sizeof(text));
    struct outcome again;
    read_all(weir_str_make(text, len), SIZE_MAX, &again);
    FUZZ_CHECK(again.progress == PROXY_DONE && again.taken == len);
    FUZZ_CHECK(again.ends.is_told == (ends->source.family != AF_UNIX));
    FUZZ_CHECK(!again.ends.is_told || is_same(&again.ends.source, &ends->source));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    struct weir_str text = fuzz_str(data + 1, size - 1);
    struct outcome whole;
    read_all(text, SIZE_MAX, &whole);
    const size_t steps[] = { 1, data[0] / 2u + 2 };
    for (int i = 0; i < 2; i++) {
        struct outcome cut;
        read_all(text, steps[i], &cut);
        FUZZ_CHECK(cut.progress == whole.progress && cut.fault == whole.fault);
        FUZZ_CHECK(cut.taken == whole.taken && cut.ends.is_told == whole.ends.is_told);
        FUZZ_CHECK(is_same(&cut.ends.source, &whole.ends.source));
        FUZZ_CHECK(is_same(&cut.ends.destination, &whole.ends.destination));
    }
    FUZZ_CHECK((whole.progress == PROXY_REFUSED) == (whole.fault != PROXY_GOOD));
    if (whole.progress == PROXY_DONE && text.ptr[0] == 'P') {
        FUZZ_CHECK(whole.taken <= PROXY_LINE_BYTES_MAX && text.ptr[whole.taken - 1] == '\n');
    } else if (whole.progress == PROXY_DONE) {
        FUZZ_CHECK(whole.taken == 16u + data[15] * 256u + data[16]);
    }
    if (whole.progress == PROXY_DONE && whole.ends.is_told) {
        check_written(&whole.ends, PROXY_V1);
        check_written(&whole.ends, PROXY_V2);
    }
    return 0;
}
