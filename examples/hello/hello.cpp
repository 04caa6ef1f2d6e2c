// SPDX-License-Identifier: MIT
// The shortest complete program: a thousand requests, one after the other, in one system call.
#include <ringstep/format.hpp>
#include <ringstep/ringstep.hpp>

#include <fmt/format.h>

#include <cstdio>
#include <exception>

#include <ringstep/compiled/hello.hpp>  // the compiled loop; ringstep_add_loop() makes this from hello.bpf.c and hello.h

int main() try {
    ringstep::Ring ring;  // an io_uring
    ringstep::LoopProgram<ringstep::loops::hello> program{
        ring};  // the loop, attached to the ring: in the kernel if it can run loops, else in this process

    program.state()->countdown = 1000;
    const ringstep::LoopExit exit = program.run();  // the system call

    fmt::print("{} requests completed. The loop {}.\n", program.state()->completed, exit);
    if (std::fflush(stdout) != 0) {  // on a full disk, for example
        std::perror("hello: the output could not be written");
        return 4;
    }
    return exit.ok() ? 0 : 1;
} catch (const std::exception& error) {  // also ringstep::Error, which says what to do
    (void)std::fprintf(stderr, "hello: %s\n", error.what());
    return 1;
}
