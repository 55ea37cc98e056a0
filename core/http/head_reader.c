/* SPDX-License-Identifier: MIT */
/* The head, line by line.
 *
 *     bytes -> copy -> complete lines -> limits, folding, empty names   (check_line)
 *                                     -> request line                   (read_request_line)
 *                                     -> llhttp, strict                 (parser_feed)
 *           -> empty line -> what the fields mean for framing           (head_judge)
 *
 * Lines are judged in order, each by its length first and its grammar second, and an incomplete
 * last line only by its length and, for the request line, by the bytes of its method. So a head
 * that arrives byte by byte is refused for the same reason as one that arrives whole. */
#include "http/head_reader.h"

#include "base/assert.h"

#define FIRST_CAPACITY_BYTES 1024u
#define FIRST_FIELDS         24u
#define FIRST_MAX            254u

/* Whatever the configuration says: both fit into a request's arena, twice over. */
#define HEAD_MAX_BYTES  (1u << 20)
#define HEAD_MAX_FIELDS 16384u

static int
on_field(void *context, uint32_t name_at, uint32_t name_len, uint32_t value_at,
        uint32_t value_len)
{
    struct head_reader *reader = context;
    struct head *head = reader->head;
    if (head->field_count == reader->field_capacity) {
        uint32_t capacity = reader->field_capacity == 0 ? FIRST_FIELDS
                                                        : reader->field_capacity * 2;
        struct head_field *fields = arena_alloc(reader->arena, capacity * sizeof(*fields));
        if (fields == NULL) {
            reader->is_out_of_memory = true;
            return -1;
        }
        if (head->field_count > 0) {
            memcpy(fields, head->fields, head->field_count * sizeof(*fields));
        }
        head->fields = fields;
        reader->field_capacity = capacity;
    }
    struct weir_str value = weir_str_trim(weir_str_make(reader->bytes + value_at, value_len));
    enum field_id id = field_id_find(weir_str_make(reader->bytes + name_at, name_len));
    head->fields[head->field_count] = (struct head_field){
        .name_at = name_at,
        .name_len = name_len,
        .value_at = value.len == 0 ? value_at : (uint32_t)(value.ptr - reader->bytes),
        .value_len = (uint32_t)value.len,
        .id = id,
    };
    if (head->first[id] == 0) {
        head->first[id] =
                (uint8_t)((head->field_count < FIRST_MAX ? head->field_count : FIRST_MAX) + 1);
    }
    head->field_count++;
    return 0;
}

void
head_reader_init(struct head_reader *reader, const struct http_limits *limits,
        struct arena *arena, struct head *head)
{
    memset(head, 0, sizeof(*head));
    head->version = 10; /* until told otherwise: what is refused early is answered so */
    memset(reader, 0, offsetof(struct head_reader, parser));
    reader->limits = limits;
    reader->arena = arena;
    reader->head = head;
    parser_init(&reader->parser, PARSER_REQUEST);
    reader->parser.on_field = on_field;
    reader->parser.context = reader;
}

uint32_t
head_max_bytes(const struct http_limits *limits)
{
    return limits->head_bytes < HEAD_MAX_BYTES ? (uint32_t)limits->head_bytes : HEAD_MAX_BYTES;
}

uint32_t
head_max_fields(const struct http_limits *limits)
{
    return limits->fields < HEAD_MAX_FIELDS ? (uint32_t)limits->fields : HEAD_MAX_FIELDS;
}

/* Bytes that are ever kept: enough to see that the limit is broken. */
static uint32_t
kept_max_bytes(const struct head_reader *reader)
{
    return head_max_bytes(reader->limits) + 1;
}

/* Appends, growing within the arena; what was there before stays as waste of at most its own
 * size. */
static bool
keep(struct head_reader *reader, struct weir_str input)
{
    if (input.len > reader->capacity - reader->len) {
        size_t capacity = reader->capacity == 0 ? FIRST_CAPACITY_BYTES : reader->capacity;
        while (capacity - reader->len < input.len) {
            capacity *= 2;
        }
        size_t most = kept_max_bytes(reader);
        capacity = capacity < most ? capacity : most;
        char *bytes = arena_alloc(reader->arena, capacity);
        if (bytes == NULL) {
            return false;
        }
        if (reader->len > 0) {
            memcpy(bytes, reader->bytes, reader->len);
        }
        reader->bytes = bytes;
        reader->capacity = (uint32_t)capacity;
        reader->head->bytes = bytes;
    }
    memcpy(reader->bytes + reader->len, input.ptr, input.len);
    reader->len += (uint32_t)input.len;
    return true;
}

