/* SPDX-License-Identifier: MIT */
#include "observe/zone.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* One that this process has mapped. */
struct zone {
    struct zone_spec spec; /* texts are its own, behind it */
    void *memory;
    struct zone *next;
};

/* A process has one configuration, and keeps the memory of it until it ends. */
static struct {
    struct zone *first; /* owned */
    bool expects_offers;
} zones;

/* ---- what one is ------------------------------------------------------------------------- */

/* Visible ASCII, without what would have to be escaped somewhere. */
static bool
is_name(struct weir_str name)
{
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] <= ' ' || name.ptr[i] > '~' || name.ptr[i] == '"' ||
                name.ptr[i] == '\\') {
            return false;
        }
    }
    return name.len > 0 && name.len <= WEIR_ZONE_NAME_BYTES;
}

bool
zone_is_sound(const struct zone_spec *spec)
{
    return is_name(spec->module) && is_name(spec->name) && spec->bytes > 0 &&
            spec->bytes <= WEIR_ZONE_MAX_BYTES;
}

bool
zone_eq(const struct zone_spec *a, const struct zone_spec *b)
{
    return a->bytes == b->bytes && a->layout == b->layout &&
            weir_str_eq(a->module, b->module) && weir_str_eq(a->name, b->name);
}

/* Whole pages. */
static size_t
file_bytes(const struct zone_spec *spec)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return ((size_t)spec->bytes + page - 1) / page * page;
}

int
zone_make(const struct zone_spec *spec)
{
    int fd = memfd_create("weir-zone", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd == -1) {
        return -errno;
    }
    off_t bytes = (off_t)file_bytes(spec);
    int r;
    do {
        r = fallocate(fd, 0, 0, bytes) == -1 ? -errno : 0;
    } while (r == -EINTR);
    if (r == 0 &&
            (fchmod(fd, S_IRUSR | S_IWUSR) == -1 ||
                    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == -1)) {
        r = -errno;
    }
    if (r < 0) {
        close(fd);
        return r;
    }
    return fd;
}

/* ---- a process that uses them ------------------------------------------------------------ */

void
zone_expect_offers(void)
{
    zones.expects_offers = true;
}

static struct zone *
find(const struct zone_spec *spec)
{
    struct zone *zone = zones.first;
    while (zone != NULL && !zone_eq(&zone->spec, spec)) {
        zone = zone->next;
    }
    return zone;
}

/* Maps `fd` under that name. */
static int
keep(const struct zone_spec *spec, int fd, struct zone **out)
{
    struct stat file;
    size_t bytes = file_bytes(spec);
    if (fstat(fd, &file) == -1) {
        return -errno;
    }
    /* A file of another size would end in a signal. */
    if (!S_ISREG(file.st_mode) || file.st_size != (off_t)bytes) {
        return -EPROTO;
    }
    struct zone *zone = malloc(sizeof(*zone) + spec->module.len + spec->name.len);
    if (zone == NULL) {
        return -ENOMEM;
    }
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
        int r = -errno;
        free(zone);
        return r;
    }
    char *text = (char *)(zone + 1);
    memcpy(text, spec->module.ptr, spec->module.len);
    memcpy(text + spec->module.len, spec->name.ptr, spec->name.len);
    *zone = (struct zone){
        .spec = { weir_str_make(text, spec->module.len),
                weir_str_make(text + spec->module.len, spec->name.len), spec->bytes,
                spec->layout },
        .memory = memory,
        .next = zones.first,
    };
    zones.first = zone;
    *out = zone;
    return 0;
}

int
zone_offer(const struct zone_spec *spec, int fd)
{
    struct zone *zone;
    if (!zone_is_sound(spec)) {
        return -EPROTO;
    }
    return find(spec) != NULL ? -EEXIST : keep(spec, fd, &zone);
}

int
zone_find(const struct zone_spec *spec, void **out)
{
    struct zone *zone = find(spec);
    if (zone == NULL && zones.expects_offers) {
        return -ENOENT;
    }
    if (zone == NULL) {
        int fd = zone_make(spec);
        int r = fd < 0 ? fd : keep(spec, fd, &zone);
        if (fd >= 0) {
            close(fd);
        }
        if (r < 0) {
            return r;
        }
    }
    *out = zone->memory;
    return 0;
}

void
zone_forget(void)
{
    while (zones.first != NULL) {
        struct zone *zone = zones.first;
        zones.first = zone->next;
        munmap(zone->memory, file_bytes(&zone->spec));
        free(zone);
    }
}
