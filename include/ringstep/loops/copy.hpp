// SPDX-License-Identifier: MIT
#pragma once

#include <ringstep/compiled/copy.hpp>
#include <ringstep/program.hpp>

namespace ringstep::inline v0::loops {

/**
 * Copies a file with `depth` blocks in progress at once. Each block is read in full and then written; short reads and writes
 * are continued. This is the bare loop. FileCopy (ringstep/loops/copy_file.hpp) adds buffers, sparse files, O_DIRECT and
 * truncation.
 *
 * LoopExit::code is an `enum ringstep_copy_code`. The loop stops only when nothing is in flight any more. After a signal or a
 * stop request, run() continues the copy.
 *
 * Afterwards, truncate the destination to `state()->end`. It may be longer, if the source has shrunk, or if the destination was
 * longer before. With O_DIRECT on the output, first write the `state()->tail_size` bytes at `state()->tail` without O_DIRECT:
 * they are the last bytes before the end, and less than a sector.
 *
 * **Example**:
 *
 *     ringstep::LoopProgram<ringstep::loops::copy> copy{ring};
 *     copy.state()->input_fd = in;
 *     copy.state()->output_fd = out;
 *     copy.state()->depth = 32;
 *     copy.state()->block_size = 128 << 10;
 *     copy.state()->buffers = reinterpret_cast<std::uintptr_t>(buffers);    // 32 * 128 KiB
 *     copy.state()->extents[0] = {.offset = 0, .length = RINGSTEP_COPY_ENDLESS};
 *     copy.state()->extent_tail = 1;
 *     ringstep::LoopExit exit = copy.run();    // one system call, however large the file
 */
struct copy;

}  // namespace ringstep::inline v0::loops
