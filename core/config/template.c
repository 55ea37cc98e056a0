/* SPDX-License-Identifier: MIT */
/* `{name}` is a variable, `{{` a brace, a closing brace elsewhere is itself. */
#include "config/template.h"

#include <errno.h>

#include "config/diagnostic.h"

static const struct {
    const char *spelling;
    enum template_time time;
} known[] = {
#define VARIABLE(name, spelling, time) [TEMPLATE_##name] = { (spelling), TEMPLATE_##time },
    TEMPLATE_VARIABLES(VARIABLE)
#undef VARIABLE
};

#define KNOWN (sizeof(known) / sizeof(known[0]))

const char *
template_variable_name(size_t i)
{
    return i + 1 < KNOWN ? known[i + 1].spelling : NULL;
}

enum template_time
template_time_of(enum template_variable variable)
{
    return variable == TEMPLATE_LITERAL || variable == TEMPLATE_EXTRA ? TEMPLATE_RUNNING
                                                                      : known[variable].time;
}

void
template_suggest(struct suggestion *suggestion, const struct template_extras *extras)
{
    for (size_t i = 0; template_variable_name(i) != NULL; i++) {
        suggestion_offer(suggestion, weir_str_from(template_variable_name(i)));
    }
    for (size_t i = 0; extras != NULL && i < extras->count; i++) {
        suggestion_offer(suggestion, extras->items[i].spelling);
    }
}

/* Whether `name` is spelled so, and what its argument is then. */
static bool
is_spelled(struct weir_str name, struct weir_str spelling, struct weir_str *argument)
{
    bool takes_argument = spelling.ptr[spelling.len - 1] == '.';
    if (takes_argument ? !weir_str_starts_with(name, spelling) : !weir_str_eq(name, spelling)) {
        return false;
    }
    *argument = weir_str_make(name.ptr + spelling.len, name.len - spelling.len);
    return true;
}

/* The variable that is spelled so; TEMPLATE_LITERAL: none. */
static void
find_variable(struct weir_str name, const struct template_extras *extras,
        struct template_piece *piece)
{
    *piece = (struct template_piece){ .variable = TEMPLATE_LITERAL };
    for (size_t i = 1; i < KNOWN; i++) {
        if (is_spelled(name, weir_str_from(known[i].spelling), &piece->text)) {
            piece->variable = (enum template_variable)i;
            return;
        }
    }
    for (size_t i = 0; extras != NULL && i < extras->count; i++) {
        if (is_spelled(name, extras->items[i].spelling, &piece->text)) {
            piece->variable = TEMPLATE_EXTRA;
            piece->extra = &extras->items[i];
            return;
        }
    }
}

int
template_variable_parse(struct weir_str name, const struct template_extras *extras,
        struct template_piece *piece, const char **message)
{
    find_variable(name, extras, piece);
    bool has_argument = piece->text.ptr > name.ptr && piece->text.ptr[-1] == '.';
    if (piece->variable == TEMPLATE_LITERAL) {
        *message = "unknown variable";
    } else if (template_time_of(piece->variable) == TEMPLATE_NEVER) {
        *message = "this variable is not in this build";
    } else if (has_argument && piece->text.len == 0) {
        *message = "a name must follow the point";
    } else if ((piece->variable == TEMPLATE_HEADER || piece->variable == TEMPLATE_COOKIE) &&
            !weir_str_is_token(piece->text)) {
        *message = "this is no name of a field";
    } else {
        return 0;
    }
    return -EINVAL;
}

static int
refuse(struct template_mistake *mistake, size_t offset, size_t length, const char *message)
{
    *mistake = (struct template_mistake){ offset, length, message, false, false };
    return -EINVAL;
}

static size_t
most_pieces(struct weir_str text)
{
    size_t braces = 0;
    for (size_t i = 0; i < text.len; i++) {
        braces += text.ptr[i] == '{';
    }
    return 2 * braces + 1;
}

static struct weir_str
lower_copy(struct arena *arena, struct weir_str text)
{
    struct weir_str copy = arena_copy(arena, text);
    for (size_t i = 0; copy.ptr != NULL && i < copy.len; i++) {
        char *c = (char *)(uintptr_t)&copy.ptr[i];
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c | 0x20) : *c;
    }
    return copy;
}

