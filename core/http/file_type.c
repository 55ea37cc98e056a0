/* SPDX-License-Identifier: MIT */
/* A compact table of what web sites hold, after the IANA registry; the system's list of types
 * is not needed. Text is declared as UTF-8, which other encodings need an own type for. */
#include "http/file_type.h"

#include <stdlib.h>

#define EXTENSION_MAX 16

struct row {
    const char *extension, *type;
};

/* Sorted by extension. */
// clang-format off
static const struct row rows[] = {
    { "3gp", "video/3gpp" },
    { "7z", "application/x-7z-compressed" },
    { "aac", "audio/aac" },
    { "ai", "application/postscript" },
    { "apk", "application/vnd.android.package-archive" },
    { "apng", "image/apng" },
    { "atom", "application/atom+xml" },
    { "avi", "video/x-msvideo" },
    { "avif", "image/avif" },
    { "bin", "application/octet-stream" },
    { "bmp", "image/bmp" },
    { "bz2", "application/x-bzip2" },
    { "c", "text/x-c; charset=utf-8" },
    { "conf", "text/plain; charset=utf-8" },
    { "crl", "application/pkix-crl" },
    { "crt", "application/x-x509-ca-cert" },
    { "css", "text/css; charset=utf-8" },
    { "csv", "text/csv; charset=utf-8" },
    { "db", "application/vnd.sqlite3" },
    { "deb", "application/vnd.debian.binary-package" },
    { "der", "application/x-x509-ca-cert" },
    { "dll", "application/octet-stream" },
    { "dmg", "application/x-apple-diskimage" },
    { "doc", "application/msword" },
    { "docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document" },
    { "eot", "application/vnd.ms-fontobject" },
    { "eps", "application/postscript" },
    { "epub", "application/epub+zip" },
    { "exe", "application/octet-stream" },
    { "flac", "audio/flac" },
    { "geojson", "application/geo+json" },
    { "gif", "image/gif" },
    { "glb", "model/gltf-binary" },
    { "gltf", "model/gltf+json" },
    { "gpx", "application/gpx+xml" },
    { "gz", "application/gzip" },
    { "h", "text/x-c; charset=utf-8" },
    { "heic", "image/heic" },
    { "heif", "image/heif" },
    { "htm", "text/html; charset=utf-8" },
    { "html", "text/html; charset=utf-8" },
    { "ico", "image/vnd.microsoft.icon" },
    { "ics", "text/calendar; charset=utf-8" },
    { "img", "application/octet-stream" },
    { "ini", "text/plain; charset=utf-8" },
    { "iso", "application/x-iso9660-image" },
    { "jar", "application/java-archive" },
    { "jpe", "image/jpeg" },
    { "jpeg", "image/jpeg" },
    { "jpg", "image/jpeg" },
    { "js", "text/javascript; charset=utf-8" },
    { "json", "application/json" },
    { "jsonld", "application/ld+json" },
    { "jxl", "image/jxl" },
    { "kml", "application/vnd.google-earth.kml+xml" },
    { "kmz", "application/vnd.google-earth.kmz" },
    { "log", "text/plain; charset=utf-8" },
    { "m3u8", "application/vnd.apple.mpegurl" },
    { "m4a", "audio/mp4" },
    { "m4v", "video/mp4" },
    { "map", "application/json" },
    { "markdown", "text/markdown; charset=utf-8" },
    { "md", "text/markdown; charset=utf-8" },
    { "mid", "audio/midi" },
    { "midi", "audio/midi" },
    { "mjs", "text/javascript; charset=utf-8" },
    { "mkv", "video/matroska" },
    { "mov", "video/quicktime" },
    { "mp3", "audio/mpeg" },
    { "mp4", "video/mp4" },
    { "mpd", "application/dash+xml" },
    { "mpeg", "video/mpeg" },
    { "mpg", "video/mpeg" },
    { "obj", "model/obj" },
    { "odp", "application/vnd.oasis.opendocument.presentation" },
    { "ods", "application/vnd.oasis.opendocument.spreadsheet" },
    { "odt", "application/vnd.oasis.opendocument.text" },
    { "oga", "audio/ogg" },
    { "ogg", "audio/ogg" },
    { "ogv", "video/ogg" },
    { "opus", "audio/ogg" },
    { "otf", "font/otf" },
    { "pdf", "application/pdf" },
    { "pem", "application/x-x509-ca-cert" },
    { "png", "image/png" },
    { "ppt", "application/vnd.ms-powerpoint" },
    { "pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation" },
    { "ps", "application/postscript" },
    { "py", "text/x-python; charset=utf-8" },
    { "rar", "application/vnd.rar" },
    { "rpm", "application/x-rpm" },
    { "rss", "application/rss+xml" },
    { "rtf", "application/rtf" },
    { "sh", "application/x-sh" },
    { "so", "application/octet-stream" },
    { "sqlite", "application/vnd.sqlite3" },
    { "srt", "application/x-subrip" },
    { "stl", "model/stl" },
    { "svg", "image/svg+xml" },
    { "svgz", "image/svg+xml" },
    { "swf", "application/x-shockwave-flash" },
    { "tar", "application/x-tar" },
    { "text", "text/plain; charset=utf-8" },
    { "tgz", "application/gzip" },
    { "tif", "image/tiff" },
    { "tiff", "image/tiff" },
    { "toml", "application/toml" },
    { "torrent", "application/x-bittorrent" },
    { "ts", "video/mp2t" },
    { "tsv", "text/tab-separated-values; charset=utf-8" },
    { "ttf", "font/ttf" },
    { "txt", "text/plain; charset=utf-8" },
    { "usdz", "model/vnd.usdz+zip" },
    { "vcf", "text/vcard; charset=utf-8" },
    { "vtt", "text/vtt; charset=utf-8" },
    { "wasm", "application/wasm" },
    { "wav", "audio/wav" },
    { "weba", "audio/webm" },
    { "webm", "video/webm" },
    { "webmanifest", "application/manifest+json" },
    { "webp", "image/webp" },
    { "woff", "font/woff" },
    { "woff2", "font/woff2" },
    { "xhtml", "application/xhtml+xml" },
    { "xls", "application/vnd.ms-excel" },
    { "xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" },
    { "xml", "text/xml; charset=utf-8" },
    { "xpi", "application/x-xpinstall" },
    { "xsd", "text/xml; charset=utf-8" },
    { "xsl", "text/xml; charset=utf-8" },
    { "xz", "application/x-xz" },
    { "yaml", "application/yaml" },
    { "yml", "application/yaml" },
    { "zip", "application/zip" },
    { "zst", "application/zstd" },
};
// clang-format on

