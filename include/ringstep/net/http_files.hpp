// SPDX-License-Identifier: MIT
// What an HttpServer needs to send files: dates, media types, and folders.
#pragma once

#include <ringstep/detail/owned_fd.hpp>
#include <ringstep/error.hpp>

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ringstep::inline v0 {

/// A header field of a request or of a response.
struct HttpField {
    std::string_view name;   ///< such as "Content-Type". Large and small letters mean the same
    std::string_view value;  ///< without white space around it
};

/// How HttpServer::add_file() sends a file.
struct HttpFile {
    std::string_view type{};              ///< the Content-Type; empty: http_type() of the file's name
    std::span<const HttpField> fields{};  ///< further fields, such as Cache-Control
};

/// Which files of a folder HttpServer::add_folder() adds, and how they are sent.
struct HttpFolder {
    std::string_view index = "index.html";  ///< a file with this name is also sent for the path of its folder; empty: none is
    bool hidden = false;                    ///< also add files and folders whose names begin with a point
    std::span<const HttpField> fields{};    ///< further fields of each file, such as Cache-Control
};

/// What HttpServer::add_folder() has done.
struct HttpFolderAdded {
    std::size_t files = 0;              ///< paths that were added
    std::vector<std::string> left_out;  ///< what was not: links that lead out of the folder or to folders, and unreadable files
};

namespace detail {

/// Compares two names and ignores the case of ASCII letters. Returns true if they are equal.
constexpr bool http_same_name(std::string_view a, std::string_view b) noexcept {
    constexpr auto small = [](char letter) {
        return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
    };
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](char x, char y) { return small(x) == small(y); });
}

inline constexpr std::string_view http_months = "JanFebMarAprMayJunJulAugSepOctNovDec";
inline constexpr std::string_view http_days = "SunMonTueWedThuFriSat";

}  // namespace detail

/// Returns a date as HTTP has it, such as "Sun, 06 Nov 1994 08:49:37 GMT". May be called from any thread.
[[nodiscard]] inline std::string http_date(std::chrono::system_clock::time_point time) {
    const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
    std::tm parts{};
    if (::gmtime_r(&seconds, &parts) == nullptr) return {};
    const std::string_view day = detail::http_days.substr(static_cast<std::size_t>(parts.tm_wday) * 3, 3);
    const std::string_view month = detail::http_months.substr(static_cast<std::size_t>(parts.tm_mon) * 3, 3);
    std::array<char, 64> text{};
    const int size =
        std::snprintf(text.data(), text.size(), "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT", day.data(), parts.tm_mday,
                      month.data(), parts.tm_year + 1900, parts.tm_hour, parts.tm_min, parts.tm_sec);
    return {text.data(), static_cast<std::size_t>(std::max(size, 0))};
}

/// Returns the media type for the name of a file by its ending, such as "text/css; charset=utf-8" for "page.css". Returns
/// "application/octet-stream" for unknown endings.
[[nodiscard]] constexpr std::string_view http_type(std::string_view name) noexcept {
    constexpr std::array<std::pair<std::string_view, std::string_view>, 34> types{{
        {".avif", "image/avif"},
        {".bin", "application/octet-stream"},
        {".css", "text/css; charset=utf-8"},
        {".csv", "text/csv; charset=utf-8"},
        {".gif", "image/gif"},
        {".gz", "application/gzip"},
        {".htm", "text/html; charset=utf-8"},
        {".html", "text/html; charset=utf-8"},
        {".ico", "image/x-icon"},
        {".jpeg", "image/jpeg"},
        {".jpg", "image/jpeg"},
        {".js", "text/javascript; charset=utf-8"},
        {".json", "application/json"},
        {".map", "application/json"},
        {".md", "text/markdown; charset=utf-8"},
        {".mjs", "text/javascript; charset=utf-8"},
        {".mp3", "audio/mpeg"},
        {".mp4", "video/mp4"},
        {".ogg", "audio/ogg"},
        {".pdf", "application/pdf"},
        {".png", "image/png"},
        {".svg", "image/svg+xml"},
        {".tar", "application/x-tar"},
        {".ttf", "font/ttf"},
        {".txt", "text/plain; charset=utf-8"},
        {".wasm", "application/wasm"},
        {".wav", "audio/wav"},
        {".webm", "video/webm"},
        {".webmanifest", "application/manifest+json"},
        {".webp", "image/webp"},
        {".woff", "font/woff"},
        {".woff2", "font/woff2"},
        {".xml", "application/xml"},
        {".zip", "application/zip"},
    }};
    for (const auto& [ending, type] : types)
        if (name.size() > ending.size() && detail::http_same_name(name.substr(name.size() - ending.size()), ending))
            return type;
    return "application/octet-stream";
}

