// SPDX-License-Identifier: GPL-2.0
#include "random_episode.h"

#include "random_numbers.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

__thread unsigned long long random_state;

enum {
	USUAL_CALLS = 150, /* of a thread in an episode that is new */
};

bool read_episode(struct episode *episode, const char *text)
{
	unsigned calls = 0;

	episode->count = 0;
	for (;;) {
		struct piece *const piece = &episode->piece[episode->count];
		unsigned long more;
		char *end;

		while (isspace((unsigned char)*text))
			text++;
		if (!*text)
			return episode->count != 0;
		if (episode->count == MOST_PIECES || !isdigit((unsigned char)*text))
			return false;
		errno = 0;
		piece->seed = strtoull(text, &end, 10);
		if (*end != ':' || !isdigit((unsigned char)end[1]))
			return false;
		more = strtoul(end + 1, &end, 10);
		if (errno || more == 0 || more > MOST_CALLS - calls || (*end && !isspace((unsigned char)*end)))
			return false;
		piece->calls = (unsigned)more;
		calls += piece->calls;
		episode->count++;
		text = end;
	}
}

void print_episode(FILE *file, const struct episode *episode)
{
	for (unsigned i = 0; i < episode->count; i++)
		fprintf(file, "%s%llu:%u", i ? " " : "", episode->piece[i].seed, episode->piece[i].calls);
	fputc('\n', file);
}

struct episode new_episode(unsigned long long seed)
{
	return (struct episode){.count = 1, .piece = {{seed, USUAL_CALLS}}};
}

void add_episode(struct corpus *corpus, const struct episode *episode)
{
	if (corpus->count == corpus->room) {
		const unsigned room = corpus->room ? 2 * corpus->room : 64;
		struct episode *const larger = realloc(corpus->episode, room * sizeof(*larger));

		if (!larger)
			return;
		corpus->episode = larger;
		corpus->room = room;
	}
	corpus->episode[corpus->count++] = *episode;
}

int read_corpus(struct corpus *corpus, const char *path)
{
	FILE *const file = fopen(path, "r");
	char line[512];
	int status = 0;

	if (!file)
		return -errno;
	while (!status && fgets(line, sizeof(line), file)) {
		struct episode episode;

		if (line[0] == '#' || line[0] == '\n')
			continue;
		if (read_episode(&episode, line)) {
			add_episode(corpus, &episode);
			continue;
		}
		fprintf(stderr, "%s: this is no episode: %s", path, line);
		status = -EINVAL;
	}
	if (ferror(file))
		status = -EIO;
	fclose(file);
	return status;
}

/* Adds a piece, or as much of it as the episode has room for. */
static void add_piece(struct episode *episode, struct piece piece)
{
	unsigned calls = 0;

	for (unsigned i = 0; i < episode->count; i++)
		calls += episode->piece[i].calls;
	if (episode->count == MOST_PIECES || calls == MOST_CALLS)
		return;
	if (piece.calls > MOST_CALLS - calls)
		piece.calls = MOST_CALLS - calls;
	episode->piece[episode->count++] = piece;
}

static const struct episode *some_episode(const struct corpus *corpus)
{
	return &corpus->episode[below(corpus->count)];
}

static struct piece some_piece(const struct episode *episode)
{
	return episode->piece[below(episode->count)];
}

struct episode next_episode(const struct corpus *corpus)
{
	struct episode episode;

	if (corpus->count == 0 || one_in(4))
		return new_episode(random_bits());
	episode = *some_episode(corpus);
	/* Up to somewhere, it does what the other has done, and then something else. */
	episode.count = 1 + below(episode.count);
	if (!one_in(3))
		episode.piece[episode.count - 1].calls = 1 + below(episode.piece[episode.count - 1].calls);
	if (one_in(3))
		add_piece(&episode, some_piece(some_episode(corpus)));
	else
		add_piece(&episode, (struct piece){random_bits(), 10 + below(100)});
	return episode;
}
