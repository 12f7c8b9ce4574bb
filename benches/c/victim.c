/*
 * The benchmark's victim: a process of THREADS threads whose first one spins in user code and measures
 * the largest gap in its own time, while the others are blocked as a server's are: half of them on a
 * condition variable, half in poll.
 *
 *     victim THREADS
 *
 * Two processes: the one started is the controller, which talks to the benchmark and whose end ends the
 * other; the target, forked from it, is what gets traced. So the target has exactly THREADS threads, and
 * the spinning one makes no system call except to carry out "leak".
 *
 *     prints   ready PID            the target's pid, once its other threads are blocked
 *     take     -> gap NS            the largest gap since the last answer, in nanoseconds
 *     leak     -> leaked FD INODE   one more socket left in CLOSE-WAIT
 *     (end of input)                everything ends
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"


enum operation { TAKE, LEAK };

/* What controller and target share. The controller owns it until it bumps `request`, the target from
 * then on until it stores the same number in `answered`. */
struct shared {
	_Atomic unsigned request, answered;
	enum operation operation;
	uint64_t largest_ns;
	int fd;
	uint64_t inode;
};

static struct shared *shared;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;

static void *block_in_futex(void *unused)
{
	pthread_mutex_lock(&mutex);
	for (;;)
		pthread_cond_wait(&never, &mutex);
	return unused;
}

static void *block_in_poll(void *silent_pipe)
{
	struct pollfd silent = { .fd = *(int *)silent_pipe, .events = POLLIN };

	for (;;)
		poll(&silent, 1, -1);
	return NULL;
}

/* Counts the target's threads that sleep: field 3 of stat(5), after the name's last parenthesis. */
static int sleeping_threads(void)
{
	char path[300], line[512];
	struct dirent *entry;
	int sleeping = 0;
	DIR *task = opendir("/proc/self/task");

	if (!task)
		fail("/proc/self/task");
	while ((entry = readdir(task))) {
		const char *name_end;
		FILE *stat;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof path, "/proc/self/task/%s/stat", entry->d_name);
		stat = fopen(path, "r");
		if (!stat || !fgets(line, sizeof line, stat))
			fail(path);
		fclose(stat);
		name_end = strrchr(line, ')');
		sleeping += name_end && name_end[1] == ' ' && name_end[2] == 'S';
	}
	closedir(task);
	return sleeping;
}

static void start_blocked_threads(int count)
{
	static int silent_pipe[2];
	pthread_attr_t small;
	uint64_t since = now_ns();

	if (pipe(silent_pipe))
		fail("pipe");
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 256 * 1024);
	for (int i = 0; i < count; i++) {
		pthread_t thread;

		errno = pthread_create(&thread, &small, i % 2 ? block_in_poll : block_in_futex, silent_pipe);
		if (errno)
			fail("pthread_create");
	}
	while (sleeping_threads() < count)
		check_deadline(since, "the other threads do not block");
}

static int listen_on_loopback(struct sockaddr_in *address)
{
	socklen_t length = sizeof *address;
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	memset(address, 0, sizeof *address);
	address->sin_family = AF_INET;
	address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (listener < 0 || bind(listener, (struct sockaddr *)address, length) || listen(listener, 16) ||
	    getsockname(listener, (struct sockaddr *)address, &length))
		fail("listen");
	return listener;
}

/* The classic bug: the client is served and goes away, the server never closes its side. */
static void leak(int listener, const struct sockaddr_in *address)
{
	uint64_t since = now_ns();
	struct tcp_info info;
	struct stat stat;
	int client = socket(AF_INET, SOCK_STREAM, 0);
	int server;

	if (client < 0 || connect(client, (const struct sockaddr *)address, sizeof *address))
		fail("connect");
	server = accept(listener, NULL, NULL);
	if (server < 0)
		fail("accept");
	close(client);
	for (;;) {
		socklen_t length = sizeof info;

		if (getsockopt(server, IPPROTO_TCP, TCP_INFO, &info, &length))
			fail("TCP_INFO");
		if (info.tcpi_state == TCP_CLOSE_WAIT)
			break;
		check_deadline(since, "no CLOSE-WAIT");
	}
	if (fstat(server, &stat))
		fail("fstat");
	shared->fd = server;
	shared->inode = stat.st_ino;
}

static void target(int threads)
{
	struct sockaddr_in address;
	int listener = listen_on_loopback(&address);
	uint64_t largest = 0, last;
	unsigned done = 0;

	start_blocked_threads(threads - 1);
	last = now_ns();
	for (;;) {
		uint64_t now = now_ns();
		unsigned wanted = atomic_load_explicit(&shared->request, memory_order_acquire);

		if (now - last > largest)
			largest = now - last;
		last = now;
		if (wanted == done)
			continue;
		if (shared->operation == LEAK)
			leak(listener, &address);
		shared->largest_ns = largest;
		done = wanted;
		atomic_store_explicit(&shared->answered, done, memory_order_release);
		largest = 0;
		last = now_ns();
	}
}

static void ask(pid_t pid, enum operation operation)
{
	unsigned number = atomic_load(&shared->request) + 1;
	uint64_t since = now_ns();

	shared->operation = operation;
	atomic_store_explicit(&shared->request, number, memory_order_release);
	while (atomic_load_explicit(&shared->answered, memory_order_acquire) != number) {
		int status;

		if (waitpid(pid, &status, WNOHANG) == pid) {
			fprintf(stderr, "victim: the target ended with wait status %#x\n", status);
			_exit(1);
		}
		check_deadline(since, "the target does not run");
	}
}

int main(int argc, char **argv)
{
	int threads = argc == 2 ? atoi(argv[1]) : 0;
	pid_t controller = getpid(), pid;
	char line[32];

	if (threads < 1)
		return 2;
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		fail("mmap");
	pid = fork();
	if (pid < 0)
		fail("fork");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* Under Yama's scope 1 the tracers, which are no ancestors of this process, may trace it. */
		prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
		if (getppid() == controller)
			target(threads);
		_exit(1);
	}
	ask(pid, TAKE);
	printf("ready %d\n", pid);
	while (fflush(stdout) == 0 && fgets(line, sizeof line, stdin)) {
		if (strcmp(line, "take\n") == 0) {
			ask(pid, TAKE);
			printf("gap %llu\n", (unsigned long long)shared->largest_ns);
		} else if (strcmp(line, "leak\n") == 0) {
			ask(pid, LEAK);
			printf("leaked %d %llu\n", shared->fd, (unsigned long long)shared->inode);
		} else {
			errno = EINVAL;
			fail("command");
		}
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return 0;
}
