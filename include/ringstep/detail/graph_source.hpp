// SPDX-License-Identifier: MIT
// Writes a graph as the source of a loop. ringstep_add_graph() runs this when an application is built.
#pragma once

#include <ringstep/c/loops/chain.h>
#include <ringstep/chain/graph.hpp>
#include <ringstep/detail/graph_fingerprint.hpp>
#include <ringstep/error.hpp>

#include <array>
#include <bit>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

namespace ringstep::inline v0::chain::detail {

// What is known of the nodes of a graph before a chain runs.
class GraphFacts {
public:
    struct Fact {
        bool once = false;                // it begins once at most
        bool runs = false;                // it may run before the chain ends
        bool cleans = false;              // it may run when the chain ends
        bool reached = false;             // the sets below are right
        std::uint32_t ended = 0;          // nodes that have ended before it, on all ways to it
        std::uint32_t maybe = 0;          // the same, on any way
        std::uint32_t cleanup = 0;        // clean-up nodes that are to run, on all ways to it
        std::uint32_t maybe_cleanup = 0;  // the same, on any way
    };

    explicit GraphFacts(const ringstep_chain_graph& graph) : graph_(graph) {
        for (std::uint32_t i = 0; i < graph.node_count; i++) cleanups_ |= graph.nodes[i].cleanup;
        alone_ = std::popcount(graph.roots) == 1 && std::popcount(cleanups_) <= 1;
        for (std::uint32_t i = 0; i < graph.node_count; i++)
            for (const std::uint32_t edges : graph.nodes[i].edges) alone_ = alone_ && std::popcount(edges) <= 1;
        mark(graph.roots, &Fact::runs);
        mark(cleanups_, &Fact::cleans);
        spread();
        for (std::uint32_t i = 0; i < graph.node_count; i++)
            facts_.at(i).once = alone_ && !(facts_.at(i).runs && facts_.at(i).cleans) && (reach(graph.nodes[i]) >> i & 1) == 0;
    }

