// SPDX-License-Identifier: MIT
// HTTP servers that send files from the loop: what clients may ask for, and what may happen to a file or to a client meanwhile.
#include <catch2/catch_test_macros.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "ensure.hpp"
#include "loops/files.hpp"
#include "net/client.hpp"
#include "net/http_served.hpp"

using namespace http_test;

namespace {

std::string text_from(const Bytes& bytes) { return {bytes.begin(), bytes.end()}; }
std::string random_text(std::size_t size, std::uint64_t seed = 1) { return text_from(random_bytes(size, seed)); }

/// Makes a file with a content.
void write_file(const std::string& path, std::string_view content) {
    const File file(path);
    file.write(Bytes(content.begin(), content.end()));
}

/// The application of these tests answers what the loop does not.
void application(HttpServer& server, const HttpRequest& request) {
    ensure(server.respond(request, {.body = "app " + std::string(request.path), .status = 404}));
}

std::string head_of(std::string_view path, std::string_view fields = {}) {
    return "HEAD " + std::string(path) + " HTTP/1.1\r\nHost: a\r\n" + std::string(fields) + "\r\n";
}

/// Returns the value of a field of a response.
std::string field_of(const Response& response, std::string_view name) {
    const std::string wanted = "\r\n" + std::string(name) + ": ";
    const std::size_t at = response.head.find(wanted);
    if (at == std::string::npos) return "(none)";
    const std::size_t begin = at + wanted.size();
    return response.head.substr(begin, response.head.find("\r\n", begin) - begin);
}

/// Runs work on the thread of a server: the next request for /do does it.
class Errands {
public:
    void operator()(HttpServer& server, const HttpRequest& request) {
        if (request.path == "/do") work_(server);
        application(server, request);
    }
    void run(const Client& client, std::function<void(HttpServer&)> work) {
        work_ = std::move(work);
        ensure(ask(client, get("/do")).status == 404);
    }

private:
    std::function<void(HttpServer&)> work_;
};

int error_of(const std::function<void()>& work) {
    try {
        work();
    } catch (const ringstep::Error& error) {
        return error.error_number();
    }
    return 0;
}

}  // namespace

TEST_CASE("The loop sends files of all sizes, byte by byte", "[main]") {
    const Folder folder;
    std::vector<std::size_t> sizes{0, 1, 7, 8, 4096, 60'000, 65'535, 65'536, 65'537, 131'071, 131'073, (1U << 20U) + 7};
    std::size_t head = 0;
    const auto add = [&](HttpServer& server, std::size_t size) {
        const std::string name = folder / ("size-" + std::to_string(size) + ".bin");
        write_file(name, random_text(size, size));
        server.add_file("/size/" + std::to_string(size), name);
    };
    Errands errands;
    Served server{std::ref(errands), {}, [&](HttpServer& self) {
                      for (const std::size_t size : sizes) add(self, size);
                  }};
    const Client client{server.port()};
    head = ask(client, get("/size/60000")).head.size();
    // Where the output is filled by one read, and where a byte is left.
    errands.run(client, [&](HttpServer& self) {
        for (const std::size_t more : {RINGSTEP_HTTP_OUTPUT - head - 1, RINGSTEP_HTTP_OUTPUT - head,
                                       RINGSTEP_HTTP_OUTPUT - head + 1, 2 * RINGSTEP_HTTP_OUTPUT - head}) {
            add(self, more);
            sizes.push_back(more);
        }
    });
    std::uint64_t count = server->answered();
    for (const std::size_t size : sizes) {
        INFO(size);
        const std::string path = "/size/" + std::to_string(size);
        const Response whole = ask(client, get(path + "?query"));
        CHECK(whole.status == 200);
        CHECK(whole.body.size() == size);
        const bool same = whole.body == random_text(size, size);
        CHECK(same);
        CHECK(field_of(whole, "Content-Type") == "application/octet-stream");
        CHECK(field_of(whole, "Accept-Ranges") == "bytes");
        CHECK(field_of(whole, "Connection") == "(none)");
        // HEAD has the same fields, whatever a range says.
        const Response only = ask(client, head_of(path, "Range: bytes=0-0\r\n"), true);
        CHECK(only.status == 200);
        CHECK(field_of(only, "Content-Length") == std::to_string(size));
        CHECK(field_of(only, "ETag") == field_of(whole, "ETag"));
        CHECK(field_of(only, "Last-Modified") == field_of(whole, "Last-Modified"));
        CHECK(server->answered() == (count += 2));
    }
    CHECK(ask(client, post("/size/1", "x")).body == "app /size/1");
    CHECK(ask(client, get("/size/2")).body == "app /size/2");
    CHECK(server->broken() == 0);
}

