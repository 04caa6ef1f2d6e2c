// SPDX-License-Identifier: MIT
#pragma once

#include <check/support.hpp>

#include <algorithm>
#include <cerrno>
#include <string>

/// Root on Linux 7.3.4, where everything is as it should be. Tests change one thing at a time.
inline ringstep::support::Facts all_well() {
    ringstep::support::Facts facts;
    facts.release = "7.3.4-test";
    facts.version = {.major = 7, .minor = 3, .patch = 4};
    facts.config.path = "/boot/config-7.3.4-test";
    std::fill(facts.config.values.begin(), facts.config.values.end(), "y");
    facts.types.ops_id = 101;
    facts.types.loop_step = 0;
    facts.types.submit_sqes_id = 102;
    facts.types.get_region_id = 103;
    facts.types.params_fields = {"cq_wait_idx"};
    facts.lockdown = "none";
    facts.io_uring_disabled = 0;
    facts.io_uring_group = -1;
    facts.unprivileged_bpf_disabled = 2;
    facts.bpf_jit_enable = 1;
    facts.capabilities = ringstep::support::Capabilities{.effective = ~0ULL, .permitted = ~0ULL};
    facts.initial_user_namespace = true;
    facts.seccomp = 0;
    facts.io_uring_setup = {.tried = true, .error = EFAULT};
    facts.io_uring_register = {.tried = true, .error = EBADF};
    facts.io_uring_enter = {.tried = true, .error = EBADF};
    facts.bpf = {.tried = true, .error = EINVAL};
    facts.ring = {.tried = true};
    facts.no_sqarray = true;
    facts.sq_rewind = true;
    facts.region = {.tried = true};
    facts.program = {.tried = true};
    return facts;
}

constexpr std::uint64_t bit(ringstep::support::Capability capability) {
    return std::uint64_t{1} << static_cast<unsigned>(capability);
}
