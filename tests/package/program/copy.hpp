// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>

/// Copies a file of that many bytes. Returns how many arrived.
std::uint64_t copy_between_memory_files(std::size_t size);
