// SPDX-License-Identifier: MIT
// A server for names and addresses, whose loop answers each datagram.
#pragma once

#include <ringstep/c/hash.h>
#include <ringstep/loops/loop_class.hpp>
#include <ringstep/net/buffer_ring.hpp>
#include <ringstep/net/serve.hpp>
#include <ringstep/ringstep.hpp>

#include <ringstep/compiled/dns.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <random>
#include <string>
#include <string_view>

/// Answers the questions that come to a UDP socket. The socket must outlive it. For serve().
class Responder : public ringstep::LoopClass<ringstep::loops::dns> {
public:
    /// Attaches the loop to a ring. Up to `buffers` datagrams are in the loop's hands at a time. Throws Error.
    Responder(ringstep::Ring& ring, int socket, std::uint32_t buffers = DNS_BUFFERS)
        : LoopClass(ring), buffers_(ring, state(), state()->buffers, {.buffers = buffers}) {
        state()->socket = socket;
        state()->seed = std::random_device{}();
        state()->receive.name_length = sizeof(ringstep_ipv6_address);  // one of IPv4 fits as well
        for (std::size_t i = 0; i < DNS_BUFFERS; i++) {
            dns_send& send = state()->sends[i];
            const auto buffer = reinterpret_cast<std::uintptr_t>(&state()->buffers.bytes[i]);
            send.message.name = buffer + offsetof(dns_datagram, peer);
            send.message.vectors = reinterpret_cast<std::uintptr_t>(&send.part);
            send.message.vector_count = 1;
            send.part.base = buffer + offsetof(dns_datagram, id);
        }
    }

    /// Adds a numeric IPv4 or IPv6 address to a name, which may have one of each. Call it while the loop does not run. Returns
    /// false if the name or the address is not one, or if there is no room.
    bool add(std::string_view name, const std::string& address, std::uint32_t seconds = 300) {
        const std::optional<std::string> encoded = encode(name);
        in_addr ipv4{};
        in6_addr ipv6{};
        const bool is_ipv4 = ::inet_pton(AF_INET, address.c_str(), &ipv4) == 1;
        if (!encoded || (!is_ipv4 && ::inet_pton(AF_INET6, address.c_str(), &ipv6) != 1)) return false;
        dns_entry* const entry = place_of(*encoded);
        if (entry == nullptr) return false;
        entry->length = static_cast<std::uint32_t>(encoded->size());
        std::memcpy(entry->name, encoded->data(), encoded->size());
        entry->ttl = htonl(seconds);
        (is_ipv4 ? entry->has_ipv4 : entry->has_ipv6) = 1;
        if (is_ipv4)
            std::memcpy(entry->ipv4, &ipv4, sizeof ipv4);
        else
            std::memcpy(entry->ipv6, &ipv6, sizeof ipv6);
        return true;
    }

    /// Makes the next run end when everything that was received is answered. Datagrams that are still in the socket stay there.
    /// There is no limit of time, because answers wait for nobody but the network device.
    void drain(ringstep::Duration /*limit*/) noexcept { state()->draining = 1; }

    /// Returns a name as it is in a message, or nullopt if it cannot be: labels, each behind its length, and a 0.
    [[nodiscard]] static std::optional<std::string> encode(std::string_view name) {
        std::string encoded;
        while (!name.empty()) {
            const std::string_view label = name.substr(0, name.find('.'));
            if (label.empty() || label.size() > 63) return std::nullopt;
            encoded += static_cast<char>(label.size());
            encoded += label;
            name.remove_prefix(label.size() < name.size() ? label.size() + 1 : label.size());
        }
        encoded += '\0';
        if (encoded.size() >= DNS_NAME) return std::nullopt;
        return encoded;
    }

private:
    // Returns the entry of this name, or a free one for it, or null.
    [[nodiscard]] dns_entry* place_of(const std::string& name) {
        std::string folded = name;
        for (char& byte : folded) byte = static_cast<char>(byte | 0x20);
        const std::uint64_t hash = ringstep_hash(folded.data(), folded.size(), state()->seed);
        for (std::uint64_t i = 0; i < DNS_PROBES; i++) {
            dns_entry& entry = state()->entries[(hash + i) % DNS_ENTRIES];
            if (entry.length == 0) return &entry;
            if (std::string_view(reinterpret_cast<const char*>(entry.name), entry.length) == name) return &entry;
        }
        return nullptr;
    }

    ringstep::BufferRing buffers_;
};
