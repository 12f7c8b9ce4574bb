/*
 * The way of tools that make one call at a time in their target, as closewait does: attach once, then for each
 * descriptor put a close into the registers, step over one syscall instruction, and wait for the stop behind it.
 *
 *     one_stop_per_call PID < descriptors, one a line
 *
 * Only the first thread is stopped, nothing is looked at again, and a failing close is not noticed. It is no tool, and
 * must not be used as one.
 */
#define _GNU_SOURCE
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
#error "this is written for x86-64"
#endif

#define SYSCALL_INSTRUCTION "\x0f\x05"

static pid_t pid;

static void trace(int request, void *data)
{
	if (ptrace(request, pid, 0, data) < 0)
		fail("ptrace");
}

static void wait_for_stop(int signal)
{
	int status;

	if (waitpid(pid, &status, __WALL) != pid)
		fail("waitpid");
	if (!WIFSTOPPED(status) || WSTOPSIG(status) != signal) {
		errno = EPROTO;
		fail("unexpected stop");
	}
}

/* The kernel maps the same vDSO, one loadable segment, into every process: the offset is looked up in its own. */
static unsigned long long vdso_syscall(void)
{
	const char *own = (const char *)getauxval(AT_SYSINFO_EHDR);
	const Elf64_Phdr *load = (const void *)(own + sizeof(Elf64_Ehdr));
	const char *found = own ? memmem(own, load->p_memsz, SYSCALL_INSTRUCTION, 2) : NULL;
	Elf64_auxv_t auxv[64];
	char path[64];
	ssize_t got;
	int fd;

	snprintf(path, sizeof path, "/proc/%d/auxv", pid);
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

int main(int argc, char **argv)
{
	struct user_regs_struct old, call;
	unsigned long long at;
	int fd;

	pid = argc == 2 ? atoi(argv[1]) : 0;
	if (pid < 1)
		return 2;
	at = vdso_syscall();
	trace(PTRACE_ATTACH, NULL);
	wait_for_stop(SIGSTOP);
	trace(PTRACE_GETREGS, &old);
	while (scanf("%d", &fd) == 1) {
		call = old;
		call.rip = at;
		call.rax = SYS_close;
		call.rdi = fd;
		call.orig_rax = -1;
		trace(PTRACE_SETREGS, &call);
		trace(PTRACE_SINGLESTEP, NULL);
		wait_for_stop(SIGTRAP);
	}
	trace(PTRACE_SETREGS, &old);
	trace(PTRACE_DETACH, NULL);
	return 0;
}
