// SPDX-License-Identifier: MIT
// An HTTP/1.1 server without BPF to write: the loop parses requests, answers some paths by itself, and hands the other requests
// to the application.
#pragma once

#include <ringstep/c/hash.h>
#include <ringstep/c/loops/http.h>
#include <ringstep/error.hpp>
#include <ringstep/net/server.hpp>
#include <ringstep/options.hpp>
#include <ringstep/ring.hpp>

#include <ringstep/compiled/http.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace ringstep::inline v0 {

namespace loops {

/// The loop behind the C++ class HttpServer.
struct http;

}  // namespace loops

/// Options of an HttpServer.
struct HttpOptions {
    /// The limits of its connections. `read` is for a head with its body, or for each 8,192 bytes of a longer one.
    ServerOptions server{.idle = std::chrono::seconds(75), .read = std::chrono::seconds(30)};
    std::uint64_t longest_body = 1U << 20U;  ///< a request with a longer body is refused, with the status 413
};

/// A header field of a request or of a response.
struct HttpField {
    std::string_view name;   ///< such as "Content-Type". Large and small letters mean the same
    std::string_view value;  ///< without white space around it
};

/**
 * A request that was parsed by the loop. Its text is in the memory of the server, and valid until the request is answered.
 *
 * What the loop has checked: the head is well-formed, HTTP/1.1 requests have one Host, the method is a token, the target
 * consists of visible ASCII characters and begins with "/", "http://" or "https://" (or is the "*" of OPTIONS), the body is
 * complete. It has not decoded "%20" and the like, and not looked for "/../".
 */
class HttpRequest {
public:
    ServerConnection connection{};  ///< the connection that it has come from
    std::string_view method;        ///< such as "GET"
    std::string_view target;        ///< such as "/search?q=io_uring"
    std::string_view path;          ///< the target up to its question mark
    std::string_view query;         ///< the target behind its question mark
    std::string_view body;          ///< the body, without the frames of its chunks
    bool keep_alive = true;         ///< the client wants the connection to stay open
    bool http_1_0 = false;          ///< the client speaks HTTP/1.0

    /// Returns how many fields the head has.
    [[nodiscard]] std::size_t fields() const noexcept {
        return request_ == nullptr ? 0 : std::min<std::size_t>(request_->fields, RINGSTEP_HTTP_FIELDS);
    }
    /// Returns one of the fields, in the order of the head.
    [[nodiscard]] HttpField field(std::size_t number) const noexcept {
        if (number >= fields()) return {};
        const ringstep_http_field& field = request_->field[number];
        return {part(field.name, field.name_end), part(field.value, field.value_end)};
    }
    /// Returns the value of the first field with this name.
    [[nodiscard]] std::optional<std::string_view> find(std::string_view name) const noexcept {
        for (std::size_t i = 0; i < fields(); i++) {
            const HttpField is = field(i);
            if (same_name(is.name, name)) return is.value;
        }
        return std::nullopt;
    }

private:
    friend class HttpServer;

    static char small(char letter) noexcept {
        return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
    }
    static bool same_name(std::string_view a, std::string_view b) noexcept {
        return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return small(x) == small(y); });
    }
    // The loop has written the positions, but others may write to its memory, too.
    [[nodiscard]] std::string_view part(std::size_t at, std::size_t end) const noexcept {
        end = std::min(end, head_.size());
        return at < end ? head_.substr(at, end - at) : std::string_view();
    }
    void set(const ringstep_http_request& request, std::string_view text, std::size_t length) noexcept {
        length = std::min(length, text.size());
        request_ = &request;
        head_ = text.substr(0, length);
        body = text.substr(length);
        method = part(request.method, request.method_end);
        target = part(request.target, request.target_end);
        path = part(request.target, request.path_end);
        query = part(std::size_t{request.path_end} + 1, request.target_end);
        keep_alive = ringstep_http_keeps(request.flags) != 0;
        http_1_0 = (request.flags & RINGSTEP_HTTP_1_0) != 0;
    }

    std::string_view head_;
    const ringstep_http_request* request_ = nullptr;
};

/// A response, which HttpServer::respond() makes into bytes.
struct HttpResponse {
    std::string_view body{};                              ///< the body
    std::string_view type = "text/plain; charset=utf-8";  ///< the Content-Type; empty: there is no such field
    unsigned status = 200;                                ///< the status
    std::span<const HttpField> fields{};                  ///< further fields
    bool close = false;                                   ///< close the connection when this was sent
};

