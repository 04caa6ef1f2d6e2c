// SPDX-License-Identifier: MIT
// The shortest complete program: a thousand requests, one after the other, in one system call.
#include <ringstep/format.hpp>
#include <ringstep/ringstep.hpp>

#include <fmt/format.h>

#include "hello.h"                          // the state
#include <ringstep/skeletons/hello.skel.h>  // the compiled loop; ringstep_add_loop() makes this from hello.bpf.c

// Ties the two together for C++.
struct hello_loop {
    using state = hello;
    static constexpr std::string_view name = "hello";
    static std::span<const std::byte> object() { return ringstep::object_of<hello_bpf>(); }
};

int main() try {
    ringstep::Ring ring;                              // an io_uring
    ringstep::LoopProgram<hello_loop> program{ring};  // the loop, in the kernel and on the ring

    program.state()->countdown = 1000;
    const ringstep::LoopExit exit = program.run();  // the system call

    fmt::print("{} requests completed. The loop {}.\n", program.state()->completed, exit);
    return exit.ok() ? 0 : 1;
} catch (const ringstep::Error& error) {
    fmt::print(stderr, "hello: {}\n", error);
    return 1;
}
