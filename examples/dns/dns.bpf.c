// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * A small DNS server, which answers questions for addresses. One multishot recvmsg receives all datagrams. The step writes each answer over its question, in the
 * same buffer, and gives the buffer back to the kernel when the answer is sent. So no more answers are in flight than there are buffers. While all
 * buffers are in use, further datagrams wait in the socket.
 *
 * Anybody can send a datagram with somebody else's address as its sender. So no datagram that is an answer gets one, which could go back and forth for
 * ever. What is malformed gets 12 bytes or nothing. An answer is at most one record of 28 bytes longer than its question.
 */
#include <ringstep/loop.bpf.h>

#include <ringstep/bytes.bpf.h>
#include <ringstep/net/buffer_ring.bpf.h>

#include "dns.h"

/* user_data. A send has the number of its buffer. */
#define RECEIVE 0x10000
#define CANCEL 0x20000

#define MESSAGE ((__u32)offsetof(struct dns_datagram, id))
#define QUESTION ((__u32)sizeof(struct dns_datagram))
#define ADDRESS ((__u32)offsetof(struct dns_record, address))

/* Bits of the flags */
#define IS_ANSWER 0x80
#define OPCODE 0x78
#define AUTHORITATIVE 0x04
#define RECURSION_DESIRED 0x01

/* Codes of answers */
#define NO_ERROR 0
#define FORMAT_ERROR 1
#define NOT_IMPLEMENTED 4
#define REFUSED 5

#define TYPE_A 1
#define TYPE_AAAA 28
#define TYPE_OPT 41
#define TYPE_ANY 255
#define CLASS_INTERNET 1

#define LABELS 128 /* in a name, the last and empty one included */
#define LABEL 63   /* bytes of a label at most. Larger numbers are pointers, which a question has no use for */

#define OPT 11 /* bytes of an OPT record (EDNS) without options */

/* Returns the byte at any position of a buffer. */
static __always_inline __u32 byte_at(const __u8 *bytes, __u32 at)
{
	barrier_var(at); /* otherwise the compiler would leave out the mask after a comparison */
	return bytes[at & (DNS_BUFFER - 1)];
}

static __always_inline __u32 number_at(const __u8 *bytes, __u32 at)
{
	return byte_at(bytes, at) << 8 | byte_at(bytes, at + 1);
}

/* Returns the number of the entry with the name that lies between these positions of a buffer, or DNS_ENTRIES. */
ringstep_apart int find(struct dns *state ringstep_arg_nonnull, __u32 id, __u32 at, __u32 end)
{
	const __u8(*bytes)[DNS_BUFFER] = &state->buffers.bytes[id & ringstep_mask(state->buffers.bytes)];
	__u32 i;

	/* The case of letters does not count. With this bit, some other bytes have the same hash, too, but are told apart below. */
	ringstep_bytes_copy(state->name.bytes, 0, *bytes, at, end);
	bpf_for(i, 0, (end - at + 7) / 8)
		state->name.words[i & ringstep_mask(state->name.words)] |= 0x2020202020202020;
	ringstep_store(&state->hash, ringstep_bytes_hash(state->name.bytes, 0, end - at, state->seed));
	bpf_for(i, 0, DNS_PROBES) {
		const __u32 number = ((__u32)ringstep_load(&state->hash) + i) & (DNS_ENTRIES - 1);
		const struct dns_entry *entry = &state->entries[number];

		if (!entry->length)
			break;
		if (!ringstep_bytes_compare_nocase(entry->name, 0, entry->length, *bytes, at, end))
			return (int)number;
	}
	return DNS_ENTRIES;
}

