// SPDX-License-Identifier: MIT
// States of servers and proxies in the middle of their work, for tests with hostile memory.
#pragma once

#include <ringstep/c/hash.h>
#include <ringstep/c/identity.h>
#include <ringstep/net/frames.hpp>
#include <ringstep/net/http.hpp>
#include <ringstep/net/proxy.hpp>

#include <cstdint>
#include <cstring>
#include <string>

inline constexpr std::uint32_t server_connections = 48;

/// Connections that have received something, and requests of all kinds in flight.
template <class Server>
inline void fill_in_server(Server& state) {
    state.server.identity = ringstep_identity_of_loop(7);
    state.server.listener = 0;
    state.server.limits = {.idle = 3'000'000, .read = 1'000'000, .write = 1'000'000, .linger = 1'000'000, .starve = 1'000'000};
    state.buffers.ring.available = 500;
    state.server.open = server_connections;
    for (std::uint32_t i = 0; i < server_connections; i++) {
        ringstep_connection& link = state.connections[i].link;
        link = {};
        link.generation = 1;
        link.identity = state.server.identity | ringstep_identity_of_slot(i, 1);
        link.flags = RINGSTEP_CONNECTION_READY;
        link.in_flight = i % 4;
        link.out_end = i * 300;
        link.held = 1;
        link.held_first = link.held_last = i + 1;
        link.ready = {.next = i + 1 < server_connections ? i + 2 : 0, .previous = i};
        state.held[i] = {.next = i % 5 == 0 ? i + 1 : 0, .at = 0, .end = sizeof state.buffers.bytes[i], .__reserved = 0};
    }
    state.server.ready = {.first = 1, .last = server_connections, .count = server_connections};
}

/// Lines.
inline void fill_in_frames(ringstep_frames& frames) {
    fill_in_server(frames);
    frames.server.framing.most = 200;
    for (std::uint32_t i = 0; i < server_connections; i++) {
        std::memset(frames.buffers.bytes[i], 'a', RINGSTEP_FRAMES_SIZE);
        for (std::uint32_t at = i; i % 3 == 0 && at < RINGSTEP_FRAMES_SIZE; at += 60) frames.buffers.bytes[i][at] = '\n';
    }
}

/// Requests of several kinds, and answers for their paths.
inline void fill_in_http(ringstep_http& http) {
    fill_in_server(http);
    http.own.longest_body = ~std::uint64_t{0};
    http.own.reach = RINGSTEP_HTTP_ANSWERS;
    for (ringstep_http_answer& answer : http.own.answers) {
        answer.version = 1;
        answer.hash = ringstep_hash("/a", 2, 0);
        answer.path_length = 2;
        answer.path[0] = '/';
        answer.path[1] = 'b';
        answer.size[0] = answer.size[1] = {.head = 40, .length = RINGSTEP_HTTP_ANSWER};
    }
    std::memcpy(http.own.answers[RINGSTEP_HTTP_ANSWERS - 1].path, "/a", 2);
    // The file for "/c" is the last one of a long chain.
    http.own.files = RINGSTEP_HTTP_FILES;
    http.own.dates = 1;
    std::memset(http.own.names, 'n', sizeof http.own.names);
    const std::uint64_t hash = ringstep_hash("/c", 2, 0);
    http.own.paths[hash % RINGSTEP_HTTP_FILES] = 1;
    for (std::uint32_t i = 0; i < RINGSTEP_HTTP_FILES; i++) {
        ringstep_http_file& file = http.own.file[i];
        file = {};
        file.hash = hash;
        file.size = 100'000;
        file.next = i + 1 < RINGSTEP_HTTP_FILE_CHAIN ? i + 2 : 0;
        file.path_length = 2;
        file.path[0] = '/';
        file.path[1] = i + 1 < RINGSTEP_HTTP_FILE_CHAIN ? 'd' : 'c';
        file.tag_end = 3;
        file.modified_end = file.common = file.text_length = RINGSTEP_HTTP_FILE_TEXT;
        std::memcpy(file.text, "\"t\"", 3);
    }
    for (std::uint32_t i = 0; i < server_connections; i++) {
        std::string text;
        const std::string spaces(i % 3 == 0 ? 110 : 1, ' ');
        const std::string request =
            i % 4 == 0 ? "GET /a HTTP/1.1\r\nHost: a\r\n" : "POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n";
        const std::string zeroes(i * 20, '0');
        const std::string of_file = "GET /c HTTP/1.1\r\nHost: a\r\nIf-None-Match: \"a\", \"" + spaces +
                                    "\"\r\nRange: bytes=" + zeroes + "1-\r\nIf-Match: \"t\"\r\n\r\n";
        while (i % 8 == 4 && text.size() < RINGSTEP_HTTP_SIZE) text += of_file;
        while (text.size() < RINGSTEP_HTTP_SIZE) {
            text += request;
            for (std::uint32_t field = 0; field < i; field++) text += "Connection:" + spaces + "a_b,c" + spaces + "\r\n";
            text += "\r\n";
            for (int chunk = 0; i % 4 != 0 && chunk < 400; chunk++) text += "1\r\na\r\n";
            if (i % 4 != 0) text += "0\r\n\r\n";
        }
        std::memcpy(http.buffers.bytes[i], text.data(), RINGSTEP_HTTP_SIZE);
        if (i % 8 != 1) continue;
        // A file is being sent on this connection. On every second one of these, a read is in flight.
        http.connections[i].link.flags |= RINGSTEP_CONNECTION_LATER;
        http.connections[i].link.in_flight |= i % 16 == 1 ? 1U << RINGSTEP_CONNECTION_READ : 0;
        http.connections[i].own.transfer = {.offset = i,
                                            .left = 100'000,
                                            .file = i + 1,
                                            .at = i,
                                            .flags = i % 3 == 0 ? static_cast<__u32>(RINGSTEP_HTTP_TRANSFER_BEGUN) : 0U,
                                            .range = 0,
                                            .number = i,
                                            .__reserved = 0};
    }
}

/// Clients in all phases, with requests of all kinds in flight, and upstreams of which some are left out.
inline void fill_in_proxy(ringstep_proxy& proxy) {
    constexpr std::uint32_t clients = 48;
    proxy.identity = ringstep_identity_of_loop(7);
    proxy.listener = 0;
    proxy.balance = static_cast<std::uint32_t>(proxy.counters.accepted % 3);
    proxy.attempts = 20;
    proxy.failures = 2;
    proxy.most = RINGSTEP_PROXY_CONNECTIONS;
    proxy.header = 1;
    proxy.prompt = 1;
    proxy.connect_time = proxy.idle_time = proxy.out_time = 1'000'000;
    proxy.upstream_count = RINGSTEP_PROXY_UPSTREAMS;
    proxy.open = clients;
    proxy.drain = 0;
    for (std::uint32_t i = 0; i < clients; i++) {
        ringstep_proxy_pair& pair = proxy.pairs[i];
        pair = {};
        pair.generation = 1;
        pair.identity = proxy.identity | ringstep_identity_of_slot(i, 1);
        pair.in_flight = 1U << i % 15;
        pair.flags = i % 2 == 0 ? RINGSTEP_PROXY_CONNECTED | RINGSTEP_PROXY_MADE : 0;
        pair.upstream = i % RINGSTEP_PROXY_UPSTREAMS + 1;
        pair.halves[i % 2].end = i * 300;
        pair.halves[0].eof = i % 3 == 0 ? 1 : 0;
    }
}
