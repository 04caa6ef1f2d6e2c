// SPDX-License-Identifier: MIT
// Runs a command in a user namespace of its own, with a BPF file system from which libbpf takes a token. A container manager
// does this for a container that must load loops. The command has no capability outside its namespace.
//
//   with-bpf-token [OPTION=VALUE…] COMMAND [ARGUMENT…]      (as root)
//
// The options are those of mount -t bpf. The default is the options that a loop needs.
#include <linux/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../common/program.hpp"

namespace {

using Options = std::vector<std::pair<std::string, std::string>>;

const Options what_a_loop_needs = {
    {"delegate_cmds", "prog_load:map_create:btf_load"},
    {"delegate_maps", "array:struct_ops"},
    // libbpf tests the kernel's features with a program of the first type.
    {"delegate_progs", "socket_filter:struct_ops"},
    // For struct_ops programs, the kernel takes the member's number as the attach type. loop_step has number 0, like this type.
    {"delegate_attachs", "cgroup_inet_ingress"},
};

constexpr const char* mount_point = "/sys/fs/bpf";

int failed(const char* what) {
    (void)std::fprintf(stderr, "with-bpf-token: %s: %s\n", what, std::strerror(errno));
    return 125;
}

// A pipe that carries a number. Reading from a closed pipe gives -1.
class Pipe {
public:
    Pipe() {
        if (::pipe2(ends_.data(), O_CLOEXEC) != 0) ends_ = {-1, -1};
    }
    void send(int number) const { (void)!::write(ends_[1], &number, sizeof number); }
    [[nodiscard]] int receive() const {
        int number = -1;
        return ::read(ends_[0], &number, sizeof number) == sizeof number ? number : -1;
    }
    void close_reader() { ::close(ends_[0]); }
    void close_writer() { ::close(ends_[1]); }

private:
    std::array<int, 2> ends_{};
};

// Inside the namespace: opens the file system, so that it belongs to the new namespace, and mounts it after the parent has set
// it up.
int inside(const Pipe& to_parent, const Pipe& from_parent, char** command) {
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return failed("unshare");
    const int context = static_cast<int>(::syscall(SYS_fsopen, "bpf", FSOPEN_CLOEXEC));
    if (context < 0) return failed("fsopen");
    to_parent.send(context);
    if (from_parent.receive() != 0) return 125;
    // The process is an ordinary user outside and root inside.
    if (::setgroups(0, nullptr) != 0 || ::setgid(0) != 0 || ::setuid(0) != 0) return failed("setuid");
    const int mount = static_cast<int>(::syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, 0));
    if (mount < 0) return failed("fsmount");
    if (::syscall(SYS_move_mount, mount, "", AT_FDCWD, mount_point, MOVE_MOUNT_F_EMPTY_PATH) != 0) return failed("move_mount");
    ::execvp(command[0], command);
    failed(command[0]);
    return 127;
}

// Outside the namespace: grants what the options say. Only root of the whole system may do that.
int delegate(pid_t child, int number, const Options& options) {
    const std::string process = "/proc/" + std::to_string(child);
    for (const char* map : {"/uid_map", "/gid_map"}) std::ofstream(process + map) << "0 65534 1";
    const int handle = static_cast<int>(::syscall(SYS_pidfd_open, child, 0));
    const int context = static_cast<int>(::syscall(SYS_pidfd_getfd, handle, number, 0));
    if (context < 0) return failed("pidfd_getfd");
    for (const auto& [name, value] : options) {
        if (::syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, name.c_str(), value.c_str(), 0) != 0)
            return failed(name.c_str());
    }
    if (::syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0)
        return failed("creation of the file system");
    return 0;
}

int run(int argc, char** argv) {
    Options options;
    int first = 1;
    for (; first < argc; first++) {
        const std::string_view argument = argv[first];
        const auto equals = argument.find('=');
        if (!argument.starts_with("delegate_") || equals == std::string_view::npos) break;
        options.emplace_back(argument.substr(0, equals), argument.substr(equals + 1));
    }
    if (first == argc) {
        (void)std::fprintf(stderr, "usage: with-bpf-token [OPTION=VALUE...] COMMAND [ARGUMENT...]\n");
        return 64;
    }
    if (options.empty()) options = what_a_loop_needs;

    Pipe to_parent;
    Pipe from_parent;
    const pid_t child = ::fork();
    if (child < 0) return failed("fork");
    if (child == 0) {
        to_parent.close_reader();
        from_parent.close_writer();
        ::_exit(inside(to_parent, from_parent, argv + first));
    }
    to_parent.close_writer();
    from_parent.close_reader();
    const int context = to_parent.receive();
    if (context >= 0 && delegate(child, context, options) == 0) from_parent.send(0);
    from_parent.close_writer();
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

int main(int argc, char** argv) {
    return program::run("with-bpf-token", [&] { return run(argc, argv); }, 125);
}
