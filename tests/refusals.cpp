// SPDX-License-Identifier: MIT
// What the kernel refuses, and what is said about it.
#include <ringstep/compiled/rejected.hpp>
#include <ringstep/compiled/rejected_branches.hpp>
#include <ringstep/compiled/rejected_late.hpp>
#include <ringstep/loops/nop_chain.hpp>
#include <ringstep/program.hpp>

#include "child.hpp"
#include "descriptors.hpp"
#include "error_of.hpp"
#include "loops/rejected.h"
#include "loops/scripted.hpp"

#include <catch2/catch_test_macros.hpp>

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

using ringstep::Error;
using ringstep::LoopProgram;
using ringstep::Ring;
using Nops = LoopProgram<ringstep::loops::nop_chain>;

namespace {

using rejected_loop = ringstep::loops::rejected;

bool says(std::string_view text, std::string_view word) { return text.find(word) != std::string_view::npos; }

/// Keeps only these capabilities, for this process and those after it.
bool keep_capabilities(std::uint64_t kept) {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct data[2]{};
    for (unsigned i = 0; i < 2; i++) data[i].effective = data[i].permitted = static_cast<__u32>(kept >> (32 * i));
    return ::syscall(SYS_capset, &header, data) == 0;
}

std::string load_and_run() {
    try {
        Ring ring;
        Nops program(ring);
        return program.run().ok() ? "ran" : "did not run";
    } catch (const Error& error) {
        return std::to_string(error.error_number()) + ": " + error.what();
    }
}

std::string load_with(std::uint64_t capabilities) {
    return in_child([&]() -> std::string {
               ringstep::forget_loaded_programs();  // so that it has to be loaded
               if (!keep_capabilities(capabilities)) return "capset failed";
               return load_and_run();
           })
        .out;
}

}  // namespace

TEST_CASE("A ring with SQPOLL") {
    Ring ring = descriptors::foreign_ring(IORING_SETUP_SQPOLL);
    const Error error = error_of([&] { Nops program(ring); });
    CHECK(error.error_number() == EOPNOTSUPP);
    CHECK(says(error.advice(), "SQPOLL"));
    CHECK_FALSE(ring.has_loop());
}

TEST_CASE("A ring with IOPOLL") {
    Ring ring = descriptors::foreign_ring(IORING_SETUP_IOPOLL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);
    const Error error = error_of([&] { Nops program(ring); });
    CHECK(error.error_number() == EOPNOTSUPP);
    CHECK(says(error.advice(), "IOPOLL"));
}

TEST_CASE("A ring without DEFER_TASKRUN") {
    Ring ring = descriptors::foreign_ring(IORING_SETUP_SINGLE_ISSUER);
    const Error error = error_of([&] { Nops program(ring); });
    CHECK(error.error_number() == EOPNOTSUPP);
    CHECK(says(error.advice(), "DEFER_TASKRUN"));
}

TEST_CASE("A ring adopted from liburing that has what it takes") {
    Ring ring = descriptors::foreign_ring(IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_NO_SQARRAY);
    Nops program(ring);
    program.state()->total = 100;
    program.state()->depth = 3;
    CHECK(program.run().ok());
}

TEST_CASE("A second loop on a ring") {
    Ring ring;
    Nops first(ring);
    const Error error = error_of([&] { Nops second(ring); });
    CHECK(error.error_number() == EBUSY);
    CHECK(says(error.advice(), "loop already"));
    first.state()->total = 3;
    first.state()->depth = 1;
    CHECK(first.run().ok());
}

