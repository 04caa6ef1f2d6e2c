// SPDX-License-Identifier: MIT
// Requests that the kernel has handed to a worker thread, and that the worker has not begun when their connection fails.
#include <ringstep/compiled/kv.hpp>
#include <ringstep/detail/owned_fd.hpp>
#include <ringstep/net/listener.hpp>
#include <ringstep/net/proxy.hpp>
#include <ringstep/net/server.hpp>
#include <ringstep/ringstep.hpp>

#include <catch2/catch_test_macros.hpp>

#include <fcntl.h>
#include <liburing.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <ctime>
#include <filesystem>
#include <future>
#include <stop_token>
#include <string>
#include <thread>

#include "ensure.hpp"
#include "net/client.hpp"
#include "net/running_proxy.hpp"

using namespace std::chrono_literals;

namespace {

using Server = ringstep::ServerLoop<ringstep::loops::kv>;

/// Returns true if a thread sleeps for most of the next 300 ms.
bool sleeps(std::jthread& thread) {
    clockid_t clock{};
    ensure(::pthread_getcpuclockid(thread.native_handle(), &clock) == 0);
    const auto used = [clock] {
        timespec time{};
        ensure(::clock_gettime(clock, &time) == 0);
        return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
    };
    const auto before = used();
    std::this_thread::sleep_for(300ms);
    return used() - before < 100ms;
}

/// Keeps the only worker thread of a ring busy: it opens a FIFO for reading, which lasts until somebody opens the FIFO for
/// writing.
class BusyWorker {
public:
    BusyWorker() { ensure(::mkfifo(path_.c_str(), 0600) == 0); }
    BusyWorker(const BusyWorker&) = delete;
    BusyWorker& operator=(const BusyWorker&) = delete;
    ~BusyWorker() {
        release();
        std::filesystem::remove(path_);
    }

    /// Lets the ring have one worker thread, and gives it something to do. Call it on the thread that owns the ring.
    void occupy(ringstep::Ring& ring) const {
        unsigned most[2] = {1, 1};
        ensure(::io_uring_register(static_cast<unsigned>(ring.fd()), IORING_REGISTER_IOWQ_MAX_WORKERS, most, 2) == 0);
        io_uring_sqe* sqe = ring.sq().claim();
        ensure(sqe != nullptr);
        ::io_uring_prep_openat(sqe, AT_FDCWD, path_.c_str(), O_RDONLY | O_CLOEXEC, 0);
        sqe->flags |= IOSQE_ASYNC;
        sqe->user_data = 0;
        ensure(ring.submit().count == 1);
    }
    /// Ends what the worker thread does.
    void release() {
        if (!writer_) writer_ = ringstep::detail::OwnedFd{::open(path_.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK)};
    }

private:
    std::string path_ = std::filesystem::temp_directory_path() / ("ringstep-fifo-" + std::to_string(::getpid()));
    ringstep::detail::OwnedFd writer_;
};

}  // namespace

TEST_CASE("A server waits for a worker thread that has not shut down a connection that has failed since", "[main]") {
    const ringstep::Listener listener{"127.0.0.1", 0};
    BusyWorker worker;
    ringstep::LoopExit exit;
    std::promise<Server*> made;
    auto there = made.get_future();
    std::jthread thread{[&](const std::stop_token& token) {
        ringstep::Ring ring{{.sq_entries = 64}};
        worker.occupy(ring);
        Server server{ring, {.linger = 30s}};
        server.listen(listener.fd());
        made.set_value(&server);
        exit = ringstep::serve(server, token, 5s);
        ensure(ring.in_flight() == 0);
    }};
    Server& server = *there.get();

    Client fails{listener.port()};
    CHECK(fails.ask("QUIT\n", 6) == "+BYE\r\n");
    std::this_thread::sleep_for(50ms);  // now the shutdown waits for the worker thread
    fails.reset();
    CHECK(eventually([&] { return server.counters().failed == 1; }));
    CHECK(sleeps(thread));
    for (int i = 0; i < 10; i++) {
        Client other{listener.port()};
        CHECK(other.ask("PING\n", 7) == "+PONG\r\n");
        other.finish();
    }
    worker.release();
    CHECK(eventually([&] { return server.counters().closed == server.counters().accepted; }));
    thread.request_stop();
    thread.join();
    CHECK(exit.ok());
}

TEST_CASE("A proxy waits for a worker thread that has not passed on the end of a stream that has failed since", "[main]") {
    const ringstep::Listener listener{"127.0.0.1", 0};
    const Upstream upstream;
    BusyWorker worker;
    ringstep::LoopExit exit;
    std::promise<ringstep::Proxy*> made;
    auto there = made.get_future();
    std::jthread thread{[&](const std::stop_token& token) {
        ringstep::Ring ring{{.sq_entries = 64}};
        worker.occupy(ring);
        ringstep::Proxy proxy{ring};
        proxy.add_upstream(upstream.address());
        proxy.listen(listener.fd());
        made.set_value(&proxy);
        exit = ringstep::serve(proxy, token, 5s);
        ensure(ring.in_flight() == 0);
    }};
    ringstep::Proxy& proxy = *there.get();

    const Client ends{listener.port()};
    Client fails = upstream.accept();
    CHECK(ends.ask("x", 0).empty());
    CHECK(fails.receive(1) == "x");
    ends.finish();
    std::this_thread::sleep_for(50ms);  // now the end waits for the worker thread
    fails.reset();
    CHECK(eventually([&] { return proxy.counters().failed == 1; }));
    CHECK(sleeps(thread));
    for (int i = 0; i < 10; i++) {
        const Client client{listener.port()};
        const Client server = upstream.accept();
        CHECK(client.send("hello"));
        CHECK(server.receive(5) == "hello");
    }
    worker.release();
    CHECK(eventually([&] { return proxy.counters().closed == proxy.counters().accepted; }));
    thread.request_stop();
    thread.join();
    CHECK(exit.ok());
}
