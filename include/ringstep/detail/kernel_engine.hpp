// SPDX-License-Identifier: MIT
// The kernel engine: it loads a loop's BPF program into the kernel and attaches it to a ring.
#pragma once

#include <ringstep/c/abi.h>
#include <ringstep/detail/libbpf.hpp>
#include <ringstep/detail/limited_load.hpp>
#include <ringstep/detail/loaded_programs.hpp>
#include <ringstep/detail/owned_fd.hpp>
#include <ringstep/detail/ring_core.hpp>
#include <ringstep/detail/tether.hpp>
#include <ringstep/detail/thread_status.hpp>
#include <ringstep/detail/waker.hpp>
#include <ringstep/error.hpp>

#include <linux/capability.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ringstep::inline v0::detail {

/// A loop compiled for the kernel.
struct LoopObject {
    std::string_view name;           ///< name of the loop and of its struct_ops map
    std::span<const std::byte> elf;  ///< bytes of the ELF object
    std::uint32_t state_size;        ///< size of its state in C++, in bytes
};

/// The error for a kernel that has no loops. Trying again in that kernel is useless.
class NoLoops final : public Error {
public:
    using Error::Error;
};

/**
 * A loop in the kernel. The constructor loads the loop, or takes the program of an earlier load by this process; attach()
 * attaches it, and the destructor detaches it. Needs Linux 7.1, and CAP_BPF with CAP_PERFMON (or CAP_SYS_ADMIN) during
 * construction. Running needs no capability.
 */
class KernelEngine final : public detail::Attachment {
public:
    /// The advice for a kernel without loops.
    static constexpr std::string_view without_loops =
        "This kernel knows no loops: it has no io_uring_bpf_ops. They need Linux 7.1 or later with CONFIG_IO_URING_BPF_OPS. "
        "ringstep-check tells more.";

    /// Opens the object, sets it up for `geometry`, and loads it within `load_seconds` (0: no time limit). The ring stays
    /// unchanged. Throws Error, and NoLoops if the kernel has no loops.
    KernelEngine(const LoopObject& object, int ring_fd, const Geometry& geometry, std::size_t mem_bytes,
                 std::uint32_t load_seconds = 30)
        : name_(object.name),
          ring_fd_(ring_fd),
          key_(object.name, object.elf, geometry.for_program(mem_bytes, object.state_size)) {
        map_fd_ = LoadedPrograms::make_map(key_, name_.c_str(), ring_fd);
        if (map_fd_) return;
        const detail::LibbpfDiagnostics diagnostics;
        std::vector<char> log(std::size_t{256} << 10);
        open(object, log, diagnostics);
        configure(object);
        const detail::LimitedLoad load(object_.get(), load_seconds);
        if (load.result() == -ETIME) not_in_time(load_seconds);
        if (load.result() < 0) not_loaded(load.result(), log.data(), load.diagnostics());
    }

    KernelEngine(const KernelEngine&) = delete;
    KernelEngine& operator=(const KernelEngine&) = delete;
    ~KernelEngine() { detach(); }

    /// Attaches the loop to the ring. May be called once for each object, because a second attach corrupts kernels before
    /// 7.1.5. `control` is the head of the ring's memory region. Throws Error.
    void attach(const std::shared_ptr<detail::RingCore>& ring, ringstep_control& control, detail::Waker& waker) {
        const detail::LibbpfDiagnostics diagnostics;
        if (attached_once_)
            detail::raise(EBUSY, "second attach of loop '" + name_ + "'",
                          "A program is attached once; make another LoopProgram.");
        attached_once_ = true;
        link_ = map_fd_ ? link_of(map_fd_.get()) : link_of(map_);
        if (!link_) {
            const int error = errno;
            not_attached(error, *ring, diagnostics.text());
        }
        if (object_ && bpf_object__token_fd(object_.get()) <= 0)  // a process with a token may not make such maps without it
            LoadedPrograms::remember(key_, bpf_program__fd(program_), bpf_object__btf_fd(object_.get()), bpf_map__fd(map_),
                                     ring_fd_);
        // The link keeps the map, and the map keeps the program.
        map_fd_.close();
        object_.reset();
        ring_ = ring;
        control_ = &control;
        waker_ = &waker;
        ring_->set_attachment(this);
        tether_.attach();
    }