namespace detail {

/// Returns http_date() of now, which it makes once a second in each thread.
inline const std::string& http_date_now() {
    thread_local std::time_t last = -1;
    thread_local std::string text;
    const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
    if (now != last) {
        text = http_date(std::chrono::system_clock::from_time_t(now));
        last = now;
    }
    return text;
}

/// Returns true if a text may be the value of a field: it has no control characters but the tabulator.
inline bool http_is_text(std::string_view text) noexcept {
    return std::none_of(text.begin(), text.end(), [](char byte) {
        const auto value = static_cast<unsigned char>(byte);
        return (value < ' ' && value != '\t') || value == 0x7f;
    });
}

/// Appends fields to a head. Returns false if one of them is malformed.
inline bool http_add_fields(std::string& head, std::span<const HttpField> fields) {
    for (const HttpField& field : fields) {
        if (field.name.empty() || field.name.find_first_of(": \t") != std::string_view::npos || !http_is_text(field.name) ||
            !http_is_text(field.value))
            return false;
        head += field.name;
        head += ": ";
        head += field.value;
        head += "\r\n";
    }
    return true;
}

/// Returns true if one of the fields is a Date.
inline bool http_has_date(std::span<const HttpField> fields) noexcept {
    return std::any_of(fields.begin(), fields.end(), [](const HttpField& field) { return http_same_name(field.name, "Date"); });
}

/// Opens a file for an HttpServer and returns its descriptor, or the negative errno. If `folder` is
/// the descriptor of a folder, links must not lead out of it. If it is AT_FDCWD, there is no such limit.
inline int open_for_http(int folder, const char* name) noexcept {
    open_how how{};
    // Opening a FIFO must not wait.
    how.flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    how.resolve = folder == AT_FDCWD ? 0 : RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
    // The kernel says EAGAIN if somebody renames a folder meanwhile, and for as long as somebody holds a lease on the file.
    for (int tries = 0;; tries++) {
        const long fd = ::syscall(SYS_openat2, folder, name, &how, sizeof how);
        if (fd < 0 && (errno == EINTR || (errno == EAGAIN && tries < 100))) continue;
        if (fd < 0) return -errno;
        // io_uring would not wait for the disk.
        (void)::fcntl(static_cast<int>(fd), F_SETFL, 0);
        return static_cast<int>(fd);
    }
}

/// Returns a path as clients send it: what is neither a letter, a digit, a slash, nor one of -._~!$&'()*+,;=:@ is encoded.
inline std::string http_encoded(std::string_view path) {
    constexpr std::string_view plain = "/-._~!$&'()*+,;=:@";
    constexpr std::string_view digits = "0123456789ABCDEF";
    std::string text;
    for (const char byte : path) {
        const auto value = static_cast<unsigned char>(byte);
        const bool letter = (value >= '0' && value <= '9') || ((value | 32U) >= 'a' && (value | 32U) <= 'z' && value < 128);
        if (letter || plain.find(byte) != std::string_view::npos) {
            text += byte;
        } else {
            text += '%';
            text += digits[value >> 4U];
            text += digits[value & 15U];
        }
    }
    return text;
}

/// Returns the strong tag of a file for the field ETag: it changes with the file's inode, its size, and the time of its last
/// change.
inline std::string http_tag(const struct ::stat& file) {
    std::array<char, 80> text{};
    const auto nanoseconds = static_cast<unsigned long long>(file.st_mtim.tv_sec) * 1'000'000'000ULL +
                             static_cast<unsigned long long>(file.st_mtim.tv_nsec);
    (void)std::snprintf(text.data(), text.size(), "\"%llx-%llx-%llx\"", static_cast<unsigned long long>(file.st_ino),
                        static_cast<unsigned long long>(file.st_size), nanoseconds);
    return text.data();
}

}  // namespace detail

}  // namespace ringstep::inline v0
