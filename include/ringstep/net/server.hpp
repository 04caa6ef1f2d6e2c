// SPDX-License-Identifier: MIT
// Servers whose loop is one function (ringstep/net/server.bpf.h): their connections, and the frames that the application
// answers.
#pragma once

#include <ringstep/blocks/mailbox.hpp>
#include <ringstep/c/net/server.h>
#include <ringstep/c/blocks/requests.h>
#include <ringstep/detail/file_slots.hpp>
#include <ringstep/detail/loop_identity.hpp>
#include <ringstep/duration.hpp>
#include <ringstep/error.hpp>
#include <ringstep/loops/loop_class.hpp>
#include <ringstep/net/buffer_ring.hpp>
#include <ringstep/net/serve.hpp>
#include <ringstep/options.hpp>
#include <ringstep/ring.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace ringstep::inline v0 {

class HttpServer;

/// A state of RINGSTEP_SERVER_STATE().
template <class State>
concept HasServer = requires(State& state) {
    { state.server } -> std::same_as<ringstep_server&>;
    { state.mailbox } -> std::same_as<ringstep_mailbox&>;
    { state.connections[0].link } -> std::same_as<ringstep_connection&>;
    state.connections[0].output[0];
    state.buffers.bytes[0];
    state.own;
};

/// Limits of a server. `for_ever` means no limit.
struct ServerOptions {
    Duration idle = for_ever;                   ///< a connection is closed after so long without a byte
    Duration read = for_ever;                   ///< a frame must be complete so long after its first byte
    Duration write = std::chrono::seconds(60);  ///< output must move within this time
    Duration linger = std::chrono::seconds(2);  ///< how long a closed connection waits for its peer to close; zero: not at all
    Duration starve = std::chrono::seconds(1);  ///< how long a peer that does not read may keep buffers that others need
    unsigned first_slot = 0;                    ///< the first of the registered file slots that the connections take
    unsigned more_slots = 0;                    ///< empty slots behind those, if the constructor registers the table
};

/// A connection of a server: one use of a slot. A handle of a connection that is gone has no effect.
struct ServerConnection {
    std::uint32_t slot = 0;        ///< the number of the slot
    std::uint32_t generation = 0;  ///< which of its uses

    /// Returns true if both are the same connection.
    friend bool operator==(const ServerConnection&, const ServerConnection&) = default;
};

/// Something that a server tells its application.
struct ServerEvent {
    /// What has happened.
    enum class Kind : std::uint8_t {
        opened,  ///< there is a new connection
        frame,   ///< a frame has to be answered
        closed,  ///< the connection is gone; its handle means nothing any more
        room,    ///< what ServerLoop::flush() was called for has been sent: there is room for more of the answer
        broken,  ///< the connection has failed while the application has a frame of it; answer() is still due
        nudged,  ///< a thread has called ServerLoop::nudge() for the connection
    };
    Kind kind = Kind::opened;            ///< what has happened
    ServerConnection connection;         ///< the connection that it has happened to
    std::span<const std::byte> bytes{};  ///< the bytes of a frame. They are valid until it is answered

    /// Returns the bytes of a frame as text.
    [[nodiscard]] std::string_view text() const noexcept { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }
};

/**
 * The C++ class of a server: a loop that was defined with RINGSTEP_SERVER(). The loop accepts connections of a listening socket
 * into registered file slots, and answers them. See ringstep/net/server.bpf.h for what holds.
 *
 * If the ring has no registered files, the constructor registers a table for the connections. Otherwise they take the slots
 * from ServerOptions::first_slot on, which must be empty, and other requests must not let the kernel choose slots.
 *
 * `run()` and `serve()` must be called on the ring's owning thread. When the object is destroyed, the requests of all
 * connections are cancelled and waited for, and the connections are closed. Destroy it on the ring's owning thread.
 *
 * **Example**:
 *
 *     ringstep::Ring ring{{.sq_entries = 256}};
 *     ringstep::ServerLoop<ringstep::loops::kv> server{ring};
 *     ringstep::Listener listener{"127.0.0.1", 6400};
 *     server.listen(listener.fd());
 *     ringstep::StopOnSignals signals{server};
 *     ringstep::LoopExit exit = ringstep::serve(server);
 */
