/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Keeps up to `depth` requests in flight and queues the rest. The next request is always the first one, by class and then by arrival,
 * whose file is below its limit. The loop reads all messages before it submits anything from its queues, so requests pushed together are
 * ordered together.
 *
 * A request that reaches the front of its class while its file is at the limit is parked with the file, so that it does not hold up
 * others. When a place becomes free in the file, the first request parked there becomes loose. It joins the loose requests of its class,
 * all of which arrived before the requests in the class's queue. Only as many requests become loose as there are places. So the queues of
 * loose requests are short, and inserting into them in order of arrival takes few steps.
 *
 * Most gates have requests of the highest class only, and no limit for files. Such requests do not pass through queues: they go from their
 * messages to the kernel, in the order in which the queues would release them (gate_goes_straight()).
 *
 * The longest step: the loop takes 32 completions and 1,024 messages, and submits 64 requests. Each link that it follows counts as a message,
 * and 16 parked requests or links count as one submission. If links lead in a circle, the loop follows up to four times as many of them as there
 * are requests before it notices. That makes 10,272 iterations of gate and 67,616 of gate_large, with 1,088 submits at most.
 *
 * The step of the loops gate and gate_large. The file that includes this one defines GATE, which is the name of its state.
 */
#ifndef GATE_STEP_BPF_H
#define GATE_STEP_BPF_H
#include <ringstep/loop.bpf.h>
#include <ringstep/c/loops/gate.h>
#include <ringstep/requests.bpf.h>
#include <ringstep/table.bpf.h>

#define GATE_WORK 1024	   /* messages received in one turn, and links followed for them */
#define GATE_SUBMISSION 16 /* what a submission takes from the room of a turn; a parked request or a link takes 1 */
#define GATE_REQUESTS ((__u32)(sizeof(((struct GATE *)0)->files) / sizeof(struct ringstep_gate_file)))
#define GATE_FILE (GATE_REQUESTS - 1)
#define GATE_CLASS (RINGSTEP_GATE_CLASSES - 1)

/*
 * Returns the number of the lowest set bit of eight, without branches. The products of the eight powers of two and 0x17 have different upper
 * bits (a de Bruijn sequence), which say where in the table the number is.
 */
static __always_inline __u32 gate_lowest(__u32 bits)
{
	const __u32 table = 0U << 0 | 1U << 4 | 2U << 8 | 4U << 12 | 7U << 16 | 3U << 20 | 6U << 24 | 5U << 28;

	return table >> ((bits & -bits) * 0x17 >> 3 & 0x1c) & GATE_CLASS;
}

/*
 * Inserts a slot into `list` after all requests that arrived before it. The list should be short. Returns the number of links that were
 * followed, as the functions below do.
 */
static __noinline int gate_insert(struct GATE *state, struct ringstep_list *list, __u32 slot)
{
	const __u64 sequence = state->slots[slot & ringstep_mask(state->slots)].own.sequence;
	__s64 limit = ringstep_limit(GATE_REQUESTS);
	__u32 at = list->first;

	ringstep_while_at_most (limit, at && state->slots[(at - 1) & ringstep_mask(state->slots)].own.sequence < sequence)
		at = state->slots[(at - 1) & ringstep_mask(state->slots)].next;
	ringstep_list_insert(list, state->slots, at, slot);
	return (int)(GATE_REQUESTS - limit);
}

/* Counts a request in the entry of its file, which it makes if there is none. */
static __noinline int gate_enter(struct GATE *state, __u32 slot)
{
	struct ringstep_gate_request *request = &state->slots[slot & ringstep_mask(state->slots)].own;
	__s64 limit = 0;
	const __u32 index = ringstep_table_find_or_make(&state->table, state->buckets, state->files, request->file, limit);

	state->files[index].requests++;
	request->place = RINGSTEP_GATE_FILED | index;
	return (int)-limit;
}

