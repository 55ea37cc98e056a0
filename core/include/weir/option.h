/* SPDX-License-Identifier: MIT */
/* Options: how a module says what may be configured, as a table.
 *
 *     struct hello_conf {
 *         const struct weir_template *text;
 *         uint64_t every_ns;
 *     };
 *
 *     static const struct weir_option options[] = {
 *         WEIR_TEMPLATE(struct hello_conf, text, .preset = "Hello", .shorthand = true,
 *                 .help = "Text to send"),
 *         WEIR_DURATION(struct hello_conf, every_ns, .key = "every", .preset = "1s"),
 *     };
 *
 * The core checks what the file says against the table, merges the layers, fills the struct and
 * gives it to every hook as `conf`. Text, lists and tables in it live as long as the
 * configuration, are constant, and are never freed by the module; text is terminated. Equal
 * merged options are one struct. From the same table come `weir explain`, the JSON Schema and
 * the manual page.
 *
 * A field that no option names stays zero, for conf_open() to fill. Numbers in enums are never
 * reused; structs grow at their end only. Grows until 1.0, stable from then on. */
#ifndef WEIR_OPTION_H
#define WEIR_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/api.h>
#include <weir/str.h>

WEIR_BEGIN_DECLS

struct weir_conf_report; /* where conf_check() says what is wrong */
struct weir_template;    /* text with variables, parsed */
struct weir_regex;       /* a compiled regular expression */

/* Where a template's value ends up; what variables put in is escaped for it. */
enum weir_context {
    WEIR_CONTEXT_TEXT = 0,   /* text/plain: as it is */
    WEIR_CONTEXT_HEADER = 1, /* a field's value: CR, LF and NUL never pass */
    WEIR_CONTEXT_TARGET = 2, /* a request target or Location: decoded text is encoded again */
    WEIR_CONTEXT_PATH = 3,   /* a file's path: no variable brings in `..` or NUL */
    WEIR_CONTEXT_HTML = 4,   /* markup: & < > " ' as references */
    WEIR_CONTEXT_LOG = 5, /* a line that a log hook writes: " \\ and what is not ASCII text as
                             \\xNN; what is known at the end ({duration}) may stand here only */
};

enum weir_option_type {
    WEIR_TYPE_BOOL = 1,      /* bool */
    WEIR_TYPE_INT = 2,       /* int64_t; also one of .choices; .optional: false is -1 */
    WEIR_TYPE_COUNT = 3,     /* uint64_t; false: UINT64_MAX, "no limit"; zero is an error */
    WEIR_TYPE_SIZE = 4,      /* uint64_t bytes; "64k" (k, m, g: 1024); false: UINT64_MAX */
    WEIR_TYPE_DURATION = 5,  /* uint64_t ns; "250ms" (ns us ms s m h d w); false: UINT64_MAX */
    WEIR_TYPE_RATE = 6,      /* struct weir_rate; "10/s"; false: count UINT64_MAX */
    WEIR_TYPE_STRING = 7,    /* struct weir_str */
    WEIR_TYPE_PATH = 8,      /* struct weir_str; made absolute from the file it stands in */
    WEIR_TYPE_SECRET = 9,    /* struct weir_str; never shown */
    WEIR_TYPE_ENUM = 10,     /* int: value of one of .choices */
    WEIR_TYPE_STATUS = 11,   /* struct weir_status; 404, "404", "5xx", "400-499" */
    WEIR_TYPE_NETWORK = 12,  /* struct weir_network; "10.0.0.0/8", "::1" */
    WEIR_TYPE_LIST = 13,     /* struct weir_list of .element; one value is a list of one */
    WEIR_TYPE_MAP = 14,      /* struct weir_map to STRING, PATH or TEMPLATE, by .element */
    WEIR_TYPE_TEMPLATE = 15, /* const struct weir_template *, for .context */
    WEIR_TYPE_REGEX = 16,    /* const struct weir_regex * (pcre2) */
    WEIR_TYPE_UPSTREAM = 17, /* struct weir_str: one of `upstreams` */
    WEIR_TYPE_POOL = 18,     /* struct weir_str: one of `pools` */
    WEIR_TYPE_OBJECT = 19,   /* a struct in the struct: .members */
    WEIR_TYPE_OBJECTS = 20,  /* struct weir_list of structs: .members */
    WEIR_TYPE_LOG = 21,      /* struct weir_str; as PATH, or "stdout", "stderr": weir/log.h */
};

