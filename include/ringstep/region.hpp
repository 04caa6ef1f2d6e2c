// SPDX-License-Identifier: MIT
// The MEM region: the memory that an application and its loop share, and typed views of it.
#pragma once

#include <ringstep/abi.h>
#include <ringstep/error.hpp>

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

namespace ringstep::inline v0 {

/**
 * A type that C and C++ lay out alike and that lives in shared memory without being constructed: what a loop's state has to be.
 * Plain structs of integers, arrays and further such structs are.
 */
template <class T>
concept Shareable = std::is_class_v<T> && std::is_standard_layout_v<T> && std::is_trivially_copyable_v<T> &&
                    std::is_trivially_default_constructible_v<T> && alignof(T) <= alignof(std::max_align_t);

/**
 * Memory that is, or can become, the MEM region of a ring: page-aligned, zeroed, the application's own (the kernel only pins
 * it, and only for loops of its own). Requests in flight may point into it, so it is handed around as a shared pointer, and a
 * ring that could not wait for its requests never gives it back.
 */
class RegionMemory {
public:
    /// Allocates at least `size` bytes. With `huge_pages`: huge ones (MAP_HUGETLB of the system's default size); where none are
    /// reserved (`vm.nr_hugepages`), ordinary pages, with a hint to the kernel to make them huge. Throws Error if there is no
    /// memory.
    [[nodiscard]] static std::shared_ptr<RegionMemory> allocate(std::size_t size, bool huge_pages = false) {
        constexpr std::size_t huge_page = std::size_t{2} << 20;
        const std::size_t page = huge_pages ? huge_page : static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
        const std::size_t rounded = (size + page - 1) / page * page;
        const int flags = MAP_PRIVATE | MAP_ANONYMOUS;
        void* base = MAP_FAILED;
        bool huge = false;
        if (huge_pages) {
            base = ::mmap(nullptr, rounded, PROT_READ | PROT_WRITE, flags | MAP_HUGETLB, -1, 0);
            huge = base != MAP_FAILED;
        }
        if (base == MAP_FAILED) base = ::mmap(nullptr, rounded, PROT_READ | PROT_WRITE, flags, -1, 0);
        if (base == MAP_FAILED) {
            detail::raise(errno, "mmap of " + std::to_string(rounded) + " bytes for a memory region",
                          "Ask for less, or raise the address-space limit (ulimit -v).");
        }
        if (huge_pages && !huge) ::madvise(base, rounded, MADV_HUGEPAGE);
        return std::shared_ptr<RegionMemory>(new RegionMemory(static_cast<std::byte*>(base), rounded, true, huge));
    }

    /// Takes memory of the application's, which has to be page-aligned, a whole number of pages, and to outlive the ring.
    [[nodiscard]] static std::shared_ptr<RegionMemory> borrow(std::span<std::byte> bytes) {
        const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
        if (bytes.empty() || bytes.size() % page != 0 || reinterpret_cast<std::uintptr_t>(bytes.data()) % page != 0) {
            detail::raise(EINVAL, "use of " + std::to_string(bytes.size()) + " bytes of the application's as a memory region",
                          "Start and size have to be multiples of the page size, " + std::to_string(page) + ".");
        }
        return std::shared_ptr<RegionMemory>(new RegionMemory(bytes.data(), bytes.size(), false, false));
    }

    RegionMemory(const RegionMemory&) = delete;
    RegionMemory& operator=(const RegionMemory&) = delete;
    ~RegionMemory() {
        if (owned_) ::munmap(base_, size_);
    }

    /// Where it begins: with the control block, which a loop's state follows.
    [[nodiscard]] std::byte* data() const noexcept { return base_; }
    /// Bytes, control block and unused rest of the last page included.
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    /// Whether the pages come from the huge page pool.
    [[nodiscard]] bool huge_pages() const noexcept { return huge_; }

