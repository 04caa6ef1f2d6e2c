// SPDX-License-Identifier: MIT
// The little JSON that results need.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cerrno>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "../../examples/common/program.hpp"

namespace bench {

[[nodiscard]] inline std::string json_string(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') out += '\\';
        if (static_cast<unsigned char>(c) < 0x20) {
            out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
        } else {
            out += c;
        }
    }
    return out + '"';
}

[[nodiscard]] inline std::string json_numbers(const std::vector<double>& numbers) {
    return fmt::format("[{:.2f}]", fmt::join(numbers, ", "));
}

/// Writes a document: the facts, then the records, each an object of its own.
inline void write_json(const std::string& path, std::string_view benchmark, std::string_view facts,
                       const std::vector<std::string>& records) {
    const std::string text = fmt::format("{{\"benchmark\": {},\n \"facts\": {},\n \"records\": [\n  {}\n ]}}\n",
                                         json_string(benchmark), facts, fmt::join(records, ",\n  "));
    errno = 0;
    std::FILE* file = std::fopen(path.c_str(), "w");
    bool good = file != nullptr && std::fwrite(text.data(), 1, text.size(), file) == text.size();
    good = file != nullptr && std::fclose(file) == 0 && good;
    if (!good) throw program::OutputError(path, errno);
}

}  // namespace bench
