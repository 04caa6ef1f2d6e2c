// SPDX-License-Identifier: MIT
// A server without BPF to write: the loop accepts and cuts streams into frames, and the application answers them.
#pragma once

#include <ringstep/c/loops/frames.h>
#include <ringstep/error.hpp>
#include <ringstep/net/server.hpp>
#include <ringstep/options.hpp>
#include <ringstep/ring.hpp>

#include <ringstep/compiled/frames.hpp>

#include <cerrno>
#include <cstdint>
#include <string>

namespace ringstep::inline v0 {

namespace loops {

/// The loop behind the C++ class Server.
struct frames;

}  // namespace loops

/// How a Server cuts the bytes of a connection into frames.
class Framing {
public:
    /// Lines of up to `most` bytes that end with LF, or with CR LF. Frames have neither.
    [[nodiscard]] static Framing lines(std::uint32_t most) noexcept { return Framing(RINGSTEP_FRAMING_LINES, most); }
    /// Frames that have their length at `offset`, as a number of `width` bytes. It has its highest byte first if `network` is
    /// true. The frame has `added` bytes more than its length says. Frames are handed out with their length in front. A frame
    /// that is longer than `most` ends the connection.
    [[nodiscard]] static Framing length_prefix(std::uint32_t most, std::uint32_t offset, std::uint32_t width, bool network,
                                               std::uint32_t added) noexcept {
        Framing framing(RINGSTEP_FRAMING_PREFIX, most);
        framing.framing_.offset = offset;
        framing.framing_.width = width;
        framing.framing_.big = network ? 1 : 0;
        framing.framing_.added = added;
        return framing;
    }
    /// Frames of `size` bytes.
    [[nodiscard]] static Framing fixed(std::uint32_t size) noexcept { return Framing(RINGSTEP_FRAMING_FIXED, size); }

private:
    friend class Server;
    Framing(ringstep_framing_kind kind, std::uint32_t most) noexcept {
        framing_.kind = kind;
        framing_.most = most;
    }
    ringstep_framing framing_{};
};

/**
 * A server whose application gets whole frames and answers them, from any thread. The loop accepts connections, receives, cuts
 * the streams into frames, and sends the answers. It takes up to 1,024 connections, and frames of up to 4,096 bytes (lines:
 * 4,094). One frame of a connection is with the application at a time, so answers keep their order. See ServerLoop for its
 * calls.
 *
 * **Example**:
 *
 *     ringstep::Server server{ring, ringstep::Framing::lines(1024)};
 *     server.listen(listener.fd());
 *     ringstep::serve(server, [&](const ringstep::ServerEvent& event) {
 *         if (event.kind != ringstep::ServerEvent::Kind::frame) return;
 *         server.reply(event.connection, event.text());  // any thread may
 *         server.reply(event.connection, "\r\n");
 *         server.answer(event.connection);
 *     });
 */
class Server : public ServerLoop<loops::frames> {
public:
    /// Attaches the loop to a ring. Throws Error: EINVAL if frames could not be cut in this way, and the errors of ServerLoop.
    explicit Server(Ring& ring, const Framing& framing, const ServerOptions& options = {}, const LoopOptions& loop = {})
        : ServerLoop(ring, options, loop) {
        const ringstep_framing& is = framing.framing_;
        const std::uint32_t most = is.kind == RINGSTEP_FRAMING_LINES ? RINGSTEP_FRAMES_SIZE - 2 : RINGSTEP_FRAMES_SIZE;
        if (is.most == 0 || is.most > most)
            detail::raise(EINVAL, "setting up a server for frames of " + std::to_string(is.most) + " bytes",
                          "They have to have 1 to " + std::to_string(most) + ".");
        if (is.kind == RINGSTEP_FRAMING_PREFIX &&
            (is.width == 0 || is.width > 8 || is.offset > is.most - 1 || is.width > is.most - is.offset))
            detail::raise(EINVAL,
                          "setting up a server for frames with a length of " + std::to_string(is.width) + " bytes at offset " +
                              std::to_string(is.offset),
                          "A length has 1 to 8 bytes, and lies within the longest frame.");
        state()->server.framing = is;
    }
};

}  // namespace ringstep::inline v0
