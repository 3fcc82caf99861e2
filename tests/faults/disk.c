/* A disk that fails when it is told to, for LD_PRELOAD: what a process and its children change below one folder is
 * counted and written down, and some of those calls fail.
 *
 * STILLWATCH_DISK_UNDER    the folder, absolute
 * STILLWATCH_DISK_CONTROL  a file of sizeof(struct control) bytes that whoever plays shares with the processes
 * STILLWATCH_DISK_TRACE    a file; every call is appended to it, with its bytes where control->bytes says so
 *
 * A record of the trace: "NAME RESULT ERRNO OFFSET LENGTH PATH\0TARGET\0\n", then LENGTH bytes.
 * One call at a time is under way, whatever process makes it, so that the trace has them in their order. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum how { NEVER, NO_SPACE, IO_ERROR, SHORT };
enum then { GO_ON, FAIL, DIE }; /* the other calls succeed, fail as well, or kill whoever makes the next one */

struct control {
    uint32_t made;   /* whether the lock is */
    uint32_t how;    /* which failure */
    uint32_t then;   /* what becomes of later calls */
    uint32_t bytes;  /* whether the trace holds what was written */
    uint64_t at;     /* the number of the call that fails, from 1 */
    uint64_t calls;  /* how many there were */
    uint64_t failed; /* how many of them failed */
    pthread_mutex_t lock;
};

static struct control *control;
static char under[PATH_MAX];
static size_t under_length;
static int trace = -1;

#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void begin(void) {
    const char *folder = getenv("STILLWATCH_DISK_UNDER"), *shared = getenv("STILLWATCH_DISK_CONTROL"),
               *written = getenv("STILLWATCH_DISK_TRACE");
    if (!folder || !shared || !written || strlen(folder) >= sizeof under) return;
    int file = open(shared, O_RDWR | O_CLOEXEC);
    if (file < 0) return;
    void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (mapped == MAP_FAILED) return;
    trace = open(written, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    struct control *fresh = mapped;
    uint32_t nobody = 0;
    if (__atomic_compare_exchange_n(&fresh->made, &nobody, 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
        pthread_mutexattr_t kind;
        pthread_mutexattr_init(&kind);
        pthread_mutexattr_setpshared(&kind, PTHREAD_PROCESS_SHARED);
        pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST);
        pthread_mutex_init(&fresh->lock, &kind);
        __atomic_store_n(&fresh->made, 2, __ATOMIC_SEQ_CST);
    }
    while (__atomic_load_n(&fresh->made, __ATOMIC_SEQ_CST) != 2) usleep(100);
    strcpy(under, folder);
    under_length = strlen(under);
    control = fresh;
}

static int is_ours(const char *path) {
    return control && !strncmp(path, under, under_length) && (path[under_length] == '/' || !path[under_length]);
}

/* The path of an open file; the empty one where it has none any more. */
static const char *path_of(int file, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    path[length < 0 ? 0 : length] = 0;
    return path;
}

static const char *path_at(int folder, const char *name, char *path) {
    char base[PATH_MAX];
    if (name[0] == '/') return name;
    if (folder != AT_FDCWD) path_of(folder, base);
    else if (!getcwd(base, sizeof base)) base[0] = 0;
    if (snprintf(path, 2 * PATH_MAX, "%s/%s", base, name) < 0) path[0] = 0;
    return path;
}

/* Take the lock, count the call, and return how it is to fail. */
static enum how enter(void) {
    if (pthread_mutex_lock(&control->lock) == EOWNERDEAD) pthread_mutex_consistent(&control->lock);
    uint64_t number = ++control->calls;
    if (!control->how || number < control->at || (number > control->at && control->then == GO_ON)) return NEVER;
    if (number > control->at && control->then == DIE) kill(getpid(), SIGKILL);
    control->failed++;
    if (control->how == SHORT && number > control->at) return NO_SPACE; /* there was room for a part, and no more */
    return control->how;
}

