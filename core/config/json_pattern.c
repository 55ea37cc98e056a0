/* SPDX-License-Identifier: MIT */
/* A range of numbers is spelled digit by digit: what begins as the lower bound does, what lies
 * strictly between, what begins as the upper bound does. */
#include "config/json_pattern.h"

#include <errno.h>

#include "base/num.h"
#include "config/units.h"

#define PATTERN_MAX_BYTES ((size_t)64 << 10)

#define H "[0-9A-Fa-f]{1,4}"
const char json_pattern_ipv6[] = "(?:"
                                 "(?:" H ":){7}" H "|(?:" H ":){1,7}:|(?:" H ":){1,6}:" H
                                 "|(?:" H ":){1,5}(?::" H "){1,2}"
                                 "|(?:" H ":){1,4}(?::" H "){1,3}"
                                 "|(?:" H ":){1,3}(?::" H "){1,4}"
                                 "|(?:" H ":){1,2}(?::" H "){1,5}"
                                 "|" H ":(?::" H "){1,6}|:(?::" H "){1,7}|::"
                                 "|(?:" H ":){6}" JSON_PATTERN_IPV4 "|::(?:" H
                                 ":){0,5}" JSON_PATTERN_IPV4 "|" H "::(?:" H
                                 ":){0,4}" JSON_PATTERN_IPV4 "|(?:" H ":){2}"
                                 ":(?:" H ":){0,3}" JSON_PATTERN_IPV4 "|(?:" H ":){3}"
                                 ":(?:" H ":){0,2}" JSON_PATTERN_IPV4 "|(?:" H ":){4}"
                                 ":(?:" H ":)?" JSON_PATTERN_IPV4 "|(?:" H ":){5}"
                                 ":" JSON_PATTERN_IPV4 ")";
#undef H

/* An expression while it grows; the first error stays. */
struct expression {
    struct buf text;
    int error;
};

static void
begin(struct expression *expression)
{
    buf_init(&expression->text, PATTERN_MAX_BYTES);
    expression->error = 0;
}

static void
put(struct expression *expression, const char *text)
{
    if (expression->error == 0) {
        expression->error = buf_append(&expression->text, weir_str_from(text));
    }
}

/* One byte of a pattern, escaped where it means something else. */
static void
put_plain(struct expression *expression, struct weir_str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c[3] = { text.ptr[i], '\0', '\0' };
        if (strchr(".*+?^$|()[]{}\\/", c[0]) != NULL) {
            c[1] = c[0];
            c[0] = '\\';
        }
        put(expression, c);
    }
}

static void
finish(struct expression *expression, struct emit *emit)
{
    emit->error = emit->error != 0 ? emit->error : expression->error;
    emit_string(emit, buf_str(&expression->text));
    buf_fini(&expression->text);
}

/* Numbers */

static void
put_digit(struct expression *expression, char low, char high)
{
    char text[6];
    if (low == high) {
        text[0] = low;
        text[1] = '\0';
    } else {
        memcpy(text, "[0-0]", 6);
        text[1] = low;
        text[3] = high;
    }
    put(expression, text);
}

static void
put_any_digits(struct expression *expression, size_t count)
{
    while (count-- > 0) {
        put(expression, "[0-9]");
    }
}

/* Numbers of as many digits as `low` and `high` both have, at least one. */
static void
put_digits(struct expression *expression, const char *low, const char *high, size_t count)
{
    static const char zeros[] = "00000000000000000000", nines[] = "99999999999999999999";
    size_t rest = count - 1;
    if (count == 0) {
        return;
    }
    if (low[0] == high[0]) {
        put_digit(expression, low[0], low[0]);
        put_digits(expression, low + 1, high + 1, rest);
        return;
    }
    bool has_low = memcmp(low + 1, zeros, rest) != 0;
    bool has_high = memcmp(high + 1, nines, rest) != 0;
    char first = (char)(low[0] + has_low), last = (char)(high[0] - has_high);
    bool is_one = !has_low && !has_high;
    put(expression, is_one ? "" : "(?:");
    if (has_low) {
        put_digit(expression, low[0], low[0]);
        put_digits(expression, low + 1, nines, rest);
        put(expression, first <= last || has_high ? "|" : "");
    }
    if (first <= last) {
        put_digit(expression, first, last);
        put_any_digits(expression, rest);
        put(expression, has_high ? "|" : "");
    }
    if (has_high) {
        put_digit(expression, high[0], high[0]);
        put_digits(expression, zeros, high + 1, rest);
    }
    put(expression, is_one ? "" : ")");
}

/* Numbers from `low` to `high`, in a group of their own. */
static void
put_number(struct expression *expression, uint64_t low, uint64_t high)
{
    char low_text[NUM_U64_DIGITS], high_text[NUM_U64_DIGITS];
    size_t low_len = num_format_u64(low_text, low), high_len = num_format_u64(high_text, high);
    put(expression, "(?:");
    for (size_t len = low_len; len <= high_len; len++) {
        char from[NUM_U64_DIGITS] = "1", to[NUM_U64_DIGITS];
        memset(from + 1, '0', sizeof(from) - 1);
        memset(to, '9', sizeof(to));
        put(expression, len > low_len ? "|" : "");
        put_digits(expression, len == low_len ? low_text : from,
                len == high_len ? high_text : to, len);
    }
    put(expression, ")");
}

static void
put_unit(struct expression *expression, const struct units_table *units, size_t i)
{
    const char *name = units->items[i].name;
    if (units != &units_sizes) {
        put(expression, name);
        return;
    }
    char either[] = { '[', name[0], (char)(name[0] & ~0x20), ']', '\0' };
    put(expression, either);
}

