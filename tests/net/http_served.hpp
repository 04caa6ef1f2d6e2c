// SPDX-License-Identifier: MIT
// An HTTP server that runs on a thread of its own, and a client, for tests.
#pragma once

#include <ringstep/net/http.hpp>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ensure.hpp"
#include "net/client.hpp"
#include "net/served.hpp"

namespace http_test {

using namespace std::chrono_literals;
using ringstep::HttpField;
using ringstep::HttpOptions;
using ringstep::HttpRequest;
using ringstep::HttpResponse;
using ringstep::HttpServer;

/// Serves on a thread of its own, and calls a function for each request there.
class Served : public ServedBy<HttpServer, HttpRequest> {
public:
    /// Before it listens, calls `prepare` on the thread of the server.
    explicit Served(Handle handle, const HttpOptions& options = {}, Prepare prepare = {}, std::chrono::seconds drain = 5s)
        : ServedBy(
              [options](ringstep::Ring& ring) {
                  HttpOptions own = options;
                  own.server.linger = 200ms;  // at the end, clients are still there
                  return HttpServer{ring, own};
              },
              std::move(handle), std::move(prepare), drain) {}
};

/// A response as a client reads it.
struct Response {
    unsigned status = 0;
    std::string head;
    std::string body;
    [[nodiscard]] bool has(std::string_view line) const {
        return head.find("\r\n" + std::string(line) + "\r\n") != std::string::npos;
    }
};

/// Reads one response.
inline Response read(const Client& client, bool of_head = false) {
    Response response;
    while (response.head.size() < 4 || response.head.compare(response.head.size() - 4, 4, "\r\n\r\n") != 0) {
        const std::string byte = client.receive(1);
        if (byte.empty()) return response;
        response.head += byte;
    }
    if (response.head.size() > 12) response.status = static_cast<unsigned>(std::stoul(response.head.substr(9, 3)));
    const std::size_t at = response.head.find("Content-Length: ");
    if (at != std::string::npos && !of_head) response.body = client.receive(std::stoul(response.head.substr(at + 16)));
    return response;
}

inline Response ask(const Client& client, std::string_view request, bool of_head = false) {
    ensure(client.send(request));
    return read(client, of_head);
}

inline std::string get(std::string_view path, std::string_view fields = {}) {
    return "GET " + std::string(path) + " HTTP/1.1\r\nHost: a\r\n" + std::string(fields) + "\r\n";
}
inline std::string post(std::string_view path, std::string_view body, std::string_view fields = {}) {
    return "POST " + std::string(path) + " HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" +
           std::string(fields) + "\r\n" + std::string(body);
}
/// A body in chunks of sizes from a list, again and again.
inline std::string chunked(std::string_view path, std::string_view body, const std::vector<std::size_t>& sizes) {
    std::string text = "POST " + std::string(path) + " HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (std::size_t i = 0; !body.empty(); i++) {
        const std::size_t size = std::min(sizes[i % sizes.size()], body.size());
        std::array<char, 20> digits{};
        std::snprintf(digits.data(), digits.size(), "%zx", size);
        text += digits.data() + std::string(i % 3 == 0 ? ";x=y" : "") + "\r\n" + std::string(body.substr(0, size)) + "\r\n";
        body.remove_prefix(size);
    }
    return text + "0\r\nTrailer: x\r\n\r\n";
}
inline std::string text_of(std::size_t size, unsigned seed) {
    std::mt19937 random{seed};
    std::string text(size, ' ');
    for (char& byte : text) byte = static_cast<char>('!' + random() % 90);
    return text;
}

}  // namespace http_test
