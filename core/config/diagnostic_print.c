/* SPDX-License-Identifier: MIT */
/* The three forms in which mistakes are shown: for people, for programs, for editors that read
 * a compiler's output. */
#include <weir/str.h>

#include "config/diagnostic.h"
#include "config/emit.h"

/* A longer line is shown in part, around the place. */
#define LINE_MAX_COLUMNS    160u
#define LINE_BEFORE_COLUMNS 60u

struct painter {
    struct emit emit;
    bool color;
};

static void
paint(struct painter *painter, const char *code)
{
    if (painter->color) {
        emit_format(&painter->emit, "\033[%sm", code);
    }
}

static void
plain(struct painter *painter, struct weir_str text)
{
    emit_escaped(&painter->emit, text, false);
}

/* The text after the first `columns` code points, or the first ones. */
static size_t
bytes_of_columns(struct weir_str text, size_t columns)
{
    size_t done = 0;
    uint32_t ignored;
    for (; columns > 0 && done < text.len; columns--) {
        size_t bytes = source_decode(weir_str_make(text.ptr + done, text.len - done), &ignored);
        done += bytes == 0 ? 1 : bytes;
    }
    return done;
}

/* "    8 |  the line" and the caret beneath it. */
static void
show_line(struct painter *painter, const struct source_position *position, struct weir_str note)
{
    struct weir_str line = position->line_text;
    size_t before_columns = position->column - 1;
    bool cut_front = false, cut_end = false;
    if (source_count_columns(line) > LINE_MAX_COLUMNS) {
        if (before_columns > LINE_BEFORE_COLUMNS) {
            size_t dropped = before_columns - LINE_BEFORE_COLUMNS;
            size_t bytes = bytes_of_columns(line, dropped);
            line = weir_str_make(line.ptr + bytes, line.len - bytes);
            before_columns = LINE_BEFORE_COLUMNS;
            cut_front = true;
        }
        size_t kept = bytes_of_columns(line, LINE_MAX_COLUMNS);
        cut_end = kept < line.len;
        line.len = kept;
    }
    size_t before = bytes_of_columns(line, before_columns);
    size_t marked = bytes_of_columns(weir_str_make(line.ptr + before, line.len - before),
            position->length);

    struct emit *emit = &painter->emit;
    paint(painter, "2");
    emit_format(emit, "%5u | ", position->line);
    paint(painter, "0");
    emit_raw(emit, cut_front ? WEIR_STR("...") : WEIR_STR(""));
    emit_escaped(emit, line, true);
    emit_raw(emit, cut_end ? WEIR_STR("...\n") : WEIR_STR("\n"));

    /* As wide as what stands above, tabs as tabs; measured by writing it and taking it back. */
    paint(painter, "2");
    emit_raw(emit, WEIR_STR("      | "));
    paint(painter, "0");
    emit_raw(emit, cut_front ? WEIR_STR("   ") : WEIR_STR(""));
    struct buf measure;
    buf_init(&measure, 1 << 16);
    struct emit ruler;
    emit_init(&ruler, &measure);
    for (size_t i = 0; i < before;) {
        size_t bytes = bytes_of_columns(weir_str_make(line.ptr + i, before - i), 1);
        if (line.ptr[i] == '\t') {
            emit_raw(emit, WEIR_STR("\t"));
        } else {
            size_t columns = emit_escaped(&ruler, weir_str_make(line.ptr + i, bytes), true);
            for (; columns > 0; columns--) {
                emit_raw(emit, WEIR_STR(" "));
            }
        }
        i += bytes;
    }
    size_t carets = emit_escaped(&ruler, weir_str_make(line.ptr + before, marked), true);
    emit->error = emit->error != 0 ? emit->error : ruler.error;
    buf_fini(&measure);
    paint(painter, "1;31");
    for (carets += carets == 0; carets > 0; carets--) {
        emit_raw(emit, WEIR_STR("^"));
    }
    paint(painter, "0");
    if (note.len > 0) {
        emit_raw(emit, WEIR_STR(" "));
        plain(painter, note);
    }
    emit_raw(emit, WEIR_STR("\n"));
}

static void
show_position(struct painter *painter, const struct config_place *place,
        const struct source_position *position)
{
    plain(painter, weir_str_from(place->source->name));
    emit_format(&painter->emit, ":%u:%u: ", position->line, position->column);
}

static const char *
severity_text(const struct diagnostic *d)
{
    return d->severity == DIAGNOSTIC_ERROR ? "error" : "warning";
}