    // At most one node of a chain is ready or in flight at any time.
    [[nodiscard]] bool alone() const noexcept { return alone_; }
    [[nodiscard]] const Fact& of(std::uint32_t node) const { return facts_.at(node); }
    [[nodiscard]] bool ended_known(std::uint32_t node) const {
        const Fact& fact = of(node);
        return alone_ && !fact.cleans && fact.ended == fact.maybe;
    }
    // Returns true, and stores the clean-up nodes that are to run after this outcome of a node, if they are known.
    [[nodiscard]] bool cleanup_known(std::uint32_t node, bool success, std::uint32_t& cleanup) const {
        const Fact& fact = of(node);
        cleanup = fact.cleanup | (success ? graph_.nodes[node].cleanup : 0U);
        return alone_ && cleanup == (fact.maybe_cleanup | (success ? graph_.nodes[node].cleanup : 0U));
    }
    [[nodiscard]] std::uint32_t cleanups() const noexcept { return cleanups_; }

private:
    static std::uint32_t next_of(const ringstep_chain_node& node) {
        std::uint32_t next = 0;
        for (const std::uint32_t edges : node.edges) next |= edges;
        return next;
    }
    // Returns the nodes that edges lead to from here.
    [[nodiscard]] std::uint32_t reach(const ringstep_chain_node& from) const {
        std::uint32_t reached = next_of(from);
        for (std::uint32_t last = 0; last != reached;) {
            last = reached;
            for (std::uint32_t i = 0; i < graph_.node_count; i++)
                if ((last >> i & 1) != 0) reached |= next_of(graph_.nodes[i]);
        }
        return reached;
    }
    void mark(std::uint32_t first, bool Fact::* flag) {
        for (std::uint32_t i = 0; i < graph_.node_count; i++) {
            if ((first >> i & 1) == 0) continue;
            const std::uint32_t reached = reach(graph_.nodes[i]) | 1U << i;
            for (std::uint32_t to = 0; to < graph_.node_count; to++)
                if ((reached >> to & 1) != 0) facts_.at(to).*flag = true;
        }
    }
    bool arrive(std::uint32_t node, std::uint32_t ended, std::uint32_t maybe, std::uint32_t cleanup,
                std::uint32_t maybe_cleanup) {
        Fact& fact = facts_.at(node);
        const Fact before = fact;
        fact.ended = before.reached ? before.ended & ended : ended;
        fact.cleanup = before.reached ? before.cleanup & cleanup : cleanup;
        fact.maybe |= maybe;
        fact.maybe_cleanup |= maybe_cleanup;
        fact.reached = true;
        return !before.reached || fact.ended != before.ended || fact.maybe != before.maybe || fact.cleanup != before.cleanup ||
               fact.maybe_cleanup != before.maybe_cleanup;
    }
    void spread() {
        bool changed = true;
        while (changed) {
            changed = false;
            for (std::uint32_t i = 0; i < graph_.node_count; i++) {
                const std::uint32_t all = (1U << graph_.node_count) - 1;
                if ((graph_.roots >> i & 1) != 0) changed = arrive(i, 0, 0, 0, 0) || changed;
                if ((cleanups_ >> i & 1) != 0) changed = arrive(i, 0, all, 0, 0) || changed;
                const Fact fact = facts_.at(i);
                if (!fact.reached) continue;
                const ringstep_chain_node& node = graph_.nodes[i];
                for (unsigned outcome = 0; outcome < 4; outcome++) {
                    const std::uint32_t more = outcome == RINGSTEP_CHAIN_FAILURE ? 0 : node.cleanup;
                    for (std::uint32_t to = 0; to < graph_.node_count; to++) {
                        if ((node.edges[outcome] >> to & 1) == 0) continue;
                        changed = arrive(to, fact.ended | 1U << i, fact.maybe | 1U << i, fact.cleanup | more,
                                         fact.maybe_cleanup | more) ||
                                  changed;
                    }
                }
            }
        }
    }

    const ringstep_chain_graph& graph_;
    std::array<Fact, RINGSTEP_CHAIN_NODES> facts_{};
    std::uint32_t cleanups_ = 0;
    bool alone_ = false;
};

// Writes the source of a loop that runs one graph.
class GraphSource {
public:
    GraphSource(const Graph& graph, std::string name, bool large)
        : graph_(graph.compile()), draft_(GraphAccess::draft(graph)), name_(std::move(name)), large_(large), facts_(graph_) {
        for (std::uint32_t i = 0; i < graph_.node_count; i++) addresses_.at(i) = addresses_of(draft_, graph_, i);
    }

    // Returns the loop, in C.
    [[nodiscard]] std::string loop() {
        text_ = "/* SPDX-License-Identifier: MIT OR GPL-2.0-only */\n/* Generated by ringstep_add_graph(" + name_ + "). */\n";
        text_ += std::string("#define CHAIN ") + state() + "\n#include <ringstep/chain/compiled.bpf.h>\n\n";
        write_graph();
        write_facts();
        write_straight();
        write_starts();
        text_ += "RINGSTEP_LOOP(" + name_ + ", struct " + state() + ")\n{\n\treturn chain_take_turn(turn, state);\n}\n";
        return text_;
    }

