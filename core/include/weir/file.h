/* SPDX-License-Identifier: MIT */
/* Files: how a module finds them beneath a directory and answers with them.
 *
 *     conf_open:  weir_root_open(path, NULL, &conf->root)
 *     hook:       const struct weir_file *file;
 *                 enum weir_verdict v = weir_file_find(request, conf->root, path,
 *                         WEIR_FILE_TO_SEND, hook, &file);
 *                 if (v != WEIR_NEXT) {
 *                     return v;
 *                 }
 *                 if (weir_file_kind(file) == WEIR_FILE_REGULAR) {
 *                     return weir_reply_with_file(request, 200, file);
 *                 }
 *                 return WEIR_NEXT;
 *
 * The kernel resolves paths beneath the root; neither `..` nor a symbolic link leaves it.
 * What was found is kept by the server for all requests of a loop and looked at again at most
 * once a second. Nothing but regular files is ever opened for reading, and whatever might wait
 * for a disk is done on a thread of a pool while the hook waits.
 *
 * Conditional requests and ranges are the server's: an answer made by weir_reply_with_file(),
 * or declared by weir_reply_representation(), becomes 304, 412, 206 or 416 by itself after the
 * reply-head hooks have seen it as 200.
 *
 * All functions: on the request's loop, unless they say otherwise. Grows until 1.0. */
#ifndef WEIR_FILE_H
#define WEIR_FILE_H

#include <stdint.h>

#include <weir/api.h>
#include <weir/module.h>
#include <weir/option.h>
#include <weir/str.h>

WEIR_BEGIN_DECLS

struct weir_root;    /* a directory beneath which files are found */
struct weir_file;    /* what stood under a path when it was last looked at */
struct weir_listing; /* the names in a directory */

/* What becomes of symbolic links beneath a root. */
enum weir_symlinks {
    WEIR_SYMLINKS_BENEATH = 0, /* followed while they stay beneath it; absolute ones never do */
    WEIR_SYMLINKS_DENY = 1,    /* not followed: as if nothing were there */
};

struct weir_root_settings {
    uint32_t bytes; /* sizeof(struct weir_root_settings) the module was built with */
    enum weir_symlinks symlinks;
    const struct weir_map *types; /* extension (without dot, lower case) to media type, asked
                                     before the built-in ones; NULL: none. Borrowed: lives as
                                     long as the configuration */
};

/* Opens the directory `path` (absolute); `settings` may be NULL. When the path comes to lead to
 * another directory (a link that is switched at a release), that one is used within a second.
 * Returns 0; -ENOTDIR; -EACCES also when this process may not enter it; another negative errno.
 * Thread: any (conf_open). */
WEIR_MUST_USE WEIR_API WEIR_SETUP int weir_root_open(struct weir_str path,
        const struct weir_root_settings *settings, struct weir_root **out);

/* Gives it back; NULL: nothing. Thread: any, when no request uses it any more (conf_close). */
WEIR_API WEIR_SETUP void weir_root_close(struct weir_root *root);

enum weir_file_kind {
    WEIR_FILE_NONE = 0,      /* nothing that can be used: weir_file_error() */
    WEIR_FILE_REGULAR = 1,   /* readable */
    WEIR_FILE_DIRECTORY = 2, /* may be one that cannot be listed */
    WEIR_FILE_OTHER = 3,     /* a FIFO, device or socket; never opened */
};

/* weir_file_find: its bytes are going to be sent; brings into memory what is sent first. */
#define WEIR_FILE_TO_SEND UINT32_C(1)

/* Looks at `path` beneath the root; slashes at its ends do not matter, `` is the root itself.
 * Returns WEIR_NEXT and sets *out, which lives as long as the request; WEIR_PENDING, which the
 * hook returns, and `resume` is called in its place: it asks again for the same path and gets
 * the answer at once; WEIR_FAILED when the phase cannot wait. */
WEIR_MUST_USE WEIR_API WEIR_LOOP enum weir_verdict weir_file_find(struct weir_request *request,
        struct weir_root *root, struct weir_str path, uint32_t flags, weir_request_fn *resume,
        const struct weir_file **out);

WEIR_API WEIR_LOOP enum weir_file_kind weir_file_kind(const struct weir_file *file);

/* 0, or why there is nothing: -ENOENT, -ENOTDIR, -ENAMETOOLONG; -EXDEV and -ELOOP for links
 * that the root does not follow; -EACCES; -EBUSY when too much is waiting for files, or no
 * thread has looked within timeouts.wait; -EMFILE; -ENOMEM. */
WEIR_API WEIR_LOOP int weir_file_error(const struct weir_file *file);

/* Of a regular file. The entity tag with its quotes; the media type with its charset. */
WEIR_API WEIR_LOOP uint64_t weir_file_size(const struct weir_file *file);
WEIR_API WEIR_LOOP int64_t weir_file_modified_ns(
        const struct weir_file *file); /* since 1970, UTC */
WEIR_API WEIR_LOOP struct weir_str weir_file_etag(const struct weir_file *file);
WEIR_API WEIR_LOOP struct weir_str weir_file_type(const struct weir_file *file);

/* A whole answer with a regular file: begin, Content-Type, Last-Modified, ETag, Accept-Ranges,
 * body, end; fields may be set afterwards. With status 200 it is a representation. Answers
 * WEIR_DONE, or WEIR_FAILED. */
WEIR_MUST_USE WEIR_API WEIR_LOOP enum weir_verdict weir_reply_with_file(
        struct weir_request *request, unsigned status, const struct weir_file *file);

/* Says that the answer begun (200, to GET or HEAD) is its resource's representation, with its
 * validators in ETag and Last-Modified: the server then evaluates the request's conditions
 * (RFC 9110 section 13), and its ranges when the whole body is there and a reply-head hook
 * changes none of it. Returns 0; -EINVAL before weir_reply_begin(). */
WEIR_MUST_USE WEIR_API WEIR_LOOP int weir_reply_representation(struct weir_request *request);

/* Reads the directory `path`, on a pool's thread: the kinds, sizes and times of its names as
 * the root would find them; what it would not find is left out. Returns as weir_file_find(). */
WEIR_MUST_USE WEIR_API WEIR_LOOP enum weir_verdict weir_listing_find(
        struct weir_request *request, struct weir_root *root, struct weir_str path,
        weir_request_fn *resume, const struct weir_listing **out);

struct weir_listing_entry {
    struct weir_str name; /* any bytes but slash and NUL */
    enum weir_file_kind kind;
    uint64_t size;
    int64_t modified_s;
};

WEIR_API WEIR_LOOP int weir_listing_error(
        const struct weir_listing *listing); /* 0; as weir_file_error() */
WEIR_API WEIR_LOOP uint32_t weir_listing_count(const struct weir_listing *listing);
WEIR_API WEIR_LOOP bool weir_listing_is_cut(
        const struct weir_listing *listing); /* there are more names */

/* The i-th: directories first, then by name. `i` is below the count. */
WEIR_API WEIR_LOOP const struct weir_listing_entry *weir_listing_at(
        const struct weir_listing *listing, uint32_t i);

WEIR_END_DECLS

#endif
