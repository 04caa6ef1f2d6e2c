// SPDX-License-Identifier: MIT
// Servers that answer lines: by epoll, by liburing, and by loops. All have one parser and the same table of values.
#pragma once

#include <ringstep/c/hash.h>
#include <ringstep/net/listener.hpp>
#include <ringstep/net/server.hpp>
#include <ringstep/ringstep.hpp>

#include <liburing.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <ringstep/compiled/network_large.hpp>
#include <ringstep/compiled/network_small.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/plain_ring.hpp"

extern "C" {
std::uint32_t network_small_parse(network_small* table, const unsigned char* chunk, std::uint32_t at, std::uint32_t end,
                                  const unsigned char** reply);
std::uint32_t network_large_parse(network_large* table, const unsigned char* chunk, std::uint32_t at, std::uint32_t end,
                                  const unsigned char** reply);
}

namespace bench::network {

/// Values of up to 64 bytes.
struct Small {
    using Table = ::network_small;
    using Loop = ringstep::loops::network_small;
    static constexpr std::size_t chunk = NETWORK_SMALL_CHUNK;
    static constexpr auto parse = network_small_parse;
};
/// Values of up to 16 KiB.
struct Large {
    using Table = ::network_large;
    using Loop = ringstep::loops::network_large;
    static constexpr std::size_t chunk = NETWORK_LARGE_CHUNK;
    static constexpr auto parse = network_large_parse;
};

/// The servers written by hand take as many connections, and have as many buffers to receive in, as the loops.
inline constexpr std::size_t most_connections = 512;
inline constexpr unsigned receive_buffers = 1024;

[[nodiscard]] inline std::string key_of(std::size_t number) { return "key" + std::to_string(number); }

/// Fills the table: each of the keys has a value of so many bytes, which begins with the key.
template <class Table>
void fill(Table& table, std::size_t size) {
    table.seed = 5;
    for (std::size_t i = 0; i < NETWORK_ENTRIES / 4; i++) {
        const std::string key = key_of(i);
        std::uint64_t place = ringstep_hash(key.data(), key.size(), table.seed);
        while (table.entries[place % NETWORK_ENTRIES].key_length != 0) place++;
        auto& entry = table.entries[place % NETWORK_ENTRIES];
        entry.key_length = static_cast<std::uint32_t>(key.size());
        entry.value_length = static_cast<std::uint32_t>(std::min(size, sizeof entry.value));
        std::memcpy(entry.key, key.data(), key.size());
        std::memset(entry.value, 'v', sizeof entry.value);
        std::memcpy(entry.value, key.data(), key.size());
    }
}

/// A server. The thread that calls serve() runs it.
class ServerWay {
public:
    virtual ~ServerWay() = default;
    /// Serves the connections of a listening socket until request_stop() is called. Calls `ready` when it can.
    virtual void serve(int listener, const std::function<void()>& ready) = 0;
    /// May be called from any thread.
    virtual void request_stop() = 0;
};

/// The lines of one connection of a server written by hand, and their answers.
template <class Size>
class Session {
public:
    /// Takes the bytes between two positions of a chunk, answers all lines that are complete, and keeps the rest.
    void feed(typename Size::Table& table, const unsigned char* chunk, std::size_t at, std::size_t end,
              std::vector<unsigned char>& output) {
        while (at < end) {
            const auto* const found = static_cast<const unsigned char*>(std::memchr(chunk + at, '\n', end - at));
            const std::size_t stop = found != nullptr ? static_cast<std::size_t>(found - chunk) : end;
            if (found != nullptr && kept_length_ == 0) {
                answer(table, chunk, at, stop, output);
            } else {
                keep(chunk + at, stop - at);
                if (found != nullptr) {
                    answer(table, kept_.get(), 0, kept_length_, output);
                    kept_length_ = 0;
                }
            }
            at = stop + 1;
        }
    }

private:
    void keep(const unsigned char* bytes, std::size_t count) {
        if (kept_ == nullptr) kept_ = std::make_unique<unsigned char[]>(Size::chunk);
        count = std::min(count, Size::chunk - kept_length_);  // the benchmark sends no longer lines
        std::memcpy(kept_.get() + kept_length_, bytes, count);
        kept_length_ += count;
    }
    void answer(typename Size::Table& table, const unsigned char* chunk, std::size_t at, std::size_t end,
                std::vector<unsigned char>& output) {
        static constexpr std::string_view none = "-NONE\r\n";
        if (end > at && chunk[end - 1] == '\r') end--;
        const unsigned char* reply = nullptr;
        std::size_t length = end - at;
        const std::uint32_t kind =
            Size::parse(&table, chunk, static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(end), &reply);
        if (kind == 0) {
            output.insert(output.end(), none.begin(), none.end());
            return;
        }
        if (reply != nullptr) {
            using Entry = std::remove_cvref_t<decltype(table.entries[0])>;
            length = reinterpret_cast<const Entry*>(reply - offsetof(Entry, value))->value_length;
        } else {
            reply = chunk + at + kind;
            length -= kind;
        }
        const std::size_t before = output.size();
        output.resize(before + length + 2);
        std::memcpy(output.data() + before, reply, length);
        output[before + length] = '\r';
        output[before + length + 1] = '\n';
    }