    /// What the library and a loop tell each other.
    [[nodiscard]] ringstep_control& control() const noexcept { return *reinterpret_cast<ringstep_control*>(base_); }

private:
    RegionMemory(std::byte* base, std::size_t size, bool owned, bool huge) noexcept
        : base_(base), size_(size), owned_(owned), huge_(huge) {}

    std::byte* base_;
    std::size_t size_;
    bool owned_;
    bool huge_;
};

/**
 * A loop's state, as C++ sees it: a `T` in the MEM region. Copies are cheap and refer to the same memory, which they keep
 * alive, also beyond the program and the ring.
 *
 * `view->field` is for the time when no loop runs. While one does, on another thread, use `load` and `store`: they are atomic,
 * and a loop's plain aligned stores are, too. Each is one access; for two fields that belong together there is no snapshot.
 *
 * **Example**:
 *
 *     RegionView<ringstep_copy> state = program.state();
 *     state->block_size = 128 << 10;                                       // before run()
 *     std::uint64_t sofar = state.load(&ringstep_copy::bytes_written);     // any time, any thread
 */
template <Shareable T>
class RegionView {
public:
    /// The `T` that lies at that offset. LoopProgram::state() is the usual way to get one. Throws Error if it does not fit.
    RegionView(std::shared_ptr<RegionMemory> memory, std::size_t offset) : memory_(std::move(memory)) {
        if (offset > memory_->size() || memory_->size() - offset < sizeof(T)) {
            detail::raise(ENOSPC,
                          "view of " + std::to_string(sizeof(T)) + " bytes at offset " + std::to_string(offset) +
                              " of a memory region of " + std::to_string(memory_->size()) + " bytes",
                          "Register a larger region: see LoopOptions::extra_bytes.");
        }
        if (offset % alignof(T) != 0) {
            detail::raise(EINVAL, "view at offset " + std::to_string(offset) + " of a memory region",
                          "The type needs an alignment of " + std::to_string(alignof(T)) + ".");
        }
        object_ = reinterpret_cast<T*>(memory_->data() + offset);
    }

    /// A member, plainly: for the time when no loop runs.
    [[nodiscard]] T* operator->() const noexcept { return object_; }
    /// The object, likewise.
    [[nodiscard]] T& operator*() const noexcept { return *object_; }
    /// The same as a pointer. Good for as long as the view, or another one of that memory.
    [[nodiscard]] T* get() const noexcept { return object_; }

    /// One field, as it is now. Safe while a loop runs on another thread; sees all that the loop wrote before that value.
    template <class Member>
        requires(std::is_integral_v<Member> || std::is_enum_v<Member>)
    [[nodiscard]] Member load(Member T::* member) const noexcept {
        return std::atomic_ref<Member>(object_->*member).load(std::memory_order_acquire);
    }

    /// Writes one field. Safe while a loop runs on another thread, which sees what was written before when it sees this.
    template <class Member>
        requires(std::is_integral_v<Member> || std::is_enum_v<Member>)
    void store(Member T::* member, std::type_identity_t<Member> value) const noexcept {
        std::atomic_ref<Member>(object_->*member).store(value, std::memory_order_release);
    }

    /// The address that a request or a loop uses for this object: for SQE fields that point into the region.
    [[nodiscard]] std::uint64_t address() const noexcept { return reinterpret_cast<std::uintptr_t>(object_); }

    /// All that lies behind the state in the region.
    [[nodiscard]] std::span<std::byte> extra() const noexcept {
        auto* const end = reinterpret_cast<std::byte*>(object_ + 1);
        return {end, memory_->data() + memory_->size()};
    }

    /// The region that it lies in.
    [[nodiscard]] const std::shared_ptr<RegionMemory>& memory() const noexcept { return memory_; }

private:
    std::shared_ptr<RegionMemory> memory_;
    T* object_ = nullptr;
};

}  // namespace ringstep::inline v0
