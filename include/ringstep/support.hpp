// SPDX-License-Identifier: MIT
// Which engine can run loops here, the kernel or user space? If not the kernel: why not, and what to do.
#pragma once

#include <ringstep/support/collect.hpp>
#include <ringstep/support/facts.hpp>
#include <ringstep/support/finding.hpp>
#include <ringstep/support/judge.hpp>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ringstep::inline v0 {

/// Where loops run.
enum class RunsIn : std::uint8_t {
    nowhere,     ///< io_uring cannot be used
    user_space,  ///< the user engine
    kernel,      ///< the kernel engine
};

/**
 * What probe() found. A value: it holds no resources and does not change when the system does.
 *
 * The findings are always the same ones in the same order, whether all is well or not, so programs can look them up by their
 * id.
 *
 * **Example**:
 *
 *     const ringstep::Support support = ringstep::probe();
 *     fmt::print("{}\n", support.summary());
 *     if (support.engine() != ringstep::RunsIn::kernel) {
 *         for (const ringstep::Finding& finding : support.findings())
 *             if (finding.prevents_loops()) fmt::print("{}\n", finding);   // support/format.hpp
 *     }
 */
class Support {
public:
    /// Judges facts, which may be made up. To look at the system, call probe().
    explicit Support(support::Facts facts) : facts_(std::move(facts)), findings_(support::judge(facts_)) {}

    /// What LoopProgram takes by itself (Engine::automatic): the kernel where it can, user space otherwise.
    [[nodiscard]] RunsIn engine() const noexcept {
        if (kernel_engine()) return RunsIn::kernel;
        return user_engine() ? RunsIn::user_space : RunsIn::nowhere;
    }

    /// The kernel engine works: the calling thread can load loops into this kernel and run them there, now.
    [[nodiscard]] bool kernel_engine() const noexcept { return reason() == nullptr; }

    /// The user engine works: the calling thread can open rings as ringstep::Ring does.
    [[nodiscard]] bool user_engine() const noexcept { return first(&Finding::prevents_rings) == nullptr; }

    /// What to mend first for loops to run in the kernel; null if nothing. Lives as long as this object.
    [[nodiscard]] const Finding* reason() const noexcept { return first(&Finding::prevents_loops); }

    [[nodiscard]] std::span<const Finding> findings() const noexcept { return findings_; }

    /// The finding with that id, or null if there is none. Lives as long as this object.
    [[nodiscard]] const Finding* find(std::string_view id) const noexcept {
        for (const Finding& finding : findings_) {
            if (finding.id == id) return &finding;
        }
        return nullptr;
    }

    /// Which engine loops run by, and what to do first if it is not the kernel's.
    [[nodiscard]] std::string summary() const {
        const Finding* cause = reason();
        if (cause == nullptr) return "Loops run in the kernel here.";
        const bool user = user_engine();
        std::string text = user ? "Loops run in user space here, not in the kernel: " : "io_uring cannot be used here: ";
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
 * instructions, in other user namespaces with a BPF token; all are gone when it returns. Where there is a seccomp filter, it
 * asks through short-lived child processes (without SIGCHLD) first. Takes some milliseconds, most of them for the kernel's type
 * information. Any thread, several at once.
 */
[[nodiscard]] inline Support probe() { return Support(support::collect()); }

}  // namespace ringstep::inline v0
