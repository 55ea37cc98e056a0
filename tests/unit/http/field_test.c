/* SPDX-License-Identifier: MIT */
#include "http/field.h"

#include <stdio.h>

#include "support/unit.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct {
    const char *name;
    enum field_id id;
    uint8_t slot;
} table[] = {
#define ROW(id, name, slot, flags) { name, FIELD_##id, slot },
    FIELDS(ROW)
#undef ROW
};

/* Tries multipliers until every name has a slot of its own. */
static uint64_t
search_multiplier(void)
{
    uint64_t keys[COUNT(table)], random = UINT64_C(0x9e3779b97f4a7c15);
    for (size_t i = 0; i < COUNT(table); i++) {
        keys[i] = field_key(weir_str_from(table[i].name));
    }
    for (uint64_t tries = 0; tries < UINT64_C(1) << 32; tries++) {
        uint64_t used[4] = { 0, 0, 0, 0 };
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        size_t placed = 0;
        for (; placed < COUNT(table); placed++) {
            uint8_t slot = field_slot(keys[placed], random | 1);
            if ((used[slot / 64] >> (slot % 64) & 1) != 0) {
                break;
            }
            used[slot / 64] |= UINT64_C(1) << (slot % 64);
        }
        if (placed == COUNT(table)) {
            return random | 1;
        }
    }
    ck_abort_msg("no multiplier gives %zu names a slot each", COUNT(table));
}

START_TEST(gives_each_name_the_slot_it_hashes_to)
{
    bool is_right = true;
    for (size_t i = 0; i < COUNT(table); i++) {
        uint64_t key = field_key(weir_str_from(table[i].name));
        is_right &= field_slot(key, FIELD_MULTIPLIER) == table[i].slot;
    }
    if (is_right) {
        return;
    }
    uint64_t multiplier = search_multiplier();
    printf("FIELD_MULTIPLIER UINT64_C(0x%llx)\n", (unsigned long long)multiplier);
    for (size_t i = 0; i < COUNT(table); i++) {
        uint64_t key = field_key(weir_str_from(table[i].name));
        printf("  %-32s 0x%02x\n", table[i].name, (unsigned)field_slot(key, multiplier));
    }
    fflush(stdout);
    ck_abort_msg("FIELDS has a name in a slot that is not its own; above is a table that fits");
}
END_TEST

START_TEST(finds_every_name_in_any_case)
{
    char text[64];
    for (size_t i = 0; i < COUNT(table); i++) {
        struct weir_str name = weir_str_from(table[i].name);
        ck_assert_uint_lt(name.len, sizeof(text));
        ck_assert_int_eq(field_id_find(name), table[i].id);
        ck_assert(weir_str_eq(field_name(table[i].id), name));
        for (size_t j = 0; j < name.len; j++) {
            char c = name.ptr[j];
            text[j] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
        }
        ck_assert_int_eq(field_id_find(weir_str_make(text, name.len)), table[i].id);
        for (size_t j = 0; j < name.len; j++) {
            char c = name.ptr[j];
            text[j] = c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
        }
        ck_assert_int_eq(field_id_find(weir_str_make(text, name.len)), table[i].id);
    }
}
END_TEST

/* Every name with any one byte changed to any other: found only if that is the same letter. */
START_TEST(finds_nothing_that_differs_in_one_byte)
{
    for (size_t i = 0; i < COUNT(table); i++) {
        struct weir_str name = weir_str_from(table[i].name);
        char text[64];
        memcpy(text, name.ptr, name.len);
        for (size_t j = 0; j < name.len; j++) {
            for (int c = 0; c < 256; c++) {
                text[j] = (char)c;
                struct weir_str changed = weir_str_make(text, name.len);
                enum field_id id = field_id_find(changed);
                enum field_id want = FIELD_OTHER;
                for (size_t k = 0; k < COUNT(table); k++) {
                    if (weir_str_eq_icase(changed, weir_str_from(table[k].name))) {
                        want = table[k].id;
                    }
                }
                ck_assert_msg(id == want, "%s with byte %zu = %d", table[i].name, j, c);
            }
            text[j] = name.ptr[j];
        }
    }
}
END_TEST

