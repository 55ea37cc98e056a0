/* SPDX-License-Identifier: MIT */
/* Chunked bodies, held against llhttp (strict): whatever we accept it accepts, with the same
 * bytes and the same end; where both refuse, neither has given more than the other had seen.
 * And the outcome must not depend on how the input is cut. The first byte says how. */
#include "http/chunked.h"

#include <llhttp.h>

#include "fuzz/fuzz.h"

struct decoded {
    char *bytes;
    size_t len;
    size_t used; /* of the input, when it is done */
    bool is_done, is_bad;
    bool has_framing; /* fields about framing among the trailers */
};

/* Anywhere in the trailers, complete or not. */
static bool
names(struct weir_str text, struct weir_str name)
{
    for (size_t i = 0; i + name.len <= text.len; i++) {
        if (weir_str_eq_icase(weir_str_make(text.ptr + i, name.len), name)) {
            return true;
        }
    }
    return false;
}

/* ---- ours -------------------------------------------------------------------------------- */

static struct decoded
decode(struct weir_str text, size_t step)
{
    struct chunked chunked;
    struct decoded out = { .bytes = fuzz_buffer(text.len) };
    chunked_init(&chunked,
            &(struct chunked_limits){
                    .body_bytes = UINT64_MAX,
                    .trailer_bytes = 8192,
                    .trailer_line_bytes = 8192,
                    .trailer_fields = 20,
            });
    enum chunked_result result = CHUNKED_MORE;
    for (size_t at = 0; at < text.len && result == CHUNKED_MORE;) {
        size_t len = text.len - at < step ? text.len - at : step;
        char *piece = fuzz_buffer(len);
        memcpy(piece, text.ptr + at, len);
        struct weir_str input = weir_str_make(piece, len), data;
        while ((result = chunked_step(&chunked, &input, &data)) == CHUNKED_DATA) {
            FUZZ_CHECK(data.len > 0 && data.len <= text.len - out.len);
            memcpy(out.bytes + out.len, data.ptr, data.len);
            out.len += data.len;
        }
        FUZZ_CHECK(result != CHUNKED_MORE || input.len == 0);
        at += len;
        out.used = at - input.len;
        free(piece);
    }
    out.is_done = result == CHUNKED_DONE;
    out.is_bad = result != CHUNKED_DONE && result != CHUNKED_MORE;
    if (out.is_done) {
        struct weir_str rest = buf_str(&chunked.trailers), name, value;
        FUZZ_CHECK(rest.len <= 8192);
        unsigned count = 0;
        while (chunked_next_trailer(&rest, &name, &value)) {
            FUZZ_CHECK(name.len > 0 && ++count <= 20);
            FUZZ_CHECK(!weir_str_eq_icase(name, WEIR_STR("content-length")));
            FUZZ_CHECK(!weir_str_eq_icase(name, WEIR_STR("transfer-encoding")));
            FUZZ_CHECK(!weir_str_eq_icase(name, WEIR_STR("host")));
        }
    }
    struct weir_str trailers = buf_str(&chunked.trailers);
    out.has_framing = names(trailers, WEIR_STR("content-length")) ||
            names(trailers, WEIR_STR("transfer-encoding"));
    chunked_fini(&chunked);
    return out;
}

/* ---- llhttp's ---------------------------------------------------------------------------- */

static int
on_body(llhttp_t *parser, const char *at, size_t len)
{
    struct decoded *out = parser->data;
    memcpy(out->bytes + out->len, at, len);
    out->len += len;
    return 0;
}

static int
on_complete(llhttp_t *parser)
{
    struct decoded *out = parser->data;
    out->is_done = true;
    return HPE_PAUSED;
}

static struct decoded
decode_with_llhttp(struct weir_str text)
{
    static const llhttp_settings_t settings = { .on_body = on_body,
        .on_message_complete = on_complete };
    static const char head[] =
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    struct decoded out = { .bytes = fuzz_buffer(text.len) };
    llhttp_t parser;
    llhttp_init(&parser, HTTP_REQUEST, &settings);
    parser.data = &out;
    FUZZ_CHECK(llhttp_execute(&parser, head, sizeof(head) - 1) == HPE_OK);
    llhttp_errno_t error = text.len == 0 ? HPE_OK : llhttp_execute(&parser, text.ptr, text.len);
    out.is_bad = error != HPE_OK && error != HPE_PAUSED;
    out.used = out.is_done ? (size_t)(llhttp_get_error_pos(&parser) - text.ptr) : 0;
    return out;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    struct weir_str text = fuzz_str(data + 1, size - 1);
    struct decoded whole = decode(text, SIZE_MAX);
    size_t steps[] = { 1, data[0] % 13 + 2 };
    for (int i = 0; i < 2; i++) {
        struct decoded cut = decode(text, steps[i]);
        FUZZ_CHECK(cut.is_done == whole.is_done && cut.is_bad == whole.is_bad);
        FUZZ_CHECK(!cut.is_done || cut.used == whole.used);
        FUZZ_CHECK(weir_str_eq(weir_str_make(cut.bytes, cut.len),
                weir_str_make(whole.bytes, whole.len)));
        free(cut.bytes);
    }
    struct decoded other = decode_with_llhttp(text);
    /* llhttp 8.1 knows neither quoted pairs in an extension's value nor a second extension
     * behind a token value, and takes framing fields in trailers for its own. */
    bool may_differ = names(text, WEIR_STR("\\")) || whole.has_framing ||
            (names(text, WEIR_STR("=")) && names(text, WEIR_STR(";")));
    FUZZ_CHECK(!whole.is_done || other.is_done || (may_differ && other.is_bad));
    FUZZ_CHECK(whole.is_done || whole.is_bad || !other.is_done); /* never the sooner end */
    if (whole.is_done && other.is_done) {
        FUZZ_CHECK(other.len == whole.len);
        FUZZ_CHECK(other.used == whole.used ||
                other.used + 1 == whole.used); /* it pauses at, not behind, the last byte */
    }
    /* We may refuse sooner or later, but never see other bytes. */
    size_t len = whole.len < other.len ? whole.len : other.len;
    FUZZ_CHECK(len == 0 || memcmp(whole.bytes, other.bytes, len) == 0);
    free(other.bytes);
    free(whole.bytes);
    return 0;
}
