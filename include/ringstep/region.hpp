// SPDX-License-Identifier: MIT
// The memory region that an application and its loop share, and typed views of it.
#pragma once

#include <ringstep/c/abi.h>
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
 * A type for data in shared memory, for example a loop's state. C and C++ must lay it out alike, and it must be usable without
 * construction. Plain structs of integers, arrays and other plain structs fulfil this.
 */
template <class T>
concept Shareable = std::is_class_v<T> && std::is_standard_layout_v<T> && std::is_trivially_copyable_v<T> &&
                    std::is_trivially_default_constructible_v<T> && alignof(T) <= alignof(std::max_align_t);

/**
 * Memory that is, or can become, the memory region of a ring. It is page-aligned, zeroed if allocate() made it, and belongs to
 * the application. The kernel only pins it, and only for the kernel engine. Requests in flight may point into the region, so
 * shared pointers keep it alive. A ring that could not wait for its requests keeps the region allocated forever.
 */
class RegionMemory {
public:
    /// Allocates at least `size` bytes and returns the memory. With `huge_pages`, it uses huge pages of the system's default
    /// size (MAP_HUGETLB). If none are reserved (`vm.nr_hugepages`), it uses ordinary pages and asks the kernel to make them
    /// huge. Throws Error: ENOMEM if there is no memory, EINVAL if `size` is 0.
    [[nodiscard]] static std::shared_ptr<RegionMemory> allocate(std::size_t size, bool huge_pages = false) {
        if (size == 0) detail::raise(EINVAL, "allocation of a memory region of 0 bytes", "Ask for one byte or more.");
        constexpr std::size_t huge_page = std::size_t{2} << 20;
        const std::size_t page = huge_pages ? huge_page : static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
        // Near the end of its range, the size would become 0. The kernel refuses such a size itself.
        const std::size_t rounded = size > ~std::size_t{0} - page ? size : (size + page - 1) / page * page;
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

    /// Uses existing memory of the application as a region, and returns it. Start and size of the memory must be multiples of
    /// the page size. The memory must stay valid longer than the ring. Throws Error (EINVAL) if it is not aligned. The kernel
    /// engine refuses memory that the kernel cannot pin (EFAULT): if a part of it is missing, read-only or secret
    /// (memfd_secret(2)), or if it is a shared mapping of a file on a disk.
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

    /// Returns the start of the memory. The control block comes first, and a loop's state follows it.
    [[nodiscard]] std::byte* data() const noexcept { return base_; }
    /// Returns the size in bytes. It includes the control block and the unused rest of the last page.
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    /// Returns true if the pages come from the huge page pool.
    [[nodiscard]] bool huge_pages() const noexcept { return huge_; }

    /// Returns the control block, through which the library and a loop communicate.
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
 * A typed view of a loop's state: a `T` in the memory region. Copies are cheap and refer to the same memory. Each copy keeps
 * the memory alive, even after the program and the ring are destroyed. Moving a view copies it, so a moved-from view is still
 * valid.
 *
 * Use `view->field` only while no loop runs. While a loop runs on another thread, use `load` and `store`, which are atomic. A
 * loop's plain aligned stores are atomic as well. Each call is one access, so there is no snapshot of two fields that belong
 * together.
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
    /// Makes a view of the `T` at `offset`, in bytes from the start of the memory. LoopProgram::state() is the usual way to get
    /// a view. Throws Error: ENOSPC if the object does not fit, EINVAL if the offset is not aligned.
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

    /// Makes another view of the same object.
    RegionView(const RegionView&) noexcept = default;
    /// Makes this a view of the same object as the other one.
    RegionView& operator=(const RegionView&) noexcept = default;
    /// Copies the view. `other` stays valid.
    RegionView(RegionView&& other) noexcept : RegionView(other) {}
    /// Copies the view. `other` stays valid.
    RegionView& operator=(RegionView&& other) noexcept {
        *this = other;
        return *this;
    }
    ~RegionView() = default;

    /// Gives access to a member. Use it only while no loop runs.
    [[nodiscard]] T* operator->() const noexcept { return object_; }
    /// Returns a reference to the object. Use it only while no loop runs.
    [[nodiscard]] T& operator*() const noexcept { return *object_; }
    /// Returns a pointer to the object. Use it only while no loop runs. The pointer is valid as long as this view, or another
    /// view of that memory, exists.
    [[nodiscard]] T* get() const noexcept { return object_; }

    /// Reads one field atomically and returns its value. May be called from any thread, also while a loop runs. The caller then
    /// sees everything that the loop wrote before this value.
    template <class Member>
        requires(std::is_integral_v<Member> || std::is_enum_v<Member>)
    [[nodiscard]] Member load(Member T::* member) const noexcept {
        return std::atomic_ref<Member>(object_->*member).load(std::memory_order_acquire);
    }

    /// Writes one field atomically. May be called from any thread, also while a loop runs. A loop that sees this value also
    /// sees everything that was written before it.
    template <class Member>
        requires(std::is_integral_v<Member> || std::is_enum_v<Member>)
    void store(Member T::* member, std::type_identity_t<Member> value) const noexcept {
        std::atomic_ref<Member>(object_->*member).store(value, std::memory_order_release);
    }

    /// Returns the address that requests and loops use for this object, for SQE fields that point into the region.
    [[nodiscard]] std::uint64_t address() const noexcept { return reinterpret_cast<std::uintptr_t>(object_); }

    /// Returns the bytes behind the state, up to the end of the region.
    [[nodiscard]] std::span<std::byte> extra() const noexcept {
        auto* const end = reinterpret_cast<std::byte*>(object_ + 1);
        return {end, memory_->data() + memory_->size()};
    }

    /// Returns the region that contains the object.
    [[nodiscard]] const std::shared_ptr<RegionMemory>& memory() const noexcept { return memory_; }

private:
    std::shared_ptr<RegionMemory> memory_;
    T* object_ = nullptr;
};

}  // namespace ringstep::inline v0
