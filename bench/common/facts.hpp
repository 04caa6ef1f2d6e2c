// SPDX-License-Identifier: MIT
// Where figures come from. None is printed without.
#pragma once

#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

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

/// Lines of /boot/config-RELEASE that bear on the figures.
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
    std::ifstream file("/boot/config-" + kernel_release());
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) {
        for (const char* prefix : wanted) {
            if (line.starts_with(prefix)) lines.push_back(line);
        }
    }
    return lines;
}

[[nodiscard]] inline std::string facts_json() {
    const char* revision = std::getenv("RINGSTEP_BENCH_REVISION");
    std::string configuration;
    for (const std::string& line : kernel_configuration())
        configuration += (configuration.empty() ? "" : ", ") + json_string(line);
    return fmt::format(
        "{{\"kernel\": {}, \"accelerator\": {}, \"unit\": {}, \"instructions_per_unit\": {:.4f}, \"processors\": {}, "
        "\"mitigations\": "
        "{{\"spectre_v2\": {}, \"meltdown\": {}}}, \"jit\": {}, \"configuration\": [{}], \"revision\": {}}}",
        json_string(kernel_release()), json_string(accelerator()), json_string(clock_unit()),
        clock_counts_instructions() ? instructions_per_unit() : 0.0, sysconf(_SC_NPROCESSORS_ONLN),
        json_string(first_line("/sys/devices/system/cpu/vulnerabilities/spectre_v2")),
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

}  // namespace bench
