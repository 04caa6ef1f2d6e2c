// SPDX-License-Identifier: MIT
// A plain parser of HTTP/1.1, a byte at a time and by other means than the loop's, and the loop's parser behind the same face.
// Tests and a fuzzer compare the two.
#pragma once

#include <ringstep/c/net/http.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

extern "C" {
void http_kit_begin(ringstep_http_request* request);
void http_kit_head(ringstep_http_request* request, const std::uint8_t* bytes, std::uint64_t begin, std::uint64_t end);
std::uint64_t http_kit_between_chunks(ringstep_http_request* request, const std::uint8_t* bytes, std::uint64_t at,
                                      std::uint64_t end);
}

namespace http_test {

/// What a parser makes of bytes.
struct Parsed {
    unsigned status = 0;    ///< refused with this status; 0: not refused
    bool complete = false;  ///< head and body are complete
    bool old = false;       ///< HTTP/1.0
    bool close = false;
    bool keep_alive = false;
    bool expects = false;
    std::string method;
    std::string target;
    std::string path;
    std::vector<std::pair<std::string, std::string>> fields;
    std::string body;
    std::size_t used = 0;  ///< bytes of the request, if it is complete

    friend bool operator==(const Parsed&, const Parsed&) = default;
};

/// Returns both as text, for a failed test.
inline std::string said(const Parsed& parsed) {
    std::string text = "status " + std::to_string(parsed.status) + (parsed.complete ? " complete" : "") +
                       (parsed.old ? " old" : "") + (parsed.close ? " close" : "") + (parsed.keep_alive ? " keep-alive" : "") +
                       (parsed.expects ? " expects" : "") + " [" + parsed.method + "] [" + parsed.target + "] [" + parsed.path +
                       "] used " + std::to_string(parsed.used) + " body [" + parsed.body + "]";
    for (const auto& [name, value] : parsed.fields) text += " [" + name + "=" + value + "]";
    return text;
}

namespace plain {

inline bool is_token(std::string_view text) {
    return !text.empty() && std::all_of(text.begin(), text.end(), [](char byte) {
        const auto value = static_cast<unsigned char>(byte);
        return value < 128 &&
               (std::isalnum(value) != 0 || std::string_view("!#$%&'*+-.^_`|~").find(byte) != std::string_view::npos);
    });
}
inline bool is_host(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char byte) {
        const auto value = static_cast<unsigned char>(byte);
        return value < 128 &&
               (std::isalnum(value) != 0 || std::string_view("!$%&'()*+,-.:;=[]_~").find(byte) != std::string_view::npos);
    });
}
inline bool is_value(std::string_view text) {
    return std::none_of(text.begin(), text.end(), [](char byte) {
        const auto value = static_cast<unsigned char>(byte);
        return (value < 32 && byte != '\t') || value == 127;
    });
}
inline std::string_view trimmed(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
    return text;
}
inline std::string lower(std::string_view text) {
    std::string result(text);
    for (char& byte : result)
        if (byte >= 'A' && byte <= 'Z') byte = static_cast<char>(byte + 32);
    return result;
}

inline unsigned request_line(std::string_view line, Parsed& out) {
    const std::size_t first = line.find(' ');
    if (first == std::string_view::npos) return 400;
    const std::size_t second = line.find(' ', first + 1);
    if (second == std::string_view::npos) return 400;
    const std::string_view method = line.substr(0, first);
    const std::string_view target = line.substr(first + 1, second - first - 1);
    const std::string_view version = line.substr(second + 1);
    if (!is_token(method) || target.empty()) return 400;
    for (const char byte : target)
        if (static_cast<unsigned char>(byte) <= 32 || static_cast<unsigned char>(byte) >= 127) return 400;
    if (version.size() != 8 || version.substr(0, 5) != "HTTP/" || version[6] != '.' || version[5] < '0' || version[5] > '9' ||
        version[7] < '0' || version[7] > '9')
        return 400;
    out.old = version == "HTTP/1.0";
    if (!out.old && version != "HTTP/1.1") return 505;
    if (method == "CONNECT") return 501;
    const std::string small = lower(target);
    if (target[0] != '/' && small.rfind("http://", 0) != 0 && small.rfind("https://", 0) != 0 &&
        !(method == "OPTIONS" && target == "*"))
        return 400;
    out.method = method;
    out.target = target;
    out.path = target.substr(0, target.find('?'));
    return 0;
}

