/* SPDX-License-Identifier: MIT */
/* Field lines: the first line of input is a name, the rest a value. */
#include "http/field.h"

#include "fuzz/fuzz.h"

static bool
is_control(char c)
{
    return ((unsigned char)c < 0x20 && c != '\t') || c == 0x7f;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct weir_str value = fuzz_str(data, size);
    struct weir_str line = fuzz_take_line(&value);
    char *copy = fuzz_buffer(line.len); /* nothing lies behind it */
    memcpy(copy, line.ptr, line.len);
    struct weir_str name = weir_str_make(copy, line.len);

    enum field_id id = field_id_find(name);
    FUZZ_CHECK((unsigned)id < FIELD_COUNT);
    if (id != FIELD_OTHER) {
        FUZZ_CHECK(weir_str_eq_icase(name, field_name(id)) && field_name_is_valid(name));
    }
    for (unsigned i = FIELD_OTHER + 1; i < FIELD_COUNT; i++) {
        FUZZ_CHECK(!weir_str_eq_icase(name, field_name((enum field_id)i)) || i == id);
    }
    FUZZ_CHECK(field_token_len(name) <= name.len);
    free(copy);

    bool has_control = false;
    for (size_t i = 0; i < value.len; i++) {
        has_control = has_control || is_control(value.ptr[i]);
    }
    FUZZ_CHECK(field_value_is_valid(value) == !has_control);

    struct weir_str rest = value, element;
    const char *end = value.ptr;
    while (field_list_next(&rest, &element)) {
        FUZZ_CHECK(element.len > 0 && element.ptr >= end);
        FUZZ_CHECK(element.ptr[0] != ' ' && element.ptr[element.len - 1] != '\t');
        end = element.ptr + element.len;
        FUZZ_CHECK(end <= value.ptr + value.len);
    }
    return 0;
}