    /// Detaches the loop from the ring. When this returns, the loop is off the ring, also if another thread has detached it. A
    /// run on another thread ends with ExitReason::detached. On the ring's owning thread, detach_and_settle() also ends the
    /// requests that the ring's next loop must not meet. May be called from any thread.
    void detach() noexcept override { detach(false); }
    void detach_and_settle() noexcept { detach(true); }

    /// Sets a bit of the stop word and makes a sleeping loop see it. Does nothing if the loop is not attached. May be called
    /// from any thread and from signal handlers.
    void stop(ringstep_stop_kind kind) noexcept {
        const detail::Tether::Use use(tether_);
        if (!use || inherited()) return;
        stop_word().fetch_or(kind, std::memory_order_release);
        waker_->wake(ring_->fd());
    }

    /// Makes the loop take another turn. May be called from any thread.
    void wake() noexcept {
        const detail::Tether::Use use(tether_);
        if (use && !inherited()) waker_->wake(ring_->fd());
    }

    /// Waits for a thread that is detaching the loop.
    void wait_while_detaching() const noexcept {
        if (!inherited()) tether_.wait_while_detaching();
    }

    /// Closes a forked child's copy of the link, which would keep the loop attached to the parent's ring.
    void after_fork_in_child() noexcept override { link_.close(); }

    /// Returns true while the loop is attached.
    [[nodiscard]] bool attached() const noexcept { return tether_.attached() && !inherited(); }

private:
    void detach(bool settle) noexcept {
        if (inherited()) return;
        if (!tether_.begin_detaching()) {
            if (settle && ring_) ring_->settle_detached();
            return;
        }
        // Released kernels detach a loop while they hold the ring's lock. A loop that never waits keeps that lock, so stop the
        // loop first. Kernels with the patches in kernel/ wait for nothing, so a turn in progress may end later than this call.
        stop_word().fetch_or(RINGSTEP_STOP_DETACH, std::memory_order_release);
        if (!ring_->owned_by_this_thread()) waker_->wake(ring_->fd());
        tether_.wait_for_users();
        {
            const detail::Forks::Lock lock;  // a child forked here would have half of a link
            // Closing the link is not enough: a process that was forked without this library's fork handlers may still hold
            // the link open.
            (void)bpf_link_detach(link_.get());
            link_.close();
            ring_->set_attachment(nullptr);
        }
        if (settle) ring_->settle_detached();
        tether_.end_detaching();
    }

    // Returns true in a forked child. Nobody there finishes the work that other threads had in progress at the fork.
    [[nodiscard]] bool inherited() const noexcept { return ring_ && ring_->inherited(); }

    [[nodiscard]] std::atomic_ref<std::uint32_t> stop_word() const noexcept {
        return std::atomic_ref<std::uint32_t>(control_->stop);
    }

    struct Close {
        void operator()(bpf_object* object) const noexcept { bpf_object__close(object); }
    };

    [[nodiscard]] static OwnedFd link_of(int map_fd) noexcept {
        return OwnedFd(bpf_link_create(map_fd, 0, BPF_STRUCT_OPS, nullptr));
    }
    [[nodiscard]] static OwnedFd link_of(bpf_map* map) noexcept {
        bpf_link* const link = bpf_map__attach_struct_ops(map);
        if (link == nullptr) return {};
        OwnedFd fd(bpf_link__fd(link));
        bpf_link__disconnect(link);  // libbpf's object goes, its descriptor stays
        bpf_link__destroy(link);
        return fd;
    }

    // The start of the kit's struct_ops map, as libbpf lays it out in this process.
    struct OpsImage {
        void* loop_step;
        std::uint32_t ring_fd;
    };

    void open(const LoopObject& object, std::span<char> log, const detail::LibbpfDiagnostics& diagnostics) {
        bpf_object_open_opts options{};
        options.sz = sizeof options;
        options.object_name = name_.c_str();
        options.kernel_log_buf = log.data();
        options.kernel_log_size = log.size();
        object_.reset(bpf_object__open_mem(object.elf.data(), object.elf.size(), &options));
        if (!object_) {
            detail::raise(errno, "opening of the compiled loop '" + name_ + "'",
                          "The object is damaged, or was compiled by a clang that libbpf " +
                              std::string(libbpf_version_string()) +
                              " does not understand. libbpf says: " + diagnostics.text());
        }
        map_ = bpf_object__find_map_by_name(object_.get(), name_.c_str());
        if (map_ == nullptr || bpf_map__type(map_) != BPF_MAP_TYPE_STRUCT_OPS) {
            detail::raise(ENOENT, "search for the loop '" + name_ + "' in its object",
                          "The name given to RINGSTEP_LOOP() and that of the C++ type have to be the same.");
        }
        program_ = bpf_object__next_program(object_.get(), nullptr);
    }

