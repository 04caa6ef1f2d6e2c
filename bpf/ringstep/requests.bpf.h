/* SPDX-License-Identifier: MIT */
/*
 * The loop's side of a table of requests (ringstep/c/blocks/requests.h). It is for loops that decide when to submit each request that the
 * application pushes. The step of a loop with a table of requests:
 *
 *	ringstep_requests_begin(state);
 *	ringstep_for_each_cqe(turn, cqe) {
 *		if (ringstep_request_completed(turn, state, cqe, &slot))
 *			ringstep_request_deliver(state, slot);
 *	}
 *	ringstep_while (… && ringstep_requests_receive(state, &slot, &mail))
 *		…				// puts the slot into a list, say
 *	ringstep_while (…)
 *		ringstep_request_submit(turn, state, slot);
 *	return ringstep_requests_end(turn, state, 1, false);
 *
 * These are macros, because each loop has its own state type, which must have the members of RINGSTEP_REQUESTS(). No request is ever
 * lost: each is with the application, waiting with the loop, or in flight. state->requests counts those waiting and those in flight.
 */
#ifndef RINGSTEP_REQUESTS_BPF_H
#define RINGSTEP_REQUESTS_BPF_H

#include <ringstep/c/blocks/requests.h>
#include <ringstep/cqe.bpf.h>
#include <ringstep/list.bpf.h>
#include <ringstep/mailbox.bpf.h>
#include <ringstep/prep.bpf.h>
#include <ringstep/sqe.bpf.h>

#ifndef ECANCELED
#define ECANCELED 125
#endif

/* The most messages to receive, or requests to submit, in one turn. The next turn, which follows at once, handles the rest. */
#define RINGSTEP_REQUESTS_BATCH_IN 64

/*
 * Returns how many requests to submit in this turn, at most RINGSTEP_REQUESTS_BATCH_IN. If each message may be submitted at once, it is
 * also the number of messages to receive. Call it after the walk over completions. Completions and new requests together must fill no
 * more than half the CQ, so it returns 0 if completions alone do. Otherwise requests that complete at once would overflow the CQ, which
 * costs more than all the rest of a request.
 */
static __always_inline __u32 ringstep_requests_room(struct ringstep_turn *turn)
{
	const __u32 half = (ringstep__geometry(turn).cq_mask >> 1) + 1;
	const __u32 ready = ringstep_cq_ready(turn);

	if (ready >= half)
		return 0;
	return half - ready < RINGSTEP_REQUESTS_BATCH_IN ? half - ready : RINGSTEP_REQUESTS_BATCH_IN;
}

/* The kinds of messages */
enum ringstep_mail {
	RINGSTEP_MAIL_NOTHING,	      /* nothing to do: the request to cancel has already completed */
	RINGSTEP_MAIL_REQUEST,	      /* a new request, which is now waiting */
	RINGSTEP_MAIL_CANCEL_WAITING, /* cancel a waiting request: remove it from its list, then call ringstep_request_refuse() */
	RINGSTEP_MAIL_CANCEL_IN_FLIGHT, /* cancel a request in flight: call ringstep_request_cancel() */
};

/* Begins a step: marks the loop as awake, so that senders do not wake it. */
#define ringstep_requests_begin(state) ringstep_mailbox_wake(&(state)->mailbox)

/* Changes the numbers of requests that wait and that are in flight, by RINGSTEP_REQUESTS_WAITING and RINGSTEP_REQUESTS_IN_FLIGHT. */
static __always_inline void ringstep__requests_count(struct ringstep_requests *requests, __u64 change)
{
	ringstep_store(&requests->counts, requests->counts + change);
}

/* Returns true if a message to cancel is about this use of a slot, and not an earlier one. */
static __always_inline bool ringstep__message_is_for(const __u64 *identity, __u32 message)
{
	return (ringstep_load(identity) >> RINGSTEP_IDENTITY_GENERATION_SHIFT & RINGSTEP_REQUEST_GENERATION) ==
	       (message >> RINGSTEP_REQUEST_GENERATION_SHIFT & RINGSTEP_REQUEST_GENERATION);
}

static __always_inline enum ringstep_mail ringstep__request_of_message(struct ringstep_requests *requests,
								       struct ringstep_request *request, __u32 message)
{
	__u32 phase;

