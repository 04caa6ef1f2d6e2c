// SPDX-License-Identifier: MIT
// Samples of one way to do something, and what to say about them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

namespace bench {

struct Summary {
    double median = 0;
    double least = 0;
    double most = 0;
    /// From the least to the most, as a part of the median.
    [[nodiscard]] double spread() const { return median > 0 ? (most - least) / median : 0; }
};

[[nodiscard]] inline Summary summarize(std::vector<double> samples) {
    if (samples.empty()) return {};
    std::sort(samples.begin(), samples.end());
    const std::size_t middle = samples.size() / 2;
    const double median = samples.size() % 2 != 0 ? samples[middle] : (samples[middle - 1] + samples[middle]) / 2;
    return {.median = median, .least = samples.front(), .most = samples.back()};
}

/// The least sample that this part of all samples, from 0 to 1, do not exceed. Changes their order.
[[nodiscard]] inline double percentile(std::vector<double>& samples, double part) {
    if (samples.empty()) return 0;
    // Products such as 0.999 * 1000 may be a little more than the number that they stand for.
    const double rank = std::ceil(part * static_cast<double>(samples.size()) - 1e-6);
    const std::size_t number = std::clamp(static_cast<std::size_t>(std::max(rank, 1.0)), std::size_t{1}, samples.size()) - 1;
    std::nth_element(samples.begin(), samples.begin() + static_cast<std::ptrdiff_t>(number), samples.end());
    return samples[number];
}

/// Median of the ratios of samples that were taken side by side: what disturbs one disturbs its neighbour, too.
[[nodiscard]] inline double paired_ratio(const std::vector<double>& samples, const std::vector<double>& base) {
    std::vector<double> ratios;
    for (std::size_t i = 0; i < std::min(samples.size(), base.size()); i++) ratios.push_back(samples[i] / base[i]);
    return summarize(std::move(ratios)).median;
}

}  // namespace bench