    std::unique_ptr<unsigned char[]> kept_;
    std::size_t kept_length_ = 0;
};

/// A number that wakes a server up.
class StopEvent {
public:
    StopEvent() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) { check(fd_ < 0 ? -errno : 0, "eventfd"); }
    StopEvent(const StopEvent&) = delete;
    StopEvent& operator=(const StopEvent&) = delete;
    ~StopEvent() { ::close(fd_); }
    [[nodiscard]] int fd() const { return fd_; }
    void signal() const { (void)::eventfd_write(fd_, 1); }

private:
    int fd_;
};

/// epoll, level-triggered: a receive and a send for all that a connection has sent, and one wait for all connections.
template <class Size>
class EpollServer final : public ServerWay {
public:
    explicit EpollServer(std::size_t size) { fill(*table_, size); }

    void serve(int listener, const std::function<void()>& ready) override {
        const int poll = check(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
        watch(poll, EPOLL_CTL_ADD, EPOLLIN, listener, listener);
        watch(poll, EPOLL_CTL_ADD, EPOLLIN, stop_.fd(), stop_.fd());
        ready();
        std::array<epoll_event, 256> events{};
        for (bool stopped = false; !stopped;) {
            const int count = ::epoll_wait(poll, events.data(), static_cast<int>(events.size()), -1);
            for (int i = 0; i < count; i++) {
                const epoll_event& event = events[static_cast<std::size_t>(i)];
                if (event.data.fd == stop_.fd()) {
                    stopped = true;
                } else if (event.data.fd == listener) {
                    const int fd = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
                    if (fd < 0) continue;
                    connections_.try_emplace(fd);
                    watch(poll, EPOLL_CTL_ADD, EPOLLIN, fd, fd);
                } else {
                    handle(poll, event.data.fd, event.events);
                }
            }
        }
        for (const auto& [fd, connection] : connections_) ::close(fd);
        ::close(poll);
    }
    void request_stop() override { stop_.signal(); }

private:
    struct Connection {
        Session<Size> session;
        std::vector<unsigned char> output;
        std::size_t sent = 0;
        bool waits = false;  // for room to send
    };

    static void watch(int poll, int operation, std::uint32_t what, int fd, int data) {
        epoll_event event{};
        event.events = what;
        event.data.fd = data;
        check(::epoll_ctl(poll, operation, fd, &event), "epoll_ctl");
    }
    void handle(int poll, int fd, std::uint32_t events) {
        Connection& connection = connections_.find(fd)->second;
        bool over = false;
        if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
            ssize_t got = 0;
            do {
                got = ::recv(fd, chunk_.get(), Size::chunk, 0);
                if (got > 0)
                    connection.session.feed(*table_, chunk_.get(), 0, static_cast<std::size_t>(got), connection.output);
                over = got == 0 || (got < 0 && errno != EAGAIN);
            } while (got == static_cast<ssize_t>(Size::chunk));
        }
        if (!over && connection.sent < connection.output.size()) {
            const ssize_t sent = ::send(fd, connection.output.data() + connection.sent,
                                        connection.output.size() - connection.sent, MSG_NOSIGNAL);
            if (sent > 0) connection.sent += static_cast<std::size_t>(sent);
            if (connection.sent == connection.output.size()) {
                connection.output.clear();
                connection.sent = 0;
            }
            if (connection.waits == connection.output.empty()) {
                connection.waits = !connection.waits;
                watch(poll, EPOLL_CTL_MOD, connection.waits ? EPOLLIN | EPOLLOUT : EPOLLIN, fd, fd);
            }
        }
        if (over) {
            connections_.erase(fd);
            ::close(fd);
        }
    }