/* Makes the answer to a question. `end` is the end of the question, and of the answer so far. Returns the new end. */
ringstep_apart int answer(struct dns *state ringstep_arg_nonnull, __u32 id, __u32 number, __u32 end)
{
	__u8(*bytes)[DNS_BUFFER] = &state->buffers.bytes[id & ringstep_mask(state->buffers.bytes)];
	struct dns_datagram *datagram = (struct dns_datagram *)*bytes;
	const struct dns_entry *entry = &state->entries[number & (DNS_ENTRIES - 1)];
	struct dns_record *record = &state->answer.record;
	const __u32 type = number_at(*bytes, end - 4);

	if (number == DNS_ENTRIES || number_at(*bytes, end - 2) != CLASS_INTERNET) {
		datagram->more_flags = REFUSED;
		state->counters.refused++;
		return (int)end;
	}
	datagram->flags |= AUTHORITATIVE;
	record->name = ringstep_network16(0xc000 | (QUESTION - MESSAGE));
	record->record_class = ringstep_network16(CLASS_INTERNET);
	record->ttl = entry->ttl;
	/* Who wants records of any type gets one: the answer should be short. */
	if (entry->has_ipv4 && (type == TYPE_A || type == TYPE_ANY)) {
		record->type = ringstep_network16(TYPE_A);
		record->length = ringstep_network16(4);
		ringstep_bytes_copy(state->answer.bytes, ADDRESS, entry->ipv4, 0, 4);
	} else if (entry->has_ipv6 && (type == TYPE_AAAA || type == TYPE_ANY)) {
		record->type = ringstep_network16(TYPE_AAAA);
		record->length = ringstep_network16(16);
		ringstep_bytes_copy(state->answer.bytes, ADDRESS, entry->ipv6, 0, 16);
	} else {
		state->counters.empty++;
		return (int)end;
	}
	state->counters.answered++;
	datagram->answers = ringstep_network16(1);
	return (int)ringstep_bytes_copy(*bytes, end, state->answer.bytes, 0, ADDRESS + ringstep_network16(record->length));
}

/* Looks at a datagram in a buffer, and makes the answer in its place. Returns where the answer ends in the buffer, or 0 if there is none. */
ringstep_apart int respond(struct dns *state ringstep_arg_nonnull, __u32 id, __u32 end)
{
	__u8(*bytes)[DNS_BUFFER] = &state->buffers.bytes[id & ringstep_mask(state->buffers.bytes)];
	struct dns_datagram *datagram = (struct dns_datagram *)*bytes;
	__u32 code = FORMAT_ERROR, additional, question_end, i;

	state->counters.received++;
	if (datagram->header.flags & RINGSTEP_MSG_TRUNC) {
		state->counters.truncated++;
		return 0;
	}
	if (end < QUESTION || end > DNS_BUFFER || !datagram->peer.port || datagram->flags & IS_ANSWER) {
		state->counters.ignored++;
		return 0;
	}
	additional = ringstep_network16(datagram->additional);
	if (datagram->flags & OPCODE) {
		code = NOT_IMPLEMENTED;
		goto refuse;
	}
	if (ringstep_network16(datagram->questions) != 1 || datagram->answers || datagram->authorities || additional > 1)
		goto refuse;

	/* The cursor is in the state: otherwise the verifier would follow each length of each label. */
	ringstep_store(&state->at, QUESTION);
	bpf_for(i, 0, LABELS) {
		const __u32 at = ringstep_load(&state->at);
		const __u32 label = byte_at(*bytes, at);

		if (at >= end || label > LABEL)
			goto refuse;
		ringstep_store(&state->at, at + 1 + label);
		if (!label)
			break;
	}
	/* A name that has no end is longer than this, or its last label would be behind the end. */
	question_end = ringstep_load(&state->at) + 4;
	if (question_end - 4 - QUESTION > DNS_NAME - 1 || question_end > end || byte_at(*bytes, question_end - 5))
		goto refuse;
	if (additional) {
		if (end - question_end < OPT || byte_at(*bytes, question_end) ||
		    number_at(*bytes, question_end + 1) != TYPE_OPT ||
		    end - question_end - OPT != number_at(*bytes, question_end + OPT - 2))
			goto refuse;
	} else if (question_end != end) {
		goto refuse;
	}

	/* There is one version of EDNS. A question by another one gets the code 16, whose upper bits are in the OPT record. */
	code = additional && byte_at(*bytes, question_end + 6);
	datagram->flags = IS_ANSWER | (datagram->flags & RECURSION_DESIRED);
	datagram->more_flags = NO_ERROR;
	end = question_end;
	if (code)
		state->counters.refused++;
	else
		end = (__u32)answer(state, id, (__u32)find(state, id, QUESTION, question_end - 4), question_end);
	if (additional) {
		/* The largest datagram that this server receives, the code, and no options. */
		for (i = 0; i < OPT; i++)
			(*bytes)[(end + i) & (DNS_BUFFER - 1)] = i == 2	  ? TYPE_OPT
								 : i == 3 ? (DNS_BUFFER - MESSAGE) >> 8
								 : i == 4 ? (DNS_BUFFER - MESSAGE) & 255
								 : i == 5 ? (__u8)code
									  : 0;
		end += OPT;
	}
	return (int)end;

refuse:
	state->counters.malformed++;
	datagram->flags = (__u8)(IS_ANSWER | (datagram->flags & (OPCODE | RECURSION_DESIRED)));
	datagram->more_flags = (__u8)code;
	datagram->questions = datagram->additional = datagram->answers = datagram->authorities = 0;
	return (int)QUESTION;
}

