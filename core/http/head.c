/* SPDX-License-Identifier: MIT */
/* A head that was read: its parts, what its fields mean for framing, and the words for why one
 * is refused. */
#include "http/head.h"

#include "base/assert.h"
#include "base/num.h"

unsigned
head_refusal_status(enum head_refusal refusal)
{
    switch (refusal) {
    case HEAD_ACCEPTED:
        return 0;
#define X(name, status, text) \
    case HEAD_##name:         \
        return status;
        HEAD_REFUSALS(X)
#undef X
    }
    return 400;
}

const char *
head_refusal_text(enum head_refusal refusal)
{
    switch (refusal) {
    case HEAD_ACCEPTED:
        return "accepted";
#define X(name, status, text) \
    case HEAD_##name:         \
        return text;
        HEAD_REFUSALS(X)
#undef X
    }
    return "refused";
}

const char *
head_refusal_name(enum head_refusal refusal)
{
    switch (refusal) {
    case HEAD_ACCEPTED:
        return "accepted";
#define X(name, status, text) \
    case HEAD_##name:         \
        return #name;
        HEAD_REFUSALS(X)
#undef X
    }
    return "refused";
}

/* Nothing has been read of a head that was refused early. */
static struct weir_str
part(const struct head *head, uint32_t at, uint32_t len)
{
    return len == 0 ? weir_str_make("", 0) : weir_str_make(head->bytes + at, len);
}

struct weir_str
head_method(const struct head *head)
{
    return part(head, head->method_at, head->method_len);
}

struct weir_str
head_target(const struct head *head)
{
    return part(head, head->target_at, head->target_len);
}

struct weir_str
head_field_name(const struct head *head, uint32_t i)
{
    WEIR_ASSERT(i < head->field_count);
    return weir_str_make(head->bytes + head->fields[i].name_at, head->fields[i].name_len);
}

struct weir_str
head_field_value(const struct head *head, uint32_t i)
{
    WEIR_ASSERT(i < head->field_count);
    return weir_str_make(head->bytes + head->fields[i].value_at, head->fields[i].value_len);
}

/* Index of the first field of `id`, field_count when there is none. */
static uint32_t
find_index(const struct head *head, enum field_id id)
{
    uint8_t first = head->first[id];
    if (first == 0) {
        return head->field_count;
    }
    uint32_t i = first - 1u;
    while (i < head->field_count && head->fields[i].id != id) {
        i++; /* only when `first` could not say */
    }
    return i;
}

struct weir_str
head_find(const struct head *head, enum field_id id)
{
    uint32_t i = find_index(head, id);
    return i == head->field_count ? weir_str_make(NULL, 0) : head_field_value(head, i);
}

struct weir_str
head_find_cookie(const struct head *head, struct weir_str name)
{
    for (uint32_t i = 0; i < head->field_count; i++) {
        if (head->fields[i].id != FIELD_COOKIE) {
            continue;
        }
        struct weir_str rest = head_field_value(head, i), pair;
        while (weir_str_split(&rest, ';', &pair)) {
            const char *equals = pair.len == 0 ? NULL : memchr(pair.ptr, '=', pair.len);
            size_t len = equals == NULL ? pair.len : (size_t)(equals - pair.ptr);
            if (equals != NULL && weir_str_eq(weir_str_make(pair.ptr, len), name)) {
                return weir_str_make(equals + 1, pair.len - len - 1);
            }
        }
    }
    return weir_str_make("", 0);
}

uint32_t
head_find_named(const struct head *head, struct weir_str name, uint32_t from)
{
    uint32_t i = from;
    while (i < head->field_count && !weir_str_eq_icase(head_field_name(head, i), name)) {
        i++;
    }
    return i < head->field_count ? i : head->field_count;
}

/* ---- what the fields mean ---------------------------------------------------------------- */