/// Returns the phrase that belongs to a status, such as "Not Found"; for unknown ones an empty text.
[[nodiscard]] constexpr std::string_view http_phrase(unsigned status) noexcept {
    switch (status) {
        case 100: return "Continue";
        case 101: return "Switching Protocols";
        case 200: return "OK";
        case 201: return "Created";
        case 202: return "Accepted";
        case 204: return "No Content";
        case 206: return "Partial Content";
        case 301: return "Moved Permanently";
        case 302: return "Found";
        case 303: return "See Other";
        case 304: return "Not Modified";
        case 307: return "Temporary Redirect";
        case 308: return "Permanent Redirect";
        case 400: return "Bad Request";
        case 401: return "Unauthorized";
        case 403: return "Forbidden";
        case 404: return "Not Found";
        case 405: return "Method Not Allowed";
        case 406: return "Not Acceptable";
        case 408: return "Request Timeout";
        case 409: return "Conflict";
        case 410: return "Gone";
        case 412: return "Precondition Failed";
        case 413: return "Content Too Large";
        case 415: return "Unsupported Media Type";
        case 416: return "Range Not Satisfiable";
        case 422: return "Unprocessable Content";
        case 429: return "Too Many Requests";
        case 500: return "Internal Server Error";
        case 501: return "Not Implemented";
        case 502: return "Bad Gateway";
        case 503: return "Service Unavailable";
        case 504: return "Gateway Timeout";
        default: return {};
    }
}

/// Returns the status line and the fields of a response, without the empty line behind them. Returns nothing if the status has
/// not three digits, or if a field has characters that it must not have, such as the end of a line.
[[nodiscard]] inline std::string http_head(const HttpResponse& response) {
    constexpr auto is_text = [](std::string_view text) {
        return std::none_of(text.begin(), text.end(), [](char byte) {
            const auto value = static_cast<unsigned char>(byte);
            return (value < ' ' && value != '\t') || value == 0x7f;
        });
    };
    if (response.status < 100 || response.status > 999 || !is_text(response.type)) return {};
    std::string head = "HTTP/1.1 " + std::to_string(response.status) + " ";
    head += http_phrase(response.status);
    head += "\r\n";
    if (!response.type.empty() && response.status >= 200 && response.status != 204 && response.status != 304) {
        head += "Content-Type: ";
        head += response.type;
        head += "\r\n";
    }
    if (response.status >= 200 && response.status != 204 && response.status != 304)
        head += "Content-Length: " + std::to_string(response.body.size()) + "\r\n";
    for (const HttpField& field : response.fields) {
        if (field.name.empty() || field.name.find_first_of(": \t") != std::string_view::npos || !is_text(field.name) ||
            !is_text(field.value))
            return {};
        head += field.name;
        head += ": ";
        head += field.value;
        head += "\r\n";
    }
    return head;
}

/**
 * An HTTP/1.1 server. The loop accepts connections, parses requests strictly, keeps connections open, and accepts pipelined
 * requests. It answers the paths of set_answer() by itself. It hands every other request to the application together with its
 * body, and any thread may answer. The application has at most one request of each connection at a time, so a connection gets
 * its answers in order.
 *
 * It takes up to 512 connections, heads of up to 8,192 bytes with up to 64 fields, and bodies of up to
 * HttpOptions::longest_body. A response has up to 61,440 bytes. Malformed requests get 400, too long ones 413, 414 or 431, and
 * others that it cannot handle 417, 501 or 505; then the connection is closed.
 *
 * **Example**:
 *
 *     ringstep::HttpServer server{ring};
 *     server.set_answer("/health", {.body = "fine\n"});
 *     server.listen(listener.fd());
 *     ringstep::serve(server, [&](const ringstep::HttpRequest& request) {
 *         server.respond(request, {.body = "not here\n", .status = 404});  // any thread may
 *     });
 */
class HttpServer : public ServerLoop<loops::http> {
    using Base = ServerLoop<loops::http>;

public:
    /// What take() returns, and what the function gets that serve() calls.
    using event_type = HttpRequest;

