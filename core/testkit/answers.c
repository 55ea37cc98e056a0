/* SPDX-License-Identifier: MIT */
#include "testkit/answers.h"

#include <string.h>

#include "base/num.h"
#include "http/chunked.h"

#define TRAILERS_MAX_BYTES 65536u
#define TRAILERS_MAX       100u

/* The value of a field in `head`, which ends with its empty line; .ptr is NULL when absent. */
static struct weir_str
find_field(struct weir_str head, struct weir_str name)
{
    struct weir_str line, rest = head;
    while (weir_str_split(&rest, '\n', &line)) {
        const char *colon = line.len == 0 ? NULL : memchr(line.ptr, ':', line.len);
        if (colon == NULL ||
                !weir_str_eq_icase(weir_str_make(line.ptr, (size_t)(colon - line.ptr)), name)) {
            continue;
        }
        size_t at = (size_t)(colon - line.ptr) + 1, end = line.len;
        if (end > at && line.ptr[end - 1] == '\r') {
            end--;
        }
        return weir_str_trim(weir_str_make(line.ptr + at, end - at));
    }
    return weir_str_make(NULL, 0);
}

/* The status of the answer whose head this is; 0 when it is none. */
static unsigned
status_of(struct weir_str head)
{
    uint64_t status;
    if (!weir_str_starts_with(head, WEIR_STR("HTTP/1.1 ")) || head.len < 13 ||
            num_parse_u64(weir_str_make(head.ptr + 9, 3), 599, &status) < 0 || status < 100) {
        return 0;
    }
    return (unsigned)status;
}

static bool
join_head(struct weir_str head, struct buf *joined)
{
    struct weir_str date = find_field(head, WEIR_STR("Date"));
    if (date.ptr == NULL) {
        return buf_append(joined, head) == 0;
    }
    size_t before = (size_t)(date.ptr - head.ptr);
    return buf_append(joined, weir_str_make(head.ptr, before)) == 0 &&
            buf_append(joined,
                    weir_str_make(date.ptr + date.len, head.len - before - date.len)) == 0;
}

static enum answers_are
join_chunks(struct weir_str *rest, struct buf *joined)
{
    struct chunked chunked;
    chunked_init(&chunked,
            &(struct chunked_limits){
                    .body_bytes = UINT64_MAX,
                    .trailer_line_bytes = TRAILERS_MAX_BYTES,
                    .trailer_bytes = TRAILERS_MAX_BYTES,
                    .trailer_fields = TRAILERS_MAX,
            });
    enum answers_are are = ANSWERS_CUT;
    bool is_over = false;
    while (!is_over && rest->len > 0) {
        struct weir_str data;
        switch (chunked_step(&chunked, rest, &data)) {
        case CHUNKED_MORE:
            break;
        case CHUNKED_DATA:
            is_over = buf_append(joined, data) < 0;
            break;
        case CHUNKED_DONE:
            is_over = true;
            are = buf_append(joined, buf_str(&chunked.trailers)) < 0 ? ANSWERS_MALFORMED
                                                                     : ANSWERS_WHOLE;
            break;
        case CHUNKED_BAD:
        case CHUNKED_TOO_LONG:
        case CHUNKED_EXTENSIONS_TOO_LONG:
        case CHUNKED_TRAILERS_TOO_LONG:
        case CHUNKED_OUT_OF_MEMORY:
            is_over = true;
            are = ANSWERS_MALFORMED;
            break;
        }
    }
    chunked_fini(&chunked);
    return are;
}

static enum answers_are
join_bytes(struct weir_str *rest, uint64_t bytes, struct buf *joined)
{
    size_t there = rest->len < bytes ? rest->len : (size_t)bytes;
    if (buf_append(joined, weir_str_make(rest->ptr, there)) < 0) {
        return ANSWERS_MALFORMED;
    }
    rest->ptr += there;
    rest->len -= there;
    return there == bytes ? ANSWERS_WHOLE : ANSWERS_CUT;
}

/* RFC 9112 section 6.3. */
static enum answers_are
join_body(struct weir_str head, unsigned status, struct weir_str *rest, bool has_ended,
        struct buf *joined)
{
    if (status < 200 || status == 204 || status == 304) {
        return ANSWERS_WHOLE;
    }
    struct weir_str coding = find_field(head, WEIR_STR("Transfer-Encoding"));
    struct weir_str length = find_field(head, WEIR_STR("Content-Length"));
    if (coding.ptr != NULL) {
        bool is_chunked = length.ptr == NULL && weir_str_eq(coding, WEIR_STR("chunked"));
        return is_chunked ? join_chunks(rest, joined) : ANSWERS_MALFORMED;
    }
    uint64_t bytes;
    if (length.ptr == NULL) {
        enum answers_are are = join_bytes(rest, rest->len, joined);
        return are == ANSWERS_WHOLE && !has_ended ? ANSWERS_CUT : are;
    }
    return num_parse_u64(length, UINT64_MAX, &bytes) < 0 ? ANSWERS_MALFORMED
                                                         : join_bytes(rest, bytes, joined);
}

enum answers_are
answers_read(struct weir_str received, bool has_ended, struct buf *joined)
{
    struct weir_str rest = received;
    while (rest.len > 0) {
        const char *end = memmem(rest.ptr, rest.len, "\r\n\r\n", 4);
        if (end == NULL) {
            size_t len = rest.len < 9 ? rest.len : 9;
            return memcmp(rest.ptr, "HTTP/1.1 ", len) == 0 ? ANSWERS_CUT : ANSWERS_MALFORMED;
        }
        struct weir_str head = weir_str_make(rest.ptr, (size_t)(end - rest.ptr) + 4);
        unsigned status = status_of(head);
        if (status == 0 || !join_head(head, joined)) {
            return ANSWERS_MALFORMED;
        }
        rest.ptr += head.len;
        rest.len -= head.len;
        enum answers_are are = join_body(head, status, &rest, has_ended, joined);
        if (are != ANSWERS_WHOLE) {
            return are;
        }
    }
    return ANSWERS_WHOLE;
}
