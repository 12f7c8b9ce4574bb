/*
 * The floor of the list benchmark: reads the name of every descriptor of every process by readdir and readlink, on
 * THREADS threads that take a process each, and keeps nothing.
 *
 *     read_links THREADS
 *
 *     prints  NS LINKS   how long it took, threads started and ended included, and how many names it read
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common.h"

#define MOST_THREADS 64
#define MOST_PROCESSES 65536

static char pids[MOST_PROCESSES][16];
static size_t processes;
static _Atomic size_t next;
static _Atomic uint64_t links;

static void list_processes(void)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;

	if (!dir)
		fail("/proc");
	while ((entry = readdir(dir)) && processes < MOST_PROCESSES)
		if (isdigit((unsigned char)entry->d_name[0]))
			snprintf(pids[processes++], sizeof *pids, "%.15s", entry->d_name);
	closedir(dir);
}

/* Processes come and go: what can't be read is passed over. */
static uint64_t read_process(const char *pid)
{
	char path[64], name[PATH_MAX];
	struct dirent *entry;
	uint64_t count = 0;
	DIR *dir;

	snprintf(path, sizeof path, "/proc/%s/fd", pid);
	dir = opendir(path);
	if (!dir)
		return 0;
	while ((entry = readdir(dir)))
		if (isdigit((unsigned char)entry->d_name[0]))
			count += readlinkat(dirfd(dir), entry->d_name, name, sizeof name) >= 0;
	closedir(dir);
	return count;
}

static void *work(void *unused)
{
	size_t mine;

	while ((mine = next++) < processes)
		links += read_process(pids[mine]);
	return unused;
}

int main(int argc, char **argv)
{
	int threads = argc == 2 ? atoi(argv[1]) : 0;
	pthread_t others[MOST_THREADS];
	uint64_t begun = now_ns();

	if (threads < 1 || threads > MOST_THREADS) {
		fprintf(stderr, "usage: read_links THREADS\n");
		return 2;
	}
	list_processes();
	for (int i = 1; i < threads; i++)
		if ((errno = pthread_create(&others[i], NULL, work, NULL)))
			fail("pthread_create");
	work(NULL);
	for (int i = 1; i < threads; i++)
		pthread_join(others[i], NULL);
	printf("%llu %llu\n", (unsigned long long)(now_ns() - begun), (unsigned long long)links);
	return 0;
}
