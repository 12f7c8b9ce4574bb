/*
 * The batch benchmark's victim: a process with COUNT sockets. In the layout "contiguous" all of them are leaked, in
 * CLOSE-WAIT; in the layout "every-other" only every other one is, and those between are open connections,
 * which are to stay.
 *
 *     batch_victim COUNT contiguous|every-other
 *
 * Three processes. The one started is the controller: it talks to the benchmark, and its end ends the others. The
 * peer is the other end of all connections. The target is what gets traced: its first thread either waits in a
 * futex, as an idle server's would, or spins in user code and measures the gaps in its own time; its other
 * thread waits in poll.
 *
 *     prints  ready PID PORT        the target's pid, and the port of its end of the connections
 *     spin                          -> spins     the first thread does, until the next command
 *     take                          -> gaps MAX_NS SUM_NS WAITED_NS   the gaps since "spin": the largest, and all
 *                                   that are longer than NOTABLE_NS; how long it waited for a processor in that
 *                                   time; and it waits again
 *     close                         -> closed NS the target closes all that is leaked in a loop, and times itself
 *     left                          -> left LEAKED KEPT   how many of each kind are open
 *     fds                           -> fds FD FD ...      the leaked ones
 *     (end of input)                everything ends
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
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
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"

/* Shorter gaps are interrupts and the clock itself. The shortest stop of a thread takes longer. */
#define NOTABLE_NS 50000
/* So many connections one address may make. The more of the default range's ports are taken, the longer the kernel looks
 * for a free one: with 19,000 of one address it looked for 16 s. */
#define PER_ADDRESS 5000
/* The peer is never further ahead of accept than this, or the backlog would overflow. */
#define AHEAD 1000

enum operation { TAKE, SPIN, CLOSE, LEFT };

/* What controller and target share. The controller owns it until it bumps `request`, the target from then on until
 * it stores the same number in `answered`. */
struct shared {
	_Atomic uint32_t request, answered;
	enum operation operation;
	uint64_t largest_ns, sum_ns, waited_ns, closing_ns;
	int leaked, kept;
	/* Between target and peer: the port to connect to, and how many connections have been accepted. */
	_Atomic int port, accepted;
};

static struct shared *shared;
static int *leaks, *keeps;
static int sockets, count, kept;

static void *wait_in_poll(void *unused)
{
	for (;;)
		poll(NULL, 0, -1);
	return unused;
}

/* The other end: connects, and closes at once what the target is to leak. */
static void peer(void)
{
	uint64_t since = now_ns();
	struct sockaddr_in to = { .sin_family = AF_INET }, from = to;
	int on = 1;

	while (!shared->port)
		check_deadline(since, "no port");
	to.sin_port = shared->port;
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (int i = 0; i < sockets; i++) {
		int client = socket(AF_INET, SOCK_STREAM, 0);

		/* 127.0.1.1, 127.0.1.2, ... */
		from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 0x100 + i / PER_ADDRESS);
		if (client < 0 || setsockopt(client, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on) ||
		    bind(client, (struct sockaddr *)&from, sizeof from) ||
		    connect(client, (struct sockaddr *)&to, sizeof to))
			fail("connect");
		if (!kept || i % 2 == 0)
			close(client);
		while (i - shared->accepted > AHEAD)
			check_deadline(since, "connections are not accepted");
	}
	for (;;)
		pause();
}

static void accept_all(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t length = sizeof address;
	uint64_t since = now_ns();
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (listener < 0 || bind(listener, (struct sockaddr *)&address, length) || listen(listener, 2 * AHEAD) ||
	    getsockname(listener, (struct sockaddr *)&address, &length))
		fail("listen");
	shared->port = address.sin_port;
	for (int i = 0; i < sockets; i++) {
		int server = accept(listener, NULL, NULL);

		if (server < 0)
			fail("accept");
		if (kept)
			*(i % 2 ? &keeps[i / 2] : &leaks[i / 2]) = server;
		else
			leaks[i] = server;
		shared->accepted = i + 1;
	}
	for (int i = 0; i < count; i++) {
		struct tcp_info info;

		do {
			length = sizeof info;
			if (getsockopt(leaks[i], IPPROTO_TCP, TCP_INFO, &info, &length))
				fail("TCP_INFO");
			check_deadline(since, "no CLOSE-WAIT");
		} while (info.tcpi_state != TCP_CLOSE_WAIT);
	}
}

static int open_of(const int *fds, int of)
{
	int open = 0;

	for (int i = 0; i < of; i++)
		open += fcntl(fds[i], F_GETFD) >= 0;
	return open;
}

static void close_leaks(void)
{
	uint64_t since = now_ns();

	for (int i = 0; i < count; i++)
		if (close(leaks[i]))
			fail("close");
	shared->closing_ns = now_ns() - since;
}

