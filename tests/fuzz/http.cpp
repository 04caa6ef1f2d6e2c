// SPDX-License-Identifier: MIT
// The loop's parser of HTTP beside a plain one, whatever the bytes, and however they arrive. The first byte says in which
// pieces, and the second one how long a body may be.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "net/http_plain.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 2) return 0;
    const std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
    const std::size_t piece = std::size_t{1} + data[0] % 100U;
    const std::uint64_t most = data[1] < 128 ? data[1] : ~std::uint64_t{0};
    const http_test::Parsed expected = http_test::plain::parse(bytes, most);
    const http_test::Parsed parsed = http_test::parse_by_kit(bytes, piece, data[0] / 16, most);
    if (parsed == expected) return 0;
    std::fprintf(stderr, "%.*s\n%s\nexpected: %s\n", static_cast<int>(bytes.size()), bytes.data(), said(parsed).c_str(),
                 said(expected).c_str());
    std::abort();
}
