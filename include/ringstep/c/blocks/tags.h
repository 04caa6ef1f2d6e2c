/* SPDX-License-Identifier: MIT */
/*
 * The upper bits of the user_data of each request that a prebuilt loop makes: they say what kind of loop it was made by. The epoch
 * follows, which says which of the loops that the ring has had. A loop takes a completion for its own only if both are right.
 *
 * No other part of the library may use user_data that begins with one of these numbers. The kit's own requests carry addresses, which
 * are smaller than all of them. An application that submits requests of its own beside a loop must keep away from them, too.
 */
#ifndef RINGSTEP_BLOCKS_TAGS_H
#define RINGSTEP_BLOCKS_TAGS_H

#define RINGSTEP_TAG_REQUEST 0x5251U /* 16 bits; then epoch 16, generation 16, slot 16: a request of blocks/requests.h */
#define RINGSTEP_TAG_CANCEL 0x5243U  /* 16 bits; then 32 zeroes, epoch 16: an attempt to cancel one */
#define RINGSTEP_TAG_COPY 0x5246U    /* 16 bits; then epoch 16, and what loops/copy.h says */
#define RINGSTEP_TAG_CHAIN 0xc4U     /* 8 bits; then epoch 16, and what bpf/loops/chain.bpf.c says */

#endif /* RINGSTEP_BLOCKS_TAGS_H */