START_TEST(finds_no_part_and_no_extension_of_a_name)
{
    for (size_t i = 0; i < COUNT(table); i++) {
        char text[64];
        int len = snprintf(text, sizeof(text), "%sx", table[i].name);
        ck_assert_int_eq(field_id_find(weir_str_make(text, (size_t)len)), FIELD_OTHER);
        for (size_t part = 0; part < (size_t)len - 1; part++) {
            enum field_id id = field_id_find(weir_str_make(text, part));
            ck_assert(id == FIELD_OTHER || field_name(id).len == part);
        }
    }
    ck_assert_int_eq(field_id_find(WEIR_STR("")), FIELD_OTHER);
    ck_assert_int_eq(field_id_find(weir_str_make(NULL, 0)), FIELD_OTHER);
    ck_assert_uint_eq(field_name(FIELD_OTHER).len, 0);
    ck_assert_uint_eq(field_flags(FIELD_OTHER), 0);
}
END_TEST

static const struct {
    const char *why, *name;
    unsigned flags; /* of SINGLE, LIST and HOP */
    bool may_be_trailer;
} kinds[] = {
    { "RFC 9112 3.2: a second Host is refused", "host", FIELD_SINGLE, false },
    { "RFC 9110 8.6: lengths frame the body", "content-length", FIELD_SINGLE, false },
    { "RFC 9112 6.1", "transfer-encoding", FIELD_LIST | FIELD_HOP, false },
    { "RFC 9110 7.6.1", "connection", FIELD_LIST | FIELD_HOP, false },
    { "RFC 9110 7.6.1", "keep-alive", FIELD_LIST | FIELD_HOP, false },
    { "RFC 9110 7.6.1", "proxy-connection", FIELD_LIST | FIELD_HOP, false },
    { "RFC 9110 10.1.4", "te", FIELD_LIST | FIELD_HOP, false },
    { "RFC 9110 7.8", "upgrade", FIELD_LIST | FIELD_HOP, false },
    { "RFC 9110 11.7.1: for the next client only", "proxy-authenticate", FIELD_LIST | FIELD_HOP,
            false },
    { "RFC 9110 11.6.2: authentication is no trailer", "authorization", FIELD_SINGLE, false },
    { "RFC 9110 13: conditions are no trailer", "if-none-match", FIELD_LIST, false },
    { "RFC 9110 8.3: content is no trailer", "content-type", FIELD_SINGLE, false },
    { "RFC 6265 3: must not be joined", "set-cookie", 0, false },
    { "RFC 9110 8.8.3 shows it in a trailer", "etag", FIELD_SINGLE, true },
    { "RFC 9110 11.6.3 allows it", "authentication-info", FIELD_LIST, true },
    { "a name nobody knows", "x-checksum", 0, true },
};

START_TEST(knows_what_kind_of_field_it_is)
{
    enum field_id id = field_id_find(weir_str_from(kinds[_i].name));
    unsigned kind = field_flags(id) & (FIELD_SINGLE | FIELD_LIST | FIELD_HOP);
    unit_check(kind == kinds[_i].flags, kinds[_i].why);
    unit_check(field_may_be_trailer(id) == kinds[_i].may_be_trailer, kinds[_i].why);
}
END_TEST

START_TEST(distrusts_every_field_that_names_the_client)
{
    for (size_t i = 0; i < COUNT(table); i++) {
        struct weir_str name = weir_str_from(table[i].name);
        bool is_about_origin = weir_str_starts_with(name, WEIR_STR("X-Forwarded-")) ||
                weir_str_eq(name, WEIR_STR("Forwarded")) ||
                weir_str_eq(name, WEIR_STR("X-Real-IP"));
        ck_assert(((field_flags(table[i].id) & FIELD_NEEDS_TRUST) != 0) == is_about_origin);
        ck_assert((~field_flags(table[i].id) & (FIELD_SINGLE | FIELD_LIST)) != 0);
    }
}
END_TEST

START_TEST(remembers_which_fields_were_seen)
{
    struct field_set set = { { 0, 0 } };
    for (size_t i = 0; i < COUNT(table); i += 2) {
        field_set_add(&set, table[i].id);
    }
    for (size_t i = 0; i < COUNT(table); i++) {
        ck_assert(field_set_has(&set, table[i].id) == (i % 2 == 0));
    }
}
END_TEST

