/* SPDX-License-Identifier: MIT */
/* Request targets: the first line is the method, the rest the target. */
#include "http/target.h"

#include "fuzz/fuzz.h"
#include "http/query.h"

static bool
is_within(struct weir_str part, struct weir_str whole)
{
    return part.len == 0 ||
            (part.ptr >= whole.ptr && part.len <= whole.len &&
                    part.ptr + part.len <= whole.ptr + whole.len);
}

/* What routes, files and redirects rely on. */
static void
check_path(struct weir_str path, struct weir_str raw, unsigned flags)
{
    FUZZ_CHECK(path.len >= 1 && path.ptr[0] == '/');
    FUZZ_CHECK(path.len <= raw.len);
    FUZZ_CHECK(memchr(path.ptr, '\0', path.len) == NULL);
    bool has_backslash = memchr(path.ptr, '\\', path.len) != NULL;
    FUZZ_CHECK(has_backslash == ((flags & PATH_BACKSLASH) != 0));

    struct weir_str rest = weir_str_make(path.ptr + 1, path.len - 1);
    while (rest.len > 0) {
        const char *slash = memchr(rest.ptr, '/', rest.len);
        struct weir_str segment = weir_str_make(rest.ptr,
                slash == NULL ? rest.len : (size_t)(slash - rest.ptr));
        FUZZ_CHECK(segment.len > 0);
        FUZZ_CHECK(!weir_str_eq(segment, WEIR_STR(".")));
        FUZZ_CHECK(!weir_str_eq(segment, WEIR_STR("..")));
        size_t taken = slash == NULL ? segment.len : segment.len + 1;
        rest = weir_str_make(rest.ptr + taken, rest.len - taken);
    }
}

/* What would be sent in a Location or upstream names the same path, and no host. */
static void
check_encoded(struct weir_str path)
{
    char *encoded = fuzz_buffer(3 * path.len);
    size_t len = path_encode(encoded, path);
    FUZZ_CHECK(len >= path.len && len <= 3 * path.len);
    FUZZ_CHECK(encoded[0] == '/' && (len < 2 || (encoded[1] != '/' && encoded[1] != '\\')));
    for (size_t i = 0; i < len; i++) {
        FUZZ_CHECK(encoded[i] > 0x20 && encoded[i] < 0x7f && encoded[i] != '#' &&
                encoded[i] != '?' && encoded[i] != '\\');
    }
    char *dst = fuzz_buffer(len);
    struct weir_str again;
    unsigned flags;
    FUZZ_CHECK(path_normalise(weir_str_make(encoded, len), dst, &again, &flags) == 0);
    FUZZ_CHECK(weir_str_eq(again, path));
    FUZZ_CHECK((flags & (PATH_ENCODED_SLASH | PATH_DOT_SEGMENT | PATH_EMPTY_SEGMENT)) == 0);
    free(dst);
    free(encoded);
}

/* Whoever merges no slashes and takes dots back by segments as RFC 3986 has them (5.2.4), and
 * whoever sees `%2F` as part of a name, ends up at the same place: no reader takes back another
 * segment than we did. Here the second one, on the raw path. */
static void
check_strict_reader(struct weir_str raw, struct weir_str path)
{
    char *kept = fuzz_buffer(raw.len + 1);
    size_t len = 0, at = 0;
    while (at < raw.len) {
        size_t end = at + 1;
        while (end < raw.len && raw.ptr[end] != '/') {
            end++;
        }
        char *segment = fuzz_buffer(end - at);
        struct weir_str decoded;
        FUZZ_CHECK(path_decode(weir_str_make(raw.ptr + at + 1, end - at - 1), segment,
                           &decoded) == 0);
        bool is_up = weir_str_eq(decoded, WEIR_STR(".."));
        if (is_up || weir_str_eq(decoded, WEIR_STR("."))) {
            while (is_up && len > 0 && kept[len - 1] != '/') {
                len--;
            }
            len -= is_up && len > 0 ? 1 : 0;
            if (end == raw.len) {
                kept[len++] = '/';
            }
        } else {
            memcpy(kept + len, raw.ptr + at, end - at);
            len += end - at;
        }
        free(segment);
        at = end;
    }
    /* The same but for merged slashes and the encoding. */
    char *dst = fuzz_buffer(len);
    struct weir_str again;
    unsigned flags;
    FUZZ_CHECK(path_normalise(weir_str_make(kept, len), dst, &again, &flags) == 0);
    FUZZ_CHECK((flags & PATH_DOT_SEGMENT) == 0);
    FUZZ_CHECK(weir_str_eq(again, path));
    free(dst);
    free(kept);
}

static void
check_query(struct weir_str query)
{
    struct weir_str rest = query, found;
    struct query_param param;
    while (query_next(&rest, &param)) {
        FUZZ_CHECK(is_within(param.raw_name, query) && is_within(param.raw_value, query));
        char *name = fuzz_buffer(param.raw_name.len);
        struct weir_str decoded = weir_str_make(name, query_decode(param.raw_name, name));
        FUZZ_CHECK(decoded.len <= param.raw_name.len);
        FUZZ_CHECK(query_find(query, decoded, &found));
        free(name);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct weir_str raw = fuzz_str(data, size);
    enum method method = method_parse(fuzz_take_line(&raw));
    struct target target;
    if (target_parse(raw, method, &target) != 0) {
        return 0;
    }
    FUZZ_CHECK(is_within(target.authority, raw) && is_within(target.query, raw));
    FUZZ_CHECK(is_within(target.raw_path, raw));
    FUZZ_CHECK((target.form == TARGET_AUTHORITY) == (method == METHOD_CONNECT));
    FUZZ_CHECK(target.form != TARGET_ASTERISK || method == METHOD_OPTIONS);
    FUZZ_CHECK((target.authority.len == 0) ==
            (target.form == TARGET_ORIGIN || target.form == TARGET_ASTERISK));

    char *dst = fuzz_buffer(target.raw_path.len);
    bool is_plain = target.path.ptr != NULL;
    if (target_normalise(&target, dst) == 0 && target.raw_path.len > 0 &&
            target.form != TARGET_ASTERISK) {
        check_path(target.path, target.raw_path, target.path_flags);
        check_encoded(target.path);
        check_strict_reader(target.raw_path, target.path);
        if (is_plain) {
            struct weir_str slow;
            unsigned flags;
            FUZZ_CHECK(path_normalise(target.raw_path, dst, &slow, &flags) == 0);
            FUZZ_CHECK(weir_str_eq(slow, target.path) && flags == 0);
        }
    }
    free(dst);
    check_query(target.query);
    return 0;
}
