// SPDX-License-Identifier: MIT
// An HTTP server that runs on a thread of its own, and a client, for tests.
#pragma once

#include <ringstep/net/http.hpp>
#include <ringstep/net/listener.hpp>
#include <ringstep/ringstep.hpp>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <future>
#include <random>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "ensure.hpp"
#include "net/client.hpp"

namespace http_test {

using namespace std::chrono_literals;
using ringstep::HttpField;
using ringstep::HttpOptions;
using ringstep::HttpRequest;
using ringstep::HttpResponse;
using ringstep::HttpServer;

/// Serves on a thread of its own, and calls a function for each request there.
class Served {
public:
    using Handle = std::function<void(HttpServer&, const HttpRequest&)>;

    /// Before it listens, calls `prepare` on the thread of the server.
    explicit Served(Handle handle, HttpOptions options = {}, std::function<void(HttpServer&)> prepare = {}) {
        options.server.linger = 200ms;  // at the end, clients are still there
        std::promise<HttpServer*> made;
        auto there = made.get_future();
        thread_ = std::jthread(
            [this, options, &made, handle = std::move(handle), prepare = std::move(prepare)](const std::stop_token& token) {
                try {
                    ringstep::Ring ring{{.sq_entries = 256}};
                    HttpServer server{ring, options};
                    if (prepare) prepare(server);
                    server.listen(listener_.fd());
                    made.set_value(&server);
                    exit_ = ringstep::serve(server, [&](const HttpRequest& request) { handle(server, request); }, token, 5s);
                    counters_ = server.counters();
                    available_ = server.state()->buffers.ring.available;
                    in_flight_ = ring.in_flight();
                    open_ = server.open();
                } catch (...) {
                    made.set_exception(std::current_exception());
                }
            });
        server_ = there.get();
    }
    Served(const Served&) = delete;
    Served& operator=(const Served&) = delete;
    ~Served() { stop(); }
    HttpServer* operator->() const { return server_; }
    [[nodiscard]] std::uint16_t port() const { return listener_.port(); }
    void stop() {
        if (!thread_.joinable()) return;
        thread_.request_stop();
        thread_.join();
        CHECK(exit_.ok());
        CHECK(available_ == HttpServer::buffers);
        CHECK(in_flight_ == 0);
        CHECK(open_ == 0);
    }
    void request_stop() { thread_.request_stop(); }
    [[nodiscard]] const ringstep_server_counters& counters() const { return counters_; }

private:
    ringstep::Listener listener_{"127.0.0.1", 0};
    HttpServer* server_ = nullptr;
    ringstep::LoopExit exit_;
    ringstep_server_counters counters_{};
    std::uint32_t available_ = 0;
    std::uint32_t open_ = 0;
    std::uint64_t in_flight_ = 0;
    std::jthread thread_;
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
