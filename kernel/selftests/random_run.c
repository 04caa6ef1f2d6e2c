// SPDX-License-Identifier: GPL-2.0
/*
 * Makes calls with random arguments: opens rings, registers memory, attaches loops and submits requests, in several threads and processes. It
 * fails if a process cannot be ended, if a loop stays attached, or if some kind of call never succeeds. It does not check the results of single
 * calls. Its purpose is to make the kernel complain, and the kernel's log shows whether it did.
 *
 *     kernel-random-calls FOLDER [SECONDS] [OPTIONS]
 *
 * FOLDER has random_calls.bpf.o. The calls come in episodes. An episode is one process, which makes some hundred calls and ends. If the process
 * cannot be ended, the program prints the episode (random_episode.h has the format). --episode repeats an episode: each thread makes the same
 * calls again, but the threads may take turns in another order.
 *
 * Debugging kernels have kcov, which records the code of io_uring that a thread runs. An episode that runs code for the first time is added to
 * the corpus. Three of four new episodes begin with a part of an episode from the corpus.
 */
#define _GNU_SOURCE
#include "check.h"
#include "coverage.h"
#include "guarded.h"
#include "random_calls.h"
#include "random_numbers.h"

#include <bpf/bpf.h>

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char usage[] =
	"usage: kernel-random-calls FOLDER [SECONDS] [OPTIONS]\n"
	"  SECONDS          how long to make calls (3)\n"
	"  --seed SEED      what new episodes are made of (the time)\n"
	"  --from FILE      first run the episodes in this file, and go on from them\n"
	"  --into FILE      write the episodes that have been somewhere new to this file, at once, and the one that is running "
	"to "
	"FILE.running; needs kcov\n"
	"  --places FILE    write the addresses where episodes have been to this file, at the end; needs kcov\n"
	"  --episode TEXT   run this episode again and again, and no other\n"
	"  --pin FOLDER     make no calls: pin the loops of the rings 200 to 203 as iou_loop0 to iou_loop3 in this folder of "
	"bpffs\n";

static struct options {
	double seconds;
	unsigned long long seed;
	const char *into, *places, *only, *pin;
	struct corpus from;
} options = {.seconds = 3};

static void read_options(int argc, char **argv)
{
	static const struct option known[] = {
		{"seed", required_argument, NULL, 's'},
		{"from", required_argument, NULL, 'f'},
		{"into", required_argument, NULL, 'i'},
		{"places", required_argument, NULL, 'p'},
		{"episode", required_argument, NULL, 'e'},
		{"pin", required_argument, NULL, 'P'},
		{NULL, 0, NULL, 0},
	};
	bool wrong = false;
	int which, status;

	options.seed = (unsigned long long)time(NULL);
	while ((which = getopt_long(argc, argv, "", known, NULL)) >= 0) {
		switch (which) {
		case 's':
			options.seed = strtoull(optarg, NULL, 0);
			break;
		case 'f':
			status = read_corpus(&options.from, optarg);
			if (status) {
				fprintf(stderr, "random calls: cannot read %s: %s\n", optarg, strerror(-status));
				exit(2);
			}
			break;
		case 'i':
			options.into = optarg;
			break;
		case 'p':
			options.places = optarg;
			break;
		case 'e':
			options.only = optarg;
			break;
		case 'P':
			options.pin = optarg;
			break;
		default:
			wrong = true;
		}
	}
	if (wrong || optind == argc || argc - optind > 2) {
		fputs(usage, stderr);
		exit(2);
	}
	object_folder = argv[optind];
	if (argc - optind == 2)
		options.seconds = atof(argv[optind + 1]);
}

/* Returns how many links of struct_ops there are in the system. */
static unsigned links(void)
{
	unsigned found = 0;
	__u32 id = 0;

	while (bpf_link_get_next_id(id, &id) == 0) {
		struct bpf_link_info info = {0};
		__u32 size = sizeof(info);
		const int fd = bpf_link_get_fd_by_id(id);

		if (fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &size) == 0 && info.type == BPF_LINK_TYPE_STRUCT_OPS)
			found++;
		if (fd >= 0)
			close(fd);
	}
	return found;
}

/*
 * Waits for a process, for some seconds and then for some more after SIGKILL. Returns false if it does not end, and otherwise sets `status` to how
 * it has ended.
 */
