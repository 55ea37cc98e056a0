/* SPDX-License-Identifier: MIT */
/*
 *     bytes -> copy -> lines as they end: CR, folding, bounds   (check_line)
 *                      the first of them                        (read_status_line)
 *           -> empty line -> llhttp, strict, all of it at once  (parser_feed)
 *                         -> what the fields mean for framing   (judge)
 */
#include "upstream/answer.h"

#include "base/assert.h"
#include "base/num.h"

#define FIRST_CAPACITY_BYTES 1024u
#define FIRST_FIELDS         16u

const char *
answer_fault_text(enum answer_fault fault)
{
    switch (fault) {
    case ANSWER_GOOD:
        return "good";
#define X(name, text)   \
    case ANSWER_##name: \
        return text;
        ANSWER_FAULTS(X)
#undef X
    }
    return "refused";
}

struct weir_str
answer_field_name(const struct answer_head *head, uint32_t i)
{
    WEIR_ASSERT(i < head->field_count);
    return weir_str_make(head->bytes + head->fields[i].name_at, head->fields[i].name_len);
}

struct weir_str
answer_field_value(const struct answer_head *head, uint32_t i)
{
    WEIR_ASSERT(i < head->field_count);
    return weir_str_make(head->bytes + head->fields[i].value_at, head->fields[i].value_len);
}

bool
answer_field_is_hop(const struct answer_head *head, uint32_t i)
{
    enum field_id id = head->fields[i].id;
    if (id == FIELD_CONTENT_LENGTH || (field_flags(id) & FIELD_HOP) != 0) {
        return true;
    }
    for (uint32_t j = 0; j < head->field_count; j++) {
        if (head->fields[j].id == FIELD_CONNECTION &&
                weir_str_list_has(answer_field_value(head, j), answer_field_name(head, i))) {
            return true;
        }
    }
    return false;
}

/* ---- the head ---------------------------------------------------------------------------- */

static int
on_field(void *context, uint32_t name_at, uint32_t name_len, uint32_t value_at,
        uint32_t value_len)
{
    struct answer_reader *reader = context;
    struct answer_head *head = reader->head;
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
    struct weir_str name = weir_str_make(reader->bytes + name_at, name_len);
    struct weir_str value = weir_str_trim(weir_str_make(reader->bytes + value_at, value_len));
    if (!field_name_is_valid(name) || !field_value_is_valid(value)) {
        return -1;
    }
    head->fields[head->field_count++] = (struct head_field){
        .name_at = name_at,
        .name_len = name_len,
        .value_at = value.len == 0 ? value_at : (uint32_t)(value.ptr - reader->bytes),
        .value_len = (uint32_t)value.len,
        .id = field_id_find(name),
    };
    return 0;
}

void
answer_reader_init(struct answer_reader *reader, struct arena *arena, bool is_to_head,
        struct answer_head *head)
{
    *head = (struct answer_head){ .declared_bytes = UINT64_MAX };
    memset(reader, 0, offsetof(struct answer_reader, parser));
    reader->arena = arena;
    reader->head = head;
    reader->is_to_head = is_to_head;
    parser_init(&reader->parser, PARSER_RESPONSE);
    reader->parser.on_field = on_field;
    reader->parser.context = reader;
}

/* Appends, growing within the arena. */
static bool
keep(struct answer_reader *reader, struct weir_str input)
{
    if (input.len > reader->capacity - reader->len) {
        size_t capacity = reader->capacity == 0 ? FIRST_CAPACITY_BYTES : reader->capacity;
        while (capacity - reader->len < input.len) {
            capacity *= 2;
        }
        char *bytes = arena_alloc(reader->arena, capacity);
        if (bytes == NULL) {
            return false;
        }
        if (reader->len > 0) {
            memcpy(bytes, reader->bytes, reader->len);
        }
        reader->bytes = bytes;
        reader->capacity = (uint32_t)capacity;
    }
    memcpy(reader->bytes + reader->len, input.ptr, input.len);
    reader->len += (uint32_t)input.len;
    return true;
}

/* One whole line without its LF. */
static enum answer_fault
check_line(const char *line, size_t len, bool *is_empty)
{
    if (len == 0 || line[len - 1] != '\r') {
        return ANSWER_BARE_LF;
    }
    *is_empty = len == 1;
    if (line[0] == ' ' || line[0] == '\t') {
        return ANSWER_FOLDED_LINE;
    }
    return line[0] == ':' ? ANSWER_BAD_FIELD : ANSWER_GOOD;
}

