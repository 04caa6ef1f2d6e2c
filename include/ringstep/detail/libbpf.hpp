// SPDX-License-Identifier: MIT
// libbpf, with its warnings collected instead of printed.
#pragma once

#include <ringstep/version.hpp>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <new>
#include <string>

namespace ringstep::inline v0::detail {

/// Collects libbpf's warnings on this thread as long as this object exists. Warnings on other threads are printed as before.
class LibbpfDiagnostics {
public:
    LibbpfDiagnostics() {
        // This is not a static with an initialiser: a forked child could wait forever for a parent's thread that was
        // initialising it.
        static std::atomic<bool> installed{false};
        if (!installed.load(std::memory_order_acquire)) {
            if (const libbpf_print_fn_t before = libbpf_set_print(&print); before != &print) previous().store(before);
            installed.store(true, std::memory_order_release);
        }
        outer_ = current();
        current() = this;
    }
    ~LibbpfDiagnostics() { current() = outer_; }
    LibbpfDiagnostics(const LibbpfDiagnostics&) = delete;
    LibbpfDiagnostics& operator=(const LibbpfDiagnostics&) = delete;

    [[nodiscard]] const std::string& text() const noexcept { return text_; }

private:
    static std::atomic<libbpf_print_fn_t>& previous() {
        static std::atomic<libbpf_print_fn_t> function{nullptr};
        return function;
    }
    static LibbpfDiagnostics*& current() {
        thread_local LibbpfDiagnostics* diagnostics = nullptr;
        return diagnostics;
    }
    [[gnu::format(printf, 2, 0)]] static int print(libbpf_print_level level, const char* format, va_list arguments) {
        if (current() == nullptr) {
            const libbpf_print_fn_t other = previous().load();
            return other != nullptr ? other(level, format, arguments) : 0;
        }
        if (level != LIBBPF_WARN) return 0;
        char line[1024];
        const int length = std::vsnprintf(line, sizeof line, format, arguments);
        if (length <= 0) return length;
        try {
            current()->text_.append(line);
        } catch (const std::bad_alloc&) {
            // The caller is C code, which no exception may pass. The warning is printed instead.
            (void)std::fputs(line, stderr);
        }
        return length;
    }

    LibbpfDiagnostics* outer_;
    std::string text_;
};

}  // namespace ringstep::inline v0::detail