/* Write the call down, let go of the lock, and leave `errno` as the call did. */
static void leave(const char *name, long result, int error, long offset, const char *path, const char *target,
                  const struct iovec *parts, int count) {
    char head[5 * PATH_MAX];
    long written = parts && result > 0 && control->bytes ? result : 0;
    int length = snprintf(head, sizeof head, "%s %ld %d %ld %ld %s%c%s%c\n", name, result, result < 0 ? error : 0,
                          offset, written, path, 0, target, 0);
    struct iovec out[17] = {{head, (size_t)length}};
    int used = 1;
    for (int at = 0; at < count && used < 17 && written > 0; at++) {
        size_t some = parts[at].iov_len < (size_t)written ? parts[at].iov_len : (size_t)written;
        out[used++] = (struct iovec){parts[at].iov_base, some};
        written -= (long)some;
    }
    REAL(writev);
    if (trace >= 0 && real(trace, out, used) < 0) abort();
    pthread_mutex_unlock(&control->lock);
    errno = error;
}

static int error_of(enum how how) { return how == IO_ERROR ? EIO : ENOSPC; }

/* A call without bytes: fails when it is to, else does CALL. */
#define PLAIN(NAME, PATH, TARGET, OFFSET, CALL)                                                                       \
    do {                                                                                                              \
        enum how how = enter();                                                                                       \
        long result = -1;                                                                                             \
        if (how) errno = error_of(how);                                                                               \
        else result = (CALL);                                                                                         \
        leave(NAME, result, errno, OFFSET, PATH, TARGET, NULL, 0);                                                    \
        return (int)result;                                                                                           \
    } while (0)

static ssize_t write_at(const char *path, int file, const struct iovec *parts, int count, off_t offset) {
    REAL(pwritev);
    static ssize_t (*plain)(int, const struct iovec *, int);
    if (!plain) plain = (ssize_t(*)(int, const struct iovec *, int))dlsym(RTLD_NEXT, "writev");
    enum how how = enter();
    ssize_t result = -1;
    size_t length = 0;
    for (int at = 0; at < count; at++) length += parts[at].iov_len;
    if (how == SHORT && length > 1 && count == 1) {
        struct iovec half = {parts[0].iov_base, length / 2};
        result = offset < 0 ? plain(file, &half, 1) : real(file, &half, 1, offset);
    } else if (how) {
        errno = error_of(how);
    } else {
        result = offset < 0 ? plain(file, parts, count) : real(file, parts, count, offset);
    }
    int error = errno;
    if (offset < 0 && result >= 0) offset = lseek(file, 0, SEEK_CUR) - result;
    leave("write", result, error, offset, path, "", parts, count);
    return result;
}

ssize_t write(int file, const void *data, size_t length) {
    REAL(write);
    char path[PATH_MAX];
    if (!control || !is_ours(path_of(file, path))) return real(file, data, length);
    return write_at(path, file, &(struct iovec){(void *)data, length}, 1, -1);
}

ssize_t pwrite(int file, const void *data, size_t length, off_t offset) {
    REAL(pwrite);
    char path[PATH_MAX];
    if (!control || !is_ours(path_of(file, path))) return real(file, data, length, offset);
    return write_at(path, file, &(struct iovec){(void *)data, length}, 1, offset);
}
ssize_t pwrite64(int file, const void *data, size_t length, off64_t offset) { return pwrite(file, data, length, offset); }

ssize_t writev(int file, const struct iovec *parts, int count) {
    REAL(writev);
    char path[PATH_MAX];
    if (!control || !is_ours(path_of(file, path))) return real(file, parts, count);
    return write_at(path, file, parts, count, -1);
}

ssize_t pwritev(int file, const struct iovec *parts, int count, off_t offset) {
    REAL(pwritev);
    char path[PATH_MAX];
    if (!control || !is_ours(path_of(file, path))) return real(file, parts, count, offset);
    return write_at(path, file, parts, count, offset);
}
ssize_t pwritev64(int file, const struct iovec *parts, int count, off64_t offset) { return pwritev(file, parts, count, offset); }

