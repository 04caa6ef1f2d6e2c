// SPDX-License-Identifier: MIT
#pragma once

#include <ringstep/detail/call_filter.hpp>
#include <ringstep/version.hpp>

#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace ringstep::inline v0 {

/**
 * The reason why something could not be set up. Constructors and setup functions throw it. Running a loop reports errors as
 * return values instead.
 *
 * `code()` is the errno from the kernel or from libbpf, in the generic category. `what()` returns everything in one text.
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
    /// Makes an error, for use by the library. `error_number` is a positive errno. The functions below describe the other
    /// arguments.
    Error(int error_number, std::string tried, std::string advice = {}, std::string verifier_log = {})
        : std::system_error(error_number, std::generic_category()),
          text_(std::make_shared<const Text>(error_number, std::move(tried), std::move(advice), std::move(verifier_log))) {}

    /// Returns the whole text: what was tried, the errno in words and as a number, the advice, and the verifier's log.
    [[nodiscard]] const char* what() const noexcept override { return text_->whole.c_str(); }

    /// Returns the errno, a positive number.
    [[nodiscard]] int error_number() const noexcept { return code().value(); }
    /// Returns what was tried.
    [[nodiscard]] std::string_view tried() const noexcept { return text_->tried; }
    /// Returns advice on how to fix the problem. The text may be empty.
    [[nodiscard]] std::string_view advice() const noexcept { return text_->advice; }
    /// Returns the verifier's log if the verifier rejected the program. Otherwise the text is empty.
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
    std::shared_ptr<const Text> text_;  // shared, because copying an exception must not throw
};

namespace detail {

// This function is out of line and cold, so a call that may fail costs its caller only a compare and a jump.
[[noreturn, gnu::cold, gnu::noinline]] inline void raise(int error_number, std::string tried, std::string advice = {},
                                                         std::string verifier_log = {}) {
    if (error_number < 0) error_number = -error_number;
    const std::string_view filter = call_filter_advice(error_number);
    if (!filter.empty()) advice.append(advice.empty() ? "" : " ").append(filter);
    throw Error(error_number, std::move(tried), std::move(advice), std::move(verifier_log));
}

}  // namespace detail
}  // namespace ringstep::inline v0
