// SPDX-License-Identifier: MIT
// A key-value server whose commands are handled in the loop. Try it with `nc 127.0.0.1 6400`.
#include <ringstep/format.hpp>
#include <ringstep/net/listener.hpp>
#include <ringstep/net/server.hpp>
#include <ringstep/ringstep.hpp>
#include <ringstep/signals.hpp>

#include <ringstep/compiled/kv.hpp>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>

#include "../common/program.hpp"

int main(int argc, char** argv) {
    return program::run("key-value", [&] {
        const auto port = static_cast<std::uint16_t>(argc > 1 ? std::atoi(argv[1]) : 6400);
        ringstep::Ring ring{{.sq_entries = 256}};
        ringstep::ServerLoop<ringstep::loops::kv> server{ring};
        server.state()->own.seed = std::random_device{}();
        const ringstep::Listener listener{"127.0.0.1", port};
        server.listen(listener.fd());
        program::print("listening on 127.0.0.1, port {}\n", listener.port());
        (void)std::fflush(stdout);

        const ringstep::StopOnSignals signals{server};
        const ringstep::LoopExit exit = ringstep::serve(server);
        const ringstep_server_counters counters = server.counters();
        program::print("{} connections, {} commands, {} keys\n", counters.accepted, counters.frames, server.state()->own.keys);
        if (exit.ok()) return 0;
        program::print_error("{}\n", exit);
        return 1;
    });
}
