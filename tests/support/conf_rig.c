/* SPDX-License-Identifier: MIT */
#include "support/conf_rig.h"

#include <check.h>

#include "config/document.h"
#include "config/schema.h"

static const struct config_value *
parse(struct conf_rig *rig, const char *text)
{
    const struct config_value *root = NULL;
    if (text != NULL) {
        ck_assert_int_eq(document_load_text("/etc/weir/a.json", weir_str_from(text),
                                 &rig->arena, rig->diagnostics, &root),
                0);
    }
    return root;
}

bool
conf_rig_init(struct conf_rig *rig, const struct weir_handler *handler, const char *outer,
        const char *inner)
{
    *rig = (struct conf_rig){ .handler = handler, .diagnostics = diagnostics_new() };
    ck_assert_ptr_nonnull(rig->diagnostics);
    arena_init(&rig->arena, NULL, 0, 16 << 20);
    rig->zones.arena = &rig->arena;
    const struct weir_options *options = &handler->options;
    char why[256];
    ck_assert_msg(schema_is_sound(options, why, sizeof(why)), "%s", why);
    struct schema schema = { .arena = &rig->arena, .diagnostics = rig->diagnostics };
    const struct config_value *layer = parse(rig, outer), *over = parse(rig, inner);
    schema_check(&schema, options, layer);
    if (over != NULL) {
        schema_check(&schema, options, over);
        layer = schema_merge(&schema, options, layer, over);
    }
    rig->conf = arena_zalloc(&rig->arena, options->conf_bytes);
    ck_assert_ptr_nonnull(rig->conf);
    schema_fill(&schema, options, layer, layer, rig->conf);
    struct weir_conf_report report = { .diagnostics = rig->diagnostics,
        .options = options,
        .object = layer,
        .where = layer,
        .who = handler->name,
        .zones = &rig->zones,
        .declares = &rig->zones };
    if (diagnostics_reports(rig->diagnostics) > 0 ||
            (handler->conf_check != NULL && handler->conf_check(rig->conf, &report) < 0) ||
            report.has_failed) {
        return false;
    }
    report.declares = NULL;
    rig->is_open = handler->conf_open == NULL || handler->conf_open(rig->conf, &report) == 0;
    return rig->is_open;
}

void
conf_rig_fini(struct conf_rig *rig)
{
    if (rig->is_open && rig->handler->conf_close != NULL) {
        rig->handler->conf_close(rig->conf);
    }
    zone_forget();
    arena_reset(&rig->arena);
    diagnostics_free(rig->diagnostics);
}

const char *
conf_rig_message(const struct conf_rig *rig)
{
    return diagnostics_count(rig->diagnostics) == 0
            ? ""
            : diagnostics_get(rig->diagnostics, 0)->message.ptr;
}
