// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Runs linked chains of requests. Each request is submitted when the one before it has completed. If a request with a soft link fails,
 * the rest of its chain is cancelled. With a hard link, the next request is submitted regardless of the result.
 *
 * A chain arrives as one message about its first request. Each request has the slot of the next one in its options. A delivered slot may
 * be used again for another request, so the options must be read before the slot is delivered.
 *
 * A LINK_TIMEOUT is submitted together with its request, linked as the kernel requires, and has a completion of its own. The chain
 * continues from the request.
 *
 * An open end is a slot without a request. The application extends it: it fills the slot in and sends it as the first request of an
 * extension. The chain may reach the open end before or after that.
 *
 * The longest step: the loop takes 128 completions and 64 messages, submits 64 requests of the list `ready`, and refuses 1,024 of `severed`.
 * That makes 1,280 iterations, with 320 submits at most.
 */
#define RINGSTEP_CQE_BATCH 128
#include <ringstep/loop.bpf.h>
#include <ringstep/requests.bpf.h>
#include <ringstep/c/loops/link.h>

#ifndef ETIME
#define ETIME 62
#endif
#ifndef EBADF
#define EBADF 9
#endif

#define CANCELS 1024 /* requests of severed chains that are cancelled in one turn */

/* Options of a request whose completion needs more than the submission of the next one */
#define NEEDS_CARE (RINGSTEP_LINK_CONTINUES | RINGSTEP_LINK_TIMEOUT | RINGSTEP_LINK_BEFORE_OPEN | RINGSTEP_LINK_BEFORE_TIMED)

static __always_inline struct ringstep_request *request_at(struct ringstep_link *state, __u32 slot)
{
	return &state->slots[slot & ringstep_mask(state->slots)].request;
}

static __always_inline struct ringstep_link_request *link_at(struct ringstep_link *state, __u32 slot)
{
	return &state->slots[slot & ringstep_mask(state->slots)].own;
}

static __always_inline bool has_failed(const struct ringstep_link_request *link, __s64 result)
{
	const __s64 expected = link->expected;

	switch ((link->options & RINGSTEP_LINK_RULE) >> RINGSTEP_LINK_RULE_SHIFT) {
	case RINGSTEP_LINK_EXACTLY:
	case RINGSTEP_LINK_AT_LEAST:
		return result < expected;
	case RINGSTEP_LINK_SILENT:
		return result == -ECANCELED;
	case RINGSTEP_LINK_FILE:
		return result == -ECANCELED || result == -EBADF;
	case RINGSTEP_LINK_EXPIRES:
		return result < 0 && result != -ETIME;
	default:
		return result < 0;
	}
}

/* Refuses an open end, which does not count as waiting: the loop may end, and the open end may be extended before the next run. */
static __always_inline void refuse_open_end(struct ringstep_link *state, __u32 slot)
{
	ringstep__requests_count(&state->requests, RINGSTEP_REQUESTS_WAITING);
	ringstep_request_refuse(state, slot, -ECANCELED);
}

/* Notes that the chain has reached its open end. Returns true if the end was extended. Otherwise the chain waits there. */
static __always_inline bool reach_open_end(struct ringstep_link *state, __u32 slot, bool severed)
{
	struct ringstep_link_request *end = link_at(state, slot);

	if (end->marks & RINGSTEP_LINK_EXTENDED)
		return true;
	end->marks |= severed ? RINGSTEP_LINK_REACHED | RINGSTEP_LINK_SEVERED : RINGSTEP_LINK_REACHED;
	if (end->marks & RINGSTEP_LINK_CANCELLED)
		refuse_open_end(state, slot);
	return false;
}

/* Queues the request that follows one with these options, to be submitted, or to be cancelled if `severed`. */
static __always_inline void go_on(struct ringstep_link *state, __u32 options, bool severed)
{
	const __u32 next = options & RINGSTEP_LINK_NEXT;

	if (!next)
		return;
	if ((options & RINGSTEP_LINK_BEFORE_OPEN) && !reach_open_end(state, next - 1, severed))
		return;
	if (severed)
		ringstep_list_push_back(&state->severed, state->slots, next - 1);
	else
		ringstep_list_push_back(&state->ready, state->slots, next - 1);
}

