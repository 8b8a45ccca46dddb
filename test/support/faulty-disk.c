/*
 * The disk of one process, for LD_PRELOAD: it fails when it is told to, and keeps a trace of all that was asked of it.
 *
 *   DISK_ROOT    the folder it is about
 *   DISK_TRACE   where the trace goes. Several processes may share it: what stands there is in order
 *   DISK_FILE    how the path of a file ends that is to fail
 *   DISK_CALL    sync or write: what fails
 *   DISK_AT      the first of these calls that fails, from 1 on
 *   DISK_TIMES   how many fail from there on
 *   DISK_ERRNO   what with
 *   DISK_HALF    set: of a write that fails the first half is written
 *   DISK_LOSE    set: with a sync that fails, what was written since the last one is lost, as from a disk that gave up
 *
 * A record of the trace: struct head, path, data. W: is to be written. T: cut to `offset` bytes. U: deleted. S: is to be synced. E: was
 * synced. A: is said on stdout, an answer to a client. F: failed.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

struct head {
  uint32_t type, pid, path, data;
  uint64_t offset;
};

/* What stood where something was written since the last sync. */
struct undo {
  struct undo *older;
  int fd;
  off_t offset, size;
  ssize_t length;
  char data[];
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int trace = -1, failing, lose, half, errors;
static long count, first, last;
static const char *root, *ending, *call;
static struct undo *undos;

static long number(const char *name, long otherwise) {
  const char *text = getenv(name);
  return text ? atol(text) : otherwise;
}

__attribute__((constructor)) static void begin(void) {
  root = getenv("DISK_ROOT");
  ending = getenv("DISK_FILE");
  call = getenv("DISK_CALL");
  failing = root && ending && call;
  first = number("DISK_AT", 1);
  last = first + number("DISK_TIMES", 1);
  errors = number("DISK_ERRNO", EIO);
  half = getenv("DISK_HALF") != NULL;
  lose = getenv("DISK_LOSE") != NULL;
  if (root && getenv("DISK_TRACE")) trace = open(getenv("DISK_TRACE"), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
}

/* Whether the file lies in the folder; if so, its path. */
static int ours(int fd, char *path) {
  char link[32];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = root ? readlink(link, path, 4095) : -1;
  if (length < 0) return 0;
  path[length] = 0;
  return strncmp(path, root, strlen(root)) == 0;
}

static void tell(char type, const char *path, off_t offset, const void *data, size_t length) {
  if (trace < 0) return;
  struct head head = {type, getpid(), strlen(path), length, offset};
  struct iovec parts[] = {{&head, sizeof head}, {(void *)path, head.path}, {(void *)data, length}};
  if (writev(trace, parts, 3) < 0) abort();
}

/* Whether this is a call that fails. */
static int fails(const char *what, const char *path) {
  size_t length = strlen(path), end = failing ? strlen(ending) : 0;
  if (!failing || strcmp(what, call) || length < end || strcmp(path + length - end, ending)) return 0;
  long n = ++count;
  if (n < first || n >= last) return 0;
  tell('F', path, 0, "", 0);
  return 1;
}

static void remember(int fd, size_t length, off_t offset) {
  struct stat now;
  struct undo *undo = malloc(sizeof *undo + length);
  if (!undo || fstat(fd, &now) < 0) abort();
  *undo = (struct undo){undos, fd, offset, now.st_size, pread(fd, undo->data, length, offset)};
  undos = undo;
}

/* What was written through this file since the last sync is forgotten, or undone. */
static void settle(int fd, int undoing) {
  for (struct undo **at = &undos; *at;) {
    struct undo *undo = *at;
    if (undo->fd != fd) {
      at = &undo->older;
      continue;
    }
    if (undoing && undo->length > 0) REAL(pwrite64)(fd, undo->data, undo->length, undo->offset);
    if (undoing) REAL(ftruncate64)(fd, undo->size);
    *at = undo->older;
    free(undo);
  }
}

static ssize_t put(int fd, const void *data, size_t length, off_t offset) {
  char path[4096];
  if (!ours(fd, path)) return REAL(pwrite64)(fd, data, length, offset);
  pthread_mutex_lock(&mutex);
  ssize_t written;
  if (fails("write", path)) {
    if (half) REAL(pwrite64)(fd, data, length / 2, offset);
    errno = errors;
    written = -1;
  } else {
    if (lose) remember(fd, length, offset);
    tell('W', path, offset, data, length);
    written = REAL(pwrite64)(fd, data, length, offset);
  }
  pthread_mutex_unlock(&mutex);
  return written;
}

static int sync_with(int (*real)(int), int fd) {
  char path[4096];
  if (!ours(fd, path)) return real(fd);
  pthread_mutex_lock(&mutex);
  int result;
  if (fails("sync", path)) {
    settle(fd, lose);
    errno = errors;
    result = -1;
  } else {
    tell('S', path, 0, "", 0);
    result = real(fd);
    if (result == 0) tell('E', path, 0, "", 0);
    settle(fd, 0);
  }
  pthread_mutex_unlock(&mutex);
  return result;
}

static int cut(int fd, off_t size) {
  char path[4096];
  if (ours(fd, path)) tell('T', path, size, "", 0);
  return REAL(ftruncate64)(fd, size);
}

ssize_t pwrite64(int fd, const void *data, size_t length, off_t offset) { return put(fd, data, length, offset); }
ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) { return put(fd, data, length, offset); }
int fsync(int fd) { return sync_with(REAL(fsync), fd); }
int fdatasync(int fd) { return sync_with(REAL(fdatasync), fd); }
int ftruncate64(int fd, off_t size) { return cut(fd, size); }
int ftruncate(int fd, off_t size) { return cut(fd, size); }

int unlink(const char *path) {
  if (root && strncmp(path, root, strlen(root)) == 0) tell('U', path, 0, "", 0);
  return REAL(unlink)(path);
}

ssize_t write(int fd, const void *data, size_t length) {
  if (fd == 1) tell('A', "", 0, data, length);
  return REAL(write)(fd, data, length);
}
