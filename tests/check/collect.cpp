// SPDX-License-Identifier: MIT
// What is read from files, with a made-up system in a folder.
#include <check/collect.hpp>

#include "child.hpp"

#include <catch2/catch_test_macros.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

using namespace ringstep::support;

namespace {

/// A folder that stands for /.
class Root {
public:
    Root() {
        std::string name = (std::filesystem::temp_directory_path() / "ringstep-support.XXXXXX").string();
        REQUIRE(::mkdtemp(name.data()) != nullptr);
        path_ = name;
    }
    Root(const Root&) = delete;
    Root& operator=(const Root&) = delete;
    ~Root() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }

    void write(const std::string& path, std::string_view text) const {
        const std::filesystem::path file = path_ + path;
        std::filesystem::create_directories(file.parent_path());
        std::ofstream(file, std::ios::binary) << text;
    }
    [[nodiscard]] const std::string& path() const { return path_; }
    [[nodiscard]] Facts facts() const {
        Facts facts;
        collect_files(facts, path_);
        return facts;
    }

private:
    std::string path_;
};

constexpr const char* vmlinux = "/sys/kernel/btf/vmlinux";

/// Type information of a kernel that has parts of the interface of loops.
std::string made_up_types(bool ops, bool kfuncs, std::initializer_list<const char*> params) {
    struct Free {
        void operator()(btf* types) const { btf__free(types); }
    };
    const std::unique_ptr<btf, Free> types(btf__new_empty());
    const int u32 = btf__add_int(types.get(), "unsigned int", 4, 0);
    const int pointer = btf__add_ptr(types.get(), 0);
    const int proto = btf__add_func_proto(types.get(), u32);
    btf__add_struct(types.get(), "io_uring_bpf_ops_not", 8);
    if (ops) {
        btf__add_struct(types.get(), "io_uring_bpf_ops", 24);
        btf__add_field(types.get(), "priv", pointer, 0, 0);
        btf__add_field(types.get(), "loop_step", pointer, 64, 0);
        btf__add_field(types.get(), "ring_fd", u32, 128, 0);
    }
    if (params.size() != 0) {
        btf__add_struct(types.get(), "iou_loop_params", static_cast<unsigned>(params.size()) * 4);
        __u32 offset = 0;
        for (const char* name : params) btf__add_field(types.get(), name, u32, 32 * offset++, 0);
    }
    if (kfuncs) {
        btf__add_func(types.get(), "bpf_io_uring_submit_sqes", BTF_FUNC_GLOBAL, proto);
        btf__add_func(types.get(), "bpf_io_uring_get_region", BTF_FUNC_GLOBAL, proto);
    }
    __u32 size = 0;
    const void* raw = btf__raw_data(types.get(), &size);
    return {static_cast<const char*>(raw), size};
}

}  // namespace

TEST_CASE("Of an empty system, only uname is known") {
    const Root root;
    const Facts facts = root.facts();
    CHECK_FALSE(facts.release.empty());
    CHECK_FALSE(facts.config.readable());
    CHECK_FALSE(facts.config.compressed_only);
    CHECK(facts.types.error == ENOENT);
    CHECK_FALSE(facts.lockdown);
    CHECK_FALSE(facts.io_uring_disabled);
    CHECK_FALSE(facts.io_uring_group);
    CHECK_FALSE(facts.unprivileged_bpf_disabled);
    CHECK_FALSE(facts.bpf_jit_enable);
    CHECK_FALSE(facts.capabilities);
    CHECK_FALSE(facts.initial_user_namespace);
    CHECK_FALSE(facts.seccomp);
}

TEST_CASE("Every file arrives in its own fact") {
    const Root root;
    root.write("/proc/sys/kernel/osrelease", "7.1.0-5-amd64\n");
    root.write("/proc/sys/kernel/version", "#1 SMP PREEMPT_DYNAMIC Debian 7.1.13-1 (2026-09-15)\n");
    root.write("/proc/sys/kernel/io_uring_disabled", "1\n");
    root.write("/proc/sys/kernel/io_uring_group", "1234\n");
    root.write("/proc/sys/kernel/unprivileged_bpf_disabled", "2\n");
    root.write("/proc/sys/net/core/bpf_jit_enable", "0\n");
    root.write("/proc/thread-self/status", "CapPrm:\t00000000000000ff\nCapEff:\t000000000000000f\nSeccomp:\t2\n");
    root.write("/proc/thread-self/ns/user", "");
    root.write("/sys/kernel/security/lockdown", "none [integrity] confidentiality\n");
    const Facts facts = root.facts();
    CHECK(facts.release == "7.1.0-5-amd64");
    CHECK(facts.version == KernelVersion{7, 1, 13});
    CHECK(facts.io_uring_disabled == 1);
    CHECK(facts.io_uring_group == 1234);
    CHECK(facts.unprivileged_bpf_disabled == 2);
    CHECK(facts.bpf_jit_enable == 0);
    REQUIRE(facts.capabilities);
    CHECK(facts.capabilities->effective == 0xf);
    CHECK(facts.capabilities->permitted == 0xff);
    CHECK(facts.seccomp == 2);
    CHECK(facts.initial_user_namespace == false);  // a file of another number
    CHECK(facts.lockdown == "integrity");
}

