// SPDX-License-Identifier: MIT
// Functions on bytes, beside plain ones that look at a byte at a time.
#include "blocks/bytes_plain.hpp"

#include <ringstep/compiled/adder.hpp>
#include <ringstep/compiled/bytes.hpp>
#include <ringstep/program.hpp>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace {

/// Returns a call of the script. Arguments that the call does not use may be left out.
struct Call {
    std::uint32_t operation, literal = 0;
    std::uint64_t at = 0, end = 0, other = 0, beyond = 0, number = 0;
};

class Bytes {
public:
    Bytes() {
        for (std::uint64_t i = 0; i < BYTES_GUARDS; i++)
            state().before[i] = state().between[i] = state().after[i] = 0x123456789abcdef0 + i;
    }

    void fill(std::string_view a, std::string_view b) {
        std::ranges::fill(state().a, '.');
        std::ranges::fill(state().b, '.');
        std::copy(a.begin(), a.end(), state().a);
        std::copy(b.begin(), b.end(), state().b);
    }

    void add(const bytes_call& call) { state().script[state().calls++] = call; }

    /// Runs the script by the loop and by the plain functions, and compares what comes of each call.
    void run() {
        std::vector<std::uint8_t> a(std::begin(state().a), std::end(state().a));
        std::vector<bytes_call> calls(state().script, state().script + state().calls);
        for (bytes_call& call : calls) plain::call(a, state().b, call);
        state().done = 0;
        REQUIRE(program_.run().ok());
        REQUIRE(state().done == calls.size());
        for (std::size_t i = 0; i < calls.size(); i++) {
            const bytes_call& call = calls[i];
            CAPTURE(i, call.operation, call.literal, call.at, call.end, call.other, call.beyond);
            REQUIRE(state().script[i].result == call.result);
            REQUIRE(state().script[i].number == call.number);
        }
        REQUIRE(std::ranges::equal(a, state().a));
        for (std::uint64_t i = 0; i < BYTES_GUARDS; i++) {
            const std::uint64_t guard = 0x123456789abcdef0 + i;
            if (state().before[i] != guard || state().between[i] != guard || state().after[i] != guard) FAIL("written outside");
        }
        state().calls = 0;
    }

    /// Runs one call, and returns its result.
    std::uint64_t run(const Call& call) {
        add({call.operation, call.literal, call.at, call.end, call.other, call.beyond, call.number, 0});
        run();
        return state().script[0].result;
    }

    bytes& state() { return *program_.state(); }

private:
    ringstep::Ring ring_;
    ringstep::LoopProgram<ringstep::loops::bytes> program_{ring_};
};

}  // namespace

TEST_CASE("Bytes and ends of lines are found") {
    Bytes bytes;
    bytes.fill("GET key\r\nSET\rx\ny\r\n", "");
    CHECK(bytes.run({.operation = BYTES_FIND, .at = 0, .end = 7, .number = ' '}) == 3);
    CHECK(bytes.run({.operation = BYTES_FIND, .at = 4, .end = 7, .number = ' '}) == 7);
    CHECK(bytes.run({.operation = BYTES_FIND, .at = 0, .end = ~0ULL, .number = '#'}) == BYTES_SIZE_A);
    CHECK(bytes.run({.operation = BYTES_FIND_CRLF, .at = 0, .end = 20}) == 7);
    CHECK(bytes.run({.operation = BYTES_FIND_CRLF, .at = 0, .end = 8}) == 8);
    CHECK(bytes.run({.operation = BYTES_FIND_CRLF, .at = 9, .end = 20}) == 16);
}

TEST_CASE("Bytes are compared and copied") {
    Bytes bytes;
    bytes.fill("abcdefghijklmnop", "xABCDEFGHIJKLMNOP");
    CHECK(bytes.run({.operation = BYTES_COMPARE_NOCASE, .at = 0, .end = 16, .other = 1, .beyond = 17}) == 0);
    CHECK(bytes.run({.operation = BYTES_COMPARE, .at = 0, .end = 16, .other = 1, .beyond = 17}) == 1);
    CHECK(bytes.run({.operation = BYTES_COMPARE_NOCASE, .at = 0, .end = 15, .other = 1, .beyond = 17}) == ~0ULL);
    CHECK(bytes.run({.operation = BYTES_COPY, .at = 3, .other = 1, .beyond = 17}) == 19);
    CHECK(bytes.run({.operation = BYTES_COMPARE, .at = 3, .end = 19, .other = 1, .beyond = 17}) == 0);
    CHECK(bytes.run({.operation = BYTES_COPY, .at = BYTES_SIZE_A - 15, .other = 1, .beyond = 17}) == BYTES_SIZE_A - 15);
    CHECK(bytes.run({.operation = BYTES_WRITE, .literal = 3, .at = 100}) == 107);
    CHECK(bytes.run({.operation = BYTES_ARE, .literal = 3, .at = 100, .end = 107}) == 1);
    CHECK(bytes.run({.operation = BYTES_ARE, .literal = 3, .at = 100, .end = 106}) == 0);
}

