/* SPDX-License-Identifier: MIT */
#include "config/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/document.h"
#include "config/resolve.h"
#include "support/unit.h"

static struct arena arena;
static struct diagnostics *diagnostics;

static void
set_up(void)
{
    arena_init(&arena, NULL, 0, 64 << 20);
    diagnostics = diagnostics_new();
}

/* Directories that tests made, with the plain files in them. */
static char made[4][64];
static int made_count;

static const char *
make_directory(void)
{
    char *directory = made[made_count++];
    snprintf(directory, sizeof(made[0]), "/tmp/weir-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    return directory;
}

static void
remove_directory(const char *path)
{
    char file[512];
    DIR *directory = opendir(path);
    const struct dirent *entry;
    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
        unlink(file);
    }
    if (directory != NULL) {
        closedir(directory);
    }
    rmdir(path);
}

static void
tear_down(void)
{
    while (made_count > 0) {
        remove_directory(made[--made_count]);
    }
    arena_reset(&arena);
    diagnostics_free(diagnostics);
}

static const struct config_value *
parse(const char *text)
{
    const struct config_value *root = NULL;
    int r = document_load_text("dir/a.json", weir_str_from(text), &arena, diagnostics, &root);
    ck_assert_int_eq(r, 0);
    return root;
}

START_TEST(reads_comments_and_trailing_commas)
{
    const struct config_value *root = parse(
            "// first\n"
            "{ /* a */ \"a\": [1, 2, /* , */ ], \"b\": \"// no /* comment */ ,]\",\n"
            "  \"c\": { \"d\": true, }, // last\n"
            "}\n");
    ck_assert_uint_eq(diagnostics_count(diagnostics), 0);
    ck_assert_uint_eq(root->count, 3);
    ck_assert_uint_eq(config_find_name(root, "a")->count, 2);
    ck_assert_int_eq(config_find_name(root, "a")->items[1]->integer, 2);
    ck_assert_str_eq(config_find_name(root, "b")->string.ptr, "// no /* comment */ ,]");
    const struct config_value *d = config_find_name(config_find_name(root, "c"), "d");
    ck_assert_int_eq(d->kind, CONFIG_TRUE);
    struct source_position position = source_locate(&d->place);
    ck_assert_uint_eq(position.line, 3);
    ck_assert_uint_eq(position.column, 15);
}
END_TEST

START_TEST(decodes_escapes_in_keys_and_values)
{
    const struct config_value *root = parse(
            "{ \"\\u0061\\/\": \"\\u00e4\\ud83d\\ude00\\n\", \"n\": -9223372036854775808 }");
    ck_assert_str_eq(config_find_name(root, "a/")->string.ptr, "\xc3\xa4\xf0\x9f\x98\x80\n");
    ck_assert(config_find_name(root, "n")->integer == INT64_MIN);
    struct buf pointer;
    buf_init(&pointer, 100);
    ck_assert_int_eq(config_pointer(config_find_name(root, "a/"), &pointer), 0);
    ck_assert(weir_str_eq(buf_str(&pointer), WEIR_STR("/a~1")));
    buf_fini(&pointer);
}
END_TEST

START_TEST(keeps_the_last_of_a_repeated_key)
{
    const struct config_value *root = parse(
            "{ \"a\": { \"b\": 1 }, \"a\": 2, \"\\u0061\": 3 }");
    ck_assert_uint_eq(root->count, 1);
    ck_assert_int_eq(config_find_name(root, "a")->integer, 3);
    ck_assert_uint_eq(diagnostics_errors(diagnostics), 2);
    ck_assert_uint_eq(diagnostics_get(diagnostics, 0)->other.offset, 2);
}
END_TEST

/* Every prefix and every damaged byte of a text that has everything: an answer, never more. */
START_TEST(stands_every_damage)
{
    static const char text[] = "{ // c\n \"a\": [1, -2.5e3, \"x\\u00e9\\\\\", true,], /* d */"
                               "\"b\": { \"c\": null, }, \"\xc3\xa9\": \"${env:HOME}\" }";
    char damaged[sizeof(text)];
    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        for (int damage = 0; damage < 8; damage++) {
            static const char bytes[] = "\"\\{]\x80:,";
            struct arena own;
            arena_init(&own, NULL, 0, 1 << 20);
            struct diagnostics *mistakes = diagnostics_new();
            const struct config_value *root;
            memcpy(damaged, text, sizeof(text));
            size_t len = sizeof(text) - 1;
            if (damage == 7) {
                len = i;
            } else {
                damaged[i] = bytes[damage];
            }
            int r = document_load_text("a", weir_str_make(damaged, len), &own, mistakes, &root);
            ck_assert(r == 0 || r == -EINVAL);
            ck_assert(r == 0 || diagnostics_errors(mistakes) > 0);
            arena_reset(&own);
            diagnostics_free(mistakes);
        }
    }
}
END_TEST