/* How long this thread has waited for a processor, in all (the second figure of proc_pid_schedstat(5)). */
static uint64_t waited_ns(void)
{
	unsigned long long ran, waited;
	FILE *file = fopen("/proc/thread-self/schedstat", "r");

	if (!file || fscanf(file, "%llu %llu", &ran, &waited) != 2)
		fail("/proc/thread-self/schedstat");
	fclose(file);
	return waited;
}

/* Measures until the next request comes. */
static void spin(uint32_t done)
{
	uint64_t waited = waited_ns(), largest = 0, sum = 0, last = now_ns();

	while (atomic_load_explicit(&shared->request, memory_order_acquire) == done) {
		uint64_t now = now_ns(), gap = now - last;

		if (gap > largest)
			largest = gap;
		if (gap > NOTABLE_NS)
			sum += gap;
		last = now;
	}
	shared->largest_ns = largest;
	shared->sum_ns = sum;
	shared->waited_ns = waited_ns() - waited;
}

static void target(void)
{
	pthread_t thread;
	uint32_t done = 0;

	raise_limit(sockets);
	errno = pthread_create(&thread, NULL, wait_in_poll, NULL);
	if (errno)
		fail("pthread_create");
	accept_all();
	for (;;) {
		enum operation operation;

		while (atomic_load_explicit(&shared->request, memory_order_acquire) == done)
			syscall(SYS_futex, &shared->request, FUTEX_WAIT, done, NULL, NULL, 0);
		operation = shared->operation;
		if (operation == CLOSE)
			close_leaks();
		if (operation == LEFT) {
			shared->leaked = open_of(leaks, count);
			shared->kept = open_of(keeps, kept);
		}
		done++;
		atomic_store_explicit(&shared->answered, done, memory_order_release);
		if (operation == SPIN)
			spin(done);
	}
}

static void ask(pid_t pid, enum operation operation)
{
	uint32_t number = atomic_load(&shared->request) + 1;
	uint64_t since = now_ns();

	shared->operation = operation;
	atomic_store_explicit(&shared->request, number, memory_order_release);
	syscall(SYS_futex, &shared->request, FUTEX_WAKE, 1, NULL, NULL, 0);
	while (atomic_load_explicit(&shared->answered, memory_order_acquire) != number) {
		int status;

		if (waitpid(pid, &status, WNOHANG) == pid) {
			fprintf(stderr, "batch_victim: the target ended with wait status %#x\n", status);
			_exit(1);
		}
		check_deadline(since, "the target does not run");
	}
}

static void *share(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		fail("mmap");
	return memory;
}

static pid_t start(pid_t controller, void (*work)(void))
{
	pid_t pid = fork();

	if (pid < 0)
		fail("fork");
	if (pid > 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* Under Yama's scope 1 the tracers, which are no ancestors of this process, may trace it. */
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
	if (getppid() == controller)
		work();
	_exit(1);
}

static void peer_with_limit(void)
{
	raise_limit(sockets);
	peer();
}

int main(int argc, char **argv)
{
	pid_t controller = getpid(), peer_pid, pid;
	char line[32];

	sockets = argc == 3 ? atoi(argv[1]) : 0;
	if (sockets < 2)
		return 2;
	kept = strcmp(argv[2], "every-other") == 0 ? sockets / 2 : 0;
	count = sockets - kept;
	leaks = share(sockets * sizeof *leaks);
	keeps = share(sockets * sizeof *keeps);
	shared = share(sizeof *shared);
	peer_pid = start(controller, peer_with_limit);
	pid = start(controller, target);
	ask(pid, LEFT);
	printf("ready %d %d\n", pid, ntohs(shared->port));
	while (fflush(stdout) == 0 && fgets(line, sizeof line, stdin)) {
		if (strcmp(line, "spin\n") == 0) {
			ask(pid, SPIN);
			printf("spins \n");
		} else if (strcmp(line, "take\n") == 0) {
			ask(pid, TAKE);
			printf("gaps %llu %llu %llu\n", (unsigned long long)shared->largest_ns,
			       (unsigned long long)shared->sum_ns, (unsigned long long)shared->waited_ns);
		} else if (strcmp(line, "close\n") == 0) {
			ask(pid, CLOSE);
			printf("closed %llu\n", (unsigned long long)shared->closing_ns);
		} else if (strcmp(line, "fds\n") == 0) {
			printf("fds");
			for (int i = 0; i < count; i++)
				printf(" %d", leaks[i]);
			printf("\n");
		} else if (strcmp(line, "left\n") == 0) {
			ask(pid, LEFT);
			printf("left %d %d\n", shared->leaked, shared->kept);
		} else {
			errno = EINVAL;
			fail("command");
		}
	}
	kill(pid, SIGKILL);
	kill(peer_pid, SIGKILL);
	waitpid(pid, NULL, 0);
	waitpid(peer_pid, NULL, 0);
	return 0;
}
