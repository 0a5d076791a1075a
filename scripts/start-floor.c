/*
 * What the kernel alone takes for a start of bryo: the calls of one, in their order, and nothing else.
 *
 * `start-floor.py` writes `tree.h` from the trace of a real start and compiles this with it. Nothing is looked at, planned,
 * checked, recorded or passed on here; only what makes the sandbox is done, and at its end what lets it be made again.
 * Every choice is for the shorter time, so that a start of bryo cannot be faster than this as long as it makes that tree.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* The descriptors of the traced process, by their numbers there. */
static int F[1024];
static char text[512];
static char helper_stack[16384] __attribute__((aligned(16)));
static int network = -1;

static long must(long result, const char *what)
{
	if (result < 0) {
		fprintf(stderr, "start-floor: %s: %s\n", what, strerror(errno));
		_exit(125);
	}
	return result;
}

static int open2(int at, const char *path, unsigned long flags, unsigned long mode, unsigned long resolve)
{
	unsigned long how[3] = { flags, mode, resolve };
	return syscall(SYS_openat2, at, path, how, sizeof how);
}

static void attributes(int mount, unsigned flags, unsigned long set, unsigned long clear, unsigned long propagation)
{
	unsigned long attr[4] = { set, clear, propagation, 0 };
	must(syscall(SYS_mount_setattr, mount, "", flags, attr, sizeof attr), "mount_setattr");
}

/* The network namespace, made beside the tree by a process that shares everything else. */
static int make_network(void *unused)
{
	struct ifreq lo = { .ifr_name = "lo" };
	(void)unused;
	must(unshare(CLONE_NEWNET), "unshare");
	int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ioctl(control, SIOCGIFFLAGS, &lo);
	lo.ifr_flags |= IFF_UP;
	must(ioctl(control, SIOCSIFFLAGS, &lo), "SIOCSIFFLAGS");
	close(control);
	network = must(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), "/proc/self/ns/net");
	syscall(SYS_exit, 0);
	return 0;
}

static void drop_capabilities(void)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct none[2] = { { 0 } };
	must(prctl(PR_SET_SECUREBITS, 0xb, 0, 0, 0), "securebits");
	for (int capability = 0; prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0; capability++)
		;
	must(syscall(SYS_capset, &header, none), "capset");
	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
}

/* A filter of the same length that allows everything. */
static void filter(unsigned short length)
{
	struct sock_filter steps[4096];
	struct sock_fprog program = { length, steps };
	steps[0] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0);
	for (int i = 1; i < length - 1; i++)
		steps[i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 100000 + i, 0, 0);
	steps[length - 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	must(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program), "seccomp");
}

static void rule(int ruleset, const char *path, unsigned long access)
{
	struct {
		unsigned long access;
		int parent;
	} __attribute__((packed)) beneath = { access, open(path, O_PATH | O_CLOEXEC) };
	must(syscall(SYS_landlock_add_rule, ruleset, 1, &beneath, 0), path);
	close(beneath.parent);
}

#include "tree.h"

static void map(pid_t child, const char *file, const char *content)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/%s", child, file);
	int opened = must(open(path, O_WRONLY | O_CLOEXEC), path);
	must(write(opened, content, strlen(content)), path);
	close(opened);
}

/* Puts a process on the processor that this one is not on. */
static void place_elsewhere(pid_t process)
{
	unsigned here;
	cpu_set_t all, others;
	if (sched_getaffinity(0, sizeof all, &all) < 0 || getcpu(&here, NULL) < 0 || CPU_COUNT(&all) < 2)
		return;
	others = all;
	CPU_CLR(here, &others);
	sched_setaffinity(process, sizeof others, &others);
	sched_setaffinity(process, sizeof all, &all);
}

static void payload(void)
{
	setpgid(0, 0);
	drop_capabilities();
	restrict_payload();
	execl("/bin/true", "true", NULL);
	_exit(127);
}

static void init(int parent)
{
	char mounts[65536];
	char go;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	umask(0);
	must(read(parent, &go, 1) == 1 ? 0 : -1, "read");
	pid_t helper = must(clone(make_network, helper_stack + sizeof helper_stack, CLONE_VM | CLONE_FILES, NULL), "clone");
	place_elsewhere(helper);
	prctl(PR_SET_DUMPABLE, 0);
	make_tree(helper);
	int table = must(open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC), "/proc/self/mountinfo");
	while (read(table, mounts, sizeof mounts) > 0)
		;
	close_range(3, ~0U, 0);
	pid_t child = must(fork(), "fork");
	if (child == 0)
		payload();
	drop_capabilities();
	filter(INIT_FILTER);
	waitpid(child, NULL, 0);
	_exit(0);
}

int main(void)
{
	int channel[2], pidfd = -1;
	struct clone_args args = { 0 };
	siginfo_t ended;
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channel), "socketpair");
	args.flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP |
		     CLONE_PIDFD;
	args.pidfd = (unsigned long)&pidfd;
	args.exit_signal = SIGCHLD;
	unsigned user = getuid(), group = getgid();
	pid_t child = must(syscall(SYS_clone3, &args, sizeof args), "clone3");
	if (child == 0)
		init(channel[1]);
	place_elsewhere(child);
	map(child, "setgroups", "deny");
	snprintf(text, sizeof text, "%u %u 1", user, user);
	map(child, "uid_map", text);
	snprintf(text, sizeof text, "%u %u 1", group, group);
	map(child, "gid_map", text);
	must(write(channel[0], "x", 1), "write");
	must(waitid(P_PIDFD, pidfd, &ended, WEXITED), "waitid");
	forget_layers();
	return ended.si_status;
}
