/* Loaded into a process in front of the C library: the n-th change of a file below a folder fails, or every one from the n-th on.

   DISK_FOLDER   the folder
   DISK_AT       n, beginning with 1; 0: none fails
   DISK_ERRNO    what it fails with
   DISK_ONWARDS  1: so do all after it
   DISK_COUNT    file that gets the number of changes so far, once for each */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static int changes = 0;

static int number(const char *name) {
    const char *text = getenv(name);
    return text ? atoi(text) : 0;
}

static int fails(void) {
    int at = number("DISK_AT"), now = __sync_add_and_fetch(&changes, 1);
    const char *count = getenv("DISK_COUNT");
    if (count) {
        char text[16];
        int length = snprintf(text, sizeof text, "%d", now);
        int file = syscall(SYS_openat, AT_FDCWD, count, O_WRONLY | O_CREAT | O_TRUNC, 0644);
        syscall(SYS_write, file, text, length);
        syscall(SYS_close, file);
    }
    if (at == 0 || now < at || (now > at && !number("DISK_ONWARDS"))) return 0;
    errno = number("DISK_ERRNO");
    return 1;
}

static int inside(const char *path) {
    const char *folder = getenv("DISK_FOLDER");
    return folder && strncmp(path, folder, strlen(folder)) == 0;
}

static int inside_at(int folder, const char *path) {
    char link[64], place[PATH_MAX];
    if (path[0] == '/') return inside(path);
    snprintf(link, sizeof link, folder == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", folder);
    ssize_t length = readlink(link, place, sizeof place - 1);
    if (length < 0) return 0;
    place[length] = 0;
    return inside(place);
}

static int inside_file(int file) { return file > 2 && inside_at(file, ""); }

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int file, const void *data, size_t size) {
    return inside_file(file) && fails() ? -1 : REAL(write)(file, data, size);
}
ssize_t pwrite64(int file, const void *data, size_t size, off64_t at) {
    return inside_file(file) && fails() ? -1 : REAL(pwrite64)(file, data, size, at);
}
ssize_t writev(int file, const struct iovec *parts, int count) {
    return inside_file(file) && fails() ? -1 : REAL(writev)(file, parts, count);
}
ssize_t sendfile64(int out, int in, off64_t *at, size_t size) {
    static ssize_t (*real)(int, int, off64_t *, size_t);
    if (!real) real = dlsym(RTLD_NEXT, "sendfile64");
    return inside_file(out) && fails() ? -1 : real(out, in, at, size);
}
ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t size, unsigned flags) {
    return inside_file(out) && fails() ? -1 : REAL(copy_file_range)(in, from, out, to, size, flags);
}
int ftruncate64(int file, off64_t size) { return inside_file(file) && fails() ? -1 : REAL(ftruncate64)(file, size); }
int posix_fallocate64(int file, off64_t at, off64_t size) {
    return inside_file(file) && fails() ? errno : REAL(posix_fallocate64)(file, at, size);
}
int fsync(int file) { return inside_file(file) && fails() ? -1 : REAL(fsync)(file); }
int fdatasync(int file) { return inside_file(file) && fails() ? -1 : REAL(fdatasync)(file); }
int rename(const char *from, const char *to) {
    return inside_at(AT_FDCWD, to) && fails() ? -1 : REAL(rename)(from, to);
}
int renameat(int there, const char *from, int here, const char *to) {
    return inside_at(here, to) && fails() ? -1 : REAL(renameat)(there, from, here, to);
}
int link(const char *from, const char *to) { return inside_at(AT_FDCWD, to) && fails() ? -1 : REAL(link)(from, to); }
int linkat(int there, const char *from, int here, const char *to, int flags) {
    return inside_at(here, to) && fails() ? -1 : REAL(linkat)(there, from, here, to, flags);
}
int mkdir(const char *path, mode_t mode) { return inside_at(AT_FDCWD, path) && fails() ? -1 : REAL(mkdir)(path, mode); }
int mkdirat(int folder, const char *path, mode_t mode) {
    return inside_at(folder, path) && fails() ? -1 : REAL(mkdirat)(folder, path, mode);
}

static mode_t mode_of(int flags, va_list rest) { return flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; }

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = mode_of(flags, rest); \
        va_end(rest); \
        if ((flags & O_CREAT) && inside_at(AT_FDCWD, path) && fails()) return -1; \
        return REAL(name)(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = mode_of(flags, rest); \
        va_end(rest); \
        if ((flags & O_CREAT) && inside_at(folder, path) && fails()) return -1; \
        return REAL(name)(folder, path, flags, mode); \
    }
OPENAT(openat)
OPENAT(openat64)