/* By length alone, `len` bytes of the line being there so far, its CRLF not counted; it counts
 * for the whole head, whose limit all bytes are held against, up to the last LF. */
static enum head_refusal
check_length(const struct head_reader *reader, uint64_t len)
{
    const struct http_limits *limits = reader->limits;
    bool fits = reader->line_at + len + strlen("\r\n") <= head_max_bytes(limits);
    if (!reader->has_request_line) {
        /* Empty lines before the request count too, so that they end (RFC 9112 2.2). */
        return fits && len <= limits->request_line_bytes ? HEAD_ACCEPTED
                                                         : HEAD_REQUEST_LINE_TOO_LONG;
    }
    if (len > limits->field_bytes) {
        return HEAD_FIELD_TOO_LONG;
    }
    return fits ? HEAD_ACCEPTED : HEAD_HEAD_TOO_LONG;
}

/* The first line as far as it has come, by its method and its length: whichever breaks first as
 * bytes come one by one. What no method holds is refused at once, so that a TLS handshake sent
 * here is answered before its sender waits. */
static enum head_refusal
check_start(struct head_reader *reader, const char *line, size_t len)
{
    size_t i = reader->token_len;
    while (i < len && line[i] != ' ' && field_is_token_byte(line[i])) {
        i++;
    }
    reader->token_len = (uint32_t)i; /* looked at once */
    bool is_bad = i < len && line[i] != ' ' && !(i == 0 && line[i] == '\r' && len == 1);
    if (is_bad) {
        enum head_refusal refusal = check_length(reader, line[i] == '\r' ? i : i + 1);
        return refusal == HEAD_ACCEPTED ? HEAD_BAD_METHOD : refusal;
    }
    bool has_cr = len > 0 && line[len - 1] == '\r';
    return check_length(reader, has_cr ? len - 1 : len);
}

/* method SP target SP HTTP/1.x, exactly (RFC 9112 section 3). */
static enum head_refusal
read_request_line(struct head_reader *reader, const char *line, size_t len)
{
    struct head *head = reader->head;
    const char *target = memchr(line, ' ', len);
    if (target == NULL || target == line) {
        return HEAD_BAD_REQUEST_LINE;
    }
    target++;
    size_t left = len - (size_t)(target - line);
    const char *version = memchr(target, ' ', left);
    if (version == NULL || version == target) {
        return HEAD_BAD_REQUEST_LINE; /* HTTP/0.9, or two spaces */
    }
    version++;
    left = len - (size_t)(version - line);
    if (left != 8 || memcmp(version, "HTTP/", 5) != 0 || version[6] != '.' ||
            version[5] < '0' || version[5] > '9' || version[7] < '0' || version[7] > '9') {
        return HEAD_BAD_REQUEST_LINE;
    }
    if (version[5] != '1' || (version[7] != '0' && version[7] != '1')) {
        return HEAD_BAD_VERSION;
    }
    head->method_at = reader->line_at;
    head->method_len = (uint32_t)(target - 1 - line);
    head->target_at = reader->line_at + (uint32_t)(target - line);
    head->target_len = (uint32_t)(version - 1 - target);
    head->minor = (uint8_t)(version[7] - '0');
    head->version = (uint8_t)(10 + head->minor);
    head->method = method_parse(weir_str_make(line, head->method_len));
    return head->method == METHOD_OTHER ? HEAD_UNKNOWN_METHOD : HEAD_ACCEPTED;
}

