/* Preloaded into a process of a test, it makes the system behave as a bad day would have it.
 *
 * SHIM_STALL=PATH   syncing a file to the disk takes until PATH is gone
 * SHIM_KEEP=OFFSET  a lock on that byte of a file is not given back before the process ends, whoever says so
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

static void stall(void) {
    const char *path = getenv("SHIM_STALL");
    while (path != NULL && access(path, F_OK) == 0) usleep(5000);
}

int fsync(int file) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    stall();
    return real(file);
}

int fdatasync(int file) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    stall();
    return real(file);
}

static int kept(int command, const struct flock *lock) {
    const char *offset = getenv("SHIM_KEEP");
    return offset != NULL && command == F_SETLK && lock->l_type == F_UNLCK && lock->l_start == atol(offset)
        && lock->l_len == 1;
}

static int passed_on(const char *name, int file, int command, void *argument) {
    int (*real)(int, int, void *) = (int (*)(int, int, void *))dlsym(RTLD_NEXT, name);
    if (kept(command, argument)) return 0;
    return real(file, command, argument);
}

#define PASSED_ON(name)                                    \
    int name(int file, int command, ...) {                 \
        va_list arguments;                                 \
        va_start(arguments, command);                      \
        void *argument = va_arg(arguments, void *);        \
        va_end(arguments);                                 \
        return passed_on(#name, file, command, argument);  \
    }

PASSED_ON(fcntl)
PASSED_ON(fcntl64)
