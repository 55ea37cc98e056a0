/* SPDX-License-Identifier: MIT */
/* Nothing in a foreign table is believed before magic, ABI number and sizes were looked at, in
 * this order; then every table in it is copied to the size that this build knows, so that the
 * rest of the core may index arrays as it likes. A module for an older Weir of the same ABI has
 * shorter tables: what it lacks is zero. A longer one was made for a newer Weir. */
#include "module/loader.h"

#include <dirent.h>
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <limits.h>
#include <link.h>
#include <sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/template.h"
#include "module/metric_table.h"

#define SYMBOL "weir_module_v1"

/* The first version of a table that may be found: up to, not including, the field. */
#define MODULE_MIN_BYTES   offsetof(struct weir_module, init)
#define HANDLER_MIN_BYTES  offsetof(struct weir_handler, help)
#define HOOK_MIN_BYTES     sizeof(struct weir_hook)
#define OPTION_MIN_BYTES   offsetof(struct weir_option, key)
#define CHOICE_MIN_BYTES   sizeof(struct weir_choice)
#define VARIABLE_MIN_BYTES sizeof(struct weir_variable)
#define METRIC_MIN_BYTES   sizeof(struct weir_own_metric)

#define TABLE_MAX 1000
#define DEPTH_MAX 8

struct loaded {
    struct loaded *next;
    char *path; /* owned; NULL: registered */
    const struct weir_module *module;
    bool is_initialised;
    int init_result;
};

/* The process's, for ever. */
static struct loaded *modules;
static loader_step_fn *watcher;
static bool serves_root;

void
loader_watch(loader_step_fn *fn)
{
    watcher = fn;
}

void
loader_step(const char *module, const char *step)
{
    if (watcher != NULL) {
        watcher(module, step);
    }
}

void
loader_serve_root(void)
{
    serves_root = true;
}

bool
loader_is_name(struct weir_str name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '_' || (c == '-' && i > 0))) {
            return false;
        }
    }
    return name.len > 0 && name.len <= LOADER_NAME_MAX;
}

const char *
loader_directory(void)
{
    const char *directory = secure_getenv("WEIR_MODULE_DIR");
    return directory != NULL && directory[0] != '\0' ? directory : WEIR_MODULEDIR;
}

static int refuse(struct loader_mistake *mistake, const char *hint, const char *note,
        const char *format, ...) WEIR_PRINTF(4, 5);
static int
refuse(struct loader_mistake *mistake, const char *hint, const char *note, const char *format,
        ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(mistake->message, sizeof(mistake->message), format, arguments);
    va_end(arguments);
    snprintf(mistake->note, sizeof(mistake->note), "%s", note);
    snprintf(mistake->hint, sizeof(mistake->hint), "%s", hint);
    return -EINVAL;
}

static const char rebuild[] = "rebuild the module against this Weir's headers";

/* Tables of foreign size */

struct table {
    const void *items;
    uint32_t count, item_bytes;
};

/* A copy with elements of `our_bytes`. Returns 0; -EINVAL, -ENOMEM. */
static int
copy_table(struct table table, size_t min_bytes, size_t our_bytes, const char *what,
        struct loader_mistake *mistake, void **out)
{
    char note[128];
    *out = NULL;
    if (table.count == 0) {
        return 0;
    }
    snprintf(note, sizeof(note), "%u elements of %u bytes; expected %zu to %zu bytes",
            table.count, table.item_bytes, min_bytes, our_bytes);
    if (table.items == NULL || table.count > TABLE_MAX || table.item_bytes < min_bytes ||
            table.item_bytes % _Alignof(void *) != 0) {
        return refuse(mistake, rebuild, note, "its table of %s is damaged", what);
    }
    if (table.item_bytes > our_bytes) {
        return refuse(mistake, "install a newer Weir, or rebuild the module against this one",
                note, "its table of %s was made for a newer Weir", what);
    }
    char *copy = calloc(table.count, our_bytes);
    if (copy == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < table.count; i++) {
        memcpy(copy + i * our_bytes, (const char *)table.items + i * table.item_bytes,
                table.item_bytes);
    }
    *out = copy;
    return 0;
}

