// SPDX-License-Identifier: MIT
// An HTTP/1.1 server without BPF to write: the loop parses requests, answers some paths by itself, sends files, and hands the
// other requests to the application.
#pragma once

#include <ringstep/c/hash.h>
#include <ringstep/c/loops/http.h>
#include <ringstep/detail/owned_fd.hpp>
#include <ringstep/error.hpp>
#include <ringstep/exit.hpp>
#include <ringstep/net/http_body.hpp>
#include <ringstep/net/http_files.hpp>
#include <ringstep/net/http_message.hpp>
#include <ringstep/net/server.hpp>
#include <ringstep/options.hpp>
#include <ringstep/ring.hpp>

#include <ringstep/compiled/http.hpp>

#include <fcntl.h>
#include <liburing.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <memory>
#include <mutex>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace ringstep::inline v0 {

/// Options of an HttpServer.
struct HttpOptions {
    /// The limits of its connections. `read` is for a head with its body, or for each 8,192 bytes of a longer one.
    ServerOptions server{.idle = std::chrono::seconds(75), .read = std::chrono::seconds(30)};
    std::uint64_t longest_body = 1U << 20U;  ///< a request with a longer body is refused, with the status 413
    /// How many files can be added, up to 1,024. Each takes a registered file slot, behind the slots of the connections. All
    /// slots count against the limit on open files (`ulimit -n`).
    unsigned files = 256;
    bool dates = true;  ///< answers have the field Date
};