	if (!(message & RINGSTEP_REQUEST_CANCEL)) {
		request->phase = RINGSTEP_REQUEST_WAITING;
		ringstep__requests_count(requests, RINGSTEP_REQUESTS_WAITING);
		return RINGSTEP_MAIL_REQUEST;
	}
	requests->attempted++;
	/*
	 * A slot that was given back may belong to the application again, which may fill it in during this turn. It writes the
	 * identity first and then the phase, so the loop reads them in the opposite order.
	 */
	phase = ringstep_load(&request->phase);
	if (!ringstep__message_is_for(&request->identity, message))
		return RINGSTEP_MAIL_NOTHING;
	if (phase == RINGSTEP_REQUEST_WAITING)
		return RINGSTEP_MAIL_CANCEL_WAITING;
	return phase == RINGSTEP_REQUEST_IN_FLIGHT ? RINGSTEP_MAIL_CANCEL_IN_FLIGHT : RINGSTEP_MAIL_NOTHING;
}

/*
 * Takes the next message and stores its slot in `slot` and its kind in `mail` (enum ringstep_mail). Returns false if there is none.
 *
 * Example:
 *	__s64 limit = ringstep_limit(ringstep_requests_room(turn));
 *
 *	ringstep_while_at_most (limit, ringstep_requests_receive(state, &slot, &mail)) {
 *		…
 *	}
 */
#define ringstep_requests_receive(state, slot, mail)                                                                           \
	({                                                                                                                     \
		__u32 ringstep__message = 0;                                                                                   \
		const bool ringstep__got = ringstep_mailbox_receive(&(state)->mailbox, (state)->inbox, &ringstep__message);    \
                                                                                                                               \
		if (ringstep__got) {                                                                                           \
			*(slot) = ringstep__message & RINGSTEP_REQUEST_SLOT & ringstep_mask((state)->slots);                   \
			*(mail) = ringstep__request_of_message(&(state)->requests, &(state)->slots[*(slot)].request,           \
							       ringstep__message);                                             \
		}                                                                                                              \
		ringstep__got;                                                                                                 \
	})

/* Fills in an SQE for a request. Returns the SQE, which the caller may change. */
static __always_inline struct io_uring_sqe *ringstep__request_fill_in(struct io_uring_sqe *sqe,
								      struct ringstep_request *request)
{
	ringstep_prep_copy(sqe, request->sqe, request->identity);
	request->phase = RINGSTEP_REQUEST_IN_FLIGHT;
	return sqe;
}

static __always_inline struct io_uring_sqe *
ringstep__request_submit(struct ringstep_turn *turn, struct ringstep_requests *requests, struct ringstep_request *request)
{
	ringstep__requests_count(requests, RINGSTEP_REQUESTS_IN_FLIGHT - RINGSTEP_REQUESTS_WAITING);
	return ringstep__request_fill_in(ringstep_get_sqe(turn), request);
}

/* Claims an SQE for a waiting request and fills it in. Returns the SQE, which the step may change until it is submitted. */
#define ringstep_request_submit(turn, state, slot)                                                                             \
	({                                                                                                                     \
		const __u32 ringstep__which = (slot) & ringstep_mask((state)->slots);                                          \
                                                                                                                               \
		ringstep__request_submit(turn, &(state)->requests, &(state)->slots[ringstep__which].request);                  \
	})

/*
 * Submits requests in the order of their messages, without letting them wait first, which costs less. `received` is a local variable of type
 * __u32. ringstep_requests_next() returns true if the next message is about a new request, and stores the request's slot in `slot`. The step may
 * look at slots[slot] and then either call ringstep_request_start(), or leave this message and all behind it to ringstep_requests_receive().
 * After the last one, call ringstep_requests_started(). Start no more requests than there is room for in the SQ.
 *
 * Example:
 *	__s64 limit = ringstep_limit(ringstep_sq_space_left(turn));
 *	__u32 received = ringstep_requests_received(state);
 *
 *	ringstep_while_at_most (limit, ringstep_requests_next(state, received, &slot))
 *		ringstep_request_start(turn, state, slot, received);
 *	ringstep_requests_started(state, received);
 */
#define ringstep_requests_received(state) ringstep__read_once(&(state)->mailbox.received)