/* What an inner layer does to the value of an outer one. Objects always merge key by key. */
enum weir_merge {
    WEIR_MERGE_PRESET = 0,  /* maps: by key; all others: replace */
    WEIR_MERGE_REPLACE = 1, /* the inner value stands alone */
    WEIR_MERGE_APPEND = 2,  /* lists and maps: the outer's, then the inner's */
    WEIR_MERGE_BY_KEY = 3,  /* maps; OBJECTS, whose first member is the key */
};

/* What the keys of a map may be. */
enum weir_keys {
    WEIR_KEYS_ANY = 0,
    WEIR_KEYS_FIELD = 1,  /* names of header fields (RFC 9110 section 5.1); made lower case */
    WEIR_KEYS_STATUS = 2, /* as WEIR_TYPE_STATUS reads them */
};

/* What a path is for. What workers cannot use so is found by `weir check`, before they try. */
enum weir_access {
    WEIR_ACCESS_ANY = 0,    /* nothing is known */
    WEIR_ACCESS_FILE = 1,   /* a file that workers read */
    WEIR_ACCESS_FOLDER = 2, /* a folder whose files workers read */
};

struct weir_rate {
    uint64_t count;  /* so many ... */
    uint64_t per_ns; /* ... in so much time */
};

/* Both ends included; 404 to 404 for a single one. */
struct weir_status {
    uint16_t first, last;
};

/* An address block. IPv4 stands in the first four bytes; bits beyond `bits` are zero. */
struct weir_network {
    uint8_t family; /* 4 or 6 */
    uint8_t bits;   /* 0 to 32 or 128 */
    uint8_t address[16];
};

struct weir_list {
    const void *items; /* see WEIR_LIST_AT() */
    size_t count;
};

/* The i-th element of a list of `type`. */
#define WEIR_LIST_AT(type, list, i) (((const type *)(list)->items)[i])

struct weir_map_entry {
    struct weir_str key;
    struct weir_str value;                 /* the text, also of a template */
    const struct weir_template *template_; /* .element = WEIR_TYPE_TEMPLATE, else NULL */
    struct weir_status status;             /* .keys = WEIR_KEYS_STATUS, else zero */
};

/* In the order of the file. A key may come several times when the file gives it a list. */
struct weir_map {
    const struct weir_map_entry *items;
    size_t count;
};

/* One word of an enum. */
struct weir_choice {
    const char *name;
    int value;
};

struct weir_choices {
    const struct weir_choice *items;
    uint32_t count, item_bytes;
};

struct weir_option;

/* A table of options and the struct that it fills. */
struct weir_options {
    const struct weir_option *items;
    uint32_t count, item_bytes, conf_bytes;
};

struct weir_option {
    enum weir_option_type type;
    const char *field; /* the struct's; also the key, unless `key` says otherwise */
    uint32_t offset, bytes;

    /* The rest is for designated initialisers; all may be absent. */
    const char *key;
    const char *preset; /* as text: "64k", "true", "false"; lists: parts at commas */
    const char *help;   /* one sentence for the manual, no full stop */
    const char *since;  /* version that brought it, "1.2" */
    int64_t min, max;   /* of INT, COUNT, SIZE (bytes), DURATION (ns); equal: no bounds */
    enum weir_option_type element; /* of LIST and MAP */
    enum weir_merge merge;
    enum weir_context context; /* of TEMPLATE, also as element */
    enum weir_keys keys;       /* of MAP */
    struct weir_choices choices;
    struct weir_options members;
    bool required;
    bool shorthand; /* takes the scalar or list that stands in place of the object; one a table
                     */
    bool optional;  /* `false` is accepted and means none: the field stays zero */
    bool rest;      /* a MAP of all keys of the object that no other option names */
    bool single;    /* STATUS: one code, no class or range */
    bool zero;      /* COUNT, SIZE, DURATION: zero is a value */
    enum weir_access access; /* of PATH, also as element */
};

