// SPDX-License-Identifier: MIT
// The shortest complete program: a thousand requests, one after the other, in one system call.
#include <ringstep/format.hpp>
#include <ringstep/ringstep.hpp>

#include <fmt/format.h>

#include <ringstep/compiled/hello.hpp>  // the compiled loop; ringstep_add_loop() makes this from hello.bpf.c and hello.h

int main() try {
    ringstep::Ring ring;  // an io_uring
    ringstep::LoopProgram<ringstep::compiled::hello> program{
        ring};  // the loop on the ring: in the kernel if that can, else here

    program.state()->countdown = 1000;
    const ringstep::LoopExit exit = program.run();  // the system call

    fmt::print("{} requests completed. The loop {}.\n", program.state()->completed, exit);
    return exit.ok() ? 0 : 1;
} catch (const ringstep::Error& error) {
    fmt::print(stderr, "hello: {}\n", error);
    return 1;
}
