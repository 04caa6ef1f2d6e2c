// SPDX-License-Identifier: MIT
// HTTP servers that send files from the loop: conditions, ranges and dates.
#include <catch2/catch_test_macros.hpp>

#include <sys/stat.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "ensure.hpp"
#include "loops/files.hpp"
#include "net/client.hpp"
#include "net/http_files.hpp"
#include "net/http_served.hpp"

using namespace http_test;

TEST_CASE("A file is not sent to those who have it") {
    const Folder folder;
    write_file(folder / "page.html", "<p>page");
    Served server{application, {}, [&](HttpServer& self) {
                      const HttpField cache{.name = "Cache-Control", .value = "max-age=60"};
                      self.add_file("/page", folder / "page.html", {.fields = {&cache, 1}});
                  }};
    const Client client{server.port()};
    const Response whole = ask(client, get("/page"));
    const std::string tag = field_of(whole, "ETag");
    const std::string date = field_of(whole, "Last-Modified");
    CHECK(whole.body == "<p>page");
    CHECK(field_of(whole, "Content-Type") == "text/html; charset=utf-8");
    CHECK(field_of(whole, "Cache-Control") == "max-age=60");
    CHECK(tag.size() > 4);
    CHECK(tag.front() == '"');
    CHECK(tag.back() == '"');
    const struct ::stat status = [&] {
        struct ::stat is{};
        ensure(::stat((folder / "page.html").c_str(), &is) == 0);
        return is;
    }();
    CHECK(date == ringstep::http_date(std::chrono::system_clock::from_time_t(status.st_mtim.tv_sec)));

    const std::string other = "\"" + std::string(tag.size() - 2, 'f') + "\"";
    std::string many;
    for (int i = 0; i < 63; i++) many += "\"" + std::to_string(i) + "\", ";
    const std::vector<std::pair<std::string, unsigned>> conditions{
        {"If-None-Match: " + tag, 304},
        {"if-none-match:" + tag, 304},
        {"If-None-Match: W/" + tag, 304},
        {"If-None-Match: *", 304},
        {"If-None-Match: " + other + ", W/\"x,y\" ,\t" + tag, 304},
        {"If-None-Match: " + other + "\r\nIf-None-Match: " + tag, 304},
        {"If-None-Match: " + many + tag, 304},
        {"If-None-Match: " + other, 200},
        {"If-None-Match: " + tag.substr(0, tag.size() - 1), 200},
        {"If-None-Match: " + tag.substr(1), 200},
        {"If-None-Match: " + tag.substr(0, tag.size() - 2) + "\"", 200},
        {"If-None-Match: **", 200},
        {"If-None-Match:", 200},
        {"If-Modified-Since: " + date, 304},
        {"If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT", 200},
        {"If-Modified-Since: " + date + "x", 200},
        // A tag goes before a date.
        {"If-Modified-Since: " + date + "\r\nIf-None-Match: " + other, 200},
        {"If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\nIf-None-Match: " + tag, 304},
        {"If-Match: " + tag, 200},
        {"If-Match: *", 200},
        {"If-Match: " + other + ", " + tag, 200},
        {"If-Match: " + other, 412},
        {"If-Match: W/" + tag, 412},
        {"If-Match: " + other + "\r\nIf-None-Match: " + tag, 412},
        {"If-Match: " + tag + "\r\nIf-None-Match: " + tag, 304},
        {"Range: bytes=0-1\r\nIf-None-Match: " + tag, 304},
        {"Range: bytes=0-1\r\nIf-None-Match: " + other, 206},
        {"If-None-Matched: " + tag, 200},
    };
    for (const auto& [field, expected] : conditions) {
        for (const bool head : {false, true}) {
            INFO(field);
            const Response response = ask(client, head ? head_of("/page", field + "\r\n") : get("/page", field + "\r\n"), head);
            const unsigned here = head && expected == 206 ? 200 : expected;
            CHECK(response.status == here);
            if (here == 304) {
                CHECK(field_of(response, "ETag") == tag);
                CHECK(field_of(response, "Last-Modified") == date);
                CHECK(field_of(response, "Cache-Control") == "max-age=60");
                CHECK(field_of(response, "Date") != "(none)");
                CHECK(field_of(response, "Content-Length") == "(none)");
                CHECK(field_of(response, "Content-Type") == "(none)");
            } else if (here == 412) {
                CHECK(field_of(response, "Content-Length") == "0");
            } else if (!head) {
                CHECK(response.body == (here == 206 ? "<p" : "<p>page"));
            }
        }
    }
    CHECK(ask(client, get("/page")).body == "<p>page");
}

