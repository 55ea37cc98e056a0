/* SPDX-License-Identifier: MIT */
#include "module/metric_table.h"

#include <string.h>

#include "support/unit.h"

#define ROWS(array) ((int)(sizeof(array) / sizeof((array)[0])))

#define COUNTER WEIR_METRIC_COUNTER
#define GAUGE   WEIR_METRIC_GAUGE
#define LONG    WEIR_METRIC_HISTOGRAM
#define SHORT   WEIR_METRIC_SHORT_HISTOGRAM
#define ROUTE   WEIR_METRIC_BY_ROUTE

static struct weir_module
module_of(const char *name, const struct weir_own_metric *items, uint32_t count)
{
    return (struct weir_module){ WEIR_MODULE_HEAD(name, "1", ""),
        .metrics = { items, count, sizeof(*items) } };
}

static const struct {
    const char *why;
    const char *module;
    struct weir_own_metric metrics[2];
    const char *note; /* part of it; NULL: they are taken */
} cases[] = {
    { "a counter", "one", { { COUNTER, ROUTE, "weir_one_hits_total", "Hits", NULL, NULL } },
            NULL },
    { "a gauge", "one", { { GAUGE, 0, "weir_one_streams", "Streams", NULL, NULL } }, NULL },
    { "histograms", "one",
            { { LONG, 0, "weir_one_wait_seconds", "Waits", NULL, NULL },
                    { SHORT, 0, "weir_one_look_seconds", "Looks", NULL, NULL } },
            NULL },
    { "a name with other letters", "My-Module",
            { { COUNTER, 0, "weir_my_module_hits_total", "Hits", NULL, NULL } }, NULL },
    { "two of one name, told apart by a label", "one",
            { { COUNTER, 0, "weir_one_looks_total", "Looks", "result", "hit" },
                    { COUNTER, 0, "weir_one_looks_total", "Looks", "result", "miss" } },
            NULL },
    { "another module's", "one", { { COUNTER, 0, "weir_two_hits_total", "Hits", NULL, NULL } },
            "weir_MODULE_WHAT" },
    { "nothing behind the module", "one", { { GAUGE, 0, "weir_one_", "Hits", NULL, NULL } },
            "weir_MODULE_WHAT" },
    { "no name", "one", { { GAUGE, 0, NULL, "Hits", NULL, NULL } }, "weir_MODULE_WHAT" },
    { "a capital", "one", { { GAUGE, 0, "weir_one_Hits", "Hits", NULL, NULL } },
            "weir_MODULE_WHAT" },
    { "a bracket", "one", { { GAUGE, 0, "weir_one_hits{a=", "Hits", NULL, NULL } },
            "weir_MODULE_WHAT" },
    { "a name that is too long", "one",
            { { GAUGE, 0,
                    "weir_one_and_so_on_and_so_on_and_so_on_and_so_on_and_so_on_and_so_on_and_so_"
                    "on_and_so_on_and_so_on",
                    "Hits", NULL, NULL } },
            "weir_MODULE_WHAT" },
    { "one of the server's", "http",
            { { COUNTER, 0, "weir_http_requests_total", "Hits", NULL, NULL } },
            "the server's own" },
    { "a counter that does not say so", "one",
            { { COUNTER, 0, "weir_one_hits", "Hits", NULL, NULL } }, "ends in _total" },
    { "a gauge that says it is a counter", "one",
            { { GAUGE, 0, "weir_one_a_total", "Hits", NULL, NULL } }, "does not end in" },
    { "a gauge that is part of a histogram", "one",
            { { GAUGE, 0, "weir_one_a_sum", "Hits", NULL, NULL } }, "does not end in" },
    { "a histogram without its unit", "one",
            { { LONG, 0, "weir_one_wait", "Hits", NULL, NULL } }, "ends in _seconds" },
    { "an unknown type", "one", { { 5, 0, "weir_one_wait", "Hits", NULL, NULL } },
            "type is unknown" },
    { "an unknown label", "one", { { GAUGE, 4, "weir_one_wait", "Hits", NULL, NULL } },
            "newer Weir" },
    { "no help", "one", { { GAUGE, 0, "weir_one_wait", NULL, NULL, NULL } }, "help" },
    { "help of two lines", "one", { { GAUGE, 0, "weir_one_wait", "a\nb", NULL, NULL } },
            "help" },
    { "help that would need escapes", "one",
            { { GAUGE, 0, "weir_one_wait", "a\\b", NULL, NULL } }, "help" },
    { "a label without a value", "one", { { GAUGE, 0, "weir_one_wait", "Hits", "a", NULL } },
            "a label is a word" },
    { "a value without a label", "one", { { GAUGE, 0, "weir_one_wait", "Hits", NULL, "a" } },
            "a label is a word" },
    { "a value with a quote", "one", { { GAUGE, 0, "weir_one_wait", "Hits", "a", "\"" } },
            "a label is a word" },
    { "a label of the request's", "one", { { GAUGE, 0, "weir_one_a", "Hits", "route", "a" } },
            "its label is another's" },
    { "a label of histograms", "one", { { LONG, 0, "weir_one_a_seconds", "Hits", "le", "a" } },
            "its label is another's" },
    { "the same twice", "one",
            { { GAUGE, 0, "weir_one_wait", "Hits", NULL, NULL },
                    { GAUGE, 0, "weir_one_wait", "Hits", NULL, NULL } },
            "values that differ" },
    { "a counter and a gauge that OpenMetrics calls the same", "one",
            { { GAUGE, 0, "weir_one_waits", "Hits", NULL, NULL },
                    { COUNTER, 0, "weir_one_waits_total", "Hits", NULL, NULL } },
            "without _total" },
    { "two of one name and another type", "one",
            { { GAUGE, 0, "weir_one_a_seconds", "Hits", "a", "b" },
                    { LONG, 0, "weir_one_a_seconds", "Hits", "a", "c" } },
            "the same type" },
    { "two of one name and other labels", "one",
            { { GAUGE, 0, "weir_one_wait", "Hits", "a", "b" },
                    { GAUGE, ROUTE, "weir_one_wait", "Hits", "a", "c" } },
            "the same type" },
};

