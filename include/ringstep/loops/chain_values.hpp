// SPDX-License-Identifier: MIT
// Values of a chain: what a request came to, what the application gave, what was computed. Each knows what it is.
#pragma once

#include <ringstep/loops/chain.h>
#include <ringstep/version.hpp>

#include <concepts>
#include <cstdint>

namespace ringstep::inline v0 {

/// A file descriptor.
struct Fd {
    int number;  ///< or AT_FDCWD, where one stands for a directory
};
/// A slot of the ring's registered files.
struct Slot {
    std::uint32_t number;  ///< from 0
};
/// A number of bytes.
struct Length {
    std::uint64_t bytes;  ///< as many
};
/// A place in a file.
struct Offset {
    std::uint64_t bytes;  ///< from the beginning
};
/// An address of the process.
struct Address {
    const void* pointer;  ///< to what it points
};
/// Any other number: results of requests that return nothing but success, counters, codes.
struct Number {
    std::int64_t value;  ///< it
};

/// Fd, Slot, Length, Offset, Address or Number.
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

// What a plain number or pointer may stand for.
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

// What may be added to what, and subtracted, and what that is.
template <class T, class U>
concept ChainAddable =
    (std::same_as<U, Length> && (std::same_as<T, Length> || std::same_as<T, Offset> || std::same_as<T, Address>)) ||
    (std::same_as<T, Number> && std::same_as<U, Number>) || (std::same_as<T, Slot> && std::same_as<U, Number>);

}  // namespace detail

/**
 * A value while the chain runs: the result of a node, a parameter, a variable. Which one is known when the graph is built, the
 * number when the chain has come to it.
 */
template <ChainType T>
class Value {
public:
    /// For Graph and its nodes.
    Value(const detail::GraphDraft* graph, std::uint8_t index) noexcept : graph_(graph), index_(index) {}

    /// The graph that it belongs to.
    [[nodiscard]] const detail::GraphDraft* graph() const noexcept { return graph_; }
    /// Its place among the values of the chain.
    [[nodiscard]] std::uint8_t index() const noexcept { return index_; }

    /// The same number as something else: for what the types do not foresee.
    template <ChainType U>
    [[nodiscard]] Value<U> as() const noexcept {
        return {graph_, index_};
    }

private:
    const detail::GraphDraft* graph_;
    std::uint8_t index_;
};

/**
 * What fills a field in: a constant, a value, or one operation on two of them. For more than one operation, put what comes in
 * between into a variable (Graph::variable(), Graph::set()).
 */
template <ChainType T>
class Expression {
public:
    /// A constant.
    Expression(T constant) noexcept : op_(constant_op(detail::chain_bits(constant))) {}  // NOLINT(*-explicit-*)
    /// A constant, where it is clear what is meant.
    template <class N>
        requires detail::ChainLiteral<N, T>
    Expression(N constant) noexcept  // NOLINT(*-explicit-*)
        : Expression(detail::chain_literal<T>(constant)) {}
    /// An address.
    Expression(const void* pointer) noexcept  // NOLINT(*-explicit-*)
        requires std::same_as<T, Address>
        : Expression(Address{pointer}) {}
    /// A value as it is.
    Expression(const Value<T>& value) noexcept  // NOLINT(*-explicit-*)
        : graph_(value.graph()), op_(constant_op(0)) {
        op_.x = value.index();
    }
    /// An operation.
    Expression(const detail::GraphDraft* graph, const ringstep_chain_op& op) noexcept : graph_(graph), op_(op) {}

    /// The graph that its values belong to; null for a constant.
    [[nodiscard]] const detail::GraphDraft* graph() const noexcept { return graph_; }
    /// What the loop is to do.
    [[nodiscard]] const ringstep_chain_op& op() const noexcept { return op_; }
    /// It is known already: op().constant.
    [[nodiscard]] bool constant() const noexcept { return graph_ == nullptr; }

    /// See Value::as().
    template <ChainType U>
    [[nodiscard]] Expression<U> as() const noexcept {
        return {graph_, op_};
    }

private:
    static ringstep_chain_op constant_op(std::uint64_t constant) noexcept {
        ringstep_chain_op op{};
        op.operation = RINGSTEP_CHAIN_ADD;
        op.x = RINGSTEP_CHAIN_VALUE_ZERO;
        op.constant_y = 1;
        op.constant = constant;
        return op;
    }

    const detail::GraphDraft* graph_ = nullptr;
    ringstep_chain_op op_;
};

namespace detail {

template <ChainType T>
Expression<T> chain_operation(ringstep_chain_operation operation, const GraphDraft* graph, std::uint8_t x,
                              std::uint8_t y) noexcept {
    ringstep_chain_op op{};
    op.operation = static_cast<std::uint8_t>(operation);
    op.x = x;
    op.y = y;
    return {graph, op};
}

template <ChainType T>
Expression<T> chain_operation(ringstep_chain_operation operation, const GraphDraft* graph, std::uint8_t x,
                              std::uint64_t constant) noexcept {
    ringstep_chain_op op{};
    op.operation = static_cast<std::uint8_t>(operation);
    op.x = x;
    op.constant_y = 1;
    op.constant = constant;
    return {graph, op};
}

// Two values of one graph; -1 as the graph lets the node refuse it.
template <class T, class U>
const GraphDraft* chain_graph(const Value<T>& x, const Value<U>& y) noexcept {
    return x.graph() == y.graph() ? x.graph() : reinterpret_cast<const GraphDraft*>(std::uintptr_t{1});
}

}  // namespace detail

/// `length + length`, `offset + length`, `address + length`, `number + number`, `slot + number`.
template <ChainType T, ChainType U>
    requires detail::ChainAddable<T, U>
