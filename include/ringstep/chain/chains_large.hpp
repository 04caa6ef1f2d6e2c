// SPDX-License-Identifier: MIT
// Runs graphs of requests, thousands at once.
#pragma once

#include <ringstep/chain/chains_class.hpp>
#include <ringstep/loops/chain_large.hpp>

namespace ringstep::inline v0::chain {

/// Runs up to 4,096 chains at once (RINGSTEP_CHAIN_LARGE_INSTANCES), of up to 64 graphs (RINGSTEP_CHAIN_LARGE_GRAPHS). Its
/// state takes 7.2 MiB of locked memory, nearly all that processes without privileges may lock (RLIMIT_MEMLOCK, 8 MiB by
/// default). See ChainsClass for everything that it does.
class LargeChains : public ChainsClass<loops::chain_large> {
public:
    using ChainsClass::ChainsClass;
};

}  // namespace ringstep::inline v0::chain
