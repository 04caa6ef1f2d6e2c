// SPDX-License-Identifier: MIT
// Hands a step whatever there is: any completions, any state, any heads and tails, any geometry that a ring can have, any
// answer to io_uring_enter(2). What comes of it may be nonsense, but nothing outside of the three regions is touched: each is a
// heap block of exactly its size, with AddressSanitizer around it. No step takes longer than the comment at the top of the loop
// states, and no submit is for more requests than the SQ holds.
//
// libFuzzer's input begins with a choice of loop and geometry; then come turns. FUZZ_LOOP=name in the environment makes it one
// loop.
#include <ringstep/c/abi.h>
#include <ringstep/c/hash.h>
#include <ringstep/c/loops/chain.h>
#include <ringstep/c/loops/copy.h>
#include <ringstep/c/loops/drain.h>
#include <ringstep/c/loops/enter.h>
#include <ringstep/c/loops/frames.h>
#include <ringstep/c/loops/gate.h>
#include <ringstep/c/loops/http.h>
#include <ringstep/c/loops/link.h>
#include <ringstep/c/loops/nop_chain.h>
#include <ringstep/c/loops/pace.h>
#include <ringstep/c/loops/proxy.h>
#include <ringstep/c/loops/stages.h>
#include <ringstep/c/user.h>

#include "hostile/bounds.hpp"
#include "loops/hooked.h"
#include "loops/scripted.h"
#include "loops/timed.h"

#include <linux/io_uring.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <span>
#include <string>
#include <string_view>

extern "C" {
extern const struct ringstep_user_loop ringstep_user_nop_chain;
extern const struct ringstep_user_loop ringstep_user_chain;
extern const struct ringstep_user_loop ringstep_user_copy;
extern const struct ringstep_user_loop ringstep_user_drain;
extern const struct ringstep_user_loop ringstep_user_enter;
extern const struct ringstep_user_loop ringstep_user_frames;
extern const struct ringstep_user_loop ringstep_user_http;
extern const struct ringstep_user_loop ringstep_user_link;
extern const struct ringstep_user_loop ringstep_user_scripted;
extern const struct ringstep_user_loop ringstep_user_stages;
extern const struct ringstep_user_loop ringstep_user_timed;
extern const struct ringstep_user_loop ringstep_user_hooked;
extern const struct ringstep_user_loop ringstep_user_gate;
extern const struct ringstep_user_loop ringstep_user_pace;
extern const struct ringstep_user_loop ringstep_user_proxy;
int fuzz_enter(unsigned fd, unsigned to_submit, unsigned min_complete, unsigned flags);
extern unsigned fuzz_most_iterations;
void fuzz_step_begins();
void fuzz_iteration();
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
}

// The engine's own limit, which hides a step that would not end: a step has to end before.
unsigned fuzz_most_iterations = 8U << 20;

