// SPDX-License-Identifier: MIT
// Typed values of a chain: results of requests, parameters from the application, and computed values.
#pragma once

#include <ringstep/c/loops/chain.h>
#include <ringstep/version.hpp>

#include <concepts>
#include <cstdint>

namespace ringstep::inline v0::chain {

/// A file descriptor.
struct Fd {
    int number;  ///< the descriptor, or AT_FDCWD for a directory
};
/// A slot of the ring's registered files.
struct Slot {
    std::uint32_t number;  ///< the slot's number, from 0
};
/// A number of bytes.
struct Length {
    std::uint64_t bytes;  ///< the number of bytes
};
/// A place in a file.
struct Offset {
    std::uint64_t bytes;  ///< bytes from the file's beginning
};
/// An address in the process.
struct Address {
    const void* pointer;  ///< the address
};
/// Any other number: results of requests that return nothing but success, counters, codes.
struct Number {
    std::int64_t value;  ///< the number
};

/// The type of a value in a chain: Fd, Slot, Length, Offset, Address or Number.
template <class T>
concept ChainType = std::same_as<T, Fd> || std::same_as<T, Slot> || std::same_as<T, Length> || std::same_as<T, Offset> ||
                    std::same_as<T, Address> || std::same_as<T, Number>;

namespace detail {

struct GraphDraft;

constexpr std::uint64_t chain_bits(Fd fd) noexcept { return static_cast<std::uint64_t>(std::int64_t{fd.number}); }
constexpr std::uint64_t chain_bits(Slot slot) noexcept { return slot.number; }
constexpr std::uint64_t chain_bits(Length length) noexcept { return length.bytes; }
constexpr std::uint64_t chain_bits(Offset offset) noexcept { return offset.bytes; }
inline std::uint64_t chain_bits(Address address) noexcept { return reinterpret_cast<std::uintptr_t>(address.pointer); }
constexpr std::uint64_t chain_bits(Number number) noexcept { return static_cast<std::uint64_t>(number.value); }

// Types that a plain number may stand for.
template <class N, class T>
concept ChainLiteral = (std::same_as<T, Fd> && std::same_as<N, int>) ||
                       ((std::same_as<T, Length> || std::same_as<T, Offset> || std::same_as<T, Number>) && std::integral<N> &&
                        !std::same_as<N, bool>);

template <ChainType T, class N>
constexpr T chain_literal(N number) noexcept {
    if constexpr (std::same_as<T, Fd>) {
        return Fd{number};
    } else if constexpr (std::same_as<T, Number>) {
        return Number{static_cast<std::int64_t>(number)};
    } else {
        return T{static_cast<std::uint64_t>(number)};
    }
}

// Pairs of types that can be added and subtracted. The result has the type T.
template <class T, class U>
concept ChainAddable =
    (std::same_as<U, Length> && (std::same_as<T, Length> || std::same_as<T, Offset> || std::same_as<T, Address>)) ||
    (std::same_as<T, Number> && std::same_as<U, Number>) || (std::same_as<T, Slot> && std::same_as<U, Number>);

}  // namespace detail

template <ChainType T>
class Value;
template <ChainType T>
class Expression;
class Condition;

namespace detail {

// How graphs, nodes, values and expressions make each other and look into each other.
struct GraphAccess {
    template <ChainType T>
    [[nodiscard]] static Value<T> value(const GraphDraft* graph, std::uint8_t index) noexcept {
        return Value<T>(graph, index);
    }
    template <ChainType T>
    [[nodiscard]] static Expression<T> expression(const GraphDraft* graph, const ringstep_chain_op& op) noexcept {
        return Expression<T>(graph, op);
    }
    // A parameter, a variable, a node, a condition or scratch bytes.
    template <class Part, class... Arguments>
    [[nodiscard]] static Part make(const Arguments&... arguments) noexcept {
        return Part(arguments...);
    }
    template <class Part>
    [[nodiscard]] static const GraphDraft* graph(const Part& part) noexcept {
        return part.graph_;
    }
    template <ChainType T>
    [[nodiscard]] static std::uint8_t index(const Value<T>& value) noexcept {
        return value.index_;
    }
    template <ChainType T>
    [[nodiscard]] static const ringstep_chain_op& op(const Expression<T>& expression) noexcept {
        return expression.op_;
    }
    template <class Graph>
    [[nodiscard]] static const GraphDraft& draft(const Graph& graph) noexcept {
        return *graph.draft_;
    }
    template <class File>
    [[nodiscard]] static const auto& value_of(const File& file) noexcept {
        return file.value_;
    }
};

}  // namespace detail

/**
 * A value of a running chain: the result of a node, a parameter or a variable. The graph fixes which value it is; the number is
 * known when the chain reaches it.
 */
template <ChainType T>
class Value {
public:
    /// Converts the value to another type, for uses that the types do not foresee. The number stays unchanged.
    template <ChainType U>
    [[nodiscard]] Value<U> as() const noexcept {
        return detail::GraphAccess::value<U>(graph_, index_);
    }

private:
    friend struct detail::GraphAccess;
    Value(const detail::GraphDraft* graph, std::uint8_t index) noexcept : graph_(graph), index_(index) {}

