// SPDX-License-Identifier: MIT
// The whole library except for the loops, which have a header each (ringstep/loops/), and the formatters (ringstep/format.hpp).
#pragma once

#include <ringstep/definition.hpp>
#include <ringstep/error.hpp>
#include <ringstep/exit.hpp>
#include <ringstep/options.hpp>
#include <ringstep/program.hpp>
#include <ringstep/queues.hpp>
#include <ringstep/region.hpp>
#include <ringstep/ring.hpp>
#include <ringstep/version.hpp>