/* Submits the answer that is in a buffer. */
static __always_inline void send_answer(struct ringstep_turn *turn, struct dns *state, __u32 id, __u32 end)
{
	struct dns_send *send = &state->sends[id & ringstep_mask(state->sends)];
	const struct dns_datagram *datagram =
		(const struct dns_datagram *)state->buffers.bytes[id & ringstep_mask(state->buffers.bytes)];
	const __u32 name_length = datagram->header.name_length;
	struct io_uring_sqe *sqe = ringstep_get_sqe(turn);

	send->message.name_length = name_length < sizeof(datagram->peer) ? name_length : sizeof(datagram->peer);
	send->part.length = end - MESSAGE;
	ringstep_prep_sendmsg(sqe, state->socket, ringstep_address(turn, &send->message), 0);
	ringstep_sqe_set_data64(sqe, id);
	state->sending++;
}

static __always_inline void receive(struct ringstep_turn *turn, struct dns *state)
{
	struct io_uring_sqe *sqe = ringstep_get_sqe(turn);

	ringstep_prep_recvmsg_multishot(sqe, state->socket, ringstep_address(turn, &state->receive), 0);
	ringstep_buffer_ring_select(sqe, &state->buffers);
	ringstep_sqe_set_data64(sqe, RECEIVE);
	state->receiving = 1;
}

RINGSTEP_LOOP(dns, struct dns)
{
	struct io_uring_cqe *cqe;
	struct ringstep_slice slice;
	int end;

	ringstep_for_each_cqe_submitting(turn, cqe) {
		if (cqe->user_data == CANCEL) {
			state->cancelling = 0;
			continue;
		}
		if (cqe->user_data != RECEIVE) {
			slice.id = (__u32)cqe->user_data;
			state->sending--;
			state->counters.unsent += cqe->res < 0;
			ringstep_buffer_ring_give_back(&state->buffers, &slice);
			continue;
		}
		/* A receive also ends after a datagram without bytes. */
		if (!(cqe->flags & IORING_CQE_F_MORE)) {
			state->receiving = 0;
			if (cqe->res == -105 /* ENOBUFS */)
				state->counters.starved++;
			else if (cqe->res < 0 && cqe->res != -125 /* ECANCELED */)
				state->failed = cqe->res;
		}
		if (!ringstep_buffer_ring_take(&state->buffers, cqe, &slice))
			continue;
		end = respond(state, slice.id, slice.end);
		if (end > (int)MESSAGE)
			send_answer(turn, state, slice.id, (__u32)end);
		else
			ringstep_buffer_ring_give_back(&state->buffers, &slice);
	}

	if (!state->draining && !state->failed) {
		if (!state->receiving && ringstep_buffer_ring_available(&state->buffers))
			receive(turn, state);
		return ringstep_submit_and_wait(turn, 1);
	}
	if (state->receiving && !state->cancelled) {
		struct io_uring_sqe *sqe = ringstep_get_sqe(turn);

		ringstep_prep_cancel64(sqe, RECEIVE, 0);
		ringstep_sqe_set_data64(sqe, CANCEL);
		state->cancelled = state->cancelling = 1;
	}
	if (!state->receiving && !state->cancelling && !state->sending) {
		const __s32 failed = state->failed;

		/* The loop may run again. */
		state->draining = state->cancelled = 0;
		state->failed = 0;
		return ringstep_stop(turn, failed);
	}
	return ringstep_submit_and_wait(turn, 1);
}