    std::unique_ptr<typename Size::Table> table_ = std::make_unique<typename Size::Table>();
    std::unique_ptr<unsigned char[]> chunk_ = std::make_unique<unsigned char[]>(Size::chunk);
    std::unordered_map<int, Connection> connections_;
    StopEvent stop_;
};

/// liburing: multishot accept into registered slots, multishot receives from a ring of buffers, and one enter for all that a
/// wait has brought.
template <class Size>
class UringServer final : public ServerWay {
public:
    explicit UringServer(std::size_t size) { fill(*table_, size); }

    void serve(int listener, const std::function<void()>& ready) override {
        PlainRing ring{256, 4096};
        ring_ = ring.get();
        check(io_uring_register_files_sparse(ring_, most_connections), "registration of slots");
        int error = 0;
        buffers_ = io_uring_setup_buf_ring(ring_, receive_buffers, 0, 0, &error);
        check(buffers_ == nullptr ? error : 0, "registration of a ring of buffers");
        for (unsigned i = 0; i < receive_buffers; i++) add_buffer(i, static_cast<int>(i));
        io_uring_buf_ring_advance(buffers_, receive_buffers);
        accept(listener);
        io_uring_sqe* const sqe = next();
        io_uring_prep_poll_add(sqe, stop_.fd(), POLLIN);
        sqe->user_data = tag(Kind::stop, 0);
        check(io_uring_submit(ring_), "io_uring_enter");
        ready();
        while (!stopped_) {
            check(io_uring_submit_and_wait(ring_, 1), "io_uring_enter");
            take(listener);
        }
        io_uring_free_buf_ring(ring_, buffers_, receive_buffers, 0);
    }
    void request_stop() override { stop_.signal(); }

private:
    enum class Kind : std::uint32_t {
        accept,
        receive,
        send,
        close,
        stop
    };
    struct Connection {
        Session<Size> session;
        std::vector<unsigned char> output;   // that is not being sent
        std::vector<unsigned char> sending;  // the kernel's until the send has completed
        std::size_t sent = 0;
        bool receives = false;
        bool sends = false;
        bool over = false;
        bool listed = false;  // in ready_
    };

    static std::uint64_t tag(Kind kind, std::uint32_t slot) { return static_cast<std::uint64_t>(kind) << 32 | slot; }
    io_uring_sqe* next() {
        io_uring_sqe* sqe = io_uring_get_sqe(ring_);
        while (sqe == nullptr) {
            check(io_uring_submit(ring_), "io_uring_enter");
            sqe = io_uring_get_sqe(ring_);
        }
        return sqe;
    }
    void add_buffer(unsigned id, int place) {
        io_uring_buf_ring_add(buffers_, chunks_.get() + id * Size::chunk, static_cast<unsigned>(Size::chunk),
                              static_cast<unsigned short>(id), io_uring_buf_ring_mask(receive_buffers), place);
    }
    void accept(int listener) {
        io_uring_sqe* const sqe = next();
        io_uring_prep_multishot_accept_direct(sqe, listener, nullptr, nullptr, 0);
        sqe->user_data = tag(Kind::accept, 0);
    }
    void receive(std::uint32_t slot) {
        io_uring_sqe* const sqe = next();
        io_uring_prep_recv_multishot(sqe, static_cast<int>(slot), nullptr, 0, 0);
        sqe->flags |= IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT;
        sqe->buf_group = 0;
        sqe->user_data = tag(Kind::receive, slot);
        connections_[slot].receives = true;
    }
    void send(std::uint32_t slot) {
        Connection& connection = connections_[slot];
        io_uring_sqe* const sqe = next();
        io_uring_prep_send(sqe, static_cast<int>(slot), connection.sending.data() + connection.sent,
                           connection.sending.size() - connection.sent, MSG_NOSIGNAL | MSG_WAITALL);
        sqe->flags |= IOSQE_FIXED_FILE;
        sqe->user_data = tag(Kind::send, slot);
        connection.sends = true;
    }

