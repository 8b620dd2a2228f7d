/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Holds a pod's namespaces: waits for its end, and as process 1 of a shared one buries whatever the pod leaves. */
#include <signal.h>
#include <stdlib.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

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

int main(void)
{
	struct sigaction end = {.sa_handler = leave};
	struct sigaction child = {.sa_handler = bury, .sa_flags = SA_NOCLDSTOP | SA_RESTART};

	if (sigaction(SIGINT, &end, NULL) || sigaction(SIGTERM, &end, NULL) || sigaction(SIGCHLD, &child, NULL))
		return EXIT_FAILURE;
	for (;;)
		pause();
}
