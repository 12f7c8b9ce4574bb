/*
 * The list benchmark's victim: PROCESSES processes with SOCKETS TCP sockets each, the two ends of half as many
 * connections over loopback, in the network namespace it is started in.
 *
 *     many_sockets PROCESSES SOCKETS
 *
 *     prints  ready PID PID ...
 *     (end of input)                everything ends; without TIME-WAIT, which later rounds would have to list
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"

/* So many connections one address may make: the ports of the default range are more. */
#define PER_ADDRESS 20000
#define MOST_PROCESSES 200

/* 127.1.PROCESS.HOST */
static struct sockaddr_in address(int process, int host)
{
	struct sockaddr_in address = { .sin_family = AF_INET };

	address.sin_addr.s_addr = htonl(127u << 24 | 1u << 16 | (unsigned)process << 8 | (unsigned)host);
	return address;
}

static int tcp(void)
{
	struct linger at_once = { .l_onoff = 1, .l_linger = 0 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		fail("socket");
	/* Closed, it is gone. What it accepts inherits that. */
	if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once))
		fail("SO_LINGER");
	return fd;
}

static void make(int process, int sockets)
{
	struct sockaddr_in server = address(process, 1);
	socklen_t length = sizeof server;
	int listener = tcp(), one = 1;

	if (bind(listener, (struct sockaddr *)&server, sizeof server) || listen(listener, 16) ||
	    getsockname(listener, (struct sockaddr *)&server, &length))
		fail("listen");
	for (int made = 0; made < sockets / 2; made++) {
		struct sockaddr_in own = address(process, 2 + made / PER_ADDRESS);
		int fd = tcp();

		if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one) ||
		    bind(fd, (struct sockaddr *)&own, sizeof own))
			fail("bind");
		if (connect(fd, (struct sockaddr *)&server, sizeof server))
			fail("connect");
		if (accept4(listener, NULL, NULL, SOCK_CLOEXEC) < 0)
			fail("accept");
	}
	close(listener);
}

static pid_t start(int process, int sockets)
{
	int made[2];
	char done;
	pid_t parent = getpid(), pid;

	if (pipe(made))
		fail("pipe");
	pid = fork();
	if (pid < 0)
		fail("fork");
	if (pid == 0) {
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent)
			_exit(1);
		close(made[0]);
		make(process, sockets);
		if (write(made[1], "", 1) != 1)
			fail("write");
		for (;;)
			pause();
	}
	close(made[1]);
	if (read(made[0], &done, 1) != 1) {
		errno = ECHILD;
		fail("a process did not get ready");
	}
	close(made[0]);
	return pid;
}

int main(int argc, char **argv)
{
	int processes = argc == 3 ? atoi(argv[1]) : 0, sockets = argc == 3 ? atoi(argv[2]) : 0;
	pid_t pids[MOST_PROCESSES];
	char byte;

	if (processes < 1 || processes > MOST_PROCESSES || sockets < 2 || sockets / 2 > 250 * PER_ADDRESS) {
		fprintf(stderr, "usage: many_sockets PROCESSES SOCKETS\n");
		return 2;
	}
	raise_limit(sockets);
	for (int i = 0; i < processes; i++)
		pids[i] = start(i, sockets);
	printf("ready");
	for (int i = 0; i < processes; i++)
		printf(" %d", pids[i]);
	printf("\n");
	fflush(stdout);
	while (read(0, &byte, 1) > 0)
		;
	/* A process that has been waited for has closed everything. */
	for (int i = 0; i < processes; i++)
		kill(pids[i], SIGKILL);
	for (int i = 0; i < processes; i++)
		if (waitpid(pids[i], NULL, 0) != pids[i])
			fail("waitpid");
	return 0;
}
