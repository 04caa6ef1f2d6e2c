// SPDX-License-Identifier: MIT
#pragma once

#include <ringstep/version.hpp>

#include <concepts>
#include <cstddef>
#include <iterator>
#include <optional>
#include <type_traits>

namespace ringstep::inline v0 {

/**
 * A range that takes each item when the iteration reaches it: completions of requests, results of chains. It can be iterated
 * once. `Source` has a member `bool pop(Item&)` that replaces the item by the next one and returns false if there is none. For
 * items that cannot be made without a source, it is `bool pop(std::optional<Item>&)`.
 */
template <class Source, class Item>
class TakenItems {
public:
    /// Creates a range that takes from `source`, which must outlive it.
    explicit TakenItems(Source& source) noexcept : source_(&source) {}

    /// Iterates over the items once.
    class iterator {
    public:
        using value_type = Item;                           ///< for std::iterator_traits
        using difference_type = std::ptrdiff_t;            ///< for std::iterator_traits
        using iterator_concept = std::input_iterator_tag;  ///< for std::input_iterator

        /// Returns the current item, which is valid until the next one is taken.
        Item& operator*() const noexcept {
            if constexpr (kept)
                return current_;
            else
                return *current_;
        }
        /// Returns a pointer to the current item, which is valid until the next one is taken.
        Item* operator->() const noexcept { return &**this; }
        /// Takes the next item.
        iterator& operator++() noexcept {
            if (!source_->pop(current_)) source_ = nullptr;
            return *this;
        }
        /// Takes the next item.
        void operator++(int) noexcept { ++*this; }
        /// Returns true if there was no further item.
        friend bool operator==(const iterator& it, std::default_sentinel_t) noexcept { return it.source_ == nullptr; }

    private:
        friend class TakenItems;
        explicit iterator(Source* source) noexcept : source_(source) { ++*this; }

        // Keeps one object for all items where that is possible, because an optional has to be tested for each item.
        static constexpr bool kept = std::default_initializable<Item>;

        Source* source_;
        mutable std::conditional_t<kept, Item, std::optional<Item>> current_;
    };

    /// Takes the first item and returns an iterator to it.
    [[nodiscard]] iterator begin() const noexcept { return iterator(source_); }
    /// Returns the end of the range, where no item is left.
    [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

private:
    Source* source_;
};

}  // namespace ringstep::inline v0
