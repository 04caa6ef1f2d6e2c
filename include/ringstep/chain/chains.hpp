// SPDX-License-Identifier: MIT
// Runs graphs of requests, hundreds at once.
#pragma once

#include <ringstep/chain/chains_class.hpp>
#include <ringstep/loops/chain.hpp>

namespace ringstep::inline v0::chain {

/// Runs up to 512 chains at once (RINGSTEP_CHAIN_INSTANCES), of up to 16 graphs (RINGSTEP_CHAIN_GRAPHS). Its state takes 1.0
/// MiB of locked memory. See ChainsClass for everything that it does.
class Chains : public ChainsClass<loops::chain> {
public:
    using ChainsClass::ChainsClass;
};

}  // namespace ringstep::inline v0::chain
