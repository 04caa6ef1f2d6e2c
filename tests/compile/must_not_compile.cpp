// SPDX-License-Identifier: MIT
// Each case must be refused by the compiler. The line "//! case: message" names what its diagnostics must contain.
#include <ringstep/chain/graph.hpp>
#include <ringstep/ringstep.hpp>

struct plain_state {
    unsigned long long value;
};
struct plain_loop {
    using state = plain_state;
    static constexpr std::string_view name = "plain";
    static std::span<const std::byte> object() { return {}; }
};

struct no_object {
    using state = plain_state;
    static constexpr std::string_view name = "plain";
};
struct no_state {
    static constexpr std::string_view name = "plain";
    static std::span<const std::byte> object() { return {}; }
};

void compile(ringstep::Ring& ring, ringstep::LoopProgram<plain_loop>& program) {
    (void)ring, (void)program;
#if CASE == 0
    //! 0: OK
    (void)program.state().load(&plain_state::value);
#elif CASE == 1
    //! 1: deleted
    ringstep::Ring copy = ring;
#elif CASE == 2
    //! 2: deleted
    ringstep::LoopProgram<plain_loop> copy = program;
#elif CASE == 3
    //! 3: constraint
    struct virtual_state {
        virtual ~virtual_state() = default;
    };
    ringstep::RegionView<virtual_state>* view = nullptr;
#elif CASE == 4
    //! 4: constraint
    struct string_state {
        std::string text;
    };
    ringstep::RegionView<string_state>* view = nullptr;
#elif CASE == 5
    //! 5: constraint
    ringstep::LoopProgram<no_object>* other = nullptr;
#elif CASE == 6
    //! 6: constraint
    ringstep::LoopProgram<no_state>* other = nullptr;
#elif CASE == 7
    //! 7: constraint|cannot return array
    struct with_array {
        unsigned values[4];
    };
    ringstep::RegionView<with_array> view(nullptr, 0);
    (void)view.load(&with_array::values);  // not one access
#elif CASE == 8
    //! 8: no member named 'submit'|has no member named
    program.submit();  // a loop is run
#elif CASE == 9
    //! 9: private
    ringstep::RegionMemory memory(nullptr, 0, false, false);
#endif
}

void chain(ringstep::chain::Graph& graph, const ringstep::chain::Parameter<ringstep::chain::Length>& length, const ringstep::chain::Node<ringstep::chain::Fd>& open) {
    (void)graph, (void)length, (void)open;
#if CASE == 0
    (void)graph.read(open, nullptr, length, 0);
#elif CASE == 10
    //! 10: no matching function|no known conversion|could not convert|cannot convert
    (void)graph.read(length, nullptr, length, 0);  // a length is no descriptor
#elif CASE == 11
    //! 11: no matching function|no known conversion|could not convert|cannot convert
    (void)graph.read(open, length, length, 0);  // nor an address
#elif CASE == 12
    //! 12: no matching function|no known conversion|could not convert|cannot convert
    (void)graph.read(open, nullptr, open.result(), 0);  // a descriptor is no length
#elif CASE == 13
    //! 13: no match for|invalid operands|constraint
    (void)(open.result() + length);  // what would that be?
#elif CASE == 14
    //! 14: no match for|no matching function|constraint
    (void)length(nullptr);  // a parameter has a type, too
#elif CASE == 15
    //! 15: no matching function|no known conversion|could not convert|cannot convert
    (void)graph.read(open, nullptr, length, length);  // a length is no offset
#endif
}
