// SPDX-License-Identifier: MIT
// The version of the library.
#pragma once

/// The first number of the version. Before 1.0, releases are compatible only within one minor version.
#define RINGSTEP_VERSION_MAJOR 0
/// The second number of the version. See RINGSTEP_VERSION_MAJOR.
#define RINGSTEP_VERSION_MINOR 1
/// The third number of the version, which does not affect compatibility.
#define RINGSTEP_VERSION_PATCH 0

/// The library. The inline namespace separates two versions of the library if parts of one program were built with different
/// versions.
namespace ringstep::inline v0 {}