    const detail::GraphDraft* graph_;  // the graph that the value belongs to
    std::uint8_t index_;               // among the values of the chain
};

/**
 * The content of a field: a constant, a value, or one operation on two of them. For more than one operation, store the
 * intermediate result in a variable (Graph::variable(), Graph::set()).
 */
template <ChainType T>
class Expression {
public:
    /// Creates a constant.
    Expression(T constant) noexcept : op_(constant_op(detail::chain_bits(constant))) {}  // NOLINT(*-explicit-*)
    /// Creates a constant from a plain number, if the type is unambiguous.
    template <class N>
        requires detail::ChainLiteral<N, T>
    Expression(N constant) noexcept  // NOLINT(*-explicit-*)
        : Expression(detail::chain_literal<T>(constant)) {}
    /// Creates a constant address.
    Expression(const void* pointer) noexcept  // NOLINT(*-explicit-*)
        requires std::same_as<T, Address>
        : Expression(Address{pointer}) {}
    /// Creates an expression that is a value without an operation.
    Expression(const Value<T>& value) noexcept  // NOLINT(*-explicit-*)
        : graph_(detail::GraphAccess::graph(value)), op_(constant_op(0)) {
        op_.x = detail::GraphAccess::index(value);
    }

    /// Returns whether the expression is a constant.
    [[nodiscard]] bool constant() const noexcept { return graph_ == nullptr; }

    /// Converts the expression to another type: see Value::as().
    template <ChainType U>
    [[nodiscard]] Expression<U> as() const noexcept {
        return detail::GraphAccess::expression<U>(graph_, op_);
    }

private:
    friend struct detail::GraphAccess;
    Expression(const detail::GraphDraft* graph, const ringstep_chain_op& op) noexcept : graph_(graph), op_(op) {}

    static ringstep_chain_op constant_op(std::uint64_t constant) noexcept {
        ringstep_chain_op op{};
        op.operation = RINGSTEP_CHAIN_ADD;
        op.x = RINGSTEP_CHAIN_VALUE_ZERO;
        op.constant_y = 1;
        op.constant = constant;
        return op;
    }