template <LoopDefinition Loop>
    requires HasServer<typename Loop::state>
class ServerLoop : public LoopClass<Loop> {
    using Base = LoopClass<Loop>;

public:
    using Base::program;
    using Base::state;
    using Base::wake;
    using typename Base::state_type;
    /// What take() returns, and what the function gets that serve() calls.
    using event_type = ServerEvent;

    /// The largest number of connections.
    static constexpr std::uint32_t capacity = sizeof(state_type::connections) / sizeof(state_type::connections[0]);
    /// The number of buffers that bytes are received in.
    static constexpr std::uint32_t buffers =
        sizeof(state_type::buffers.bytes) / sizeof(state_type::buffers.bytes[0]) - capacity;

    /// Attaches the loop to a ring, registers its buffers and file slots. Throws Error.
    explicit ServerLoop(Ring& ring, const ServerOptions& options = {}, const LoopOptions& loop = {})
        : Base(ring, loop),
          identity_(detail::RingAccess::core(ring)),
          buffers_(ring, state(), state()->buffers, {.buffers = buffers}),
          slots_(Base::ring_core(), options.first_slot, capacity, capacity, options.more_slots) {
        ringstep_server& server = state()->server;
        server.identity = identity_.value();
        server.listener = -1;
        server.first_slot = options.first_slot;
        server.closes_late = slots_.closes_late() ? 1 : 0;
        server.limits.idle = detail::limit_in_nanoseconds(options.idle);
        server.limits.read = detail::limit_in_nanoseconds(options.read);
        server.limits.write = detail::limit_in_nanoseconds(options.write);
        server.limits.linger = options.linger.over() ? 0 : static_cast<std::uint64_t>(options.linger.count());
        server.limits.starve = detail::limit_in_nanoseconds(options.starve);
        Base::ring_core().set_state_requests({.tag = identity_.value(),
                                              .counts = &server.counts,
                                              .helpers = &server.cancels,
                                              .state = state().get(),
                                              .cancel = &cancel_requests});
    }
    ServerLoop(const ServerLoop&) = delete;
    ServerLoop& operator=(const ServerLoop&) = delete;

    /// Ends the requests in flight: cancels them and waits until they have ended. Then closes all connections. If that is
    /// impossible (wrong thread, or a request that does not end), the connections stay open until the ring is closed, and the
    /// ring refuses the next loop (EBUSY) for as long as the requests are in flight.
    ~ServerLoop() {
        const bool attached = program().attached();
        program().detach();
        detail::RingCore& ring = Base::ring_core();
        if (!ring.settle_state_of(identity_.value(), attached ? 0 : ring.close_wait_ms())) return;
        slots_.close();
        identity_.give_back();
    }

    /// Accepts connections of a listening socket from now on. The socket must stay open as long as the loop runs. -1 ends that;
    /// connections that are open stay open. May be called from any thread.
    void listen(int socket) noexcept {
        std::atomic_ref(state()->server.listener).store(socket, std::memory_order_release);
        wake();
    }

    /// Lets the run end by itself: no connection is accepted any more, and each is closed when all of its frames are answered
    /// and the answers sent. After `limit`, those that are left are closed at once. The run then ends with
    /// RINGSTEP_SERVER_DRAINED. May be called from any thread.
    void drain(Duration limit = for_ever) noexcept {
        ringstep_server& server = state()->server;
        std::atomic_ref(server.drain_limit).store(detail::limit_in_nanoseconds(limit), std::memory_order_relaxed);
        std::atomic_ref(server.drain).store(1, std::memory_order_release);
        wake();
    }
    /// Ends what drain() has begun: the next run accepts connections again. Call it only while the loop does not run.
    void resume() noexcept {
        state()->server.drain = 0;
        state()->server.draining = 0;
    }

    /// Returns the number of connections. May be called from any thread.
    [[nodiscard]] std::uint32_t open() const noexcept {
        return std::atomic_ref(state()->server.open).load(std::memory_order_acquire);
    }

    /// Returns what the server has counted. The numbers may be read while the loop runs; each is right for itself. May be
    /// called from any thread.
    [[nodiscard]] ringstep_server_counters counters() const noexcept { return detail::read_counters(state()->server.counters); }

