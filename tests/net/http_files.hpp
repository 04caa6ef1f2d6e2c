// SPDX-License-Identifier: MIT
// Helpers that the tests of files over HTTP share.
#pragma once

#include <ringstep/net/http.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "ensure.hpp"
#include "loops/files.hpp"
#include "net/client.hpp"
#include "net/http_served.hpp"

namespace http_test {

/// Returns text that is the same for the same seed, of any characters.
inline std::string random_text(std::size_t size, std::uint64_t seed = 1) {
    const Bytes bytes = random_bytes(size, seed);
    return {bytes.begin(), bytes.end()};
}

/// Creates a file and writes the content to it.
inline void write_file(const std::string& path, std::string_view content) {
    const File file(path);
    file.write(Bytes(content.begin(), content.end()));
}

/// Answers a request that the loop has handed out: with 404, and its path in the body.
inline void application(HttpServer& server, const HttpRequest& request) {
    ensure(server.respond(request, {.body = "app " + std::string(request.path), .status = 404}));
}

/// Returns a HEAD request for a path.
inline std::string head_of(std::string_view path, std::string_view fields = {}) {
    return "HEAD " + std::string(path) + " HTTP/1.1\r\nHost: a\r\n" + std::string(fields) + "\r\n";
}

/// Returns the value of the header field `name` of a response, or "(none)" if it has no such field.
inline std::string field_of(const Response& response, std::string_view name) {
    const std::string wanted = "\r\n" + std::string(name) + ": ";
    const std::size_t at = response.head.find(wanted);
    if (at == std::string::npos) return "(none)";
    const std::size_t begin = at + wanted.size();
    return response.head.substr(begin, response.head.find("\r\n", begin) - begin);
}

}  // namespace http_test