START_TEST(takes_values_from_the_environment_and_from_files)
{
    const char *directory = make_directory();
    char path[64], text[256];
    snprintf(path, sizeof(path), "%s/secret", directory);
    FILE *file = fopen(path, "w");
    fputs("hush\n", file);
    fclose(file);
    setenv("WEIR_TEST_A", "one", 1);
    setenv("WEIR_TEST_B", "", 1);
    unsetenv("WEIR_TEST_C");
    snprintf(text, sizeof(text),
            "{ \"a\": \"<${env:WEIR_TEST_A}${env:WEIR_TEST_B:-two}${env:WEIR_TEST_C:-}>\","
            "  \"s\": \"$file:%s\", \"$file:x\": \"$ {env:A}\", \"x-n\": \"${env:WEIR_TEST_C}\" }",
            path);
    const struct config_value *root = parse(text);
    ck_assert_uint_eq(diagnostics_count(diagnostics), 0);
    ck_assert_str_eq(config_find_name(root, "a")->string.ptr, "<onetwo>");
    ck_assert(config_find_name(root, "a")->is_expanded);
    ck_assert_str_eq(config_find_name(root, "s")->string.ptr, "hush");
    ck_assert(!config_find_name(root, "$file:x")->is_expanded);
}
END_TEST

START_TEST(sees_paths_from_the_file_they_stand_in)
{
    struct source *source;
    ck_assert_int_eq(source_from_text("/etc/weir/a.json", WEIR_STR("{}"), &source), 0);
    ck_assert_str_eq(resolve_path(&arena, source, WEIR_STR("www")).ptr, "/etc/weir/www");
    ck_assert_str_eq(resolve_path(&arena, source, WEIR_STR("./www")).ptr, "/etc/weir/www");
    ck_assert_str_eq(resolve_path(&arena, source, WEIR_STR(".")).ptr, "/etc/weir");
    ck_assert_str_eq(resolve_path(&arena, source, WEIR_STR("/srv")).ptr, "/srv");
    source_unref(source);
    ck_assert_int_eq(source_from_text("/a.json", WEIR_STR("{}"), &source), 0);
    ck_assert_str_eq(resolve_path(&arena, source, WEIR_STR("www")).ptr, "/www");
    source_unref(source);
}
END_TEST