START_TEST(takes_tokens_for_names_and_nothing_else)
{
    /* RFC 9110 section 5.6.2, spelled out once more. */
    const char *tchar = "!#$%&'*+-.^_`|~0123456789"
                        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    for (int c = 0; c < 256; c++) {
        char name[3] = { 'x', (char)c, 'y' };
        bool want = c != 0 && strchr(tchar, c) != NULL;
        ck_assert(field_is_token_byte((char)c) == want);
        ck_assert(field_name_is_valid(weir_str_make(name, 3)) == want);
        ck_assert_uint_eq(field_token_len(weir_str_make(name, 3)), want ? 3 : 1);
    }
    ck_assert(!field_name_is_valid(WEIR_STR("")));
}
END_TEST

/* At every place of a value, since eight bytes are looked at together. */
START_TEST(takes_no_control_byte_in_a_value_but_a_tab)
{
    for (size_t len = 1; len <= 19; len++) {
        for (size_t at = 0; at < len; at++) {
            for (int c = 0; c < 256; c++) {
                char value[19];
                memset(value, c == 0x80 ? ' ' : 0x80, sizeof(value));
                value[at] = (char)c;
                bool want = c == '\t' || (c >= 0x20 && c != 0x7f);
                ck_assert_msg(field_value_is_valid(weir_str_make(value, len)) == want,
                        "byte %d at %zu of %zu", c, at, len);
                memset(value, '!', sizeof(value));
                value[at] = (char)c;
                ck_assert(field_value_is_valid(weir_str_make(value, len)) == want);
            }
        }
    }
    ck_assert(field_value_is_valid(weir_str_make(NULL, 0)));
    ck_assert(!field_value_is_valid(WEIR_STR("a\r\nSet-Cookie: b")));
}
END_TEST

START_TEST(sees_an_underscore)
{
    ck_assert(field_name_has_underscore(WEIR_STR("Content_Length")));
    ck_assert(!field_name_has_underscore(WEIR_STR("Content-Length")));
    ck_assert(!field_name_has_underscore(weir_str_make(NULL, 0)));
}
END_TEST

static const struct {
    const char *why, *list, *elements; /* separated by | */
} lists[] = {
    { "one element", "close", "close" },
    { "several, with and without spaces", "a,b , c\t,\td", "a|b|c|d" },
    { "empty elements are passed over (RFC 9110 5.6.1.2)", ", a,, ,b,", "a|b" },
    { "nothing", "", "" },
    { "nothing but commas", " ,, ,", "" },
    { "a comma in a quoted string", "a;x=\"1,2\",b", "a;x=\"1,2\"|b" },
    { "an escaped quote in a quoted string", "a;x=\"1\\\",2\",b", "a;x=\"1\\\",2\"|b" },
    { "an escaped backslash before the closing quote", "\"\\\\\",b", "\"\\\\\"|b" },
    { "a backslash outside a string is itself", "a\\,b", "a\\|b" },
    { "a string that is not closed reaches to the end", "a,\"b,c", "a|\"b,c" },
    { "a string that ends within an escape", "\"b\\", "\"b\\" },
};

START_TEST(splits_lists_at_commas_outside_strings)
{
    struct weir_str rest = weir_str_from(lists[_i].list), element;
    char got[64] = "";
    size_t len = 0;
    while (field_list_next(&rest, &element)) {
        int written = snprintf(got + len, sizeof(got) - len, "%s%.*s", len == 0 ? "" : "|",
                WEIR_STR_ARG(element));
        len += (size_t)written;
        ck_assert_uint_lt(len, sizeof(got));
    }
    unit_check(strcmp(got, lists[_i].elements) == 0, lists[_i].why);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_test(tests, gives_each_name_the_slot_it_hashes_to);
    tcase_add_test(tests, finds_every_name_in_any_case);
    tcase_add_test(tests, finds_nothing_that_differs_in_one_byte);
    tcase_add_test(tests, finds_no_part_and_no_extension_of_a_name);
    tcase_add_loop_test(tests, knows_what_kind_of_field_it_is, 0, COUNT(kinds));
    tcase_add_test(tests, distrusts_every_field_that_names_the_client);
    tcase_add_test(tests, remembers_which_fields_were_seen);
    tcase_add_test(tests, takes_tokens_for_names_and_nothing_else);
    tcase_add_test(tests, takes_no_control_byte_in_a_value_but_a_tab);
    tcase_add_test(tests, sees_an_underscore);
    tcase_add_loop_test(tests, splits_lists_at_commas_outside_strings, 0, COUNT(lists));
}

UNIT_MAIN("http/field", add_tests)