    // Returns what C++ needs to know about the loop.
    [[nodiscard]] std::string header() const {
        std::string text = "// Generated by ringstep_add_graph(" + name_ + ").\n#pragma once\n\n";
        text += "#include <ringstep/chain/compiled.hpp>\n#include <ringstep/compiled/" + name_ +
                ".hpp>\n\n#include <array>\n#include <cstdint>\n\n";
        text += "template <>\nstruct ringstep::chain::CompiledGraph<ringstep::loops::" + name_ + "> {\n";
        text += "    static constexpr std::uint32_t roots = " + hex(graph_.roots) + ";\n";
        text += "    static constexpr std::array<std::uint64_t, " + std::to_string(graph_.node_count) + "> nodes{";
        for (std::uint32_t i = 0; i < graph_.node_count; i++)
            text += (i == 0 ? "" : ", ") + hex(fingerprint_of(graph_.nodes[i], addresses_.at(i)));
        text += "};\n};\n";
        return text;
    }

private:
    [[nodiscard]] const char* state() const { return large_ ? "ringstep_chain_compiled_large" : "ringstep_chain_compiled"; }

    static std::string hex(std::uint64_t number) {
        std::array<char, 32> text{};
        std::snprintf(text.data(), text.size(),
                      number <= 9            ? "%llu"
                      : number <= UINT32_MAX ? "0x%llxU"
                                             : "0x%llxULL",
                      static_cast<unsigned long long>(number));
        return text.data();
    }
    // Returns a comment with the node's name.
    [[nodiscard]] std::string comment(std::uint32_t node) const {
        std::string name;
        for (const char letter : draft_.names.at(node))
            name += (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') || (letter >= '0' && letter <= '9')
                        ? letter
                        : '_';
        return " /* " + name + " */";
    }
    static std::string node_of(std::uint32_t node) { return "CHAIN_NODE_OF(" + std::to_string(node) + ")"; }

    void write_graph() {
        text_ += "static const struct ringstep_chain_graph chain_graph = {\n\t.roots = " + hex(graph_.roots) +
                 ",\n\t.node_count = " + hex(graph_.node_count) + ",\n\t.first = " + hex(graph_.first) + ",\n\t.nodes = {\n";
        for (std::uint32_t i = 0; i < graph_.node_count; i++) {
            const ringstep_chain_node& node = graph_.nodes[i];
            text_ += "\t\t[" + std::to_string(i) + "] = {" + comment(i) + "\n\t\t\t.sqe = { ";
            for (unsigned word = 0; word < 8; word++)
                text_ += (word == 0 ? "" : ", ") + ((addresses_.at(i).words >> word & 1) != 0 ? "0" : hex(node.sqe[word]));
            text_ += " },\n\t\t\t.edges = { ";
            for (unsigned edge = 0; edge < 4; edge++) text_ += (edge == 0 ? "" : ", ") + hex(node.edges[edge]);
            text_ += " },\n\t\t\t.cleanup = " + hex(node.cleanup) + ",\n\t\t\t.kind = " + hex(node.kind) +
                     ",\n\t\t\t.flags = " + hex(node.flags) + ",\n\t\t\t.op_count = " + hex(node.op_count) +
                     ",\n\t\t\t.join = " + hex(node.join) + ",\n\t\t\t.limit = " + hex(node.limit) + ",\n\t\t\t.next = { " +
                     hex(node.next[0]) + ", " + hex(node.next[1]) + ", " + hex(node.next[2]) + " },\n";
            if (node.timeout.seconds != 0 || node.timeout.nanoseconds != 0) text_ += "\t\t\t.timeout = { .nanoseconds = 1 },\n";
            text_ += "\t\t\t.ops = {\n";
            for (unsigned at = 0; at < node.op_count; at++) {
                const ringstep_chain_op& op = node.ops[at];
                text_ += "\t\t\t\t{ .operation = " + hex(op.operation) + ", .target = " + hex(op.target) +
                         ", .to = " + hex(op.to) + ", .x = " + hex(op.x) + ", .y = " + hex(op.y) +
                         ", .constant_y = " + hex(op.constant_y) + ", .bytes = " + hex(op.bytes) +
                         ", .plain = " + hex(op.plain) +
                         ", .constant = " + ((addresses_.at(i).operations >> at & 1) != 0 ? "0" : hex(op.constant)) + " },\n";
            }
            text_ += "\t\t\t},\n\t\t},\n";
        }
        text_ += "\t},\n};\n\n";
    }

    void write_facts() {
        text_ += "static const struct chain_fact chain_facts[] = {\n";
        for (std::uint32_t i = 0; i < graph_.node_count; i++) {
            const GraphFacts::Fact& fact = facts_.of(i);
            text_ += "\t[" + std::to_string(i) + "] = {" + comment(i) + "\n\t\t.flags = 0";
            if (facts_.alone()) text_ += " | CHAIN_ALONE";
            if (fact.once) text_ += " | CHAIN_ONCE";
            if (facts_.ended_known(i)) text_ += " | CHAIN_ENDED_KNOWN";
            if (!fact.cleans) text_ += " | CHAIN_ONLY_RUNS";
            if (!fact.runs) text_ += " | CHAIN_ONLY_CLEANS";
            if (completes_once(graph_.nodes[i])) text_ += " | CHAIN_COMPLETES_ONCE";
            text_ += ",\n\t\t.ended = " + hex(fact.ended) + ",\n\t\t.sqe_from_state = " + hex(addresses_.at(i).words) +
                     ",\n\t\t.ops_from_state = " + hex(addresses_.at(i).operations) + ",\n\t},\n";
        }
        text_ += "};\n\n";
    }

    // Zero-copy sends and commands may have two completions. What is newer than this may have any number.
    static bool completes_once(const ringstep_chain_node& node) {
        const unsigned opcode = ringstep::detail::field(node.sqe, &io_uring_sqe::opcode);
        return opcode < IORING_OP_LAST && opcode != IORING_OP_SEND_ZC && opcode != IORING_OP_SENDMSG_ZC &&
               opcode != IORING_OP_URING_CMD;
    }
    [[nodiscard]] bool computes(std::uint32_t node) const { return graph_.nodes[node].kind != RINGSTEP_CHAIN_REQUEST; }
    // Returns true if a path of nodes that are no requests leads from one node to the other.
    [[nodiscard]] bool leads_by_computing(std::uint32_t from, std::uint32_t to) const {
        std::uint32_t reached = 1U << from;
        for (std::uint32_t last = 0; last != reached;) {
            last = reached;
            for (std::uint32_t i = 0; i < graph_.node_count; i++) {
                if ((last >> i & 1) == 0 || !computes(i)) continue;
                for (const std::uint8_t next : graph_.nodes[i].next)
                    if ((next & RINGSTEP_CHAIN_NEXT) != 0) reached |= 1U << (next & RINGSTEP_CHAIN_NODES);
            }
        }
        return (reached >> to & 1) != 0;
    }

    // Writes what follows when a node has ended.
    void write_next(const std::string& indent, std::uint32_t node, unsigned outcome, std::uint8_t next) {
        const bool success = outcome != RINGSTEP_CHAIN_FAILURE;
        const std::string leave = "return chain_leave(at, " + std::to_string(node) + ", " + std::to_string(outcome) + ");\n";
        if ((next & RINGSTEP_CHAIN_NOTHING_NEXT) != 0) {
            write_end(indent, node, success);
            return;
        }
        const std::uint32_t to = next & RINGSTEP_CHAIN_NODES;
        if ((next & RINGSTEP_CHAIN_NEXT) == 0 || (computes(node) && computes(to) && leads_by_computing(to, node))) {
            text_ += indent + leave;
            return;
        }
        if (!facts_.of(to).once && (next & RINGSTEP_CHAIN_NEXT_AGAIN) != 0)
            text_ += indent + "if (chain_refuses(at, " + node_of(to) + "))\n" + indent + "\t" + leave;
        text_ += indent + "goto begin_" + std::to_string(to) + ";\n";
        begun_ |= 1U << to;
    }
    void write_end(const std::string& indent, std::uint32_t node, bool success) {
        std::uint32_t cleanup = 0;
        if (graph_.nodes[node].kind != RINGSTEP_CHAIN_FINISH && facts_.cleanup_known(node, success, cleanup)) {
            if (cleanup == 0)
                write_over(indent);
            else
                write_cleanup(indent, cleanup);
            return;
        }
        if (graph_.nodes[node].kind == RINGSTEP_CHAIN_FINISH && facts_.cleanup_known(node, true, cleanup)) {
            if (cleanup == 0)
                write_over(indent);
            else
                write_cleanup(indent, cleanup);
            return;
        }
        text_ += indent + "if (!at->chain->cleanup)\n\t";
        write_over(indent);
        for (std::uint32_t i = 0; i < graph_.node_count; i++) {
            if ((facts_.cleanups() >> i & 1) == 0) continue;
            text_ += indent + "if (at->chain->cleanup == " + hex(1U << i) + ")\n\t";
            write_cleanup(indent, 1U << i);
        }
        text_ += indent + "return chain_leave(at, 0, CHAIN_REST_OVER);\n";
    }
    void write_over(const std::string& indent) {
        text_ += indent + "goto over;\n";
        over_ = true;
    }
    void write_cleanup(const std::string& indent, std::uint32_t cleanup) {
        const auto node = static_cast<std::uint32_t>(std::countr_zero(cleanup));
        if (std::has_single_bit(cleanup) && (graph_.nodes[node].flags & RINGSTEP_CHAIN_READY_MADE) != 0) {
            text_ += indent + "goto clean_" + std::to_string(node) + ";\n";
            cleaned_ |= cleanup;
        } else {
            text_ += indent + "return chain_leave(at, 0, CHAIN_REST_OVER);\n";
        }
    }

    void write_straight() {
        text_ +=
            "static __always_inline enum chain_straight chain_straight(const struct chain_at *at, const struct io_uring_cqe "
            "*cqe)\n{\n"
            "\tswitch (at->completed) {\n";
        for (std::uint32_t i = 0; i < graph_.node_count; i++) {
            if (computes(i)) continue;
            text_ += "\tcase " + std::to_string(i) + ":" + comment(i) + "\n\t\tswitch (chain_completes(at, cqe, " + node_of(i) +
                     ")) {\n";
            const std::array<const char*, 3> outcomes{"SUCCESS", "SHORT", "END"};
            for (unsigned outcome = 0; outcome < 3; outcome++) {
                if (graph_.nodes[i].next[outcome] == 0) continue;
                if (outcome != 0 && (graph_.nodes[i].flags & RINGSTEP_CHAIN_TRANSFER) == 0) continue;
                text_ += std::string("\t\tcase RINGSTEP_CHAIN_") + outcomes.at(outcome) + ":\n";
                write_next("\t\t\t", i, outcome, graph_.nodes[i].next[outcome]);
            }
            text_ += "\t\tdefault:\n\t\t\treturn CHAIN_OTHERWISE;\n\t\t}\n";
        }
        text_ += "\tdefault:\n\t\treturn CHAIN_OTHERWISE;\n\t}\n";
        // Nodes that are found to begin while others are written may have been passed by.
        for (std::uint32_t written = 0; begun_ != written;) {
            const auto i = static_cast<std::uint32_t>(std::countr_zero(begun_ & ~written));
            written |= 1U << i;
            write_begin(i);
        }
        for (std::uint32_t i = 0; i < graph_.node_count; i++) {
            if ((cleaned_ >> i & 1) == 0) continue;
            text_ += "clean_" + std::to_string(i) + ":" + comment(i) + "\n\tif (!chain_cleans_up(at, " + flags() +
                     "))\n\t\treturn chain_leave(at, 0, CHAIN_REST_OVER);\n\treturn chain_begins(at, " + node_of(i) + ");\n";
        }
        if (over_) text_ += "over:\n\treturn chain_is_over(at, " + flags() + ");\n";
        text_ += "}\n\n";
    }
    void write_begin(std::uint32_t i) {
        text_ += "begin_" + std::to_string(i) + ":" + comment(i) + "\n";
        const ringstep_chain_node& node = graph_.nodes[i];
        if (!computes(i)) {
            text_ += "\treturn chain_begins(at, " + node_of(i) + ");\n";
            return;
        }
        if (node.kind == RINGSTEP_CHAIN_COMPUTE) {
            text_ += "\tchain_computes(at, " + node_of(i) + ");\n";
        } else if (node.kind == RINGSTEP_CHAIN_FINISH) {
            text_ += "\tchain_computes(at, " + node_of(i) + ");\n";
            write_end("\t", i, true);
            return;
        } else {
            text_ += "\tif (chain_computes(at, " + node_of(i) + ") == RINGSTEP_CHAIN_FAILURE) {\n";
            if (node.kind == RINGSTEP_CHAIN_ALLOCATE)
                text_ += "\t\treturn chain_leave(at, " + std::to_string(i) + ", CHAIN_REST_LACKS_MEMORY);\n";
            else
                write_next("\t\t", i, RINGSTEP_CHAIN_FAILURE, node.next[RINGSTEP_CHAIN_SHORT]);
            text_ += "\t}\n";
        }
        write_next("\t", i, RINGSTEP_CHAIN_SUCCESS, node.next[RINGSTEP_CHAIN_SUCCESS]);
    }
    [[nodiscard]] std::string flags() const { return facts_.alone() ? "CHAIN_ALONE" : "0"; }

    void write_starts() {
        text_ += "static __always_inline enum chain_straight chain_starts(const struct chain_at *at)\n{\n";
        if (graph_.first != 0)
            text_ += "\treturn chain_begins(at, " + node_of(graph_.first & RINGSTEP_CHAIN_NODES) + ");\n";
        else
            text_ += "\t(void)at;\n\treturn CHAIN_OTHERWISE;\n";
        text_ += "}\n\n";
    }

    ringstep_chain_graph graph_;
    const GraphDraft& draft_;
    std::string name_;
    bool large_;
    GraphFacts facts_;
    std::array<NodeAddresses, RINGSTEP_CHAIN_NODES> addresses_{};
    std::string text_;
    std::uint32_t begun_ = 0;
    std::uint32_t cleaned_ = 0;
    bool over_ = false;
};

// What a type or function that is named by ringstep_add_graph() makes: a graph, or a struct with one.
[[nodiscard]] inline const Graph& graph_in(const Graph& graph) noexcept { return graph; }
template <class Made>
    requires requires(const Made& made) { made.graph; }
[[nodiscard]] const Graph& graph_in(const Made& made) noexcept {
    return made.graph;
}

// Leaves a file alone that says this already, so that nothing is compiled again.
inline void write_file(const std::string& path, const std::string& text) {
    std::ifstream before(path, std::ios::binary);
    if (before && std::string(std::istreambuf_iterator<char>(before), {}) == text) return;
    std::ofstream stream(path, std::ios::binary);
    stream << text;
    stream.close();
    if (!stream) ringstep::detail::raise(errno, "writing " + path, "Does its folder exist, and is there room?");
}

// Is main() of the program that ringstep_add_graph() runs.
template <class Make>
int generate_graph(int argc, char** argv, const Make& make) noexcept {
    const std::string_view name = argc > 1 ? argv[1] : "";
    try {
        if (argc != 5) ringstep::detail::raise(EINVAL, "starting the generator", "Its arguments are NAME LOOP HEADER LARGE.");
        const auto made = make();
        GraphSource source(graph_in(made), argv[1], std::string_view(argv[4]) == "1");
        write_file(argv[2], source.loop());
        write_file(argv[3], source.header());
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "ringstep_add_graph(%s): %s\n", name.data(), error.what());
        return 1;
    }
}

}  // namespace ringstep::inline v0::chain::detail
