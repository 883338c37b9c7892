/*
 * The least that a program which fetches a token must do: connect, ask, print the body
 *
 * The floor for `bearerctl get`. No arguments are understood, no answer is checked beyond its status.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        char text[20480];
        const char *body;
        size_t len = 0;
        ssize_t n;
        int fd;

        if (argc != 3 || strlen(argv[1]) >= sizeof(address.sun_path) || strlen(argv[2]) > 1024) {
                fputs("roundtrip SOCKET PATH\n", stderr);
                return 2;
        }
        strcpy(address.sun_path, argv[1]);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0) {
                perror(argv[1]);
                return EXIT_FAILURE;
        }
        n = snprintf(text, sizeof(text),
                     "GET %s HTTP/1.1\r\nHost: localhost\r\nAccept: text/plain\r\n"
                     "Connection: close\r\n\r\n",
                     argv[2]);
        if (send(fd, text, (size_t) n, MSG_NOSIGNAL) != n)
                return EXIT_FAILURE;
        while ((n = recv(fd, text + len, sizeof(text) - 1 - len, 0)) > 0)
                len += (size_t) n;
        text[len] = '\0';
        body = strstr(text, "\r\n\r\n");
        if (n < 0 || !body || strncmp(text, "HTTP/1.1 200 ", 13) != 0)
                return EXIT_FAILURE;
        puts(body + 4);
        return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
