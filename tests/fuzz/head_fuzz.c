/* SPDX-License-Identifier: MIT */
/* Request heads. The first line gives limits and a cut, the rest is what a client sends: the
 * outcome must not depend on how it is cut, and what is accepted must pass a checker that was
 * written from RFC 9112 without a look at ours. */
#include <stdio.h>

#include "fuzz/fuzz.h"
#include "http/head_reader.h"

#define TOKEN_MARKS "!#$%&'*+-.^_`|~"

struct outcome {
    enum head_progress progress;
    enum head_refusal refusal;
    size_t taken;
    char fingerprint[64];
};

/* ---- the independent checker ------------------------------------------------------------- */

static bool
is_tchar(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
            (c != '\0' && strchr(TOKEN_MARKS, c) != NULL);
}

static bool
is_token(struct weir_str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!is_tchar(s.ptr[i])) {
            return false;
        }
    }
    return s.len > 0;
}

/* The next line without its CRLF; false when it does not end with one. */
static bool
next_line(struct weir_str *rest, struct weir_str *line)
{
    for (size_t i = 0; i + 1 < rest->len; i++) {
        if (rest->ptr[i] == '\r' && rest->ptr[i + 1] == '\n') {
            *line = weir_str_make(rest->ptr, i);
            rest->ptr += i + 2;
            rest->len -= i + 2;
            return true;
        }
        if (rest->ptr[i] == '\r' || rest->ptr[i] == '\n') {
            return false;
        }
    }
    return false;
}

static void
check_request_line(struct weir_str line, const struct head *head)
{
    const char *one = memchr(line.ptr, ' ', line.len);
    const char *two = memrchr(line.ptr, ' ', line.len);
    FUZZ_CHECK(one != NULL && two != one);
    struct weir_str method = weir_str_make(line.ptr, (size_t)(one - line.ptr));
    struct weir_str target = weir_str_make(one + 1, (size_t)(two - one - 1));
    struct weir_str version = weir_str_make(two + 1, line.len - (size_t)(two + 1 - line.ptr));
    FUZZ_CHECK(is_token(method) && weir_str_eq(method, head_method(head)));
    FUZZ_CHECK(target.len > 0 && weir_str_eq(target, head_target(head)));
    for (size_t i = 0; i < target.len; i++) {
        FUZZ_CHECK(target.ptr[i] > ' ' && target.ptr[i] != 0x7f);
    }
    FUZZ_CHECK(weir_str_eq(version,
            head->minor == 1 ? WEIR_STR("HTTP/1.1") : WEIR_STR("HTTP/1.0")));
}

static void
check_field(struct weir_str line, const struct head *head, uint32_t i)
{
    FUZZ_CHECK(i < head->field_count);
    const char *colon = memchr(line.ptr, ':', line.len);
    FUZZ_CHECK(colon != NULL);
    struct weir_str name = weir_str_make(line.ptr, (size_t)(colon - line.ptr));
    struct weir_str value = weir_str_make(colon + 1, line.len - name.len - 1);
    FUZZ_CHECK(is_token(name) && weir_str_eq(name, head_field_name(head, i)));
    while (value.len > 0 && (value.ptr[0] == ' ' || value.ptr[0] == '\t')) {
        value.ptr++;
        value.len--;
    }
    while (value.len > 0 &&
            (value.ptr[value.len - 1] == ' ' || value.ptr[value.len - 1] == '\t')) {
        value.len--;
    }
    FUZZ_CHECK(weir_str_eq(value, head_field_value(head, i)));
    for (size_t j = 0; j < value.len; j++) {
        unsigned char c = (unsigned char)value.ptr[j];
        FUZZ_CHECK(c == '\t' || (c >= ' ' && c != 0x7f));
    }
}

/* RFC 9112 section 6.3, and what HTTP.md narrows. */
static void
check_framing(const struct head *head)
{
    unsigned lengths = 0, codings = 0, hosts = 0;
    for (uint32_t i = 0; i < head->field_count; i++) {
        struct weir_str name = head_field_name(head, i), value = head_field_value(head, i);
        if (weir_str_eq_icase(name, WEIR_STR("content-length"))) {
            lengths++;
            uint64_t bytes = 0;
            FUZZ_CHECK(value.len > 0);
            for (size_t j = 0; j < value.len; j++) {
                FUZZ_CHECK(value.ptr[j] >= '0' && value.ptr[j] <= '9');
                FUZZ_CHECK(!__builtin_mul_overflow(bytes, (uint64_t)10, &bytes));
                FUZZ_CHECK(
                        !__builtin_add_overflow(bytes, (uint64_t)(value.ptr[j] - '0'), &bytes));
            }
            FUZZ_CHECK(head->body_bytes == bytes);
        }
        if (weir_str_eq_icase(name, WEIR_STR("transfer-encoding"))) {
            codings++;
            FUZZ_CHECK(weir_str_eq_icase(value, WEIR_STR("chunked")));
        }
        hosts += weir_str_eq_icase(name, WEIR_STR("host"));
    }
    FUZZ_CHECK(lengths + codings <= 1);
    FUZZ_CHECK(codings == 0 || head->minor == 1);
    FUZZ_CHECK(hosts <= 1 && (hosts == 1 || head->minor == 0));
    FUZZ_CHECK((head->body == HEAD_BODY_CHUNKED) == (codings == 1));
    FUZZ_CHECK((head->body == HEAD_BODY_LENGTH) == (lengths == 1 && head->body_bytes > 0));
}

