/* The two ends of the network's measurements: `peer serve` is what connections lead to, `peer agent` is the
 * payload. The agent reads one order a line and answers each with one number, or with `error WHY`.
 *
 *     up ADDRESS STREAMS MS      Gbit/s that arrive there
 *     down ADDRESS STREAMS MS    Gbit/s that arrive here
 *     short ADDRESS COUNT        connections per second, each asks one byte and gets one, four at a time
 *     echo ADDRESS COUNT         microseconds of one byte there and back, over TCP
 *     ping ADDRESS COUNT         microseconds of an ICMP echo, the median
 *     udp ADDRESS MBIT MS        of datagrams of 1,400 bytes sent at this rate, how many per cent are lost
 *     hold ADDRESS COUNT         opens so many connections, and keeps them; how many stand
 *     drop                       closes them
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SINK = 5001, SOURCE, ECHO, HOLD, UDP, COUNT, SHORT = 5101, SHORTS = 8, BLOCK = 128 << 10 };

static char block[BLOCK];

static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static struct sockaddr_in at(const char *host, int port) {
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
	inet_pton(AF_INET, host, &a.sin_addr);
	return a;
}

static int dial(const char *host, int port) {
	struct sockaddr_in a = at(host, port);
	int s = socket(AF_INET, SOCK_STREAM, 0);
	if (s >= 0 && connect(s, (struct sockaddr *)&a, sizeof a) == 0) return s;
	if (s >= 0) close(s);
	return -1;
}

/* ---- the server */

static int listening(int type, int port) {
	int s = socket(AF_INET, type, 0), on = 1;
	struct sockaddr_in a = at("0.0.0.0", port);
	setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(s, (struct sockaddr *)&a, sizeof a) || (type == SOCK_STREAM && listen(s, 4096))) {
		perror("peer: bind");
		exit(1);
	}
	return s;
}

static volatile uint64_t *datagrams;

static void sink(int s) {
	uint64_t total = 0;
	ssize_t n;
	while ((n = read(s, block, sizeof block)) > 0) total += n;
	if (n == 0) (void)!write(s, &total, sizeof total);
}

static void source(int s) {
	while (write(s, block, sizeof block) > 0) {}
}

static void echo(int s) {
	char c;
	int on = 1;
	setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	while (read(s, &c, 1) == 1 && write(s, &c, 1) == 1) {}
}

static void count(int s) {
	uint64_t seen = *datagrams;
	(void)!write(s, &seen, sizeof seen);
}

/* Each connection has a process. */
static void serve(int port, void (*work)(int)) {
	if (fork()) return;
	int l = listening(SOCK_STREAM, port), s;
	while ((s = accept(l, 0, 0)) >= 0 || errno == ECONNABORTED) {
		if (s >= 0 && !fork()) {
			close(l);
			work(s);
			_exit(0);
		}
		close(s);
	}
	_exit(1);
}

static void serve_short(void) {
	if (fork()) return;
	struct pollfd p[SHORTS];
	for (int i = 0; i < SHORTS; i++) p[i] = (struct pollfd){listening(SOCK_STREAM, SHORT + i), POLLIN, 0};
	/* Both are interrupted when somebody stops this process for a while. */
	while (poll(p, SHORTS, -1) >= 0 || errno == EINTR)
		for (int i = 0; i < SHORTS; i++) {
			if (!p[i].revents) continue;
			p[i].revents = 0;
			int s = accept(p[i].fd, 0, 0);
			char c;
			if (s >= 0 && read(s, &c, 1) == 1) (void)!write(s, &c, 1);
			close(s);
		}
	_exit(1);
}

static void serve_hold(void) {
	if (fork()) return;
	int l = listening(SOCK_STREAM, HOLD), e = epoll_create1(0), s;
	struct epoll_event v = {.events = EPOLLIN, .data.fd = l};
	epoll_ctl(e, EPOLL_CTL_ADD, l, &v);
	for (;;) {
		int n = epoll_wait(e, &v, 1, -1);
		if (n < 0 && errno != EINTR) break;
		if (n < 1) continue;
		if (v.data.fd != l) {
			close(v.data.fd);
		} else if ((s = accept(l, 0, 0)) >= 0) {
			struct epoll_event n = {.events = EPOLLIN, .data.fd = s};
			epoll_ctl(e, EPOLL_CTL_ADD, s, &n);
		}
	}
	_exit(1);
}

