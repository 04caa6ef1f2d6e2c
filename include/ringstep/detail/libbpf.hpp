// SPDX-License-Identifier: MIT
// libbpf, with its diagnostics caught instead of printed.
#pragma once

#include <ringstep/version.hpp>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include <cstdarg>
#include <cstdio>
#include <string>

namespace ringstep::inline v0::detail {

/// While it lives, libbpf's warnings on this thread are collected. Those of other threads go where they went before.
class LibbpfDiagnostics {
public:
    LibbpfDiagnostics() {
        [[maybe_unused]] static const bool installed = [] {
            previous() = libbpf_set_print(&print);
            return true;
        }();
        outer_ = current();
        current() = this;
    }
    ~LibbpfDiagnostics() { current() = outer_; }
    LibbpfDiagnostics(const LibbpfDiagnostics&) = delete;
    LibbpfDiagnostics& operator=(const LibbpfDiagnostics&) = delete;

    [[nodiscard]] const std::string& text() const noexcept { return text_; }

private:
    static libbpf_print_fn_t& previous() {
        static libbpf_print_fn_t function = nullptr;
        return function;
    }
    static LibbpfDiagnostics*& current() {
        thread_local LibbpfDiagnostics* diagnostics = nullptr;
        return diagnostics;
    }
    [[gnu::format(printf, 2, 0)]] static int print(libbpf_print_level level, const char* format, va_list arguments) {
        if (current() == nullptr) return previous() != nullptr ? previous()(level, format, arguments) : 0;
        if (level != LIBBPF_WARN) return 0;
        char line[1024];
        const int length = std::vsnprintf(line, sizeof line, format, arguments);
        if (length > 0) current()->text_.append(line);
        return length;
    }

    LibbpfDiagnostics* outer_;
    std::string text_;
};

}  // namespace ringstep::inline v0::detail
