// SPDX-License-Identifier: MIT
// A proxy without BPF to write: the loop accepts clients, connects each to an upstream, and passes the bytes on.
#pragma once

#include <ringstep/c/loops/proxy.h>
#include <ringstep/detail/file_slots.hpp>
#include <ringstep/detail/loop_identity.hpp>
#include <ringstep/duration.hpp>
#include <ringstep/error.hpp>
#include <ringstep/loops/loop_class.hpp>
#include <ringstep/net/address.hpp>
#include <ringstep/net/serve.hpp>
#include <ringstep/options.hpp>
#include <ringstep/ring.hpp>

#include <ringstep/compiled/proxy.hpp>

#include <sys/socket.h>
#include <sys/utsname.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <string>

namespace ringstep::inline v0 {

namespace loops {

/// The loop behind the C++ class Proxy.
struct proxy;

}  // namespace loops

/// How a Proxy chooses an upstream for a client.
enum class Balance : std::uint8_t {
    round_robin = RINGSTEP_PROXY_ROUND_ROBIN,              ///< one after the other
    least_connections = RINGSTEP_PROXY_LEAST_CONNECTIONS,  ///< the one with the fewest open connections
    client_address = RINGSTEP_PROXY_CLIENT_ADDRESS,        ///< the same one for all clients with the same address
};

/// Options of a Proxy. `for_ever` means no limit.
struct ProxyOptions {
    Balance balance = Balance::round_robin;             ///< how an upstream is chosen
    Duration connect = std::chrono::seconds(5);         ///< an upstream must accept within this time
    Duration idle = std::chrono::minutes(10);           ///< clients are closed after so long without a byte in any direction
    unsigned attempts = 3;                              ///< upstreams to try for one client
    unsigned failures = 3;                              ///< so many failures in a row leave an upstream out; 0: never
    Duration leave_out = std::chrono::seconds(10);      ///< how long it is left out
    unsigned connections = RINGSTEP_PROXY_CONNECTIONS;  ///< clients at most
    bool refuse = false;        ///< close further clients at once, instead of letting them wait to be accepted
    bool proxy_header = false;  ///< tell upstreams the address of the client, by the PROXY protocol, version 2
    unsigned first_slot = 0;    ///< the first of the registered file slots that the connections take
};

/**
 * A proxy for TCP and Unix sockets. The loop accepts clients of a listening socket, connects each of them to an upstream, and
 * passes bytes on in both directions. It has up to 512 clients and 16 upstreams. See docs/network.md for what holds.
 *
 * If the ring has no registered files, the constructor registers a table for the connections. Otherwise they take 1,024 slots
 * from ProxyOptions::first_slot on, which must be empty, and other requests must not let the kernel choose slots.
 *
 * `run()` and `serve()` must be called on the ring's owning thread. When the object is destroyed, the requests of all
 * connections are cancelled and waited for, and the connections are closed. Destroy it on the ring's owning thread.
 *
 * **Example**:
 *
 *     ringstep::Ring ring{{.sq_entries = 256}};
 *     ringstep::Proxy proxy{ring, {.balance = ringstep::Balance::least_connections}};
 *     proxy.add_upstream(ringstep::SocketAddress::ip("127.0.0.1", 8081));
 *     proxy.add_upstream(ringstep::SocketAddress::local("/run/app.sock"));
 *     ringstep::Listener listener{"0.0.0.0", 8080};
 *     proxy.listen(listener.fd());
 *     ringstep::StopOnSignals signals{proxy};
 *     ringstep::LoopExit exit = ringstep::serve(proxy);
 */
class Proxy : public LoopClass<loops::proxy> {
public:
    /// The largest number of clients.
    static constexpr std::uint32_t capacity = RINGSTEP_PROXY_CONNECTIONS;
    /// The largest number of upstreams.
    static constexpr std::uint32_t most_upstreams = RINGSTEP_PROXY_UPSTREAMS;

    /// Attaches the loop to a ring and registers its file slots. Throws Error: EINVAL if ProxyOptions::connections is 0 or
    /// larger than `capacity`, EMFILE if the limit on open files is too low, and the errors of LoopProgram.
    explicit Proxy(Ring& ring, const ProxyOptions& options = {}, const LoopOptions& loop = {})
        : LoopClass(ring, loop),
          identity_(detail::RingAccess::core(ring)),
          slots_(ring_core(), options.first_slot, 2 * capacity, checked(options.connections)) {
        ringstep_proxy& shared = *state();
        shared.identity = identity_.value();
        shared.listener = -1;
        shared.first_slot = options.first_slot;
        shared.balance = static_cast<__u32>(options.balance);
        shared.attempts = options.attempts;
        shared.failures = options.failures;
        shared.most = options.connections;
        shared.refuse = options.refuse ? 1 : 0;
        shared.header = options.proxy_header ? 1 : 0;
        shared.connect_time = options.connect.unlimited() ? ~std::uint64_t{0} : detail::limit_in_nanoseconds(options.connect);
        shared.idle_time = detail::limit_in_nanoseconds(options.idle);
        shared.out_time = options.leave_out.unlimited() ? ~std::uint64_t{0} : detail::limit_in_nanoseconds(options.leave_out);
        shared.prompt = may_set_options() ? 1 : 0;
        shared.one = 1;
        shared.closes_late = slots_.closes_late() ? 1 : 0;
        ring_core().set_state_requests({.tag = identity_.value(),
                                        .counts = &shared.counts,
                                        .helpers = &shared.cancels,
                                        .state = state().get(),
                                        .cancel = &cancel_requests});
    }
    Proxy(const Proxy&) = delete;
    Proxy& operator=(const Proxy&) = delete;

