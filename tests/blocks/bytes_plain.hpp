// SPDX-License-Identifier: MIT
// Plain versions of the kit's functions on bytes, a byte at a time. They say what each call must return.
#pragma once

#include "blocks/bytes_calls.h"

#include <ringstep/c/hash.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

namespace plain {

inline constexpr std::array<std::string_view, BYTES_LITERALS> literals = {BYTES_LITERAL_0, BYTES_LITERAL_1, BYTES_LITERAL_2,
                                                                          BYTES_LITERAL_3, BYTES_LITERAL_4, BYTES_LITERAL_5,
                                                                          BYTES_LITERAL_6, BYTES_LITERAL_7};

/// The bytes of a range, as far as they are in the array.
inline std::string_view range(std::span<const std::uint8_t> array, std::uint64_t at, std::uint64_t end) {
    end = std::min<std::uint64_t>(end, array.size());
    if (at >= end) return {};
    return std::string_view(reinterpret_cast<const char*>(array.data()), array.size()).substr(at, end - at);
}

inline std::string folded(std::string_view text) {
    std::string result(text);
    for (char& c : result)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return result;
}

inline int compare(std::string_view a, std::string_view b) {
    const int order =
        std::memcmp(a.data() == nullptr ? "" : a.data(), b.data() == nullptr ? "" : b.data(), std::min(a.size(), b.size()));
    if (order != 0) return order < 0 ? -1 : 1;
    return a.size() < b.size() ? -1 : static_cast<int>(a.size() > b.size());
}

/// Writes text into an array, if it fits.
inline std::uint64_t write(std::span<std::uint8_t> to, std::uint64_t at, std::string_view text) {
    if (at > to.size() || text.size() > to.size() - at) return at;
    std::copy(text.begin(), text.end(), to.begin() + static_cast<std::ptrdiff_t>(at));
    return at + text.size();
}

/// Does a call.
inline void call(std::span<std::uint8_t> a, std::span<const std::uint8_t> b, bytes_call& call) {
    const std::string_view first = range(a, call.at, call.end);
    const std::string second(range(b, call.other, call.beyond));
    const std::uint64_t end = std::min<std::uint64_t>(call.end, a.size());
    const std::string_view literal = literals.at(call.literal);
    const auto found = [&](std::size_t place) { return place == std::string_view::npos ? end : call.at + place; };
    const auto order = [](int sign) { return static_cast<std::uint64_t>(std::int64_t{sign}); };
    switch (call.operation) {
        case BYTES_FIND: call.result = found(first.find(static_cast<char>(call.number))); break;
        case BYTES_FIND_CRLF: call.result = found(first.find("\r\n")); break;
        case BYTES_COMPARE: call.result = order(compare(first, second)); break;
        case BYTES_COMPARE_NOCASE: call.result = order(compare(folded(first), folded(second))); break;
        case BYTES_COPY: call.result = write(a, call.at, second); break;
        case BYTES_HASH: call.result = ringstep_hash(first.data(), first.size(), call.number); break;
        case BYTES_PARSE: {
            std::uint64_t value = 0;
            std::size_t digits = 0;
            bool fits = true;
            for (; digits < first.size() && first[digits] >= '0' && first[digits] <= '9'; digits++) {
                const auto digit = static_cast<std::uint64_t>(first[digits] - '0');
                fits = fits && value <= (UINT64_MAX - digit) / 10;
                value = value * 10 + digit;
            }
            call.result = call.at;
            if (digits == 0 || !fits) break;
            call.result += digits;
            call.number = value;
            break;
        }
        case BYTES_PRINT: call.result = write(a, call.at, std::to_string(call.number)); break;
        case BYTES_ARE: call.result = static_cast<std::uint64_t>(first == literal); break;
        case BYTES_ARE_NOCASE: call.result = static_cast<std::uint64_t>(folded(first) == folded(literal)); break;
        default: call.result = write(a, call.at, literal); break;
    }
}

}  // namespace plain
