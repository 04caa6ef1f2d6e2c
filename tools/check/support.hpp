// SPDX-License-Identifier: MIT
// Finds out which engine can run loops on this system. If the kernel cannot, says why and what to do.
#pragma once

#include <check/collect.hpp>
#include <check/facts.hpp>
#include <check/finding.hpp>
#include <check/judge.hpp>
#include <ringstep/options.hpp>

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ringstep::inline v0 {

/**
 * The result of probe(). It is a value: it holds no resources, and does not change when the system does.
 *
 * Every result has findings with one fixed list of ids, in one order, including findings without a problem. Programs can look a
 * finding up by its id.
 *
 * **Example**:
 *
 *     const ringstep::Support support = ringstep::probe();
 *     fmt::print("{}\n", support.summary());
 *     if (support.engine() != ringstep::Engine::kernel) {
 *         for (const ringstep::Finding& finding : support.findings())
 *             if (finding.prevents_loops()) fmt::print("{}\n", finding);   // check/format.hpp
 *     }
 */
class Support {
public:
    /// Judges facts, which may be invented for a test. Call probe() to examine the system.
    explicit Support(support::Facts facts) : facts_(std::move(facts)), findings_(support::judge(facts_)) {}

    /// Returns the engine that LoopProgram chooses with Engine::automatic: the kernel engine if it works, the user engine
    /// otherwise. Returns nothing if io_uring cannot be used.
    [[nodiscard]] std::optional<Engine> engine() const noexcept {
        if (kernel_engine()) return Engine::kernel;
        if (user_engine()) return Engine::user;
        return std::nullopt;
    }

    /// Returns whether the kernel engine works: the calling thread of probe() could load loops into this kernel and run them.
    [[nodiscard]] bool kernel_engine() const noexcept { return reason() == nullptr; }

    /// Returns whether the user engine works: the calling thread of probe() could open rings as ringstep::Ring does.
    [[nodiscard]] bool user_engine() const noexcept { return first(&Finding::prevents_rings) == nullptr; }

    /// Returns the problem to fix first so that loops run in the kernel, or null if there is none. The pointer is valid as long
    /// as this object.
    [[nodiscard]] const Finding* reason() const noexcept { return first(&Finding::prevents_loops); }

    /// Returns all findings. The span is valid as long as this object.
    [[nodiscard]] std::span<const Finding> findings() const noexcept { return findings_; }

    /// Returns the finding with that id, or null if there is none. The pointer is valid as long as this object.
    [[nodiscard]] const Finding* find(std::string_view id) const noexcept {
        for (const Finding& finding : findings_) {
            if (finding.id == id) return &finding;
        }
        return nullptr;
    }

    /// Returns a sentence on the engine that runs loops, and on what to do first if it is not the kernel engine.
    [[nodiscard]] std::string summary() const {
        const Finding* cause = reason();
        if (cause == nullptr) return "Loops run in the kernel here.";
        const bool user = user_engine();
        std::string text = user ? "Loops run in user space here, not in the kernel: " : "io_uring cannot be used here: ";
        text.append(cause->title).append(": ").append(cause->value).append(".");
        if (!cause->advice.empty()) text.append(" ").append(cause->advice);
        return text;
    }

    /// Returns the facts behind the findings.
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
 * Examines the kernel, the process and the calling thread. Needs no privileges, and works with any kernel that can run the
 * program. Facts that are not visible give findings in the state `unknown`. Throws only std::bad_alloc.
 *
 * Reads files of /proc, /sys and /boot, opens a ring, and registers a page with it. With the needed privileges, it also loads a
 * program of six instructions, in other user namespaces with a BPF token. Everything is released before it returns. Under a
 * seccomp filter, it first makes the calls in short-lived child processes (without SIGCHLD). Takes some milliseconds, most of
 * them for the kernel's type information. May be called from any thread, and from several at once.
 */
[[nodiscard]] inline Support probe() { return Support(support::collect()); }

}  // namespace ringstep::inline v0