TEST_CASE("A file is not sent to those who have it", "[main]") {
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

TEST_CASE("A range of a file is sent, or all of it", "[main]") {
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

TEST_CASE("Files, fixed answers and answers of the application keep their order", "[main]") {
    const Folder folder;
    const std::vector<std::size_t> sizes{0, 3, 1000, 9000, 64'000, 150'000};
    for (const std::size_t size : sizes) write_file(folder / std::to_string(size), random_text(size, size + 7));
    Served server{application, {}, [&](HttpServer& self) {
                      for (const std::size_t size : sizes)
                          self.add_file("/" + std::to_string(size), folder / std::to_string(size));
                      self.set_answer("/fixed", {.body = "fixed"});
                  }};
    const std::string tag = field_of(ask(Client{server.port()}, get("/3")), "ETag");
    for (const std::size_t piece : {100'000U, 33U}) {
        std::mt19937 random{static_cast<unsigned>(piece)};
        std::string sent;
        std::vector<std::pair<std::string, bool>> expected;
        for (int i = 0; i < 150; i++) {
            const std::size_t size = sizes[random() % sizes.size()];
            const std::string path = "/" + std::to_string(size);
            switch (random() % 7) {
                case 0:
                    sent += get("/fixed");
                    expected.emplace_back("fixed", false);
                    break;
                case 1:
                    sent += get("/other");
                    expected.emplace_back("app /other", false);
                    break;
                case 2:
                    sent += head_of(path);
                    expected.emplace_back("", true);
                    break;
                case 3:
                    sent += get("/3", "If-None-Match: " + tag + "\r\n");
                    expected.emplace_back("", false);
                    break;
                case 4:
                    sent += get("/9000", "Range: bytes=10-29\r\n");
                    expected.emplace_back(random_text(9000, 9007).substr(10, 20), false);
                    break;
                default: sent += get(path); expected.emplace_back(random_text(size, size + 7), false);
            }
        }
        Client client{server.port()};
        std::jthread sender([&] {
            for (std::size_t at = 0; at < sent.size(); at += piece)
                ensure(client.send(std::string_view(sent).substr(at, piece)));
            client.finish();
        });
        std::size_t right = 0;
        for (const auto& [body, head] : expected) {
            const Response response = read(client, head);
            if (response.status == 0 || response.body != body) break;
            right++;
        }
        CHECK(right == expected.size());
        CHECK(client.rest().empty());
        CHECK(client.ended());
    }
}

TEST_CASE("A connection ends behind a file if the client wants that", "[main]") {
    const Folder folder;
    const std::string content = random_text(300'000);
    write_file(folder / "file", content);
    Served server{application, {}, [&](HttpServer& self) { self.add_file("/file", folder / "file"); }};
    for (const std::string& request : {std::string("GET /file HTTP/1.0\r\n\r\n"), get("/file", "Connection: close\r\n")}) {
        Client client{server.port()};
        const Response response = ask(client, request + get("/other"));
        CHECK(response.has("Connection: close"));
        const bool same = response.body == content;
        CHECK(same);
        CHECK(client.rest().empty());
        CHECK(client.ended());
    }
    // A client that has closed its sending side gets the whole file.
    Client client{server.port()};
    ensure(client.send(get("/file")));
    client.finish();
    CHECK(read(client).body.size() == content.size());
    CHECK(client.rest().empty());
    CHECK(client.ended());
    // A client that reads only when the server is about to end gets the whole file, too.
    Client late{server.port(), 4096};
    ensure(late.send(get("/file")));
    CHECK(late.receive(10) == "HTTP/1.1 2");
    server.request_stop();
    std::this_thread::sleep_for(30ms);
    const std::string rest = late.rest();
    CHECK(late.ended());
    CHECK(rest.ends_with(content));
}

TEST_CASE("Slow readers of large files do not disturb others, and lose nothing", "[main]") {
    const Folder folder;
    const std::string content = random_text(3'000'000, 9);
    write_file(folder / "large", content);
    write_file(folder / "small", "small");
    Served server{application, {}, [&](HttpServer& self) {
                      self.add_file("/large", folder / "large");
                      self.add_file("/small", folder / "small");
                  }};
    std::vector<Client> slow;
    for (int i = 0; i < 4; i++) {
        slow.emplace_back(server.port(), 8192);
        ensure(slow.back().send(get("/large") + get("/small")));
    }
    const Client quick{server.port()};
    for (int i = 0; i < 20; i++) CHECK(ask(quick, get("/small")).body == "small");
    CHECK(ask(quick, get("/large")).body == content);
    for (const Client& client : slow) {
        CHECK(client.receive(1) == "H");
        const Response response = read(client);
        CHECK(response.head.starts_with("TTP/1.1 200"));
        const bool same = response.body == content;
        CHECK(same);
        CHECK(read(client).body == "small");
    }
}

TEST_CASE("Clients that are reset in the middle of a file leave nothing behind", "[main]") {
    const Folder folder;
    write_file(folder / "large", random_text(4'000'000));
    Errands errands;
    Served server{std::ref(errands), {}, [&](HttpServer& self) { self.add_file("/large", folder / "large"); }};
    for (int round = 0; round < 3; round++) {
        std::vector<Client> clients;
        for (int i = 0; i < 20; i++) {
            clients.emplace_back(server.port(), 4096);
            ensure(clients.back().send(get("/large") + get("/large")));
        }
        for (std::size_t i = 0; i < clients.size(); i++) {
            if (i % 2 == 0) ensure(clients[i].receive(1 + i * 3000).size() == 1 + i * 3000);
            if (i % 3 == 0)
                clients[i].close();
            else
                clients[i].reset();
        }
    }
    CHECK(eventually([&] { return server->open() == 0; }));
    std::uint32_t users = 1;
    errands.run(Client{server.port()}, [&](HttpServer& self) { users = self.state()->own.file[0].users; });
    CHECK(users == 0);
    CHECK(server->broken() == 0);
}

TEST_CASE("A file that becomes shorter ends the connection, and one that is short from the begin gets 500", "[main]") {
    const Folder folder;
    const std::string content = random_text(8'000'000, 3);
    write_file(folder / "large", content);
    write_file(folder / "small", "content");
    Served server{application, {}, [&](HttpServer& self) {
                      self.add_file("/large", folder / "large");
                      self.add_file("/small", folder / "small");
                  }};
    Client client{server.port(), 4096};
    ensure(client.send(get("/large") + get("/small")));
    const std::string begin = client.receive(10'000);
    const File large(folder / "large", O_RDWR);
    large.truncate(7'000'000);
    const std::string all = begin + client.rest();
    const std::size_t head = all.find("\r\n\r\n") + 4;
    CHECK(all.find("Content-Length: 8000000\r\n") < head);
    CHECK(all.size() - head == 7'000'000);
    const bool prefix = content.starts_with(std::string_view(all).substr(head));
    CHECK(prefix);
    CHECK(server->broken() == 1);

    // Nothing was sent yet: the client may be told.
    File(folder / "small", O_RDWR).truncate(0);
    large.truncate(0);
    for (const std::string path : {"/small", "/large"}) {
        Client other{server.port()};
        const Response response = ask(other, get("/other") + get(path) + get("/other"));
        CHECK(response.body == "app /other");
        const Response refused = read(other);
        CHECK(refused.status == 500);
        CHECK(refused.has("Connection: close"));
        CHECK(other.rest().empty());
        CHECK(other.ended());
    }
    CHECK(server->broken() == 3);
    // HEAD and 304 need no byte of the file.
    CHECK(ask(Client{server.port()}, head_of("/small"), true).status == 200);
    // One that grew is sent as far as it was.
    large.write(Bytes(9'000'000, 'x'));
    CHECK(ask(Client{server.port()}, get("/large")).body == std::string(8'000'000, 'x'));
    server.stop();
    CHECK(server.counters().failed == 1);
}

TEST_CASE("A file can be replaced and removed while it is sent", "[main]") {
    const Folder folder;
    const std::string old = random_text(3'000'000, 1);
    write_file(folder / "file", old);
    HttpOptions options;
    options.files = 2;
    Errands errands;
    Served server{std::ref(errands), options, [&](HttpServer& self) { self.add_file("/file", folder / "file"); }};
    const Client worker{server.port()};
    const Client slow{server.port(), 4096};
    ensure(slow.send(get("/file") + get("/file")));
    CHECK(slow.receive(1) == "H");
    const std::string tag = field_of(ask(worker, head_of("/file"), true), "ETag");
    write_file(folder / "new", "new");
    ensure(::rename((folder / "new").c_str(), (folder / "file").c_str()) == 0);
    int error = -1;
    errands.run(worker, [&](HttpServer& self) {
        self.add_file("/file", folder / "file");
        // The old one still has its place.
        error = error_of([&] { self.add_file("/other", folder / "file"); });
    });
    CHECK(error == ENOSPC);
    CHECK(ask(worker, get("/file")).body == "new");
    CHECK(field_of(ask(worker, head_of("/file"), true), "ETag") != tag);
    const Response response = read(slow);
    const bool same = response.body == old;
    CHECK(same);
    CHECK(read(slow).body == "new");
    errands.run(worker, [&](HttpServer& self) {
        self.add_file("/other", folder / "file");
        ensure(self.files() == 2);
        // All places are taken, and a file that nobody gets is replaced nevertheless.
        self.add_file("/file", folder / "file", {.type = "text/x-other"});
        self.remove_file("/other");
        self.remove_file("/nowhere");
        ensure(self.files() == 1);
    });
    CHECK(field_of(ask(worker, get("/file")), "Content-Type") == "text/x-other");
    CHECK(ask(worker, get("/other")).body == "app /other");
    // Answers of the table go first.
    server->set_answer("/file", {.body = "answer"});
    CHECK(ask(worker, get("/file")).body == "answer");
    server->remove_answer("/file");
    CHECK(ask(worker, get("/file")).body == "new");
    errands.run(worker, [](HttpServer& self) { self.remove_file("/file"); });
    CHECK(ask(worker, get("/file")).body == "app /file");
}

TEST_CASE("Many files, and what cannot be added") {
    const Folder folder;
    write_file(folder / "file", "content");
    const std::string file = folder / "file";
    HttpOptions options;
    options.files = 300;
    const std::string longest = "/" + std::string(RINGSTEP_HTTP_FILE_PATH - 1, 'p');
    std::vector<std::string> alike;
    for (int i = 0; alike.size() <= RINGSTEP_HTTP_FILE_CHAIN; i++) {
        const std::string path = "/alike/" + std::to_string(i);
        if (ringstep_hash(path.data(), path.size(), 0) % RINGSTEP_HTTP_FILES == 5) alike.push_back(path);
    }
    Errands errands;
    Served server{std::ref(errands), options, [&](HttpServer& self) {
                      for (int i = 0; i < 200; i++) {
                          write_file(folder / std::to_string(i), std::to_string(i));
                          self.add_file("/" + std::to_string(i), folder / std::to_string(i));
                      }
                      self.add_file(longest, file);
                      for (std::size_t i = 0; i < RINGSTEP_HTTP_FILE_CHAIN; i++)
                          self.add_file(alike[i], folder / std::to_string(i));
                  }};
    const Client client{server.port()};
    for (int i = 0; i < 200; i += 3) CHECK(ask(client, get("/" + std::to_string(i))).body == std::to_string(i));
    for (std::size_t i = 0; i < RINGSTEP_HTTP_FILE_CHAIN; i++) CHECK(ask(client, get(alike[i])).body == std::to_string(i));
    CHECK(ask(client, get(longest)).body == "content");
    CHECK(ask(client, get(longest + "p")).status == 404);
    CHECK(ask(client, get(alike.back())).status == 404);

    std::vector<std::pair<std::string, int>> errors;
    errands.run(client, [&](HttpServer& self) {
        const auto tried = [&](const std::string& what, const std::function<void()>& work) {
            errors.emplace_back(what, error_of(work));
        };
        const HttpField split{.name = "A", .value = "b\r\nc: d"};
        const HttpField odd{.name = "A b", .value = "c"};
        const HttpField date{.name = "date", .value = "now"};
        const std::string much(500, 'x');
        const HttpField wide{.name = "A", .value = much};
        tried("ENOSPC", [&] { self.add_file(alike.back(), file); });
        tried("EINVAL", [&] { self.add_file("a", file); });
        tried("EINVAL", [&] { self.add_file("", file); });
        tried("EINVAL", [&] { self.add_file("/a?b", file); });
        tried("EINVAL", [&] { self.add_file("/a b", file); });
        tried("EINVAL", [&] { self.add_file("/\xc3\xa4", file); });
        tried("ENAMETOOLONG", [&] { self.add_file(longest + "p", file); });
        tried("EINVAL", [&] { self.add_file("/a", file, {.fields = {&split, 1}}); });
        tried("EINVAL", [&] { self.add_file("/a", file, {.fields = {&odd, 1}}); });
        tried("EINVAL", [&] { self.add_file("/a", file, {.fields = {&date, 1}}); });
        tried("EINVAL", [&] { self.add_file("/a", file, {.type = "a\nb"}); });
        tried("EMSGSIZE", [&] { self.add_file("/a", file, {.fields = {&wide, 1}}); });
        tried("ENOENT", [&] { self.add_file("/a", folder / "nothing"); });
        tried("EINVAL", [&] { self.add_file("/a", folder.path()); });
        tried("EBADF", [&] { self.add_file("/a", -1); });
        const File writes(file, O_WRONLY);
        tried("EBADF", [&] { self.add_file("/a", writes.fd()); });
        const File hurries(file, O_RDONLY | O_NONBLOCK);
        tried("EINVAL", [&] { self.add_file("/a", hurries.fd()); });
        ensure(::mkfifo((folder / "fifo").c_str(), 0600) == 0);
        tried("EINVAL", [&] { self.add_file("/a", folder / "fifo"); });
        // Whoever holds a lease may keep it for /proc/sys/fs/lease-break-time, which is 45 s. The kernel tells the holder by
        // SIGIO.
        const std::string leased = folder / "leased";
        const File holder(leased, O_RDWR | O_CREAT);
        auto* const before = std::signal(SIGIO, SIG_IGN);
        ensure(::fcntl(holder.fd(), F_SETLEASE, F_WRLCK) == 0);
        tried("EAGAIN", [&] { self.add_file("/a", leased); });
        ensure(::fcntl(holder.fd(), F_SETLEASE, F_UNLCK) == 0);
        (void)std::signal(SIGIO, before);
        ensure(self.files() == 265);
        for (int i = 265; i < 300; i++) self.add_file("/further/" + std::to_string(i), File(file, O_RDONLY).fd());
        tried("ENOSPC", [&] { self.add_file("/a", file); });
        self.remove_file("/further/270");
        self.add_file("/a", file);
    });
    const std::vector<std::pair<std::string, int>> numbers{{"ENOSPC", ENOSPC}, {"EINVAL", EINVAL},
                                                           {"EBADF", EBADF},   {"EMSGSIZE", EMSGSIZE},
                                                           {"ENOENT", ENOENT}, {"ENAMETOOLONG", ENAMETOOLONG},
                                                           {"EAGAIN", EAGAIN}};
    CHECK(errors.size() == 20);
    for (std::size_t i = 0; i < errors.size(); i++) {
        INFO(i << " " << errors[i].first);
        const auto is =
            std::find_if(numbers.begin(), numbers.end(), [&](const auto& it) { return it.first == errors[i].first; });
        CHECK(errors[i].second == is->second);
    }
    CHECK(error_of([&] { server->add_file("/b", file); }) != 0);  // from a thread that may not
    CHECK(ask(client, get("/further/299")).body == "content");
    CHECK(ask(client, get("/further/270")).status == 404);
    CHECK(ask(client, get("/a")).body == "content");
}

TEST_CASE("A folder is sent without what is hidden, and without links that lead out") {
    const Folder folder;
    const Folder outside;
    namespace fs = std::filesystem;
    write_file(outside / "secret", "secret");
    fs::create_directories(folder / "sub/deep er");
    fs::create_directories(folder / ".git");
    const std::vector<std::pair<std::string, std::string>> contents{
        {"index.html", "root"}, {"style.CSS", "style"},    {"sub/index.html", "sub"}, {"sub/deep er/a&b \xc3\xa4%.txt", "deep"},
        {".hidden", "hidden"},  {".git/config", "config"}, {"sub/plain", "plain"}};
    for (const auto& [name, content] : contents) write_file(folder / name, content);
    fs::create_symlink("../style.CSS", folder / "sub/link");
    fs::create_symlink(outside / "secret", folder / "out");
    fs::create_symlink("../" + fs::path(outside.path()).filename().string() + "/secret", folder / "out-too");
    fs::create_symlink(outside.path(), folder / "folder-out");
    fs::create_symlink(".", folder / "sub/round");
    fs::create_symlink("nowhere", folder / "dangling");
    ensure(::mkfifo((folder / "fifo").c_str(), 0600) == 0);
    ringstep::HttpFolderAdded added;
    ringstep::HttpFolderAdded all;
    int error = 0;
    Served server{application, {}, [&](HttpServer& self) {
                      added = self.add_folder("/", folder.path());
                      all = self.add_folder("/all/", folder.path() + "/", {.index = "", .hidden = true});
                      error = error_of([&] { self.add_folder("/", folder / "nothing"); });
                  }};
    CHECK(error == ENOENT);
    CHECK(added.files == 8);
    CHECK(added.left_out == std::vector<std::string>{"dangling", "fifo", "folder-out", "out", "out-too", "sub/round"});
    CHECK(all.files == 8);
    const Client client{server.port()};
    const auto body = [&](const std::string& path) { return ask(client, get(path)).body; };
    CHECK(body("/") == "root");
    CHECK(body("/index.html") == "root");
    CHECK(field_of(ask(client, get("/")), "Content-Type") == "text/html; charset=utf-8");
    CHECK(field_of(ask(client, get("/style.CSS")), "Content-Type") == "text/css; charset=utf-8");
    CHECK(body("/sub/") == "sub");
    CHECK(body("/sub/index.html") == "sub");
    CHECK(body("/sub/deep%20er/a&b%20%C3%A4%25.txt") == "deep");
    CHECK(body("/sub/link") == "style");
    CHECK(body("/sub/plain") == "plain");
    CHECK(body("/all/.git/config") == "config");
    CHECK(body("/all/index.html") == "root");
    for (const std::string path : {"/sub", "/all/", "/.hidden", "/.git/config", "/out", "/out-too", "/folder-out/secret",
                                   "/sub/round/plain", "/dangling", "/fifo", "/sub/../index.html", "//index.html"})
        CHECK(body(path) == "app " + path);
}

TEST_CASE("Answers have the date of the second in which they are made", "[main]") {
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

TEST_CASE("Peers that do not read a file keep no buffers that others need") {
    const Folder folder;
    write_file(folder / "large", random_text(8'000'000));
    HttpOptions options;
    options.server.starve = 200ms;
    Served server{application, options, [&](HttpServer& self) { self.add_file("/large", folder / "large"); }};
    // Each of them holds up to four buffers, and there are 512.
    std::vector<Client> clients;
    for (int i = 0; i < 140; i++) {
        clients.emplace_back(server.port(), 4096);
        ensure(clients.back().send(get("/large")));
    }
    const std::string further = get("/other");
    CHECK(eventually([&] {
        for (const Client& client : clients) (void)client.try_send(further);
        return server->counters().evicted > 0;
    }));
    const auto begin = std::chrono::steady_clock::now();
    const Client client{server.port()};
    CHECK(ask(client, get("/other")).body == "app /other");
    CHECK(std::chrono::steady_clock::now() - begin < 20s);
    clients.clear();
}
