// SPDX-License-Identifier: MIT
// Where figures come from. None is printed without.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <zlib.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "clock.hpp"
#include "json.hpp"

namespace bench {

[[nodiscard]] inline std::string first_line(const std::string& path) {
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    return line;
}

[[nodiscard]] inline std::string kernel_release() {
    utsname names{};
    uname(&names);
    return names.release;
}

/// The name of the processor, as /proc/cpuinfo has it.
[[nodiscard]] inline std::string processor_model() {
    std::ifstream file("/proc/cpuinfo");
    for (std::string line; std::getline(file, line);) {
        const std::size_t colon = line.find(": ");
        if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
    }
    return "unknown";
}

/// Lines of /boot/config-RELEASE or of /proc/config.gz that bear on the figures.
[[nodiscard]] inline std::vector<std::string> kernel_configuration() {
    static constexpr const char* wanted[] = {"CONFIG_HZ=",
                                             "CONFIG_PREEMPT",
                                             "CONFIG_MITIGATION_RETPOLINE",
                                             "CONFIG_MITIGATION_PAGE_TABLE_ISOLATION",
                                             "CONFIG_IO_URING_BPF",
                                             "CONFIG_BPF_JIT_ALWAYS_ON",
                                             "CONFIG_DEBUG_PREEMPT",
                                             "CONFIG_KASAN=",
                                             "CONFIG_PROVE_LOCKING"};
    std::vector<std::string> lines;
    for (const std::string& path : {"/boot/config-" + kernel_release(), std::string("/proc/config.gz")}) {
        const gzFile file = gzopen(path.c_str(), "r");  // reads what is not compressed, too
        if (file == nullptr) continue;
        std::array<char, 512> text{};
        while (gzgets(file, text.data(), static_cast<int>(text.size())) != nullptr) {
            std::string line(text.data());
            while (line.ends_with('\n')) line.pop_back();
            for (const char* prefix : wanted) {
                if (line.starts_with(prefix)) lines.push_back(line);
            }
        }
        gzclose(file);
        break;
    }
    return lines;
}

[[nodiscard]] inline std::string facts_json() {
    const char* revision = std::getenv("RINGSTEP_BENCH_REVISION");
    std::string configuration;
    for (const std::string& line : kernel_configuration())
        configuration += (configuration.empty() ? "" : ", ") + json_string(line);
    return fmt::format(
        "{{\"kernel\": {}, \"accelerator\": {}, \"unit\": {}, \"instructions_per_unit\": {:.4f}, \"processor\": {}, "
        "\"processors\": {}, "
        "\"mitigations\": "
        "{{\"spectre_v2\": {}, \"meltdown\": {}}}, \"jit\": {}, \"configuration\": [{}], \"revision\": {}}}",
        json_string(kernel_release()), json_string(accelerator()), json_string(clock_unit()),
        clock_counts_instructions() ? instructions_per_unit() : 0.0, json_string(processor_model()),
        sysconf(_SC_NPROCESSORS_ONLN), json_string(first_line("/sys/devices/system/cpu/vulnerabilities/spectre_v2")),
        json_string(first_line("/sys/devices/system/cpu/vulnerabilities/meltdown")),
        json_string(first_line("/proc/sys/net/core/bpf_jit_enable")), configuration,
        json_string(revision != nullptr ? revision : "unknown"));
}

/// What stands beside each table.
[[nodiscard]] inline std::string origin(std::size_t runs) {
    return fmt::format("Linux {}, {}, {} run{}", kernel_release(),
                       clock_counts_instructions() ? "QEMU -icount (instructions of the guest)"
                       : accelerator() == "tcg"    ? "QEMU software emulation (wall time)"
                       : accelerator() == "kvm"    ? "KVM (wall time)"
                                                   : "no virtual machine of ours (wall time)",
                       runs, runs == 1 ? "" : "s");
}

/// The processor and the kernel's configuration, for a line above tables.
[[nodiscard]] inline std::string machine() {
    return fmt::format("Processor: {}, {} online; spectre_v2: {}. Configuration: {}.", processor_model(),
                       sysconf(_SC_NPROCESSORS_ONLN), first_line("/sys/devices/system/cpu/vulnerabilities/spectre_v2"),
                       fmt::join(kernel_configuration(), ", "));
}

}  // namespace bench
