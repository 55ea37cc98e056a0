/* SPDX-License-Identifier: MIT */
/* The master opens logs and makes sockets with the rights it was started with, workers use the
 * rest with those of workers.user: each path is looked at as whom it concerns. */
#include "server/path_check.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "config/resolve.h"
#include "config/schema.h"
#include "server/exit.h"
#include "server/privileges.h"

#define SCRATCH_MAX_BYTES ((size_t)512 << 20)

enum kind {
    KIND_FILE,   /* to read */
    KIND_FOLDER, /* to read, and to go into */
    KIND_STORE,  /* a folder to make files in */
};

struct looking {
    const struct site *site;
    struct diagnostics *diagnostics;
    struct arena scratch;
    bool no_memory;
    bool is_root; /* who checks */

    /* Workers' rights. */
    bool knows_worker; /* they are known: workers.user is who checks, or whom root can become */
    bool becomes_worker;
    uid_t uid;
    gid_t gid;

    /* Root's own, to come back to. */
    gid_t own_gid;
    gid_t *own_groups;
    int own_groups_count, was_dumpable;
};

/* What was found out about one path. */
struct finding {
    int error; /* 0: all is well */
    bool is_other_kind;
    bool is_above;     /* a folder above it is in the way */
    char at[PATH_MAX]; /* the path, or that folder */
};

/* Rights */

/* Root becomes the user of workers, for looking; and is itself again. */
static bool
become_worker(const struct looking *looking)
{
    return setgroups(1, &looking->gid) == 0 && setegid(looking->gid) == 0 &&
            seteuid(looking->uid) == 0;
}

static void
become_root(const struct looking *looking)
{
    if (seteuid(0) == -1 || setegid(looking->own_gid) == -1 ||
            setgroups((size_t)looking->own_groups_count, looking->own_groups) == -1) {
        _exit(EXIT_SYSTEM); /* never go on as somebody else */
    }
    prctl(PR_SET_DUMPABLE, looking->was_dumpable); /* which the change has cleared */
}

/* Looking */

/* The first folder above the path that cannot be looked into, into found->at. */
static void
find_obstacle(const char *path, struct finding *found)
{
    struct stat status;
    size_t len = strlen(path);
    for (size_t i = 1; i < len; i++) {
        if (path[i] != '/') {
            continue;
        }
        memcpy(found->at, path, i);
        found->at[i] = '\0';
        if (stat(found->at, &status) == -1) {
            return;
        }
        if (faccessat(AT_FDCWD, found->at, X_OK, AT_EACCESS) == -1) {
            return;
        }
    }
    memcpy(found->at, path, len + 1);
}

static void
look_at(const char *path, enum kind kind, struct finding *found)
{
    struct stat status;
    *found = (struct finding){ .error = 0 };
    if (stat(path, &status) == -1) {
        found->error = errno;
        find_obstacle(path, found);
        found->is_above = strcmp(found->at, path) != 0;
        return;
    }
    memcpy(found->at, path, strlen(path) + 1);
    if (S_ISDIR(status.st_mode) != (kind != KIND_FILE)) {
        found->error = kind == KIND_FILE ? EISDIR : ENOTDIR;
        found->is_other_kind = true;
        return;
    }
    int wanted = kind == KIND_FILE ? R_OK : kind == KIND_FOLDER ? R_OK | X_OK : W_OK | X_OK;
    if (faccessat(AT_FDCWD, path, wanted, AT_EACCESS) == -1) {
        found->error = errno;
    }
}

static void
look_as_worker(const struct looking *looking, const char *path, enum kind kind,
        struct finding *found)
{
    if (looking->becomes_worker && become_worker(looking)) {
        look_at(path, kind, found);
        become_root(looking);
        return;
    }
    if (looking->becomes_worker) {
        become_root(looking);
    }
    look_at(path, kind, found);
}

/* Reporting */

static bool
is_missing(const struct finding *found)
{
    return found->error == ENOENT || found->error == ENOTDIR || found->error == ELOOP ||
            found->error == ENAMETOOLONG || found->is_other_kind;
}