/* Transfer-Encoding over all its lines must be exactly "chunked" (RFC 9112 section 6.1). */
static enum head_refusal
judge_encoding(struct head *head)
{
    if (head->minor == 0) {
        return HEAD_ENCODING_IN_1_0;
    }
    if (head->first[FIELD_CONTENT_LENGTH] != 0) {
        return HEAD_LENGTH_AND_ENCODING;
    }
    unsigned codings = 0, chunked = 0;
    for (uint32_t i = 0; i < head->field_count; i++) {
        if (head->fields[i].id != FIELD_TRANSFER_ENCODING) {
            continue;
        }
        struct weir_str rest = head_field_value(head, i), coding;
        while (weir_str_split(&rest, ',', &coding)) {
            if (coding.len == 0) {
                return HEAD_BAD_ENCODING; /* legal in a list, of no honest use here */
            }
            codings++;
            if (weir_str_eq_icase(coding, WEIR_STR("chunked"))) {
                chunked++;
            }
        }
    }
    if (codings == 1 && chunked == 1) {
        head->body = HEAD_BODY_CHUNKED;
        return HEAD_ACCEPTED;
    }
    return chunked > 1 ? HEAD_BAD_ENCODING : HEAD_UNKNOWN_ENCODING;
}

static enum head_refusal
judge_length(struct head *head)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < head->field_count; i++) {
        count += head->fields[i].id == FIELD_CONTENT_LENGTH;
    }
    if (count > 1) {
        return HEAD_SEVERAL_LENGTHS;
    }
    struct weir_str value = head_find(head, FIELD_CONTENT_LENGTH);
    if (num_parse_u64(value, UINT64_MAX, &head->body_bytes) < 0) {
        return HEAD_BAD_LENGTH;
    }
    head->body = head->body_bytes > 0 ? HEAD_BODY_LENGTH : HEAD_BODY_NONE;
    return HEAD_ACCEPTED;
}

static enum head_refusal
judge_host(const struct head *head)
{
    uint32_t first = find_index(head, FIELD_HOST);
    if (first == head->field_count) {
        return head->minor == 0 ? HEAD_ACCEPTED : HEAD_NO_HOST;
    }
    for (uint32_t i = first + 1; i < head->field_count; i++) {
        if (head->fields[i].id == FIELD_HOST) {
            return HEAD_SEVERAL_HOSTS;
        }
    }
    return HEAD_ACCEPTED;
}

/* True when one of the lines of a list-valued field holds `token`. */
static bool
has_token(const struct head *head, enum field_id id, struct weir_str token)
{
    for (uint32_t i = find_index(head, id); i < head->field_count; i++) {
        if (head->fields[i].id == id && weir_str_list_has(head_field_value(head, i), token)) {
            return true;
        }
    }
    return false;
}

static bool
all_expect_continue(const struct head *head)
{
    for (uint32_t i = find_index(head, FIELD_EXPECT); i < head->field_count; i++) {
        if (head->fields[i].id == FIELD_EXPECT &&
                !weir_str_eq_icase(head_field_value(head, i), WEIR_STR("100-continue"))) {
            return false;
        }
    }
    return true;
}

enum head_refusal
head_judge(struct head *head)
{
    enum head_refusal refusal = judge_host(head);
    if (refusal != HEAD_ACCEPTED) {
        return refusal;
    }
    if (head->first[FIELD_TRANSFER_ENCODING] != 0) {
        refusal = judge_encoding(head);
    } else if (head->first[FIELD_CONTENT_LENGTH] != 0) {
        refusal = judge_length(head);
    }
    if (refusal != HEAD_ACCEPTED) {
        return refusal;
    }

    head->keep_alive = head->minor == 1;
    if (head->first[FIELD_CONNECTION] != 0) {
        if (head->minor == 0) {
            head->keep_alive = has_token(head, FIELD_CONNECTION, WEIR_STR("keep-alive"));
        }
        if (has_token(head, FIELD_CONNECTION, WEIR_STR("close"))) {
            head->keep_alive = false;
        }
    }
    head->expects_continue = head->first[FIELD_EXPECT] != 0 && head->minor == 1;
    if (head->expects_continue && !all_expect_continue(head)) {
        return HEAD_BAD_EXPECT;
    }
    head->wants_trailers = head->minor == 1 && head->first[FIELD_TE] != 0 &&
            has_token(head, FIELD_TE, WEIR_STR("trailers"));
    return HEAD_ACCEPTED;
}
