/* SPDX-License-Identifier: MIT */
/* Whole configurations: text, tree, options, routes. What loads is then asked for routes, and
 * explained. */
#include "base/buf.h"
#include "fuzz/fuzz.h"
#include "module/site.h"
#include "server/command_explain.h"
#include "support/sample_modules.h"

static void
check_mistakes(struct diagnostics *diagnostics)
{
    static const enum diagnostic_format formats[] = { DIAGNOSTIC_TEXT, DIAGNOSTIC_JSON,
        DIAGNOSTIC_GCC };
    for (size_t i = 0; i < 3; i++) {
        struct buf text;
        buf_init(&text, (size_t)64 << 20);
        FUZZ_CHECK(diagnostics_print(diagnostics, formats[i], i == 0, &text) == 0);
        buf_fini(&text);
    }
    for (size_t i = 0; i < diagnostics_count(diagnostics); i++) {
        const struct diagnostic *d = diagnostics_get(diagnostics, i);
        if (d->place.source == NULL) {
            continue;
        }
        FUZZ_CHECK(d->place.offset <= d->place.source->text.len);
        FUZZ_CHECK(d->place.length <= d->place.source->text.len - d->place.offset);
        struct source_position position = source_locate(&d->place);
        FUZZ_CHECK(position.line > 0 && position.column > 0 && position.length > 0);
    }
}

static void
ask(const struct site *site)
{
    static const char *const paths[] = { "/", "/a", "/a/b/c.php", "*", "" };
    for (size_t i = 0; i < site->listeners_count; i++) {
        const struct site_listener *listener = site->listeners[i];
        for (size_t j = 0; j < listener->servers_count; j++) {
            const struct site_server *server = listener->servers[j];
            for (size_t k = 0; k < sizeof(paths) / sizeof(paths[0]); k++) {
                struct route_request request = { .method = WEIR_STR("GET"),
                    .path = weir_str_from(paths[k]),
                    .protocol = WEIR_STR("http/1.1") };
                struct route_match match;
                const struct site_route *route = site_route_find(server, &request, &match);
                FUZZ_CHECK(route == NULL || route->id < server->routes_count);
            }
        }
        (void)site_server_find(listener, WEIR_STR("www.example.com"));
    }
    struct buf text;
    buf_init(&text, (size_t)64 << 20);
    struct explain_question question = { .method = WEIR_STR("GET"),
        .url = WEIR_STR("http://www.example.com:8080/a/b?c=d") };
    FUZZ_CHECK(explain_write(site, &question, EXPLAIN_TEXT, &text) == 0);
    FUZZ_CHECK(explain_write(site, &question, EXPLAIN_JSON, &text) == 0);
    buf_fini(&text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool is_ready;
    if (!is_ready) {
        setenv("WEIR_MODULE_DIR", "/nonexistent", 1);
        sample_modules_register(true);
        is_ready = true;
    }
    struct weir_str text = fuzz_str(data, size);
    /* No input reads files of this machine. */
    if (memmem(text.ptr, text.len, "$file", 5) != NULL ||
            memmem(text.ptr, text.len, "include", 7) != NULL ||
            memmem(text.ptr, text.len, "path", 4) != NULL) {
        return 0;
    }
    struct diagnostics *diagnostics = diagnostics_new();
    struct site *site = NULL;
    FUZZ_CHECK(diagnostics != NULL);
    int r = site_load_text("/etc/weir/weir.json", text, diagnostics, &site);
    FUZZ_CHECK((r == 0) == (diagnostics_errors(diagnostics) == 0));
    check_mistakes(diagnostics);
    if (r == 0) {
        ask(site);
        site_free(site);
    }
    diagnostics_free(diagnostics);
    return 0;
}