    // What follows is for servers with `.later = 1`.

    /// Takes the next event. Returns false if there is none. May be called by one thread at a time, also while the loop runs.
    bool take(ServerEvent& event) noexcept {
        state_type& shared = *state();
        std::uint32_t message = 0;
        if (!detail::mailbox_collect(shared.mailbox, shared.outbox, outbox_mask, message)) return false;
        const std::uint32_t slot = message & RINGSTEP_SERVER_SLOT & (capacity - 1);
        event.connection = {slot, message >> RINGSTEP_SERVER_GENERATION_SHIFT & RINGSTEP_SERVER_GENERATION};
        event.bytes = {};
        switch (message >> RINGSTEP_SERVER_KIND_SHIFT) {
            case RINGSTEP_SERVER_FRAME: {
                const ringstep_server_frame& frame = shared.frames[slot];
                const std::uint32_t end = std::min(frame.end, chunk_size);
                event.kind = ServerEvent::Kind::frame;
                if (frame.at < end) {
                    const auto* const bytes = &shared.buffers.bytes[frame.place % (buffers + capacity)][frame.at];
                    event.bytes = std::as_bytes(std::span(bytes, end - frame.at));
                }
                break;
            }
            case RINGSTEP_SERVER_CLOSED: event.kind = ServerEvent::Kind::closed; break;
            case RINGSTEP_SERVER_ROOM:
            case RINGSTEP_SERVER_BROKEN: {
                const bool has_room = message >> RINGSTEP_SERVER_KIND_SHIFT == RINGSTEP_SERVER_ROOM;
                event.kind = has_room ? ServerEvent::Kind::room : ServerEvent::Kind::broken;
                // The output stays closed to the application until here. So a new flush cannot begin before the event of the
                // last one was taken, and no event can be mistaken for that of a later flush.
                std::uint32_t flushed = name_of(event.connection);
                std::atomic_ref(shared.wishes[slot].flush).compare_exchange_strong(flushed, 0);
                break;
            }
            case RINGSTEP_SERVER_NUDGED: {
                // After this, nudge() sends another event. The caller looks for the reason of this one later, so it sees all
                // reasons that came before.
                ringstep_server_wish& wish = shared.wishes[slot];
                std::atomic_ref(wish.taken).exchange(std::atomic_ref(wish.nudge).load());
                event.kind = ServerEvent::Kind::nudged;
                break;
            }
            default: event.kind = ServerEvent::Kind::opened;
        }
        return true;
    }

    /// Makes run() return with RINGSTEP_SERVER_BATCH_READY when `count` events can be taken. With 0, the default, it does not
    /// return for events. May be called from any thread.
    void set_batch(std::uint32_t count) noexcept {
        std::atomic_ref(state()->server.batch).store(count, std::memory_order_release);
        wake();
    }

    /// Returns how many events can be taken. May be called from any thread.
    [[nodiscard]] std::uint32_t ready() const noexcept { return detail::mailbox_delivered(state()->mailbox); }

    /// Appends to the answer of the frame of a connection, whose frame was taken and is not answered. May be called several
    /// times before answer(). Returns false, and appends nothing, if there is not enough room: a frame is handed out only when
    /// there is room for as many bytes as the server promises (`.reply`, or half of its output). See flush() for longer
    /// answers. May be called from any thread, one at a time for each connection.
    bool reply(const ServerConnection& connection, std::span<const std::byte> bytes) noexcept {
        if (bytes.empty()) return has_frame(connection);
        const std::size_t left = room(connection);
        if (bytes.size() > left) return false;
        auto& conn = state()->connections[connection.slot % capacity];
        const auto at = static_cast<std::uint32_t>(sizeof conn.output - left);
        const std::atomic_ref end(conn.link.out_end);
        std::memcpy(&conn.output[at], bytes.data(), bytes.size());
        end.store(at + static_cast<std::uint32_t>(bytes.size()), std::memory_order_release);
        return true;
    }
    /// Appends text to an answer, like the other reply().
    bool reply(const ServerConnection& connection, std::string_view text) noexcept {
        return reply(connection, std::as_bytes(std::span(text)));
    }