/* What was copied so far stays: a refused module is not tried again and again. */
static int
copy_options(struct weir_options *options, unsigned depth, struct loader_mistake *mistake)
{
    void *copy;
    if (depth > DEPTH_MAX) {
        return refuse(mistake, "", "", "its tables of options are nested too deep");
    }
    int r = copy_table((struct table){ options->items, options->count, options->item_bytes },
            OPTION_MIN_BYTES, sizeof(struct weir_option), "options", mistake, &copy);
    if (r < 0) {
        return r;
    }
    struct weir_option *items = copy;
    options->items = items;
    options->item_bytes = sizeof(struct weir_option);
    for (size_t i = 0; i < options->count; i++) {
        r = copy_options(&items[i].members, depth + 1, mistake);
        if (r < 0) {
            return r;
        }
        struct weir_choices *choices = &items[i].choices;
        r = copy_table((struct table){ choices->items, choices->count, choices->item_bytes },
                CHOICE_MIN_BYTES, sizeof(struct weir_choice), "choices", mistake, &copy);
        if (r < 0) {
            return r;
        }
        choices->items = copy;
        choices->item_bytes = sizeof(struct weir_choice);
    }
    return 0;
}

static int
copy_handlers(struct weir_handlers *handlers, struct loader_mistake *mistake)
{
    void *copy;
    int r = copy_table((struct table){ handlers->items, handlers->count, handlers->item_bytes },
            HANDLER_MIN_BYTES, sizeof(struct weir_handler), "handlers", mistake, &copy);
    if (r < 0) {
        return r;
    }
    struct weir_handler *items = copy;
    handlers->items = items;
    handlers->item_bytes = sizeof(struct weir_handler);
    for (size_t i = 0; i < handlers->count; i++) {
        r = copy_options(&items[i].options, 0, mistake);
        struct weir_hooks *hooks = &items[i].hooks;
        if (r == 0) {
            r = copy_table((struct table){ hooks->items, hooks->count, hooks->item_bytes },
                    HOOK_MIN_BYTES, sizeof(struct weir_hook), "hooks", mistake, &copy);
        }
        if (r < 0) {
            return r;
        }
        hooks->items = copy;
        hooks->item_bytes = sizeof(struct weir_hook);
        struct weir_variables *variables = &items[i].variables;
        r = copy_table((struct table){ variables->items, variables->count,
                               variables->item_bytes },
                VARIABLE_MIN_BYTES, sizeof(struct weir_variable), "variables", mistake, &copy);
        if (r < 0) {
            return r;
        }
        variables->items = copy;
        variables->item_bytes = sizeof(struct weir_variable);
    }
    return 0;
}

static int
copy_metrics(struct weir_own_metrics *metrics, struct loader_mistake *mistake)
{
    void *copy;
    int r = copy_table((struct table){ metrics->items, metrics->count, metrics->item_bytes },
            METRIC_MIN_BYTES, sizeof(struct weir_own_metric), "figures", mistake, &copy);
    if (r == 0) {
        metrics->items = copy;
        metrics->item_bytes = sizeof(struct weir_own_metric);
    }
    return r;
}

/* Contents */

static bool
is_sound_hook(const struct weir_hook *hook)
{
    switch (hook->on) {
    case WEIR_ON_ACCEPT:
    case WEIR_ON_OPEN:
    case WEIR_ON_CLOSE:
        return hook->connection != NULL;
    case WEIR_ON_REQUEST_BODY:
    case WEIR_ON_REPLY_BODY:
        return hook->filter != NULL;
    case WEIR_ON_HEAD:
    case WEIR_ON_REWRITE:
    case WEIR_ON_ACCESS:
    case WEIR_ON_PREPARE:
    case WEIR_ON_CONTENT:
    case WEIR_ON_REPLY_HEAD:
    case WEIR_ON_LOG:
        return hook->request != NULL;
    }
    return false;
}

/* `{handler.name}` must be one that the server does not know itself, and no other of them. */
static int
check_variables(const struct weir_handler *handler, struct loader_mistake *mistake)
{
    for (size_t i = 0; i < handler->variables.count; i++) {
        const struct weir_variable *variable = &handler->variables.items[i];
        struct weir_str name = variable->name == NULL ? WEIR_STR("")
                                                      : weir_str_from(variable->name);
        struct weir_str stem = name;
        stem.len -= name.len > 0 && name.ptr[name.len - 1] == '.';
        if (!loader_is_name(stem) || variable->value == NULL) {
            return refuse(mistake, rebuild, "letters, digits, _ and -, and a function",
                    "variable %zu of its handler \"%s\" is wrong", i, handler->name);
        }
        char spelled[2 * LOADER_NAME_MAX + 4];
        struct template_piece piece;
        const char *message;
        int len = snprintf(spelled, sizeof(spelled), "%s.%s", handler->name, stem.ptr);
        if (template_variable_parse(weir_str_make(spelled, (size_t)len), NULL, &piece,
                    &message) == 0 ||
                piece.variable != TEMPLATE_LITERAL) {
            return refuse(mistake, rebuild, "",
                    "its variable \"%s\" has a name that is the server's", spelled);
        }
        for (size_t j = 0; j < i; j++) {
            if (strcmp(handler->variables.items[j].name, variable->name) == 0) {
                return refuse(mistake, rebuild, "", "it has two variables \"%s\"", spelled);
            }
        }
    }
    return 0;
}

