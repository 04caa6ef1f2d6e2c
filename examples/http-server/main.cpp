// SPDX-License-Identifier: MIT
// Notes by HTTP: PUT /notes/NAME stores one, GET /notes/NAME reads it, DELETE removes it. The loop answers GET by itself, from
// its table, and this program the rest. If there is a folder, the loop also sends the files in it. Try
// `http-server 8080 FOLDER` with `curl -T FILE http://127.0.0.1:8080/notes/mine` and `curl http://127.0.0.1:8080/NAME`.
#include <ringstep/format.hpp>
#include <ringstep/net/http.hpp>
#include <ringstep/net/listener.hpp>
#include <ringstep/ringstep.hpp>
#include <ringstep/signals.hpp>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "../common/program.hpp"

namespace {

void handle(ringstep::HttpServer& server, const ringstep::HttpRequest& request) {
    bool sent = false;
    if (!request.path.starts_with("/notes/")) {
        sent = server.respond(request, {.body = "Notes are at /notes/NAME.\n", .status = 404});
    } else if (request.method == "PUT") {
        try {
            server.set_answer(request.path,
                              {.body = request.body, .type = request.find("Content-Type").value_or("text/plain")});
            sent = server.respond(request, {.body = "stored\n", .status = 201});
        } catch (const ringstep::Error& error) {  // too long, or too many
            sent = server.respond(request, {.body = error.what(), .status = 507});
        }
    } else if (request.method == "DELETE") {
        server.remove_answer(request.path);
        sent = server.respond(request, {.type = {}, .status = 204});
    } else if (request.method == "GET" || request.method == "HEAD") {
        sent = server.respond(request, {.body = "There is no such note.\n", .status = 404});
    } else {
        const ringstep::HttpField allow{.name = "Allow", .value = "GET, HEAD, PUT, DELETE"};
        sent = server.respond(request, {.body = "Use GET, PUT or DELETE.\n", .status = 405, .fields = {&allow, 1}});
    }
    if (!sent) server.respond(request, {.status = 500});
}

}  // namespace

int main(int argc, char** argv) {
    return program::run("http-server", [&] {
        const auto port = static_cast<std::uint16_t>(argc > 1 ? std::atoi(argv[1]) : 8080);
        ringstep::Ring ring{{.sq_entries = 256}};
        ringstep::HttpServer server{ring};
        if (argc > 2) {
            const ringstep::HttpFolderAdded added = server.add_folder("/", argv[2]);
            for (const std::string& name : added.left_out) program::print("left out: {}\n", name);
            program::print("{} paths of files\n", added.files);
        }
        const ringstep::Listener listener{"127.0.0.1", port};
        server.listen(listener.fd());
        program::print("listening on 127.0.0.1, port {}\n", listener.port());
        (void)std::fflush(stdout);

        const ringstep::StopOnSignals signals{server};
        const ringstep::LoopExit exit =
            ringstep::serve(server, [&](const ringstep::HttpRequest& request) { handle(server, request); });
        program::print("{} connections, {} requests answered by the loop\n", server.counters().accepted, server.answered());
        if (exit.ok()) return 0;
        program::print_error("{}\n", exit);
        return 1;
    });
}
