// SPDX-License-Identifier: MIT
// All of the library but the loops, which are a header each (ringstep/loops/), and the formatters (ringstep/format.hpp).
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
