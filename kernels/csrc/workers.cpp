#include "workers.hpp"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <utility>

namespace chiasm {
namespace {

inline void pause() {
#ifdef __x86_64__
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// What the threads of one call share; it lives on the caller's stack.
class Call {
  public:
    Call(void (*run)(void *, std::size_t), void *context) : run_(run), context_(context) {}

    void begin() { left_.fetch_add(1, std::memory_order_relaxed); }
    void work(std::size_t worker) const { run_(context_, worker); }
    void end() {
        const std::lock_guard<std::mutex> lock(mutex_);  // until it is free, wait() does not return and the call lives
        if (left_.fetch_sub(1, std::memory_order_release) == 1) none_left_.notify_one();
    }
    void wait() {
        // Pieces of a size end nearly together: some microseconds of this are less than falling asleep and waking up.
        for (int i = 0; i < 500 && left_.load(std::memory_order_relaxed); ++i) pause();
        std::unique_lock<std::mutex> lock(mutex_);
        none_left_.wait(lock, [this] { return !left_.load(std::memory_order_acquire); });
    }

  private:
    void (*run_)(void *, std::size_t);
    void *context_;
    std::atomic<std::size_t> left_{0};
    std::mutex mutex_;
    std::condition_variable none_left_;
};

// Where those may run who work for this thread: where it may itself, but not on the processor that it is on. One that fell asleep there
// would be woken there, as long as the other processors are not idle, and wait until this thread has done all the work.
class Places {
  public:
#ifdef __linux__
    Places() {
        const int here = sched_getcpu();
        known_ = pthread_getaffinity_np(pthread_self(), sizeof set_, &set_) == 0;
        if (known_ && here >= 0 && CPU_COUNT(&set_) > 1) CPU_CLR(static_cast<std::size_t>(here), &set_);
    }
    void send(pthread_t thread) const {
        if (known_) pthread_setaffinity_np(thread, sizeof set_, &set_);
    }

  private:
    cpu_set_t set_;
    bool known_;
#else
    void send(pthread_t) const {}
#endif
};

class Helpers;

// A thread that sleeps until it is given a call to work for.
class Helper {
  public:
    void begin(std::thread thread) {
        thread_ = thread.native_handle();
        thread.detach();
    }
    void give(Call &call, std::size_t worker, const Places &places) {
        places.send(thread_);
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            call_ = &call;
            worker_ = worker;
        }
        given_.notify_one();
    }
    // Takes the call away again; false when it has been begun.
    bool recall(const Call &call) {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (call_ != &call) return false;
        call_ = nullptr;
        return true;
    }
    // Its thread will end.
    void dismiss() {
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            dismissed_ = true;
        }
        given_.notify_one();
    }
    void live(Helpers &all);

  private:
    pthread_t thread_{};
    std::mutex mutex_;
    std::condition_variable given_;
    Call *call_ = nullptr;
    std::size_t worker_ = 0;
    bool dismissed_ = false;
};

// Those that sleep. More than there are cores are not kept: a call that asked for a thousand leaves few behind. A helper without a
// thread waits for another one: its caller may still ask it for a call that it has done, so it is never deleted.
class Helpers {
  public:
    // Null when no thread can be started.
    Helper *take() {
        Helper *helper = last_of(idle_);
        if (!helper) helper = start(last_of(ended_));
        return helper;
    }
    // False when it is one too many and its thread has to end.
    bool take_back(Helper *helper) {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (idle_.size() >= cores_) return false;
        idle_.push_back(helper);
        return true;
    }
    // The thread of `helper` ends, and does not touch it again.
    void ends(Helper *helper) {
        const std::lock_guard<std::mutex> lock(mutex_);
        ended_.push_back(helper);
    }

  private:
    Helper *last_of(std::vector<Helper *> &helpers) {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (helpers.empty()) return nullptr;
        Helper *last = helpers.back();
        helpers.pop_back();
        return last;
    }

    Helper *start(Helper *helper) {
        if (!helper) helper = make();
        if (!helper) return nullptr;
        // A signal that a helper took would not wake the thread that waits for it.
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        try {
            helper->begin(std::thread([this, helper] { helper->live(*this); }));
        } catch (...) {
            ends(helper);
            helper = nullptr;
        }
        pthread_sigmask(SIG_SETMASK, &before, nullptr);
        return helper;
    }

    // With room for one more in both lists, so that whoever comes back to them finds it.
    Helper *make() {
        const std::lock_guard<std::mutex> lock(mutex_);
        try {
            idle_.reserve(cores_);
            if (ended_.capacity() <= made_) ended_.reserve(2 * made_ + 1);
            Helper *helper = new Helper;
            ++made_;
            return helper;
        } catch (const std::bad_alloc &) {
            return nullptr;
        }
    }

    const std::size_t cores_ = std::max(1U, std::thread::hardware_concurrency());
    std::mutex mutex_;
    std::vector<Helper *> idle_, ended_;
    std::size_t made_ = 0;
};

void Helper::live(Helpers &all) {
    for (bool kept = true; kept;) {
        std::unique_lock<std::mutex> lock(mutex_);
        given_.wait(lock, [this] { return call_ || dismissed_; });
        if (std::exchange(dismissed_, false)) {
            lock.unlock();
            return all.ends(this);
        }
        Call *call = std::exchange(call_, nullptr);
        const std::size_t worker = worker_;
        lock.unlock();
        call->work(worker);
        // Before the caller knows, so that its next call finds this one.
        kept = all.take_back(this);
        if (!kept) all.ends(this);
        call->end();
    }
}

// Never destroyed: helpers sleep in it while the process exits.
std::atomic<Helpers *> helpers_of_process{nullptr};

// In a forked child there are no helpers, and a lock may be held by a thread that is not there.
void forget() { helpers_of_process.store(nullptr); }

Helpers &helpers() {
    static const int registered = pthread_atfork(nullptr, nullptr, forget);
    static_cast<void>(registered);
    Helpers *found = helpers_of_process.load();
    if (found) return *found;
    Helpers *fresh = new Helpers;
    if (helpers_of_process.compare_exchange_strong(found, fresh)) return *fresh;
    delete fresh;
    return *found;
}

}  // namespace

void run_together(std::size_t workers, void (*run)(void *, std::size_t), void *context) {
    Call call(run, context);
    Helpers &all = helpers();
    const Places places;
    std::vector<Helper *> given;
    given.reserve(workers - 1);
    for (std::size_t worker = 1; worker < workers; ++worker) {
        Helper *helper = all.take();
        if (!helper) break;
        call.begin();
        helper->give(call, worker, places);
        given.push_back(helper);
    }
    call.work(0);
    for (Helper *helper : given) {
        if (!helper->recall(call)) continue;
        call.end();
        if (!all.take_back(helper)) helper->dismiss();
    }
    call.wait();
}

}  // namespace chiasm
