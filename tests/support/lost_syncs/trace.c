/* Records what a program writes and syncs below one folder, so that a power cut at any moment can be worked out.
 *
 * Preloaded into a program (LD_PRELOAD). LOST_SYNCS_FOLDER: the folder. LOST_SYNCS_TRACE: the file that gets the
 * records, outside of the folder; each is appended by one write, so that the records of several processes stay whole.
 * A record of a write comes after the write. A sync has two records: what came before the first is on disk when the
 * second is there. What the program writes to its standard output is recorded before it is written: from then on
 * others may know it. __init__.py reads the records.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

struct head {
    char kind;
    char unused[3];
    uint32_t path_length;
    int64_t inode;
    int64_t offset;
    int64_t length;
};

static int trace_descriptor = -1;
static char folder[PATH_MAX];
static size_t folder_length;

#define REAL(type, name, ...) ((type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))

__attribute__((constructor)) static void begin(void)
{
    const char *wanted = getenv("LOST_SYNCS_FOLDER"), *path = getenv("LOST_SYNCS_TRACE");
    if (wanted == NULL || path == NULL || realpath(wanted, folder) == NULL)
        return;
    folder_length = strlen(folder);
    trace_descriptor = REAL(int, "open", const char *, int, ...)(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

static int is_tracked(const char *path)
{
    return strncmp(path, folder, folder_length) == 0 && (path[folder_length] == '/' || path[folder_length] == 0);
}

/* The path of an open file, and whether it lies in the folder. A removed file is not tracked: nobody finds it. */
static int path_of(int descriptor, char *path)
{
    char link[64];
    ssize_t length;
    if (trace_descriptor < 0 || descriptor == trace_descriptor)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    length = readlink(link, path, PATH_MAX - 1);
    if (length <= 0)
        return 0;
    path[length] = 0;
    return is_tracked(path);
}

static int absolute(int directory, const char *name, char *path)
{
    char base[PATH_MAX];
    if (trace_descriptor < 0)
        return 0;
    if (name[0] == '/')
        snprintf(path, PATH_MAX, "%s", name);
    else if (directory == AT_FDCWD) {
        if (getcwd(base, sizeof base) == NULL || strlen(base) + strlen(name) + 2 > PATH_MAX)
            return 0;
        strcpy(path, base);
        strcat(path, "/");
        strcat(path, name);
    } else {
        if (!path_of(directory, base) || strlen(base) + strlen(name) + 2 > PATH_MAX)
            return 0;
        strcpy(path, base);
        strcat(path, "/");
        strcat(path, name);
    }
    return is_tracked(path);
}

static void record(char kind, const char *path, int64_t inode, int64_t offset, const void *data, int64_t length)
{
    struct head head = {kind, {0}, (uint32_t)strlen(path), inode, offset, length};
    struct iovec parts[3] = {
        {&head, sizeof head}, {(void *)path, head.path_length}, {(void *)data, data == NULL ? 0 : (size_t)length}};
    int before = errno;
    ssize_t done = REAL(ssize_t, "writev", int, const struct iovec *, int)(trace_descriptor, parts, 3);
    if (done < (ssize_t)sizeof head)
        abort(); /* a trace with gaps proves nothing */
    errno = before;
}

/* 0 for a folder: it may have the inode of a removed file. */
static int64_t inode_of(int descriptor)
{
    struct stat found;
    return fstat(descriptor, &found) == 0 && !S_ISDIR(found.st_mode) ? (int64_t)found.st_ino : 0;
}

static void record_write(int descriptor, const void *data, ssize_t length, int64_t offset)
{
    char path[PATH_MAX];
    if (length > 0 && path_of(descriptor, path))
        record('W', path, inode_of(descriptor), offset, data, length);
}

ssize_t pwrite64(int descriptor, const void *data, size_t length, off64_t offset)
{
    ssize_t done = REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t)(descriptor, data, length, offset);
    record_write(descriptor, data, done, offset);
    return done;
}

ssize_t pwrite(int descriptor, const void *data, size_t length, off_t offset)
{
    return pwrite64(descriptor, data, length, offset);
}

ssize_t write(int descriptor, const void *data, size_t length)
{
    if (descriptor == STDOUT_FILENO && trace_descriptor >= 0)
        record('O', "", 0, 0, data, (int64_t)length);
    ssize_t done = REAL(ssize_t, "write", int, const void *, size_t)(descriptor, data, length);
    if (trace_descriptor >= 0 && done > 0)
        record_write(descriptor, data, done, lseek(descriptor, 0, SEEK_CUR) - done);
    return done;
}

ssize_t writev(int descriptor, const struct iovec *parts, int count)
{
    ssize_t done = 0;
    for (int number = 0; number < count; number++) {
        ssize_t one = write(descriptor, parts[number].iov_base, parts[number].iov_len);
        if (one < 0)
            return done > 0 ? done : one;
        done += one;
        if ((size_t)one < parts[number].iov_len)
            break;
    }
    return done;
}