/* Removes the entry of a file without requests. All its fields are zero except those of the table. */
static __noinline int gate_forget_file(struct GATE *state, __u32 index)
{
	__s64 limit = 0;

	ringstep_table_forget(&state->table, state->buckets, state->files, index, limit);
	return (int)-limit;
}

/* Makes the first request loose that is parked in this class of a file. */
static __noinline int gate_loosen(struct GATE *state, __u32 index, __u32 class)
{
	struct ringstep_gate_file *entry = &state->files[index & GATE_FILE];
	const __u32 slot = ringstep_list_pop_front(&entry->parked[class & GATE_CLASS], state->slots);

	if (!entry->parked[class & GATE_CLASS].count)
		entry->parked_classes &= ~(1U << (class & GATE_CLASS));
	entry->loose[class & GATE_CLASS]++;
	state->slots[slot].own.place = RINGSTEP_GATE_FILED | RINGSTEP_GATE_LOOSE | (index & GATE_FILE);
	state->classes |= 1U << (class & GATE_CLASS);
	return gate_insert(state, &state->loose[class & GATE_CLASS], slot);
}

/*
 * Makes parked requests of a file loose, if the file has places for them.
 *
 * In strict order the places are for the highest classes, and loose requests of those classes have theirs already. With patience, the
 * next class is not known yet, so each class gets as many loose requests as there are places. Those that come too late are parked
 * again.
 */
static __noinline int gate_release(struct GATE *state, __u32 index)
{
	struct ringstep_gate_file *entry = &state->files[index & GATE_FILE];
	const __u32 strict = !ringstep_load(&state->patience);
	__s64 classes = ringstep_limit(RINGSTEP_GATE_CLASSES);
	__s64 links = ringstep_limit(0);
	__u32 at = (__u32)ringstep_limit(0);
	__u32 sum = at;

	if (!entry->parked_classes || entry->in_flight >= state->file_limit)
		return 0;
	ringstep_while_at_most (classes, links < GATE_REQUESTS) {
		const __u32 class = at++ & GATE_CLASS;

		sum = entry->loose[class] + (strict ? sum : 0);
		if (!(entry->parked_classes & 1U << class))
			continue;
		if (sum < state->file_limit - entry->in_flight)
			links += gate_loosen(state, index, class);
		if (strict)
			break;
	}
	return (int)links;
}

/* Notes that a request has left its file, after it was in flight or waiting. */
static __noinline int gate_left_file(struct GATE *state, __u32 index)
{
	struct ringstep_gate_file *entry = &state->files[index & GATE_FILE];
	const int links = gate_release(state, index);

	if (--entry->requests)
		return links;
	return links + gate_forget_file(state, index & GATE_FILE);
}

static __always_inline void gate_class_shrank(struct GATE *state, __u32 class)
{
	if (!state->ready[class].count && !state->loose[class].count)
		state->classes &= ~(1U << class);
}

/* Queues a request. Takes the number of links that it follows from `work`. */
static __always_inline void gate_queue(struct GATE *state, __u32 slot, __s64 *work)
{
	struct ringstep_gate_request *request = &state->slots[slot].own;
	const __u32 class = request->request_class & GATE_CLASS;

	request->sequence = state->sequence++;
	state->waiting[class]++;
	if (state->file_limit)
		*work -= gate_enter(state, slot);
	ringstep_list_push_back(&state->ready[class], state->slots, slot);
	state->classes |= 1U << class;
}