TEST_CASE("A range of a file is sent, or all of it") {
    const Folder folder;
    const std::string content = random_text(200'000, 5);
    const std::uint64_t large = 5'000'000'000;
    write_file(folder / "file", content);
    write_file(folder / "empty", "");
    {
        const File sparse(folder / "large");
        sparse.write(Bytes{'e', 'n', 'd'}, large - 3);
    }
    Served server{application, {}, [&](HttpServer& self) {
                      for (const std::string name : {"file", "empty", "large"}) self.add_file("/" + name, folder / name);
                  }};
    const Client client{server.port()};
    const std::string tag = field_of(ask(client, get("/file")), "ETag");
    struct Part {
        std::string range;
        unsigned status;
        std::size_t first = 0;
        std::size_t last = 0;
    };
    const std::vector<Part> parts{
        {"bytes=0-0", 206, 0, 0},
        {"bytes=0-", 206, 0, 199'999},
        {"bytes=1-2", 206, 1, 2},
        {"BYTES=1-2", 206, 1, 2},
        {"bytes=007-0008", 206, 7, 8},
        {"bytes=65000-66000", 206, 65'000, 66'000},
        {"bytes=100000-", 206, 100'000, 199'999},
        {"bytes=199999-", 206, 199'999, 199'999},
        {"bytes=199999-199999", 206, 199'999, 199'999},
        {"bytes=199990-200000", 206, 199'990, 199'999},
        {"bytes=5-18446744073709551615", 206, 5, 199'999},
        {"bytes=-1", 206, 199'999, 199'999},
        {"bytes=-70000", 206, 130'000, 199'999},
        {"bytes=-200000", 206, 0, 199'999},
        {"bytes=-200001", 206, 0, 199'999},
        {"bytes=-18446744073709551615", 206, 0, 199'999},
        {"bytes=200000-", 416},
        {"bytes=200000-200001", 416},
        {"bytes=18446744073709551615-", 416},
        {"bytes=-0", 416},
        // What is malformed, or for several parts, or in other units.
        {"bytes=2-1", 200},
        {"bytes=0-0,2-3", 200},
        {"bytes=0-0, -1", 200},
        {"bytes=-", 200},
        {"bytes=", 200},
        {"bytes", 200},
        {"", 200},
        {"bytes=a-b", 200},
        {"bytes=1", 200},
        {"bytes=1-2x", 200},
        {"bytes=1--2", 200},
        {"bytes=-1-", 200},
        {"bytes= 1-2", 200},
        {"bytes=1 -2", 200},
        {"bytes=1-18446744073709551616", 200},
        {"bytes=18446744073709551616-", 200},
        {"lines=1-2", 200},
        {"bytes=0-0\r\nRange: bytes=1-1", 200},
    };
    for (const Part& part : parts) {
        for (const std::string& condition : {std::string(), "If-Range: " + tag + "\r\n"}) {
            INFO(part.range);
            const Response response = ask(client, get("/file", "Range: " + part.range + "\r\n" + condition));
            CHECK(response.status == part.status);
            const std::string said = field_of(response, "Content-Range");
            if (part.status == 206) {
                CHECK(said == "bytes " + std::to_string(part.first) + "-" + std::to_string(part.last) + "/200000");
                const bool same = response.body == content.substr(part.first, part.last - part.first + 1);
                CHECK(same);
                CHECK(field_of(response, "ETag") == tag);
            } else if (part.status == 416) {
                CHECK(said == "bytes */200000");
                CHECK(response.body.empty());
            } else {
                CHECK(said == "(none)");
                const bool same = response.body == content;
                CHECK(same);
            }
        }
    }
    // A range of something else than what the client has.
    for (const std::string& condition :
         {"W/" + tag, std::string("\"other\""), field_of(ask(client, get("/file")), "Last-Modified"),
          tag + "\r\nIf-Range: \"other\""}) {
        const Response response = ask(client, get("/file", "If-Range: " + condition + "\r\nRange: bytes=0-1\r\n"));
        INFO(condition);
        CHECK(response.status == 200);
        CHECK(response.body.size() == content.size());
    }
    CHECK(ask(client, get("/file", "If-Range: " + tag + "\r\n")).status == 200);

    CHECK(ask(client, get("/empty", "Range: bytes=0-0\r\n")).has("Content-Range: bytes */0"));
    CHECK(ask(client, get("/empty", "Range: bytes=0-\r\n")).status == 416);
    CHECK(ask(client, get("/empty", "Range: bytes=-0\r\n")).status == 416);
    CHECK(ask(client, get("/empty", "Range: bytes=-5\r\n")).status == 200);

    // Beyond 32 bits.
    CHECK(field_of(ask(client, head_of("/large"), true), "Content-Length") == "5000000000");
    Response response = ask(client, get("/large", "Range: bytes=-5\r\n"));
    CHECK(response.has("Content-Range: bytes 4999999995-4999999999/5000000000"));
    CHECK(response.body == std::string(2, '\0') + "end");
    response = ask(client, get("/large", "Range: bytes=4294967290-4294967300\r\n"));
    CHECK(response.has("Content-Range: bytes 4294967290-4294967300/5000000000"));
    CHECK(response.body == std::string(11, '\0'));
}

TEST_CASE("Answers have the date of the second in which they are made") {
    Served server{application};
    server->set_answer("/fixed", {.body = "x"});
    const Client client{server.port()};
    const auto now = [] { return std::chrono::system_clock::now(); };
    const auto is_now = [&](const Response& response, auto before) {
        const std::string date = field_of(response, "Date");
        for (auto at = before; at <= now() + 1s; at += 1s)
            if (date == ringstep::http_date(at)) return true;
        UNSCOPED_INFO(date);
        return false;
    };
    for (const std::string path : {"/fixed", "/other"}) {
        const auto before = now();
        CHECK(is_now(ask(client, get(path)), before));
        std::this_thread::sleep_for(1100ms);
        const auto later = now();
        CHECK(is_now(ask(client, get(path)), later));
    }
    const auto before = now();
    CHECK(is_now(ask(Client{server.port()}, "GET / HTTP/1.1\r\n\r\n"), before));

    // Other days, by a clock that is ahead.
    ringstep_http_own& own = server->state()->own;
    for (const std::int64_t seconds :
         {0LL, 86'399LL, 784'111'777LL, 951'782'400LL, 951'868'800LL, 1'077'926'399LL, 1'703'980'799LL, 1'704'067'200LL,
          1'709'251'199LL, 2'147'483'648LL, 4'107'542'400LL, 4'107'456'000LL, 9'214'646'399LL, 9'214'646'400LL}) {
        const auto expected = [&](std::int64_t after) {
            return ringstep::http_date(std::chrono::system_clock::time_point(std::chrono::seconds(seconds + after)));
        };
        std::string date;
        // The end of a connection lets the next run begin, which sets the clock right.
        for (int i = 0; i < 5 && date != expected(0) && date != expected(1); i++) {
            timespec tai{};
            ensure(::clock_gettime(CLOCK_TAI, &tai) == 0);
            own.tai_ahead =
                static_cast<std::uint64_t>(tai.tv_sec - seconds) * 1'000'000'000U + static_cast<std::uint64_t>(tai.tv_nsec);
            own.date_until = 0;
            date = field_of(ask(client, get("/fixed")), "Date");
        }
        INFO(date << ", expected " << expected(0));
        CHECK((date == expected(0) || date == expected(1)));
    }
    CHECK(ringstep::http_date(std::chrono::system_clock::from_time_t(784'111'777)) == "Sun, 06 Nov 1994 08:49:37 GMT");
    HttpOptions options;
    options.dates = false;
    Served plain{application, options};
    plain->set_answer("/fixed", {.body = "x"});
    for (const std::string path : {"/fixed", "/other"})
        CHECK(field_of(ask(Client{plain.port()}, get(path)), "Date") == "(none)");
}