/* HTTP/1.x SP status [SP reason]: the blank before a reason that is not there is left out by
 * servers that mean no harm (RFC 9112 section 4). */
static enum answer_fault
read_status_line(struct answer_reader *reader)
{
    const char *line = reader->bytes;
    const char *end = memchr(line, '\r', reader->len);
    size_t len = (size_t)(end - line);
    if (len < 12 || memcmp(line, "HTTP/", 5) != 0 || line[6] != '.' || line[8] != ' ' ||
            (len > 12 && line[12] != ' ')) {
        return ANSWER_BAD_STATUS_LINE;
    }
    uint64_t status;
    if (num_parse_u64(weir_str_make(line + 9, 3), 599, &status) < 0 || status < 100 ||
            !field_value_is_valid(weir_str_make(line + 12, len - 12))) {
        return ANSWER_BAD_STATUS_LINE;
    }
    if (line[5] != '1' || (line[7] != '0' && line[7] != '1')) {
        return ANSWER_BAD_VERSION;
    }
    reader->head->status = (uint16_t)status;
    reader->head->minor = (uint8_t)(line[7] - '0');
    return ANSWER_GOOD;
}

/* The first field of that kind; NULL when there is none, and *count says how many. */
static struct weir_str
find(const struct answer_head *head, enum field_id id, unsigned *count)
{
    struct weir_str value = weir_str_make(NULL, 0);
    *count = 0;
    for (uint32_t i = 0; i < head->field_count; i++) {
        if (head->fields[i].id == id && (*count)++ == 0) {
            value = answer_field_value(head, i);
        }
    }
    return value;
}

static bool
has_token(const struct answer_head *head, enum field_id id, struct weir_str token)
{
    for (uint32_t i = 0; i < head->field_count; i++) {
        if (head->fields[i].id == id && weir_str_list_has(answer_field_value(head, i), token)) {
            return true;
        }
    }
    return false;
}

/* What Transfer-Encoding and Content-Length say, the status left aside. */
static enum answer_fault
judge_framing(struct answer_head *head)
{
    unsigned codings, lengths;
    struct weir_str coding = find(head, FIELD_TRANSFER_ENCODING, &codings);
    struct weir_str length = find(head, FIELD_CONTENT_LENGTH, &lengths);
    if (codings > 0) {
        head->framing = ANSWER_CHUNKED;
        if (head->minor == 0) {
            return ANSWER_ENCODING_IN_1_0;
        }
        if (lengths > 0) {
            return ANSWER_LENGTH_AND_ENCODING;
        }
        return codings == 1 && weir_str_eq_icase(coding, WEIR_STR("chunked"))
                ? ANSWER_GOOD
                : ANSWER_BAD_ENCODING;
    }
    head->framing = ANSWER_UNTIL_CLOSE;
    if (lengths > 1) {
        return ANSWER_SEVERAL_LENGTHS;
    }
    if (lengths == 1) {
        head->framing = ANSWER_LENGTH;
        return num_parse_u64(length, UINT64_MAX - 1, &head->declared_bytes) < 0
                ? ANSWER_BAD_LENGTH
                : ANSWER_GOOD;
    }
    return ANSWER_GOOD;
}

/* Keep-Alive: timeout=N, max=M: what servers say of how long they wait. */
static uint32_t
keep_alive_of(const struct answer_head *head)
{
    unsigned count;
    struct weir_str rest = find(head, FIELD_KEEP_ALIVE, &count), part;
    static const struct weir_str name = WEIR_STR_INIT("timeout=");
    while (count > 0 && weir_str_split(&rest, ',', &part)) {
        uint64_t seconds;
        if (part.len > name.len && weir_str_eq_icase(weir_str_make(part.ptr, name.len), name) &&
                num_parse_u64(weir_str_make(part.ptr + name.len, part.len - name.len),
                        UINT32_MAX, &seconds) == 0) {
            return (uint32_t)seconds;
        }
    }
    return 0;
}