/**
 * An HTTP/1.1 server. The loop accepts connections, parses requests strictly, keeps connections open, and accepts pipelined
 * requests. It answers the paths of set_answer() by itself, and sends the files of add_file() and add_folder(). It hands every
 * other request to the application together with its body, and any thread may answer. The application has at most one request
 * of each connection at a time, so a connection gets its answers in order.
 *
 * It takes up to 512 connections, heads of up to 8,192 bytes with up to 64 fields, and bodies of up to
 * HttpOptions::longest_body. A response of the application has up to 61,440 bytes, or any number by stream(); a file has any
 * size. Malformed requests get 400, too long ones 413, 414 or 431, and others that it cannot handle 417, 501 or 505; then the
 * connection is closed.
 *
 * **Example**:
 *
 *     ringstep::HttpServer server{ring};
 *     server.set_answer("/health", {.body = "fine\n"});
 *     server.add_folder("/", "/srv/www");
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
        : Base(ring, with_slots(options), loop),
          assembled_(std::make_unique<Assembled[]>(capacity)),
          streams_(std::make_unique<Streams>()),
          files_(std::min<std::uint32_t>(options.files, RINGSTEP_HTTP_FILES)) {
        ringstep_http_own& own = state()->own;
        own.longest_body = options.longest_body;
        own.first_file = options.server.first_slot + capacity;
        own.dates = options.dates ? 1 : 0;
        std::memcpy(own.names, detail::http_months.data(), detail::http_months.size());
        std::memcpy(own.names + detail::http_months.size(), detail::http_days.data(), detail::http_days.size());
        set_clock();
    }
    HttpServer(const HttpServer&) = delete;
    HttpServer& operator=(const HttpServer&) = delete;
    /// Ends the requests in flight, closes all connections, and gives the files back. See ServerLoop.
    ~HttpServer() {
        for (std::uint32_t number = 0; number < files_; number++)
            if (state()->own.file[number].in_use != RINGSTEP_HTTP_FILE_FREE) (void)set_slot(number, -1);
    }

    /// Runs the loop like LoopClass::run().
    LoopExit run() noexcept {
        set_clock();
        return Base::run();
    }
    /// Runs the loop like LoopClass::run(), until a stop is requested through `token`.
    LoopExit run(std::stop_token token) noexcept {
        set_clock();
        return Base::run(std::move(token));
    }

    /// Lets the loop answer GET and HEAD of a path by itself, whatever the query is. `path` is compared with the request's path
    /// byte by byte. Replaces what was set for this path. Requests that have a body are handed to the application nevertheless.
    /// May be called by one thread at a time, also while the loop runs. Throws Error: EINVAL for a path that does not begin
    /// with "/", or a response that is malformed, wants to close, or has a Date of its own while HttpOptions::dates is true;
    /// ENAMETOOLONG for a path of more than 128 bytes; EMSGSIZE for a response of more than 8,192 bytes; ENOSPC after 256
    /// paths.
    void set_answer(std::string_view path, const HttpResponse& response) {
        const std::string what = "setting the answer for the path " + std::string(path.substr(0, RINGSTEP_HTTP_PATH));
        check_path(path, RINGSTEP_HTTP_PATH, what);
        const std::string head = http_head(response);
        if (head.empty() || response.status < 200 || response.close)
            detail::raise(
                EINVAL, what,
                "The response needs a status of 200 to 999, fields without line ends, and no `close`: the loop decides that.");
        if (state()->own.dates != 0 && detail::http_has_date(response.fields))
            detail::raise(EINVAL, what, "The loop adds a Date of its own, unless HttpOptions::dates is false.");
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

    /// Lets the loop send a file for GET and HEAD of a path, whatever the query is. The server takes the file's size, its ETag
    /// and its Last-Modified now, and holds the file open; the caller may close the descriptor. Replaces what was added for
    /// this path. An answer of set_answer() for the same path goes first. docs/network.md says what clients may ask for.
    ///
    /// Replace files that are being served by others of the same name (rename(2)), and add them again. If a file becomes
    /// shorter, connections that it is being sent to are closed.
    ///
    /// Must be called on the ring's owning thread while the loop does not run, as in the function that serve() calls. Throws
    /// Error: EINVAL for a path that is not one of visible characters behind a "/", for malformed fields, and for what is not a
    /// regular file; EBADF for a descriptor that cannot be read; ENAMETOOLONG for a path of more than 256 bytes; EMSGSIZE for
    /// fields of more than 512 bytes; ENOSPC if there are HttpOptions::files files already; EEXIST on the wrong thread.
    void add_file(std::string_view path, int descriptor, const HttpFile& file = {}) {
        const std::string what = file_text(path);
        const int flags = ::fcntl(descriptor, F_GETFL);
        if (flags < 0) detail::raise(errno, what, "The descriptor has to be open.");
        if ((flags & O_ACCMODE) == O_WRONLY || (flags & O_PATH) != 0)
            detail::raise(EBADF, what, "The descriptor has to be open for reading.");
        if ((flags & O_NONBLOCK) != 0)
            detail::raise(EINVAL, what, "Open the file without O_NONBLOCK: otherwise io_uring does not wait for the disk.");
        const std::string_view type = file.type.empty() ? http_type(path) : file.type;
        add_open_file(path, descriptor, type, file.fields, what);
    }
    /// Lets the loop send a file like the other add_file(). Opens the file by its name. If the file cannot be opened, it
    /// throws Error with the errno of open(2): EAGAIN means that another process holds a lease on the file.
    void add_file(std::string_view path, const std::filesystem::path& name, const HttpFile& file = {}) {
        const std::string what = file_text(path) + ", which is " + name.string();
        const int fd = detail::open_for_http(AT_FDCWD, name.c_str());
        if (fd < 0) detail::raise(-fd, what);
        const detail::OwnedFd owned(fd);
        const std::string last = name.filename().string();
        add_open_file(path, fd, file.type.empty() ? http_type(last) : file.type, file.fields, what);
    }
    /// Lets the loop send the regular files of a folder, and of all folders in it, as add_file() does. The path of each is
    /// `prefix` and its name below the folder, as browsers send it: characters that need it are encoded (`%20`). Links to files
    /// are followed if they stay in the folder. Links that lead out of it, links to folders, and files that cannot be opened
    /// are left out. Files that come into the folder later are not added: call it again.
    ///
    /// Must be called like add_file(). Throws Error: the errors of add_file(), and those of opening the folder. Files that were
    /// added before an error stay.
    HttpFolderAdded add_folder(std::string_view prefix, const std::filesystem::path& folder, const HttpFolder& options = {}) {
        const std::string what = "adding the folder " + folder.string();
        while (prefix.ends_with('/')) prefix.remove_suffix(1);
        const detail::OwnedFd root(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (!root) detail::raise(errno, what);
        HttpFolderAdded added;
        add_below(root.get(), folder, {}, std::string(prefix), options, added);
        return added;
    }
    /// Hands requests for the path of a file to the application again. Connections that it is being sent to get all of it. Must
    /// be called like add_file().
    void remove_file(std::string_view path) noexcept {
        const std::uint64_t hash = ringstep_hash(path.data(), path.size(), 0);
        __u32* const link = find_file(path, hash);
        if (*link != 0) unlink_file(*link);
        reclaim_files();
    }
    /// Returns the number of paths that the loop sends files for.
    [[nodiscard]] std::uint32_t files() const noexcept { return state()->own.files; }

    /// Takes the next request. Returns false if there is none. Before that, it calls the functions of stream() whose bodies
    /// have room. May be called by one thread at a time, also while the loop runs.
    bool take(HttpRequest& request) {
        ServerEvent event;
        while (Base::take(event)) {
            Assembled& assembled = assembled_[event.connection.slot];
            switch (event.kind) {
                case ServerEvent::Kind::frame: break;
                case ServerEvent::Kind::opened: assembled = Assembled(); continue;  // the rest of a request that was cut
                case ServerEvent::Kind::closed:
                    assembled = Assembled();
                    (void)take_stream(event.connection);
                    continue;
                case ServerEvent::Kind::room:
                case ServerEvent::Kind::broken:
                case ServerEvent::Kind::nudged: continue_stream(event); continue;
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
        end_head(text, request, response, close);
        if (request.method != "HEAD" && response.status != 204 && response.status != 304) text += response.body;
        if (text.size() > RINGSTEP_HTTP_REPLY || !reply(request.connection, text)) return false;
        answer(request.connection, close);
        return true;
    }

    /**
     * Answers a request with a body of any length, which `write` writes piece by piece. It begins with HttpResponse::body. The
     * loop sends what was written, and take() calls `write` again when there is room, until it returns false. The body is sent
     * in chunks. To a client of HTTP/1.0 it is sent as it is, and the connection is closed behind it.
     *
     * A function that has nothing to write yet returns true without writing. It is called again after nudge() of its
     * connection, which any thread may call at any time. If the connection fails, the server destroys the function without
     * another call. A peer that only ends its sending side may still be reading, so that is no failure. A body that is idle for
     * long should write something now and then: what cannot be sent is how the server learns that a peer is gone without a
     * word.
     *
     * If the function throws, the connection is closed, and take() throws the exception again. The client notices, because no
     * chunk says that this is the end. A client of HTTP/1.0 does not notice. The function is not called for HEAD and the
     * statuses 204 and 304.
     *
     * Returns false if nothing was sent, for the reasons of respond(). May be called from any thread; `write` runs on the
     * thread that calls take(). Do not call reply() or answer() for the request.
     *
     * **Example**:
     *
     *     server.stream(request, {.type = "text/csv"}, [rows = query()](ringstep::HttpBody& body) mutable {
     *         while (rows.more())
     *             if (!body.write(rows.line())) return true;  // no room: once more, with the same line
     *             else rows.next();
     *         return false;
     *     });
     */
    bool stream(const HttpRequest& request, const HttpResponse& response, HttpWriter write) {
        std::string text = http_head(response, false);
        if (text.empty()) return false;
        const bool chunked = !request.http_1_0;
        const bool close = response.close || !request.keep_alive || !chunked;
        const bool has_body = response.status >= 200 && response.status != 204 && response.status != 304;
        if (has_body && chunked) text += "Transfer-Encoding: chunked\r\n";
        end_head(text, request, response, close);
        if (text.size() + response.body.size() + HttpBody::around > RINGSTEP_HTTP_REPLY) return false;
        if (!reply(request.connection, text)) return false;
        if (!has_body || request.method == "HEAD") {
            answer(request.connection, close);
            return true;
        }
        HttpBody(*this, request.connection, chunked).write(response.body);
        keep_stream({request.connection, std::move(write), chunked, close}, true);
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

    /// Returns how many files could not be read, or turned out to be shorter than announced. May be called from any thread.
    [[nodiscard]] std::uint64_t broken() const noexcept {
        return std::atomic_ref(state()->own.broken).load(std::memory_order_relaxed);
    }

private:
    // A request whose body did not fit into one frame.
    struct Assembled {
        std::string text;
        std::uint32_t head = 0;
    };

    // A response whose body is written piece by piece.
    struct Stream {
        ServerConnection connection;
        HttpWriter write;
        bool chunked = false;
        bool close = false;
    };
    // A thread may begin a stream while the thread that takes events continues others, so a mutex guards them.
    struct Streams {
        std::mutex mutex;
        std::array<Stream, capacity> of;
    };

    // Adds the fields that all heads have, and the empty line.
    void end_head(std::string& text, const HttpRequest& request, const HttpResponse& response, bool close) const {
        if (state()->own.dates != 0 && response.status >= 200 && !detail::http_has_date(response.fields)) {
            text += "Date: ";
            text += detail::http_date_now();
            text += "\r\n";
        }
        if (close)
            text += "Connection: close\r\n";
        else if (request.http_1_0)
            text += "Connection: keep-alive\r\n";
        text += "\r\n";
    }

    // Takes the stream of a connection, if it has one. The caller runs or destroys its function without the lock.
    Stream take_stream(const ServerConnection& connection) {
        const std::lock_guard lock(streams_->mutex);
        Stream& kept = streams_->of[connection.slot % capacity];
        return kept.connection == connection ? std::exchange(kept, Stream()) : Stream();
    }
    // Keeps a stream until its function is called the next time. With `wrote`, lets the loop send what was written of it. The
    // output is marked as being flushed before the stream can be found, so that a nudge does not run the function in between.
    void keep_stream(Stream stream, bool wrote) {
        const ServerConnection connection = stream.connection;
        const bool begins = wrote && this->begin_flush(connection);
        {
            const std::lock_guard lock(streams_->mutex);
            streams_->of[connection.slot % capacity] = std::move(stream);
        }
        if (begins) this->end_flush(connection);
    }

    // Lets the function of a stream write, or ends the stream of a connection that has failed.
    void continue_stream(const ServerEvent& event) {
        const bool broken = event.kind == ServerEvent::Kind::broken;
        // A nudge may come while the output is being flushed. The function is called when there is room.
        if (!broken && this->room(event.connection) == 0) return;
        Stream stream = take_stream(event.connection);
        if (!stream.write) return;  // the application has flushed by itself, or the nudge is for another body
        HttpBody body(*this, event.connection, stream.chunked);
        bool more = false;
        try {
            more = !broken && stream.write(body);
        } catch (...) {
            answer(event.connection, true);
            throw;
        }
        if (more) {
            keep_stream(std::move(stream), body.wrote_);
            return;
        }
        if (stream.chunked) this->reply(event.connection, "0\r\n\r\n");
        answer(event.connection, stream.close || broken);
    }

    static ServerOptions with_slots(const HttpOptions& options) noexcept {
        ServerOptions server = options.server;
        server.more_slots += std::min<unsigned>(options.files, RINGSTEP_HTTP_FILES);
        return server;
    }

    // The loop reads CLOCK_TAI, which is some whole seconds ahead of the clock that dates are of.
    void set_clock() noexcept {
        timespec real{};
        timespec tai{};
        timespec again{};
        const auto between = [](const timespec& from, const timespec& to) {
            return (to.tv_sec - from.tv_sec) * 1'000'000'000LL + (to.tv_nsec - from.tv_nsec);
        };
        // A thread that has to wait in between would find another second.
        for (int i = 0; i < 5 && (i == 0 || between(real, again) > 100'000'000LL); i++) {
            (void)::clock_gettime(CLOCK_REALTIME, &real);
            (void)::clock_gettime(CLOCK_TAI, &tai);
            (void)::clock_gettime(CLOCK_REALTIME, &again);
        }
        const auto ahead = between(real, tai);
        state()->own.tai_ahead = static_cast<std::uint64_t>((ahead + 500'000'000LL) / 1'000'000'000LL * 1'000'000'000LL);
    }

    static void check_path(std::string_view path, std::size_t most, const std::string& what) {
        if (path.empty() || path.front() != '/' || path.find('?') != std::string_view::npos)
            detail::raise(EINVAL, what, "A path begins with a slash, and has no question mark.");
        if (path.size() > most) detail::raise(ENAMETOOLONG, what, "It has to have at most " + std::to_string(most) + " bytes.");
    }

    static std::string file_text(std::string_view path) {
        return "adding a file for the path " + std::string(path.substr(0, RINGSTEP_HTTP_FILE_PATH));
    }

    // Puts a descriptor into the slot of a file, or empties the slot with -1. Returns the negative errno if that fails.
    int set_slot(std::uint32_t number, int descriptor) noexcept {
        const int result =
            io_uring_register_files_update(&Base::ring_core().native(), state()->own.first_file + number, &descriptor, 1);
        return result == 1 ? 0 : result < 0 ? result : -EINVAL;
    }

    // Returns the link that leads to the file for a path, or the one at the end of its chain.
    __u32* find_file(std::string_view path, std::uint64_t hash) const noexcept {
        ringstep_http_own& own = state()->own;
        __u32* link = &own.paths[hash % RINGSTEP_HTTP_FILES];
        while (*link != 0) {
            ringstep_http_file& file = own.file[(*link - 1) % RINGSTEP_HTTP_FILES];
            if (file.hash == hash && file.path_length == path.size() && std::memcmp(file.path, path.data(), path.size()) == 0)
                break;
            link = &file.next;
        }
        return link;
    }
    // Takes the file that a link leads to out of its chain.
    void unlink_file(__u32& link) noexcept {
        ringstep_http_file& file = state()->own.file[link - 1];
        file.in_use = RINGSTEP_HTTP_FILE_RETIRED;
        link = file.next;
        state()->own.files--;
    }
    // Frees the places of files that no path leads to, and that are not being sent.
    void reclaim_files() noexcept {
        for (std::uint32_t number = 0; number < files_; number++) {
            ringstep_http_file& file = state()->own.file[number];
            if (file.in_use == RINGSTEP_HTTP_FILE_RETIRED && file.users == 0 && set_slot(number, -1) == 0)
                file.in_use = RINGSTEP_HTTP_FILE_FREE;
        }
    }

    void add_open_file(std::string_view path, int descriptor, std::string_view type, std::span<const HttpField> fields,
                       const std::string& what) {
        check_path(path, RINGSTEP_HTTP_FILE_PATH, what);
        if (!std::all_of(path.begin(), path.end(), [](char byte) { return byte > ' ' && byte < 0x7f; }))
            detail::raise(EINVAL, what, "A path has visible characters only; others are encoded, such as %20.");
        struct ::stat status{};
        if (::fstat(descriptor, &status) != 0) detail::raise(errno, what);
        if (!S_ISREG(status.st_mode)) detail::raise(EINVAL, what, "Only regular files can be sent.");

        ringstep_http_file made{};
        const std::string tag = detail::http_tag(status);
        std::string text = "ETag: ";
        made.tag = static_cast<std::uint32_t>(text.size());
        text += tag;
        made.tag_end = static_cast<std::uint32_t>(text.size());
        text += "\r\nLast-Modified: ";
        made.modified = static_cast<std::uint32_t>(text.size());
        text += http_date(
            std::min(std::chrono::system_clock::from_time_t(status.st_mtim.tv_sec), std::chrono::system_clock::now()));
        made.modified_end = static_cast<std::uint32_t>(text.size());
        text += "\r\n";
        if (!detail::http_is_text(type) || !detail::http_add_fields(text, fields))
            detail::raise(EINVAL, what, "Fields have a name, and no line ends.");
        if (state()->own.dates != 0 && detail::http_has_date(fields))
            detail::raise(EINVAL, what, "The loop adds a Date of its own, unless HttpOptions::dates is false.");
        made.common = static_cast<std::uint32_t>(text.size());
        text += "Accept-Ranges: bytes\r\nContent-Type: ";
        text += type;
        text += "\r\n";
        if (text.size() > sizeof made.text)
            detail::raise(EMSGSIZE, what, "All fields have to have at most " + std::to_string(sizeof made.text) + " bytes.");
        std::memcpy(made.text, text.data(), text.size());
        made.text_length = static_cast<std::uint32_t>(text.size());
        made.size = static_cast<std::uint64_t>(status.st_size);
        made.hash = ringstep_hash(path.data(), path.size(), 0);
        made.path_length = static_cast<std::uint32_t>(path.size());
        made.in_use = RINGSTEP_HTTP_FILE_USED;
        std::memcpy(made.path, path.data(), path.size());
        place_file(made, path, descriptor, what);
    }
    void place_file(ringstep_http_file& made, std::string_view path, int descriptor, const std::string& what) {
        ringstep_http_own& own = state()->own;
        std::size_t others = 0;
        for (std::uint32_t next = own.paths[made.hash % RINGSTEP_HTTP_FILES]; next != 0; next = own.file[next - 1].next)
            others++;
        if (others >= RINGSTEP_HTTP_FILE_CHAIN)
            detail::raise(ENOSPC, what, "The hashes of too many paths are alike. Choose another path.");
        reclaim_files();
        std::uint32_t number = 0;
        while (number < files_ && own.file[number].in_use != RINGSTEP_HTTP_FILE_FREE) number++;
        __u32* const old = find_file(path, made.hash);
        if (number == files_ && *old != 0 && own.file[*old - 1].users == 0) number = *old - 1;
        if (number == files_)
            detail::raise(ENOSPC, what,
                          "There are " + std::to_string(files_) + " files already, those that are still being sent included. " +
                              "HttpOptions::files says how many there may be, up to " + std::to_string(RINGSTEP_HTTP_FILES) +
                              ". Let the application answer.");
        if (const int result = set_slot(number, descriptor); result != 0)
            detail::raise(-result, what,
                          "It needs the ring's owning thread, and a table of registered files with HttpOptions::files slots "
                          "behind those of the connections.");
        if (*old != 0) unlink_file(*old);
        __u32& first = own.paths[made.hash % RINGSTEP_HTTP_FILES];
        made.next = first;
        own.file[number] = made;
        first = number + 1;
        own.files++;
        reclaim_files();
    }

    void add_below(int root, const std::filesystem::path& folder, const std::string& below, const std::string& prefix,
                   const HttpFolder& options, HttpFolderAdded& added) {
        std::error_code error;
        std::vector<std::filesystem::directory_entry> entries;
        for (std::filesystem::directory_iterator at(folder / below, error), end; !error && at != end; at.increment(error))
            entries.push_back(*at);
        if (error) {
            if (below.empty()) detail::raise(error.value(), "reading the folder " + folder.string());
            added.left_out.push_back(below);
            return;
        }
        std::sort(entries.begin(), entries.end());
        for (const std::filesystem::directory_entry& entry : entries) {
            const std::string name = entry.path().filename().string();
            if (name.front() == '.' && !options.hidden) continue;
            const std::string relative = below + name;
            if (entry.symlink_status(error).type() == std::filesystem::file_type::directory) {
                add_below(root, folder, relative + "/", prefix, options, added);
                continue;
            }
            const int fd = detail::open_for_http(root, relative.c_str());
            if (fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM || fd == -ENOSYS)
                detail::raise(-fd, "opening the file " + entry.path().string());
            const detail::OwnedFd owned(fd);
            struct ::stat status{};
            if (!owned || ::fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
                added.left_out.push_back(relative);
                continue;
            }
            const auto add = [&](const std::string& path) {
                add_open_file(path, fd, http_type(name), options.fields,
                              file_text(path) + ", which is " + entry.path().string());
                added.files++;
            };
            add(prefix + detail::http_encoded("/" + relative));
            if (name == options.index) add(prefix + detail::http_encoded("/" + below));
        }
    }

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
    std::unique_ptr<Streams> streams_;
    std::uint32_t files_;
};

}  // namespace ringstep::inline v0