[[nodiscard]] Expression<T> operator+(const Value<T>& x, const Value<U>& y) noexcept {
    return detail::chain_operation<T>(RINGSTEP_CHAIN_ADD, detail::chain_graph(x, y), x.index(), y.index());
}
/// The same with a constant.
template <ChainType T, std::integral N>
    requires(!std::same_as<T, Fd>)
[[nodiscard]] Expression<T> operator+(const Value<T>& x, N y) noexcept {
    return detail::chain_operation<T>(RINGSTEP_CHAIN_ADD, x.graph(), x.index(), static_cast<std::uint64_t>(y));
}
/// `length - length`, `offset - length`, `address - length`, `number - number`, `slot - number`.
template <ChainType T, ChainType U>
    requires detail::ChainAddable<T, U>
[[nodiscard]] Expression<T> operator-(const Value<T>& x, const Value<U>& y) noexcept {
    return detail::chain_operation<T>(RINGSTEP_CHAIN_SUB, detail::chain_graph(x, y), x.index(), y.index());
}
/// The same with a constant.
template <ChainType T, std::integral N>
    requires(!std::same_as<T, Fd>)
[[nodiscard]] Expression<T> operator-(const Value<T>& x, N y) noexcept {
    return detail::chain_operation<T>(RINGSTEP_CHAIN_SUB, x.graph(), x.index(), static_cast<std::uint64_t>(y));
}
/// The smaller one.
template <ChainType T>
[[nodiscard]] Expression<T> min(const Value<T>& x, const Value<T>& y) noexcept {
    return detail::chain_operation<T>(RINGSTEP_CHAIN_MIN, detail::chain_graph(x, y), x.index(), y.index());
}
/// The smaller one.
template <ChainType T>
    requires(!std::same_as<T, Fd>)
[[nodiscard]] Expression<T> min(const Value<T>& x, T y) noexcept {
    return detail::chain_operation<T>(RINGSTEP_CHAIN_MIN, x.graph(), x.index(), detail::chain_bits(y));
}
/// The larger one.
template <ChainType T>
[[nodiscard]] Expression<T> max(const Value<T>& x, const Value<T>& y) noexcept {
    return detail::chain_operation<T>(RINGSTEP_CHAIN_MAX, detail::chain_graph(x, y), x.index(), y.index());
}
/// The product.
[[nodiscard]] inline Expression<Number> operator*(const Value<Number>& x, const Value<Number>& y) noexcept {
    return detail::chain_operation<Number>(RINGSTEP_CHAIN_MULTIPLY, detail::chain_graph(x, y), x.index(), y.index());
}

/// What a branch decides by: a comparison.
class Condition {
public:
    /// For the operators below.
    explicit Condition(const Expression<Number>& expression) noexcept : expression_(expression) {}
    /// 1 if it holds, 0 if not.
    [[nodiscard]] const Expression<Number>& expression() const noexcept { return expression_; }

private:
    Expression<Number> expression_;
};

/// Both as signed numbers.
template <ChainType T>
[[nodiscard]] Condition operator<(const Value<T>& x, const Value<T>& y) noexcept {
    return Condition(detail::chain_operation<Number>(RINGSTEP_CHAIN_LESS, detail::chain_graph(x, y), x.index(), y.index()));
}
/// Likewise.
template <ChainType T, std::integral N>
[[nodiscard]] Condition operator<(const Value<T>& x, N y) noexcept {
    return Condition(detail::chain_operation<Number>(RINGSTEP_CHAIN_LESS, x.graph(), x.index(),
                                                     static_cast<std::uint64_t>(std::int64_t(y))));
}
/// Likewise.
template <ChainType T>
[[nodiscard]] Condition operator>(const Value<T>& x, const Value<T>& y) noexcept {
    return y < x;
}
/// The same number.
template <ChainType T>
[[nodiscard]] Condition operator==(const Value<T>& x, const Value<T>& y) noexcept {
    return Condition(detail::chain_operation<Number>(RINGSTEP_CHAIN_EQUAL, detail::chain_graph(x, y), x.index(), y.index()));
}
/// Likewise.
template <ChainType T, std::integral N>
[[nodiscard]] Condition operator==(const Value<T>& x, N y) noexcept {
    return Condition(detail::chain_operation<Number>(RINGSTEP_CHAIN_EQUAL, x.graph(), x.index(),
                                                     static_cast<std::uint64_t>(std::int64_t(y))));
}

/// A parameter with its number, as Chains::start() takes them.
struct Argument {
    const detail::GraphDraft* graph;  ///< that it belongs to
    std::uint8_t index;               ///< of the value
    std::uint64_t bits;               ///< the number
};

/// A value that is given when a chain starts. Called with it, it makes an Argument of it.
template <ChainType T>
class Parameter : public Value<T> {
public:
    using Value<T>::Value;
    /// With this number.
    [[nodiscard]] Argument operator()(T argument) const noexcept {
        return {this->graph(), this->index(), detail::chain_bits(argument)};
    }
    /// Likewise.
    template <class N>
        requires detail::ChainLiteral<N, T>
    [[nodiscard]] Argument operator()(N argument) const noexcept {
        return (*this)(detail::chain_literal<T>(argument));
    }
    /// With this address.
    [[nodiscard]] Argument operator()(const void* argument) const noexcept
        requires std::same_as<T, Address>
    {
        return (*this)(Address{argument});
    }
};

/// A value that the chain changes while it runs (Graph::set()). It begins as 0.
template <ChainType T>
class Variable : public Value<T> {
public:
    using Value<T>::Value;
};

}  // namespace ringstep::inline v0