/// Parses one request in front of the bytes. A request that is refused or not complete has nothing but its status.
inline Parsed parse(std::string_view all, std::uint64_t most = ~std::uint64_t{0}) {
    Parsed out;
    const auto refused = [&](unsigned status) {
        Parsed bad;
        bad.status = status;
        return bad;
    };
    bool started = false;
    bool empty = false;
    bool host = false;
    bool length_given = false;
    bool chunked = false;
    std::uint64_t length = 0;
    std::size_t at = 0;
    for (bool in_head = true; in_head;) {
        const std::size_t stop = all.substr(0, std::min<std::size_t>(all.size(), RINGSTEP_HTTP_SIZE)).find('\n', at);
        if (stop == std::string_view::npos) return all.size() >= RINGSTEP_HTTP_SIZE ? refused(started ? 431 : 414) : Parsed{};
        if (stop == at || all[stop - 1] != '\r') return refused(400);
        const std::string_view line = all.substr(at, stop - 1 - at);
        at = stop + 1;
        if (line.empty()) {
            if (started) {
                in_head = false;
                continue;
            }
            if (empty) return refused(400);
            empty = true;
            continue;
        }
        if (!started) {
            started = true;
            if (const unsigned status = request_line(line, out); status != 0) return refused(status);
            continue;
        }
        const std::size_t colon = line.find(':');
        if (colon == std::string_view::npos || !is_token(line.substr(0, colon)) || !is_value(line.substr(colon + 1)))
            return refused(400);
        if (out.fields.size() == RINGSTEP_HTTP_FIELDS) return refused(431);
        const std::string name = lower(line.substr(0, colon));
        const std::string_view value = trimmed(line.substr(colon + 1));
        out.fields.emplace_back(line.substr(0, colon), value);
        if (name == "host") {
            if (host || !is_host(value)) return refused(400);
            host = true;
        } else if (name == "content-length") {
            if (length_given || value.empty()) return refused(400);
            length_given = true;
            for (const char byte : value) {
                if (byte < '0' || byte > '9') return refused(400);
                const auto digit = static_cast<std::uint64_t>(byte - '0');
                if (length > (~std::uint64_t{0} - digit) / 10) return refused(400);
                length = length * 10 + digit;
            }
        } else if (name == "transfer-encoding") {
            if (chunked) return refused(400);
            if (lower(value) != "chunked") return refused(501);
            chunked = true;
        } else if (name == "connection") {
            std::size_t tokens = 0;
            for (std::size_t from = 0; from < value.size();) {
                const std::size_t comma = std::min(value.find(',', from), value.size());
                if (++tokens > RINGSTEP_HTTP_TOKENS) return refused(400);
                const std::string token = lower(trimmed(value.substr(from, comma - from)));
                if (token == "close") out.close = true;
                if (token == "keep-alive") out.keep_alive = true;
                from = comma + 1;
            }
        } else if (name == "expect") {
            if (lower(value) != "100-continue") return refused(417);
            out.expects = true;
        }
    }
    if (!host && !out.old) return refused(400);
    if (chunked && (length_given || out.old)) return refused(400);
    if (!chunked) {
        if (length > most) return refused(413);
        if (all.size() - at < length) return Parsed{};
        out.body = all.substr(at, static_cast<std::size_t>(length));
        out.used = at + static_cast<std::size_t>(length);
        out.complete = true;
        return out;
    }
    for (;;) {
        std::uint64_t size = 0;
        std::size_t digits = 0;
        for (;; at++) {
            if (at == all.size()) return Parsed{};
            const char byte = all[at];
            if (std::isxdigit(static_cast<unsigned char>(byte)) == 0) break;
            if (++digits > RINGSTEP_HTTP_DIGITS) return refused(400);
            size = size * 16 + static_cast<std::uint64_t>(byte <= '9' ? byte - '0' : (byte | 32) - 'a' + 10);
        }
        if (digits == 0) return refused(400);
        if (all[at] != '\r') {
            if (all[at] != ';' && all[at] != ' ' && all[at] != '\t') return refused(400);
            for (std::size_t count = 1; all[at] != '\r'; count++) {
                const auto byte = static_cast<unsigned char>(all[at]);
                if ((byte < 32 && byte != '\t') || byte == 127 || count > RINGSTEP_HTTP_CHUNK) return refused(400);
                if (++at == all.size()) return Parsed{};
            }
        }
        if (++at == all.size()) return Parsed{};
        if (all[at++] != '\n') return refused(400);
        if (size == 0) break;
        if (size > most - out.body.size()) return refused(413);
        const std::string_view rest = all.substr(at);
        if (rest.size() < size) return Parsed{};
        out.body += rest.substr(0, static_cast<std::size_t>(size));
        at += static_cast<std::size_t>(size);
        for (const char expected : {'\r', '\n'}) {
            if (at == all.size()) return Parsed{};
            if (all[at++] != expected) return refused(400);
        }
    }
    std::size_t trailers = 0;
    for (;;) {
        if (at == all.size()) return Parsed{};
        if (all[at] == '\r') {
            if (++at == all.size()) return Parsed{};
            if (all[at++] != '\n') return refused(400);
            out.used = at;
            out.complete = true;
            return out;
        }
        const auto first = static_cast<unsigned char>(all[at]);
        if (first <= 32 || first >= 127 || first == ':') return refused(400);
        for (at++;; at++) {
            if (at == all.size()) return Parsed{};
            const auto byte = static_cast<unsigned char>(all[at]);
            if (byte == '\r') break;
            if ((byte < 32 && byte != '\t') || byte == 127) return refused(400);
            if (++trailers > RINGSTEP_HTTP_TRAILER) return refused(431);
        }
        if (++at == all.size()) return Parsed{};
        if (all[at++] != '\n') return refused(400);
        if (++trailers > RINGSTEP_HTTP_TRAILER) return refused(431);
    }
}

}  // namespace plain

