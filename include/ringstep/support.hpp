// SPDX-License-Identifier: MIT
// Can this kernel run loops, and may this process have them run? If not: why, and what to do.
#pragma once

#include <ringstep/support/collect.hpp>
#include <ringstep/support/facts.hpp>
#include <ringstep/support/finding.hpp>
#include <ringstep/support/judge.hpp>

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ringstep::inline v0 {

/**
 * What probe() found. A value: it holds no resources and does not change when the system does.
 *
 * The findings are always the same ones in the same order, whether all is well or not, so programs can look them up by their
 * id.
 *
 * **Example**:
 *
 *     const ringstep::Support support = ringstep::probe();
 *     if (!support.loops()) {
 *         fmt::print(stderr, "{}\n", support.summary());
 *         for (const ringstep::Finding& finding : support.findings())
 *             if (finding.state == ringstep::FindingState::missing) fmt::print(stderr, "{}\n", finding);   //
 * support/format.hpp
 *     }
 */
class Support {
public:
    /// Judges facts, which may be made up. To look at the system, call probe().
    explicit Support(support::Facts facts) : facts_(std::move(facts)), findings_(support::judge(facts_)) {}

    /// The calling thread can load and run loops in this kernel, now.
    [[nodiscard]] bool loops() const noexcept { return reason() == nullptr; }

    /// The calling thread can open rings as ringstep::Ring does, with or without loops.
    [[nodiscard]] bool user_engine() const noexcept { return first(&Finding::prevents_rings) == nullptr; }

    /// What to mend first for loops to run; null if nothing. Lives as long as this object.
    [[nodiscard]] const Finding* reason() const noexcept { return first(&Finding::prevents_loops); }

    [[nodiscard]] std::span<const Finding> findings() const noexcept { return findings_; }

    /// The finding with that id, or null if there is none. Lives as long as this object.
    [[nodiscard]] const Finding* find(std::string_view id) const noexcept {
        for (const Finding& finding : findings_) {
            if (finding.id == id) return &finding;
        }
        return nullptr;
    }

    /// The verdict in one sentence, followed by what to do first.
    [[nodiscard]] std::string summary() const {
        const Finding* cause = reason();
        if (cause == nullptr) return "Loops can run in this kernel.";
        std::string text = user_engine() ? "Loops cannot run in the kernel here: " : "io_uring cannot be used here: ";
        text.append(cause->title).append(": ").append(cause->value).append(".");
        if (!cause->advice.empty()) text.append(" ").append(cause->advice);
        return text;
    }

    /// What the findings were made from.
    [[nodiscard]] const support::Facts& facts() const noexcept { return facts_; }

private:
    [[nodiscard]] const Finding* first(bool (Finding::*what)() const noexcept) const noexcept {
        for (const Finding& finding : findings_) {
            if ((finding.*what)()) return &finding;
        }
        return nullptr;
    }

    support::Facts facts_;
    std::vector<Finding> findings_;
};

/**
 * Looks at the kernel, the process and the calling thread. Works without privileges and with any kernel that can run the
 * program; what cannot be seen is an unknown finding. Throws nothing but std::bad_alloc.
 *
 * It reads files of /proc, /sys and /boot, opens a ring, registers a page with it, and where it may it loads a program of six
 * instructions; all are gone when it returns. Where there is a seccomp filter, it asks through short-lived child processes
 * (without SIGCHLD) first. Takes some milliseconds, most of them for the kernel's type information. Any thread, several at
 * once.
 */
[[nodiscard]] inline Support probe() { return Support(support::collect()); }

}  // namespace ringstep::inline v0