    /// Ends the requests in flight: cancels them and waits until they have ended. Then closes all connections. If that is
    /// impossible (wrong thread, or a request that does not end), the connections stay open until the ring is closed, and the
    /// ring refuses the next loop (EBUSY) for as long as the requests are in flight.
    ~Proxy() {
        const bool attached = program().attached();
        program().detach();
        detail::RingCore& ring = ring_core();
        if (!ring.settle_state_of(identity_.value(), attached ? 0 : ring.close_wait_ms())) return;
        slots_.close();
        identity_.give_back();
    }

    /// Adds an upstream, which has at most `connections` connections at a time (0: no limit). Returns its number. The numbers
    /// begin with 0. May be called while the loop runs, by one thread at a time. Throws Error (ENOSPC) if there are
    /// `most_upstreams`.
    unsigned add_upstream(const SocketAddress& address, unsigned connections = 0) {
        ringstep_proxy& shared = *state();
        const unsigned number = shared.upstream_count;
        if (number >= most_upstreams)
            detail::raise(ENOSPC, "adding " + address.text() + " to a proxy",
                          "It has " + std::to_string(most_upstreams) + " upstreams, and can have no more.");
        ringstep_proxy_upstream& upstream = shared.upstreams[number];
        upstream.address = address.value();
        upstream.length = address.length();
        upstream.most = connections;
        std::atomic_ref(shared.upstream_count).store(number + 1, std::memory_order_release);
        return number;
    }
    /// Lets an upstream have new connections, or no more of them. Connections that are open stay open. Does nothing if there is
    /// no such upstream. May be called from any thread.
    void enable(unsigned upstream, bool enabled) noexcept {
        if (upstream < most_upstreams)
            std::atomic_ref(state()->upstreams[upstream].off).store(enabled ? 0 : 1, std::memory_order_release);
    }

    /// Accepts clients of a listening socket (TCP or Unix) from now on. The socket must stay open as long as the loop runs. -1
    /// ends that; connections that are open stay open. May be called from any thread.
    void listen(int socket) noexcept {
        ringstep_proxy& shared = *state();
        socklen_t length = sizeof shared.listener_address;
        (void)::getsockname(socket, reinterpret_cast<sockaddr*>(&shared.listener_address), &length);
        std::atomic_ref(shared.listener).store(socket, std::memory_order_release);
        wake();
    }

    /// Lets the run end by itself: no client is accepted any more, and the run ends with RINGSTEP_PROXY_DRAINED when both sides
    /// of all connections have closed. After `limit`, those that are left are reset. May be called from any thread.
    void drain(Duration limit = for_ever) noexcept {
        ringstep_proxy& shared = *state();
        std::atomic_ref(shared.drain_limit).store(detail::limit_in_nanoseconds(limit), std::memory_order_relaxed);
        std::atomic_ref(shared.drain).store(1, std::memory_order_release);
        wake();
    }
    /// Ends what drain() has begun: the next run accepts clients again. Call it only while the loop does not run.
    void resume() noexcept {
        state()->drain = 0;
        state()->draining = 0;
    }

    /// Returns the number of clients. May be called from any thread.
    [[nodiscard]] std::uint32_t open() const noexcept { return std::atomic_ref(state()->open).load(std::memory_order_acquire); }
    /// Returns what the proxy has counted. The numbers may be read while the loop runs; each is right for itself. May be called
    /// from any thread.
    [[nodiscard]] ringstep_proxy_counters counters() const noexcept { return detail::read_counters(state()->counters); }
    /// Returns what the proxy has counted of an upstream, like counters(). All numbers are 0 if there is no such upstream. May
    /// be called from any thread.
    [[nodiscard]] ringstep_proxy_upstream_counters upstream(unsigned number) const noexcept {
        if (number >= most_upstreams) return {};
        return detail::read_counters(state()->upstreams[number].counters);
    }

private:
    static unsigned checked(unsigned connections) {
        if (connections == 0 || connections > capacity)
            detail::raise(EINVAL, "setting up a proxy for " + std::to_string(connections) + " clients",
                          "It can have 1 to " + std::to_string(capacity) + ".");
        return connections;
    }

    // Before Linux 7.3, a loop in the kernel must not set options of sockets: see docs/kernels.md.
    [[nodiscard]] bool may_set_options() const noexcept {
        if (engine() != Engine::kernel) return true;
        utsname names{};
        if (::uname(&names) != 0) return false;
        char* end = nullptr;
        const unsigned long major = std::strtoul(names.release, &end, 10);
        const unsigned long minor = *end == '.' ? std::strtoul(end + 1, nullptr, 10) : 0;
        return major > 7 || (major == 7 && minor >= 3);
    }

    static void cancel_requests(detail::RingCore& ring, void* state) noexcept {
        const auto& shared = *static_cast<ringstep_proxy*>(state);
        (void)ring.cancel(shared.identity | ringstep_identity_of_part(RINGSTEP_IDENTITY_REQUEST, RINGSTEP_PROXY_ACCEPT));
        for (const ringstep_proxy_pair& pair : shared.pairs) {
            for (std::uint32_t part = 0; pair.identity != 0 && part < RINGSTEP_PROXY_RESET; part++)
                if ((pair.in_flight >> part & 1) != 0)
                    (void)ring.cancel(pair.identity | ringstep_identity_of_part(RINGSTEP_IDENTITY_REQUEST, part));
        }
    }

    detail::LoopIdentity identity_;
    detail::FileSlots slots_;
};

}  // namespace ringstep::inline v0
