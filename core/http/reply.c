/* SPDX-License-Identifier: MIT */
/* The answer as modules make it: status, fields, body, end. What of it goes on the wire is the
 * transport's business. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <weir/reply.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/num.h"
#include "http/error_body.h"
#include "http/request.h"
#include "http/upgrade.h"

#define FIELDS_MAX   256u
#define TRAILERS_MAX 65536u

static bool
is_changeable(const struct weir_request *request)
{
    return request->reply.state != REPLY_COMMITTED;
}

void
reply_drop_source(struct weir_request *request)
{
    struct reply_source *source = request->reply.source;
    request->reply.source = NULL;
    if (source != NULL) {
        source->drop(source);
    }
}

static void
clear(struct weir_request *request)
{
    struct reply *reply = &request->reply;
    reply_drop_source(request);
    reply_drop_body(reply);
    reply->state = REPLY_NONE;
    reply->is_head_due = false;
    reply->field_count = 0;
    reply->ended = reply->close = reply->is_broken = reply->was_invalid = false;
    reply->is_representation = reply->hides_length = reply->is_own = reply->was_own = false;
    reply->hides_date = reply->hides_server = false;
    reply->length_bytes = LENGTH_UNKNOWN;
    reply->written_bytes = 0;
    reply->trailers = reply->switched_to = weir_str_make(NULL, 0);
}

static void
begin(struct weir_request *request, unsigned status)
{
    clear(request);
    request->reply.state = REPLY_BEGUN;
    request->reply.status = (uint16_t)status;
    request->reply.beginnings++;
}

int
weir_reply_begin(struct weir_request *request, unsigned status)
{
    if (!is_changeable(request)) {
        return -EALREADY;
    }
    if (status < 200 || status > 599) {
        return -EINVAL;
    }
    begin(request, status);
    return 0;
}

int
reply_begin_switch(struct weir_request *request, struct weir_str protocol)
{
    if (!is_changeable(request)) {
        return -EALREADY;
    }
    if (!upgrade_is_offered(request, protocol)) {
        return -ENOTSUP;
    }
    struct weir_str copy = arena_copy(&request->arena, protocol);
    if (copy.ptr == NULL) {
        return -ENOMEM;
    }
    begin(request, 101);
    request->reply.switched_to = copy;
    request->reply.is_head_due = true; /* the client waits for it before it says more */
    return 0;
}

unsigned
weir_reply_status(const struct weir_request *request)
{
    return request->reply.state == REPLY_NONE ? 0 : request->reply.status;
}

static struct reply_field *
new_field(struct weir_request *request)
{
    struct reply *reply = &request->reply;
    if (reply->field_count == reply->field_capacity) {
        uint32_t capacity = reply->field_capacity * 2;
        struct reply_field *fields = capacity > FIELDS_MAX
                ? NULL
                : arena_alloc(&request->arena, capacity * sizeof(*fields));
        if (fields == NULL) {
            return NULL;
        }
        memcpy(fields, reply->fields, reply->field_count * sizeof(*fields));
        reply->fields = fields;
        reply->field_capacity = capacity;
    }
    return &reply->fields[reply->field_count];
}

static int
refuse_field(struct weir_request *request)
{
    request->reply.was_invalid = true;
    return -EINVAL;
}

/* Fields that the core owns. Returns 1 when the field was dealt with, 0 when it is an ordinary
 * one, or a negative errno. */
static int
take_over(struct weir_request *request, enum field_id id, struct weir_str value)
{
    if (id == FIELD_CONTENT_LENGTH) {
        uint64_t bytes;
        if (num_parse_u64(value, LENGTH_UNKNOWN - 1, &bytes) < 0) {
            return refuse_field(request);
        }
        request->reply.length_bytes = bytes;
        return 1;
    }
    bool is_close = id == FIELD_CONNECTION && weir_str_list_has(value, WEIR_STR("close"));
    bool is_hop = (field_flags(id) & FIELD_HOP) != 0;
    request->reply.close |= is_close;
    request->reply.had_hop |= is_hop && !is_close;
    return is_hop ? 1 : 0;
}

