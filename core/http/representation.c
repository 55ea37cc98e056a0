/* SPDX-License-Identifier: MIT */
#include "http/representation.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

#include "base/assert.h"
#include "http/conditional.h"
#include "http/file_cache.h"
#include "http/range.h"

/* ---- the request's fields ---------------------------------------------------------------- */

/* The value of a list field, its lines joined with commas (RFC 9110 section 5.3); .ptr NULL
 * when absent. Without memory its first line, which at worst sends more than was needed, or
 * refuses what a later line would have allowed. */
static struct weir_str
joined(struct weir_request *request, enum field_id id)
{
    const struct head *head = &request->head;
    struct weir_str first = head_find(head, id);
    if (first.ptr == NULL) {
        return first;
    }
    size_t bytes = 0;
    unsigned lines = 0;
    for (uint32_t i = 0; i < head->field_count; i++) {
        if (head->fields[i].id == id) {
            bytes += head->fields[i].value_len + 2;
            lines++;
        }
    }
    char *text = lines == 1 ? NULL : arena_alloc(&request->arena, bytes);
    if (text == NULL) {
        return first;
    }
    char *at = text;
    for (uint32_t i = 0; i < head->field_count; i++) {
        if (head->fields[i].id == id) {
            struct weir_str value = head_field_value(head, i);
            at += at == text ? 0 : 2;
            if (at != text) {
                memcpy(at - 2, ", ", 2);
            }
            memcpy(at, value.ptr, value.len);
            at += value.len;
        }
    }
    return weir_str_make(text, (size_t)(at - text));
}

/* The value of a field of which there may be one. With several lines nobody knows which one is
 * meant: *is_ambiguous. */
static struct weir_str
single(const struct weir_request *request, enum field_id id, bool *is_ambiguous)
{
    struct weir_str value = head_find(&request->head, id);
    unsigned lines = 0;
    for (uint32_t i = 0; value.ptr != NULL && i < request->head.field_count; i++) {
        lines += request->head.fields[i].id == id;
    }
    *is_ambiguous |= lines > 1;
    return lines > 1 ? weir_str_make(NULL, 0) : value;
}

static bool
has_conditions(const struct weir_request *request)
{
    const uint8_t *first = request->head.first;
    return (first[FIELD_IF_NONE_MATCH] | first[FIELD_IF_MODIFIED_SINCE] | first[FIELD_RANGE] |
                   first[FIELD_IF_MATCH] | first[FIELD_IF_UNMODIFIED_SINCE]) != 0;
}

/* Dates that stand twice are not believed. Two ranges are none; two If-Range fields make the
 * range conditional on something unknown, so that the whole is sent. */
static struct conditional_fields
read_fields(struct weir_request *request)
{
    bool is_ambiguous = false, ignored = false;
    struct conditional_fields fields = {
        .if_match = joined(request, FIELD_IF_MATCH),
        .if_none_match = joined(request, FIELD_IF_NONE_MATCH),
        .if_modified_since = single(request, FIELD_IF_MODIFIED_SINCE, &ignored),
        .if_unmodified_since = single(request, FIELD_IF_UNMODIFIED_SINCE, &ignored),
        .if_range = single(request, FIELD_IF_RANGE, &is_ambiguous),
        .range = single(request, FIELD_RANGE, &is_ambiguous),
    };
    if (is_ambiguous) {
        fields.range = weir_str_make(NULL, 0);
    }
    return fields;
}

/* ---- the reply's fields ------------------------------------------------------------------ */

static struct weir_str
reply_value(const struct weir_request *request, enum field_id id)
{
    const struct reply *reply = &request->reply;
    for (uint32_t i = 0; i < reply->field_count; i++) {
        if (reply->fields[i].id == id) {
            return reply->fields[i].value;
        }
    }
    return weir_str_make(NULL, 0);
}

/* RFC 9110 section 15.4.5: what a 304 says of the representation is what guides caches. */
static bool
is_for_304(enum field_id id, bool has_etag)
{
    switch ((int)id) {
    case FIELD_CONTENT_TYPE:
    case FIELD_CONTENT_ENCODING:
    case FIELD_CONTENT_LANGUAGE:
    case FIELD_CONTENT_RANGE:
    case FIELD_CONTENT_DISPOSITION:
    case FIELD_ACCEPT_RANGES:
        return false;
    case FIELD_LAST_MODIFIED:
        return !has_etag;
    default:
        return true;
    }
}

static void
drop_body(struct weir_request *request)
{
    struct reply *reply = &request->reply;
    reply_drop_body(reply);
    reply->length_bytes = LENGTH_UNKNOWN;
    reply->ended = true;
}