    /// Returns how many bytes reply() takes now: none if the connection has no frame with the application, or while its output
    /// is being flushed. May be called from any thread that may call reply().
    [[nodiscard]] std::size_t room(const ServerConnection& connection) noexcept {
        auto& conn = state()->connections[connection.slot % capacity];
        if (!has_frame(connection)) return 0;
        if (std::atomic_ref(state()->wishes[connection.slot % capacity].flush).load(std::memory_order_acquire) != 0) return 0;
        const std::uint32_t at = std::atomic_ref(conn.link.out_end).load(std::memory_order_relaxed);
        return at > sizeof conn.output ? 0 : sizeof conn.output - at;
    }

    /// Sends what was appended to the answer of a frame so far, for answers that are longer than the output or come little by
    /// little. When all of it has been sent, there is an event of kind `room`. Until take() has returned that, reply() takes
    /// nothing, and then there is room for the whole output. If the connection fails, the event is of kind `broken` instead:
    /// nothing more can be sent, and the frame has to be answered. With nothing to send, the event comes at once. Returns false
    /// if the connection has no frame with the application. The buffer of the frame is held until the answer ends. May be
    /// called from any thread that may call reply().
    bool flush(const ServerConnection& connection) noexcept {
        if (!has_frame(connection)) return false;
        if (begin_flush(connection)) end_flush(connection);
        return true;
    }

    /// Makes an event of kind `nudged` come, so that the thread which takes events looks at the connection. Nudges that come
    /// before the event was taken are one. The event may come for a later connection in the same slot. May be called from any
    /// thread.
    void nudge(const ServerConnection& connection) noexcept {
        ringstep_server_wish& wish = state()->wishes[connection.slot % capacity];
        // A read-modify-write like the one in take(). A plain load could be done before the caller's own store of what the
        // nudge is about. Then this function would send nothing, and the thread that takes events would not see the store.
        std::uint32_t taken = std::atomic_ref(wish.taken).fetch_add(0);
        if (!std::atomic_ref(wish.nudge).compare_exchange_strong(taken, taken + 1)) return;
        if (std::atomic_ref(wish.asked).exchange(1) == 0) send(RINGSTEP_SERVER_WISH, connection);
    }

    /// Ends the answer of a frame: it is sent, and the connection's next frame is handed out. The bytes of the frame are not
    /// valid any more. With `close`, the connection is closed when the answer was sent. Each frame that was taken must be
    /// answered, also if its connection has failed meanwhile. May be called from any thread.
    void answer(const ServerConnection& connection, bool close = false) noexcept {
        std::uint32_t handed = name_of(connection);
        const std::atomic_ref word(state()->frames[connection.slot % capacity].handed);
        if (!word.compare_exchange_strong(handed, 0)) return;  // it is answered already
        send(close ? RINGSTEP_SERVER_ANSWERED_CLOSE : RINGSTEP_SERVER_ANSWERED, connection);
    }

    /// Closes a connection when its output was sent. Frames that were not handed out are dropped. May be called from any
    /// thread.
    void close(const ServerConnection& connection) noexcept {
        wish(connection, &ringstep_server_wish::close, name_of(connection));
    }
    /// Hands out no more frames of a connection. When some buffers are held for it, the loop stops receiving, and the peer has
    /// to wait. May be called from any thread.
    void pause(const ServerConnection& connection) noexcept {
        wish(connection, &ringstep_server_wish::pause, name_of(connection));
    }
    /// Hands out the frames of a connection again, after pause(). May be called from any thread.
    void go_on(const ServerConnection& connection) noexcept { wish(connection, &ringstep_server_wish::pause, 0); }

private:
    friend class HttpServer;

    // The first half of flush(): from here on, reply() takes nothing. Returns false if the output is being flushed already.
    [[nodiscard]] bool begin_flush(const ServerConnection& connection) noexcept {
        return std::atomic_ref(state()->wishes[connection.slot % capacity].flush).exchange(name_of(connection)) == 0;
    }
    // The second half of flush(), if the first one has returned true: lets the loop send.
    void end_flush(const ServerConnection& connection) noexcept { send(RINGSTEP_SERVER_FLUSH, connection); }