/* Removes a waiting request from its queue, because the application has cancelled it. Returns the number of links that were followed. */
static __noinline int gate_take_out(struct GATE *state, __u32 slot)
{
	struct ringstep_gate_request *request = &state->slots[slot & ringstep_mask(state->slots)].own;
	const __u32 place = request->place;
	const __u32 class = request->request_class & GATE_CLASS;
	struct ringstep_gate_file *entry = &state->files[place & GATE_FILE];

	state->waiting[class]--;
	if (place & RINGSTEP_GATE_PARKED) {
		ringstep_list_remove(&entry->parked[class], state->slots, slot);
		if (!entry->parked[class].count)
			entry->parked_classes &= ~(1U << class);
	} else if (place & RINGSTEP_GATE_LOOSE) {
		ringstep_list_remove(&state->loose[class], state->slots, slot);
		entry->loose[class]--;
		gate_class_shrank(state, class);
	} else {
		ringstep_list_remove(&state->ready[class], state->slots, slot);
		gate_class_shrank(state, class);
	}
	return place & RINGSTEP_GATE_FILED ? gate_left_file(state, place & GATE_FILE) : 0;
}

/* Removes the first request of a class from its queue and returns its slot. */
static __always_inline __u32 gate_pop(struct GATE *state, __u32 class)
{
	__u32 slot;

	if (state->loose[class].count) {
		slot = ringstep_list_pop_front(&state->loose[class], state->slots);
		state->files[state->slots[slot].own.place & GATE_FILE].loose[class]--;
	} else {
		slot = ringstep_list_pop_front(&state->ready[class], state->slots);
	}
	gate_class_shrank(state, class);
	return slot;
}

/* Takes a place in the file for a request and returns 0. If there is none, parks the request and returns the work that this was. */
static __noinline int gate_enters_file(struct GATE *state, __u32 slot)
{
	struct ringstep_gate_request *request = &state->slots[slot & ringstep_mask(state->slots)].own;
	const __u32 index = request->place & GATE_FILE;
	const __u32 class = request->request_class & GATE_CLASS;
	struct ringstep_gate_file *entry = &state->files[index];
	int links = 0;

	if (entry->in_flight < state->file_limit) {
		entry->in_flight++;
		request->place = RINGSTEP_GATE_FILED | index;
		return 0;
	}
	if (request->place & RINGSTEP_GATE_LOOSE)
		links = gate_insert(state, &entry->parked[class], slot); /* it arrived before the others */
	else
		ringstep_list_push_back(&entry->parked[class], state->slots, slot);
	entry->parked_classes |= 1U << class;
	request->place = RINGSTEP_GATE_FILED | RINGSTEP_GATE_PARKED | index;
	return links + 1;
}

/* Notes that a request of this class is submitted, and passes over the waiting requests of lower classes, parked ones included. */
static __noinline int gate_passes_over(struct GATE *state, __u32 class, __u32 patience)
{
	__s64 lower = ringstep_limit(GATE_CLASS - (class & GATE_CLASS));
	__u32 at = (__u32)ringstep_limit(class & GATE_CLASS);

	state->passed_over[class & GATE_CLASS] = 0;
	state->impatient &= ~(1U << (class & GATE_CLASS));
	ringstep_while_at_most (lower, true) {
		const __u32 passed = ++at & GATE_CLASS;

		if (state->waiting[passed] && ++state->passed_over[passed] >= patience)
			state->impatient |= 1U << passed;
	}
	return 0;
}

/* Delivers completed requests. Takes the links that it follows for files with a limit from `work`. */
static __always_inline void gate_complete(struct ringstep_turn *turn, struct GATE *state, __s64 *work)
{
	__u32 delivered = ringstep_requests_delivered(state);
	struct io_uring_cqe *cqe;
	__u32 slot;

	ringstep_for_each_cqe(turn, cqe) {
		if (!ringstep_request_completed(turn, state, cqe, &slot))
			continue;
		ringstep_request_deliver_later(state, slot, delivered);
		if (state->slots[slot].own.place & RINGSTEP_GATE_FILED) {
			const __u32 index = state->slots[slot].own.place & GATE_FILE;

			state->files[index].in_flight--;
			*work -= gate_left_file(state, index);
			if (ringstep_limit_reached(*work))
				break;
		}
	}
	ringstep_requests_deliver(state, delivered);
}

