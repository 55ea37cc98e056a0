/* SPDX-License-Identifier: MIT */
/* What processes of one server read from one another, without trust: the first byte chooses a
 * bundle of configuration texts, the checker's answer, or the plan in it. */
#include "base/buf.h"
#include "config/document.h"
#include "fuzz/fuzz.h"
#include "server/checker_wire.h"

static void
read_bundle(struct weir_str bytes)
{
    struct intake intake;
    if (intake_replay_bytes(&intake, bytes) < 0) {
        return;
    }
    char file[4096];
    struct weir_str name = intake_main_file(&intake);
    if (name.len > 0 && weir_str_to_path(name, file, sizeof(file)) == 0) {
        struct arena arena;
        struct diagnostics *diagnostics = diagnostics_new();
        const struct config_value *root = NULL;
        arena_init(&arena, NULL, 0, (size_t)64 << 20);
        FUZZ_CHECK(diagnostics != NULL);
        int r = document_load(&intake, file, &arena, diagnostics, &root);
        FUZZ_CHECK((r == 0) == (root != NULL));
        diagnostics_free(diagnostics);
        arena_reset(&arena);
    }
    FUZZ_CHECK(intake.replayed_bytes <= bytes.len);
    intake_fini(&intake);
}

static void
read_plan(struct weir_str bytes)
{
    static const char text[] = "{ \"servers\": [\":80\", \"unix:a\", \"@b\", \"logs/a\","
                               " \"/logs/b\"] }";
    struct plan plan = { .sources_fd = -1 };
    struct arena arena;
    struct diagnostics *diagnostics = diagnostics_new();
    const struct config_value *root = NULL;
    arena_init(&arena, NULL, 0, (size_t)1 << 20);
    arena_init(&plan.arena, NULL, 0, (size_t)64 << 20);
    FUZZ_CHECK(document_load_text("/etc/a.json", weir_str_from(text), &arena, diagnostics,
                       &root) == 0);
    if (plan_wire_read(bytes, root, &plan) == 0) {
        for (size_t i = 0; i < plan.listeners_count; i++) {
            FUZZ_CHECK(plan.listeners[i].addr.len > 0);
            FUZZ_CHECK((plan.listeners[i].mode & ~(mode_t)0777) == 0);
        }
        for (size_t i = 0; i < plan.log_files_count; i++) {
            FUZZ_CHECK(plan.log_files[i].ptr[0] == '/');
        }
    }
    diagnostics_free(diagnostics);
    arena_reset(&plan.arena);
    arena_reset(&arena);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct weir_str text = fuzz_str(data, size);
    if (text.len == 0) {
        return 0;
    }
    struct weir_str rest = weir_str_make(text.ptr + 1, text.len - 1);
    struct checker_answer answer;
    switch (text.ptr[0]) {
    case 'b':
        read_bundle(rest);
        break;
    case 'p':
        read_plan(rest);
        break;
    default:
        if (checker_answer_read(rest, &answer) == 0) {
            FUZZ_CHECK(answer.report.len <= rest.len && answer.plan.len <= rest.len);
            read_plan(answer.plan);
        }
        break;
    }
    return 0;
}