/* Who may not: `user "weir"`. */
static void
name_user(const struct looking *looking, bool by_worker, char *dst, size_t bytes)
{
    struct weir_str user = looking->site->workers.user;
    if (by_worker && looking->becomes_worker) {
        snprintf(dst, bytes, "user \"%.*s\"", (int)(user.len < 64 ? user.len : 64), user.ptr);
    } else {
        snprintf(dst, bytes, "user %u, who checks this,", (unsigned)geteuid());
    }
}

static void
report_forbidden(struct looking *looking, const struct config_value *at,
        const struct finding *found, bool by_worker, enum kind kind)
{
    char user[100];
    name_user(looking, by_worker, user, sizeof(user));
    struct diagnostic *d = config_mistake(looking->diagnostics, DIAGNOSTIC_PATH_FORBIDDEN, at,
            "%s may not %s %s", user,
            found->is_above              ? "go into the folder"
                    : kind == KIND_STORE ? "write to"
                                         : "read",
            found->at);
    diagnostic_note(d, "%s", strerrordesc_np(found->error));
    if (by_worker ? looking->knows_worker : looking->is_root) {
        diagnostic_hint(d, "give the right to: chmod or chown");
        return;
    }
    diagnostic_warn(d);
    diagnostic_hint(d, "this matters when the same user runs the server");
}

/* `by_worker`: else the master. `value` NULL: the preset of workers.temp_dir. */
static void
report(struct looking *looking, const struct config_value *value, const struct finding *found,
        bool by_worker, enum kind kind)
{
    const struct config_value nowhere = { .kind = CONFIG_NULL };
    const struct config_value *at = value == NULL ? &nowhere : value;
    const char *correct = value == NULL ? "name another in workers.temp_dir"
                                        : "correct the path";
    struct diagnostic *d;
    if (found->is_other_kind) {
        d = config_mistake(looking->diagnostics, DIAGNOSTIC_PATH_KIND, at, "%s is %s",
                found->at, kind == KIND_FILE ? "a folder, no file" : "a file, no folder");
        diagnostic_hint(d, "%s", correct);
        return;
    }
    if (!is_missing(found)) {
        report_forbidden(looking, at, found, by_worker, kind);
        return;
    }
    bool is_file = kind == KIND_FILE && !found->is_above;
    d = config_mistake(looking->diagnostics, DIAGNOSTIC_PATH_MISSING, at, "there is no %s %s",
            is_file ? "file" : "folder", found->at);
    diagnostic_hint(d, "%s it, or %s", is_file ? "provide" : "make", correct);
    if (found->error != ENOENT) {
        diagnostic_note(d, "%s", strerrordesc_np(found->error));
    }
}

/* The places */

/* The path that `value` means, as it was read; false when that is no path to look at. */
static bool
read_path(struct looking *looking, const struct config_value *value, char path[PATH_MAX])
{
    if (value->kind != CONFIG_STRING) {
        return false;
    }
    struct weir_str resolved = resolve_path(&looking->scratch, value->place.source,
            value->string);
    looking->no_memory |= resolved.ptr == NULL;
    return resolved.ptr != NULL && weir_str_to_path(resolved, path, PATH_MAX) == 0 &&
            path[0] == '/';
}

static void
check_used(struct looking *looking, const struct config_value *value, enum weir_access access)
{
    char path[PATH_MAX];
    struct finding found;
    enum kind kind = access == WEIR_ACCESS_FOLDER ? KIND_FOLDER : KIND_FILE;
    if (read_path(looking, value, path)) {
        look_as_worker(looking, path, kind, &found);
        if (found.error != 0) {
            report(looking, value, &found, true, kind);
        }
    }
}

/* The folder in which the master makes a file, `path`, which is changed. */
static void
check_folder_of(struct looking *looking, const struct config_value *value, char path[PATH_MAX],
        bool may_make_folder)
{
    struct finding found = { .error = 0 };
    for (int above = 0; above < 2; above++) {
        char *slash = strrchr(path, '/');
        if (slash == NULL) {
            return;
        }
        slash[slash == path] = '\0'; /* "/" is a folder too */
        look_at(path, KIND_STORE, &found);
        if (found.error != ENOENT || !may_make_folder) {
            break;
        }
    }
    if (found.error != 0) {
        report(looking, value, &found, false, KIND_STORE);
    }
}

