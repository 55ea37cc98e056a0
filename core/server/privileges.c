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

#define NAME_BYTES  256
#define ENTRY_BYTES 16384 /* of a user's or group's entry, its members included */

static bool
find_user(struct weir_str user, uid_t *uid, gid_t *gid)
{
    char name[NAME_BYTES], memory[ENTRY_BYTES];
    struct passwd entry, *found = NULL;
    if (weir_str_to_path(user, name, sizeof(name)) < 0) {
        return false;
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
        return true;
    }
    if (is_number) { /* one without an entry, as in containers */
        *uid = (uid_t)number;
        *gid = (gid_t)number;
    }
    return is_number;
}

static bool
find_group(struct weir_str group, gid_t *gid)
{
    char name[NAME_BYTES], memory[ENTRY_BYTES];
    struct group entry, *found = NULL;
    if (weir_str_to_path(group, name, sizeof(name)) < 0) {
        return false;
    }
    if (getgrnam_r(name, &entry, memory, sizeof(memory), &found) == 0 && found != NULL) {
        *gid = entry.gr_gid;
        return true;
    }
    uint64_t number;
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
