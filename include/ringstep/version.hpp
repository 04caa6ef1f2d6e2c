// SPDX-License-Identifier: MIT
// The version of the library.
#pragma once

/// Before 1.0, releases are compatible only within one minor version.
#define RINGSTEP_VERSION_MAJOR 0
/// See RINGSTEP_VERSION_MAJOR.
#define RINGSTEP_VERSION_MINOR 1
/// Says nothing about compatibility.
#define RINGSTEP_VERSION_PATCH 0

/// The library. The inline namespace keeps two versions of the library apart when two parts of one program were built against
/// them.
namespace ringstep::inline v0 {}