int
weir_reply_add(struct weir_request *request, struct weir_str name, struct weir_str value)
{
    struct reply *reply = &request->reply;
    if (reply->state != REPLY_BEGUN) {
        return reply->state == REPLY_NONE ? -EINVAL : -EALREADY;
    }
    value = weir_str_trim(value);
    if (!field_name_is_valid(name) || !field_value_is_valid(value)) {
        return refuse_field(request);
    }
    enum field_id id = field_id_find(name);
    int r = id == FIELD_OTHER ? 0 : take_over(request, id, value);
    if (r != 0) {
        return r < 0 ? r : 0;
    }
    struct reply_field *field = new_field(request);
    if (field == NULL) {
        return -ENOMEM;
    }
    field->id = id;
    field->name = id == FIELD_OTHER ? arena_copy(&request->arena, name) : field_name(id);
    field->value = arena_copy(&request->arena, value);
    if (field->name.ptr == NULL || field->value.ptr == NULL) {
        return -ENOMEM;
    }
    reply->field_count++;
    return 0;
}

static bool
is_named(const struct reply_field *field, enum field_id id, struct weir_str name)
{
    return id == FIELD_OTHER ? field->id == id && weir_str_eq_icase(field->name, name)
                             : field->id == id;
}

int
weir_reply_remove(struct weir_request *request, struct weir_str name)
{
    struct reply *reply = &request->reply;
    if (!is_changeable(request)) {
        return -EALREADY;
    }
    enum field_id id = field_id_find(name);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < reply->field_count; i++) {
        if (!is_named(&reply->fields[i], id, name)) {
            reply->fields[kept++] = reply->fields[i];
        }
    }
    int removed = (int)(reply->field_count - kept);
    reply->field_count = kept;
    if (id == FIELD_CONTENT_LENGTH && reply->length_bytes != LENGTH_UNKNOWN) {
        reply->length_bytes = LENGTH_UNKNOWN;
        removed++;
    }
    reply->hides_date |= id == FIELD_DATE;
    reply->hides_server |= id == FIELD_SERVER;
    return removed;
}

int
weir_reply_set(struct weir_request *request, struct weir_str name, struct weir_str value)
{
    int r = weir_reply_remove(request, name);
    return r < 0 ? r : weir_reply_add(request, name, value);
}

struct weir_str
weir_reply_field(const struct weir_request *request, struct weir_str name)
{
    const struct reply *reply = &request->reply;
    enum field_id id = field_id_find(name);
    for (uint32_t i = 0; i < reply->field_count; i++) {
        if (is_named(&reply->fields[i], id, name)) {
            return reply->fields[i].value;
        }
    }
    return weir_str_make(NULL, 0);
}

bool
weir_reply_field_at(const struct weir_request *request, uint32_t i, struct weir_str *name,
        struct weir_str *value)
{
    const struct reply *reply = &request->reply;
    if (reply->state == REPLY_NONE || i >= reply->field_count) {
        return false;
    }
    *name = reply->fields[i].name;
    *value = reply->fields[i].value;
    return true;
}

int
weir_reply_length(struct weir_request *request, uint64_t bytes)
{
    struct reply *reply = &request->reply;
    if (reply->state != REPLY_BEGUN) {
        return reply->state == REPLY_NONE ? -EINVAL : -EALREADY;
    }
    if (bytes == LENGTH_UNKNOWN) {
        return -EINVAL;
    }
    reply->length_bytes = bytes;
    return 0;
}

/* Whether body bytes may be added now. */
static int
check_writable(const struct weir_request *request)
{
    const struct reply *reply = &request->reply;
    if (reply->state == REPLY_NONE || reply->ended) {
        return -EINVAL;
    }
    return request->is_gone || reply->is_broken ? -EPIPE : 0;
}

ssize_t
weir_reply_write(struct weir_request *request, struct weir_str bytes)
{
    int r = check_writable(request);
    if (r < 0) {
        return r;
    }
    if (bytes.len == 0) {
        return 0;
    }
    uint64_t room = reply_room(request);
    if (room == 0) {
        return -EAGAIN;
    }
    bytes.len = bytes.len < room ? bytes.len : (size_t)room;
    r = reply_append(request, bytes);
    return r < 0 ? r : (ssize_t)bytes.len;
}