TEST_CASE("A second loop on a ring, behind the library's back") {
    Ring ring;
    Nops first(ring);
    Ring same = Ring::adopt(ring.native(), [&] {
        io_uring_params params{};
        params.flags = ring.geometry().setup_flags;
        params.sq_entries = ring.geometry().sq_entries;
        params.cq_entries = ring.geometry().cq_entries;
        params.sq_off.head = ring.geometry().sq_head_offset;
        params.sq_off.tail = ring.geometry().sq_tail_offset;
        params.cq_off.head = ring.geometry().cq_head_offset;
        params.cq_off.tail = ring.geometry().cq_tail_offset;
        params.cq_off.cqes = ring.geometry().cqes_offset;
        return params;
    }());
    const ringstep::detail::LoopObject object{"nop_chain", ringstep::loops::nop_chain::object(), sizeof(ringstep_nop_chain)};
    ringstep_control same_control{};
    ringstep::detail::KernelEngine second(object, same.fd(), same.geometry(), 4096);
    const Error error = error_of(
        [&] { second.attach(ringstep::detail::RingAccess::core(same), same_control, ringstep::detail::Waker::instance()); });
    CHECK(error.error_number() == EBUSY);
    CHECK(says(error.advice(), "loop already"));
    (void)same.release();  // the ring is the first one's
}

TEST_CASE("A second attach of one program never reaches the kernel") {
    Ring ring;
    const ringstep::detail::LoopObject object{"nop_chain", ringstep::loops::nop_chain::object(), sizeof(ringstep_nop_chain)};
    ringstep_control control{};
    ringstep::detail::Waker& waker = ringstep::detail::Waker::instance();
    ringstep::detail::KernelEngine kernel(object, ring.fd(), ring.geometry(), 4096);
    kernel.attach(ringstep::detail::RingAccess::core(ring), control, waker);
    CHECK(error_of([&] { kernel.attach(ringstep::detail::RingAccess::core(ring), control, waker); }).error_number() == EBUSY);
    kernel.detach();
    const Error error = error_of([&] { kernel.attach(ringstep::detail::RingAccess::core(ring), control, waker); });
    CHECK(error.error_number() == EBUSY);
    CHECK(says(error.tried(), "second attach"));
    CHECK_FALSE(ring.has_loop());
}

TEST_CASE("A closed ring") {
    Ring ring;
    ring.close();
    CHECK(error_of([&] { Nops program(ring); }).error_number() == EBADF);
}

TEST_CASE("A program that the verifier rejects brings its log, and nothing is printed") {
    std::fflush(stderr);
    int pipe_fds[2];
    REQUIRE(::pipe(pipe_fds) == 0);
    const int before = ::dup(STDERR_FILENO);
    ::dup2(pipe_fds[1], STDERR_FILENO);
    Ring ring;
    const Error error = error_of([&] { LoopProgram<rejected_loop> program(ring); });
    std::fflush(stderr);
    ::dup2(before, STDERR_FILENO);
    ::close(before);
    ::close(pipe_fds[1]);
    char printed[16];
    CHECK(::read(pipe_fds[0], printed, sizeof printed) == 0);
    ::close(pipe_fds[0]);

    INFO(error.what());
    CHECK((error.error_number() == EACCES || error.error_number() == EINVAL));
    CHECK(says(error.tried(), "'rejected'"));
    CHECK(says(error.advice(), "verifier"));
    CHECK(says(error.verifier_log(), "unbounded"));
    CHECK(says(error.what(), "unbounded"));
    CHECK_FALSE(ring.has_loop());
}

TEST_CASE("A log that does not fit still tells a mistake from a program that is too large") {
    const ringstep::LoopOptions for_as_long_as_it_takes{.load_seconds =
                                                            0};  // kernels that look for their own mistakes are slow
    Ring ring;
    const Error mistake = error_of([&] { LoopProgram<ringstep::loops::rejected_late> program(ring, for_as_long_as_it_takes); });
    INFO(mistake.what());
    CHECK(mistake.error_number() == EINVAL);
    CHECK(says(mistake.verifier_log(), "unbounded"));
    CHECK(says(mistake.advice(), "only its end"));
    CHECK_FALSE(says(mistake.advice(), "too large"));
    const Error size =
        error_of([&] { LoopProgram<ringstep::loops::rejected_branches> program(ring, for_as_long_as_it_takes); });
    INFO(size.what());
    CHECK(size.error_number() == E2BIG);
    CHECK(says(size.verifier_log(), "too complex"));
    CHECK(says(size.advice(), "too large"));
}

