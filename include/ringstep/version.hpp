// SPDX-License-Identifier: MIT
#pragma once

#define RINGSTEP_VERSION_MAJOR 0
#define RINGSTEP_VERSION_MINOR 1
#define RINGSTEP_VERSION_PATCH 0

// The inline namespace keeps two versions of the library apart when two parts of one program were built against them.
namespace ringstep::inline v0 {}
