// SPDX-License-Identifier: MIT
#include "copy.hpp"

#include <ringstep/format.hpp>
#include <ringstep/loops/copy_file.hpp>
#include <ringstep/loops/nop_chain.hpp>
#include <ringstep/ringstep.hpp>

#include <sys/mman.h>
#include <unistd.h>

std::uint64_t copy_between_memory_files(std::size_t size) {
    const int input = memfd_create("input", 0);
    const int output = memfd_create("output", 0);
    if (input < 0 || output < 0 || ftruncate(input, static_cast<off_t>(size)) != 0) return 0;
    ringstep::Ring ring;
    ringstep::FileCopy copy{ring, {.queue_depth = 4, .block_size = 16 << 10, .sparse = ringstep::SparseCopy::never}};
    const ringstep::CopyResult result = copy.run(input, output);
    close(input);
    close(output);
    return result.ok() ? result.bytes : 0;
}