int
weir_reply_static(struct weir_request *request, struct weir_str bytes)
{
    int r = check_writable(request);
    return r < 0 ? r : reply_push(request, slice_static(bytes));
}

/* A descriptor that closes itself with its last slice. */
struct file_hold {
    struct hold hold;
    int fd;
};

static void
close_file(struct hold *hold)
{
    struct file_hold *file = (struct file_hold *)hold;
    close(file->fd);
    free(file);
}

int
weir_reply_file(struct weir_request *request, int fd, uint64_t offset, uint64_t len)
{
    int r = check_writable(request);
    struct file_hold *file = r < 0 ? NULL : malloc(sizeof(*file));
    if (file == NULL) {
        close(fd);
        return r < 0 ? r : -ENOMEM;
    }
    hold_init(&file->hold, close_file);
    file->fd = fd;
    r = reply_push(request, slice_of_file(&file->hold, fd, offset, len));
    hold_unref(&file->hold);
    return r;
}

int
weir_reply_trailer(struct weir_request *request, struct weir_str name, struct weir_str value)
{
    struct reply *reply = &request->reply;
    value = weir_str_trim(value);
    if (reply->state == REPLY_NONE || reply->ended || !field_name_is_valid(name) ||
            !field_value_is_valid(value) || !field_may_be_trailer(field_id_find(name))) {
        return -EINVAL;
    }
    size_t len = name.len + value.len + 4;
    if (reply->trailers.len + len > TRAILERS_MAX) {
        return -ENOBUFS;
    }
    char *lines = arena_alloc(&request->arena, reply->trailers.len + len);
    if (lines == NULL) {
        return -ENOMEM;
    }
    char *at = lines;
    if (reply->trailers.len > 0) {
        memcpy(at, reply->trailers.ptr, reply->trailers.len);
        at += reply->trailers.len;
    }
    memcpy(at, name.ptr, name.len);
    at += name.len;
    *at++ = ':';
    *at++ = ' ';
    if (value.len > 0) {
        memcpy(at, value.ptr, value.len);
        at += value.len;
    }
    memcpy(at, "\r\n", 2);
    reply->trailers = weir_str_make(lines, reply->trailers.len + len);
    return 0;
}

int
weir_reply_end(struct weir_request *request)
{
    struct reply *reply = &request->reply;
    if (reply->state == REPLY_NONE) {
        return -EINVAL;
    }
    reply->ended = true;
    reply_drop_source(request);
    return 0;
}

void
reply_settle(struct weir_request *request)
{
    if (request->reply.source == NULL) {
        weir_reply_end(request);
    }
}

bool
reply_fill(struct weir_request *request)
{
    struct reply *reply = &request->reply;
    return reply->source != NULL && !reply->is_broken && reply_room(request) > 0 &&
            reply->source->fill(reply->source, request);
}

int
weir_reply_hint(struct weir_request *request, struct weir_str link)
{
    if (!is_changeable(request) || request->transport == NULL) {
        return -EALREADY;
    }
    if (request->head.version == 10) {
        return -ENOTSUP;
    }
    link = weir_str_trim(link);
    if (link.len == 0 || !field_value_is_valid(link)) {
        return -EINVAL;
    }
    struct buf line;
    buf_init(&line, 65536);
    int r = buf_printf(&line, "Link: %.*s\r\n", WEIR_STR_ARG(link));
    if (r == 0) {
        r = request->transport->interim(request, 103, buf_str(&line));
    }
    buf_fini(&line);
    return r;
}

enum weir_verdict
weir_reply_text(struct weir_request *request, unsigned status, struct weir_str type,
        struct weir_str text)
{
    struct slice slice;
    if (weir_reply_begin(request, status) < 0) {
        return WEIR_FAILED;
    }
    if ((type.len > 0 && weir_reply_add(request, WEIR_STR("Content-Type"), type) < 0) ||
            slice_copy(text, &slice) < 0 || reply_push(request, slice) < 0 ||
            weir_reply_end(request) < 0) {
        clear(request);
        return WEIR_FAILED;
    }
    return WEIR_DONE;
}

