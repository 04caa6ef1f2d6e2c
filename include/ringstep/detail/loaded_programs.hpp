// SPDX-License-Identifier: MIT
// The programs that this process has loaded, so that the verifier need not look at each of them again for the next ring.
#pragma once

#include <ringstep/c/abi.h>
#include <ringstep/detail/fork.hpp>
#include <ringstep/detail/owned_fd.hpp>
#include <ringstep/version.hpp>

#include <bpf/bpf.h>

#include <fcntl.h>
#include <linux/bpf.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace ringstep::inline v0::detail {

/// What a program is known by: its name, the bytes of its object, and the geometry that it was loaded for.
struct ProgramKey {
    std::uint64_t hash = 0;
    std::size_t size = 0;
    ringstep_geometry geometry{};

    ProgramKey() = default;
    ProgramKey(std::string_view name, std::span<const std::byte> elf, const ringstep_geometry& loaded_for) noexcept
        : hash(hash_of(std::as_bytes(std::span(name))) ^ hash_of(elf)), size(elf.size()), geometry(loaded_for) {}
    [[nodiscard]] bool operator==(const ProgramKey& other) const noexcept {
        return hash == other.hash && size == other.size && std::memcmp(&geometry, &other.geometry, sizeof geometry) == 0;
    }

private:
    [[nodiscard]] static std::uint64_t hash_of(std::span<const std::byte> bytes) noexcept {
        std::uint64_t hash = bytes.size();
        while (!bytes.empty()) {
            std::uint64_t word = 0;
            const std::size_t size = bytes.size() < sizeof word ? bytes.size() : sizeof word;
            std::memcpy(&word, bytes.data(), size);
            hash = (hash ^ word) * 0x9e3779b97f4a7c15U;
            hash ^= hash >> 32;
            bytes = bytes.subspan(size);
        }
        return hash;
    }
};

/// A program that is kept.
struct LoadedProgram {
    ProgramKey key{};
    int fd = -1;
    int types_fd = -1;     // the BTF of its object, which the kernel wants to see for each map
    std::uint32_t id = 0;  // numbers of programs are not used twice
    std::uint32_t value_type = 0;
    std::uint32_t value_size = 0;
    std::uint32_t map_flags = 0;
    std::uint64_t last_used = 0;
};

/**
 * The programs that this process has loaded. A program is fixed by its loop and by the geometry of ring and region, so a ring
 * with the same geometry can use the same program. Only the struct_ops map, which names the ring, must be a new one for each
 * ring. That takes the kernel a fraction of the time of a load.
 *
 * The process keeps the last `most` programs. Each of them takes two file descriptors, and the kernel's memory of the program.
 * All functions may be called from any thread.
 */
class LoadedPrograms {
public:
    static constexpr std::size_t most = 16;

    /// Returns a new struct_ops map for the ring, with a program that was loaded before. Returns no map if there is no such
    /// program, or if the kernel refuses to make the map. The caller must then load the program.
    [[nodiscard]] static OwnedFd make_map(const ProgramKey& key, const char* name, int ring_fd) noexcept {
        const Forks::Lock lock;
        for (LoadedProgram& program : programs_) {
            if (program.fd < 0 || !(program.key == key)) continue;
            // The application may have closed all descriptors, and another file may have the number now.
            if (id_of(program.fd) != program.id) {
                program.fd = -1;
                return {};
            }
            program.last_used = ++uses_;
            return map_of(program, name, ring_fd);
        }
        return {};
    }