static void
write_file(const char *directory, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

/* document_load(), and the same again from the record of it. */
static int
load_file(const char *path, struct arena *into, struct diagnostics *mistakes,
        const struct config_value **out)
{
    struct intake recording, replaying;
    struct diagnostics *again = diagnostics_new();
    const struct config_value *root = NULL;
    intake_init(&recording, true);
    int r = document_load(&recording, path, into, mistakes, out);
    int fd = intake_seal(&recording);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(intake_replay(&replaying, fd), 0);
    close(fd);
    ck_assert(weir_str_eq(intake_main_file(&replaying), weir_str_from(path)));
    ck_assert_int_eq(document_load(&replaying, path, into, again, &root), r);
    ck_assert(!replaying.is_foreign);
    if (r == 0) {
        ck_assert(config_is_equal(root, *out));
    }
    ck_assert_uint_eq(diagnostics_errors(again), diagnostics_errors(mistakes));
    intake_fini(&replaying);
    intake_fini(&recording);
    diagnostics_free(again);
    return r;
}

START_TEST(puts_included_files_together_in_sorted_order)
{
    const char *directory = make_directory();
    char path[64];
    const struct config_value *root = NULL;
    write_file(directory, "main.json",
            "{ \"include\": [\"s*.json\", \"s2.json\", \"none-*.json\"], \"modules\": [\"m\"],"
            "  \"listeners\": { \"a\": 1 } }");
    write_file(directory, "s2.json",
            "{ \"servers\": [2], \"listeners\": { \"b\": 2, \"a\": 3 } }");
    write_file(directory, "s10.json",
            "{ \"servers\": [10, 11], \"modules\": [\"n\"], \"x-n\": 1 }");
    write_file(directory, "s9.json", "{ \"servers\": [9], \"workers\": {} }");
    snprintf(path, sizeof(path), "%s/main.json", directory);
    ck_assert_int_eq(load_file(path, &arena, diagnostics, &root), 0);
    const struct config_value *servers = config_find_name(root, "servers");
    ck_assert_uint_eq(servers->count, 4);
    ck_assert_int_eq(servers->items[0]->integer, 10); /* by bytes: s10, s2, s9 */
    ck_assert_int_eq(servers->items[2]->integer, 2);
    ck_assert_int_eq(servers->items[3]->integer, 9);
    ck_assert_uint_eq(config_find_name(root, "modules")->count, 2);
    ck_assert_uint_eq(config_find_name(root, "listeners")->count, 2);

    /* The name twice, and a key that has no place there. */
    ck_assert_uint_eq(diagnostics_errors(diagnostics), 2);
    diagnostics_sort(diagnostics);
    const struct diagnostic *twice = diagnostics_get(diagnostics, 0);
    ck_assert_int_eq(twice->code, DIAGNOSTIC_NAME_TWICE);
    ck_assert_ptr_nonnull(strstr(twice->place.source->name, "s2.json"));
    ck_assert_ptr_nonnull(strstr(twice->other.source->name, "main.json"));
    ck_assert_int_eq(diagnostics_get(diagnostics, 1)->code, DIAGNOSTIC_INCLUDE_KEY);
}
END_TEST

START_TEST(refuses_to_include_itself_and_what_is_not_there)
{
    const char *directory = make_directory();
    char path[64];
    const struct config_value *root = NULL;
    write_file(directory, "a.json", "{ \"include\": [\"*.json\", \"b.txt\", 5, \".\"] }");
    write_file(directory, "b.json", "{ \"include\": \"a.json\" }");
    snprintf(path, sizeof(path), "%s/a.json", directory);
    ck_assert_int_eq(load_file(path, &arena, diagnostics, &root), 0);
    diagnostics_sort(diagnostics);
    static const enum diagnostic_code want[] = { DIAGNOSTIC_INCLUDE, DIAGNOSTIC_FILE_UNREADABLE,
        DIAGNOSTIC_TYPE, DIAGNOSTIC_FILE_UNREADABLE, DIAGNOSTIC_INCLUDE_KEY };
    ck_assert_uint_eq(diagnostics_errors(diagnostics), 5);
    for (size_t i = 0; i < 5; i++) {
        ck_assert_int_eq(diagnostics_get(diagnostics, i)->code, want[i]);
    }
}
END_TEST

START_TEST(refuses_what_is_no_regular_file)
{
    const char *directory = make_directory();
    char path[64];
    struct source *source;
    snprintf(path, sizeof(path), "%s/fifo", directory);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    ck_assert_int_eq(source_read(path, &source), -ENOTSUP);
    ck_assert_int_eq(source_read(directory, &source), -EISDIR);
    ck_assert_int_eq(source_read("/dev/zero", &source), -ENOTSUP);
    ck_assert_int_eq(source_read("/no/such/file", &source), -ENOENT);
    snprintf(path, sizeof(path), "%s/large", directory);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    ck_assert_int_eq(ftruncate(fd, SOURCE_MAX_BYTES + 1), 0);
    close(fd);
    ck_assert_int_eq(source_read(path, &source), -EFBIG);
}
END_TEST

START_TEST(survives_each_allocation_failing)
{
    setenv("WEIR_TEST_A", "one", 1);
    UNIT_EACH_ALLOCATION_FAILS({
        struct arena own;
        arena_init(&own, NULL, 0, 1 << 20);
        struct diagnostics *mistakes = diagnostics_new();
        const struct config_value *root;
        if (mistakes != NULL) {
            int r = document_load_text("a",
                    WEIR_STR("{ \"a\": [1, 2, 3, 4, 5, 6, 7, 8, 9], \"\\u0062\": \"x\","
                             "\"c\": \"${env:WEIR_TEST_A}\", \"a\": {} }"),
                    &own, mistakes, &root);
            ck_assert(r == 0 || r == -ENOMEM);
        }
        arena_reset(&own);
        diagnostics_free(mistakes);
    })
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, reads_comments_and_trailing_commas);
    tcase_add_test(tests, decodes_escapes_in_keys_and_values);
    tcase_add_test(tests, keeps_the_last_of_a_repeated_key);
    tcase_add_test(tests, stands_every_damage);
    tcase_add_test(tests, takes_values_from_the_environment_and_from_files);
    tcase_add_test(tests, sees_paths_from_the_file_they_stand_in);
    tcase_add_test(tests, puts_included_files_together_in_sorted_order);
    tcase_add_test(tests, refuses_to_include_itself_and_what_is_not_there);
    tcase_add_test(tests, refuses_what_is_no_regular_file);
    tcase_add_test(tests, survives_each_allocation_failing);
}

UNIT_MAIN("config/text", add_tests)
