/* SPDX-License-Identifier: MIT */
/* Dates: the first eight bytes are now. */
#include "http/date.h"

#include "fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    int64_t now, seconds, again;
    if (bytes < sizeof(now)) {
        return 0;
    }
    memcpy(&now, data, sizeof(now));

    /* Whatever the clock says can be written, and what is written can be read. */
    char *text = fuzz_buffer(DATE_BYTES);
    date_format(text, now);
    FUZZ_CHECK(date_parse(weir_str_make(text, DATE_BYTES), now, &again) == 0);
    FUZZ_CHECK(again == now || now < INT64_C(-62167219200) || now > INT64_C(253402300799));

    /* What was read can be written. */
    if (date_parse(fuzz_str(data + sizeof(now), bytes - sizeof(now)), now, &seconds) == 0) {
        date_format(text, seconds);
        FUZZ_CHECK(date_parse(weir_str_make(text, DATE_BYTES), now, &again) == 0);
        FUZZ_CHECK(again == seconds);
    }
    free(text);
    return 0;
}
