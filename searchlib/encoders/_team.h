/* Work that some threads share: phases one after the other, each of chunks in any order.

   A chunk goes to whoever asks next, and the caller asks too: a helper that the system gives no
   core to delays the others by the chunk that it holds, and one that comes late by nothing. Threads
   live as long as the call: nothing is kept, nothing is in the way of a fork. */

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <time.h>

#define MOST_WORKERS 8
#define STACK_BYTES (512 * 1024)
#define PATIENCE 4000 /* turns of waiting, until others may have the core */
#define ALONE 32      /* calls without helpers, after one that found the cores taken by others */

typedef struct {
    void (*work)(void *job, Py_ssize_t phase, Py_ssize_t chunk, int worker);
    Py_ssize_t (*chunks)(const void *job, Py_ssize_t phase);
    void *job;
    Py_ssize_t phases;
    uint64_t ticket; /* the phase, times 2^32, and its next chunk */
    Py_ssize_t done; /* chunks of the phase */
    int numbered;    /* workers that have a number; the caller's is 0 */
} Team;

static void wait_a_turn(int *turns)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
    if (++*turns % PATIENCE == 0) sched_yield();
}

/* Does one chunk of the phase that the ticket is at; 0 if none of it is left. */
static int do_next(Team *team, int worker)
{
    uint64_t ticket = __atomic_load_n(&team->ticket, __ATOMIC_ACQUIRE);
    Py_ssize_t phase = (Py_ssize_t)(ticket >> 32), chunk = (Py_ssize_t)(ticket & UINT32_MAX);
    if (phase >= team->phases || chunk >= team->chunks(team->job, phase)) return 0;
    /* what counts is the ticket that is drawn, maybe of a later phase than the one that was seen */
    ticket = __atomic_fetch_add(&team->ticket, 1, __ATOMIC_ACQ_REL);
    phase = (Py_ssize_t)(ticket >> 32);
    chunk = (Py_ssize_t)(ticket & UINT32_MAX);
    if (phase >= team->phases || chunk >= team->chunks(team->job, phase)) return 0;
    team->work(team->job, phase, chunk, worker);
    __atomic_fetch_add(&team->done, 1, __ATOMIC_RELEASE);
    return 1;
}

static void *help(void *given)
{
    Team *team = given;
    int worker = __atomic_add_fetch(&team->numbered, 1, __ATOMIC_RELAXED), turns = 0;
    while ((Py_ssize_t)(__atomic_load_n(&team->ticket, __ATOMIC_ACQUIRE) >> 32) < team->phases)
        if (!do_next(team, worker)) wait_a_turn(&turns);
    return NULL;
}

/* Starts so many helpers, or fewer where the system gives no more; how many. Signals stay the
   caller's. */
static int begin_helpers(Team *team, pthread_t *helpers, int count)
{
    sigset_t all, before;
    pthread_attr_t small;
    int started = 0;
    if (count < 1 || pthread_attr_init(&small)) return 0;
    sigfillset(&all);
    pthread_attr_setstacksize(&small, STACK_BYTES);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (started < count && !pthread_create(&helpers[started], &small, help, team)) started++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&small);
    return started;
}

/* Of the extension that includes this, in this process: */
static int at_work; /* callers: they have the cores before any helper */
static int alone;   /* calls that do without helpers, since others have the cores */

/* In a forked child: whoever was at work is so in the parent only. */
static void count_anew(void) { at_work = alone = 0; }

/* For when the extension is loaded. subtle: nobody forks then; a handler that is registered while
   others run for a fork is left out of it. */
static void watch_forks(void) { pthread_atfork(NULL, NULL, count_anew); }

static double seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Does all phases; callers and helpers are `workers` together at most, or callers only. */
static void work_together(Team *team, int workers)
{
    pthread_t helpers[MOST_WORKERS - 1];
    int turns = 0, count = workers < MOST_WORKERS ? workers : MOST_WORKERS;
    count -= __atomic_fetch_add(&at_work, 1, __ATOMIC_RELAXED);
    if (count > 1 && __atomic_load_n(&alone, __ATOMIC_RELAXED) > 0) {
        __atomic_fetch_sub(&alone, 1, __ATOMIC_RELAXED);
        count = 1;
    }
    double began = seconds(CLOCK_MONOTONIC), used = seconds(CLOCK_THREAD_CPUTIME_ID), waited = 0;
    team->ticket = team->done = team->numbered = 0;
    int started = begin_helpers(team, helpers, count - 1);
    for (Py_ssize_t phase = 0; phase < team->phases; phase++) {
        if (phase) {
            __atomic_store_n(&team->done, 0, __ATOMIC_RELAXED);
            __atomic_store_n(&team->ticket, (uint64_t)phase << 32, __ATOMIC_RELEASE);
        }
        while (do_next(team, 0)) {}
        Py_ssize_t all = team->chunks(team->job, phase);
        if (__atomic_load_n(&team->done, __ATOMIC_ACQUIRE) == all) continue;
        double since = seconds(CLOCK_THREAD_CPUTIME_ID);
        while (__atomic_load_n(&team->done, __ATOMIC_ACQUIRE) < all) wait_a_turn(&turns);
        waited += seconds(CLOCK_THREAD_CPUTIME_ID) - since;
    }
    /* subtle: on cores of their own, callers work for nearly all of the time, and wait for the end
       of a chunk only */
    double worked = seconds(CLOCK_THREAD_CPUTIME_ID) - used - waited;
    if (started && 4 * worked < 3 * (seconds(CLOCK_MONOTONIC) - began))
        __atomic_store_n(&alone, ALONE, __ATOMIC_RELAXED);
    __atomic_store_n(&team->ticket, (uint64_t)team->phases << 32, __ATOMIC_RELEASE);
    while (started--) pthread_join(helpers[started], NULL);
    __atomic_fetch_sub(&at_work, 1, __ATOMIC_RELAXED);
}