/* Fails to compile when the field is not of the type that the option fills. */
#if defined(__cplusplus)
/* Designators come in the order of struct weir_option, as C++20 wants them. */
#define WEIR_OPTION_FIELD_(conf, name, c_type)             \
    .offset = static_cast<uint32_t>(offsetof(conf, name)), \
    .bytes = static_cast<uint32_t>(sizeof(c_type))
#else
#define WEIR_OPTION_FIELD_(conf, name, c_type)                                              \
    .offset = (uint32_t)offsetof(conf, name),                                               \
    .bytes = (uint32_t)(sizeof(c_type) + 0 * sizeof(struct {                                \
        int unused;                                                                         \
        _Static_assert(__builtin_types_compatible_p(__typeof__(((conf *)0)->name), c_type), \
                "option " #name ": the field is not of type " #c_type);                     \
    }))
#endif

#define WEIR_OPTION_(type_, conf, name, c_type, ...)                                           \
    {                                                                                          \
        .type = (type_), .field = #name, WEIR_OPTION_FIELD_(conf, name, c_type), ##__VA_ARGS__ \
    }

/* One option each: WEIR_STRING(struct conf, field, .preset = "x", .help = "..."). */
#define WEIR_BOOL(conf, name, ...) WEIR_OPTION_(WEIR_TYPE_BOOL, conf, name, bool, ##__VA_ARGS__)
#define WEIR_INT(conf, name, ...) \
    WEIR_OPTION_(WEIR_TYPE_INT, conf, name, int64_t, ##__VA_ARGS__)
#define WEIR_COUNT(conf, name, ...) \
    WEIR_OPTION_(WEIR_TYPE_COUNT, conf, name, uint64_t, ##__VA_ARGS__)
#define WEIR_SIZE(conf, name, ...) \
    WEIR_OPTION_(WEIR_TYPE_SIZE, conf, name, uint64_t, ##__VA_ARGS__)
#define WEIR_DURATION(conf, name, ...) \
    WEIR_OPTION_(WEIR_TYPE_DURATION, conf, name, uint64_t, ##__VA_ARGS__)
#define WEIR_RATE(conf, name, ...) \
    WEIR_OPTION_(WEIR_TYPE_RATE, conf, name, struct weir_rate, ##__VA_ARGS__)
#define WEIR_STRING(conf, name, ...) \
    WEIR_OPTION_(WEIR_TYPE_STRING, conf, name, struct weir_str, ##__VA_ARGS__)
#define WEIR_PATH(conf, name, ...) \
    WEIR_OPTION_(WEIR_TYPE_PATH, conf, name, struct weir_str, ##__VA_ARGS__)
#define WEIR_LOG(conf, name, ...) \
    WEIR_OPTION_(WEIR_TYPE_LOG, conf, name, struct weir_str, ##__VA_ARGS__)
#define WEIR_SECRET(conf, name, ...) \
    WEIR_OPTION_(WEIR_TYPE_SECRET, conf, name, struct weir_str, ##__VA_ARGS__)
/* .choices = WEIR_CHOICES(array) */
#define WEIR_ENUM(conf, name, ...) WEIR_OPTION_(WEIR_TYPE_ENUM, conf, name, int, ##__VA_ARGS__)
#define WEIR_STATUS(conf, name, ...) \
    WEIR_OPTION_(WEIR_TYPE_STATUS, conf, name, struct weir_status, ##__VA_ARGS__)
#define WEIR_NETWORK(conf, name, ...) \
    WEIR_OPTION_(WEIR_TYPE_NETWORK, conf, name, struct weir_network, ##__VA_ARGS__)
#define WEIR_TEMPLATE(conf, name, ...) \
    WEIR_OPTION_(WEIR_TYPE_TEMPLATE, conf, name, const struct weir_template *, ##__VA_ARGS__)
#define WEIR_REGEX(conf, name, ...) \
    WEIR_OPTION_(WEIR_TYPE_REGEX, conf, name, const struct weir_regex *, ##__VA_ARGS__)
#define WEIR_UPSTREAM(conf, name, ...) \
    WEIR_OPTION_(WEIR_TYPE_UPSTREAM, conf, name, struct weir_str, ##__VA_ARGS__)
#define WEIR_POOL(conf, name, ...) \
    WEIR_OPTION_(WEIR_TYPE_POOL, conf, name, struct weir_str, ##__VA_ARGS__)
/* .element = WEIR_TYPE_STRING, PATH, SECRET, ENUM, STATUS, NETWORK, INT, TEMPLATE or REGEX */
#define WEIR_LIST(conf, name, ...) \
    WEIR_OPTION_(WEIR_TYPE_LIST, conf, name, struct weir_list, ##__VA_ARGS__)
/* .element = WEIR_TYPE_STRING, PATH or TEMPLATE; .keys */
#define WEIR_MAP(conf, name, ...) \
    WEIR_OPTION_(WEIR_TYPE_MAP, conf, name, struct weir_map, ##__VA_ARGS__)
/* A struct member of type `struct_type`: .members = WEIR_OPTIONS(struct_type, array) */
#define WEIR_OBJECT(conf, name, struct_type, ...) \
    WEIR_OPTION_(WEIR_TYPE_OBJECT, conf, name, struct_type, ##__VA_ARGS__)
/* A list of structs: .members = WEIR_OPTIONS(struct element, array) */
#define WEIR_OBJECTS(conf, name, ...) \
    WEIR_OPTION_(WEIR_TYPE_OBJECTS, conf, name, struct weir_list, ##__VA_ARGS__)

/* The table in the array `array`, which fills a `conf`. */
#define WEIR_OPTIONS(conf, array)                                                              \
    {                                                                                          \
        (array), (uint32_t)(sizeof(array) / sizeof((array)[0])), (uint32_t)sizeof((array)[0]), \
                (uint32_t)sizeof(conf)                                                         \
    }

/* The words of an enum: an array of struct weir_choice. */
#define WEIR_CHOICES(array)                                                                   \
    {                                                                                         \
        (array), (uint32_t)(sizeof(array) / sizeof((array)[0])), (uint32_t)sizeof((array)[0]) \
    }

/* Reports a mistake in the configuration being checked; `option` is the path of the option
 * ("root", "response.set.x-a", "deny[2]"; NULL or "": the handler itself), which finds the
 * place in the file. The check goes on, so that all mistakes of a run are reported, and fails
 * in the end. Thread: the one that called conf_check(), init(), conf_open(), worker_start() or
 * loop_start(). */
WEIR_API WEIR_SETUP void weir_conf_error(struct weir_conf_report *report, const char *option,
        const char *format, ...) WEIR_PRINTF(3, 4);

/* The same for what is doubtful but works; the check does not fail. */
WEIR_API WEIR_SETUP void weir_conf_warning(struct weir_conf_report *report, const char *option,
        const char *format, ...) WEIR_PRINTF(3, 4);

/* True when `address` (of the given family, 4 or 6; 4 or 16 bytes) is in the block. An IPv4
 * address in IPv6 clothes (::ffff:0:0/96) is compared as IPv4. Any thread. */
WEIR_API WEIR_ANY bool weir_network_has(const struct weir_network *network, int family,
        const uint8_t *address);

/* True when `expression` is found in `text`; false also when the match took too many steps.
 * Any thread. */
WEIR_API WEIR_ANY bool weir_regex_matches(const struct weir_regex *expression,
        struct weir_str text);

WEIR_END_DECLS

#endif