/* Advances a request by the number of bytes transferred. Returns true if a rest is left to transfer. */
static __always_inline bool has_rest(struct ringstep_request *request, struct ringstep_link_request *link)
{
	struct io_uring_sqe *sqe = (struct io_uring_sqe *)request->sqe;
	const __s32 result = request->result;

	if (result > 0)
		link->done += (__u32)result;
	if (result > 0 && link->done < (__u32)link->expected && !(link->marks & RINGSTEP_LINK_CANCELLED)) {
		sqe->addr += (__u32)result;
		sqe->len -= (__u32)result;
		if (link->options & RINGSTEP_LINK_MOVES_OFFSET)
			sqe->off += (__u32)result;
		return true;
	}
	/* As in the kernel, the result is the number of bytes transferred. It is short if an error followed. */
	if (link->done)
		request->result = (__s32)link->done;
	return false;
}

/* Handles the completion of a request that needs care. It submits nothing, but puts requests into the list `ready`. */
static __noinline int completed_with_care(struct ringstep_link *state, __u32 slot)
{
	struct ringstep_request *request = request_at(state, slot);
	struct ringstep_link_request *link = link_at(state, slot);
	const __u32 options = link->options;
	bool severed;

	if ((options & RINGSTEP_LINK_CONTINUES) && has_rest(request, link)) {
		ringstep_store(&state->continued, state->continued + 1);
		ringstep__requests_count(&state->requests, RINGSTEP_REQUESTS_WAITING - RINGSTEP_REQUESTS_IN_FLIGHT);
		request->phase = RINGSTEP_REQUEST_WAITING;
		ringstep_list_push_back(&state->ready, state->slots, slot);
		return 0;
	}
	severed = !(options & RINGSTEP_LINK_HARD) && has_failed(link, request->result);
	ringstep_request_deliver(state, slot);
	if (!(options & RINGSTEP_LINK_TIMEOUT))
		go_on(state, options, severed);
	return 0;
}

static __always_inline bool is_cancelled(struct ringstep_link *state, __u32 slot)
{
	return link_at(state, slot)->marks & RINGSTEP_LINK_CANCELLED;
}

/* Handles a completion. `delivered`: see ringstep_request_deliver_later(). */
static __always_inline void completed(struct ringstep_turn *turn, struct ringstep_link *state, __u32 slot, __u32 *delivered)
{
	const struct ringstep_link_request *link = link_at(state, slot);
	const __u32 options = link->options;
	const __u32 next = options & RINGSTEP_LINK_NEXT;

	if (unlikely(options & NEEDS_CARE) || unlikely(request_at(state, slot)->result < link->expected) ||
	    (next && unlikely(is_cancelled(state, next - 1)))) {
		ringstep_requests_deliver(state, *delivered);
		completed_with_care(state, slot);
		*delivered = ringstep_requests_delivered(state);
		return;
	}
	ringstep_request_deliver_later(state, slot, *delivered);
	if (next)
		(void)ringstep_request_submit(turn, state, next - 1);
}

/* Receives the extension of an open end. */
static __noinline int receive_extension(struct ringstep_link *state, __u32 slot)
{
	struct ringstep_link_request *first = link_at(state, slot);

	if (first->marks & RINGSTEP_LINK_SEVERED)
		ringstep_list_push_back(&state->severed, state->slots, slot);
	else if (first->marks & RINGSTEP_LINK_REACHED)
		ringstep_list_push_back(&state->ready, state->slots, slot);
	first->marks |= RINGSTEP_LINK_EXTENDED;
	return 0;
}

/* Receives a chain, or the extension of an open end. */
static __always_inline void receive_chain(struct ringstep_turn *turn, struct ringstep_link *state, __u32 slot)
{
	const struct ringstep_link_request *first = link_at(state, slot);

	/* The message has counted one of the requests already. */
	ringstep__requests_count(&state->requests, first->count - 1);
	if (unlikely(first->options & RINGSTEP_LINK_EXTENDS))
		receive_extension(state, slot);
	else if (unlikely(first->options & RINGSTEP_LINK_TIMED))
		ringstep_list_push_back(&state->ready, state->slots, slot);
	else
		(void)ringstep_request_submit(turn, state, slot);
}

/* Receives chains whose first requests can be submitted at once, as long as there is nothing else to receive. Returns their number. */
static __always_inline __u32 receive_plain_chains(struct ringstep_turn *turn, struct ringstep_link *state, __u32 room)
{
	const __u32 space = ringstep__sq_room(turn);
	__u32 received = ringstep_requests_received(state);
	__s64 limit = ringstep_limit(room < space ? room : space);
	__u64 waiting = ringstep__unknown_zero();
	__u32 count, slot;

	ringstep_while_at_most (limit,
				ringstep_requests_next(state, received, &slot) &&
					!(link_at(state, slot)->options & (RINGSTEP_LINK_EXTENDS | RINGSTEP_LINK_TIMED))) {
		waiting += link_at(state, slot)->count - 1;
		(void)ringstep_request_start(turn, state, slot, received);
	}
	count = received - state->mailbox.received;
	ringstep_requests_started(state, received);
	ringstep__requests_count(&state->requests, waiting);
	return count;
}