    const detail::GraphDraft* graph_ = nullptr;  // the graph that the values belong to; null for a constant
    ringstep_chain_op op_;                       // what the loop does
};

namespace detail {

template <ChainType T>
Expression<T> chain_operation(ringstep_chain_operation operation, const GraphDraft* graph, std::uint8_t x,
                              std::uint8_t y) noexcept {
    ringstep_chain_op op{};
    op.operation = static_cast<std::uint8_t>(operation);
    op.x = x;
    op.y = y;
    return GraphAccess::expression<T>(graph, op);
}

template <ChainType T>
Expression<T> chain_operation(ringstep_chain_operation operation, const GraphDraft* graph, std::uint8_t x,
                              std::uint64_t constant) noexcept {
    ringstep_chain_op op{};
    op.operation = static_cast<std::uint8_t>(operation);
    op.x = x;
    op.constant_y = 1;
    op.constant = constant;
    return GraphAccess::expression<T>(graph, op);
}

// Returns the graph of two values. Values of two graphs yield an invalid pointer, and the node then refuses the expression.
template <class T, class U>
const GraphDraft* chain_graph(const Value<T>& x, const Value<U>& y) noexcept {
    return GraphAccess::graph(x) == GraphAccess::graph(y) ? GraphAccess::graph(x)
                                                          : reinterpret_cast<const GraphDraft*>(std::uintptr_t{1});
}

}  // namespace detail

/// Adds values: `length + length`, `offset + length`, `address + length`, `number + number`, `slot + number`.
template <ChainType T, ChainType U>
    requires detail::ChainAddable<T, U>
[[nodiscard]] Expression<T> operator+(const Value<T>& x, const Value<U>& y) noexcept {
    return detail::chain_operation<T>(RINGSTEP_CHAIN_ADD, detail::chain_graph(x, y), detail::GraphAccess::index(x),
                                      detail::GraphAccess::index(y));
}
/// Adds a constant to a value.
template <ChainType T, std::integral N>
    requires(!std::same_as<T, Fd>)
[[nodiscard]] Expression<T> operator+(const Value<T>& x, N y) noexcept {
    return detail::chain_operation<T>(RINGSTEP_CHAIN_ADD, detail::GraphAccess::graph(x), detail::GraphAccess::index(x),
                                      static_cast<std::uint64_t>(y));
}
/// Subtracts values: `length - length`, `offset - length`, `address - length`, `number - number`, `slot - number`.
template <ChainType T, ChainType U>
    requires detail::ChainAddable<T, U>
[[nodiscard]] Expression<T> operator-(const Value<T>& x, const Value<U>& y) noexcept {
    return detail::chain_operation<T>(RINGSTEP_CHAIN_SUB, detail::chain_graph(x, y), detail::GraphAccess::index(x),
                                      detail::GraphAccess::index(y));
}
/// Subtracts a constant from a value.
template <ChainType T, std::integral N>
    requires(!std::same_as<T, Fd>)
[[nodiscard]] Expression<T> operator-(const Value<T>& x, N y) noexcept {
    return detail::chain_operation<T>(RINGSTEP_CHAIN_SUB, detail::GraphAccess::graph(x), detail::GraphAccess::index(x),
                                      static_cast<std::uint64_t>(y));
}
/// Returns the smaller of two values.
template <ChainType T>
[[nodiscard]] Expression<T> min(const Value<T>& x, const Value<T>& y) noexcept {
    return detail::chain_operation<T>(RINGSTEP_CHAIN_MIN, detail::chain_graph(x, y), detail::GraphAccess::index(x),
                                      detail::GraphAccess::index(y));
}
/// Returns the smaller of a value and a constant.
template <ChainType T>
    requires(!std::same_as<T, Fd>)
[[nodiscard]] Expression<T> min(const Value<T>& x, T y) noexcept {
    return detail::chain_operation<T>(RINGSTEP_CHAIN_MIN, detail::GraphAccess::graph(x), detail::GraphAccess::index(x),
                                      detail::chain_bits(y));
}
/// Returns the larger of two values.
template <ChainType T>
[[nodiscard]] Expression<T> max(const Value<T>& x, const Value<T>& y) noexcept {
    return detail::chain_operation<T>(RINGSTEP_CHAIN_MAX, detail::chain_graph(x, y), detail::GraphAccess::index(x),
                                      detail::GraphAccess::index(y));
}
/// Returns the product of a value and a constant.
[[nodiscard]] inline Expression<Number> operator*(const Value<Number>& x, const Value<Number>& y) noexcept {
    return detail::chain_operation<Number>(RINGSTEP_CHAIN_MULTIPLY, detail::chain_graph(x, y), detail::GraphAccess::index(x),
                                           detail::GraphAccess::index(y));
}

/// A comparison, the condition of a branch.
class Condition {
private:
    friend struct detail::GraphAccess;
    explicit Condition(const Expression<Number>& expression) noexcept : value_(expression) {}