/* Returns true if the next message is about a new request. See ringstep_requests_received(). */
#define ringstep_requests_next(state, at, slot)                                                                                \
	({                                                                                                                     \
		const __u64 ringstep__entry = ringstep_load(&(state)->inbox[(at) & ringstep_mask((state)->inbox)]);            \
                                                                                                                               \
		*(slot) = (__u32)(ringstep__entry >> 32) & RINGSTEP_REQUEST_SLOT & ringstep_mask((state)->slots);              \
		(__u32) ringstep__entry == (at) + 1 && !(ringstep__entry >> 32 & RINGSTEP_REQUEST_CANCEL);                     \
	})

/* Submits the request that ringstep_requests_next() has found. See ringstep_requests_received(). */
#define ringstep_request_start(turn, state, slot, at)                                                                          \
	({                                                                                                                     \
		(at)++;                                                                                                        \
		ringstep__request_fill_in(ringstep__claim(turn),                                                               \
					  &(state)->slots[(slot) & ringstep_mask((state)->slots)].request);                    \
	})

/* Counts the requests that were started. See ringstep_requests_received(). */
#define ringstep_requests_started(state, at)                                                                                   \
	do {                                                                                                                   \
		const __u32 ringstep__count = (at) - (state)->mailbox.received;                                                \
                                                                                                                               \
		(state)->mailbox.received = (at);                                                                              \
		ringstep__requests_count(&(state)->requests, ringstep__count *RINGSTEP_REQUESTS_IN_FLIGHT);                    \
	} while (0)

/* Submits a request again whose completion has arrived. The request stays in flight. Returns the SQE, like ringstep_request_submit(). */
#define ringstep_request_resubmit(turn, state, slot)                                                                           \
	({                                                                                                                     \
		ringstep__requests_count(&(state)->requests, RINGSTEP_REQUESTS_WAITING - RINGSTEP_REQUESTS_IN_FLIGHT);         \
		ringstep_request_submit(turn, state, slot);                                                                    \
	})

/*
 * Notes a completion that ends no request of the application's: of a timeout, of a request that cancels another one, or a stale one
 * (ringstep/c/identity.h). Returns false.
 */
static __always_inline bool ringstep__request_foreign(struct ringstep_requests *requests, __u64 user_data)
{
	if (ringstep_identity_is_of(user_data, requests->identity) &&
	    ringstep_identity_kind_of(user_data) != RINGSTEP_IDENTITY_REQUEST)
		requests->cancels--;
	else
		requests->foreign++;
	return false;
}

/*
 * Handles a completion of a request that is not simply in flight: the second one of a zero-copy send, or one that is not the request's. Returns
 * true if it ends the request.
 */
static __always_inline bool ringstep__request_odd(struct ringstep_requests *requests, struct ringstep_request *request,
						  const struct io_uring_cqe *cqe)
{
	if (cqe->user_data != request->identity || request->phase != RINGSTEP_REQUEST_NOTIFYING)
		return ringstep__request_foreign(requests, cqe->user_data);
	return !(cqe->flags & IORING_CQE_F_MORE);
}

/* The slot may belong to the application at the moment, so nothing but its identity and its phase is read before both are right. */
static __always_inline bool ringstep__request_completed(const struct ringstep_turn *turn, struct ringstep_requests *requests,
							struct ringstep_request *request, const struct io_uring_cqe *cqe)
{
	if (unlikely(cqe->user_data != request->identity) || unlikely(request->phase != RINGSTEP_REQUEST_IN_FLIGHT))
		return ringstep__request_odd(requests, request, cqe);
	request->result = cqe->res;
	request->flags = cqe->flags;
	if (turn->cqe_shift == 5) {
		request->extra[0] = cqe->big_cqe[0];
		request->extra[1] = cqe->big_cqe[1];
	}
	if (cqe->flags & IORING_CQE_F_MORE) {
		request->phase = RINGSTEP_REQUEST_NOTIFYING;
		return false;
	}
	return true;
}

/*
 * Returns true if a completion ends a request. Stores the request's slot in `slot`, and its result in
 * slots[slot].request.result and slots[slot].request.flags. The loop must then deliver the request or submit it again. Returns false for a completion of any other request, and
 * for the first of the two completions of a zero-copy send.
 */