static void
check_accepted(struct weir_str text, const struct head *head, const struct http_limits *limits)
{
    struct weir_str line;
    FUZZ_CHECK(text.len <= limits->head_bytes + 2);
    do {
        FUZZ_CHECK(next_line(&text, &line));
    } while (line.len == 0);
    FUZZ_CHECK(line.len <= limits->request_line_bytes);
    check_request_line(line, head);
    uint32_t fields = 0;
    for (;;) {
        FUZZ_CHECK(next_line(&text, &line) && line.len <= limits->field_bytes);
        if (line.len == 0) {
            break;
        }
        check_field(line, head, fields++);
    }
    FUZZ_CHECK(text.len == 0);
    FUZZ_CHECK(fields == head->field_count && fields <= limits->fields);
    check_framing(head);
}

/* ---- the target -------------------------------------------------------------------------- */

/* Reads `text`, the first `cut` bytes apart and then in pieces of `step`. */
static struct outcome
read_head(struct weir_str text, const struct http_limits *limits, size_t cut, size_t step,
        bool check)
{
    struct arena arena;
    struct head head;
    struct head_reader reader;
    struct outcome outcome = { .progress = HEAD_MORE };
    arena_init(&arena, NULL, 0, 8 << 20);
    head_reader_init(&reader, limits, &arena, &head);
    for (size_t at = 0; at < text.len && outcome.progress == HEAD_MORE;) {
        size_t len = at == 0 && cut > 0 ? cut : step;
        len = len < text.len - at ? len : text.len - at;
        /* A block of its own, so that a sanitizer sees what is kept of it. */
        char *piece = fuzz_buffer(len);
        memcpy(piece, text.ptr + at, len);
        size_t taken;
        outcome.progress = head_reader_feed(&reader, weir_str_make(piece, len), &taken,
                &outcome.refusal);
        free(piece);
        FUZZ_CHECK(taken <= len && (outcome.progress != HEAD_MORE || taken == len));
        outcome.taken += outcome.progress == HEAD_REFUSED ? 0 : taken;
        at += len;
    }
    if (outcome.progress == HEAD_DONE) {
        FUZZ_CHECK(outcome.refusal == HEAD_ACCEPTED);
        snprintf(outcome.fingerprint, sizeof(outcome.fingerprint), "%u %u %u %u %llu %d%d%d",
                head.target_len, head.field_count, head.minor, (unsigned)head.body,
                (unsigned long long)head.body_bytes, head.keep_alive, head.expects_continue,
                head.wants_trailers);
        if (check) {
            check_accepted(weir_str_make(text.ptr, outcome.taken), &head, limits);
        }
    }
    FUZZ_CHECK((outcome.progress == HEAD_REFUSED) == (outcome.refusal != HEAD_ACCEPTED));
    arena_reset(&arena);
    return outcome;
}

static void
compare(const struct outcome *a, const struct outcome *b)
{
    FUZZ_CHECK(a->progress == b->progress && a->refusal == b->refusal);
    FUZZ_CHECK(a->progress != HEAD_DONE || a->taken == b->taken);
    FUZZ_CHECK(strcmp(a->fingerprint, b->fingerprint) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4) {
        return 0;
    }
    struct http_limits limits = HTTP_LIMITS_PRESET;
    if (data[0] % 2 != 0) { /* small ones, so that they are met */
        limits.request_line_bytes = data[1];
        limits.field_bytes = data[1] / 2;
        limits.fields = data[1] % 16;
        limits.head_bytes = (uint64_t)data[2] * 4;
    }
    struct weir_str text = fuzz_str(data + 4, size - 4);
    struct outcome whole = read_head(text, &limits, 0, SIZE_MAX, true);
    struct outcome bytewise = read_head(text, &limits, 0, 1, false);
    compare(&whole, &bytewise);
    if (text.len > 0) {
        struct outcome cut = read_head(text, &limits, data[3] % text.len, SIZE_MAX, false);
        compare(&whole, &cut);
        cut = read_head(text, &limits, 0, data[3] % 7 + 2, false);
        compare(&whole, &cut);
    }
    return 0;
}