/* Never fails for want of memory: the answer then goes out without a body. */
static void
write_error_body(struct weir_request *request, unsigned status)
{
    struct slice slice;
    struct weir_str type;
    struct reply_field *field = new_field(request);
    if (field == NULL || error_body_make(request, status, &type, &slice) < 0) {
        return;
    }
    *field = (struct reply_field){ field_name(FIELD_CONTENT_TYPE), type, FIELD_CONTENT_TYPE };
    request->reply.field_count++;
    int ignored = reply_push(request, slice);
    (void)ignored;
}

bool
reply_replace(struct weir_request *request, unsigned status)
{
    if (request->reply.head_left) {
        return false;
    }
    request->reply.state = REPLY_NONE;
    if (weir_reply_begin(request, status) < 0) {
        return false;
    }
    write_error_body(request, status);
    request->reply.ended = request->reply.is_own = request->reply.was_own = true;
    return true;
}

bool
weir_reply_is_own(const struct weir_request *request)
{
    return request->reply.is_own;
}

int
weir_reply_replace_body(struct weir_request *request, struct weir_str type,
        struct weir_str text)
{
    /* What RFC 9110 section 8 calls representation metadata, and what goes with it. */
    static const struct weir_str describing[] = {
        WEIR_STR_INIT("Content-Encoding"),
        WEIR_STR_INIT("Content-Language"),
        WEIR_STR_INIT("Content-Disposition"),
        WEIR_STR_INIT("ETag"),
        WEIR_STR_INIT("Last-Modified"),
        WEIR_STR_INIT("Accept-Ranges"),
    };
    struct reply *reply = &request->reply;
    if (reply->state != REPLY_BEGUN || reply_is_switch(reply)) {
        return reply->state == REPLY_COMMITTED ? -EALREADY : -EINVAL;
    }
    struct slice slice;
    int r = text.len == 0 ? 0 : slice_copy(text, &slice);
    if (r < 0) {
        return r;
    }
    for (size_t i = 0; i < sizeof(describing) / sizeof(describing[0]); i++) {
        weir_reply_remove(request, describing[i]);
    }
    reply_drop_source(request);
    reply_drop_body(reply);
    reply->ended = reply->is_broken = reply->is_representation = reply->is_own = false;
    reply->length_bytes = LENGTH_UNKNOWN;
    reply->written_bytes = 0;
    reply->trailers = weir_str_make(NULL, 0);
    r = text.len == 0 ? 0 : reply_push(request, slice);
    if (r == 0) {
        r = weir_reply_set(request, WEIR_STR("Content-Type"), type);
    }
    reply->ended = true;
    return r;
}

enum weir_verdict
weir_reply_error(struct weir_request *request, unsigned status)
{
    bool can_answer = status >= 200 && status <= 599 && is_changeable(request);
    return can_answer && reply_replace(request, status) ? WEIR_DONE : WEIR_FAILED;
}

bool
reply_is_bodiless(const struct weir_request *request)
{
    unsigned status = request->reply.status;
    return request_sent_method(request) == METHOD_HEAD || status == 204 || status == 304 ||
            status == 205; /* RFC 9110 section 15.3.6 */
}

void
reply_commit(struct weir_request *request)
{
    struct reply *reply = &request->reply;
    WEIR_ASSERT(reply->state == REPLY_BEGUN && !reply->was_invalid);
    reply->state = REPLY_COMMITTED;
}

uint64_t
reply_known_length(const struct weir_request *request)
{
    const struct reply *reply = &request->reply;
    if (reply->length_bytes != LENGTH_UNKNOWN) {
        return reply->length_bytes;
    }
    if (reply->hides_length) {
        return LENGTH_UNKNOWN;
    }
    if (reply->wire == &reply->queue) {
        return reply->ended ? reply->queue.bytes + reply_bytes_behind(reply) : LENGTH_UNKNOWN;
    }
    return reply->wire_ended ? reply->wire->bytes : LENGTH_UNKNOWN;
}
