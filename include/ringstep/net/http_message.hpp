// SPDX-License-Identifier: MIT
// Requests and responses of an HttpServer.
#pragma once

#include <ringstep/c/loops/http.h>
#include <ringstep/net/http_files.hpp>
#include <ringstep/net/server.hpp>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace ringstep::inline v0 {

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
            if (detail::http_same_name(is.name, name)) return is.value;
        }
        return std::nullopt;
    }

private:
    friend class HttpServer;

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
/// not three digits, or if a field has characters that it must not have, such as the end of a line. With `length`, the field
/// Content-Length is among them where a body may follow.
[[nodiscard]] inline std::string http_head(const HttpResponse& response, bool length = true) {
    if (response.status < 100 || response.status > 999 || !detail::http_is_text(response.type)) return {};
    std::string head = "HTTP/1.1 " + std::to_string(response.status) + " ";
    head += http_phrase(response.status);
    head += "\r\n";
    if (!response.type.empty() && response.status >= 200 && response.status != 204 && response.status != 304) {
        head += "Content-Type: ";
        head += response.type;
        head += "\r\n";
    }
    if (length && response.status >= 200 && response.status != 204 && response.status != 304)
        head += "Content-Length: " + std::to_string(response.body.size()) + "\r\n";
    return detail::http_add_fields(head, response.fields) ? head : std::string();
}

}  // namespace ringstep::inline v0