static void
report_kind(struct looking *looking, const struct config_value *value, const char *path,
        const char *is, const char *hint)
{
    struct diagnostic *d = config_mistake(looking->diagnostics, DIAGNOSTIC_PATH_KIND, value,
            "%s is %s", path, is);
    diagnostic_hint(d, "%s", hint);
}

static void
check_log(struct looking *looking, const struct config_value *value)
{
    char path[PATH_MAX];
    struct stat status;
    bool is_stream = value->kind == CONFIG_STRING &&
            (weir_str_eq(value->string, WEIR_STR("stdout")) ||
                    weir_str_eq(value->string, WEIR_STR("stderr")));
    if (is_stream || !read_path(looking, value, path)) {
        return;
    }
    if (lstat(path, &status) == -1) {
        check_folder_of(looking, value, path, false);
    } else if (S_ISDIR(status.st_mode)) {
        report_kind(looking, value, path, "a folder, no file", "correct the path");
    } else if (S_ISLNK(status.st_mode)) {
        report_kind(looking, value, path, "a symbolic link, which is not followed",
                "name the file that it leads to, or \"stdout\" or \"stderr\"");
    } else if (faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) == -1) {
        struct finding found = { .error = errno };
        memcpy(found.at, path, sizeof(path));
        report(looking, value, &found, false, KIND_STORE);
    }
}

/* Options */

static void
check_value(struct looking *looking, const struct weir_option *option,
        const struct config_value *value)
{
    bool is_log = option->type == WEIR_TYPE_LOG || option->element == WEIR_TYPE_LOG;
    if (value->kind == CONFIG_LIST) {
        for (uint32_t i = 0; i < value->count; i++) {
            check_value(looking, option, value->items[i]);
        }
    } else if (is_log) {
        check_log(looking, value);
    } else if (option->access != WEIR_ACCESS_ANY) {
        check_used(looking, value, option->access);
    }
}

static void
check_options(struct looking *looking, const struct weir_options *options,
        const struct config_value *object)
{
    for (uint32_t i = 0; object != NULL && object->kind == CONFIG_OBJECT && i < object->count;
            i++) {
        const struct config_value *value = object->members[i].value;
        const struct weir_option *option = schema_find(options, object->members[i].key);
        bool is_rest = option == NULL && !config_is_note(object->members[i].key);
        option = is_rest ? schema_find_rest(options) : option;
        if (option == NULL) {
            continue;
        }
        if (option->type == WEIR_TYPE_OBJECT) {
            check_options(looking, &option->members, value);
        } else if (option->type == WEIR_TYPE_OBJECTS) {
            for (uint32_t j = 0; value->kind == CONFIG_LIST && j < value->count; j++) {
                check_options(looking, &option->members, value->items[j]);
            }
            check_options(looking, &option->members, value);
        } else if (option->type == WEIR_TYPE_MAP && value->kind == CONFIG_OBJECT) {
            for (uint32_t j = 0; j < value->count; j++) {
                check_value(looking, option, value->members[j].value);
            }
        } else {
            check_value(looking, option, value);
        }
    }
}

/* The process */

static void
check_temp_dir(struct looking *looking)
{
    const struct site *site = looking->site;
    const struct config_value *value = config_find_name(config_find_name(site->document,
                                                                "workers"),
            "temp_dir");
    char path[PATH_MAX];
    struct finding found;
    if ((!site->keeps_bodies && value == NULL) ||
            weir_str_to_path(site->workers.temp_dir, path, sizeof(path)) < 0) {
        return;
    }
    look_as_worker(looking, path, KIND_STORE, &found);
    if (found.error != 0) {
        report(looking, value, &found, true, KIND_STORE);
    }
}