    void take(int listener) {
        unsigned head = 0;
        unsigned taken = 0;
        int given = 0;
        io_uring_cqe* cqe = nullptr;
        io_uring_for_each_cqe(ring_, head, cqe) {
            taken++;
            const auto slot = static_cast<std::uint32_t>(cqe->user_data);
            switch (static_cast<Kind>(cqe->user_data >> 32)) {
                case Kind::accept:
                    if ((cqe->flags & IORING_CQE_F_MORE) == 0) accept(listener);
                    if (cqe->res >= 0) {
                        connections_[static_cast<std::size_t>(cqe->res)] = {};
                        receive(static_cast<std::uint32_t>(cqe->res));
                    }
                    break;
                case Kind::receive: received(slot, *cqe, given); break;
                case Kind::send: {
                    Connection& connection = connections_[slot];
                    connection.sends = false;
                    if (cqe->res > 0) connection.sent += static_cast<std::size_t>(cqe->res);
                    if (cqe->res <= 0) connection.over = true;
                    list(slot);
                    break;
                }
                case Kind::close: break;
                case Kind::stop: stopped_ = true; break;
            }
        }
        io_uring_cq_advance(ring_, taken);
        if (given != 0) io_uring_buf_ring_advance(buffers_, given);
        for (const std::uint32_t slot : ready_) go_on(slot);
        ready_.clear();
    }
    void received(std::uint32_t slot, const io_uring_cqe& cqe, int& given) {
        Connection& connection = connections_[slot];
        if (cqe.res > 0) {
            const unsigned id = cqe.flags >> IORING_CQE_BUFFER_SHIFT;
            connection.session.feed(*table_, chunks_.get() + id * Size::chunk, 0, static_cast<std::size_t>(cqe.res),
                                    connection.output);
            add_buffer(id, given++);
        }
        if ((cqe.flags & IORING_CQE_F_MORE) == 0) {
            connection.receives = false;
            if (cqe.res <= 0 && cqe.res != -ENOBUFS) connection.over = true;
        }
        list(slot);
    }
    void list(std::uint32_t slot) {
        if (!std::exchange(connections_[slot].listed, true)) ready_.push_back(slot);
    }
    // Does what a connection needs after its completions.
    void go_on(std::uint32_t slot) {
        Connection& connection = connections_[slot];
        connection.listed = false;
        if (connection.sends) return;
        if (connection.over) {
            if (connection.receives) return;
            io_uring_sqe* const sqe = next();
            io_uring_prep_close_direct(sqe, slot);
            sqe->user_data = tag(Kind::close, slot);
            return;
        }
        if (!connection.receives) receive(slot);
        if (connection.sent == connection.sending.size()) {
            connection.sending.clear();
            connection.sent = 0;
            std::swap(connection.sending, connection.output);
        }
        if (!connection.sending.empty()) send(slot);
    }

    std::unique_ptr<typename Size::Table> table_ = std::make_unique<typename Size::Table>();
    std::unique_ptr<unsigned char[]> chunks_ = std::make_unique<unsigned char[]>(receive_buffers * Size::chunk);
    std::vector<Connection> connections_{most_connections};
    std::vector<std::uint32_t> ready_;
    io_uring* ring_ = nullptr;
    io_uring_buf_ring* buffers_ = nullptr;
    bool stopped_ = false;
    StopEvent stop_;
};

/// ServerLoop, by one of the engines.
template <class Size>
class LoopServer final : public ServerWay {
public:
    LoopServer(ringstep::Engine engine, std::size_t size) : engine_(engine), size_(size) {}

    void serve(int listener, const std::function<void()>& ready) override {
        ringstep::Ring ring{{.sq_entries = 256, .cq_entries = 4096}};
        ringstep::ServerLoop<typename Size::Loop> server{ring, {}, {.engine = engine_}};
        fill(server.state()->own, size_);
        server.listen(listener);
        server_ = &server;
        ready();
        const ringstep::LoopExit exit = ringstep::serve(server);
        if (!exit.ok()) throw std::runtime_error("the server ended otherwise than it should");
        ended_.wait(false);
    }
    void request_stop() override {
        server_->request_stop();
        ended_.store(true);
        ended_.notify_all();
    }

private:
    ringstep::Engine engine_;
    std::size_t size_;
    ringstep::ServerLoop<typename Size::Loop>* server_ = nullptr;
    std::atomic<bool> ended_{false};  // nobody uses server_ any more
};

}  // namespace bench::network
