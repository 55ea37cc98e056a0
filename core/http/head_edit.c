/* SPDX-License-Identifier: MIT */
/* The first edit moves the head's bytes and fields to memory with room behind them; what edits
 * bring is appended there, and fields name it by offset like those that were sent. */
#include "http/head_edit.h"

#include <errno.h>

/* Room for a few edits without another copy. */
#define SPARE_BYTES  512u
#define SPARE_FIELDS 8u

/* A field's place in head->first, whose type holds no more. */
#define FIRST_MAX 254u

static uint32_t
end_of(uint32_t end, uint32_t at, uint32_t len)
{
    return at + len > end ? at + len : end;
}

/* Bytes of the head as it was read. */
static uint32_t
used_bytes(const struct head *head)
{
    uint32_t end = end_of(0, head->method_at, head->method_len);
    end = end_of(end, head->target_at, head->target_len);
    for (uint32_t i = 0; i < head->field_count; i++) {
        const struct head_field *field = &head->fields[i];
        end = end_of(end, field->name_at, field->name_len);
        end = end_of(end, field->value_at, field->value_len);
    }
    return end;
}

/* Moves the bytes to `capacity` of them. */
static int
move_bytes(struct head *head, struct head_edits *edits, struct arena *arena, uint32_t capacity)
{
    char *bytes = arena_alloc(arena, capacity);
    if (bytes == NULL) {
        return -ENOMEM;
    }
    if (edits->len > 0) {
        memcpy(bytes, head->bytes, edits->len);
    }
    edits->bytes = bytes;
    edits->capacity = capacity;
    head->bytes = bytes;
    return 0;
}

static int
move_fields(struct head *head, struct head_edits *edits, struct arena *arena, uint32_t capacity)
{
    struct head_field *fields = arena_array(arena, capacity, sizeof(*fields));
    if (fields == NULL) {
        return -ENOMEM;
    }
    if (head->field_count > 0) {
        memcpy(fields, head->fields, head->field_count * sizeof(*fields));
    }
    edits->field_capacity = capacity;
    head->fields = fields;
    return 0;
}

/* Makes room for `bytes` and one more field. */
static int
reserve(struct head *head, struct head_edits **edits, struct arena *arena, size_t bytes)
{
    if (*edits == NULL) {
        struct head_edits *first = arena_zalloc(arena, sizeof(*first));
        if (first == NULL) {
            return -ENOMEM;
        }
        first->len = first->sent_bytes = used_bytes(head);
        first->sent_method = head->method;
        *edits = first;
    }
    struct head_edits *e = *edits;
    if (bytes > HEAD_EDITED_BYTES_MAX || e->len > HEAD_EDITED_BYTES_MAX - bytes) {
        return -ENOBUFS;
    }
    uint32_t wanted = e->len + (uint32_t)bytes;
    int r = 0;
    if (e->bytes == NULL || wanted > e->capacity) {
        r = move_bytes(head, e, arena, wanted + (e->bytes == NULL ? SPARE_BYTES : wanted));
    }
    if (r == 0 && head->field_count >= e->field_capacity) {
        r = move_fields(head, e, arena,
                head->field_count +
                        (e->field_capacity == 0 ? SPARE_FIELDS : head->field_count));
    }
    return r;
}

/* There is room. Returns where the text stands. */
static uint32_t
append(struct head_edits *edits, struct weir_str text)
{
    uint32_t at = edits->len;
    if (text.len > 0) {
        memcpy(edits->bytes + at, text.ptr, text.len);
        edits->len += (uint32_t)text.len;
    }
    return at;
}

static void
index_fields(struct head *head)
{
    memset(head->first, 0, sizeof(head->first));
    for (uint32_t i = 0; i < head->field_count; i++) {
        uint8_t *first = &head->first[head->fields[i].id];
        if (*first == 0) {
            *first = (uint8_t)((i < FIRST_MAX ? i : FIRST_MAX) + 1);
        }
    }
}

