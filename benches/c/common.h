/*
 * What the programs of the benchmarks share: how they fail, their clock, and room for many descriptors. Each of them is
 * one file besides this, and uses what it needs of it.
 */
#ifndef COMMON_H
#define COMMON_H

#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define DEADLINE_NS 60000000000ull
/* Descriptors besides the sockets. */
#define SPARE_FDS 64

/* By _exit: what a forked process has inherited in the buffer of its standard output is not its own to write. */
static inline void fail(const char *what)
{
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
	_exit(1);
}

static inline uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

static inline void check_deadline(uint64_t since, const char *what)
{
	if (now_ns() - since > DEADLINE_NS) {
		errno = ETIMEDOUT;
		fail(what);
	}
	sched_yield();
}

static inline void raise_limit(rlim_t sockets)
{
	rlim_t wanted = sockets + SPARE_FDS;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		fail("getrlimit");
	if (limit.rlim_cur >= wanted)
		return;
	limit.rlim_cur = wanted;
	if (limit.rlim_max < wanted)
		limit.rlim_max = wanted;
	if (setrlimit(RLIMIT_NOFILE, &limit))
		fail("setrlimit (the benchmark needs root)");
}

#endif
