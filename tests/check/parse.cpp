// SPDX-License-Identifier: MIT
#include <check/parse.hpp>

#include <catch2/catch_test_macros.hpp>

#include <string>

using namespace ringstep::support;

TEST_CASE("A version is read from a release") {
    CHECK(parse_version("7.3.4+deb13-cloud-amd64") == KernelVersion{7, 3, 4});
    CHECK(parse_version("6.12.117") == KernelVersion{6, 12, 117});
    CHECK(parse_version("7.2-rc3") == KernelVersion{7, 2, 0});
    CHECK(parse_version("7.2.") == KernelVersion{7, 2, 0});
    CHECK(parse_version("10.0.1") == KernelVersion{10, 0, 1});
    for (const char* text : {"", "7", "7.", ".7", "v7.1", "Linux", "-7.1"}) CHECK_FALSE(parse_version(text));
    CHECK(KernelVersion{7, 1, 13} < KernelVersion{7, 2, 0});
    CHECK(KernelVersion{6, 99, 99} < KernelVersion{7, 0, 0});
}

TEST_CASE("The point release may hide outside the release") {
    CHECK(upstream_version("7.1.0-5-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 7.1.13-1 (2026-09-15)") == KernelVersion{7, 1, 13});
    CHECK(upstream_version("7.1.0-12-generic", "#12-Ubuntu SMP\nUbuntu 7.1.0-12.12-generic 7.1.4\n") == KernelVersion{7, 1, 4});
    CHECK(upstream_version("7.1.2", "#1 SMP built with 7.3.4 and 6.1.99") == KernelVersion{7, 1, 2});
    CHECK(upstream_version("7.1.13", "#1 SMP 7.1.2") == KernelVersion{7, 1, 13});
    CHECK(upstream_version("7.1.2", "") == KernelVersion{7, 1, 2});
    CHECK(upstream_version("unheard of", "#1 SMP 7.1.2") == KernelVersion{});
}

TEST_CASE("A sysctl is a whole number and nothing else") {
    CHECK(parse_number("2\n") == 2);
    CHECK(parse_number(" -1\n") == -1);
    for (const char* text : {"", "\n", "yes", "1 2", "2x"}) CHECK_FALSE(parse_number(text));
}

TEST_CASE("Capabilities and the seccomp mode are read from a status file") {
    constexpr std::string_view status =
        "Name:\tCapEff: 1\nUid:\t1000\t1000\t1000\t1000\nCapInh:\t0000000000000000\nCapPrm:\t000001ffffffffff\n"
        "CapEff:\t000000c000000000\nCapBnd:\t000001ffffffffff\nSeccomp:\t2\nSeccomp_filters:\t7\n";
    CHECK(status_field(status, "Seccomp") == "2");
    CHECK(status_field(status, "Seccomp_filters") == "7");
    CHECK(status_field(status, "Cap").empty());
    CHECK(status_field("", "Cap").empty());

    const auto capabilities = parse_capabilities(status);
    REQUIRE(capabilities);
    CHECK(capabilities->has(Capability::bpf));
    CHECK(capabilities->has(Capability::perfmon));
    CHECK_FALSE(capabilities->has(Capability::sys_admin));
    CHECK(capabilities->may_load());
    CHECK(capabilities->permitted == 0x1ffffffffff);
    CHECK_FALSE(parse_capabilities("Name:\tcat\n"));
}

TEST_CASE("What a BPF token lacks is told as the mount options that would bring it") {
    CHECK(missing_in_token("pos:\t0\nallowed_cmds:\tany\nallowed_maps:\tany\nallowed_progs:\tany\nallowed_attachs:\tany\n")
              .empty());
    CHECK(missing_in_token("allowed_cmds:\t0x40021\nallowed_maps:\t0x4000004\nallowed_progs:\t0x8000002\n"
                           "allowed_attachs:\t0x1\n")
              .empty());
    CHECK(missing_in_token("allowed_cmds:\t0x21\nallowed_maps:\t0x4000000\nallowed_progs:\tany\nallowed_attachs:\t0x0\n") ==
          "delegate_cmds=btf_load, delegate_maps=array, delegate_attachs=cgroup_inet_ingress");
    // What a kernel does not tell is not missing.
    CHECK(missing_in_token("").empty());
    CHECK(missing_in_token("allowed_cmds:\tprog_load\n").empty());
}

TEST_CASE("The lockdown mode is the one in brackets") {
    CHECK(parse_lockdown("[none] integrity confidentiality\n") == "none");
    CHECK(parse_lockdown("none [integrity] confidentiality\n") == "integrity");
    for (const char* text : {"", "none", "]none[", "[none"}) CHECK_FALSE(parse_lockdown(text));
}

TEST_CASE("A configuration is read exactly by its options' names") {
    const KernelConfig config = parse_config(
        "# CONFIG_IO_URING_BPF_OPS is not set\nCONFIG_IO_URING_BPF=y\nCONFIG_IO_URING=y\nCONFIG_BPF_JIT_ALWAYS_ON=y\n"
        "CONFIG_BPF_SYSCALL=m\r\nCONFIG_DEBUG_INFO_BTF=n",
        "/boot/config");
    CHECK(config.readable());
    CHECK(config.path == "/boot/config");
    CHECK(config[ConfigOption::io_uring] == "y");
    CHECK(config[ConfigOption::io_uring_bpf_ops].empty());
    CHECK(config[ConfigOption::bpf_jit].empty());
    CHECK(config[ConfigOption::bpf_syscall] == "m");
    CHECK(config[ConfigOption::debug_info_btf] == "n");
    CHECK_FALSE(KernelConfig{}.readable());
}
