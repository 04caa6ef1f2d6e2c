// SPDX-License-Identifier: MIT
// Bodies of HTTP responses that are written piece by piece.
#pragma once

#include <ringstep/c/loops/http.h>
#include <ringstep/net/server.hpp>

#include <ringstep/compiled/http.hpp>

#include <array>
#include <charconv>
#include <cstddef>
#include <functional>
#include <string_view>

namespace ringstep::inline v0 {

namespace loops {

/// The loop behind the C++ class HttpServer.
struct http;

}  // namespace loops

/**
 * Where the function that writes a response's body puts the next pieces: see HttpServer::stream(). Each piece is a chunk of the
 * body, or just bytes for a client of HTTP/1.0. An object is valid during the call that it is an argument of.
 */
class HttpBody {
public:
    HttpBody(const HttpBody&) = delete;
    HttpBody& operator=(const HttpBody&) = delete;

    /// Returns how many bytes the next write() takes, up to about 65,500 at first. Returns 0 if nothing more fits. The function
    /// is called again when there is room.
    [[nodiscard]] std::size_t room() const noexcept {
        const std::size_t room = server_.room(connection_);
        return room > around ? room - around : 0;
    }

    /// Appends a piece to the body. Returns false, and appends nothing, if the piece is longer than room().
    bool write(std::string_view piece) noexcept {
        if (piece.empty()) return true;  // an empty chunk would be the end of the body
        if (piece.size() > room()) return false;
        wrote_ = true;
        if (!chunked_) return server_.reply(connection_, piece);
        std::array<char, 18> size{};
        char* const end = std::to_chars(size.data(), size.data() + 16, piece.size(), 16).ptr;
        end[0] = '\r';
        end[1] = '\n';
        return server_.reply(connection_, std::string_view(size.data(), static_cast<std::size_t>(end + 2 - size.data()))) &&
               server_.reply(connection_, piece) && server_.reply(connection_, "\r\n");
    }

    /// Returns the connection of the request.
    [[nodiscard]] const ServerConnection& connection() const noexcept { return connection_; }

private:
    friend class HttpServer;
    HttpBody(ServerLoop<loops::http>& server, const ServerConnection& connection, bool chunked) noexcept
        : server_(server), connection_(connection), chunked_(chunked) {}

    // The size of a chunk, the ends of two lines, and the last chunk of the body.
    static constexpr std::size_t around = 16;

    ServerLoop<loops::http>& server_;
    ServerConnection connection_;
    bool chunked_;
    bool wrote_ = false;
};

/// Writes the next pieces of a response's body, as many as there is room for or as it has. Returns true if there is more to
/// come, and false if that was the end of the body.
using HttpWriter = std::function<bool(HttpBody&)>;

}  // namespace ringstep::inline v0
