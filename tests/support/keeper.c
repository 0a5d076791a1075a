/*
 * keeper - starts one program and says what was left when it ended.
 *
 *   keeper [--tty | --leave] REPORT PROGRAM [ARG...]
 *
 * REPORT is a file or a pipe (/proc/PID/fd/N), which PROGRAM does not get. In it, one line each:
 *
 *   pid N         PROGRAM was started as process N
 *   status W      it ended, with this status of waitpid(2)
 *   left N NAME   one second later, this descendant was still there; it was killed
 *   end
 *
 * The keeper is the reaper of all its descendants (PR_SET_CHILD_SUBREAPER), whatever they did to get away: a double
 * fork, a new session, a launcher that was killed. That is why nothing can be left without being seen here.
 *
 * --leave: what PROGRAM started goes on, and is looked for by who asked for that.
 * --tty: descriptor 0 is a terminal, which becomes the controlling one of PROGRAM, which gets descriptors 0 to 2 only.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void die(const char *what)
{
	perror(what);
	exit(125);
}

static void pause_ms(long ms)
{
	struct timespec t = { 0, ms * 1000000 };
	nanosleep(&t, NULL);
}

/* Reaps what has ended; 0 when nothing is left. */
static int reap(void)
{
	pid_t pid;
	while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
		;
	return pid == 0;
}

/* Kills every child, telling each the first time. */
static void kill_children(FILE *report, int tell)
{
	char path[64], name[256];
	int pid;
	snprintf(path, sizeof path, "/proc/self/task/%d/children", getpid());
	FILE *children = fopen(path, "re");
	if (!children)
		die(path);
	while (fscanf(children, "%d", &pid) == 1) {
		name[0] = 0;
		snprintf(path, sizeof path, "/proc/%d/comm", pid);
		FILE *comm = fopen(path, "re");
		if (comm) {
			if (fgets(name, sizeof name, comm))
				name[strcspn(name, "\n")] = 0;
			fclose(comm);
		}
		if (tell)
			fprintf(report, "left %d %s\n", pid, name);
		kill(pid, SIGKILL);
	}
	fclose(children);
}

int main(int argc, char **argv)
{
	int tty = argc > 1 && !strcmp(argv[1], "--tty");
	int leave = argc > 1 && !strcmp(argv[1], "--leave");
	argv += tty + leave;
	argc -= tty + leave;
	if (argc < 3) {
		fprintf(stderr, "usage: keeper [--tty | --leave] REPORT PROGRAM [ARG...]\n");
		return 125;
	}
	FILE *report = fopen(argv[1], "we");
	if (!report)
		die(argv[1]);
	if (!leave && prctl(PR_SET_CHILD_SUBREAPER, 1))
		die("subreaper");
	pid_t pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		if (tty && (setsid() < 0 || ioctl(0, TIOCSCTTY, 0)))
			die("controlling terminal");
		/* Whatever make, cargo or a terminal emulator left open is not part of any test. */
		if (close_range(3, ~0U, 0))
			die("close_range");
		execv(argv[2], argv + 2);
		perror(argv[2]);
		_exit(127);
	}
	fprintf(report, "pid %d\n", pid);
	fflush(report);
	/* What the terminal sends is for PROGRAM. */
	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	signal(SIGTSTP, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	int status;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			die("wait");
	fprintf(report, "status %d\n", status);
	fflush(report);
	int left = leave ? 0 : reap();
	for (int n = 0; left && n < 100; n++) {
		pause_ms(10);
		left = reap();
	}
	for (int tell = 1; left; tell = 0) {
		kill_children(report, tell);
		pause_ms(10);
		left = reap();
	}
	fprintf(report, "end\n");
	fclose(report);
	return 0;
}
