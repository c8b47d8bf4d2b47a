#include "workers.hpp"

#include <pthread.h>
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
    void work(std::size_t part) const { run_(context_, part); }
    void end() {
        const std::lock_guard<std::mutex> lock(mutex_);  // until it is free, wait() does not return and the call lives
        if (left_.fetch_sub(1, std::memory_order_release) == 1) none_left_.notify_one();
    }
    void wait() {
        // Parts of a size end nearly together: some microseconds of this are less than falling asleep and waking up.
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

class Helpers;

// A thread that sleeps until it is given a part of a call.
class Helper {
  public:
    void give(Call &call, std::size_t part) {
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            call_ = &call;
            part_ = part;
        }
        given_.notify_one();
    }
    void live(Helpers &all);

  private:
    std::mutex mutex_;
    std::condition_variable given_;
    Call *call_ = nullptr;
    std::size_t part_ = 0;
};

// Those that sleep. More than there are cores are not kept: a call that asked for a thousand leaves few behind.
class Helpers {
  public:
    // Null when no thread can be started.
    Helper *take() {
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            if (!idle_.empty()) {
                Helper *last = idle_.back();
                idle_.pop_back();
                return last;
            }
        }
        return start();
    }
    bool take_back(Helper *helper) {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (idle_.size() >= idle_.capacity()) return false;
        idle_.push_back(helper);
        return true;
    }
    Helpers() { idle_.reserve(std::max(1U, std::thread::hardware_concurrency())); }

  private:
    Helper *start() {
        Helper *helper = new (std::nothrow) Helper;
        if (!helper) return nullptr;
        // A signal that a helper took would not wake the thread that waits for it.
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        try {
            std::thread([this, helper] { helper->live(*this); }).detach();
        } catch (...) {
            delete helper;
            helper = nullptr;
        }
        pthread_sigmask(SIG_SETMASK, &before, nullptr);
        return helper;
    }

    std::mutex mutex_;
    std::vector<Helper *> idle_;
};

void Helper::live(Helpers &all) {
    for (bool kept = true; kept;) {
        std::unique_lock<std::mutex> lock(mutex_);
        given_.wait(lock, [this] { return call_ != nullptr; });
        Call *call = std::exchange(call_, nullptr);
        const std::size_t part = part_;
        lock.unlock();
        call->work(part);
        kept = all.take_back(this);  // before the caller knows, so that its next call finds this one
        call->end();
    }
    delete this;
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

void run_parts(std::size_t parts, void (*run)(void *, std::size_t), void *context) {
    Call call(run, context);
    Helpers &all = helpers();
    std::size_t next = 1;
    for (; next < parts; ++next) {
        Helper *helper = all.take();
        if (!helper) break;
        call.begin();
        helper->give(call, next);
    }
    call.work(0);
    for (; next < parts; ++next) call.work(next);
    call.wait();
}

}  // namespace chiasm