static void serve_udp(void) {
	if (fork()) return;
	int s = listening(SOCK_DGRAM, UDP), room = 4 << 20;
	setsockopt(s, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
	while (recv(s, block, sizeof block, 0) >= 0) (*datagrams)++;
	_exit(1);
}

static void served(void) {
	signal(SIGCHLD, SIG_IGN);
	datagrams = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	serve(SINK, sink);
	serve(SOURCE, source);
	serve(ECHO, echo);
	serve(COUNT, count);
	serve_short();
	serve_hold();
	serve_udp();
	pause();
}

/* ---- the payload */

static const char *why;

static double fail(const char *text) {
	static char said[200];
	snprintf(said, sizeof said, "%s: %s", text, strerror(errno));
	why = said;
	return 0;
}

struct done {
	double bytes, began, ended;
};

static void one_up(const char *host, double ms, struct done *done) {
	int s = dial(host, SINK);
	uint64_t total = 0;
	if (s < 0) return;
	done->began = now();
	while (now() < done->began + ms / 1e3 && write(s, block, sizeof block) > 0) {}
	shutdown(s, SHUT_WR);
	if (read(s, &total, sizeof total) == sizeof total) done->bytes = total;
	done->ended = now();
}

static void one_down(const char *host, double ms, struct done *done) {
	int s = dial(host, SOURCE);
	ssize_t n;
	if (s < 0) return;
	done->began = now();
	while (now() < done->began + ms / 1e3 && (n = read(s, block, sizeof block)) > 0) done->bytes += n;
	done->ended = now();
}

static double streams(void (*one)(const char *, double, struct done *), const char *host, int n, double ms) {
	struct done *done = mmap(0, n * sizeof *done, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < n; i++)
		if (!fork()) {
			one(host, ms, &done[i]);
			_exit(0);
		}
	while (wait(0) > 0) {}
	double rate = 0;
	for (int i = 0; i < n; i++) {
		if (!done[i].bytes) return fail("a stream moved nothing");
		rate += done[i].bytes * 8 / 1e9 / (done[i].ended - done[i].began);
	}
	munmap(done, n * sizeof *done);
	return rate;
}

static double shorts(const char *host, int total) {
	enum { AT_ONCE = 4 };
	double began = now();
	int failed = 0, status;
	for (int i = 0; i < AT_ONCE; i++)
		if (!fork()) {
			for (int n = 0; n < total / AT_ONCE; n++) {
				char c = 1;
				int s = dial(host, SHORT + (n + i) % SHORTS);
				if (s < 0 || write(s, &c, 1) != 1 || read(s, &c, 1) != 1 || read(s, &c, 1) != 0) _exit(1);
				close(s);
			}
			_exit(0);
		}
	while (wait(&status) > 0) failed += status != 0;
	return failed ? fail("short connections failed") : total / (now() - began);
}

static double echoes(const char *host, int total) {
	int s = dial(host, ECHO), on = 1;
	char c = 1;
	if (s < 0) return fail("connect");
	setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	double began = now();
	for (int i = 0; i < total; i++)
		if (write(s, &c, 1) != 1 || read(s, &c, 1) != 1) return fail("echo");
	double took = now() - began;
	close(s);
	return took * 1e6 / total;
}

static int by_size(const void *a, const void *b) {
	double x = *(double *)a, y = *(double *)b;
	return (x > y) - (x < y);
}

static double pings(const char *host, int total) {
	static double took[10000];
	struct sockaddr_in a = at(host, 0);
	struct timeval patience = {2, 0};
	int s = socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP), got = 0;
	/* With capabilities but no group that may. */
	if (s < 0) s = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
	if (s < 0) return fail("socket");
	setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	for (int i = 0; i < total && i < 10000; i++) {
		struct icmphdr h = {.type = ICMP_ECHO, .un.echo = {.id = htons(77), .sequence = htons(i)}};
		uint32_t sum = 0;
		for (size_t w = 0; w < sizeof h / 2; w++) sum += ((uint16_t *)&h)[w];
		sum = (sum & 0xffff) + (sum >> 16);
		h.checksum = ~sum;
		double began = now();
		if (sendto(s, &h, sizeof h, 0, (struct sockaddr *)&a, sizeof a) < 0) return fail("send");
		if (recv(s, block, sizeof block, 0) < 0) return fail("no answer");
		took[got++] = (now() - began) * 1e6;
		usleep(1000);
	}
	close(s);
	qsort(took, got, sizeof *took, by_size);
	return took[got / 2];
}