int ftruncate64(int descriptor, off64_t length)
{
    char path[PATH_MAX];
    int done = REAL(int, "ftruncate64", int, off64_t)(descriptor, length);
    if (done == 0 && path_of(descriptor, path))
        record('T', path, inode_of(descriptor), length, NULL, 0);
    return done;
}

int ftruncate(int descriptor, off_t length)
{
    return ftruncate64(descriptor, length);
}

static int synced(int descriptor, const char *name)
{
    char path[PATH_MAX];
    int64_t inode = 0, number = (int64_t)descriptor << 32 | (int64_t)getpid();
    int tracked = path_of(descriptor, path), done;
    if (tracked) {
        inode = inode_of(descriptor);
        record('B', path, inode, number, NULL, 0);
    }
    done = REAL(int, name, int)(descriptor);
    if (tracked && done == 0)
        record('E', path, inode, number, NULL, 0);
    return done;
}

int fsync(int descriptor)
{
    return synced(descriptor, "fsync");
}

int fdatasync(int descriptor)
{
    return synced(descriptor, "fdatasync");
}

/* Opening a file may create it, and may empty it. */
static int opened(int directory, const char *name, int flags, mode_t mode)
{
    char path[PATH_MAX], real[PATH_MAX];
    struct stat found;
    int tracked = (flags & (O_CREAT | O_TRUNC)) && absolute(directory, name, path);
    int existed = tracked && stat(path, &found) == 0;
    int done = REAL(int, "openat64", int, const char *, int, ...)(directory, name, flags, mode);
    if (tracked && done >= 0 && path_of(done, real)) {
        if (!existed)
            record('C', real, inode_of(done), 0, NULL, 0);
        else if (flags & O_TRUNC)
            record('T', real, inode_of(done), 0, NULL, 0);
    }
    return done;
}

#define MODE(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | __O_TMPFILE)) { \
        va_list more; \
        va_start(more, flags); \
        mode = va_arg(more, mode_t); \
        va_end(more); \
    }

int open64(const char *name, int flags, ...)
{
    MODE(flags)
    return opened(AT_FDCWD, name, flags, mode);
}

int open(const char *name, int flags, ...)
{
    MODE(flags)
    return opened(AT_FDCWD, name, flags, mode);
}

int openat64(int directory, const char *name, int flags, ...)
{
    MODE(flags)
    return opened(directory, name, flags, mode);
}

int openat(int directory, const char *name, int flags, ...)
{
    MODE(flags)
    return opened(directory, name, flags, mode);
}

static void record_name(char kind, int directory, const char *name)
{
    char path[PATH_MAX];
    if (absolute(directory, name, path))
        record(kind, path, 0, 0, NULL, 0);
}

int unlink(const char *name)
{
    int done = REAL(int, "unlink", const char *)(name);
    if (done == 0)
        record_name('U', AT_FDCWD, name);
    return done;
}

int unlinkat(int directory, const char *name, int flags)
{
    int done = REAL(int, "unlinkat", int, const char *, int)(directory, name, flags);
    if (done == 0 && !(flags & AT_REMOVEDIR))
        record_name('U', directory, name);
    return done;
}

/* A second name for a file, or another one. */
static void record_two_names(char kind, int old_directory, const char *old, int new_directory, const char *new)
{
    char from[PATH_MAX], to[PATH_MAX];
    int is_from = absolute(old_directory, old, from), is_to = absolute(new_directory, new, to);
    if (is_from && is_to)
        record(kind, from, 0, 0, to, (int64_t)strlen(to));
    else if (is_from || is_to)
        abort(); /* into or out of the folder: not recorded, so the trace would be wrong */
}

int rename(const char *old, const char *new)
{
    int done = REAL(int, "rename", const char *, const char *)(old, new);
    if (done == 0)
        record_two_names('R', AT_FDCWD, old, AT_FDCWD, new);
    return done;
}

int renameat(int old_directory, const char *old, int new_directory, const char *new)
{
    int done = REAL(int, "renameat", int, const char *, int, const char *)(old_directory, old, new_directory, new);
    if (done == 0)
        record_two_names('R', old_directory, old, new_directory, new);
    return done;
}

int link(const char *old, const char *new)
{
    int done = REAL(int, "link", const char *, const char *)(old, new);
    if (done == 0)
        record_two_names('L', AT_FDCWD, old, AT_FDCWD, new);
    return done;
}

int linkat(int old_directory, const char *old, int new_directory, const char *new, int flags)
{
    int done = REAL(int, "linkat", int, const char *, int, const char *, int)(
        old_directory, old, new_directory, new, flags);
    if (done == 0)
        record_two_names('L', old_directory, old, new_directory, new);
    return done;
}