START_TEST(takes_what_keeps_to_the_rules_and_says_what_does_not)
{
    uint32_t count = cases[_i].metrics[1].name == NULL ? 1 : 2;
    struct weir_module module = module_of(cases[_i].module, cases[_i].metrics, count);
    struct metric_table_mistake mistake = { .message = "" };
    int r = metric_table_check(&module, &mistake);
    unit_check((r == 0) == (cases[_i].note == NULL), cases[_i].why);
    if (cases[_i].note != NULL) {
        unit_check(strstr(mistake.note, cases[_i].note) != NULL, cases[_i].why);
        unit_check(strstr(mistake.message, "is wrong") != NULL, cases[_i].why);
    }
}
END_TEST

START_TEST(finds_a_name_that_two_modules_have)
{
    static const struct weir_own_metric of_a[] = { { COUNTER, 0, "weir_a_b_c_total", "Hits",
            NULL, NULL } };
    static const struct weir_own_metric of_a_b[] = { { GAUGE, 0, "weir_a_b_d", "Hits", NULL,
                                                             NULL },
        { COUNTER, 0, "weir_a_b_c_total", "Hits", NULL, NULL } };
    struct weir_module a = module_of("a", of_a, 1), a_b = module_of("a-b", of_a_b, 2);
    ck_assert_str_eq(metric_table_common(&a, &a_b), "weir_a_b_c_total");
    a_b.metrics.count = 1;
    ck_assert_ptr_null(metric_table_common(&a, &a_b));
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, takes_what_keeps_to_the_rules_and_says_what_does_not, 0,
            ROWS(cases));
    tcase_add_test(tests, finds_a_name_that_two_modules_have);
}

UNIT_MAIN("module/metric_table", add_tests)
