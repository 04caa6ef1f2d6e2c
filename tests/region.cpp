// SPDX-License-Identifier: MIT
#include <ringstep/region.hpp>

#include "error_of.hpp"

#include <catch2/catch_test_macros.hpp>

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

using ringstep::RegionMemory;
using ringstep::RegionView;

namespace {

struct Plain {
    std::uint64_t count;
    std::uint32_t flag;
    std::uint32_t table[4];
};
struct Derived : Plain {
    int own;
};
struct Virtual {
    virtual ~Virtual() = default;
};
struct Initialised {
    int value = 3;
};

std::size_t page_size() { return static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)); }

}  // namespace

TEST_CASE("Types that C cannot share are refused at compile time") {
    STATIC_CHECK(ringstep::Shareable<Plain>);
    STATIC_CHECK_FALSE(ringstep::Shareable<Derived>);      // two classes with members: layout is C++'s own
    STATIC_CHECK_FALSE(ringstep::Shareable<Virtual>);      // a pointer to a table of functions
    STATIC_CHECK_FALSE(ringstep::Shareable<Initialised>);  // nobody runs its constructor
    STATIC_CHECK_FALSE(ringstep::Shareable<int>);
}

TEST_CASE("The control block has the layout that programs are compiled for") {
    STATIC_CHECK(sizeof(ringstep_control) == 320);
    STATIC_CHECK(offsetof(ringstep_control, turns) == 64);
    STATIC_CHECK(offsetof(ringstep_control, code) == 96);
    STATIC_CHECK(offsetof(ringstep_control, scratch_sqe) == 128);
    STATIC_CHECK(offsetof(ringstep_control, timer) == 256);
}

TEST_CASE("Allocated memory is whole pages of zeroes") {
    const auto memory = RegionMemory::allocate(1);
    CHECK(memory->size() == page_size());
    CHECK(reinterpret_cast<std::uintptr_t>(memory->data()) % page_size() == 0);
    CHECK(std::all_of(memory->data(), memory->data() + memory->size(), [](std::byte b) { return b == std::byte{0}; }));
    CHECK_FALSE(memory->huge_pages());
}

TEST_CASE("Huge pages fall back to ordinary ones") {
    const auto memory = RegionMemory::allocate(1, true);
    CHECK(memory->size() == std::size_t{2} << 20);
    memory->data()[memory->size() - 1] = std::byte{1};
}

TEST_CASE("Impossible sizes are an error with the size in it") {
    try {
        (void)RegionMemory::allocate(std::size_t{1} << 60);
        FAIL("did not throw");
    } catch (const ringstep::Error& error) {
        CHECK(error.error_number() == ENOMEM);
        CHECK(std::string_view(error.what()).find("1152921504606846976 bytes") != std::string_view::npos);
    }
}

TEST_CASE("The application's own memory has to be whole pages, and is not unmapped") {
    auto* pages =
        static_cast<std::byte*>(::mmap(nullptr, 2 * page_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    REQUIRE(pages != MAP_FAILED);
    CHECK_THROWS_AS(RegionMemory::borrow({pages + 8, page_size()}), ringstep::Error);
    CHECK_THROWS_AS(RegionMemory::borrow({pages, 100}), ringstep::Error);
    CHECK_THROWS_AS(RegionMemory::borrow({}), ringstep::Error);
    {
        const auto memory = RegionMemory::borrow({pages, 2 * page_size()});
    }
    pages[0] = std::byte{1};  // still there
    ::munmap(pages, 2 * page_size());
}

TEST_CASE("Views refer to one memory and keep it alive") {
    auto memory = RegionMemory::allocate(4096);
    const std::weak_ptr<RegionMemory> watched = memory;
    RegionView<Plain> view(memory, 64);
    const RegionView<Plain> copy = view;
    memory.reset();
    view->count = 7;
    (*view).table[3] = 9;
    CHECK(copy->count == 7);
    CHECK(copy->table[3] == 9);
    CHECK(copy.address() == reinterpret_cast<std::uintptr_t>(copy.get()));
    CHECK(copy.extra().size() == 4096 - 64 - sizeof(Plain));
    CHECK_FALSE(watched.expired());
}

TEST_CASE("Views that do not fit are refused") {
    const auto memory = RegionMemory::allocate(4096);
    CHECK_NOTHROW(RegionView<Plain>(memory, 4096 - sizeof(Plain)));
    CHECK_THROWS_AS(RegionView<Plain>(memory, 4096 - sizeof(Plain) + 8), ringstep::Error);
    CHECK_THROWS_AS(RegionView<Plain>(memory, SIZE_MAX - 4), ringstep::Error);
    CHECK_THROWS_AS(RegionView<Plain>(memory, 4), ringstep::Error);
}

TEST_CASE("Stores on one thread publish what was written before them") {
    const RegionView<Plain> view(RegionMemory::allocate(4096), 0);
    std::thread writer([&] {
        view->table[0] = 11;
        view.store(&Plain::flag, 1);
    });
    while (view.load(&Plain::flag) == 0) std::this_thread::yield();
    CHECK(view->table[0] == 11);
    writer.join();
}

TEST_CASE("Sizes that cannot be rounded up to whole pages are refused, and so is none") {
    for (const bool huge : {false, true}) {
        for (const std::size_t size : {SIZE_MAX, SIZE_MAX - 4094, SIZE_MAX - (2 << 20) + 2}) {
            const auto error = error_of([&] { (void)RegionMemory::allocate(size, huge); });
            CHECK(error.error_number() == ENOMEM);
            CHECK(error.tried().find(std::to_string(size).substr(0, 10)) != std::string_view::npos);
        }
        const auto error = error_of([&] { (void)RegionMemory::allocate(0, huge); });
        CHECK(error.error_number() == EINVAL);
        CHECK(error.tried().find("0 bytes") != std::string_view::npos);
    }
}

TEST_CASE("A view that was moved from is still valid") {
    auto memory = RegionMemory::allocate(4096);
    RegionView<Plain> view(memory, 64);
    view->count = 5;
    RegionView<Plain> moved = std::move(view);
    RegionView<Plain> assigned(RegionMemory::allocate(4096), 0);
    assigned = std::move(moved);
    memory.reset();
    // NOLINTBEGIN(bugprone-use-after-move): what this is about
    moved = RegionView<Plain>(RegionMemory::allocate(4096), 0);
    assigned = moved;
    CHECK(view->count == 5);
    CHECK(view.extra().size() == 4096 - 64 - sizeof(Plain));
    CHECK(view.memory() != nullptr);
    // NOLINTEND(bugprone-use-after-move)
}