static void
answer_not_modified(struct weir_request *request, bool has_etag)
{
    struct reply *reply = &request->reply;
    drop_body(request);
    reply->status = 304;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < reply->field_count; i++) {
        if (is_for_304(reply->fields[i].id, has_etag)) {
            reply->fields[kept++] = reply->fields[i];
        }
    }
    reply->field_count = kept;
}

/* An error of the core's, that keeps nothing of the representation but what `status` needs. */
static void
answer_error(struct weir_request *request, unsigned status, struct weir_str content_range)
{
    reply_replace(request, status);
    if (content_range.ptr != NULL &&
            weir_reply_add(request, WEIR_STR("Content-Range"), content_range) < 0) {
        reply_replace(request, 503);
    }
}

/* ---- ranges ------------------------------------------------------------------------------ */

/* Appends the bytes of `range` of the body in `from`. Returns 0 or -ENOMEM. */
static int
copy_range(struct slice_queue *from, struct slice_queue *to, const struct byte_range *range)
{
    uint64_t skip = range->first, left = range_bytes(range);
    for (uint32_t i = 0; left > 0; i++) {
        WEIR_ASSERT(i < from->count);
        const struct slice *slice = slice_queue_at(from, i);
        if (skip >= slice->len) {
            skip -= slice->len;
            continue;
        }
        uint64_t len = slice->len - skip < left ? slice->len - skip : left;
        if (slice_queue_push(to, slice_part(slice, skip, len)) < 0) {
            return -ENOMEM;
        }
        left -= len;
        skip = 0;
    }
    return 0;
}

static int
push_text(struct slice_queue *queue, struct weir_str text)
{
    struct slice slice;
    int r = slice_copy(text, &slice);
    return r < 0 ? r : slice_queue_push(queue, slice);
}

#define BOUNDARY_BYTES 32u

/* Nobody who wrote the file knew it. */
static int
make_boundary(char dst[BOUNDARY_BYTES + 1])
{
    uint64_t words[2];
    if (getrandom(words, sizeof(words), GRND_NONBLOCK) != sizeof(words)) {
        return -EAGAIN;
    }
    snprintf(dst, BOUNDARY_BYTES + 1, "%016jx%016jx", (uintmax_t)words[0], (uintmax_t)words[1]);
    return 0;
}

/* RFC 9110 section 14.6. */
static int
build_multipart(struct slice_queue *from, struct slice_queue *to, const struct range_set *set,
        uint64_t size, struct weir_str type, const char *boundary)
{
    int r = 0;
    for (size_t i = 0; i < set->count && r == 0; i++) {
        char range[CONTENT_RANGE_BYTES];
        size_t range_len = content_range_format(range, &set->ranges[i], size);
        char head[512];
        int len = snprintf(head, sizeof(head), "%s--%s\r\n%s%.*s%sContent-Range: %.*s\r\n\r\n",
                i == 0 ? "" : "\r\n", boundary,
                type.len == 0 ? "" : "Content-Type: ", WEIR_STR_ARG(type),
                type.len == 0 ? "" : "\r\n", (int)range_len, range);
        if (len < 0 || (size_t)len >= sizeof(head)) {
            return -EMSGSIZE; /* a type as long as that is nobody's */
        }
        r = push_text(to, weir_str_make(head, (size_t)len));
        if (r == 0) {
            r = copy_range(from, to, &set->ranges[i]);
        }
    }
    char end[BOUNDARY_BYTES + 16];
    int len = snprintf(end, sizeof(end), "\r\n--%s--\r\n", boundary);
    return r < 0 ? r : push_text(to, weir_str_make(end, (size_t)len));
}

static int
set_partial_fields(struct weir_request *request, const struct range_set *set, uint64_t size,
        const char *boundary)
{
    if (set->count == 1) {
        char text[CONTENT_RANGE_BYTES];
        size_t len = content_range_format(text, &set->ranges[0], size);
        return weir_reply_set(request, WEIR_STR("Content-Range"), weir_str_make(text, len));
    }
    char text[64 + BOUNDARY_BYTES];
    int len = snprintf(text, sizeof(text), "multipart/byteranges; boundary=%s", boundary);
    return weir_reply_set(request, WEIR_STR("Content-Type"), weir_str_make(text, (size_t)len));
}

/* Puts the parts in the body's place. On failure the whole stays, which is an answer too. */
static int
answer_partial(struct weir_request *request, const struct range_set *set, uint64_t size)
{
    struct reply *reply = &request->reply;
    struct slice_queue parts;
    slice_queue_init(&parts);
    char boundary[BOUNDARY_BYTES + 1] = "";
    int r;
    if (set->count == 1) {
        r = copy_range(&reply->queue, &parts, &set->ranges[0]);
    } else {
        r = make_boundary(boundary);
        if (r == 0) {
            r = build_multipart(&reply->queue, &parts, set, size,
                    reply_value(request, FIELD_CONTENT_TYPE), boundary);
        }
    }
    if (r == 0) {
        r = set_partial_fields(request, set, size, boundary);
    }
    if (r < 0) {
        slice_queue_fini(&parts);
        return r;
    }
    slice_queue_fini(&reply->queue);
    reply->queue = parts;
    reply->written_bytes = parts.bytes;
    reply->length_bytes = parts.bytes;
    reply->status = 206;
    return 0;
}