/* A complete line without its LF. Sets *is_end for the empty line that ends the head. */
static enum head_refusal
check_line(struct head_reader *reader, uint32_t lines_fields, size_t len, bool *is_end)
{
    const char *line = reader->bytes + reader->line_at;
    bool has_cr = len > 0 && line[len - 1] == '\r';
    enum head_refusal refusal = reader->has_request_line
            ? check_length(reader, has_cr ? len - 1 : len)
            : check_start(reader, line, len);
    if (refusal != HEAD_ACCEPTED) {
        return refusal;
    }
    if (!has_cr) {
        return HEAD_BARE_LF;
    }
    len--;
    if (!reader->has_request_line) {
        if (len == 0) {
            return HEAD_ACCEPTED; /* an empty line before the request */
        }
        reader->has_request_line = true;
        return read_request_line(reader, line, len);
    }
    if (len == 0) {
        *is_end = true;
        return HEAD_ACCEPTED;
    }
    if (line[0] == ' ' || line[0] == '\t') {
        return HEAD_FOLDED_LINE;
    }
    if (line[0] == ':') {
        return HEAD_EMPTY_NAME;
    }
    return lines_fields <= head_max_fields(reader->limits) ? HEAD_ACCEPTED
                                                           : HEAD_TOO_MANY_FIELDS;
}

/* Hands the lines before `to` to llhttp. */
static enum head_refusal
feed_parser(struct head_reader *reader, uint32_t to, bool is_end)
{
    if (to == reader->fed) {
        return HEAD_ACCEPTED;
    }
    enum parser_result result = parser_feed(&reader->parser, reader->bytes, reader->fed, to);
    reader->fed = to;
    switch (result) {
    case PARSER_MORE:
        return is_end ? HEAD_BAD_FIELD : HEAD_ACCEPTED;
    case PARSER_DONE:
        return is_end ? HEAD_ACCEPTED : HEAD_BAD_FIELD;
    case PARSER_BAD_METHOD:
        return HEAD_UNKNOWN_METHOD;
    case PARSER_BAD_VERSION:
        return HEAD_BAD_VERSION;
    case PARSER_BAD:
        return reader->head->field_count == 0 && !reader->parser.pending ? HEAD_BAD_REQUEST_LINE
                                                                         : HEAD_BAD_FIELD;
    case PARSER_FAILED:
        return reader->is_out_of_memory ? HEAD_OUT_OF_MEMORY : HEAD_BAD_FIELD;
    }
    return HEAD_BAD_FIELD;
}

enum head_progress
head_reader_feed(struct head_reader *reader, struct weir_str input, size_t *taken,
        enum head_refusal *refusal)
{
    *taken = 0;
    *refusal = HEAD_ACCEPTED;

    uint32_t room = kept_max_bytes(reader) - reader->len;
    struct weir_str kept = weir_str_make(input.ptr,
            input.len < room ? input.len : (size_t)room);
    if (!keep(reader, kept)) {
        *refusal = HEAD_OUT_OF_MEMORY;
        return HEAD_REFUSED;
    }

    bool is_end = false;
    uint32_t fields = reader->head->field_count + (reader->parser.pending ? 1 : 0);
    enum head_refusal line_refusal = HEAD_ACCEPTED;
    while (!is_end && line_refusal == HEAD_ACCEPTED && reader->scanned < reader->len) {
        const char *from = reader->bytes + reader->scanned;
        const char *lf = memchr(from, '\n', reader->len - reader->scanned);
        if (lf == NULL) {
            reader->scanned = reader->len;
            break;
        }
        uint32_t line_end = (uint32_t)(lf - reader->bytes);
        bool was_request_line = !reader->has_request_line;
        fields += was_request_line ? 0 : 1;
        line_refusal = check_line(reader, fields, line_end - reader->line_at, &is_end);
        if (line_refusal == HEAD_ACCEPTED) {
            if (!reader->has_request_line) {
                reader->fed = line_end + 1; /* llhttp need not see empty lines before it */
            }
            reader->line_at = reader->scanned = line_end + 1;
            reader->token_len = 0;
        }
    }

    /* Lines that passed go to llhttp before a later line's refusal counts. */
    *refusal = feed_parser(reader, reader->line_at, is_end);
    if (*refusal == HEAD_ACCEPTED) {
        *refusal = line_refusal;
    }
    if (*refusal == HEAD_ACCEPTED && !is_end) {
        uint32_t partial = reader->len - reader->line_at;
        const char *line = reader->bytes + reader->line_at;
        bool has_cr = partial > 0 && line[partial - 1] == '\r';
        *refusal = reader->has_request_line
                ? check_length(reader, has_cr ? partial - 1 : partial)
                : check_start(reader, line, partial);
    }
    if (*refusal == HEAD_ACCEPTED && is_end) {
        *refusal = head_judge(reader->head);
    }
    if (*refusal != HEAD_ACCEPTED) {
        return HEAD_REFUSED;
    }
    if (is_end) {
        *taken = kept.len - (reader->len - reader->line_at);
        reader->len = reader->line_at;
        return HEAD_DONE;
    }
    WEIR_ASSERT(kept.len == input.len); /* else a limit was broken */
    *taken = input.len;
    return HEAD_MORE;
}