static int
check_handler(const struct weir_handler *handler, struct loader_mistake *mistake)
{
    char why[256];
    if (!loader_is_name(weir_str_from(handler->name))) {
        return refuse(mistake, rebuild, "letters, digits, _ and -",
                "one of its handlers has no proper name");
    }
    if (!schema_is_sound(&handler->options, why, sizeof(why))) {
        return refuse(mistake, rebuild, why, "the options of its handler \"%s\" are wrong",
                handler->name);
    }
    for (size_t i = 0; i < handler->hooks.count; i++) {
        const struct weir_hook *hook = &handler->hooks.items[i];
        if (!is_sound_hook(hook) || (unsigned)hook->stage > WEIR_STAGE_ENCODE) {
            return refuse(mistake, rebuild,
                    "its phase or stage is unknown, or the function of its kind is missing",
                    "hook %zu of its handler \"%s\" is wrong", i, handler->name);
        }
    }
    return check_variables(handler, mistake);
}

/* Its figures are no other module's: weir_a_b_c may be a's and a_b's. */
static int
check_metrics(const struct weir_module *module, struct loader_mistake *mistake)
{
    struct metric_table_mistake found;
    if (metric_table_check(module, &found) < 0) {
        return refuse(mistake, rebuild, found.note, "%s", found.message);
    }
    for (const struct loaded *l = modules; l != NULL; l = l->next) {
        bool is_other = l->module != module && strcmp(l->module->name, module->name) != 0 &&
                (l->path == NULL || l->path[0] != '\0');
        const char *name = is_other ? metric_table_common(l->module, module) : NULL;
        if (name != NULL) {
            return refuse(mistake, "give one of them another name", "",
                    "its figure \"%s\" is the module %s's", name, l->module->name);
        }
    }
    return 0;
}

static int
check_module(const struct weir_module *module, struct loader_mistake *mistake)
{
    char why[256];
    if (!loader_is_name(weir_str_from(module->name)) || module->version == NULL ||
            module->summary == NULL) {
        return refuse(mistake, rebuild, "", "it has no name, version or summary");
    }
    if (!schema_is_sound(&module->options, why, sizeof(why))) {
        return refuse(mistake, rebuild, why, "its options are wrong");
    }
    for (size_t i = 0; i < module->handlers.count; i++) {
        int r = check_handler(&module->handlers.items[i], mistake);
        for (size_t j = 0; j < i && r == 0; j++) {
            if (strcmp(module->handlers.items[i].name, module->handlers.items[j].name) == 0) {
                r = refuse(mistake, rebuild, "", "it has two handlers \"%s\"",
                        module->handlers.items[i].name);
            }
        }
        if (r < 0) {
            return r;
        }
    }
    return check_metrics(module, mistake);
}

/* What every table begins with, and may be looked at in any. */
static int
check_head(const struct weir_module *module, size_t symbol_bytes,
        struct loader_mistake *mistake)
{
    char note[160];
    if (symbol_bytes < offsetof(struct weir_module, flags)) {
        return refuse(mistake, rebuild, "its " SYMBOL " is too small to be a table",
                "it is no module of Weir");
    }
    if (module->magic != WEIR_MODULE_MAGIC) {
        snprintf(note, sizeof(note), "expected the number 0x%08x at the front, found 0x%08x",
                WEIR_MODULE_MAGIC, module->magic);
        return refuse(mistake, rebuild, note, "it is no module of Weir");
    }
    if (module->abi != WEIR_MODULE_ABI) {
        snprintf(note, sizeof(note), "expected ABI %d, found ABI %u", WEIR_MODULE_ABI,
                module->abi);
        return refuse(mistake,
                module->abi > WEIR_MODULE_ABI
                        ? "install the Weir it was built for, or rebuild it against this one"
                        : rebuild,
                note, "it was built for another Weir");
    }
    if (module->bytes > sizeof(*module)) {
        snprintf(note, sizeof(note), "its table has %u bytes, this Weir knows %zu",
                module->bytes, sizeof(*module));
        return refuse(mistake, "install a newer Weir, or rebuild the module against this one",
                note, "it was built for a newer Weir");
    }
    if (module->bytes < MODULE_MIN_BYTES || module->bytes > symbol_bytes) {
        snprintf(note, sizeof(note), "expected a table of %zu to %zu bytes, found %u",
                MODULE_MIN_BYTES, sizeof(*module), module->bytes);
        return refuse(mistake, rebuild, note, "its table is damaged");
    }
    return 0;
}