    void configure(const LoopObject& object) {
        std::size_t size = 0;
        auto* const ops = static_cast<OpsImage*>(bpf_map__initial_value(map_, &size));
        if (ops == nullptr || size < offsetof(OpsImage, ring_fd) + sizeof ops->ring_fd) {
            detail::raise(EINVAL, "setting of the ring of loop '" + name_ + "'",
                          "The object was not built with ringstep's kit.");
        }
        ops->ring_fd = static_cast<std::uint32_t>(ring_fd_);

        auto& frozen = find_geometry();
        if (frozen.abi != RINGSTEP_ABI_VERSION) {
            detail::raise(EPROTO, "loading of loop '" + name_ + "'",
                          "It was compiled with another version of the kit (its interface is number " +
                              std::to_string(frozen.abi) + ", the library's is " + std::to_string(RINGSTEP_ABI_VERSION) +
                              "): compile both from one release.");
        }
        if (frozen.state_size != object.state_size) {
            detail::raise(EPROTO, "loading of loop '" + name_ + "'",
                          "Its state has " + std::to_string(frozen.state_size) + " bytes in the program and " +
                              std::to_string(object.state_size) + " in C++: compile both with the same state header.");
        }
        frozen = key_.geometry;
    }

    // Returns the kit's frozen variable, which it finds by its name in the object's BTF.
    [[nodiscard]] ringstep_geometry& find_geometry() {
        const btf* types = bpf_object__btf(object_.get());
        const int section = types != nullptr ? btf__find_by_name_kind(types, ".rodata", BTF_KIND_DATASEC) : -ENOENT;
        bpf_map* map = nullptr;
        bpf_object__for_each_map(map, object_.get()) {
            if (section < 0) break;
            const std::string_view map_name = bpf_map__name(map);
            if (!map_name.ends_with(".rodata")) continue;
            std::size_t size = 0;
            auto* const bytes = static_cast<std::byte*>(bpf_map__initial_value(map, &size));
            const btf_type* type = btf__type_by_id(types, static_cast<__u32>(section));
            const btf_var_secinfo* variable = btf_var_secinfos(type);
            for (int i = 0; i < btf_vlen(type); i++, variable++) {
                const char* variable_name = btf__name_by_offset(types, btf__type_by_id(types, variable->type)->name_off);
                if (std::string_view(variable_name) != "ringstep_geometry") continue;
                if (bytes == nullptr || variable->offset + sizeof(ringstep_geometry) > size) break;
                return *reinterpret_cast<ringstep_geometry*>(bytes + variable->offset);
            }
        }
        detail::raise(EINVAL, "setting of the geometry of loop '" + name_ + "'",
                      "The object was not built with ringstep's kit, or without debug information (-g).");
    }

    // Returns true if the kernel's type information has the interface for loops, or if there is no type information.
    [[nodiscard]] static bool kernel_has_loops() {
        btf* const types = btf__load_vmlinux_btf();
        if (types == nullptr) return true;
        const bool has = btf__find_by_name_kind(types, "io_uring_bpf_ops", BTF_KIND_STRUCT) > 0;
        btf__free(types);
        return has;
    }

    [[noreturn, gnu::cold, gnu::noinline]] void not_in_time(std::uint32_t seconds) const {
        detail::raise(
            ETIME, "loading of loop '" + name_ + "' into the kernel",
            "The verifier was not done after " + std::to_string(seconds) +
                " s. It follows each iteration of some loop by itself, as it does where a local variable counts: keep "
                "the count in the state (docs/verifier.md). On a slow machine, give it more time "
                "(LoopOptions::load_seconds).");
    }

    static constexpr std::string_view may_not_load =
        "This process may not load them: it needs CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN, while a loop is loaded. "
        "ringstep-check tells more.";
    static constexpr std::string_view could_load =
        "This process has the capabilities that loading takes. So it may be in a user namespace of its own, where they do not "
        "count, or a security module (SELinux, AppArmor, a BPF program) forbids it: look at the kernel's log and the audit "
        "log. "
        "ringstep-check tells more.";