TEST_CASE("Capabilities: none is not enough, CAP_BPF with CAP_PERFMON is") {
    constexpr std::uint64_t bpf = std::uint64_t{1} << CAP_BPF;
    constexpr std::uint64_t perfmon = std::uint64_t{1} << CAP_PERFMON;
    const std::string none = load_with(0);
    CHECK(says(none, "1: loading of loop 'nop_chain'"));
    CHECK(says(none, "CAP_BPF and CAP_PERFMON"));
    CHECK(says(load_with(bpf), "1: "));
    CHECK(says(load_with(perfmon), "1: "));
    CHECK(load_with(bpf | perfmon) == "ran");
    CHECK(load_with(std::uint64_t{1} << CAP_SYS_ADMIN) == "ran");
}

TEST_CASE("Capabilities: a program that the process has loaded takes CAP_BPF alone") {
    const auto next_with = [](std::uint64_t capabilities) {
        return in_child([&]() -> std::string {
                   Ring first;
                   const Nops loaded(first);
                   if (!keep_capabilities(capabilities)) return "capset failed";
                   return load_and_run();
               })
            .out;
    };
    CHECK(next_with(std::uint64_t{1} << CAP_BPF) == "ran");
    CHECK(says(next_with(0), "1: loading of loop 'nop_chain'"));
}

TEST_CASE("Capabilities may be dropped between attach and run") {
    CHECK(in_child([]() -> std::string {
              Ring ring;
              Nops program(ring);
              if (!keep_capabilities(0)) return "capset failed";
              program.state()->total = 1000;
              program.state()->depth = 8;
              return program.run().ok() ? "ran" : "did not run";
          }).out == "ran");
}

TEST_CASE("A fallback because too little memory may be locked says how much is needed, the limit, and how to raise it") {
    for (const char* const wanted : {"", "kernel"}) {
        const std::string said = in_child([&]() -> std::string {
                                     ::setenv("RINGSTEP_ENGINE", wanted, 1);  // NOLINT(concurrency-mt-unsafe)
                                     const rlimit limit{128 << 10, 128 << 10};
                                     if (::setrlimit(RLIMIT_MEMLOCK, &limit) != 0) return "no limit";
                                     if (!keep_capabilities(std::uint64_t{1} << CAP_BPF | std::uint64_t{1} << CAP_PERFMON))
                                         return "capset failed";
                                     try {
                                         Ring ring{{.sq_entries = 8}};
                                         LoopProgram<scripted_loop> program(ring);
                                         if (program.engine() != ringstep::Engine::user) return "took it";
                                         add_nops(program.state(), 3);
                                         program.state()->stop_at = 3;
                                         return program.run().ok() ? program.engine_reason() : "did not run";
                                     } catch (const Error& error) {
                                         return "threw " + std::to_string(error.error_number()) + ": " + error.what();
                                     }
                                 }).out;
        INFO(said);
        CHECK(said.starts_with("threw 12: ") == (std::string_view(wanted) == "kernel"));
        CHECK(says(said, "registration of a memory region"));
        const std::size_t size = (sizeof(ringstep_control) + sizeof(scripted) + 4095) / 4096 * 4096;
        CHECK(says(said, std::to_string(size) + " bytes"));
        CHECK(says(said, std::to_string(size / 1024) + " KiB"));
        CHECK(says(said, "(RLIMIT_MEMLOCK) is 128 KiB"));
        for (const char* const way : {"ulimit -l", "LimitMEMLOCK=", "CAP_IPC_LOCK"}) CHECK(says(said, way));
    }
}

TEST_CASE("An error in a kernel with loops is not taken for a kernel without") {
    CHECK(in_child([]() -> std::string {
              if (!keep_capabilities(0)) return "capset failed";
              ::unsetenv("RINGSTEP_ENGINE");  // NOLINT(concurrency-mt-unsafe)
              Ring ring;
              try {
                  const Nops program(ring, {.engine = ringstep::Engine::kernel});
              } catch (const ringstep::detail::NoLoops&) {
                  return "no loops";
              } catch (const Error&) {
                  return "refused";
              }
              return "attached";
          }).out == "refused");
}
