// SPDX-License-Identifier: MIT
// What most tests include. The sanitized builds compile it once for all of them. Tests still include what they use, because the
// other builds do without it.
#pragma once

#include <ringstep/ringstep.hpp>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>
