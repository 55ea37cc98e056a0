/* SPDX-License-Identifier: MIT */
/* Range values: the first eight bytes are the size of the representation. */
#include "http/range.h"

#include <errno.h>

#include "fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    uint64_t size;
    if (bytes < sizeof(size)) {
        return 0;
    }
    memcpy(&size, data, sizeof(size));
    struct range_set set;
    int r = range_parse(fuzz_str(data + sizeof(size), bytes - sizeof(size)), size, &set);
    FUZZ_CHECK(r == 0 || r == -EINVAL || r == -ERANGE || r == -E2BIG);
    if (r != 0) {
        return 0;
    }
    FUZZ_CHECK(set.count >= 1 && set.count <= RANGE_MAX);
    uint64_t left = size;
    for (size_t i = 0; i < set.count; i++) {
        const struct byte_range *range = &set.ranges[i];
        FUZZ_CHECK(range->first <= range->last && range->last < size);
        /* Together no more than the representation. */
        FUZZ_CHECK(range_bytes(range) <= left);
        left -= range_bytes(range);
        for (size_t j = 0; j < i; j++) {
            const struct byte_range *other = &set.ranges[j];
            FUZZ_CHECK(range->first > other->last + 1 || other->first > range->last + 1);
        }
        char text[CONTENT_RANGE_BYTES];
        FUZZ_CHECK(content_range_format(text, range, size) <= sizeof(text));
    }
    return 0;
}