int fsync(int file) {
    REAL(fsync);
    char path[PATH_MAX];
    if (!control || !is_ours(path_of(file, path))) return real(file);
    PLAIN("fsync", path, "", 0, 0); /* nothing here outlives the machine: the order is what counts */
}

int fdatasync(int file) {
    REAL(fdatasync);
    char path[PATH_MAX];
    if (!control || !is_ours(path_of(file, path))) return real(file);
    PLAIN("fsync", path, "", 0, 0);
}

int ftruncate(int file, off_t length) {
    REAL(ftruncate);
    char path[PATH_MAX];
    if (!control || !is_ours(path_of(file, path))) return real(file, length);
    PLAIN("truncate", path, "", length, real(file, length));
}
int ftruncate64(int file, off64_t length) { return ftruncate(file, length); }

static int opened(int folder, const char *name, int flags, mode_t mode) {
    REAL(openat);
    char joined[2 * PATH_MAX];
    const char *path = control && (flags & (O_CREAT | O_TRUNC)) ? path_at(folder, name, joined) : "";
    if (!is_ours(path)) return real(folder, name, flags, mode);
    const char *what = flags & O_TRUNC ? "create" : "open";
    PLAIN(what, path, "", 0, real(folder, name, flags, mode));
}

#define MODE(FLAGS)                                                                                                   \
    mode_t mode = 0;                                                                                                  \
    if ((FLAGS) & (O_CREAT | O_TMPFILE)) {                                                                            \
        va_list rest;                                                                                                 \
        va_start(rest, flags);                                                                                        \
        mode = va_arg(rest, mode_t);                                                                                  \
        va_end(rest);                                                                                                 \
    }
int open(const char *path, int flags, ...) { MODE(flags) return opened(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return opened(AT_FDCWD, path, flags, mode); }
int openat(int folder, const char *path, int flags, ...) { MODE(flags) return opened(folder, path, flags, mode); }
int openat64(int folder, const char *path, int flags, ...) { MODE(flags) return opened(folder, path, flags, mode); }

int renameat(int from, const char *old, int to, const char *fresh) {
    REAL(renameat);
    char one[2 * PATH_MAX], other[2 * PATH_MAX];
    const char *path = control ? path_at(from, old, one) : "";
    if (!is_ours(path)) return real(from, old, to, fresh);
    PLAIN("rename", path, path_at(to, fresh, other), 0, real(from, old, to, fresh));
}
int rename(const char *old, const char *fresh) { return renameat(AT_FDCWD, old, AT_FDCWD, fresh); }

int linkat(int from, const char *old, int to, const char *fresh, int flags) {
    REAL(linkat);
    char one[2 * PATH_MAX], other[2 * PATH_MAX];
    const char *path = control ? path_at(from, old, one) : "";
    if (!is_ours(path)) return real(from, old, to, fresh, flags);
    PLAIN("link", path, path_at(to, fresh, other), 0, real(from, old, to, fresh, flags));
}
int link(const char *old, const char *fresh) { return linkat(AT_FDCWD, old, AT_FDCWD, fresh, 0); }

int unlinkat(int folder, const char *name, int flags) {
    REAL(unlinkat);
    char joined[2 * PATH_MAX];
    const char *path = control ? path_at(folder, name, joined) : "";
    if (!is_ours(path)) return real(folder, name, flags);
    PLAIN("unlink", path, "", 0, real(folder, name, flags));
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int mkdirat(int folder, const char *name, mode_t mode) {
    REAL(mkdirat);
    char joined[2 * PATH_MAX];
    const char *path = control ? path_at(folder, name, joined) : "";
    if (!is_ours(path)) return real(folder, name, mode);
    PLAIN("mkdir", path, "", 0, real(folder, name, mode));
}
int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }
