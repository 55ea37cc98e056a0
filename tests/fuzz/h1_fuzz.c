/* SPDX-License-Identifier: MIT */
/* A whole HTTP/1 connection on a memory stream, with the handlers of the rig. The first bytes
 * say how the rest is cut, how fast the client reads and what it does between: never a crash,
 * every answer well-formed, output and memory bounded, nothing left over. */
#include "http/h1.h"

#include <stdio.h>

#include "fuzz/fuzz.h"
#include "http/request.h"
#include "support/rig.h"

/* No answer of the rig is longer than its number says, and numbers are cut by this. */
#define OUTPUT_MAX (64u << 20)

/* Interim answers stand before the final one; heads of HEAD requests cannot be told here, so an
 * answer may be followed by anything that begins like one. */
static void
check_answers(const struct rig *rig)
{
    struct weir_str rest = rig_received(rig);
    FUZZ_CHECK(rest.len <= OUTPUT_MAX);
    while (rest.len > 0) {
        FUZZ_CHECK(weir_str_starts_with(rest, WEIR_STR("HTTP/1.1 ")) || rest.len < 9);
        const char *end = memmem(rest.ptr, rest.len, "\r\n\r\n", 4);
        if (end == NULL) {
            return; /* not all of it was read, or the connection broke off */
        }
        /* Every line of the head is a field. */
        struct weir_str head = weir_str_make(rest.ptr, (size_t)(end - rest.ptr) + 2);
        unsigned lines = 0, lengths = 0, codings = 0;
        for (size_t at = 0; at < head.len; lines++) {
            const char *cr = memchr(head.ptr + at, '\r', head.len - at);
            FUZZ_CHECK(cr != NULL && cr[1] == '\n');
            struct weir_str line = weir_str_make(head.ptr + at, (size_t)(cr - (head.ptr + at)));
            FUZZ_CHECK(memchr(line.ptr, '\n', line.len) == NULL);
            FUZZ_CHECK(memchr(line.ptr, '\0', line.len) == NULL);
            FUZZ_CHECK(lines == 0 || memchr(line.ptr, ':', line.len) != NULL);
            lengths += weir_str_starts_with(line, WEIR_STR("Content-Length: "));
            codings += weir_str_starts_with(line, WEIR_STR("Transfer-Encoding: "));
            at += line.len + 2;
        }
        FUZZ_CHECK(lengths + codings <= 1);
        struct weir_str behind = weir_str_make(end + 4,
                rest.len - (size_t)(end + 4 - rest.ptr));
        if (weir_str_starts_with(behind, WEIR_STR("HTTP/1.1 "))) {
            rest = behind; /* without a body */
            continue;
        }
        struct rig_answer answer;
        FUZZ_CHECK(rig_next_answer(&rest, false, &answer));
        if (!answer.is_complete) {
            return;
        }
    }
}

static void
wind(struct rig *rig, unsigned what)
{
    switch (what % 8) {
    case 0:
        memory_stream_allow(&rig->stream, 100);
        break;
    case 1:
        memory_stream_allow(&rig->stream, UINT64_MAX);
        break;
    case 2:
        manual_clock_advance_ns(&rig->clock, 11 * NS_PER_S);
        break;
    case 3:
        engine_stop(&rig->engine, false);
        break;
    default:
        break;
    }
    rig_settle(rig);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4) {
        return 0;
    }
    static struct rig rig;
    rig_init(&rig, NULL, 0);
    rig.settings.limits.body_bytes = 20000;
    rig.settings.limits.pipeline = data[0] % 4;
    rig.settings.limits.body_rate_bytes_per_s = data[0] % 3;
    rig_connect(&rig);
    rig.stream.allowed_bytes = data[1] % 4 == 0 ? data[1] : UINT64_MAX;
    rig.stream.read_max_bytes = data[2] % 4 == 0 ? (size_t)data[2] + 1 : SIZE_MAX;
    size_t step = data[3] % 32 == 0 ? SIZE_MAX : (size_t)data[3] + 1;
    struct weir_str text = fuzz_str(data + 4, size - 4);
    for (size_t at = 0, turn = 0; at < text.len && !rig.stream.is_closed; turn++) {
        size_t len = text.len - at < step ? text.len - at : step;
        rig_send(&rig, weir_str_make(text.ptr + at, len));
        at += len;
        wind(&rig, data[1] / 4 + (unsigned)turn * data[2]);
        const struct engine_figures *figures = &rig.engine.figures;
        FUZZ_CHECK(figures->requests_begun - figures->requests_ended <= 40);
    }
    if (!rig.stream.is_closed && data[0] % 8 == 7) {
        memory_stream_reset(&rig.stream);
    } else if (!rig.stream.is_closed) {
        memory_stream_allow(&rig.stream, UINT64_MAX);
        memory_stream_end(&rig.stream);
    }
    for (int i = 0; i < 50 && !rig.stream.is_closed; i++) {
        rig_settle(&rig);
        manual_clock_advance_ns(&rig.clock, 40 * NS_PER_S);
    }
    FUZZ_CHECK(rig.stream.is_closed); /* nothing waits for ever */
    check_answers(&rig);
    rig_fini(&rig);
    return 0;
}