#define ringstep_request_completed(turn, state, cqe, slot)                                                                     \
	({                                                                                                                     \
		*(slot) = (__u32)(cqe)->user_data & ringstep_mask((state)->slots);                                             \
		ringstep__request_completed(turn, &(state)->requests, &(state)->slots[*(slot)].request, cqe);                  \
	})

/* Delivers a completed request to the application. */
#define ringstep_request_deliver(state, slot)                                                                                  \
	do {                                                                                                                   \
		const __u32 ringstep__done = (slot) & ringstep_mask((state)->slots);                                           \
                                                                                                                               \
		(state)->slots[ringstep__done].request.phase = RINGSTEP_REQUEST_OUTSIDE;                                       \
		ringstep__requests_count(&(state)->requests, -RINGSTEP_REQUESTS_IN_FLIGHT);                                    \
		ringstep_mailbox_deliver(&(state)->mailbox, (state)->outbox, ringstep__done);                                  \
	} while (0)

/*
 * Delivers the completed requests of a walk together, which costs less than one by one. `delivered` is a local variable of type __u32. The
 * application sees the requests after ringstep_requests_deliver(), so the step must not return before that. In between, it must not call
 * anything else that delivers a request.
 *
 * Example:
 *	__u32 delivered = ringstep_requests_delivered(state);
 *
 *	ringstep_for_each_cqe(turn, cqe) {
 *		if (ringstep_request_completed(turn, state, cqe, &slot))
 *			ringstep_request_deliver_later(state, slot, delivered);
 *	}
 *	ringstep_requests_deliver(state, delivered);
 */
#define ringstep_requests_delivered(state) ringstep__read_once(&(state)->mailbox.delivered)

/* Puts a completed request where ringstep_requests_deliver() will find it. See ringstep_requests_delivered(). */
#define ringstep_request_deliver_later(state, slot, at)                                                                        \
	do {                                                                                                                   \
		const __u32 ringstep__done = (slot) & ringstep_mask((state)->slots);                                           \
                                                                                                                               \
		(state)->slots[ringstep__done].request.phase = RINGSTEP_REQUEST_OUTSIDE;                                       \
		(state)->outbox[(at) & ringstep_mask((state)->outbox)] = ringstep__done;                                       \
		(at)++;                                                                                                        \
	} while (0)

/* Delivers the requests that ringstep_request_deliver_later() has put there. See ringstep_requests_delivered(). */
#define ringstep_requests_deliver(state, at)                                                                                   \
	do {                                                                                                                   \
		const __u32 ringstep__count = (at) - (state)->mailbox.delivered;                                               \
                                                                                                                               \
		ringstep__requests_count(&(state)->requests, -(ringstep__count * RINGSTEP_REQUESTS_IN_FLIGHT));                \
		ringstep_store(&(state)->mailbox.delivered, (at));                                                             \
	} while (0)

/* Delivers a waiting request to the application with the result `error`, without submitting it. */
#define ringstep_request_refuse(state, slot, error)                                                                            \
	do {                                                                                                                   \
		const __u32 ringstep__refused = (slot) & ringstep_mask((state)->slots);                                        \
                                                                                                                               \
		(state)->slots[ringstep__refused].request.phase = RINGSTEP_REQUEST_OUTSIDE;                                    \
		(state)->slots[ringstep__refused].request.result = (error);                                                    \
		(state)->slots[ringstep__refused].request.flags = 0;                                                           \
		ringstep__requests_count(&(state)->requests, -RINGSTEP_REQUESTS_WAITING);                                      \
		ringstep_store(&(state)->requests.refused, (state)->requests.refused + 1);                                     \
		ringstep_mailbox_deliver(&(state)->mailbox, (state)->outbox, ringstep__refused);                               \
	} while (0)

static __always_inline void ringstep__request_cancel(struct ringstep_turn *turn, struct ringstep_requests *requests,
						     const struct ringstep_request *request)
{
	struct io_uring_sqe *sqe = ringstep_get_sqe(turn);

	ringstep_prep_cancel64(sqe, request->identity, 0);
	sqe->user_data = request->identity | ringstep_identity_of_part(RINGSTEP_IDENTITY_HELPER, 0);
	requests->cancels++;
}

