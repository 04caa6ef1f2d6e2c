// SPDX-License-Identifier: MIT
// The parser of HTTP/1.1: what it accepts, what it refuses and with which status, and that it does not matter how the bytes
// arrive.
#include <catch2/catch_test_macros.hpp>

#include <cstddef>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/http_plain.hpp"

using http_test::parse_by_kit;
using http_test::Parsed;
using http_test::said;

namespace {

std::string get(std::string_view fields) { return "GET / HTTP/1.1\r\nHost: a\r\n" + std::string(fields) + "\r\n"; }
std::string post(std::string_view fields, std::string_view body) {
    return "POST /p HTTP/1.1\r\nHost: a\r\n" + std::string(fields) + "\r\n" + std::string(body);
}
std::string chunked(std::string_view body) { return post("Transfer-Encoding: chunked\r\n", body); }

struct Refused {
    std::string bytes;
    unsigned status;
};

const std::vector<Refused>& refused() {
    static const std::vector<Refused> all{
        // The request line.
        {"GET / HTTP/1.1\nHost: a\n\n", 400},
        {"\n", 400},
        {"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400},
        {"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET /\r\n\r\n", 400},
        {"GET\r\n\r\n", 400},
        {"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"G:T / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {std::string("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 29), 400},
        {"GET / http/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET / HTTP/1.1.\r\nHost: a\r\n\r\n", 400},
        {"GET / HTTP/11\r\nHost: a\r\n\r\n", 400},
        {"GET / HTTP/1,1\r\nHost: a\r\n\r\n", 400},
        {"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505},
        {"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
        {"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 501},
        {"\x16\x03\x01\x02\r\n", 400},
        // Fields.
        {get("A: b\n"), 400},
        {get("A : b\r\n"), 400},
        {get("A\t: b\r\n"), 400},
        {get("A: b\r\n c\r\n"), 400},
        {get("A: b\r\n\tc: d\r\n"), 400},
        {get(" A: b\r\n"), 400},
        {get(": b\r\n"), 400},
        {get("A\r\n"), 400},
        {get("A b: c\r\n"), 400},
        {get("A(b): c\r\n"), 400},
        {get("A\xe4: c\r\n"), 400},
        {get("A/b: c\r\n"), 400},
        {get("A: b\rc\r\n"), 400},
        {get("A: b\x01\r\n"), 400},
        {get(std::string("A: b\0c\r\n", 8)), 400},
        {get("A: b\x7f\r\n"), 400},
        // Hosts.
        {"GET / HTTP/1.1\r\n\r\n", 400},
        {get("Host: b\r\n"), 400},
        {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400},
        // Lengths.
        {post("Content-Length: 3\r\nContent-Length: 3\r\n", "abc"), 400},
        {post("Content-Length: 3\r\nContent-Length: 4\r\n", "abcd"), 400},
        {post("Content-Length: 3, 3\r\n", "abc"), 400},
        {post("Content-Length: +3\r\n", "abc"), 400},
        {post("Content-Length: -3\r\n", "abc"), 400},
        {post("Content-Length: 3 3\r\n", "abc"), 400},
        {post("Content-Length: 0x3\r\n", "abc"), 400},
        {post("Content-Length: 3a\r\n", "abc"), 400},
        {post("Content-Length:\r\n", "abc"), 400},
        {post("Content-Length: 18446744073709551616\r\n", "abc"), 400},
        {post("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), 400},
        {post("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", "0\r\n\r\n"), 400},
        {post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), 400},
        {post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"), 501},
        {post("Transfer-Encoding: identity\r\n", "0\r\n\r\n"), 501},
        {post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), 501},
        {post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"), 501},
        {post("Transfer-Encoding:\x0b chunked\r\n", "0\r\n\r\n"), 400},
        {post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"), 400},
        {post("Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n"), 501},
        {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
        {post("Expect: 200-ok\r\n", ""), 417},
        // Chunks.
        {chunked("\r\n"), 400},
        {chunked("g\r\n"), 400},
        {chunked("-1\r\n"), 400},
        {chunked("0x3\r\nabc\r\n0\r\n\r\n"), 400},
        {chunked(" 3\r\nabc\r\n0\r\n\r\n"), 400},
        {chunked("3\nabc\r\n0\r\n\r\n"), 400},
        {chunked("3\r\rabc\r\n0\r\n\r\n"), 400},
        {chunked("3\r\nabcd\r\n0\r\n\r\n"), 400},
        {chunked("3\r\nabc\n0\r\n\r\n"), 400},
        {chunked("3\r\nabc\rx0\r\n\r\n"), 400},
        {chunked("3\r\nabc0\r\n\r\n"), 400},
        {chunked("3;a\nb\r\nabc\r\n0\r\n\r\n"), 400},
        {chunked("0000000000000003\r\nabc\r\n0\r\n\r\n"), 400},
        {chunked("ffffffffffffffff\r\n"), 400},
        {chunked("3;" + std::string(300, 'x') + "\r\nabc\r\n0\r\n\r\n"), 400},
        {chunked("0\r\n a: b\r\n\r\n"), 400},
        {chunked("0\r\na: b\n\r\n"), 400},
        {chunked("0\r\n\rx"), 400},
        {chunked("0\r\na: " + std::string(5000, 'b') + "\r\n\r\n"), 431},
        // Sizes.
        {"GET /" + std::string(9000, 'a') + " HTTP/1.1\r\nHost: a\r\n\r\n", 414},
        {get("A: " + std::string(9000, 'a') + "\r\n"), 431},
        {get("Connection: a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q\r\n"), 400},
        {get([] {
             std::string many;
             for (int i = 0; i < 64; i++) many += "A: b\r\n";
             return many;
         }()),
         431},
    };
    return all;
}

const std::vector<std::string>& accepted() {
    static const std::vector<std::string> all{
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "GET / HTTP/1.1\r\nhOsT:a.example:80  \t \r\n\r\n",
        "GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n",
        "HEAD /a?b=c?d HTTP/1.1\r\nHost: a\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET HTTP://a/b?c HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "M-SEARCH!#$%&'*+.^_`|~09az /~a/%41;b=c#d HTTP/1.1\r\nHost: a\r\n\r\n",
        get("A:\r\nB: \r\nC:\t x \t y \t\r\nX-!#$%&'*+.^_`|~: \"\xe4\xff\"\r\n"),
        get("Connection: close\r\n"),
        get("Connection: Keep-Alive\r\n"),
        get("Connection: TE , CLOSE,\r\nConnection: keep-alive, upgrade\r\n"),
        get("Connection: closed, keep-aliv\r\n"),
        get("Connection: ,,,\r\n"),
        get("Expect: 100-Continue\r\n"),
        get("Content-Length: 0\r\n"),
        get("X-Content-Length: 3\r\nTransfer_Encoding: chunked\r\n"),
        post("Content-Length: 3\r\n", "abc"),
        post("Content-Length:   0003  \r\n", "abc"),
        post("Content-Length: 3\r\n", "abcGET / HTTP/1.1\r\n"),
        post("Content-Length: 18446744073709551615\r\n", "abc"),  // not complete
        post("Content-Length: 20000\r\n", std::string(20000, 'x')),
        chunked("0\r\n\r\n"),
        chunked("3\r\nabc\r\n0\r\n\r\nGET"),
        chunked("3;a=b\r\nabc\r\nA \t;c=\"d\"\r\n0123456789\r\n000\r\n\r\n"),
        chunked("3\r\nabc\r\n0;x\r\nTrailer: x\r\nOther:y\r\n\r\n"),
        chunked("2710\r\n" + std::string(10000, 'x') + "\r\n0\r\n\r\n"),
        chunked("fffffffffffffff\r\nabc"),  // not complete
        "GET / HTTP/1.1\r\nHost: a\r\nA: " + std::string(8100, 'a') + "\r\n\r\n",
    };
    return all;
}

}  // namespace

TEST_CASE("Malformed requests are refused with their status, however they arrive") {
    for (const auto& [bytes, status] : refused()) {
        for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, std::size_t{100'000}}) {
            if (piece < 10 && bytes.size() > 1000) continue;
            const Parsed parsed = parse_by_kit(bytes, piece);
            INFO(bytes.substr(0, 200) << "\npieces of " << piece << ": " << said(parsed));
            CHECK(parsed.status == status);
            CHECK(http_test::plain::parse(bytes).status == status);
        }
    }
}

TEST_CASE("Well-formed requests are parsed as a plain parser does, however they arrive") {
    for (const std::string& bytes : accepted()) {
        const Parsed expected = http_test::plain::parse(bytes);
        CHECK(expected.status == 0);
        for (const std::size_t piece : {1, 2, 3, 5, 16, 1000, 100'000}) {
            if (piece < 1000 && bytes.size() > 1000) continue;
            for (const std::size_t begin : {0, 1, 15}) {
                const Parsed parsed = parse_by_kit(bytes, piece, bytes.size() > 8000 ? 0 : begin);
                INFO(bytes.substr(0, 200) << "\npieces of " << piece << ": " << said(parsed)
                                          << "\nexpected: " << said(expected));
                CHECK((parsed == expected));
            }
        }
        // No part of a request is a request, nor is it refused.
        if (expected.complete && bytes.size() < 1000)
            for (std::size_t size = 0; size < expected.used; size++) {
                INFO(bytes.substr(0, size));
                CHECK((parse_by_kit(std::string_view(bytes).substr(0, size), 50) == Parsed{}));
            }
    }
}

TEST_CASE("Fields and parts are where they are said to be") {
    const Parsed parsed = parse_by_kit("PUT /a/b?c=d HTTP/1.1\r\nHost: x:1\r\nA:  b c \r\nContent-Length: 2\r\n\r\nhi", 4);
    CHECK(parsed.complete);
    CHECK(parsed.method == "PUT");
    CHECK(parsed.target == "/a/b?c=d");
    CHECK(parsed.path == "/a/b");
    CHECK(parsed.body == "hi");
    REQUIRE(parsed.fields.size() == 3);
    CHECK(parsed.fields[1] == std::pair<std::string, std::string>("A", "b c"));
}

TEST_CASE("Bodies that are longer than allowed are refused before they come") {
    CHECK(parse_by_kit(post("Content-Length: 11\r\n", ""), 1000, 0, 10).status == 413);
    CHECK(parse_by_kit(post("Content-Length: 10\r\n", "0123456789"), 1000, 0, 10).complete);
    CHECK(parse_by_kit(chunked("6\r\nabcdef\r\n5\r\n"), 1000, 0, 10).status == 413);
    CHECK(parse_by_kit(chunked("6\r\nabcdef\r\n4\r\nabcd\r\n0\r\n\r\n"), 1000, 0, 10).complete);
}

TEST_CASE("Changed requests are parsed as a plain parser does") {
    static constexpr char odd[] = "\r\n\r\n \t:,;/?*0129afGHhosx-\"\\()<>@[]{}\x00\x01\x0b\x7f\x80\xff";
    std::mt19937 random{7};
    std::size_t complete = 0;
    for (int round = 0; round < 60'000; round++) {
        std::string bytes =
            random() % 3 != 0 ? accepted()[random() % accepted().size()] : refused()[random() % refused().size()].bytes;
        if (bytes.size() > 1000) continue;
        for (auto changes = random() % 4; changes > 0; changes--) {
            const std::size_t at = random() % (bytes.size() + 1);
            const char byte = odd[random() % (sizeof odd - 1)];
            if (const auto how = random() % 3; how == 0 || at == bytes.size())
                bytes.insert(at, 1, byte);
            else if (how == 1)
                bytes[at] = byte;
            else
                bytes.erase(at, 1 + random() % 3);
        }
        const Parsed expected = http_test::plain::parse(bytes);
        const Parsed parsed = parse_by_kit(bytes, 1 + random() % 60, random() % 20);
        complete += expected.complete ? 1 : 0;
        if (parsed == expected) continue;
        INFO(bytes << "\n" << said(parsed) << "\nexpected: " << said(expected));
        CHECK(false);
    }
    CHECK(complete > 5000);
}
