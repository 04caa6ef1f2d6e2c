// SPDX-License-Identifier: MIT
// The kit's functions on bytes beside plain ones, whatever the bytes and positions. Each array is a heap block of exactly its
// size, with AddressSanitizer around it. FUZZ_BYTES=number in the environment makes it one function (enum bytes_operation).
#include "blocks/bytes_plain.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

extern "C" {
void bytes_by_kit(unsigned sizes, std::uint8_t* a, std::uint8_t* b, bytes_call* call);
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
}

namespace {

class Input {
public:
    Input(const std::uint8_t* data, std::size_t size) : bytes_(data, size) {}
    std::uint8_t byte() {
        if (bytes_.empty()) return 0;
        const std::uint8_t first = bytes_.front();
        bytes_ = bytes_.subspan(1);
        return first;
    }
    std::uint64_t word() {
        std::uint64_t value = 0;
        for (int i = 0; i < 8; i++) value = value << 8 | byte();
        return value;
    }
    /// Most often a position in a small array, sometimes any number.
    std::uint64_t position() {
        const std::uint8_t choice = byte();
        if (choice < 0x48) return choice;
        if (choice < 0xc0) return byte() + 2U * (choice & 1U);
        return choice < 0xe0 ? word() : ~std::uint64_t{0} - (choice & 0x1fU);
    }
    /// What the function is about, most of it from a small alphabet.
    void fill(std::span<std::uint8_t> array, std::uint8_t kind) {
        static constexpr char alphabet[] = "\r\n\r\nGETgetAZaz@[`{0123456789/:\x80\xc1\xff+PONG8 bytes.";
        for (std::uint8_t& value : array) {
            value = byte();
            if (kind % 4 == 0) continue;
            if (kind % 4 == 1) value = static_cast<std::uint8_t>('0' + value % 10);
            if (kind % 4 == 2) value = static_cast<std::uint8_t>(alphabet[value % (sizeof alphabet - 1)]);
            if (kind % 4 == 3) value = static_cast<std::uint8_t>(value % 8 != 0 ? 'x' : alphabet[value / 8]);
        }
    }

private:
    std::span<const std::uint8_t> bytes_;
};

/// A block of exactly a size, which begins at any address.
class Block {
public:
    Block(std::size_t size, std::size_t misaligned)
        : bytes_(new std::uint8_t[size + misaligned]{}), array_(bytes_.get() + misaligned, size) {}
    [[nodiscard]] std::span<std::uint8_t> array() const { return array_; }

private:
    std::unique_ptr<std::uint8_t[]> bytes_;
    std::span<std::uint8_t> array_;
};

[[noreturn]] void fail(const char* what, const bytes_call& call, std::uint64_t expected) {
    std::fprintf(stderr, "operation %u, %s: %#llx, and not %#llx\n", call.operation, what,
                 static_cast<unsigned long long>(call.result), static_cast<unsigned long long>(expected));
    std::abort();
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const char* const wanted = std::getenv("FUZZ_BYTES");
    static constexpr std::size_t sizes[][2] = {{16, 64}, {64, 16}, {64, 64}, {256, 16}};
    Input input(data, size);
    const std::uint8_t choice = input.byte();
    const std::uint8_t kinds = input.byte();
    const std::uint8_t places = input.byte();
    bytes_call call{};
    call.operation = wanted != nullptr ? static_cast<std::uint32_t>(std::atoi(wanted)) : choice / 4U % BYTES_OPERATIONS;
    call.literal = places % BYTES_LITERALS;
    call.at = input.position();
    call.end = input.position();
    call.other = input.position();
    call.beyond = input.position();
    call.number = (kinds & 0x40) != 0 ? input.word() : input.byte();
    const Block a(sizes[choice % 4][0], places >> 3 & 7U);
    const Block b(sizes[choice % 4][1], places >> 6 & 3U);
    input.fill(a.array(), kinds);
    input.fill(b.array(), kinds >> 2);
    if ((kinds & 0x10) != 0)  // most often the same bytes, so that more than the first one is compared
        for (std::size_t i = 0; i < b.array().size(); i++)
            if ((call.other + i) < b.array().size() && (call.at + i) < a.array().size())
                b.array()[call.other + i] = a.array()[call.at + i] ^ ((kinds & 0x20) != 0 && i % 7 == 3 ? 0x20U : 0U);
    if ((kinds & 0x80) != 0) {  // a literal to be found
        plain::write(a.array(), call.at, plain::literals.at(call.literal));
        call.end = call.at + plain::literals.at(call.literal).size();
        if ((kinds & 0x20) != 0 && call.at < a.array().size()) a.array()[call.at] ^= 0x20;
    }
    const std::vector<std::uint8_t> before(b.array().begin(), b.array().end());
    std::vector<std::uint8_t> expected(a.array().begin(), a.array().end());
    bytes_call plain = call;
    plain::call(expected, b.array(), plain);
    bytes_by_kit(choice % 4U, a.array().data(), b.array().data(), &call);
    if (call.result != plain.result) fail("result", call, plain.result);
    if (call.number != plain.number) fail("number", call, plain.number);
    if (!std::ranges::equal(a.array(), expected)) fail("other bytes were written", call, plain.result);
    if (!std::ranges::equal(b.array(), before)) fail("the second array was written to", call, plain.result);
    return 0;
}