/* The variable at `open`; its closing brace to *close. */
static int
parse_variable(struct arena *arena, struct weir_str text, size_t open,
        enum weir_context context, const struct template_extras *extras,
        struct template_piece *piece, size_t *close, struct template_mistake *mistake)
{
    const char *end = memchr(text.ptr + open, '}', text.len - open);
    if (end == NULL) {
        return refuse(mistake, open, text.len - open, "this brace is not closed");
    }
    *close = (size_t)(end - text.ptr);
    struct weir_str name = weir_str_make(text.ptr + open + 1, *close - open - 1);
    const char *message;
    if (template_variable_parse(name, extras, piece, &message) < 0) {
        int r = refuse(mistake, open + 1, name.len, message);
        mistake->is_unknown_name = piece->variable == TEMPLATE_LITERAL;
        mistake->is_later = template_time_of(piece->variable) == TEMPLATE_NEVER;
        return r;
    }
    if (template_time_of(piece->variable) == TEMPLATE_ENDED && context != WEIR_CONTEXT_LOG) {
        return refuse(mistake, open + 1, name.len,
                "this is known when the request has ended: in lines of logs only");
    }
    piece->text = piece->variable == TEMPLATE_HEADER ? lower_copy(arena, piece->text)
                                                     : arena_copy(arena, piece->text);
    return piece->text.ptr == NULL ? -ENOMEM : 0;
}

/* What can never be part of a field's value (RFC 9110 section 5.5), a target, a path or a line,
 * from `start` to `end`: between two variables. */
static int
check_literal(struct weir_str text, size_t start, size_t end, enum weir_context context,
        struct template_mistake *mistake)
{
    for (size_t i = start; i < end; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        bool is_line = c == '\r' || c == '\n' || c == '\0';
        bool is_control = (c < 0x20 && c != '\t') || c == 0x7f;
        if ((context == WEIR_CONTEXT_HEADER && is_control) ||
                (context == WEIR_CONTEXT_LOG && is_line) ||
                (context == WEIR_CONTEXT_TARGET && (c <= 0x20 || c == 0x7f)) ||
                (context == WEIR_CONTEXT_PATH && c == '\0')) {
            return refuse(mistake, i, 1, "this character cannot stand here");
        }
    }
    return 0;
}

int
template_parse(struct arena *arena, struct weir_str text, enum weir_context context,
        const struct template_extras *extras, const struct weir_template **out,
        struct template_mistake *mistake)
{
    struct weir_template *made = arena_zalloc(arena, sizeof(*made));
    struct template_piece *pieces = arena_array(arena, most_pieces(text), sizeof(*pieces));
    if (made == NULL || pieces == NULL) {
        return -ENOMEM;
    }
    made->raw = arena_copy(arena, text);
    if (made->raw.ptr == NULL) {
        return -ENOMEM;
    }
    text = made->raw; /* literals are parts of the copy */
    made->context = context;
    made->pieces = pieces;
    made->is_literal = true;
    size_t start = 0, i = 0;
    while (i <= text.len) {
        bool is_brace = i < text.len && text.ptr[i] == '{';
        bool is_double = is_brace && i + 1 < text.len && text.ptr[i + 1] == '{';
        if (i < text.len && !is_brace) {
            i++;
            continue;
        }
        /* Up to here, and of two braces the first. */
        size_t end = i + is_double;
        int r = check_literal(text, start, end, context, mistake);
        if (r < 0) {
            return r;
        }
        if (end > start) {
            pieces[made->count++] = (struct template_piece){ TEMPLATE_LITERAL,
                weir_str_make(text.ptr + start, end - start), NULL };
        }
        if (is_brace && !is_double) {
            size_t close = i;
            r = parse_variable(arena, text, i, context, extras, &pieces[made->count++], &close,
                    mistake);
            if (r < 0) {
                return r;
            }
            made->is_literal = false;
            start = i = close + 1;
        } else {
            start = i = end + 1;
        }
    }
    made->is_literal = made->is_literal && made->count <= 1;
    *out = made;
    return 0;
}