static void
put_with_units(struct expression *expression, const struct units_table *units, uint64_t low,
        uint64_t high)
{
    bool is_first = true;
    put(expression, "^0*(?:");
    for (size_t i = 0; i < units->count; i++) {
        uint64_t factor = units->items[i].factor;
        uint64_t first = low / factor + (low % factor != 0), last = high / factor;
        if (first > last) {
            continue;
        }
        put(expression, is_first ? "" : "|");
        put_number(expression, first, last);
        put_unit(expression, units, i);
        is_first = false;
    }
    put(expression, ")$");
}

static void
emit_with_units(struct emit *emit, const struct units_table *units, uint64_t low, uint64_t high)
{
    struct expression expression;
    begin(&expression);
    put_with_units(&expression, units, low, high);
    finish(&expression, emit);
}

void
json_pattern_size(struct emit *emit, uint64_t low, uint64_t high)
{
    emit_with_units(emit, &units_sizes, low, high);
}

void
json_pattern_duration(struct emit *emit, uint64_t low_ns, uint64_t high_ns)
{
    emit_with_units(emit, &units_durations, low_ns, high_ns);
}

void
json_pattern_rate(struct emit *emit)
{
    struct expression expression;
    begin(&expression);
    put(&expression, "^0*(?:");
    put_number(&expression, 1, UINT64_MAX - 1);
    for (size_t i = 0; i < units_sizes.count; i++) {
        put(&expression, "|");
        put_number(&expression, 1, (UINT64_MAX - 1) / units_sizes.items[i].factor);
        put_unit(&expression, &units_sizes, i);
    }
    put(&expression, ")/[smhd]$");
    finish(&expression, emit);
}

void
json_pattern_status(struct emit *emit, unsigned low, unsigned high, bool single)
{
    struct expression expression;
    begin(&expression);
    put(&expression, "^(?:");
    put_number(&expression, low, high);
    unsigned first = (low + 99) / 100, last = (high - 99) / 100;
    if (!single) {
        put(&expression, "|");
        put_number(&expression, low, high);
        put(&expression, "-");
        put_number(&expression, low, high);
    }
    if (!single && first <= last) {
        put(&expression, "|");
        put_digit(&expression, (char)('0' + first), (char)('0' + last));
        put(&expression, "xx");
    }
    put(&expression, ")$");
    finish(&expression, emit);
}

void
json_pattern_network(struct emit *emit)
{
    struct expression expression;
    begin(&expression);
    put(&expression, "^(?:" JSON_PATTERN_IPV4);
    put(&expression, "(?:/(?:0{0,2}[0-9]|0?[12][0-9]|0?3[0-2]))?|");
    put(&expression, json_pattern_ipv6);
    put(&expression, "(?:/(?:0{0,2}[0-9]|0?[0-9][0-9]|1[01][0-9]|12[0-8]))?)$");
    finish(&expression, emit);
}

/* Variables */

/* The argument of one whose spelling ends in a point. */
static const char *
argument_pattern(size_t variable)
{
    return variable == TEMPLATE_HEADER || variable == TEMPLATE_COOKIE ? JSON_PATTERN_TOKEN
                                                                      : "[^}]+";
}

static void
put_spelling(struct expression *expression, struct weir_str spelling, const char *argument)
{
    put_plain(expression, spelling);
    if (spelling.len > 0 && spelling.ptr[spelling.len - 1] == '.') {
        put(expression, argument);
    }
}

/* `has_ended`: also those that are known only then. */
static void
put_variables(struct expression *expression, const struct template_extras *extras,
        bool has_ended)
{
    put(expression, "(?:");
    const char *name;
    bool is_first = true;
    for (size_t i = 0; (name = template_variable_name(i)) != NULL; i++) {
        enum template_time time = template_time_of((enum template_variable)(i + 1));
        if (time == TEMPLATE_NEVER || (time == TEMPLATE_ENDED && !has_ended)) {
            continue;
        }
        put(expression, is_first ? "" : "|");
        put_spelling(expression, weir_str_from(name), argument_pattern(i + 1));
        is_first = false;
    }
    for (size_t i = 0; i < extras->count; i++) {
        put(expression, "|");
        put_spelling(expression, extras->items[i].spelling, "[^}]+");
    }
    put(expression, ")");
}

/* What a literal may not hold, for a class of characters. */
static const char *
refused_in(enum weir_context context)
{
    switch (context) {
    case WEIR_CONTEXT_HEADER:
        return "\\x00-\\x08\\x0a-\\x1f\\x7f";
    case WEIR_CONTEXT_TARGET:
        return "\\x00-\\x20\\x7f";
    case WEIR_CONTEXT_LOG:
        return "\\x00\\r\\n";
    case WEIR_CONTEXT_PATH:
        return "\\x00";
    case WEIR_CONTEXT_TEXT:
    case WEIR_CONTEXT_HTML:
        break;
    }
    return "";
}

void
json_pattern_template(struct emit *emit, enum weir_context context,
        const struct template_extras *extras)
{
    struct expression expression;
    begin(&expression);
    put(&expression, "^(?:[^{");
    put(&expression, refused_in(context));
    put(&expression, "]|\\{\\{|\\{");
    put_variables(&expression, extras, context == WEIR_CONTEXT_LOG);
    put(&expression, "\\})*$|" JSON_PATTERN_EXPANDED);
    finish(&expression, emit);
}

void
json_pattern_variable(struct emit *emit, const struct template_extras *extras)
{
    struct expression expression;
    begin(&expression);
    put(&expression, "^");
    put_variables(&expression, extras, false);
    put(&expression, "$");
    finish(&expression, emit);
}