/* Asks the kernel to cancel a request in flight, which then completes with -ECANCELED, or with its own result if it is too late. */
#define ringstep_request_cancel(turn, state, slot)                                                                             \
	do {                                                                                                                   \
		const __u32 ringstep__which = (slot) & ringstep_mask((state)->slots);                                          \
                                                                                                                               \
		ringstep__request_cancel(turn, &(state)->requests, &(state)->slots[ringstep__which].request);                  \
	} while (0)

/*
 * Ends a step: submits, then waits for `count` completions or for a message. Set `again` if the step has work left, so that the next turn
 * follows at once. It stops the loop if `batch` requests have been delivered and not taken, or if there is nothing to do and the
 * application has not set `stay` (struct ringstep_requests).
 */
#define ringstep_requests_end(turn, state, count, again) ringstep_requests_end_leaving(turn, state, count, again, false)

/*
 * Ends a step like ringstep_requests_end(). With `leaving`, the step has not received all messages, because the requests that they are about
 * must wait for requests in flight, and it does not follow at once for those. The step must have made sure that no attempt to cancel a request is
 * among them (ringstep_requests_has_cancel()), and that a request is in flight.
 */
#define ringstep_requests_end_leaving(turn, state, count, again, leaving)                                                      \
	ringstep__requests_end(turn, state, again, leaving, ringstep_submit_and_wait(turn, count))

/* Returns true if a message to cancel a request has arrived and was not received. */
#define ringstep_requests_has_cancel(state) (ringstep_load(&(state)->requests.attempts) != (state)->requests.attempted)

/*
 * Ends a step like ringstep_requests_end(), but waits no longer than until `deadline`. Include <ringstep/timer.bpf.h> to use it.
 *
 * Example: return ringstep_requests_end_until(turn, state, 1, false, state->next);
 */
#define ringstep_requests_end_until(turn, state, count, again, deadline)                                                       \
	ringstep__requests_end(turn, state, again, false, ringstep_submit_and_wait_until(turn, count, deadline))

#define ringstep__requests_end(turn, state, again, leaving, wait)                                                              \
	({                                                                                                                     \
		const __u32 ringstep__batch = ringstep_load(&(state)->requests.batch);                                         \
		int ringstep__end;                                                                                             \
                                                                                                                               \
		if (ringstep__batch && ringstep_mailbox_uncollected(&(state)->mailbox) >= ringstep__batch) {                   \
			ringstep_submit(turn);                                                                                 \
			ringstep__end = ringstep_stop(turn, RINGSTEP_REQUESTS_BATCH);                                          \
		} else if (again) {                                                                                            \
			ringstep__end = ringstep_submit_and_wait(turn, 0);                                                     \
		} else if (!ringstep__requests_sleep(state, leaving)) {                                                        \
			ringstep__end = ringstep_submit_and_wait(turn, 0);                                                     \
		} else if ((state)->requests.counts || (state)->requests.cancels || ringstep_load(&(state)->requests.stay)) {  \
			ringstep__end = wait;                                                                                  \
		} else {                                                                                                       \
			ringstep_submit(turn);                                                                                 \
			ringstep_mailbox_wake(&(state)->mailbox);                                                              \
			ringstep__end = ringstep_stop(turn, RINGSTEP_REQUESTS_IDLE);                                           \
		}                                                                                                              \
		ringstep__end;                                                                                                 \
	})

/*
 * Marks the loop as asleep, like ringstep_mailbox_sleep(). Returns true if it may wait. A loop that leaves messages is not marked: nobody needs to
 * wake it for one more of them. From the first time on, whoever cancels a request wakes the loop in any case.
 */
#define ringstep__requests_sleep(state, leaving)                                                                               \
	({                                                                                                                     \
		bool ringstep__may_wait;                                                                                       \
                                                                                                                               \
		if (!(leaving)) {                                                                                              \
			ringstep__may_wait = ringstep_mailbox_sleep(&(state)->mailbox, (state)->inbox);                        \
		} else {                                                                                                       \
			ringstep__may_wait = true;                                                                             \
			if (unlikely(!(state)->requests.leaves)) {                                                             \
				ringstep__store_fully(&(state)->requests.leaves, 1);                                           \
				ringstep__may_wait = !ringstep_requests_has_cancel(state);                                     \
			}                                                                                                      \
		}                                                                                                              \
		ringstep__may_wait;                                                                                            \
	})

#endif /* RINGSTEP_REQUESTS_BPF_H */
