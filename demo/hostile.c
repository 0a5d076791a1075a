/*
 * What a hostile build script would try, one thing at a time, and the host's side of it.
 *
 *   hostile ATTACK [OPERAND]   tries it: 0 and what was gained, or 1 and why not
 *   hostile listen FOLDER      the host: services on loopback, on a unix socket, on an abstract one, and a
 *                              reader of a FIFO; writes a line to FOLDER/log for whoever gets through
 *
 * Nothing here harms a machine: what is attacked was put there for the purpose.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define ABSTRACT "bryo-demo-service"
#define BOMB 6000 /* more than any sandbox allows, and then it stops by itself */

static int refused(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	return 1;
}

static int gained(const char *what)
{
	printf("%s\n", what);
	return 0;
}

static socklen_t unix_address(struct sockaddr_un *a, const char *path)
{
	memset(a, 0, sizeof *a);
	a->sun_family = AF_UNIX;
	if (path) {
		strncpy(a->sun_path, path, sizeof a->sun_path - 1);
		return sizeof *a;
	}
	strcpy(a->sun_path + 1, ABSTRACT);
	return offsetof(struct sockaddr_un, sun_path) + 1 + strlen(ABSTRACT);
}

static int connect_unix(const char *path)
{
	struct sockaddr_un a;
	socklen_t length = unix_address(&a, path);
	int s = socket(AF_UNIX, SOCK_STREAM, 0);
	if (s < 0)
		return refused("socket");
	return connect(s, (void *)&a, length) ? refused("connect") : gained("connected");
}

static int connect_tcp(const char *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(atoi(port)) };
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int s = socket(AF_INET, SOCK_STREAM, 0);
	if (s < 0)
		return refused("socket");
	return connect(s, (void *)&a, sizeof a) ? refused("connect") : gained("connected");
}

/* Nothing is sent: to connect a datagram socket only asks whether there is a way out. */
static int send_out(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(53) };
	inet_pton(AF_INET, "192.0.2.1", &a.sin_addr);
	int s = socket(AF_INET, SOCK_DGRAM, 0);
	if (s < 0)
		return refused("socket");
	return connect(s, (void *)&a, sizeof a) ? refused("connect") : gained("there is a way");
}

static int write_fifo(const char *path)
{
	int fd = open(path, O_WRONLY | O_NONBLOCK);
	if (fd < 0)
		return refused("open");
	return write(fd, "key\n", 4) < 0 ? refused("write") : gained("written");
}

static int mount_something(void)
{
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS))
		return refused("unshare");
	return mount("none", "/tmp", "tmpfs", 0, NULL) ? refused("mount") : gained("mounted");
}

static int uncover(const char *path)
{
	return umount2(path, MNT_DETACH) ? refused("umount") : gained("unmounted");
}

static int trace(const char *pid)
{
	if (ptrace(PTRACE_ATTACH, atoi(pid), 0, 0))
		return refused("ptrace");
	waitpid(atoi(pid), NULL, __WALL);
	ptrace(PTRACE_DETACH, atoi(pid), 0, 0);
	return gained("attached");
}

static int type_into_terminal(void)
{
	int fd = open("/dev/tty", O_RDWR);
	if (fd < 0)
		return refused("open");
	for (const char *c = "touch typed\n"; *c; c++)
		/* Also with high bits set, which a comparison of 64 bits would not recognise. */
		if (ioctl(fd, TIOCSTI, c) && syscall(SYS_ioctl, fd, TIOCSTI | 1UL << 32, c))
			return refused("ioctl");
	return gained("typed");
}

static int set_user_id(const char *path)
{
	int fd = open(path, O_CREAT | O_WRONLY, 0755);
	if (fd < 0)
		return refused("open");
	return fchmod(fd, 04755) ? refused("chmod") : gained("made");
}

static int bomb(void)
{
	int barrier[2], made = 0, error = 0;
	if (pipe(barrier))
		return refused("pipe");
	while (made < BOMB) {
		pid_t pid = fork();
		if (pid < 0) {
			error = errno;
			break;
		}
		if (pid == 0) {
			char c;
			close(barrier[1]);
			while (read(barrier[0], &c, 1) > 0)
				;
			_exit(0);
		}
		made++;
	}
	close(barrier[1]);
	while (wait(NULL) > 0)
		;
	errno = error;
	if (error) {
		printf("fork: %s, after %d\n", strerror(error), made);
		return 1;
	}
	return gained("six thousand processes");
}

