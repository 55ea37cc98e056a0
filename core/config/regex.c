/* SPDX-License-Identifier: MIT */
/* Bytes, not characters: a path need not be UTF-8. Compiled to machine code where the system
 * allows it, else interpreted. */
#include "config/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <errno.h>
#include <pcre2.h>
#include <stdlib.h>

/* Steps of one match; a hostile text against a careless expression ends here. */
#define MATCH_LIMIT   200000
#define HEAP_KIB      1024
#define PATTERN_BYTES 4096

struct weir_regex {
    struct weir_str text;
    pcre2_code *code;              /* owned */
    pcre2_match_context *limits;   /* owned */
    pcre2_general_context *memory; /* owned */
};

static void *
allocate(PCRE2_SIZE bytes, void *context)
{
    (void)context;
    return malloc(bytes);
}

static void
release(void *memory, void *context)
{
    (void)context;
    free(memory);
}

static void
regex_fini(void *object)
{
    struct weir_regex *regex = object;
    pcre2_code_free(regex->code);
    pcre2_match_context_free(regex->limits);
    pcre2_general_context_free(regex->memory);
}

int
regex_compile(struct arena *arena, struct weir_str expression, const struct weir_regex **out,
        struct regex_mistake *mistake)
{
    *mistake = (struct regex_mistake){ .offset = 0 };
    if (expression.len > PATTERN_BYTES) {
        mistake->offset = PATTERN_BYTES;
        memcpy(mistake->message, "too long", sizeof("too long"));
        return -EINVAL;
    }
    struct weir_regex *regex = arena_zalloc(arena, sizeof(*regex));
    if (regex == NULL || arena_defer(arena, regex_fini, regex) < 0) {
        return -ENOMEM;
    }
    regex->text = arena_copy(arena, expression);
    regex->memory = pcre2_general_context_create(allocate, release, NULL);
    if (regex->text.ptr == NULL || regex->memory == NULL) {
        return -ENOMEM;
    }
    regex->limits = pcre2_match_context_create(regex->memory);
    pcre2_compile_context *settings = pcre2_compile_context_create(regex->memory);
    if (regex->limits == NULL || settings == NULL) {
        pcre2_compile_context_free(settings);
        return -ENOMEM;
    }
    pcre2_set_match_limit(regex->limits, MATCH_LIMIT);
    pcre2_set_heap_limit(regex->limits, HEAP_KIB);
    int code = 0;
    PCRE2_SIZE offset = 0;
    regex->code = pcre2_compile((PCRE2_SPTR)expression.ptr, expression.len,
            PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_UTF, &code, &offset, settings);
    pcre2_compile_context_free(settings);
    if (regex->code == NULL) {
        if (code == PCRE2_ERROR_HEAP_FAILED ||
                code == 121 /* "failed to allocate heap memory" */) {
            return -ENOMEM;
        }
        mistake->offset = offset;
        pcre2_get_error_message(code, (PCRE2_UCHAR *)mistake->message,
                sizeof(mistake->message));
        return -EINVAL;
    }
    /* Refused where memory may not be both written and run: then it is interpreted. */
    (void)pcre2_jit_compile(regex->code, PCRE2_JIT_COMPLETE);
    *out = regex;
    return 0;
}

struct weir_str
regex_text(const struct weir_regex *regex)
{
    return regex->text;
}

bool
regex_group_name(const struct weir_regex *regex, size_t nth, struct weir_str *out)
{
    uint32_t names = 0, entry_bytes = 0;
    PCRE2_SPTR entry = NULL;
    pcre2_pattern_info(regex->code, PCRE2_INFO_NAMECOUNT, &names);
    if (nth >= names) {
        return false;
    }
    pcre2_pattern_info(regex->code, PCRE2_INFO_NAMEENTRYSIZE, &entry_bytes);
    pcre2_pattern_info(regex->code, PCRE2_INFO_NAMETABLE, &entry);
    *out = weir_str_from((const char *)entry + nth * entry_bytes + 2);
    return true;
}

static void
collect(const struct weir_regex *regex, struct weir_str text, const PCRE2_SIZE *offsets,
        int groups, struct regex_capture *captures, size_t *count)
{
    uint32_t names = 0, entry_bytes = 0;
    PCRE2_SPTR entry = NULL;
    size_t room = *count;
    *count = 0;
    pcre2_pattern_info(regex->code, PCRE2_INFO_NAMECOUNT, &names);
    if (names == 0) {
        return;
    }
    pcre2_pattern_info(regex->code, PCRE2_INFO_NAMEENTRYSIZE, &entry_bytes);
    pcre2_pattern_info(regex->code, PCRE2_INFO_NAMETABLE, &entry);
    for (uint32_t i = 0; i < names && *count < room; i++, entry += entry_bytes) {
        int group = entry[0] << 8 | entry[1];
        if (group >= groups || offsets[2 * group] == PCRE2_UNSET ||
                offsets[2 * group + 1] < offsets[2 * group]) {
            continue;
        }
        captures[(*count)++] = (struct regex_capture){ .name = weir_str_from(
                                                               (const char *)entry + 2),
            .value = weir_str_make(text.ptr + offsets[2 * group],
                    offsets[2 * group + 1] - offsets[2 * group]) };
    }
}

bool
regex_match(const struct weir_regex *regex, struct weir_str text,
        struct regex_capture *captures, size_t *count)
{
    pcre2_match_data *match = pcre2_match_data_create_from_pattern(regex->code, regex->memory);
    if (match == NULL) {
        return false;
    }
    int groups = pcre2_match(regex->code, (PCRE2_SPTR)(text.len == 0 ? "" : text.ptr), text.len,
            0, 0, match, regex->limits);
    if (groups > 0 && count != NULL) {
        collect(regex, text, pcre2_get_ovector_pointer(match), groups, captures, count);
    }
    pcre2_match_data_free(match);
    return groups > 0;
}

bool
weir_regex_matches(const struct weir_regex *expression, struct weir_str text)
{
    return regex_match(expression, text, NULL, NULL);
}