    Expression<Number> value_;  // 1 if the condition holds, 0 if not
};

/// Compares both as signed numbers.
template <ChainType T>
[[nodiscard]] Condition operator<(const Value<T>& x, const Value<T>& y) noexcept {
    return detail::GraphAccess::make<Condition>(detail::chain_operation<Number>(
        RINGSTEP_CHAIN_LESS, detail::chain_graph(x, y), detail::GraphAccess::index(x), detail::GraphAccess::index(y)));
}
/// Compares both as signed numbers.
template <ChainType T, std::integral N>
[[nodiscard]] Condition operator<(const Value<T>& x, N y) noexcept {
    return detail::GraphAccess::make<Condition>(
        detail::chain_operation<Number>(RINGSTEP_CHAIN_LESS, detail::GraphAccess::graph(x), detail::GraphAccess::index(x),
                                        static_cast<std::uint64_t>(std::int64_t(y))));
}
/// Compares both as signed numbers.
template <ChainType T>
[[nodiscard]] Condition operator>(const Value<T>& x, const Value<T>& y) noexcept {
    return y < x;
}
/// Compares both for equality.
template <ChainType T>
[[nodiscard]] Condition operator==(const Value<T>& x, const Value<T>& y) noexcept {
    return detail::GraphAccess::make<Condition>(detail::chain_operation<Number>(
        RINGSTEP_CHAIN_EQUAL, detail::chain_graph(x, y), detail::GraphAccess::index(x), detail::GraphAccess::index(y)));
}
/// Compares both for inequality.
template <ChainType T, std::integral N>
[[nodiscard]] Condition operator==(const Value<T>& x, N y) noexcept {
    return detail::GraphAccess::make<Condition>(
        detail::chain_operation<Number>(RINGSTEP_CHAIN_EQUAL, detail::GraphAccess::graph(x), detail::GraphAccess::index(x),
                                        static_cast<std::uint64_t>(std::int64_t(y))));
}

/// A parameter with its value, an argument of Chains::start().
struct Argument {
    const detail::GraphDraft* graph;  ///< the parameter's graph
    std::uint8_t index;               ///< the parameter's index among the values
    std::uint64_t bits;               ///< the value
};

/// A value that is given when a chain starts. Calling the parameter with a value makes an Argument.
template <ChainType T>
class Parameter : public Value<T> {
public:
    /// Returns an argument with this value.
    [[nodiscard]] Argument operator()(T argument) const noexcept {
        return {detail::GraphAccess::graph(*this), detail::GraphAccess::index(*this), detail::chain_bits(argument)};
    }
    /// Returns an argument with this number.
    template <class N>
        requires detail::ChainLiteral<N, T>
    [[nodiscard]] Argument operator()(N argument) const noexcept {
        return (*this)(detail::chain_literal<T>(argument));
    }
    /// Returns an argument with this address.
    [[nodiscard]] Argument operator()(const void* argument) const noexcept
        requires std::same_as<T, Address>
    {
        return (*this)(Address{argument});
    }

private:
    friend struct detail::GraphAccess;
    using Value<T>::Value;
};

/// A value that the chain changes while it runs (Graph::set()). It is 0 at the start.
template <ChainType T>
class Variable : public Value<T> {
private:
    friend struct detail::GraphAccess;
    using Value<T>::Value;
};

}  // namespace ringstep::inline v0::chain
