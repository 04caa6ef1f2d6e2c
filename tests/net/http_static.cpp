// SPDX-License-Identifier: MIT
// HTTP servers that send files from the loop: their bytes, their order, and what may happen to a file or to a client meanwhile.
#include <ringstep/error.hpp>

#include <catch2/catch_test_macros.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
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
#include "net/http_files.hpp"
#include "net/http_served.hpp"

using namespace http_test;

namespace {

/// Lets a test run work on the thread of its server, which does it when it handles a request for /do.
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

/// Runs work, and returns the errno of the ringstep::Error that it throws, or 0 if it throws none. Unlike error_of(), it may
/// run on the thread of a server, because it has no assertion of Catch2.
int errno_of(const std::function<void()>& work) {
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
    Served server{application, {}, [&](HttpServer& self) { self.add_file("/file", folder / "file"); }, 60s};
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
    // A client that begins to read only when the server is stopping still gets the whole file.
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
        error = errno_of([&] { self.add_file("/other", folder / "file"); });
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
            errors.emplace_back(what, errno_of(work));
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
    CHECK(errno_of([&] { server->add_file("/b", file); }) != 0);  // from a thread that may not
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
                      error = errno_of([&] { self.add_folder("/", folder / "nothing"); });
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