static uint64_t counted(const char *host) {
	uint64_t seen = 0;
	int s = dial(host, COUNT);
	if (s < 0 || read(s, &seen, sizeof seen) != sizeof seen) fail("count");
	close(s);
	return seen;
}

static double udp(const char *host, double mbit, double ms) {
	struct sockaddr_in a = at(host, UDP);
	int s = socket(AF_INET, SOCK_DGRAM, 0);
	if (connect(s, (struct sockaddr *)&a, sizeof a)) return fail("connect");
	uint64_t before = counted(host), sent = 0;
	double began = now(), gap = 1400 * 8 / (mbit * 1e6);
	while (now() < began + ms / 1e3) {
		/* Bursts of at most 16, each millisecond or less what was due by then. */
		for (int i = 0; i < 16 && sent * gap < now() - began; i++)
			sent += send(s, block, 1400, 0) == 1400;
		struct timespec pause = {0, 50000};
		clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, 0);
	}
	usleep(300000);
	uint64_t came = counted(host) - before;
	close(s);
	if (sent * gap < ms / 1e3 * 0.9) {
		fprintf(stderr, "peer: sent only %.0f Mbit/s\n", sent * 1400 * 8 / ms / 1e3);
	}
	return sent ? 100.0 * (sent - (double)came) / sent : fail("nothing was sent");
}

static int held[20000], holds;

static double hold(const char *host, int n) {
	while (holds < n && holds < 20000) {
		int s = dial(host, HOLD);
		if (s < 0) return fail("connect");
		held[holds++] = s;
	}
	return holds;
}

static double drop(void) {
	double was = holds;
	while (holds) close(held[--holds]);
	return was;
}

static double obey(const char *verb, const char *host, double a, double b) {
	if (!strcmp(verb, "up")) return streams(one_up, host, a, b);
	if (!strcmp(verb, "down")) return streams(one_down, host, a, b);
	if (!strcmp(verb, "short")) return shorts(host, a);
	if (!strcmp(verb, "echo")) return echoes(host, a);
	if (!strcmp(verb, "ping")) return pings(host, a);
	if (!strcmp(verb, "udp")) return udp(host, a, b);
	if (!strcmp(verb, "hold")) return hold(host, a);
	if (!strcmp(verb, "drop")) return drop();
	why = "no such order";
	return 0;
}

static void agent(void) {
	char line[200], verb[20], host[100];
	double a, b;
	printf("ready\n");
	fflush(stdout);
	while (fgets(line, sizeof line, stdin)) {
		a = b = 0, *host = 0, why = 0;
		sscanf(line, "%19s %99s %lf %lf", verb, host, &a, &b);
		double value = obey(verb, host, a, b);
		if (why) printf("error %s\n", why);
		else printf("%.6f\n", value);
		fflush(stdout);
	}
}

int main(int argc, char **argv) {
	struct rlimit files;
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	signal(SIGPIPE, SIG_IGN);
	if (argc == 2 && !strcmp(argv[1], "serve")) served();
	else if (argc == 2 && !strcmp(argv[1], "agent")) agent();
	else return 2;
	return 0;
}
