/* SPDX-License-Identifier: GPL-2.0 */
/*
 * An episode consists of one or more pieces. A piece has a seed, which determines the arguments of its calls, and the number of calls that each
 * thread makes. This is the text form of an episode:
 *
 *     SEED:CALLS SEED:CALLS …
 *
 * The same pieces always make the same calls. So a new episode can repeat the first pieces of an old one and then do something else.
 */
#ifndef RINGSTEP_SELFTESTS_RANDOM_EPISODE_H
#define RINGSTEP_SELFTESTS_RANDOM_EPISODE_H

#include <stdbool.h>
#include <stdio.h>

enum {
	MOST_PIECES = 8,
	MOST_CALLS = 400, /* of a thread in an episode */
};

struct piece {
	unsigned long long seed;
	unsigned calls;
};

struct episode {
	unsigned count;
	struct piece piece[MOST_PIECES];
};

/* Reads an episode from text. Returns false if the text is none. */
bool read_episode(struct episode *episode, const char *text);
void print_episode(FILE *file, const struct episode *episode);

/* Returns an episode of one piece with this seed. */
struct episode new_episode(unsigned long long seed);

/* A corpus is a list of episodes that were worth keeping. */
struct corpus {
	struct episode *episode;
	unsigned count, room;
};

void add_episode(struct corpus *corpus, const struct episode *episode);

/* Adds the episodes in a file, which has one in each line. It ignores empty lines and lines that begin with #. Returns 0 or a negative errno. If a
 * line is not an episode, it prints the line and returns -EINVAL. */
int read_corpus(struct corpus *corpus, const char *path);

/* Returns an episode to run next: a new one, or one that changes some in the corpus. Made of the random numbers of this thread. */
struct episode next_episode(const struct corpus *corpus);

#endif