/*
 * Submits requests of the highest class straight from their messages, where that is the order in which they would leave the queues: none of
 * that class waits, and neither files nor patience hold anything back. Requests for which there are no places in flight stay in the mailbox.
 * Takes the requests that it submits from `room`. Returns true if there is nothing else to receive or to submit now.
 */
static __always_inline bool gate_goes_straight(struct ringstep_turn *turn, struct GATE *state, __u32 *room, bool *again)
{
	const __u32 depth = ringstep_load(&state->depth);
	const __u32 places = depth - ringstep_requests_in_flight(state->requests.counts);
	const __u32 space = ringstep__sq_room(turn);
	__u32 received = ringstep_requests_received(state);
	__u64 sequence = ringstep__read_once(&state->sequence);
	__u64 order = ringstep__read_once(&state->order);
	__u32 most = *room < space ? *room : space;
	__s64 limit;
	__u32 slot;

	if ((state->classes & 1) || state->file_limit || ringstep_load(&state->patience) || !space)
		return false;
	most = (__s32)places < (__s32)most ? places : most;
	limit = ringstep_limit((__s32)most > 0 ? most : 0);
	ringstep_while_at_most (limit,
				ringstep_requests_next(state, received, &slot) && !state->slots[slot].own.request_class) {
		state->slots[slot].own.sequence = sequence++;
		state->slots[slot].own.order = order++;
		ringstep_request_start(turn, state, slot, received);
	}
	state->sequence = sequence;
	state->order = order;
	*room -= received - state->mailbox.received;
	ringstep_requests_started(state, received);
	*again = ringstep_requests_in_flight(state->requests.counts) < depth;
	return ringstep_limit_reached(limit) && state->requests.counts && !ringstep_requests_has_cancel(state);
}

static __always_inline int gate_take_turn(struct ringstep_turn *turn, struct GATE *state)
{
	__s64 work = ringstep_limit(GATE_WORK);
	enum ringstep_mail mail;
	bool again, straight;
	__u32 room, slot;

	ringstep_requests_begin(state);
	gate_complete(turn, state, &work);

	room = ringstep_requests_room(turn);
	straight = gate_goes_straight(turn, state, &room, &again);
	if (straight)
		goto end;
	ringstep_while_at_most (work, ringstep_requests_receive(state, &slot, &mail)) {
		if (mail == RINGSTEP_MAIL_REQUEST) {
			gate_queue(state, slot, &work);
		} else if (mail == RINGSTEP_MAIL_CANCEL_WAITING) {
			work -= gate_take_out(state, slot);
			ringstep_request_refuse(state, slot, -ECANCELED);
		} else if (mail == RINGSTEP_MAIL_CANCEL_IN_FLIGHT) {
			ringstep_request_cancel(turn, state, slot);
		}
	}

	/* If messages are left, their requests may have priority over those received so far. */
	work = ringstep_limit_reached(work) ? 0 : ringstep_limit(room * GATE_SUBMISSION);
	ringstep_while (work > 0 && state->classes &&
			ringstep_requests_in_flight(state->requests.counts) < ringstep_load(&state->depth)) {
		const __u32 patience = ringstep_load(&state->patience);
		const __u32 impatient = patience ? state->classes & state->impatient : 0;
		const __u32 class = gate_lowest(impatient ? impatient : state->classes);

		slot = gate_pop(state, class);
		if (state->slots[slot].own.place & RINGSTEP_GATE_FILED) {
			const int parked = gate_enters_file(state, slot);

			work -= parked;
			if (parked)
				continue;
		}
		if (patience)
			gate_passes_over(state, class, patience);
		work -= GATE_SUBMISSION;
		state->waiting[class]--;
		state->slots[slot].own.order = state->order++;
		ringstep_request_submit(turn, state, slot);
	}
	again = ringstep_limit_reached(work);
end:
	return ringstep_requests_end_leaving(turn, state, 1, again, straight);
}

#endif /* GATE_STEP_BPF_H */
