// SPDX-License-Identifier: MIT
// The longest step of each loop, as the comment at the top of its source states it.
#pragma once

#include <cctype>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

/// The longest step of a loop.
struct StatedBound {
    bool stated = false;
    std::uint64_t iterations = 0;  ///< of the loops in it
    std::uint64_t submits = 0;     ///< 0: none are stated
};

/// Reads "The longest step … That makes 65,568 iterations, with 10 submits at most." in the source of this loop.
inline StatedBound stated_bound(const std::string& loop) {
    const bool compiled = loop.starts_with("compiled_");  // made of a graph
    std::ifstream stream(std::string(RINGSTEP_SOURCE_DIR "/bpf/") +
                         (compiled ? "ringstep/chain/compiled.bpf.h" : "loops/" + loop + ".bpf.c"));
    std::string source{std::istreambuf_iterator<char>(stream), {}};
    // Lines of a comment begin with an asterisk.
    for (std::size_t at = 0; (at = source.find("\n *", at)) != std::string::npos;) source.erase(at, 3);
    const std::size_t start = source.find("The longest step");
    if (start == std::string::npos) return {};
    const std::string_view text = std::string_view(source).substr(start, source.find("*/", start) - start);
    // The number that stands before a word.
    const auto before = [&](std::string_view word) {
        std::uint64_t number = 0;
        std::uint64_t factor = 1;
        for (std::size_t at = text.rfind(word); at != std::string_view::npos && at-- > 0;) {
            if (text[at] == ',') continue;
            if (std::isdigit(static_cast<unsigned char>(text[at])) == 0) break;
            number += factor * static_cast<unsigned>(text[at] - '0');
            factor *= 10;
        }
        return number;
    };
    return {.stated = true, .iterations = before(" iterations"), .submits = before(" submit")};
}