/* ---- part by part ------------------------------------------------------------------------ */

enum head_refusal
head_reader_begin(struct head_reader *reader, uint8_t version, struct weir_str method,
        struct weir_str target)
{
    WEIR_ASSERT(version >= 20 && reader->len == 0);
    struct head *head = reader->head;
    head->version = version;
    head->minor = 1;
    if (target.len > reader->limits->request_line_bytes ||
            method.len > reader->limits->request_line_bytes - target.len) {
        return HEAD_REQUEST_LINE_TOO_LONG;
    }
    if (method.len + target.len > head_max_bytes(reader->limits)) {
        return HEAD_HEAD_TOO_LONG;
    }
    if (field_token_len(method) != method.len || method.len == 0) {
        return HEAD_BAD_METHOD;
    }
    head->method = method_parse(method);
    if (head->method == METHOD_OTHER) {
        return HEAD_UNKNOWN_METHOD;
    }
    if (!keep(reader, method)) {
        return HEAD_OUT_OF_MEMORY;
    }
    head->method_len = (uint32_t)method.len;
    head->target_at = reader->len;
    head->target_len = (uint32_t)target.len;
    return target.len > 0 && !keep(reader, target) ? HEAD_OUT_OF_MEMORY : HEAD_ACCEPTED;
}

/* The limits as they are on the wire of HTTP/1: the colon and the line's end count. */
static enum head_refusal
check_part(const struct head_reader *reader, struct weir_str name, struct weir_str value)
{
    const struct http_limits *limits = reader->limits;
    if (value.len > limits->field_bytes || name.len > limits->field_bytes - value.len) {
        return HEAD_FIELD_TOO_LONG;
    }
    if (name.len + value.len > head_max_bytes(limits) - reader->len) {
        return HEAD_HEAD_TOO_LONG;
    }
    if (reader->head->field_count >= head_max_fields(limits)) {
        return HEAD_TOO_MANY_FIELDS;
    }
    if (name.len == 0) {
        return HEAD_EMPTY_NAME;
    }
    return field_name_is_valid(name) && field_value_is_valid(value) ? HEAD_ACCEPTED
                                                                    : HEAD_BAD_FIELD;
}

enum head_refusal
head_reader_add(struct head_reader *reader, struct weir_str name, struct weir_str value)
{
    value = weir_str_trim(value);
    enum head_refusal refusal = check_part(reader, name, value);
    if (refusal != HEAD_ACCEPTED) {
        return refusal;
    }
    enum field_id id = field_id_find(name);
    bool is_hop = (field_flags(id) & FIELD_HOP) != 0 && id != FIELD_PROXY_AUTHORIZATION;
    if (is_hop && !(id == FIELD_TE && weir_str_eq_icase(value, WEIR_STR("trailers")))) {
        return HEAD_BAD_FIELD;
    }
    uint32_t name_at = reader->len;
    if (!keep(reader, name) || (value.len > 0 && !keep(reader, value)) ||
            on_field(reader, name_at, (uint32_t)name.len, name_at + (uint32_t)name.len,
                    (uint32_t)value.len) != 0) {
        return HEAD_OUT_OF_MEMORY;
    }
    return HEAD_ACCEPTED;
}

enum head_refusal
head_reader_end(struct head_reader *reader, bool has_body)
{
    struct head *head = reader->head;
    enum head_refusal refusal = head_judge(head);
    if (refusal != HEAD_ACCEPTED) {
        return refusal;
    }
    bool has_length = head->first[FIELD_CONTENT_LENGTH] != 0;
    if (has_body && !has_length) {
        head->body = HEAD_BODY_CHUNKED;
    } else if (!has_body && head->body_bytes > 0) {
        return HEAD_BAD_LENGTH;
    }
    return HEAD_ACCEPTED;
}