static enum answer_fault
judge(const struct answer_reader *reader)
{
    struct answer_head *head = reader->head;
    enum answer_fault fault = judge_framing(head);
    if (fault != ANSWER_GOOD) {
        return fault;
    }
    bool has_none = head->status < 200 || head->status == 204;
    if (has_none &&
            (head->framing == ANSWER_CHUNKED ||
                    (head->framing == ANSWER_LENGTH && head->declared_bytes > 0))) {
        return ANSWER_UNWANTED_BODY; /* bytes might follow, or not */
    }
    if (has_none || head->status == 304 || reader->is_to_head) {
        head->framing = ANSWER_NO_BODY;
    }
    head->keep_alive = head->framing != ANSWER_UNTIL_CLOSE &&
            !has_token(head, FIELD_CONNECTION, WEIR_STR("close")) &&
            (head->minor == 1 || has_token(head, FIELD_CONNECTION, WEIR_STR("keep-alive")));
    head->keep_alive_s = keep_alive_of(head);
    return ANSWER_GOOD;
}

/* Why llhttp, which judges framing too, has refused fields that it does not name: they are
 * looked for in the lines themselves. */
static enum answer_fault
explain(const struct answer_reader *reader)
{
    struct weir_str rest = weir_str_make(reader->bytes, reader->line_at), line;
    unsigned lengths = 0, codings = 0;
    bool has_bad_length = false, has_bad_coding = false;
    while (weir_str_split(&rest, '\n', &line)) {
        struct weir_str value = line, name;
        uint64_t ignored;
        if (!weir_str_split(&value, ':', &name) || value.ptr == NULL) {
            continue;
        }
        value.len -= value.len > 0 && value.ptr[value.len - 1] == '\r';
        value = weir_str_trim(value);
        if (weir_str_eq_icase(name, WEIR_STR("Content-Length"))) {
            lengths++;
            has_bad_length |= num_parse_u64(value, UINT64_MAX - 1, &ignored) < 0;
        } else if (weir_str_eq_icase(name, WEIR_STR("Transfer-Encoding"))) {
            codings++;
            has_bad_coding |= !weir_str_eq_icase(value, WEIR_STR("chunked"));
        }
    }
    return lengths > 0 && codings > 0       ? ANSWER_LENGTH_AND_ENCODING
            : lengths > 1                   ? ANSWER_SEVERAL_LENGTHS
            : has_bad_length                ? ANSWER_BAD_LENGTH
            : has_bad_coding || codings > 1 ? ANSWER_BAD_ENCODING
                                            : ANSWER_BAD_FIELD;
}

/* All lines have come, and each for itself is well-formed. */
static enum answer_fault
finish(struct answer_reader *reader)
{
    reader->head->bytes = reader->bytes;
    switch (parser_feed(&reader->parser, reader->bytes, 0, reader->line_at)) {
    case PARSER_DONE:
        return judge(reader);
    case PARSER_BAD_VERSION:
        return ANSWER_BAD_VERSION;
    case PARSER_FAILED:
        return reader->is_out_of_memory ? ANSWER_OUT_OF_MEMORY : ANSWER_BAD_FIELD;
    case PARSER_MORE:
    case PARSER_BAD_METHOD:
    case PARSER_BAD:
        break;
    }
    return explain(reader);
}

enum answer_progress
answer_reader_feed(struct answer_reader *reader, struct weir_str *input,
        enum answer_fault *fault)
{
    uint32_t room = ANSWER_HEAD_BYTES_MAX + 1 - reader->len;
    /* No head goes on behind an empty line: what follows one is not copied. */
    const char *empty = memmem(input->ptr, input->len, "\r\n\r\n", 4);
    size_t kept = empty == NULL ? input->len : (size_t)(empty - input->ptr) + 4;
    kept = kept < room ? kept : room;
    if (kept > 0 && !keep(reader, weir_str_make(input->ptr, kept))) {
        *fault = ANSWER_OUT_OF_MEMORY;
        return ANSWER_REFUSED;
    }
    bool is_end = false;
    *fault = ANSWER_GOOD;
    while (*fault == ANSWER_GOOD && !is_end && reader->scanned < reader->len) {
        const char *from = reader->bytes + reader->scanned;
        const char *lf = memchr(from, '\n', reader->len - reader->scanned);
        if (lf == NULL) {
            reader->scanned = reader->len;
            break;
        }
        uint32_t end = (uint32_t)(lf - reader->bytes);
        const char *line = reader->bytes + reader->line_at;
        *fault = check_line(line, end - reader->line_at, &is_end);
        if (*fault == ANSWER_GOOD && reader->lines == 0) {
            *fault = read_status_line(reader); /* at once: what speaks otherwise may wait */
        }
        if (*fault == ANSWER_GOOD &&
                (++reader->lines > ANSWER_FIELDS_MAX + 2 || end >= ANSWER_HEAD_BYTES_MAX)) {
            *fault = ANSWER_HEAD_TOO_LARGE;
        }
        reader->line_at = reader->scanned = end + 1;
    }
    if (*fault == ANSWER_GOOD && is_end) {
        *fault = finish(reader);
    } else if (*fault == ANSWER_GOOD && reader->len > ANSWER_HEAD_BYTES_MAX) {
        *fault = ANSWER_HEAD_TOO_LARGE;
    }
    if (*fault != ANSWER_GOOD) {
        return ANSWER_REFUSED;
    }
    size_t taken = is_end ? kept - (reader->len - reader->line_at) : kept;
    input->ptr += taken;
    input->len -= taken;
    return is_end ? ANSWER_DONE : ANSWER_MORE;
}

