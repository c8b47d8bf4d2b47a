/* Counts what a process has allocated, and the most of it: LD_PRELOAD, then watch_reset, watch_live, watch_peak. */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

static atomic_long live, peak;

static void *add(void *p) {
    if (p) {
        long size = (long)malloc_usable_size(p), now = atomic_fetch_add(&live, size) + size, most = atomic_load(&peak);
        while (now > most && !atomic_compare_exchange_weak(&peak, &most, now)) {}
    }
    return p;
}

static void drop(void *p) {
    if (p) atomic_fetch_sub(&live, (long)malloc_usable_size(p));
}

void *malloc(size_t n) { return add(__libc_malloc(n)); }
void *calloc(size_t count, size_t n) { return add(__libc_calloc(count, n)); }
void *memalign(size_t align, size_t n) { return add(__libc_memalign(align, n)); }
void *aligned_alloc(size_t align, size_t n) { return memalign(align, n); }
void free(void *p) { drop(p); __libc_free(p); }
void *realloc(void *p, size_t n) { drop(p); return add(__libc_realloc(p, n)); }
int posix_memalign(void **out, size_t align, size_t n) { *out = memalign(align, n); return *out ? 0 : ENOMEM; }

void watch_reset(void) { atomic_store(&peak, atomic_load(&live)); }
long watch_live(void) { return atomic_load(&live); }
long watch_peak(void) { return atomic_load(&peak); }