namespace {

constexpr std::array<const ringstep_user_loop*, 15> loops = {
    &ringstep_user_nop_chain, &ringstep_user_copy,  &ringstep_user_scripted, &ringstep_user_stages, &ringstep_user_timed,
    &ringstep_user_hooked,    &ringstep_user_drain, &ringstep_user_link,     &ringstep_user_gate,   &ringstep_user_pace,
    &ringstep_user_chain,     &ringstep_user_enter, &ringstep_user_frames,   &ringstep_user_http,   &ringstep_user_proxy};

/// How long a step of this loop may be. Loops of tests state no bound, and are cut short.
StatedBound bound;
std::uint64_t iterations = 0;  // of this step

void set_bound(const ringstep_user_loop& loop) {
    static const std::array<StatedBound, loops.size()> all = [] {
        std::array<StatedBound, loops.size()> bounds;
        std::ranges::transform(loops, bounds.begin(), [](const ringstep_user_loop* one) { return stated_bound(one->name); });
        return bounds;
    }();
    bound = all[static_cast<std::size_t>(std::ranges::find(loops, &loop) - loops.begin())];
    fuzz_most_iterations = bound.stated ? 8U << 20 : 300;
}

/// The input, as a source of numbers. When it is used up, there are only zeroes.
class Input {
public:
    Input(const std::uint8_t* data, std::size_t size) : bytes_(data, size) {}
    [[nodiscard]] bool empty() const { return bytes_.empty(); }
    template <class T>
    T take() {
        T value{};
        const std::size_t size = std::min(sizeof value, bytes_.size());
        std::memcpy(&value, bytes_.data(), size);
        bytes_ = bytes_.subspan(size);
        return value;
    }
    /// Most often an interesting number, sometimes any at all.
    std::uint32_t number() {
        static constexpr std::uint32_t edges[] = {
            0,          1,          2,          31,         32,         33,         0x7f,       0xff, 0x100, 0xffff, 0x10000,
            0x7fffffff, 0x80000000, 0x80000001, 0xffffffff, 0xfffffffe, 0xfffffff0, 0xffffff00, 4096, 4095,  512};
        const auto choice = take<std::uint8_t>();
        if (choice < 2 * std::size(edges)) return edges[choice / 2];
        if (choice < 160) return choice & 0x1fU;
        return take<std::uint32_t>();
    }

private:
    std::span<const std::uint8_t> bytes_;
};

/// A block of exactly that size.
class Block {
public:
    explicit Block(std::size_t size) : size_(size), bytes_(static_cast<std::uint8_t*>(std::calloc(size, 1))) {
        if (bytes_ == nullptr) throw std::bad_alloc();
    }
    Block(const Block&) = delete;
    Block& operator=(const Block&) = delete;
    ~Block() { std::free(bytes_); }
    [[nodiscard]] std::uint8_t* data() const { return bytes_; }
    [[nodiscard]] std::size_t size() const { return size_; }
    void write(std::size_t offset, std::uint64_t value, std::size_t size) const {
        if (offset <= size_ && size <= size_ - offset) std::memcpy(bytes_ + offset, &value, size);
    }
    [[nodiscard]] std::uint32_t word(std::size_t offset) const {
        std::uint32_t value = 0;
        std::memcpy(&value, bytes_ + offset, sizeof value);
        return value;
    }

private:
    std::size_t size_;
    std::uint8_t* bytes_;
};

class Run;
Run* current = nullptr;

/// A ring that is memory only, and a loop on it.
class Run {
public:
    Run(const ringstep_user_loop& loop, const ringstep_geometry& geometry, Input& input)
        : input_(input), mem_(geometry.mem_size), cq_(geometry.cq_size), sq_(geometry.sq_size) {
        user_.geometry = geometry;
        user_.control = reinterpret_cast<ringstep_control*>(mem_.data());
        user_.control->address = reinterpret_cast<std::uintptr_t>(mem_.data());
        user_.loop = &loop;
        user_.cq = cq_.data();
        user_.sq = sq_.data();
        user_.wake_tag = 0x1122334455667788;
        user_.wait_fences = 1;
        user_.trace = [](const ringstep_user*, const ringstep_trace_event* event) {
            if (event->kind == RINGSTEP_TRACE_TURN && ++current->turns_ > 200) current->stop();
        };
        current = this;
    }
    Run(const Run&) = delete;
    Run& operator=(const Run&) = delete;
    ~Run() { current = nullptr; }

    [[nodiscard]] const ringstep_user_loop& loop() const { return *user_.loop; }