    /// Keeps a program that has just been attached to the ring with this map. Does nothing if the map differs from those that
    /// make_map() makes, as it would on a kernel with another layout.
    static void remember(const ProgramKey& key, int program_fd, int types_fd, int map_fd, int ring_fd) noexcept {
        bpf_map_info info{};
        __u32 size = sizeof info;
        const std::uint32_t id = id_of(program_fd);
        if (id == 0 || bpf_obj_get_info_by_fd(map_fd, &info, &size) != 0 || info.value_size > sizeof(Value)) return;
        Value value{};
        const std::uint32_t first = 0;
        if (bpf_map_lookup_elem(map_fd, &first, value.data()) != 0) return;
        std::memset(value.data(), 0, ops_at);  // the kernel's own count and state
        if (value != value_for(id, ring_fd)) return;

        OwnedFd program_kept(::fcntl(program_fd, F_DUPFD_CLOEXEC, 3));
        OwnedFd types_kept(::fcntl(types_fd, F_DUPFD_CLOEXEC, 3));
        if (!program_kept || !types_kept) return;
        const Forks::Lock lock;
        LoadedProgram* oldest = programs_.data();
        for (LoadedProgram& program : programs_) {
            if (program.fd < 0) program.last_used = 0;
            if (program.last_used < oldest->last_used) oldest = &program;
        }
        forget(*oldest);
        *oldest = {.key = key,
                   .fd = program_kept.release(),
                   .types_fd = types_kept.release(),
                   .id = id,
                   .value_type = info.btf_vmlinux_value_type_id,
                   .value_size = info.value_size,
                   .map_flags = info.map_flags,
                   .last_used = ++uses_};
    }

    /// Lets go of all programs. Loops that use them are not affected.
    static void forget_all() noexcept {
        const Forks::Lock lock;
        for (LoadedProgram& program : programs_) forget(program);
    }

private:
    // The kernel's struct bpf_struct_ops_io_uring_bpf_ops: a count and a state in a cache line of their own, then struct
    // io_uring_bpf_ops, which begins with the program and the ring. remember() checks that it is so.
    static constexpr std::size_t ops_at = 64, ring_at = ops_at + 8;
    using Value = std::array<std::byte, 256>;

    // A map is written with the program's descriptor, and read with the program's id in its place.
    [[nodiscard]] static Value value_for(std::uint64_t program, int ring_fd) noexcept {
        Value value{};
        std::memcpy(value.data() + ops_at, &program, sizeof program);
        std::memcpy(value.data() + ring_at, &ring_fd, sizeof ring_fd);
        return value;
    }

    [[nodiscard]] static OwnedFd map_of(const LoadedProgram& program, const char* name, int ring_fd) noexcept {
        bpf_map_create_opts options{};
        options.sz = sizeof options;
        options.btf_fd = static_cast<__u32>(program.types_fd);
        options.map_flags = program.map_flags;
        options.btf_vmlinux_value_type_id = program.value_type;
        OwnedFd map(bpf_map_create(BPF_MAP_TYPE_STRUCT_OPS, name, sizeof(std::uint32_t), program.value_size, 1, &options));
        if (!map) return {};
        const Value value = value_for(static_cast<std::uint64_t>(program.fd), ring_fd);
        const std::uint32_t first = 0;
        if (bpf_map_update_elem(map.get(), &first, value.data(), 0) != 0) return {};
        return map;
    }

    // Returns the id of a program, or 0 if the descriptor is not one of a struct_ops program.
    [[nodiscard]] static std::uint32_t id_of(int fd) noexcept {
        bpf_prog_info info{};
        __u32 size = sizeof info;
        if (bpf_obj_get_info_by_fd(fd, &info, &size) != 0 || info.type != BPF_PROG_TYPE_STRUCT_OPS) return 0;
        return info.id;
    }

    static void forget(LoadedProgram& program) noexcept {
        if (program.fd >= 0 && id_of(program.fd) == program.id) {
            ::close(program.fd);
            ::close(program.types_fd);
        }
        program = {};
    }

    // They have no destructors, because threads may still run when a process exits. Forks::Lock guards them.
    inline static constinit std::array<LoadedProgram, most> programs_{};
    inline static constinit std::uint64_t uses_ = 0;
};

}  // namespace ringstep::inline v0::detail
