/* SPDX-License-Identifier: MIT */
/* Every file in mistakes/ is a configuration with seeded mistakes; NAME.expected lists all of
 * them as line:column severity code, in file order (F110). */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>

#include "config/diagnostic.h"
#include "module/site.h"
#include "support/sample_modules.h"
#include "support/unit.h"

#define FILES_MAX 200

static char names[FILES_MAX][64];
static int names_count;

static void
folder(char *dst, size_t bytes, const char *name, const char *extension)
{
    const char *srcdir = getenv("WEIR_SRCDIR");
    snprintf(dst, bytes, "%s/tests/unit/config/mistakes/%s%s", srcdir == NULL ? "." : srcdir,
            name, extension);
}

static void
find_files(void)
{
    char path[4096];
    folder(path, sizeof(path), "", "");
    DIR *directory = opendir(path);
    const struct dirent *entry;
    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        size_t len = strlen(entry->d_name);
        if (len > 5 && len < 60 && strcmp(entry->d_name + len - 5, ".json") == 0 &&
                names_count < FILES_MAX) {
            snprintf(names[names_count++], 64, "%.*s", (int)(len - 5), entry->d_name);
        }
    }
    if (directory != NULL) {
        closedir(directory);
    }
}

/* line:column severity code of each mistake, one a line. */
static void
list_mistakes(struct diagnostics *diagnostics, char *dst, size_t bytes)
{
    size_t len = 0;
    diagnostics_sort(diagnostics);
    dst[0] = '\0';
    for (size_t i = 0; i < diagnostics_count(diagnostics); i++) {
        const struct diagnostic *d = diagnostics_get(diagnostics, i);
        ck_assert_ptr_nonnull(d->place.source);
        struct source_position position = source_locate(&d->place);
        len += (size_t)snprintf(dst + len, bytes - len, "%u:%u %s %s\n", position.line,
                position.column, d->severity == DIAGNOSTIC_ERROR ? "error" : "warning",
                diagnostic_code_text(d->code));
        ck_assert_uint_lt(len, bytes);
    }
}

static void
set_environment(void)
{
    setenv("WEIR_TEST_PORT", "8080", 1);
    unsetenv("WEIR_TEST_UNSET");
    setenv("WEIR_MODULE_DIR", "/nonexistent", 1);
    sample_modules_register(false);
}

START_TEST(finds_every_seeded_mistake_in_its_place)
{
    char path[4096], expected[8192], found[8192];
    set_environment();
    folder(path, sizeof(path), names[_i], ".expected");
    FILE *file = fopen(path, "r");
    ck_assert_msg(file != NULL, "%s is missing", path);
    expected[fread(expected, 1, sizeof(expected) - 1, file)] = '\0';
    fclose(file);

    folder(path, sizeof(path), names[_i], ".json");
    struct diagnostics *diagnostics = diagnostics_new();
    struct site *site = NULL;
    ck_assert_int_eq(site_load(path, diagnostics, &site), -EINVAL);
    list_mistakes(diagnostics, found, sizeof(found));
    if (strcmp(found, expected) != 0) {
        struct buf text;
        buf_init(&text, 1 << 20);
        ck_assert_int_eq(diagnostics_print(diagnostics, DIAGNOSTIC_TEXT, false, &text), 0);
        fprintf(stderr, "%.*s", WEIR_STR_ARG(buf_str(&text)));
        ck_abort_msg("%s: expected\n%sfound\n%s", names[_i], expected, found);
    }
    diagnostics_free(diagnostics);
}
END_TEST

START_TEST(survives_each_allocation_failing_on_every_mistake)
{
    char path[4096];
    set_environment();
    folder(path, sizeof(path), names[_i], ".json");
    /* Large ones allocate much: every third allocation is enough to meet each kind. */
    for (uint64_t nth = 1;; nth += 3) {
        struct site *site = NULL;
        failalloc_fail_nth(nth);
        struct diagnostics *diagnostics = diagnostics_new();
        int r = diagnostics == NULL ? -ENOMEM : site_load(path, diagnostics, &site);
        bool has_failed = failalloc_has_failed();
        failalloc_fail_nth(0);
        ck_assert_msg(r == -EINVAL || r == -ENOMEM, "%s: %d", names[_i], r);
        diagnostics_free(diagnostics);
        if (!has_failed) {
            break;
        }
    }
}
END_TEST

START_TEST(has_forty_mistakes_or_more)
{
    ck_assert_int_ge(names_count, 40);
}
END_TEST

static void
add_tests(TCase *tests)
{
    find_files();
    tcase_add_test(tests, has_forty_mistakes_or_more);
    tcase_add_loop_test(tests, finds_every_seeded_mistake_in_its_place, 0, names_count);
    tcase_add_loop_test(tests, survives_each_allocation_failing_on_every_mistake, 0,
            names_count);
}

UNIT_MAIN("config/mistakes", add_tests)