    /// A state to begin with from which the loop works: nonsense goes further that comes one field at a time.
    void fill_in() {
        void* const state = user_.control + 1;
        if (user_.loop == &ringstep_user_nop_chain) {
            *static_cast<ringstep_nop_chain*>(state) = {
                .total = 1000, .depth = 5, .submitted = 0, .completed = 0, .failed = 0, .foreign = 0};
        } else if (user_.loop == &ringstep_user_copy) {
            auto& copy = *static_cast<ringstep_copy*>(state);
            copy.depth = 9;
            copy.block_size = 4096;
            copy.size_hint = RINGSTEP_COPY_ENDLESS;
            copy.extents[0] = {.offset = 0, .length = RINGSTEP_COPY_ENDLESS};
            copy.extent_tail = 1;
        } else if (user_.loop == &ringstep_user_stages) {
            auto& stages = *static_cast<ringstep_stages*>(state);
            stages.stage_count = 3;
            stages.stages[0] = {.nanoseconds = 1, .completions = 8, .__reserved = 0};
            stages.stages[1] = {.nanoseconds = 1, .completions = 4, .__reserved = 0};
            stages.stages[2] = {.nanoseconds = RINGSTEP_STAGES_FOR_EVER, .completions = 2, .__reserved = 0};
            stages.groups_used = 3;
            stages.groups[0] = {.mask = 1, .value = 0, .submitted = 0, .finished = 0, .completed = 0, .wanted = 2};
            stages.groups[1].wanted = RINGSTEP_STAGES_ALL;
        } else if (user_.loop == &ringstep_user_timed) {
            auto& timed = *static_cast<struct timed*>(state);
            timed.deadline = ~0ULL;
            timed.wait = 3;
            timed.nops = 50;
        } else if (user_.loop == &ringstep_user_hooked) {
            auto& hooked = *static_cast<struct hooked*>(state);
            hooked.enter.deadline = hooked.enter.wake_at = ~0ULL;
            hooked.enter.min_complete = 5;
            user_.control->timer.updates = 1;
        } else if (user_.loop == &ringstep_user_enter) {
            auto& enter = static_cast<ringstep_enter_state*>(state)->enter;
            enter.deadline = enter.wake_at = ~0ULL;
            enter.min_complete = 5;
        } else if (user_.loop == &ringstep_user_gate) {
            auto& gate = *static_cast<ringstep_gate*>(state);
            gate.depth = 7;
            gate.file_limit = 2;
            gate.patience = 3;
            push_requests(gate, [](ringstep_gate_request& request, std::uint32_t number) {
                request.request_class = number % RINGSTEP_GATE_CLASSES;
                request.file = number % 5;
            });
        } else if (user_.loop == &ringstep_user_pace) {
            auto& pace = *static_cast<ringstep_pace*>(state);
            for (unsigned i = 0; i < 4; i++) {
                pace.classes[i].version = 2;
                pace.classes[i].wanted[RINGSTEP_PACE_OPERATIONS] = {.rate = 1'000'000, .burst = 2};
                pace.classes[i].wanted[RINGSTEP_PACE_BYTES] = {.rate = 1'000'000'000, .burst = 3};
            }
            push_requests(pace, [](ringstep_pace_request& request, std::uint32_t number) {
                request.request_class = number % RINGSTEP_PACE_CLASSES;
                request.bytes = number % 5;
            });
        } else if (user_.loop == &ringstep_user_chain) {
            fill_in(*static_cast<ringstep_chain*>(state));
        } else if (user_.loop == &ringstep_user_frames) {
            fill_in(*static_cast<ringstep_frames*>(state), "line\nand another\r\n\0\5hello");
        } else if (user_.loop == &ringstep_user_http) {
            auto& http = *static_cast<ringstep_http*>(state);
            fill_in(http,
                    "GET / HTTP/1.1\r\nHost: a\r\nRange: bytes=1-2\r\nIf-None-Match: \"t\"\r\n\r\n"
                    "PUT /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                    "5\r\nhello\r\n0\r\n\r\n");
            http.own.longest_body = 100;
            http.own.dates = 1;
            http.own.files = 1;
            for (__u32& first : http.own.paths) first = 1;
            ringstep_http_file& file = http.own.file[0];
            file.hash = ringstep_hash("/", 1, 0);
            file.path_length = 1;
            file.path[0] = '/';
            file.size = 100'000;
            file.tag_end = 3;
            file.common = file.text_length = 20;
            std::memcpy(file.text, "\"u\"", 3);
            if (input_.take<std::uint8_t>() % 4 != 0) open_connections(http);
        } else if (user_.loop == &ringstep_user_proxy) {
            fill_in(*static_cast<ringstep_proxy*>(state));
        } else if (user_.loop == &ringstep_user_drain) {
            push_requests(*static_cast<ringstep_drain*>(state), [](ringstep_drain_request& request, std::uint32_t number) {
                request.group = number % 3;
                request.options = number % 5 == 4 ? RINGSTEP_DRAIN_BARRIER : number % 7 == 6 ? RINGSTEP_DRAIN_ALL : 0;
            });
        } else if (user_.loop == &ringstep_user_link) {
            push_requests(*static_cast<ringstep_link*>(state), [](ringstep_link_request& request, std::uint32_t number) {
                request.options = number % 4 == 3 ? 0 : number + 2;
                request.options |= number % 3 == 0 ? RINGSTEP_LINK_HARD : 0;
                request.options |=
                    number % 5 == 0 ? RINGSTEP_LINK_CONTINUES | RINGSTEP_LINK_EXACTLY << RINGSTEP_LINK_RULE_SHIFT : 0;
                request.expected = 100;
                request.count = 4;
            });
        } else {
            auto& script = *static_cast<scripted*>(state);
            script.sqe_count = script.stop_at = 500;
            script.sqes_per_turn = 7;
            script.wait = 1;
        }
    }

    /// Graphs of a few nodes, some of them as a builder would make them, and chains of each.
    void fill_in(ringstep_chain& chain) {
        constexpr std::uint32_t nodes = 6;
        chain.address = reinterpret_cast<std::uintptr_t>(&chain);
        chain.depth = 9;
        chain.requests.identity = ringstep_identity_of_loop(0);
        chain.arenas[0] = {.address = 0x10000, .size = 100'000, .used = 0, .__reserved = 0};
        for (ringstep_chain_graph& graph : std::span(chain.graphs).first(3)) {
            graph.node_count = nodes;
            graph.roots = 1U | (input_.take<std::uint8_t>() & 0x3fU);
            for (std::uint32_t i = 0; i < nodes; i++) {
                ringstep_chain_node& node = graph.nodes[i];
                const auto what = input_.take<std::uint8_t>();
                node.kind = what % 8 < 4 ? RINGSTEP_CHAIN_REQUEST : static_cast<__u8>(what % 8 - 3);
                node.flags = input_.take<std::uint8_t>();
                node.limit = what >> 3 & 3;
                node.join = what >> 5 & 1;
                node.tries = what >> 6 & 1;
                node.op_count = what >> 7;
                node.timeout.nanoseconds = (what & 0x18) == 0x18 ? 1 : 0;
                node.edges[RINGSTEP_CHAIN_SUCCESS] = 1U << (i + 1);
                for (std::uint32_t& edges : std::span(node.edges).subspan(1))
                    edges = input_.take<std::uint8_t>() & (input_.take<std::uint8_t>() | 0x80000000U);
                node.cleanup = input_.take<std::uint8_t>() % 16 == 0 ? 1U << (nodes - 1) : 0;
                node.next[RINGSTEP_CHAIN_SUCCESS] =
                    static_cast<__u8>(i + 1 < nodes ? RINGSTEP_CHAIN_NEXT | (what & RINGSTEP_CHAIN_NEXT_AGAIN) | (i + 1)
                                                    : RINGSTEP_CHAIN_NOTHING_NEXT);
                node.next[RINGSTEP_CHAIN_SHORT] = input_.take<std::uint8_t>();
                node.next[RINGSTEP_CHAIN_END] = input_.take<std::uint8_t>();
                for (ringstep_chain_op& op : std::span(node.ops).first(2)) {
                    op.operation = input_.take<std::uint8_t>();
                    op.target = input_.take<std::uint8_t>();
                    op.to = input_.take<std::uint8_t>();
                    op.x = input_.take<std::uint8_t>();
                    op.y = op.to;
                    op.constant_y = op.x & 1;
                    op.bytes = op.operation;
                    op.constant = input_.number();
                }
            }
        }
        std::uint32_t ticket = 0;
        const auto send = [&](std::uint32_t message) {
            chain.inbox[ticket] = std::uint64_t{message} << 32 | (ticket + 1);
            ticket++;
        };
        for (std::uint32_t number = 0; number < 40; number++) {
            chain.instances[number].identity = ringstep_identity_of_slot(number, 0);
            chain.instances[number].graph = number % 3;
            chain.instances[number].timeout.nanoseconds = number % 7 == 6 ? 1 : 0;
            send(number);
            if (number % 8 == 0) send(RINGSTEP_REQUEST_CANCEL | number / 2);
        }
        chain.mailbox.sent = ticket;
    }

    /// A server with bytes in all of its buffers.
    template <class State>
    void fill_in(State& state, std::string_view bytes) {
        const auto what = input_.take<std::uint8_t>();
        state.server.identity = ringstep_identity_of_loop(0);
        state.server.listener = 3;
        state.server.closes_late = what & 1;
        state.server.limits.linger = (what & 2) != 0 ? 1'000 : 0;
        state.server.limits.idle = (what & 4) != 0 ? 100'000'000 : 0;
        state.server.limits.starve = (what & 8) != 0 ? 1 : 0;
        state.server.limits.write = (what & 8) != 0 ? 1'000'000 : 0;
        state.server.framing.kind = what >> 4 & 3;
        state.server.framing.most = 300;
        state.server.framing.width = 2;
        state.server.framing.big = 1;
        state.buffers.ring.available =
            static_cast<std::uint32_t>(std::size(state.buffers.bytes) - std::size(state.connections));
        for (auto& chunk : state.buffers.bytes)
            for (std::size_t at = 0; at + bytes.size() < sizeof chunk; at += bytes.size())
                std::memcpy(&chunk[at], bytes.data(), bytes.size());
    }

    /// Two connections, each with bytes that it has received. To one of them, a file is being sent.
    static void open_connections(ringstep_http& http) {
        for (std::uint32_t i = 0; i < 2; i++) {
            ringstep_connection& link = http.connections[i].link;
            link.generation = 1;
            link.identity = http.server.identity | ringstep_identity_of_slot(i, 1);
            link.flags = RINGSTEP_CONNECTION_READY;
            link.held = 1;
            link.held_first = link.held_last = i + 1;
            link.ready = {.next = i == 0 ? 2U : 0U, .previous = i};
            http.held[i] = {.next = 0, .at = 0, .end = sizeof http.buffers.bytes[i], .__reserved = 0};
        }
        http.server.ready = {.first = 1, .last = 2, .count = 2};
        http.server.open = 2;
        http.server.counts = RINGSTEP_REQUESTS_IN_FLIGHT;
        http.buffers.ring.available -= 2;
        http.connections[1].link.flags |= RINGSTEP_CONNECTION_LATER;
        http.connections[1].link.in_flight = 1U << RINGSTEP_CONNECTION_READ;
        http.connections[1].own.transfer.file = 1;
        http.connections[1].own.transfer.left = http.own.file[0].size;
        http.own.file[0].users = 1;
    }

    void fill_in(ringstep_proxy& proxy) {
        const auto what = input_.take<std::uint8_t>();
        proxy.identity = ringstep_identity_of_loop(0);
        proxy.listener = 3;
        proxy.balance = what % 3;
        proxy.attempts = 2;
        proxy.failures = what >> 2 & 1;
        proxy.most = RINGSTEP_PROXY_CONNECTIONS;
        proxy.refuse = what >> 3 & 1;
        proxy.header = what >> 4 & 1;
        proxy.prompt = what >> 5 & 1;
        proxy.closes_late = what >> 6 & 1;
        proxy.connect_time = proxy.idle_time = proxy.out_time = (what & 0x80) != 0 ? 1 : 1'000'000'000;
        proxy.listener_address.family = proxy.client.family = RINGSTEP_AF_INET;
        proxy.upstream_count = 3;
        for (ringstep_proxy_upstream& upstream : std::span(proxy.upstreams).first(3)) {
            upstream.address.family = RINGSTEP_AF_INET;
            upstream.length = 16;
        }
        proxy.upstreams[2].address.family = RINGSTEP_AF_UNIX;
    }

    /// The user_data of a request of a connection, or of a server's accept: half of all completions are of a request that is in
    /// flight.
    std::uint64_t of_connection(std::uint64_t server, std::uint64_t identity, std::uint32_t in_flight, std::uint64_t helpers) {
        auto part = static_cast<std::uint32_t>(input_.take<std::uint8_t>());
        if (part >= 0xe0) return server | ringstep_identity_of_part(part & 1, 63);
        if (part < 0x80 && in_flight != 0) {
            for (part &= 15; (in_flight >> part & 1) == 0;) part = (part + 1) % 32;
        } else {
            part &= 15;
        }
        return identity | ringstep_identity_of_part(helpers >> part & 1, part);
    }

    /// Messages about the first slots of a table of requests, one in eight of which is cancelled.
    template <class State, class FillIn>
    static void push_requests(State& state, const FillIn& fill_in) {
        state.requests.identity = ringstep_identity_of_loop(0);
        std::uint32_t ticket = 0;
        const auto send = [&](std::uint32_t message) {
            state.inbox[ticket] = std::uint64_t{message} << 32 | (ticket + 1);
            ticket++;
        };
        for (std::uint32_t number = 0; number < 100; number++) {
            state.slots[number].request.identity = state.requests.identity | ringstep_identity_of_slot(number, 0);
            fill_in(state.slots[number].own, number);
            send(number);
            if (number % 8 == 0) {
                send(RINGSTEP_REQUEST_CANCEL | number / 2);
                state.requests.attempts++;
            }
        }
        state.mailbox.sent = ticket;
    }

    /// What a turn finds: its state, its queues, its control block, each perhaps changed.
    void change() {
        const auto what = input_.take<std::uint8_t>();
        if ((what & 1) != 0) change_state();
        if ((what & 2) != 0) change_control();
        if ((what & 4) != 0) change_words();
        if ((what & 8) != 0) complete(input_.take<std::uint8_t>() % 70);
        if ((what & 16) != 0) {
            user_.wakes_sent = input_.number();
            user_.wakes_seen = input_.number();
        }
    }

    void turn() {
        enters_ = turns_ = 0;
        (void)user_.loop->turn(&user_);
    }

    /// Turn after turn, with what lies between them, until the loop ends or the input does.
    void run() {
        enters_ = turns_ = 0;
        (void)user_.loop->run(&user_);
    }

    int enter(unsigned to_submit, unsigned min_complete) {
        if (to_submit > user_.geometry.sq_mask + 1) {
            std::fprintf(stderr, "loop %s submits %u requests, and the SQ holds %u\n", user_.loop->name, to_submit,
                         user_.geometry.sq_mask + 1);
            std::abort();
        }
        if (++enters_ > 64 || input_.empty()) {
            stop();
            return to_submit != 0 ? -EAGAIN : -EINTR;
        }
        const auto what = input_.take<std::uint8_t>();
        if ((what & 0x80) != 0) return -static_cast<int>(input_.take<std::uint8_t>());
        if ((what & 0x40) != 0) complete(input_.take<std::uint8_t>() % 70);
        if ((what & 0x20) != 0) change_words();
        // A kernel takes no more than it is offered, and no more than the SQ holds.
        unsigned taken = std::min(to_submit, user_.geometry.sq_mask + 1);
        if ((what & 0x10) != 0 && taken != 0) taken -= input_.take<std::uint8_t>() % (taken + 1);
        if ((user_.geometry.flags & RINGSTEP_SQ_REWIND) == 0) {
            const std::uint32_t head = cq_.word(user_.geometry.sq_head);
            cq_.write(user_.geometry.sq_head, head + taken, sizeof head);
        }
        if ((what & 0x0f) != 0) complete(std::max(min_complete, taken) % 70);
        return static_cast<int>(taken);
    }

private:
    /// What bounds a run, which could go on as long as a tail that is far ahead lets it.
    void stop() {
        user_.control->stop = RINGSTEP_STOP_REQUESTED;
        user_.wakes_sent = user_.wakes_seen;  // none to wait for
    }

    void change_state() {
        const std::size_t size = user_.geometry.mem_size - sizeof(ringstep_control);
        const auto words = input_.take<std::uint8_t>() % 24;
        for (int i = 0; i < words; i++) {
            // Most of what matters is at the front; tables are large, and filled best in one go.
            const auto kind = input_.take<std::uint8_t>();
            std::size_t offset = input_.take<std::uint8_t>() * 4;
            if ((kind & 7) == 0) offset = input_.take<std::uint32_t>() % size / 4 * 4;
            const std::uint32_t number = input_.number();
            for (int count = (kind & 8) != 0 ? input_.take<std::uint8_t>() : 1; count > 0; count--, offset += 4)
                if (offset < size) mem_.write(sizeof(ringstep_control) + offset, number, 4);
        }
    }

    void change_control() {
        ringstep_control& control = *user_.control;
        const auto what = input_.take<std::uint8_t>();
        if ((what & 1) != 0) control.claimed = input_.number();
        if ((what & 2) != 0) control.fault = input_.number();
        if ((what & 4) != 0) control.turns = input_.take<std::uint64_t>();
        if ((what & 8) != 0) control.reaped = control.submitted = control.unfinished = input_.take<std::uint64_t>();
        control.stop = (what & 16) != 0 ? input_.number() : 0;
    }

    void change_words() {
        const ringstep_geometry& geometry = user_.geometry;
        const auto what = input_.take<std::uint8_t>();
        if ((what & 1) != 0) cq_.write(geometry.cq_head, input_.number(), 4);
        if ((what & 2) != 0) cq_.write(geometry.cq_tail, input_.number(), 4);
        if ((what & 4) != 0) cq_.write(geometry.sq_head, input_.number(), 4);
        if ((what & 8) != 0) cq_.write(geometry.sq_tail, input_.number(), 4);
        if ((what & 16) != 0) cq_.write(geometry.cq_tail, cq_.word(geometry.cq_head) + input_.take<std::uint8_t>(), 4);
    }

    template <class State>
    std::uint64_t of_server(const State& state, std::uint8_t kind) {
        const ringstep_connection& link = state.connections[kind % std::size(state.connections)].link;
        return of_connection(state.server.identity, link.identity, link.in_flight, 1U << RINGSTEP_CONNECTION_CANCEL);
    }

    void complete(std::uint32_t count) {
        const ringstep_geometry& geometry = user_.geometry;
        std::uint32_t tail = cq_.word(geometry.cq_tail);
        while (count-- > 0 && !input_.empty()) {
            const std::size_t at = geometry.cqes + (std::size_t{tail++ & geometry.cq_mask} << geometry.cqe_shift);
            const auto kind = input_.take<std::uint8_t>();
            std::uint64_t user_data = kind & 0x1fU;
            // Of the request that a slot of the copy has in flight. Otherwise hardly any would be one's.
            if (user_.loop == &ringstep_user_copy)
                user_data =
                    static_cast<const ringstep_copy*>(static_cast<const void*>(user_.control + 1))->slots[user_data].identity;
            if (kind >= 0x60) user_data = ringstep_identity_of_loop(0) | (kind & 0x1fU);  // of a loop of requests
            if (user_.loop == &ringstep_user_chain)  // of what, of which node, of which chain
                user_data =
                    ringstep_identity_of_loop(0) | std::uint64_t{input_.take<std::uint8_t>()} % 0xa0 << 16 | (kind & 0x1fU);
            if (user_.loop == &ringstep_user_frames)
                user_data = of_server(*static_cast<const ringstep_frames*>(static_cast<const void*>(user_.control + 1)), kind);
            if (user_.loop == &ringstep_user_http)
                user_data = of_server(*static_cast<const ringstep_http*>(static_cast<const void*>(user_.control + 1)), kind);
            if (user_.loop == &ringstep_user_proxy) {
                const auto& proxy = *static_cast<const ringstep_proxy*>(static_cast<const void*>(user_.control + 1));
                const ringstep_proxy_pair& pair = proxy.pairs[kind % RINGSTEP_PROXY_CONNECTIONS];
                user_data = of_connection(proxy.identity, pair.identity, pair.in_flight, 3U << RINGSTEP_PROXY_CANCEL);
            }
            if (kind >= 0x80) user_data = input_.number();
            if (kind >= 0xc0) user_data = input_.take<std::uint64_t>();
            if (kind >= 0xb0 && kind < 0xc0) {
                const std::uint8_t* const timer = mem_.data() + offsetof(ringstep_control, timer);
                user_data =
                    reinterpret_cast<std::uintptr_t>(timer) + input_.take<std::uint8_t>() % (sizeof(ringstep_timer) + 8);
            }
            if (kind >= 0xe0) {
                user_data = user_.wake_tag;
                user_.wakes_sent++;
            }
            cq_.write(at, user_data, 8);
            cq_.write(at + 8, input_.number(), 4);
            std::uint32_t flags = (kind & 0x20) != 0 ? input_.number() : 0;
            if (kind < 0x80 && (user_.loop == &ringstep_user_frames || user_.loop == &ringstep_user_http)) {
                // A buffer, and perhaps more to come.
                const auto buffer = input_.take<std::uint8_t>();
                flags =
                    (buffer & 0x80U) != 0 ? 0 : IORING_CQE_F_BUFFER | std::uint32_t{buffer & 0x1fU} << IORING_CQE_BUFFER_SHIFT;
                flags |= (buffer & 0x40U) != 0 ? IORING_CQE_F_MORE : 0;
            }
            cq_.write(at + 12, flags, 4);
        }
        cq_.write(geometry.cq_tail, tail, 4);
    }

    Input& input_;
    Block mem_;
    Block cq_;
    Block sq_;
    ringstep_user user_{};
    unsigned enters_ = 0;  // both in this run
    unsigned turns_ = 0;
};

/// Any that io_uring_setup() could come up with: words where it likes, powers of two from 1 to 64 entries.
ringstep_geometry take_geometry(const ringstep_user_loop& loop, Input& input) {
    const auto flags = input.take<std::uint8_t>();
    const auto sizes = input.take<std::uint8_t>();
    const auto places = input.take<std::uint8_t>();
    ringstep_geometry geometry{};
    geometry.abi = loop.abi;
    geometry.state_size = loop.state_size;
    geometry.sqe_shift = (flags & 1) != 0 ? 7 : 6;
    geometry.cqe_shift = (flags & 2) != 0 ? 5 : 4;
    if ((flags & 4) != 0) geometry.flags |= RINGSTEP_SQ_REWIND;
    geometry.sq_mask = (1U << sizes % 7) - 1;
    geometry.cq_mask = (1U << sizes / 7 % 7) - 1;
    if (geometry.flags != 0 && geometry.sqe_shift == 6 && geometry.cqe_shift == 4 && geometry.cq_mask + 1 >= RINGSTEP_USUAL_CQ)
        geometry.flags |= RINGSTEP_USUAL;
    // Four words, in any order, each perhaps on a cache line of its own; then the CQEs, and nothing behind them.
    const std::uint32_t stride = (places & 1) != 0 ? 64 : 4;
    std::array<std::uint32_t*, 4> words = {&geometry.sq_head, &geometry.sq_tail, &geometry.cq_head, &geometry.cq_tail};
    std::rotate(words.begin(), words.begin() + (places >> 1) % 4, words.end());
    std::uint32_t offset = 0;
    for (std::uint32_t* word : words) {
        *word = offset;
        offset += stride;
    }
    geometry.cqes = offset;
    geometry.cq_size = geometry.cqes + ((geometry.cq_mask + 1) << geometry.cqe_shift);
    geometry.sq_size = (geometry.sq_mask + 1) << geometry.sqe_shift;
    geometry.mem_size = static_cast<std::uint32_t>(sizeof(ringstep_control)) + loop.state_size;
    return geometry;
}

const ringstep_user_loop& take_loop(Input& input) {
    const auto choice = input.take<std::uint8_t>();
    static const char* const wanted = std::getenv("FUZZ_LOOP");
    if (wanted == nullptr || *wanted == '\0') return *loops[choice % loops.size()];
    for (const ringstep_user_loop* loop : loops)
        if (std::string_view(wanted) == loop->name) return *loop;
    std::fprintf(stderr, "FUZZ_LOOP: there is no loop '%s' in this program\n", wanted);
    std::exit(2);
}

}  // namespace

// What the loops call instead of io_uring_enter2().
int fuzz_enter(unsigned, unsigned to_submit, unsigned min_complete, unsigned) {
    return current->enter(to_submit, min_complete);
}

void fuzz_step_begins() { iterations = 0; }

void fuzz_iteration() {
    if (++iterations <= bound.iterations || !bound.stated) return;
    std::fprintf(stderr, "a step of loop %s has more than the %llu iterations that bpf/loops/%s.bpf.c states\n",
                 current->loop().name, static_cast<unsigned long long>(bound.iterations), current->loop().name);
    std::abort();
}

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Input input(data, size);
    const ringstep_user_loop& loop = take_loop(input);
    set_bound(loop);
    Run run(loop, take_geometry(loop, input), input);
    if ((input.take<std::uint8_t>() & 3) != 0) run.fill_in();
    for (int turns = 0; turns < 40 && !input.empty(); turns++) {
        run.change();
        if ((input.take<std::uint8_t>() & 3) == 0) {
            run.run();
        } else {
            run.turn();
        }
    }
    return 0;
}