static bool
is_editable(enum field_id id)
{
    return (field_flags(id) & FIELD_HOP) == 0 && id != FIELD_CONTENT_LENGTH &&
            id != FIELD_HOST && id != FIELD_EXPECT;
}

static bool
is_named(const struct head *head, uint32_t i, enum field_id id, struct weir_str name)
{
    return head->fields[i].id == id &&
            (id != FIELD_OTHER || weir_str_eq_icase(head_field_name(head, i), name));
}

/* Removes fields of that name from index `from` on. */
static int
remove_from(struct head *head, enum field_id id, struct weir_str name, uint32_t from)
{
    uint32_t kept = from;
    for (uint32_t i = from; i < head->field_count; i++) {
        if (!is_named(head, i, id, name)) {
            head->fields[kept++] = head->fields[i];
        }
    }
    int removed = (int)(head->field_count - kept);
    head->field_count = kept;
    return removed;
}

/* At index `at`, which is one behind the last or a field that it replaces. */
static int
put_field(struct head *head, struct head_edits **edits, struct arena *arena, uint32_t at,
        struct weir_str name, struct weir_str value)
{
    value = weir_str_trim(value);
    enum field_id id = field_id_find(name);
    if (!field_name_is_valid(name) || !field_value_is_valid(value) || !is_editable(id)) {
        return -EINVAL;
    }
    if (name.len > HEAD_EDITED_BYTES_MAX || value.len > HEAD_EDITED_BYTES_MAX ||
            at >= HEAD_EDITED_FIELDS_MAX) {
        return -ENOBUFS;
    }
    int r = reserve(head, edits, arena, name.len + value.len);
    if (r < 0) {
        return r;
    }
    head->fields[at] = (struct head_field){
        .name_at = append(*edits, name),
        .name_len = (uint32_t)name.len,
        .value_at = append(*edits, value),
        .value_len = (uint32_t)value.len,
        .id = id,
    };
    head->field_count += at == head->field_count;
    return 0;
}

int
head_edit_add(struct head *head, struct head_edits **edits, struct arena *arena,
        struct weir_str name, struct weir_str value)
{
    int r = put_field(head, edits, arena, head->field_count, name, value);
    if (r == 0) {
        index_fields(head);
    }
    return r;
}

int
head_edit_set(struct head *head, struct head_edits **edits, struct arena *arena,
        struct weir_str name, struct weir_str value)
{
    enum field_id id = field_id_find(name);
    uint32_t at = 0;
    while (at < head->field_count && !is_named(head, at, id, name)) {
        at++;
    }
    int r = put_field(head, edits, arena, at, name, value);
    if (r == 0) {
        (void)remove_from(head, id, name, at + 1);
        index_fields(head);
    }
    return r;
}

int
head_edit_remove(struct head *head, struct head_edits **edits, struct arena *arena,
        struct weir_str name)
{
    enum field_id id = field_id_find(name);
    if (!field_name_is_valid(name) || !is_editable(id)) {
        return -EINVAL;
    }
    int r = reserve(head, edits, arena, 0); /* the fields that were read are not ours to move */
    if (r == 0) {
        r = remove_from(head, id, name, 0);
        index_fields(head);
    }
    return r;
}

int
head_edit_method(struct head *head, struct head_edits **edits, struct arena *arena,
        struct weir_str name)
{
    enum method method = method_parse(name);
    enum method sent = *edits == NULL ? head->method : (*edits)->sent_method;
    if (method == METHOD_OTHER || method == METHOD_CONNECT || sent == METHOD_CONNECT ||
            (method == METHOD_HEAD && sent != METHOD_HEAD)) {
        return -EINVAL;
    }
    int r = reserve(head, edits, arena, name.len);
    if (r < 0) {
        return r;
    }
    head->method_at = append(*edits, name);
    head->method_len = (uint32_t)name.len;
    head->method = method;
    return 0;
}