/* Files */

static struct loaded *
remember(const struct weir_module *module, const char *path)
{
    struct loaded *loaded = calloc(1, sizeof(*loaded));
    if (loaded == NULL) {
        return NULL;
    }
    if (path != NULL) {
        loaded->path = strdup(path);
        if (loaded->path == NULL) {
            free(loaded);
            return NULL;
        }
    }
    loaded->module = module;
    loaded->next = modules;
    modules = loaded;
    return loaded;
}

/* A module that others may write would hand them the server (F9). */
static int
check_file(const char *path, struct loader_mistake *mistake)
{
    struct stat status;
    if (stat(path, &status) == -1) {
        return errno == ENOENT || errno == ENOTDIR
                ? -ENOENT
                : refuse(mistake, "", strerrordesc_np(errno), "\"%s\" cannot be read", path);
    }
    if (!S_ISREG(status.st_mode)) {
        return refuse(mistake, "", "", "\"%s\" is no regular file", path);
    }
    if ((geteuid() == 0 || serves_root) && (status.st_mode & S_IWOTH) != 0) {
        return refuse(mistake, "chmod o-w", "and this is running as root",
                "everybody may write to \"%s\"", path);
    }
    return 0;
}

static int
open_file(const char *path, const struct weir_module **out, struct loader_mistake *mistake)
{
    int r = check_file(path, mistake);
    if (r < 0) {
        return r;
    }
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) {
        const char *why = dlerror();
        return refuse(mistake, "", why == NULL ? "" : why, "\"%s\" cannot be loaded", path);
    }
    const struct weir_module *found = dlsym(handle, SYMBOL);
    Dl_info info;
    void *extra = NULL;
    if (found == NULL || dladdr1(found, &info, &extra, RTLD_DL_SYMENT) == 0 || extra == NULL) {
        return refuse(mistake, "is it a module of Weir?", "it has no symbol " SYMBOL,
                "\"%s\" is no module of Weir", path);
    }
    r = check_head(found, ((const ElfW(Sym) *)extra)->st_size, mistake);
    if (r < 0) {
        return r;
    }
    struct weir_module *module = calloc(1, sizeof(*module));
    if (module == NULL) {
        return -ENOMEM;
    }
    memcpy(module, found, found->bytes);
    /* Remembered before it is copied and checked, so that nothing of it is ever lost. */
    struct loaded *loaded = remember(module, path);
    if (loaded == NULL) {
        free(module);
        return -ENOMEM;
    }
    r = copy_handlers(&module->handlers, mistake);
    r = r < 0 ? r : copy_options(&module->options, 0, mistake);
    r = r < 0 ? r : copy_metrics(&module->metrics, mistake);
    r = r < 0 ? r : check_module(module, mistake);
    if (r < 0) {
        loaded->path[0] = '\0'; /* found again by nobody */
        return r;
    }
    *out = module;
    return 0;
}

int
loader_register(const struct weir_module *module, struct loader_mistake *mistake)
{
    struct loader_mistake ignored;
    mistake = mistake == NULL ? &ignored : mistake;
    int r = check_head(module, module->bytes, mistake);
    r = r < 0 ? r : check_module(module, mistake);
    if (r < 0) {
        return r;
    }
    for (const struct loaded *l = modules; l != NULL; l = l->next) {
        if (l->path == NULL && strcmp(l->module->name, module->name) == 0) {
            return l->module == module ? 0 : -EEXIST;
        }
    }
    return remember(module, NULL) == NULL ? -ENOMEM : 0;
}

static const struct weir_module *
find_registered(const char *name)
{
    for (const struct loaded *l = modules; l != NULL; l = l->next) {
        if (l->path == NULL && strcmp(l->module->name, name) == 0) {
            return l->module;
        }
    }
    return NULL;
}

static bool
installed_path(const char *name, char path[PATH_MAX])
{
    int len = snprintf(path, PATH_MAX, "%s/%s.so", loader_directory(), name);
    return loader_is_name(weir_str_from(name)) && len > 0 && len < PATH_MAX;
}

bool
loader_is_installed(const char *name)
{
    char path[PATH_MAX];
    return find_registered(name) != NULL ||
            (installed_path(name, path) && access(path, F_OK) == 0);
}

