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

#define NAME_BYTES 256

static bool
find_user(struct weir_str user, uid_t *uid, gid_t *gid)
{
    char name[NAME_BYTES];
    if (weir_str_to_path(user, name, sizeof(name)) < 0) {
        return false;
    }
    const struct passwd *entry = getpwnam(name);
    uint64_t number;
    if (entry == NULL && num_parse_u64(user, UINT32_MAX - 1, &number) == 0) {
        entry = getpwuid((uid_t)number);
        if (entry == NULL) {
            *uid = (uid_t)number; /* one without an entry, as in containers */
            *gid = (gid_t)number;
            return true;
        }
    }
    if (entry == NULL) {
        return false;
    }
    *uid = entry->pw_uid;
    *gid = entry->pw_gid;
    return true;
}

static bool
find_group(struct weir_str group, gid_t *gid)
{
    char name[NAME_BYTES];
    if (weir_str_to_path(group, name, sizeof(name)) < 0) {
        return false;
    }
    const struct group *entry = getgrnam(name);
    uint64_t number;
    if (entry != NULL) {
        *gid = entry->gr_gid;
        return true;
    }
    if (num_parse_u64(group, UINT32_MAX - 1, &number) < 0) {
        return false;
    }
    *gid = (gid_t)number;
    return true;
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
    if (!find_user(user, &uid, &gid)) {
        log_error("workers.user: there is no user \"%.*s\" on this system", WEIR_STR_ARG(user));
        return EXIT_CONFIGURATION;
    }
    if (group.len > 0 && !find_group(group, &gid)) {
        log_error("workers.group: there is no group \"%.*s\" on this system",
                WEIR_STR_ARG(group));
        return EXIT_CONFIGURATION;
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
