// SPDX-License-Identifier: MIT
// A table for a terminal.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace bench {

/// The first column is text and goes to the left, the others are figures and go to the right.
class Table {
public:
    explicit Table(std::vector<std::string> head) : rows_{std::move(head)} {}

    void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }

    void print(std::FILE* file = stdout) const {
        std::vector<std::size_t> widths;
        for (const auto& row : rows_) {
            widths.resize(std::max(widths.size(), row.size()));
            for (std::size_t i = 0; i < row.size(); i++) widths[i] = std::max(widths[i], row[i].size());
        }
        std::size_t total = 0;
        for (const std::size_t width : widths) total += width + 2;
        for (std::size_t line = 0; line < rows_.size(); line++) {
            std::string text;
            for (std::size_t i = 0; i < rows_[line].size(); i++) {
                text += i == 0 ? fmt::format("{:<{}}", rows_[line][i], widths[i])
                               : fmt::format("  {:>{}}", rows_[line][i], widths[i]);
            }
            fmt::print(file, "{}\n", text);
            if (line == 0) fmt::print(file, "{}\n", std::string(total - 2, '-'));
        }
    }

private:
    std::vector<std::vector<std::string>> rows_;
};

/// 1234567 as "1 234 567".
[[nodiscard]] inline std::string grouped(std::uint64_t number) {
    std::string text = std::to_string(number);
    for (std::ptrdiff_t i = static_cast<std::ptrdiff_t>(text.size()) - 3; i > 0; i -= 3)
        text.insert(static_cast<std::size_t>(i), " ");
    return text;
}

}  // namespace bench