    /// Attaches the loop to a ring. Throws Error: the errors of ServerLoop.
    explicit HttpServer(Ring& ring, const HttpOptions& options = {}, const LoopOptions& loop = {})
        : Base(ring, options.server, loop), assembled_(std::make_unique<Assembled[]>(capacity)) {
        state()->own.longest_body = options.longest_body;
    }

    /// Lets the loop answer GET and HEAD of a path by itself, whatever the query is. `path` is compared with the request's path
    /// byte by byte. Replaces what was set for this path. Requests that have a body are handed to the application nevertheless.
    /// May be called by one thread at a time, also while the loop runs. Throws Error: EINVAL for a path that does not begin
    /// with "/", or a response that is malformed or wants to close; ENAMETOOLONG for a path of more than 128 bytes; EMSGSIZE
    /// for a response of more than 8,192 bytes; ENOSPC after 256 paths.
    void set_answer(std::string_view path, const HttpResponse& response) {
        const std::string what = "setting the answer for the path " + std::string(path.substr(0, RINGSTEP_HTTP_PATH));
        if (path.empty() || path.front() != '/' || path.find('?') != std::string_view::npos)
            detail::raise(EINVAL, what, "A path begins with a slash, and has no question mark.");
        if (path.size() > RINGSTEP_HTTP_PATH)
            detail::raise(ENAMETOOLONG, what, "It has to have at most " + std::to_string(RINGSTEP_HTTP_PATH) + " bytes.");
        const std::string head = http_head(response);
        if (head.empty() || response.status < 200 || response.close)
            detail::raise(
                EINVAL, what,
                "The response needs a status of 200 to 999, fields without line ends, and no `close`: the loop decides that.");
        const std::size_t body = response.status == 204 || response.status == 304 ? 0 : response.body.size();
        if (body > RINGSTEP_HTTP_ANSWER - std::min<std::size_t>(head.size(), RINGSTEP_HTTP_ANSWER) ||
            head.size() > RINGSTEP_HTTP_ANSWER)
            detail::raise(EMSGSIZE, what,
                          "Status line, fields and body have to have at most " + std::to_string(RINGSTEP_HTTP_ANSWER) +
                              " bytes together. Let the application answer.");
        ringstep_http_answer& answer = answer_for(path, what);
        const std::atomic_ref version(answer.version);
        const std::uint32_t next = next_version(version.load(std::memory_order_relaxed));
        std::atomic_thread_fence(std::memory_order_seq_cst);
        auto* const bytes = answer.bytes[next & 1U];
        std::memcpy(bytes, head.data(), head.size());
        if (body > 0) std::memcpy(bytes + head.size(), response.body.data(), body);
        answer.size[next & 1U].head = static_cast<std::uint32_t>(head.size());
        answer.size[next & 1U].length = static_cast<std::uint32_t>(head.size() + body);
        version.store(next, std::memory_order_release);
    }
    /// Hands requests for a path to the application again. The path still counts as one of the 256. May be called like
    /// set_answer().
    void remove_answer(std::string_view path) noexcept {
        ringstep_http_answer* const answer = find_answer(path);
        if (answer == nullptr) return;
        const std::atomic_ref version(answer->version);
        const std::uint32_t next = next_version(version.load(std::memory_order_relaxed));
        std::atomic_thread_fence(std::memory_order_seq_cst);
        answer->size[next & 1U].head = 0;
        version.store(next, std::memory_order_release);
    }

    /// Takes the next request. Returns false if there is none. May be called by one thread at a time, also while the loop runs.
    bool take(HttpRequest& request) {
        ServerEvent event;
        while (Base::take(event)) {
            Assembled& assembled = assembled_[event.connection.slot];
            if (event.kind != ServerEvent::Kind::frame) {
                assembled = Assembled();  // the rest of a request that was cut
                continue;
            }
            const ringstep_http_request& parsed = state()->connections[event.connection.slot].own.request;
            const bool first = parsed.head != 0;
            const bool more = (parsed.flags & RINGSTEP_HTTP_MORE) != 0;
            if (first) assembled = {.text = {}, .head = parsed.head};
            if (more || !first) assembled.text += event.text();
            if (more) {
                Base::answer(event.connection);
                continue;
            }
            request = HttpRequest();
            request.connection = event.connection;
            request.set(parsed, first ? event.text() : std::string_view(assembled.text), assembled.head);
            return true;
        }
        return false;
    }