/// The loop's parser. The head arrives in pieces of `piece` bytes, at position `begin` of an array of its own for each.
inline Parsed parse_by_kit(std::string_view all, std::size_t piece, std::size_t begin = 0,
                           std::uint64_t most = ~std::uint64_t{0}) {
    auto request = std::make_unique<ringstep_http_request>();
    const auto head_size = [&](std::size_t size) { return std::min<std::size_t>(size, RINGSTEP_HTTP_SIZE - begin); };
    std::memset(request.get(), 0xa5, sizeof *request);
    http_kit_begin(request.get());
    Parsed out;
    const auto array_of = [](std::string_view bytes, std::size_t at) {
        auto array = std::make_unique<std::array<std::uint8_t, RINGSTEP_HTTP_SIZE>>();
        array->fill('\n');
        std::memcpy(array->data() + at, bytes.data(), bytes.size());
        return array;
    };
    std::size_t have = 0;
    while (request->status == 0 && (request->flags & RINGSTEP_HTTP_COMPLETE) == 0) {
        const std::size_t next = head_size(std::min(have + piece, all.size()));
        if (next == have && have > 0) break;
        have = next;
        const auto array = array_of(all.substr(0, have), begin);
        http_kit_head(request.get(), array->data(), begin, begin + have);
        if (have == head_size(all.size())) break;
    }
    if (request->status == 0 && (request->flags & RINGSTEP_HTTP_COMPLETE) == 0) {
        if (all.size() >= RINGSTEP_HTTP_SIZE) out.status = (request->flags & RINGSTEP_HTTP_STARTED) != 0 ? 431 : 414;
        return out;
    }
    const auto refused = [&](unsigned status) {
        Parsed bad;
        bad.status = status;
        return bad;
    };
    if (request->status != 0) return refused(request->status);
    const auto text = [&](std::size_t from, std::size_t to) { return std::string(all.substr(from, to - from)); };
    out.old = (request->flags & RINGSTEP_HTTP_1_0) != 0;
    out.close = (request->flags & RINGSTEP_HTTP_CLOSE) != 0;
    out.keep_alive = (request->flags & RINGSTEP_HTTP_KEEP_ALIVE) != 0;
    out.expects = (request->flags & RINGSTEP_HTTP_CONTINUE) != 0;
    out.method = text(request->method, request->method_end);
    out.target = text(request->target, request->target_end);
    out.path = text(request->target, request->path_end);
    for (std::size_t i = 0; i < request->fields; i++) {
        const ringstep_http_field& field = request->field[i];
        out.fields.emplace_back(text(field.name, field.name_end), text(field.value, field.value_end));
    }
    std::size_t at = request->head;
    if (request->phase == RINGSTEP_HTTP_IN_LENGTH) {
        if (request->left > most) return refused(413);
        if (all.size() - at < request->left) return Parsed{};
        out.body = all.substr(at, static_cast<std::size_t>(request->left));
        at += out.body.size();
        request->phase = RINGSTEP_HTTP_IN_END;
    }
    while (request->phase != RINGSTEP_HTTP_IN_END) {
        if (at == all.size()) return Parsed{};
        const std::size_t size = std::min({piece, all.size() - at, std::size_t{RINGSTEP_HTTP_SIZE} - begin});
        if (request->phase != RINGSTEP_HTTP_IN_CHUNK) {
            const auto array = array_of(all.substr(at, size), begin);
            at += static_cast<std::size_t>(http_kit_between_chunks(request.get(), array->data(), begin, begin + size)) - begin;
            if (request->status != 0) return refused(request->status);
            if (request->phase == RINGSTEP_HTTP_IN_CHUNK && request->body > most) return refused(413);
            continue;
        }
        const auto take = static_cast<std::size_t>(std::min<std::uint64_t>(request->left, size));
        out.body += all.substr(at, take);
        at += take;
        request->left -= take;
        if (request->left == 0) request->phase = RINGSTEP_HTTP_IN_CHUNK_CR;
    }
    out.used = at;
    out.complete = true;
    return out;
}

}  // namespace http_test
