/* SPDX-License-Identifier: MIT */
/* Host values. */
#include "http/host.h"

#include "fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct weir_str text = fuzz_str(data, size);
    struct host host;
    if (host_parse(text, &host) != 0) {
        return 0;
    }
    char *dst = fuzz_buffer(HOST_NAME_BYTES);
    struct weir_str name = host_name(&host, dst);
    FUZZ_CHECK(name.len > 0 && name.len <= HOST_NAME_BYTES);
    FUZZ_CHECK(host.is_canonical == weir_str_eq(name, host.raw_name));
    FUZZ_CHECK(host.has_port || host.port == 0);
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        FUZZ_CHECK((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
                c == '_' || c == '~' || (c == ':' && host.kind == HOST_IPV6));
    }
    FUZZ_CHECK(name.ptr[0] != '.' && name.ptr[name.len - 1] != '.');

    /* The canonical name reads back as itself. */
    char again[HOST_NAME_BYTES + 2];
    size_t len = 0;
    if (host.kind == HOST_IPV6) {
        again[len++] = '[';
    }
    memcpy(again + len, name.ptr, name.len);
    len += name.len;
    if (host.kind == HOST_IPV6) {
        again[len++] = ']';
    }
    struct host twin;
    FUZZ_CHECK(host_parse(weir_str_make(again, len), &twin) == 0);
    FUZZ_CHECK(twin.is_canonical && twin.kind == host.kind && host_eq(&host, &twin));
    free(dst);
    return 0;
}