int
loader_verify(const char *name, const char *path, struct weir_str sha256,
        struct loader_mistake *mistake)
{
    char own_path[PATH_MAX], sum[SHA256_DIGEST_STRING_LENGTH], note[128];
    memset(mistake, 0, sizeof(*mistake));
    if (path == NULL && find_registered(name) != NULL) {
        return refuse(mistake, "leave \"sha256\" out", "",
                "it is part of the program, not a file");
    }
    if (path == NULL) {
        if (!installed_path(name, own_path)) {
            return -ENOENT;
        }
        path = own_path;
    }
    if (SHA256File(path, sum) == NULL) {
        int error = errno;
        return error == ENOENT
                ? -ENOENT
                : refuse(mistake, "", strerror(error), "\"%s\" cannot be read", path);
    }
    if (weir_str_eq_icase(sha256, weir_str_from(sum))) {
        return 0;
    }
    snprintf(note, sizeof(note), "its sum is %s", sum);
    return refuse(mistake, "install the file that was meant, or correct the sum", note,
            "\"%s\" is not the file that \"sha256\" names", path);
}

int
loader_open(const char *name, const char *path, const struct weir_module **out,
        struct loader_mistake *mistake)
{
    char own_path[PATH_MAX];
    memset(mistake, 0, sizeof(*mistake));
    const struct weir_module *module = path == NULL ? find_registered(name) : NULL;
    if (module != NULL) {
        *out = module;
        return 0;
    }
    if (path == NULL) {
        if (!installed_path(name, own_path)) {
            return -ENOENT;
        }
        path = own_path;
    }
    for (const struct loaded *l = modules; l != NULL; l = l->next) {
        if (l->path != NULL && strcmp(l->path, path) == 0) {
            module = l->module;
        }
    }
    if (module == NULL) {
        loader_step(name, "load");
        int r = open_file(path, &module, mistake);
        loader_step(NULL, NULL);
        if (r < 0) {
            return r;
        }
    }
    if (name != NULL && strcmp(module->name, name) != 0) {
        char hint[160];
        snprintf(hint, sizeof(hint), "declare it as \"%s\"", module->name);
        return refuse(mistake, hint, "", "\"%s\" holds the module \"%s\"", path, module->name);
    }
    *out = module;
    return 0;
}

int
loader_init(const struct weir_module *module, const void *options,
        struct weir_conf_report *report)
{
    struct loaded *loaded = modules;
    while (loaded != NULL && loaded->module != module) {
        loaded = loaded->next;
    }
    if (module->init == NULL || loaded == NULL) {
        return 0;
    }
    if (!loaded->is_initialised) {
        loaded->is_initialised = true;
        loader_step(module->name, "init");
        loaded->init_result = module->init(options, report);
        loader_step(NULL, NULL);
    }
    return loaded->init_result;
}

/* Names */

struct names {
    char **items;
    size_t count, capacity;
};

static bool
add_name(struct names *names, const char *name, size_t len)
{
    if (names->count == names->capacity) {
        size_t capacity = names->capacity == 0 ? 16 : names->capacity * 2;
        char **items = realloc(names->items, capacity * sizeof(*items));
        if (items == NULL) {
            return false;
        }
        names->items = items;
        names->capacity = capacity;
    }
    char *copy = malloc(len + 1);
    if (copy == NULL) {
        return false;
    }
    memcpy(copy, name, len);
    copy[len] = '\0';
    names->items[names->count++] = copy;
    return true;
}

static int
compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int
loader_names(loader_name_fn *each, void *context)
{
    struct names names = { NULL, 0, 0 };
    bool ok = true;
    for (const struct loaded *l = modules; l != NULL && ok; l = l->next) {
        if (l->path == NULL) {
            ok = add_name(&names, l->module->name, strlen(l->module->name));
        }
    }
    DIR *directory = opendir(loader_directory());
    const struct dirent *entry;
    while (ok && directory != NULL && (entry = readdir(directory)) != NULL) {
        size_t len = strlen(entry->d_name);
        if (len > 3 && strcmp(entry->d_name + len - 3, ".so") == 0 &&
                loader_is_name(weir_str_make(entry->d_name, len - 3))) {
            ok = add_name(&names, entry->d_name, len - 3);
        }
    }
    if (directory != NULL) {
        closedir(directory);
    }
    if (names.count > 0) {
        qsort(names.items, names.count, sizeof(*names.items), compare_names);
    }
    for (size_t i = 0; i < names.count; i++) {
        if (ok && (i == 0 || strcmp(names.items[i], names.items[i - 1]) != 0)) {
            each(context, names.items[i]);
        }
    }
    for (size_t i = 0; i < names.count; i++) {
        free(names.items[i]);
    }
    free(names.items);
    return ok ? 0 : -ENOMEM;
}