    /// Answers a request. Returns false if nothing was sent, because the response is longer than 61,440 bytes, or has a status
    /// or fields that cannot be sent (see http_head()): then respond otherwise. A response to HEAD is sent without its body.
    /// May be called from any thread.
    bool respond(const HttpRequest& request, const HttpResponse& response) {
        std::string text = http_head(response);
        if (text.empty()) return false;
        const bool close = response.close || !request.keep_alive;
        if (close)
            text += "Connection: close\r\n";
        else if (request.http_1_0)
            text += "Connection: keep-alive\r\n";
        text += "\r\n";
        if (request.method != "HEAD" && response.status != 204 && response.status != 304) text += response.body;
        if (text.size() > RINGSTEP_HTTP_REPLY || !reply(request.connection, text)) return false;
        answer(request.connection, close);
        return true;
    }

    /// Ends an answer that was written by reply(), whole, with its status line. The connection is closed behind it if `close`
    /// is true or the client wants that. May be called from any thread.
    void answer(const ServerConnection& connection, bool close = false) noexcept {
        const std::uint32_t flags = state()->connections[connection.slot % capacity].own.request.flags;
        Base::answer(connection, close || ringstep_http_keeps(flags) == 0);
    }

    /// Returns how many requests the loop has answered by itself. May be called from any thread.
    [[nodiscard]] std::uint64_t answered() const noexcept {
        return std::atomic_ref(state()->own.answered).load(std::memory_order_relaxed);
    }
    /// Returns how many requests were refused. May be called from any thread.
    [[nodiscard]] std::uint64_t refused() const noexcept {
        return std::atomic_ref(state()->own.refused).load(std::memory_order_relaxed);
    }

private:
    // A request whose body did not fit into one frame.
    struct Assembled {
        std::string text;
        std::uint32_t head = 0;
    };

    static std::uint32_t next_version(std::uint32_t version) noexcept { return version == ~std::uint32_t{0} ? 2 : version + 1; }

    // Returns the distance of the answer for a path from the place that its hash names, or of the first place that was never
    // used.
    std::size_t search(std::string_view path, std::uint64_t hash) const noexcept {
        for (std::size_t distance = 0; distance < RINGSTEP_HTTP_ANSWERS; distance++) {
            const ringstep_http_answer& answer = state()->own.answers[(hash + distance) % RINGSTEP_HTTP_ANSWERS];
            if (answer.version == 0) return distance;
            if (answer.hash == hash && answer.path_length == path.size() &&
                std::memcmp(answer.path, path.data(), path.size()) == 0)
                return distance;
        }
        return RINGSTEP_HTTP_ANSWERS;
    }
    ringstep_http_answer* find_answer(std::string_view path) const noexcept {
        const std::uint64_t hash = ringstep_hash(path.data(), path.size(), 0);
        const std::size_t distance = path.size() > RINGSTEP_HTTP_PATH ? RINGSTEP_HTTP_ANSWERS : search(path, hash);
        ringstep_http_answer* const answer = &state()->own.answers[(hash + distance) % RINGSTEP_HTTP_ANSWERS];
        return distance == RINGSTEP_HTTP_ANSWERS || answer->version == 0 ? nullptr : answer;
    }
    ringstep_http_answer& answer_for(std::string_view path, const std::string& what) {
        const std::uint64_t hash = ringstep_hash(path.data(), path.size(), 0);
        const std::size_t distance = search(path, hash);
        if (distance == RINGSTEP_HTTP_ANSWERS)
            detail::raise(ENOSPC, what,
                          "There are answers for " + std::to_string(RINGSTEP_HTTP_ANSWERS) +
                              " paths already; paths whose answer was removed count, too. Let the application answer.");
        ringstep_http_answer& answer = state()->own.answers[(hash + distance) % RINGSTEP_HTTP_ANSWERS];
        if (answer.version == 0) {
            answer.hash = hash;
            answer.path_length = static_cast<std::uint32_t>(path.size());
            std::memcpy(answer.path, path.data(), path.size());
            const std::atomic_ref reach(state()->own.reach);
            if (reach.load(std::memory_order_relaxed) <= distance)
                reach.store(static_cast<std::uint32_t>(distance + 1), std::memory_order_release);
        }
        return answer;
    }

    std::unique_ptr<Assembled[]> assembled_;
};

}  // namespace ringstep::inline v0
