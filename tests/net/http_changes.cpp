// SPDX-License-Identifier: MIT
// Answers that are changed while the loop copies them. ThreadSanitizer cannot see that the loop throws away what it has read
// meanwhile, so this file is not among its tests.
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <memory>
#include <random>
#include <stop_token>
#include <string>
#include <thread>

#include "net/client.hpp"
#include "net/http_served.hpp"

using namespace http_test;

TEST_CASE("An answer that is changed while the loop sends it is old or new, and never both") {
    Served server{[](HttpServer&, const HttpRequest&) {}};
    server->set_answer("/", {.body = std::string(8000, 'a')});
    auto& answers = server->state()->own.answers;
    ringstep_http_answer* const answer =
        std::find_if(std::begin(answers), std::end(answers), [](const auto& is) { return is.version != 0; });
    const std::uint32_t head = answer->size[1].head;
    std::memcpy(answer->bytes[0], answer->bytes[1], head);
    // Does what set_answer() does, twice within the time that a copy takes, and pauses.
    std::jthread writer([&](const std::stop_token& token) {
        const std::atomic_ref version(answer->version);
        std::mt19937 random{1};
        for (std::uint32_t next = 2; !token.stop_requested(); next++) {
            std::atomic_thread_fence(std::memory_order_seq_cst);
            std::memset(answer->bytes[next & 1U] + head, static_cast<int>('a' + next % 26), 8000);
            answer->size[next & 1U] = {.head = head, .length = head + 8000};
            version.store(next, std::memory_order_release);
            if (next % 3 != 0) continue;
            const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(random() % 40);
            while (std::chrono::steady_clock::now() < until) {
            }
        }
    });
    auto client = std::make_unique<Client>(server.port());
    int whole = 0;
    int refused = 0;
    for (int i = 0; i < 1000; i++) {
        const Response response = ask(*client, get("/"));
        if (response.status == 503) {  // it was changed too often meanwhile, and the connection is closed
            refused++;
            client = std::make_unique<Client>(server.port());
        } else if (response.body.size() == 8000 && response.body.find_first_not_of(response.body[0]) == std::string::npos) {
            whole++;
        }
    }
    INFO(whole << " whole, " << refused << " refused");
    CHECK(whole > 0);
    CHECK(whole + refused == 1000);
}
