// SPDX-License-Identifier: MIT
#pragma once

#include <ringstep/compiled/copy.hpp>
#include <ringstep/program.hpp>

namespace ringstep::inline v0::loops {

/**
 * Copies a file: `depth` blocks under way at once, each read in full and then written, short reads and writes continued. This
 * is the bare loop; FileCopy (ringstep/loops/copy_file.hpp) brings buffers, sparse files, O_DIRECT and truncation along.
 *
 * LoopExit::code is an `enum ringstep_copy_code`. The loop stops only when nothing is in flight any more; after a signal or a
 * stop request, run() goes on where it was. Afterwards truncate the destination to `state()->end`: it may hold more than the
 * source, if that has shrunk, or if the destination was longer before. With O_DIRECT on the output, first write the
 * `state()->tail_size` bytes at `state()->tail` in another way: they are the last ones before the end, and no whole sector.
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
struct copy : compiled::copy {};

}  // namespace ringstep::inline v0::loops
