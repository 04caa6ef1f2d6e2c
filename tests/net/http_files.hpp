// SPDX-License-Identifier: MIT
// What the tests of files over HTTP share.
#pragma once

#include <ringstep/error.hpp>
#include <ringstep/net/http.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

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

/// Makes a file with a content.
inline void write_file(const std::string& path, std::string_view content) {
    const File file(path);
    file.write(Bytes(content.begin(), content.end()));
}

/// The application of these tests answers what the loop does not.
inline void application(HttpServer& server, const HttpRequest& request) {
    ensure(server.respond(request, {.body = "app " + std::string(request.path), .status = 404}));
}

/// Returns a request for the head of what is at a path.
inline std::string head_of(std::string_view path, std::string_view fields = {}) {
    return "HEAD " + std::string(path) + " HTTP/1.1\r\nHost: a\r\n" + std::string(fields) + "\r\n";
}

/// Returns the value of a field of a response.
inline std::string field_of(const Response& response, std::string_view name) {
    const std::string wanted = "\r\n" + std::string(name) + ": ";
    const std::size_t at = response.head.find(wanted);
    if (at == std::string::npos) return "(none)";
    const std::size_t begin = at + wanted.size();
    return response.head.substr(begin, response.head.find("\r\n", begin) - begin);
}

/// Runs work on the thread of a server: the next request for /do does it.
class Errands {
public:
    void operator()(HttpServer& server, const HttpRequest& request) {
        if (request.path == "/do") work_(server);
        application(server, request);
    }
    void run(const Client& client, std::function<void(HttpServer&)> work) {
        work_ = std::move(work);
        ensure(ask(client, get("/do")).status == 404);
    }

private:
    std::function<void(HttpServer&)> work_;
};

/// Returns the errno of the error that work throws, or 0.
inline int error_of(const std::function<void()>& work) {
    try {
        work();
    } catch (const ringstep::Error& error) {
        return error.error_number();
    }
    return 0;
}

}  // namespace http_test