static bool wait_for(pid_t child, int *status)
{
	for (int tries = 0; tries < 6500; tries++) {
		if (waitpid(child, status, WNOHANG) == child)
			return true;
		if (tries == 500)
			kill(child, SIGKILL);
		usleep(10000);
	}
	return false;
}

/* Loads a loop for each of the rings' descriptors. Attaching it once makes it fit to be attached by its map alone. */
static int prepare(void)
{
	for (unsigned i = 0; i < RINGS; i++) {
		struct ring ring;
		int status = open_ring(&ring, 8, 16U << i, LOOP_RING);

		if (status < 0)
			return status;
		offsets = ring.params;
		if (dup2(ring.fd, FIRST_RING + (int)i) < 0)
			return -errno;
		close(ring.fd);
		ring.fd = FIRST_RING + (int)i;
		status = load_loop_from(&loops[i], &ring, "random_calls.bpf.o");
		if (!status)
			status = attach_loop(&loops[i]);
		if (status)
			return status;
		detach_loop(&loops[i]);
		close_ring(&ring);
	}
	return 0;
}

/* Pins the loops, for others to attach (kernel/syzkaller). */
static int pin_loops(const char *folder)
{
	for (unsigned i = 0; i < RINGS; i++) {
		char path[256];
		int status;

		snprintf(path, sizeof(path), "%s/iou_loop%u", folder, i);
		status = bpf_map__pin(loops[i].map, path);
		if (status)
			return status;
	}
	return 0;
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Waits for the processes that episodes have forked and left behind, which are children of this one (PR_SET_CHILD_SUBREAPER). */
static bool wait_for_the_rest(void)
{
	for (int tries = 0; tries < 3000; tries++) {
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (waitpid(-1, NULL, WNOHANG) < 0)
			return true;
		usleep(20000);
	}
	fprintf(stderr, "random calls: a process that an episode has forked does not end\n");
	return false;
}

/* Writes the episode that is about to run to a file. If it crashes the machine, this is how to find it. */
static bool write_running(const struct episode *episode)
{
	char path[4096];
	FILE *file;

	snprintf(path, sizeof(path), "%s.running", options.into);
	file = fopen(path, "we");
	if (!file)
		return false;
	print_episode(file, episode);
	return fclose(file) == 0;
}

/* Runs an episode in a process of its own. Returns false if that does not end. `into` is a file that the process must not write to, or NULL. */
static bool run(const struct episode *episode, FILE *into)
{
	pid_t child;
	int status;

	if (into && !write_running(episode)) {
		fprintf(stderr, "random calls: cannot write %s.running: %s\n", options.into, strerror(errno));
		return false;
	}
	child = fork();
	if (child == 0) {
		if (into)
			close(fileno(into));
		run_episode(episode);
	}
	if (child < 0) {
		fprintf(stderr, "random calls: cannot fork: %s\n", strerror(errno));
		return false;
	}
	if (!wait_for(child, &status)) {
		fprintf(stderr, "random calls: the process of this episode does not end: ");
		print_episode(stderr, episode);
		return false;
	}
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	if (WIFEXITED(status) && WEXITSTATUS(status) == EPISODE_NOT_BEGUN)
		counts->not_begun++;
	counts->episodes++;
	return true;
}

/* Runs an episode, and adds it to the corpus if it has been somewhere new. It is in the file before the next one runs, which may crash the machine. */
static bool run_and_keep(const struct episode *episode, struct corpus *corpus, FILE *into)
{
	const unsigned before = coverage_count();

	if (!run(episode, into))
		return false;
	if (coverage_count() == before)
		return true;
	add_episode(corpus, episode);
	if (!into)
		return true;
	print_episode(into, episode);
	if (fflush(into) == 0)
		return true;
	fprintf(stderr, "random calls: cannot write %s: %s\n", options.into, strerror(errno));
	return false;
}

/* Returns true if each kind of call has worked at least once. */
static bool all_have_worked(void)
{
	return counts->rings && counts->mapped && counts->regions && counts->attached && counts->detached && counts->entered &&
	       counts->turns;
}

/* Runs episodes until the time is up: first those that were given, then others. */
static bool run_episodes(FILE *into)
{
	const double end = now() + options.seconds;
	struct corpus corpus = {0};
	struct episode episode;

	if (options.only) {
		if (!read_episode(&episode, options.only)) {
			fprintf(stderr, "random calls: this is no episode: %s\n", options.only);
			return false;
		}
		while (now() < end)
			if (!run(&episode, into))
				return false;
		return true;
	}
	for (unsigned i = 0; i < options.from.count && now() < end; i++)
		if (!run_and_keep(&options.from.episode[i], &corpus, into))
			return false;
	if (options.from.count && coverage_count())
		printf("The %lu first episodes have been at %u places.\n", counts->episodes, coverage_count());
	/* On a busy machine, the time may be up before much has been done. */
	while (now() < end || (!all_have_worked() && now() < end + 60)) {
		/* Without kcov, nothing is known to be worth keeping but what was given. */
		episode = next_episode(corpus.count ? &corpus : &options.from);
		if (!run_and_keep(&episode, &corpus, into))
			return false;
	}
	return true;
}

/* Prints what has succeeded. Returns false if something never has, or if a loop is still attached. */
static bool look_at_results(bool with_coverage)
{
	for (int tries = 0; tries < 1000 && links() != 0; tries++)
		usleep(20000);
	printf("%lu episodes, %lu calls. It worked to open %lu rings, map memory of theirs %lu times, register %lu regions, "
	       "attach %lu loops, detach %lu, "
	       "enter %lu times, submit %lu requests, take %lu turns.\n",
	       counts->episodes, counts->calls, counts->rings, counts->mapped, counts->regions, counts->attached,
	       counts->detached, counts->entered, counts->submitted, counts->turns);
	if (with_coverage && coverage_count() == 0) {
		fprintf(stderr, "random calls: kcov has noted no place, so nothing has guided the calls\n");
		return false;
	}
	if (with_coverage)
		printf("They have been at %u places in io_uring.\n", coverage_count());
	if (links() != 0) {
		fprintf(stderr, "random calls: %u links of struct_ops are left\n", links());
		return false;
	}
	if (counts->not_begun > counts->episodes / 10) {
		fprintf(stderr, "random calls: %lu episodes could not open what they need to begin with\n", counts->not_begun);
		return false;
	}
	if (options.only || all_have_worked())
		return true;
	fprintf(stderr, "random calls: some kind of call has never worked, so this has tested nothing\n");
	return false;
}

int main(int argc, char **argv)
{
	const struct rlimit memory = {.rlim_cur = 64UL << 20, .rlim_max = 64UL << 20};
	FILE *into = NULL;
	bool passed, with_coverage;
	int status;

	read_options(argc, argv);
	with_coverage = coverage_prepare();
	if (!with_coverage && (options.into || options.places)) {
		fprintf(stderr,
			"random calls: --into and --places need a kernel with kcov and debugfs, and the right to use them\n");
		return 2;
	}
	if (options.into && !(into = fopen(options.into, "we"))) {
		fprintf(stderr, "random calls: cannot write %s: %s\n", options.into, strerror(errno));
		return 2;
	}
	counts = map_guarded(sizeof(*counts), -1);
	status = counts == MAP_FAILED ? -errno : prepare();
	if (status) {
		fprintf(stderr, "random calls: no loop to begin with: %s\n", strerror(-status));
		return 1;
	}
	if (options.pin) {
		status = pin_loops(options.pin);
		if (status)
			fprintf(stderr, "random calls: cannot pin loops in %s, which has to be in bpffs: %s\n", options.pin,
				strerror(-status));
		return status ? 1 : 0;
	}
	printf("The seed is %llu.\n", options.seed);
	fflush(stdout);
	random_state = options.seed;
	setrlimit(RLIMIT_MEMLOCK, &memory);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	passed = run_episodes(into) && wait_for_the_rest() && look_at_results(with_coverage);
	if (into && fclose(into)) {
		fprintf(stderr, "random calls: cannot write %s: %s\n", options.into, strerror(errno));
		passed = false;
	}
	status = options.places ? coverage_write(options.places) : 0;
	if (status)
		fprintf(stderr, "random calls: cannot write %s: %s\n", options.places, strerror(-status));
	return passed && !status ? 0 : 1;
}