static void
check_socket(struct looking *looking, const struct addr *addr, const struct config_value *value,
        bool may_make_folder)
{
    char path[PATH_MAX];
    struct stat status;
    if (value == NULL || addr->len == 0 || addr->sa.sa_family != AF_UNIX ||
            addr->un.sun_path[0] != '/') {
        return;
    }
    snprintf(path, sizeof(path), "%s", addr->un.sun_path);
    if (lstat(path, &status) == 0 && !S_ISSOCK(status.st_mode)) {
        report_kind(looking, value, path, "there, and no socket",
                "take it away, or give the socket another name");
        return;
    }
    check_folder_of(looking, value, path, may_make_folder);
}

static bool
remember_root(struct looking *looking)
{
    int count = getgroups(0, NULL);
    looking->own_gid = getegid();
    looking->was_dumpable = prctl(PR_GET_DUMPABLE);
    looking->own_groups = count < 0
            ? NULL
            : arena_array(&looking->scratch, (size_t)count, sizeof(*looking->own_groups));
    looking->no_memory |= count >= 0 && looking->own_groups == NULL;
    looking->own_groups_count = looking->own_groups == NULL
            ? -1
            : getgroups(count, looking->own_groups);
    return looking->own_groups_count >= 0;
}

static void
check_user(struct looking *looking)
{
    struct weir_str user = looking->site->workers.user, group = looking->site->workers.group;
    if (user.len == 0) {
        return;
    }
    const struct config_value *workers = config_find_name(looking->site->document, "workers");
    int r = privileges_find(user, group, &looking->uid, &looking->gid);
    looking->knows_worker = r == 0 && (looking->is_root || looking->uid == geteuid());
    looking->becomes_worker = r == 0 && looking->is_root && looking->uid != 0 &&
            remember_root(looking);
    if (r == -ENOENT) {
        bool is_user = privileges_find(user, weir_str_make("", 0), &looking->uid,
                               &looking->gid) == -ENOENT;
        struct weir_str name = is_user ? user : group;
        struct diagnostic *d = config_mistake(looking->diagnostics, DIAGNOSTIC_USER_UNKNOWN,
                config_find_name(workers, is_user ? "user" : "group"),
                "there is no %s \"%.*s\" on this system", is_user ? "user" : "group",
                (int)(name.len < 100 ? name.len : 100), name.ptr);
        diagnostic_hint(d,
                is_user ? "make one: useradd --system, or name another"
                        : "make one: groupadd --system, or name another");
    }
}

static void
check_all(struct looking *looking)
{
    const struct site *site = looking->site;
    const struct config_value *document = site->document;
    check_user(looking);
    const struct config_value *log = config_find_name(config_find_name(document, "log"),
            "file");
    if (log != NULL) {
        check_log(looking, log);
    }
    check_temp_dir(looking);
    check_socket(looking, &site->control.addr,
            config_find_name(config_find_name(document, "control"), "listen"), true);
    for (size_t i = 0; i < site->listeners_count; i++) {
        const struct site_listener *listener = site->listeners[i];
        const struct config_value *address = config_find_name(listener->where, "address");
        check_socket(looking, &listener->addr, address == NULL ? listener->where : address,
                false);
    }
    for (size_t i = 0; i < site->modules_count; i++) {
        check_options(looking, &site->modules[i].module->options, site->modules[i].given);
    }
    for (size_t i = 0; i < site->confs_count; i++) {
        check_options(looking, &site->confs[i]->handler->options, site->confs[i]->merged);
    }
}

int
path_check(const struct site *site, struct diagnostics *diagnostics)
{
    size_t before = diagnostics_errors(diagnostics);
    struct looking looking = { .site = site,
        .diagnostics = diagnostics,
        .is_root = geteuid() == 0 };
    arena_init(&looking.scratch, NULL, 0, SCRATCH_MAX_BYTES);
    check_all(&looking);
    arena_reset(&looking.scratch);
    if (looking.no_memory || diagnostics_is_incomplete(diagnostics)) {
        return -ENOMEM;
    }
    return diagnostics_errors(diagnostics) > before ? -EINVAL : 0;
}