static __always_inline void cancel_waiting(struct ringstep_link *state, __u32 slot)
{
	struct ringstep_link_request *link = link_at(state, slot);

	if ((link->marks & (RINGSTEP_LINK_OPEN | RINGSTEP_LINK_REACHED | RINGSTEP_LINK_EXTENDED)) ==
	    (RINGSTEP_LINK_OPEN | RINGSTEP_LINK_REACHED))
		refuse_open_end(state, slot);
	else
		link->marks |= RINGSTEP_LINK_CANCELLED;
}

/* Submits a ready request, with its LINK_TIMEOUT if it has one. The kernel needs both in one submission. */
static __always_inline void start(struct ringstep_turn *turn, struct ringstep_link *state, __u32 slot)
{
	const __u32 which = slot & ringstep_mask(state->slots);
	struct ringstep_link_request *link = link_at(state, which);
	const __u32 options = link->options;
	struct io_uring_sqe *sqe;

	if (link->marks & RINGSTEP_LINK_CANCELLED) {
		/* The LINK_TIMEOUT is refused with the request. If part of a transfer is done, its length is the request's result. */
		if (options & RINGSTEP_LINK_TIMED)
			ringstep_request_refuse(state, link->timeout - 1, -ECANCELED);
		ringstep_request_refuse(state, which, link->done ? (__s32)link->done : -ECANCELED);
		go_on(state, options, !(options & RINGSTEP_LINK_HARD));
		return;
	}
	if (options & RINGSTEP_LINK_TIMED)
		(void)ringstep_sq_reserve(turn, 2);
	sqe = ringstep_request_submit(turn, state, which);
	if (options & RINGSTEP_LINK_TIMED) {
		sqe->flags |= IOSQE_IO_LINK;
		(void)ringstep_request_submit(turn, state, link->timeout - 1);
	}
}

static __always_inline void cancel_rest(struct ringstep_link *state, __u32 slot)
{
	const struct ringstep_link_request *link = link_at(state, slot);
	const __u32 options = link->options;
	const __u32 timeout = link->timeout;

	ringstep_request_refuse(state, slot, -ECANCELED);
	if (options & RINGSTEP_LINK_TIMED)
		ringstep_request_refuse(state, timeout - 1, -ECANCELED);
	go_on(state, options, true);
}

RINGSTEP_LOOP(link, struct ringstep_link)
{
	__u32 delivered = ringstep_requests_delivered(state);
	__s64 messages, starts, cancels = ringstep_limit(CANCELS);
	struct io_uring_cqe *cqe;
	enum ringstep_mail mail;
	__u32 room, slot;

	ringstep_requests_begin(state);
	ringstep_for_each_cqe_submitting(turn, cqe) {
		if (ringstep_request_completed(turn, state, cqe, &slot))
			completed(turn, state, slot, &delivered);
	}
	ringstep_requests_deliver(state, delivered);

	room = ringstep_requests_room(turn);
	room -= receive_plain_chains(turn, state, room);
	messages = starts = ringstep_limit(room);
	ringstep_while_at_most (messages, ringstep_requests_receive(state, &slot, &mail)) {
		if (mail == RINGSTEP_MAIL_REQUEST) {
			receive_chain(turn, state, slot);
		} else if (mail == RINGSTEP_MAIL_CANCEL_WAITING) {
			cancel_waiting(state, slot);
		} else if (mail == RINGSTEP_MAIL_CANCEL_IN_FLIGHT) {
			link_at(state, slot)->marks |= RINGSTEP_LINK_CANCELLED;
			ringstep_request_cancel(turn, state, slot);
		}
	}

	ringstep_while_at_most (starts, state->ready.count)
		start(turn, state, ringstep_list_pop_front(&state->ready, state->slots));
	ringstep_while_at_most (cancels, state->severed.count)
		cancel_rest(state, ringstep_list_pop_front(&state->severed, state->slots));
	return ringstep_requests_end(turn, state, 1,
				     ringstep_limit_reached(messages) || ringstep_limit_reached(starts) ||
					     ringstep_limit_reached(cancels));
}