static int number(const char *name)
{
	struct { const char *name; long number; } calls[] = {
		{ "bpf", SYS_bpf },
		{ "perf_event_open", SYS_perf_event_open },
		{ "io_uring_setup", SYS_io_uring_setup },
		{ "userfaultfd", SYS_userfaultfd },
		{ "keyctl", SYS_keyctl },
		{ "init_module", SYS_init_module },
		{ "kexec_load", SYS_kexec_load },
	};
	for (unsigned i = 0; i < sizeof calls / sizeof *calls; i++)
		if (!strcmp(calls[i].name, name)) {
			long r = syscall(calls[i].number, 0, 0, 0, 0, 0, 0);
			/* Whoever is not stopped at the door is told what was wrong with the arguments. */
			if (r >= 0 || (errno != EPERM && errno != ENOSYS && errno != EACCES)) {
				printf("reached the kernel\n");
				return 0;
			}
			return refused(name);
		}
	printf("no such call\n");
	return 125;
}

static int vsock(void)
{
	return socket(40 /* AF_VSOCK */, SOCK_STREAM, 0) < 0 ? refused("socket") : gained("opened");
}

/* --- the host's side --- */

static int listening(int family, struct sockaddr *a, socklen_t length)
{
	int s = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s < 0 || bind(s, a, length) || listen(s, 8)) {
		perror("listen");
		exit(125);
	}
	return s;
}

static void note(const char *folder, const char *line)
{
	char path[4096];
	snprintf(path, sizeof path, "%s/log", folder);
	FILE *log = fopen(path, "a");
	if (log) {
		fprintf(log, "%s\n", line);
		fclose(log);
	}
}

static int host(const char *folder)
{
	char path[4096];
	struct sockaddr_in tcp = { .sin_family = AF_INET };
	struct sockaddr_un name;
	socklen_t length = sizeof tcp;
	struct pollfd fds[4];
	const char *names[] = { "loopback", "unix socket", "abstract socket", "fifo" };

	tcp.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fds[0].fd = listening(AF_INET, (void *)&tcp, sizeof tcp);
	getsockname(fds[0].fd, (void *)&tcp, &length);
	if (chdir(folder))
		return 125;
	length = unix_address(&name, "agent.sock");
	fds[1].fd = listening(AF_UNIX, (void *)&name, length);
	length = unix_address(&name, NULL);
	fds[2].fd = listening(AF_UNIX, (void *)&name, length);
	if (mkfifo("fifo", 0600))
		return 125;
	/* For writing too, or the end of one writer would be the end of all. */
	fds[3].fd = open("fifo", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	for (int i = 0; i < 4; i++)
		fds[i].events = POLLIN;
	snprintf(path, sizeof path, "%s/port", folder);
	FILE *port = fopen("port.new", "w");
	fprintf(port, "%d\n", ntohs(tcp.sin_port));
	fclose(port);
	rename("port.new", path);
	for (;;) {
		if (poll(fds, 4, -1) < 0)
			return 125;
		for (int i = 0; i < 4; i++) {
			char buffer[64];
			if (!(fds[i].revents & POLLIN))
				continue;
			note(folder, names[i]);
			if (i == 3) {
				if (read(fds[i].fd, buffer, sizeof buffer) < 0)
					return 125;
			} else {
				close(accept(fds[i].fd, NULL, NULL));
			}
		}
	}
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	const char *operand = argc > 2 ? argv[2] : "";
	if (!strcmp(what, "listen")) return host(operand);
	if (!strcmp(what, "tcp")) return connect_tcp(operand);
	if (!strcmp(what, "unix")) return connect_unix(operand);
	if (!strcmp(what, "abstract")) return connect_unix(NULL);
	if (!strcmp(what, "fifo")) return write_fifo(operand);
	if (!strcmp(what, "send")) return send_out();
	if (!strcmp(what, "mount")) return mount_something();
	if (!strcmp(what, "uncover")) return uncover(operand);
	if (!strcmp(what, "trace")) return trace(operand);
	if (!strcmp(what, "type")) return type_into_terminal();
	if (!strcmp(what, "setuid")) return set_user_id(operand);
	if (!strcmp(what, "bomb")) return bomb();
	if (!strcmp(what, "call")) return number(operand);
	if (!strcmp(what, "vsock")) return vsock();
	fprintf(stderr, "usage: hostile ATTACK [OPERAND]\n");
	return 125;
}