static void
show_text(struct painter *painter, const struct diagnostic *d)
{
    struct emit *emit = &painter->emit;
    struct source_position position = { 0 };
    paint(painter, "1");
    if (d->place.source != NULL) {
        position = source_locate(&d->place);
        show_position(painter, &d->place, &position);
    } else {
        emit_raw(emit, WEIR_STR("weir: "));
    }
    paint(painter, d->severity == DIAGNOSTIC_ERROR ? "1;31" : "1;35");
    emit_format(emit, "%s[%s]", severity_text(d), diagnostic_code_text(d->code));
    paint(painter, "0");
    emit_raw(emit, WEIR_STR(": "));
    paint(painter, "1");
    plain(painter, d->message);
    paint(painter, "0");
    emit_raw(emit, WEIR_STR("\n"));
    if (d->place.source != NULL) {
        show_line(painter, &position, d->note);
    }
    if (d->pointer.len > 0 || d->hint.len > 0 || d->more.len > 0) {
        const char *gap = "      ";
        if (d->pointer.len > 0) {
            emit_raw(emit, WEIR_STR("      at "));
            plain(painter, d->pointer);
        }
        if (d->hint.len > 0) {
            emit_format(emit, "%s", gap);
            plain(painter, d->hint);
            gap = "  ";
        }
        if (d->more.len > 0) {
            emit_format(emit, "%s(", gap);
            plain(painter, d->more);
            emit_raw(emit, WEIR_STR(")"));
        }
        emit_raw(emit, WEIR_STR("\n"));
    }
    if (d->other.source != NULL) {
        position = source_locate(&d->other);
        paint(painter, "1");
        show_position(painter, &d->other, &position);
        paint(painter, "1;36");
        emit_raw(emit, WEIR_STR("note"));
        paint(painter, "0");
        emit_raw(emit, WEIR_STR(": "));
        plain(painter, d->other_note);
        emit_raw(emit, WEIR_STR("\n"));
        show_line(painter, &position, WEIR_STR(""));
    }
}

/* GNU coding standards, "Formatting Error Messages". */
static void
show_gcc(struct painter *painter, const struct diagnostic *d)
{
    struct emit *emit = &painter->emit;
    if (d->place.source != NULL) {
        struct source_position position = source_locate(&d->place);
        show_position(painter, &d->place, &position);
    } else {
        emit_raw(emit, WEIR_STR("weir: "));
    }
    emit_format(emit, "%s: ", severity_text(d));
    plain(painter, d->message);
    if (d->note.len > 0) {
        emit_raw(emit, WEIR_STR(": "));
        plain(painter, d->note);
    }
    if (d->hint.len > 0) {
        emit_raw(emit, WEIR_STR("; "));
        plain(painter, d->hint);
    }
    emit_format(emit, " [%s]\n", diagnostic_code_text(d->code));
    if (d->other.source != NULL) {
        struct source_position position = source_locate(&d->other);
        show_position(painter, &d->other, &position);
        emit_raw(emit, WEIR_STR("note: "));
        plain(painter, d->other_note);
        emit_raw(emit, WEIR_STR("\n"));
    }
}

static void
member_str(struct emit *emit, const char *key, struct weir_str text)
{
    if (text.len > 0) {
        emit_key(emit, key);
        emit_string(emit, text);
    }
}

static void
members_place(struct emit *emit, const struct config_place *place)
{
    struct source_position position = source_locate(place);
    emit_member_string(emit, "file", place->source->name);
    emit_key(emit, "line");
    emit_unsigned(emit, position.line);
    emit_key(emit, "column");
    emit_unsigned(emit, position.column);
    emit_key(emit, "length");
    emit_unsigned(emit, position.length);
}

static void
show_json(struct emit *emit, const struct diagnostic *d)
{
    emit_object_begin(emit);
    emit_member_string(emit, "severity", severity_text(d));
    emit_member_string(emit, "code", diagnostic_code_text(d->code));
    emit_member_string(emit, "title", diagnostic_code_title(d->code));
    if (d->place.source != NULL) {
        members_place(emit, &d->place);
        emit_key(emit, "pointer");
        emit_string(emit, d->pointer);
    }
    member_str(emit, "message", d->message);
    member_str(emit, "note", d->note);
    member_str(emit, "hint", d->hint);
    member_str(emit, "more", d->more);
    if (d->other.source != NULL) {
        emit_key(emit, "other");
        emit_object_begin(emit);
        members_place(emit, &d->other);
        member_str(emit, "message", d->other_note);
        emit_object_end(emit);
    }
    emit_object_end(emit);
}

static void
print_json(struct emit *emit, const struct diagnostics *diagnostics, size_t dropped)
{
    size_t count = diagnostics_count(diagnostics);
    emit_object_begin(emit);
    emit_key(emit, "errors");
    emit_unsigned(emit, diagnostics_errors(diagnostics));
    emit_key(emit, "dropped");
    emit_unsigned(emit, dropped);
    emit_key(emit, "mistakes");
    emit_list_begin(emit);
    for (size_t i = 0; i < count; i++) {
        show_json(emit, diagnostics_get(diagnostics, i));
    }
    emit_list_end(emit);
    emit_object_end(emit);
    emit_raw(emit, WEIR_STR("\n"));
}

int
diagnostics_print(struct diagnostics *diagnostics, enum diagnostic_format format, bool color,
        struct buf *out)
{
    struct painter painter = { .color = color };
    emit_init(&painter.emit, out);
    diagnostics_sort(diagnostics);
    size_t count = diagnostics_count(diagnostics), kept_errors = 0;
    for (size_t i = 0; i < count; i++) {
        kept_errors += diagnostics_get(diagnostics, i)->severity == DIAGNOSTIC_ERROR;
    }
    size_t dropped = diagnostics_errors(diagnostics) - kept_errors;

    if (format == DIAGNOSTIC_JSON) {
        print_json(&painter.emit, diagnostics, dropped);
        return painter.emit.error;
    }
    for (size_t i = 0; i < count; i++) {
        if (format == DIAGNOSTIC_GCC) {
            painter.color = false;
            show_gcc(&painter, diagnostics_get(diagnostics, i));
        } else {
            show_text(&painter, diagnostics_get(diagnostics, i));
        }
    }
    if (dropped > 0) {
        emit_format(&painter.emit, "weir: and %zu more\n", dropped);
    }
    return painter.emit.error;
}