/* ---- the body ---------------------------------------------------------------------------- */

void
answer_body_init(struct answer_body *body, const struct answer_head *head)
{
    body->framing = head->framing;
    body->left_bytes = head->framing == ANSWER_LENGTH ? head->declared_bytes : 0;
    body->is_ended = head->framing == ANSWER_NO_BODY ||
            (head->framing == ANSWER_LENGTH && body->left_bytes == 0);
    if (head->framing == ANSWER_CHUNKED) {
        chunked_init(&body->chunked,
                &(struct chunked_limits){
                        .body_bytes = UINT64_MAX,
                        .trailer_line_bytes = ANSWER_HEAD_BYTES_MAX,
                        .trailer_bytes = ANSWER_HEAD_BYTES_MAX,
                        .trailer_fields = ANSWER_FIELDS_MAX,
                });
    }
}

void
answer_body_fini(struct answer_body *body)
{
    if (body->framing == ANSWER_CHUNKED) {
        chunked_fini(&body->chunked);
    }
    body->framing = ANSWER_NO_BODY;
}

static enum answer_body_result
step_chunked(struct answer_body *body, struct weir_str *input, struct weir_str *data,
        enum answer_fault *fault)
{
    switch (chunked_step(&body->chunked, input, data)) {
    case CHUNKED_MORE:
        return ANSWER_BODY_MORE;
    case CHUNKED_DATA:
        return ANSWER_BODY_DATA;
    case CHUNKED_DONE:
        body->is_ended = true;
        return ANSWER_BODY_DONE;
    case CHUNKED_TRAILERS_TOO_LONG:
        *fault = ANSWER_TRAILERS_TOO_LARGE;
        return ANSWER_BODY_REFUSED;
    case CHUNKED_OUT_OF_MEMORY:
        *fault = ANSWER_OUT_OF_MEMORY;
        return ANSWER_BODY_REFUSED;
    case CHUNKED_BAD:
    case CHUNKED_TOO_LONG:
    case CHUNKED_EXTENSIONS_TOO_LONG:
        break;
    }
    *fault = ANSWER_BAD_CHUNK;
    return ANSWER_BODY_REFUSED;
}

enum answer_body_result
answer_body_step(struct answer_body *body, struct weir_str *input, struct weir_str *data,
        enum answer_fault *fault)
{
    if (body->is_ended) {
        return ANSWER_BODY_DONE;
    }
    if (input->len == 0) {
        return ANSWER_BODY_MORE;
    }
    switch (body->framing) {
    case ANSWER_CHUNKED:
        return step_chunked(body, input, data, fault);
    case ANSWER_NO_BODY:
        break;
    case ANSWER_LENGTH:
        *data = *input;
        data->len = data->len < body->left_bytes ? data->len : (size_t)body->left_bytes;
        body->left_bytes -= data->len;
        body->is_ended = body->left_bytes == 0;
        input->ptr += data->len;
        input->len -= data->len;
        return ANSWER_BODY_DATA;
    case ANSWER_UNTIL_CLOSE:
        *data = *input;
        *input = weir_str_make(input->ptr + input->len, 0);
        return ANSWER_BODY_DATA;
    }
    return ANSWER_BODY_DONE;
}

bool
answer_body_ends_so(struct answer_body *body)
{
    body->is_ended |= body->framing == ANSWER_UNTIL_CLOSE;
    return body->is_ended;
}
