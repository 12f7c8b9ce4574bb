/*
 * The floor: the least a program needs to close one descriptor inside another process with every thread
 * of it stopped. It shows what the kernel charges for the job, and so what fdclose adds to it.
 *
 *     floor PID FD
 *
 * It checks nothing: not what the descriptor refers to, not whether new threads appeared, not how the
 * target got into the state it is in. It is no tool, and must not be used as one.
 *
 * Without arguments it exits with status 2 at once; the benchmark uses that as "a program that starts".
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"

#ifndef __x86_64__
#error "the floor is written for x86-64"
#endif

#define MAX_THREADS 4096
#define SYSCALL_INSTRUCTION "\x0f\x05"
#define EVENT_STOP (SIGTRAP | PTRACE_EVENT_STOP << 8)
#define SYSCALL_STOP (SIGTRAP | 0x80)

static pid_t tids[MAX_THREADS];
static int threads;

static void trace(int request, pid_t tid, void *data)
{
	if (ptrace(request, tid, 0, data) < 0)
		fail("ptrace");
}

static void wait_for(pid_t tid, int stop)
{
	int status;

	if (waitpid(tid, &status, __WALL) != tid)
		fail("waitpid");
	if (!WIFSTOPPED(status) || status >> 8 != stop) {
		errno = EPROTO;
		fail("unexpected stop");
	}
}

static void list_threads(const char *pid)
{
	char path[64];
	struct dirent *entry;
	DIR *task;

	snprintf(path, sizeof path, "/proc/%s/task", pid);
	task = opendir(path);
	if (!task)
		fail(path);
	while ((entry = readdir(task)) && threads < MAX_THREADS)
		if (entry->d_name[0] != '.')
			tids[threads++] = atoi(entry->d_name);
	closedir(task);
}

/* The kernel maps the same vDSO, one loadable segment, into every process: the offset is looked up in the
 * floor's own. */
static unsigned long long vdso_syscall(const char *pid)
{
	const char *own = (const char *)getauxval(AT_SYSINFO_EHDR);
	const Elf64_Phdr *load = (const void *)(own + sizeof(Elf64_Ehdr));
	const char *found = own ? memmem(own, load->p_memsz, SYSCALL_INSTRUCTION, 2) : NULL;
	Elf64_auxv_t auxv[64];
	char path[64];
	ssize_t got;
	int fd;

	snprintf(path, sizeof path, "/proc/%s/auxv", pid);
	fd = open(path, O_RDONLY);
	got = fd < 0 ? -1 : read(fd, auxv, sizeof auxv);
	if (got < 0)
		fail(path);
	close(fd);
	for (size_t i = 0; found && i < got / sizeof auxv[0]; i++)
		if (auxv[i].a_type == AT_SYSINFO_EHDR)
			return auxv[i].a_un.a_val + (found - own);
	errno = ENOENT;
	fail("syscall instruction in the vDSO");
	return 0;
}

/* A thread that sits in a system call has the instruction right before its instruction pointer. */
static pid_t choose_thread(const char *pid, struct user_regs_struct *regs, unsigned long long *syscall_at)
{
	for (int i = 0; i < threads && i < 2; i++) {
		trace(PTRACE_GETREGS, tids[i], regs);
		if ((long)regs->orig_rax >= 0) {
			*syscall_at = regs->rip - 2;
			return tids[i];
		}
	}
	*syscall_at = vdso_syscall(pid);
	trace(PTRACE_GETREGS, tids[0], regs);
	return tids[0];
}

static long remote_close(const char *pid, int fd)
{
	struct user_regs_struct old, new;
	unsigned long long syscall_at;
	pid_t tid = choose_thread(pid, &old, &syscall_at);

	new = old;
	new.rip = syscall_at;
	new.rax = SYS_close;
	new.rdi = fd;
	new.orig_rax = -1;
	trace(PTRACE_SETREGS, tid, &new);
	trace(PTRACE_SYSCALL, tid, NULL);
	wait_for(tid, SYSCALL_STOP);
	trace(PTRACE_SYSCALL, tid, NULL);
	wait_for(tid, SYSCALL_STOP);
	trace(PTRACE_GETREGS, tid, &new);
	/* Interrupted calls restart only if their registers come back in an event stop. */
	trace(PTRACE_INTERRUPT, tid, NULL);
	trace(PTRACE_CONT, tid, NULL);
	wait_for(tid, EVENT_STOP);
	trace(PTRACE_SETREGS, tid, &old);
	return new.rax;
}

int main(int argc, char **argv)
{
	long result;

	if (argc != 3)
		return 2;
	list_threads(argv[1]);
	for (int i = 0; i < threads; i++)
		trace(PTRACE_SEIZE, tids[i], (void *)PTRACE_O_TRACESYSGOOD);
	for (int i = 0; i < threads; i++)
		trace(PTRACE_INTERRUPT, tids[i], NULL);
	for (int i = 0; i < threads; i++)
		wait_for(tids[i], EVENT_STOP);
	result = remote_close(argv[1], atoi(argv[2]));
	for (int i = 0; i < threads; i++)
		trace(PTRACE_DETACH, tids[i], NULL);
	if (result < 0) {
		errno = -result;
		fail("close in the target");
	}
	return 0;
}
