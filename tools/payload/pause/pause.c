/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Holds a pod's namespaces: waits for its end, and as process 1 of a shared one buries whatever the pod leaves.
 * With -v it says its version and ends, which the health check of kubeadm's upgrades counts on.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef VERSION
#define VERSION "unknown"
#endif

static void leave(int number)
{
	(void)number;
	_exit(0);
}

static void bury(int number)
{
	(void)number;
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

int main(int count, char **words)
{
	struct sigaction end = {.sa_handler = leave};
	struct sigaction child = {.sa_handler = bury, .sa_flags = SA_NOCLDSTOP | SA_RESTART};

	for (int i = 1; i < count; i++) {
		if (!strcmp(words[i], "-v")) {
			printf("pause %s\n", VERSION);
			return EXIT_SUCCESS;
		}
	}
	if (sigaction(SIGINT, &end, NULL) || sigaction(SIGTERM, &end, NULL) || sigaction(SIGCHLD, &child, NULL))
		return EXIT_FAILURE;
	for (;;)
		pause();
}