/* True when the answer became an error. */
static bool
settle_range(struct weir_request *request, struct weir_str value)
{
    const struct reply *reply = &request->reply;
    uint64_t size = reply->queue.bytes;
    bool is_whole = reply_is_written(reply) &&
            (reply->length_bytes == LENGTH_UNKNOWN || reply->length_bytes == size);
    if (!is_whole || reply_value(request, FIELD_CONTENT_RANGE).ptr != NULL) {
        return false;
    }
    struct range_set set;
    int r = range_parse(value, size, &set);
    if (r == -ERANGE) {
        char text[CONTENT_RANGE_BYTES];
        size_t len = content_range_format(text, NULL, size);
        answer_error(request, 416, weir_str_make(text, len));
        return true;
    }
    if (r == 0) {
        r = answer_partial(request, &set, size);
    }
    return false; /* malformed, too many, or no memory for parts: the whole is sent */
}

/* ---- doors ------------------------------------------------------------------------------- */

bool
representation_settle(struct weir_request *request, bool is_filtered)
{
    struct reply *reply = &request->reply;
    enum method method = request->head.method;
    bool is_read = method == METHOD_GET || method == METHOD_HEAD;
    if (!reply->is_representation || !is_read || reply->status != 200 || reply->was_invalid ||
            !has_conditions(request)) {
        return false;
    }
    engine_date(request->engine);
    int64_t now_s = request->engine->date.seconds;
    struct conditional_fields fields = read_fields(request);
    struct representation representation = {
        .exists = true,
        .etag = reply_value(request, FIELD_ETAG),
    };
    bool asks_for_time = fields.if_modified_since.ptr != NULL ||
            fields.if_unmodified_since.ptr != NULL || fields.if_range.ptr != NULL;
    struct weir_str modified = asks_for_time ? reply_value(request, FIELD_LAST_MODIFIED)
                                             : weir_str_make(NULL, 0);
    representation.has_last_modified = modified.ptr != NULL &&
            date_parse(modified, now_s, &representation.last_modified_s) == 0;
    struct conditional_result result = conditional_evaluate(method, &fields, &representation,
            now_s);
    switch (result.verdict) {
    case CONDITIONAL_NOT_MODIFIED:
        answer_not_modified(request, representation.etag.len > 0);
        return true;
    case CONDITIONAL_PRECONDITION_FAILED:
        answer_error(request, 412, weir_str_make(NULL, 0));
        return true;
    case CONDITIONAL_PROCEED:
        break;
    }
    return result.range_applies && !is_filtered && settle_range(request, fields.range);
}

int
weir_reply_representation(struct weir_request *request)
{
    if (request->reply.state != REPLY_BEGUN) {
        return request->reply.state == REPLY_NONE ? -EINVAL : -EALREADY;
    }
    request->reply.is_representation = true;
    return 0;
}

/* From disk: what is not in memory, and what goes faster that way and need not be waited for.
 */
static bool
is_sent_from_disk(const struct weir_request *request, const struct weir_file *file)
{
    if (file->fd == -1 || file->body.ptr == NULL) {
        return file->fd != -1;
    }
    bool is_whole = request->head.first[FIELD_RANGE] == 0 &&
            request->head.method != METHOD_HEAD;
    return is_whole && request->engine->files != NULL &&
            file_cache_is_warm(request->engine->files, file, 0, file->identity.size);
}

enum weir_verdict
weir_reply_with_file(struct weir_request *request, unsigned status,
        const struct weir_file *file)
{
    struct reply *reply = &request->reply;
    if (file->kind != WEIR_FILE_REGULAR || weir_reply_begin(request, status) < 0) {
        return WEIR_FAILED;
    }
    _Static_assert(FILE_FIELDS <= REPLY_FIELDS_INLINE, "an answer begun has room for them");
    memcpy(reply->fields, file->fields, sizeof(file->fields));
    reply->field_count = FILE_FIELDS;
    struct hold *hold = (struct hold *)(uintptr_t)&file->hold;
    struct slice slice = is_sent_from_disk(request, file)
            ? slice_of_file(hold, file->fd, 0, file->identity.size)
            : slice_of(hold, file->body);
    if (slice_queue_push(&reply->queue, slice) < 0) {
        return WEIR_FAILED;
    }
    reply->written_bytes = reply->length_bytes = file->identity.size;
    reply->is_representation = status == 200;
    reply->ended = true;
    return WEIR_DONE;
}
