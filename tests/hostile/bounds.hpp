// SPDX-License-Identifier: MIT
// The longest step of each loop, as the comment at the top of its source states it.
#pragma once

#include <cctype>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <string>

/// Returns the number of "These are 65,568 iterations." behind "The longest step:" in the source of this loop, or 0 if there is
/// none.
inline std::uint64_t stated_bound(const std::string& loop) {
    std::ifstream stream(RINGSTEP_SOURCE_DIR "/bpf/loops/" + loop + ".bpf.c");
    std::string source{std::istreambuf_iterator<char>(stream), {}};
    // Lines of a comment begin with an asterisk.
    for (std::size_t at = 0; (at = source.find("\n *", at)) != std::string::npos;) source.erase(at, 3);
    std::size_t at = source.find("The longest step:");
    if (at == std::string::npos || (at = source.find("These are ", at)) == std::string::npos) return 0;
    std::uint64_t bound = 0;
    for (at += 10; at < source.size() && (std::isdigit(static_cast<unsigned char>(source[at])) != 0 || source[at] == ','); at++)
        if (source[at] != ',') bound = bound * 10 + static_cast<unsigned>(source[at] - '0');
    return source.compare(at, 11, " iterations") == 0 ? bound : 0;
}
