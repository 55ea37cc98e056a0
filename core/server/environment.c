/* SPDX-License-Identifier: MIT */
#include "server/environment.h"

#include <stdbool.h>
#include <string.h>
#include <unistd.h>

/* A name, or the beginning of names where it ends in an underscore. */
static const char *const kept[] = { "PATH", "HOME", "TMPDIR", "TZ", "LANG", "LANGUAGE", "LC_",
    "LD_LIBRARY_PATH", "LD_PRELOAD", "GLIBC_TUNABLES", "MALLOC_", "SSL_CERT_", "OPENSSL_CONF",
    "ASAN_", "LSAN_", "TSAN_", "UBSAN_", "MSAN_", "GCOV_", "LLVM_PROFILE_FILE", "WEIR_" };

static bool
is_kept(const char *variable)
{
    bool is = false;
    for (size_t i = 0; !is && i < sizeof(kept) / sizeof(kept[0]); i++) {
        size_t len = strlen(kept[i]);
        is = strncmp(variable, kept[i], len) == 0 &&
                (kept[i][len - 1] == '_' || variable[len] == '=');
    }
    return is;
}

void
environment_clean(void)
{
    char **to = environ;
    for (char **from = environ; from != NULL && *from != NULL; from++) {
        if (is_kept(*from)) {
            *to++ = *from;
        }
    }
    if (to != NULL) {
        *to = NULL;
    }
}