TEST_CASE("Every number is printed and parsed, as long as it fits into 64 bits and into the array") {
    Bytes bytes;
    std::vector<std::uint64_t> numbers{0, 1, 9, UINT64_MAX, UINT64_MAX - 1};
    for (std::uint64_t power = 10; power < 10'000'000'000'000'000'000ULL / 10; power *= 10)
        numbers.insert(numbers.end(), {power - 1, power, power + 1, power / 2});
    numbers.push_back(10'000'000'000'000'000'000ULL);
    numbers.push_back(9'999'999'999'999'999'999ULL);
    for (const std::uint64_t number : numbers) {
        for (const std::uint64_t at : {0ULL, 3ULL, 231ULL, 236ULL, 240ULL, 255ULL, 256ULL, ~0ULL}) {
            bytes.fill("", "");
            const std::uint64_t end = bytes.run({.operation = BYTES_PRINT, .at = at, .number = number});
            if (end == at) continue;
            CHECK(bytes.run({.operation = BYTES_PARSE, .at = at, .end = end, .number = 5}) == end);
            CHECK(bytes.state().script[0].number == number);
        }
    }
    for (const std::string_view text :
         {"18446744073709551616", "18446744073709551620", "99999999999999999999", "100000000000000000000", "", "x1", "-1"}) {
        bytes.fill(text, "");
        CHECK(bytes.run({.operation = BYTES_PARSE, .at = 0, .end = text.size(), .number = 5}) == 0);
        CHECK(bytes.state().script[0].number == 5);
    }
    bytes.fill("0000000000000000000000000000000000000018446744073709551615", "");
    CHECK(bytes.run({.operation = BYTES_PARSE, .at = 0, .end = 200}) == 58);
    CHECK(bytes.state().script[0].number == UINT64_MAX);
}

TEST_CASE("Functions on bytes do what plain ones do, at random") {
    Bytes bytes;
    std::mt19937_64 random(4);
    static constexpr char alphabet[] = "\r\n\r\nAZaz@[`{0123456789/:\x80\xff";
    for (int round = 0; round < 200; round++) {
        const bool digits = round % 4 == 3;
        for (std::uint8_t& byte : bytes.state().a)
            byte = digits ? static_cast<std::uint8_t>(0x30 + random() % 10)
                          : static_cast<std::uint8_t>(alphabet[random() % (sizeof alphabet - 1)]);
        for (std::uint8_t& byte : bytes.state().b) byte = static_cast<std::uint8_t>(alphabet[random() % (sizeof alphabet - 1)]);
        if (round % 2 == 0)
            for (std::size_t i = 0; i < BYTES_SIZE_B; i++)
                bytes.state().a[i + 3] = static_cast<std::uint8_t>(bytes.state().b[i] ^ (i % 11 == 10 ? 0x20U : 0U));
        const auto position = [&](std::uint64_t most) { return random() % 16 == 0 ? random() : random() % (most + 3); };
        for (int i = 0; i < BYTES_CALLS; i++) {
            bytes_call call{};
            call.operation = static_cast<std::uint32_t>(random() % BYTES_OPERATIONS);
            call.literal = static_cast<std::uint32_t>(random() % BYTES_LITERALS);
            call.at = position(BYTES_SIZE_A);
            call.end = random() % 2 != 0 ? call.at + random() % 40 : position(BYTES_SIZE_A);
            call.other = random() % 2 != 0 ? call.at - 3 : position(BYTES_SIZE_B);
            call.beyond = random() % 2 != 0 ? call.other + (call.end - call.at) : position(BYTES_SIZE_B);
            call.number = call.operation == BYTES_FIND ? random() % 256 : random() >> random() % 64;
            bytes.add(call);
        }
        bytes.run();
    }
}

TEST_CASE("A loop answers lines with numbers") {
    ringstep::Ring ring;
    ringstep::LoopProgram<ringstep::loops::adder> program{ring};
    const std::string_view lines =
        "ADD 12 30\r\nadd 1 18446744073709551614\r\nADD 1 x\r\nADD 1\r\nSUB 1 2\r\n\r\nADD  1 2\r\nADD 7 8\r\nADD 9";
    std::ranges::copy(lines, program.state()->input);
    program.state()->filled = lines.size();
    REQUIRE(program.run().ok());
    CHECK(program.state()->at == lines.size() - 5);
    CHECK(std::string_view(reinterpret_cast<char*>(program.state()->output), program.state()->out) ==
          "42\r\n18446744073709551615\r\nwhat?\r\nwhat?\r\nwhat?\r\nwhat?\r\nwhat?\r\n15\r\n");
}
