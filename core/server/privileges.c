/* SPDX-License-Identifier: MIT */
/* Names are resolved first, so that a mistake is found before anything is given up. */
#include "server/privileges.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/num.h"
#include "observe/log.h"
#include "server/exit.h"
#include "server/hint.h"

#define NAME_BYTES  256
#define ENTRY_BYTES 16384 /* of a user's or group's entry, its members included */

/* What is not an answer of the user database: it could not be asked. */
static bool
is_system_error(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOMEM || error == EIO;
}

/* 0; -ENOENT: there is none; another negative errno: it cannot be known. */
static int
find_user(struct weir_str user, uid_t *uid, gid_t *gid)
{
    char name[NAME_BYTES], memory[ENTRY_BYTES];
    struct passwd entry, *found = NULL;
    if (weir_str_to_path(user, name, sizeof(name)) < 0) {
        return -ENOENT;
    }
    uint64_t number;
    bool is_number = num_parse_u64(user, UINT32_MAX - 1, &number) == 0;
    int r = getpwnam_r(name, &entry, memory, sizeof(memory), &found);
    if ((r != 0 || found == NULL) && is_number) {
        r = getpwuid_r((uid_t)number, &entry, memory, sizeof(memory), &found);
    }
    if (r == 0 && found != NULL) {
        *uid = entry.pw_uid;
        *gid = entry.pw_gid;
        return 0;
    }
    if (is_system_error(r)) {
        return -r;
    }
    if (is_number) { /* one without an entry, as in containers */
        *uid = (uid_t)number;
        *gid = (gid_t)number;
    }
    return is_number ? 0 : -ENOENT;
}

static int
find_group(struct weir_str group, gid_t *gid)
{
    char name[NAME_BYTES], memory[ENTRY_BYTES];
    struct group entry, *found = NULL;
    if (weir_str_to_path(group, name, sizeof(name)) < 0) {
        return -ENOENT;
    }
    int r = getgrnam_r(name, &entry, memory, sizeof(memory), &found);
    if (r == 0 && found != NULL) {
        *gid = entry.gr_gid;
        return 0;
    }
    if (is_system_error(r)) {
        return -r;
    }
    uint64_t number;
    if (num_parse_u64(group, UINT32_MAX - 1, &number) < 0) {
        return -ENOENT;
    }
    *gid = (gid_t)number;
    return 0;
}

int
privileges_find(struct weir_str user, struct weir_str group, uid_t *uid, gid_t *gid)
{
    int r = find_user(user, uid, gid);
    return r == 0 && group.len > 0 ? find_group(group, gid) : r;
}

static int
explain(int error, const char *what, struct weir_str name)
{
    if (error == -ENOENT) {
        log_error("workers.%s: there is no %s \"%.*s\" on this system", what, what,
                WEIR_STR_ARG(name));
        return EXIT_CONFIGURATION;
    }
    log_error("workers.%s: \"%.*s\" cannot be looked up: %s%s", what, WEIR_STR_ARG(name),
            strerror(-error), hint_of(-error));
    return EXIT_SYSTEM;
}

int
privileges_drop(struct weir_str user, struct weir_str group)
{
    uid_t uid = geteuid();
    gid_t gid = getegid();
    if (user.len == 0) {
        if (uid != 0) {
            return EXIT_OK;
        }
        log_error("started as root without workers.user: say whose rights to serve with, "
                  "\"workers\": { \"user\": \"www-data\" }, or \"root\" to keep them");
        return EXIT_PERMISSION;
    }
    int r = find_user(user, &uid, &gid);
    if (r < 0) {
        return explain(r, "user", user);
    }
    r = group.len > 0 ? find_group(group, &gid) : 0;
    if (r < 0) {
        return explain(r, "group", group);
    }
    if (geteuid() != 0) {
        if (uid != geteuid()) {
            log_warn("workers.user is \"%.*s\", but only root can become another user: serving "
                     "as user %u",
                    WEIR_STR_ARG(user), (unsigned)geteuid());
        }
        return EXIT_OK;
    }
    if (setgroups(1, &gid) == -1 || setresgid(gid, gid, gid) == -1 ||
            setresuid(uid, uid, uid) == -1) {
        log_error("workers.user: cannot become \"%.*s\": %s", WEIR_STR_ARG(user),
                strerror(errno));
        return EXIT_PERMISSION;
    }
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    return EXIT_OK;
}
