#pragma once

#include <ringstep/chain/graph.hpp>

ringstep::chain::Graph two_nops();