    [[noreturn, gnu::cold, gnu::noinline]] void not_loaded(int result, const char* verifier_log,
                                                           const std::string& diagnostics) const {
        std::string advice;
        std::string log = verifier_log;
        // If type information (BTF) cannot be loaded, libbpf hides the errno. Another call shows whether it is forbidden.
        if (result == -EOPNOTSUPP) {
            const int forbidden = ::bpf_btf_load(nullptr, 0, nullptr);
            if (forbidden == -EPERM || forbidden == -EACCES) result = forbidden;
        }
        if (!log.empty()) {
            advice = "The verifier rejected the program; docs/verifier.md tells what its words mean.";
            // For a log that does not fit, the kernel returns this errno instead of the verifier's. It keeps the end of the
            // log.
            if (result == -ENOSPC) {
                const bool too_large = log.find("BPF program is too large") != std::string::npos ||
                                       log.find("jumps is too complex") != std::string::npos;
                result = too_large ? -E2BIG : -EINVAL;
                advice += " The log did not fit, and this is only its end.";
            }
        } else if (!kernel_has_loops()) {
            // If the verifier did not run, the errno says little: libbpf has several for a kernel without loops.
            throw NoLoops(-result, "loading of loop '" + name_ + "' into the kernel", std::string(without_loops));
        } else if (result == -EPERM || result == -EACCES) {
            // The capabilities of another user namespace than the initial one do not count, but look the same.
            const bool capable = has_capability(CAP_SYS_ADMIN) || (has_capability(CAP_BPF) && has_capability(CAP_PERFMON));
            advice = capable ? could_load : may_not_load;
        } else {
            advice = "libbpf says: " + diagnostics;
        }
        if (result == -E2BIG) advice += " The program is too large for it: bound its loops, and keep cursors in the state.";
        if (result == -ENOMEM) {
            advice +=
                " Out of memory. BPF programs and maps count against the control group (memory.max), and in kernels before "
                "5.11 "
                "against RLIMIT_MEMLOCK (ulimit -l).";
        }
        detail::raise(result, "loading of loop '" + name_ + "' into the kernel", std::move(advice), std::move(log));
    }

    [[noreturn, gnu::cold, gnu::noinline]] void not_attached(int error, const detail::RingCore& ring,
                                                             const std::string& diagnostics) const {
        const unsigned flags = ring.geometry().setup_flags;
        std::string advice;
        if (error == EOPNOTSUPP && (flags & IORING_SETUP_SQPOLL) != 0) {
            advice =
                "The ring polls its SQ from a kernel thread (IORING_SETUP_SQPOLL), which loops cannot run on: open it without.";
        } else if (error == EOPNOTSUPP && (flags & IORING_SETUP_IOPOLL) != 0) {
            advice = "The ring polls for completions (IORING_SETUP_IOPOLL), which loops cannot run on: open it without.";
        } else if (error == EOPNOTSUPP) {
            advice =
                "The ring has to be opened with IORING_SETUP_DEFER_TASKRUN and IORING_SETUP_SINGLE_ISSUER, as ringstep::Ring "
                "does.";
        } else if (error == EBUSY) {
            advice = "The ring has a loop already: destroy that LoopProgram first.";
        } else if (error == EEXIST) {
            advice = "This kernel lets only the ring's owning thread attach a loop.";
        } else if (error == EBADF) {
            advice = "The ring is closed.";
        } else if (error == EPERM || error == EACCES) {
            advice =
                "A security module (SELinux, AppArmor, a BPF program) may forbid it: look at the kernel's log and the audit "
                "log.";
        } else {
            advice = "libbpf says: " + diagnostics;
        }
        detail::raise(error, "attaching of loop '" + name_ + "' to the ring", std::move(advice));
    }

    std::string name_;
    int ring_fd_;
    ProgramKey key_;
    // Until the loop is attached, either a map with a program that was loaded before, or the object with both.
    OwnedFd map_fd_;
    std::unique_ptr<bpf_object, Close> object_;
    bpf_map* map_ = nullptr;
    bpf_program* program_ = nullptr;
    OwnedFd link_;
    std::shared_ptr<detail::RingCore> ring_;
    ringstep_control* control_ = nullptr;
    detail::Waker* waker_ = nullptr;
    bool attached_once_ = false;
    detail::Tether tether_;
};

}  // namespace ringstep::inline v0::detail