static int
compare(const void *key, const void *row)
{
    return strcmp(key, ((const struct row *)row)->extension);
}

struct weir_str
file_extension(struct weir_str path)
{
    size_t at = path.len;
    while (at > 0 && path.ptr[at - 1] != '.' && path.ptr[at - 1] != '/') {
        at--;
    }
    bool is_extension = at > 1 && path.ptr[at - 1] == '.' && path.ptr[at - 2] != '/';
    return is_extension ? weir_str_make(path.ptr + at, path.len - at) : weir_str_make("", 0);
}

struct weir_str
file_type(struct weir_str path, const struct weir_map *own)
{
    struct weir_str extension = file_extension(path);
    for (size_t i = 0; own != NULL && i < own->count; i++) {
        if (weir_str_eq_icase(own->items[i].key, extension)) {
            return own->items[i].value;
        }
    }
    char lower[EXTENSION_MAX];
    if (extension.len > 0 && extension.len < sizeof(lower)) {
        for (size_t i = 0; i < extension.len; i++) {
            char c = extension.ptr[i];
            lower[i] = c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
        }
        lower[extension.len] = '\0';
        const struct row *row = bsearch(lower, rows, sizeof(rows) / sizeof(rows[0]),
                sizeof(rows[0]), compare);
        if (row != NULL) {
            return weir_str_from(row->type);
        }
    }
    return WEIR_STR("application/octet-stream");
}
