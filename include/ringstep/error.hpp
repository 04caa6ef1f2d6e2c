// SPDX-License-Identifier: MIT
#pragma once

#include <ringstep/version.hpp>

#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace ringstep::inline v0 {

/**
 * Why something could not be set up. Thrown by constructors and by the calls that set up; running a loop returns values and
 * throws nothing.
 *
 * `code()` is the errno as the kernel (or libbpf) gave it, in the generic category. `what()` has everything in one text.
 *
 * **Example**:
 *
 *     try {
 *         ringstep::Ring ring{{.sq_entries = 64}};
 *     } catch (const ringstep::Error& error) {
 *         fmt::print(stderr, "{}\n", error);       // tried, errno, advice, verifier log
 *         if (error.code() == std::errc::operation_not_permitted) ...
 *     }
 */
class Error : public std::system_error {
public:
    /// For the library. The errno is positive; see below for the others.
    Error(int error_number, std::string tried, std::string advice = {}, std::string verifier_log = {})
        : std::system_error(error_number, std::generic_category()),
          text_(std::make_shared<const Text>(error_number, std::move(tried), std::move(advice), std::move(verifier_log))) {}

    /// What was tried, the errno in words and as a number, what to do, and the verifier's log.
    [[nodiscard]] const char* what() const noexcept override { return text_->whole.c_str(); }

    /// The errno, positive.
    [[nodiscard]] int error_number() const noexcept { return code().value(); }
    /// What was being done when it failed.
    [[nodiscard]] std::string_view tried() const noexcept { return text_->tried; }
    /// What to do about it. May be empty.
    [[nodiscard]] std::string_view advice() const noexcept { return text_->advice; }
    /// What the verifier said, if it rejected the program. Otherwise empty.
    [[nodiscard]] std::string_view verifier_log() const noexcept { return text_->verifier_log; }

private:
    struct Text {
        Text(int error_number, std::string tried_, std::string advice_, std::string log)
            : tried(std::move(tried_)), advice(std::move(advice_)), verifier_log(std::move(log)) {
            whole =
                tried + ": " + std::generic_category().message(error_number) + " (errno " + std::to_string(error_number) + ")";
            if (!advice.empty()) whole += ". " + advice;
            if (!verifier_log.empty()) whole += "\nThe verifier's log:\n" + verifier_log;
        }
        std::string tried, advice, verifier_log, whole;
    };
    std::shared_ptr<const Text> text_;  // shared: copying an exception must not throw
};

namespace detail {

// Out of line and cold: a call that may fail costs its caller a compare and a jump.
[[noreturn, gnu::cold, gnu::noinline]] inline void raise(int error_number, std::string tried, std::string advice = {},
                                                         std::string verifier_log = {}) {
    throw Error(error_number < 0 ? -error_number : error_number, std::move(tried), std::move(advice), std::move(verifier_log));
}

}  // namespace detail
}  // namespace ringstep::inline v0