    static constexpr std::uint32_t outbox_mask = sizeof(state_type::outbox) / sizeof(__u32) - 1;
    static constexpr std::uint32_t inbox_mask = sizeof(state_type::inbox) / sizeof(__u64) - 1;
    static constexpr std::uint32_t chunk_size = sizeof(state_type::buffers.bytes[0]);
    static_assert(std::has_single_bit(capacity) && capacity <= RINGSTEP_SERVER_MOST && std::has_single_bit(chunk_size));

    // Returns true if the application has a frame of the connection and has not answered it.
    [[nodiscard]] bool has_frame(const ServerConnection& connection) noexcept {
        const std::atomic_ref handed(state()->frames[connection.slot % capacity].handed);
        return handed.load(std::memory_order_relaxed) == name_of(connection);
    }

    // How the state names a connection; 0 names none.
    [[nodiscard]] static std::uint32_t name_of(const ServerConnection& connection) noexcept {
        return (connection.generation & RINGSTEP_SERVER_GENERATION) + 1;
    }

    void send(std::uint32_t kind, const ServerConnection& connection) noexcept {
        state_type& shared = *state();
        const std::uint32_t message = kind << RINGSTEP_SERVER_KIND_SHIFT |
                                      (connection.generation & RINGSTEP_SERVER_GENERATION) << RINGSTEP_SERVER_GENERATION_SHIFT |
                                      connection.slot % capacity;
        detail::mailbox_put(shared.mailbox, shared.inbox, inbox_mask, message);
        if (detail::mailbox_sleeps(shared.mailbox)) wake();
    }
    void wish(const ServerConnection& connection, __u32 ringstep_server_wish::* what, std::uint32_t value) noexcept {
        ringstep_server_wish& wish = state()->wishes[connection.slot % capacity];
        std::atomic_ref(wish.*what).store(value, std::memory_order_relaxed);
        if (std::atomic_ref(wish.asked).exchange(1) == 0) send(RINGSTEP_SERVER_WISH, connection);
    }

    static void cancel_requests(detail::RingCore& ring, void* state) noexcept {
        auto& shared = *static_cast<state_type*>(state);
        (void)ring.cancel(shared.server.identity |
                          ringstep_identity_of_part(RINGSTEP_IDENTITY_REQUEST, RINGSTEP_SERVER_ACCEPT));
        for (const auto& connection : shared.connections) {
            if (connection.link.identity == 0) continue;
            for (const std::uint32_t part : {RINGSTEP_CONNECTION_RECEIVE, RINGSTEP_CONNECTION_SEND,
                                             RINGSTEP_CONNECTION_SHUTDOWN, RINGSTEP_CONNECTION_READ}) {
                if ((connection.link.in_flight >> part & 1) != 0)
                    (void)ring.cancel(connection.link.identity | ringstep_identity_of_part(RINGSTEP_IDENTITY_REQUEST, part));
            }
        }
    }

    detail::LoopIdentity identity_;
    BufferRing buffers_;
    detail::FileSlots slots_;
};

/// What serve() calls for each event of a server.
template <class Handler, class Server>
concept HandlesEvents = std::invocable<Handler&, const typename Server::event_type&>;

/**
 * Runs a server like the other serve(), and calls `handle(event)` for each of its events, between two runs. The function may
 * answer frames itself, or let other threads do that.
 *
 * **Example**:
 *
 *     ringstep::serve(server, [&](const ringstep::ServerEvent& event) {
 *         if (event.kind != ringstep::ServerEvent::Kind::frame) return;
 *         server.reply(event.connection, event.text());
 *         server.answer(event.connection);
 *     });
 */
template <Servable Server, HandlesEvents<Server> Handler>
LoopExit serve(Server& server, Handler&& handle, const std::stop_token& token = {},
               Duration drain_limit = std::chrono::seconds(10)) {
    server.set_batch(1);
    typename Server::event_type event;
    for (bool draining = false;;) {
        const LoopExit exit = draining ? server.run() : server.run(token);
        while (server.take(event)) handle(event);
        if (exit.reason == ExitReason::interrupted) continue;
        if (exit.reason == ExitReason::stopped && exit.code == RINGSTEP_SERVER_BATCH_READY) continue;
        if (exit.reason != ExitReason::stop_requested || draining) return exit;
        server.drain(drain_limit);
        draining = true;
    }
}

}  // namespace ringstep::inline v0