TEST_CASE("The configuration is looked for in /boot, then with the modules, then in /proc") {
    const Root root;
    root.write("/proc/sys/kernel/osrelease", "7.3.4\n");
    root.write("/boot/config-7.3.3", "CONFIG_IO_URING=y\n");
    CHECK_FALSE(root.facts().config.readable());
    root.write("/proc/config.gz", "\x1f\x8b");
    CHECK_FALSE(root.facts().config.readable());
    CHECK(root.facts().config.compressed_only);
    root.write("/usr/lib/modules/7.3.4/config", "CONFIG_BPF_JIT=y\n");
    CHECK(root.facts().config.path == "/usr/lib/modules/7.3.4/config");
    CHECK(root.facts().config[ConfigOption::bpf_jit] == "y");
    root.write("/boot/config-7.3.4", "CONFIG_IO_URING=y\n");
    CHECK(root.facts().config.path == "/boot/config-7.3.4");
    CHECK(root.facts().config[ConfigOption::io_uring] == "y");
    CHECK(root.facts().config[ConfigOption::bpf_jit].empty());
}

TEST_CASE("Type information tells which parts of the interface there are") {
    const Root root;
    root.write(vmlinux, made_up_types(true, true, {"cq_wait_idx", "flags", "timeout_ns"}));
    const KernelTypes whole = root.facts().types;
    CHECK(whole.error == 0);
    CHECK(whole.has_ops());
    CHECK(whole.loop_step == 1);
    CHECK(whole.has_kfuncs());
    CHECK(whole.submit_sqes_id != whole.get_region_id);
    CHECK(whole.params_fields == std::vector<std::string>{"cq_wait_idx", "flags", "timeout_ns"});

    root.write(vmlinux, made_up_types(false, false, {}));
    const KernelTypes none = root.facts().types;
    CHECK(none.error == 0);
    CHECK_FALSE(none.has_ops());
    CHECK_FALSE(none.has_kfuncs());
    CHECK(none.params_fields.empty());

    root.write(vmlinux, made_up_types(true, false, {"cq_wait_idx"}));
    CHECK(root.facts().types.has_ops());
    CHECK_FALSE(root.facts().types.has_kfuncs());
}

TEST_CASE("Damaged type information is an error, and nothing is printed about it") {
    const Root root;
    const std::string whole = made_up_types(true, true, {"cq_wait_idx"});
    std::string dangling = whole;
    dangling[sizeof(btf_header) + 16 + 8 + 1] =
        0x7f;  // what the second type points to: one of those that libbpf would print about
    for (const std::string& damaged : {std::string(), std::string("no BTF"), whole.substr(0, 60), dangling}) {
        root.write(vmlinux, damaged);
        const Outcome outcome = in_child([&] { return std::to_string(root.facts().types.error != 0); });
        CHECK(outcome.out == "1");
        CHECK(outcome.err.empty());
    }
}

TEST_CASE("A file that is no file does no harm") {
    const Root root;
    root.write("/proc/sys/kernel/io_uring_disabled/folder", "");
    root.write("/proc/thread-self/status/folder", "");
    root.write("/sys/kernel/btf/vmlinux/folder", "");
    REQUIRE(::mkfifo((root.path() + "/proc/sys/kernel/unprivileged_bpf_disabled").c_str(), 0600) == 0);  // nobody writes to it
    const Facts facts = root.facts();
    CHECK_FALSE(facts.io_uring_disabled);
    CHECK_FALSE(facts.unprivileged_bpf_disabled);
    CHECK_FALSE(facts.capabilities);
    CHECK(facts.types.error != 0);
}

TEST_CASE("Without /proc, the kernel itself is asked for capabilities") {
    const Outcome outcome = in_child([]() -> std::string {
        Facts before;
        collect_process(before);
        if (!keep_only({})) return "could not drop capabilities";
        Facts after;
        collect_process(after);
        const auto real = detail::read_file("/proc/thread-self/status");
        if (!before.capabilities || !after.capabilities || after.capabilities->effective != 0 ||
            after.capabilities->permitted != 0)
            return "wrong";
        return parse_capabilities(*real)->effective == 0 ? "right" : "not dropped";
    });
    CHECK(outcome.out == "right");
    Facts facts;
    collect_process(facts);
    REQUIRE(facts.capabilities);
    CHECK(facts.capabilities->effective == parse_capabilities(*detail::read_file("/proc/thread-self/status"))->effective);
}

TEST_CASE("Membership in the group that may use io_uring") {
    Facts facts;
    facts.io_uring_group = static_cast<long>(::getegid());
    collect_process(facts);
    CHECK(facts.in_io_uring_group);
    facts = {};
    facts.io_uring_group = 987654;
    collect_process(facts);
    CHECK_FALSE(facts.in_io_uring_group);
    facts = {};
    facts.io_uring_group = -1;
    collect_process(facts);
    CHECK_FALSE(facts.in_io_uring_group);
}

TEST_CASE("Asking in a child gives the same answer as asking directly") {
    for (const bool in_child : {false, true}) {
        const Answer answer = ask(in_child, SYS_close, -1);
        CHECK(answer.tried);
        CHECK(answer.error == EBADF);
        CHECK(answer.signal == 0);
        CHECK(answer.lets_through());
    }
}
