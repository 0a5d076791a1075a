/*
 * One thing, many times; prints nanoseconds per round.
 *
 *   loops syscall N          getppid, which does nothing
 *   loops open N FILE        open and close
 *   loops exec N PROGRAM     vfork, exec and wait
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void open_once(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || close(fd))
		die(path);
}

static void exec_once(char *program)
{
	int status;
	char *argv[] = { program, NULL };
	pid_t pid = vfork();
	if (pid == 0) {
		execv(program, argv);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || status)
		die(program);
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 125;
	long n = atol(argv[2]);
	int what = argv[1][0];
	double begin = now();
	for (long i = 0; i < n; i++) {
		if (what == 's')
			syscall(SYS_getppid);
		else if (what == 'o')
			open_once(argv[3]);
		else
			exec_once(argv[3]);
	}
	printf("%.1f\n", (now() - begin) / n);
	return 0;
}
