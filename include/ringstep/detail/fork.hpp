// SPDX-License-Identifier: MIT
// Handling of fork(2): a child gets copies of its parent's rings, which it must not use.
#pragma once

#include <ringstep/error.hpp>
#include <ringstep/version.hpp>

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

#include <cstddef>
#include <utility>

namespace ringstep::inline v0::detail {

/// Holds a mutex with all signals blocked. A signal handler may need this mutex, so no handler may run on the thread that holds
/// it. (Including <mutex> would be a tenth of the cost of including this library.)
class SignalProofLock {
public:
    explicit SignalProofLock(pthread_mutex_t& mutex) noexcept : mutex_(mutex) {
        sigset_t all;
        sigfillset(&all);
        ::pthread_sigmask(SIG_BLOCK, &all, &before_);
        ::pthread_mutex_lock(&mutex_);
    }
    SignalProofLock(const SignalProofLock&) = delete;
    SignalProofLock& operator=(const SignalProofLock&) = delete;
    ~SignalProofLock() {
        ::pthread_mutex_unlock(&mutex_);
        ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    }

private:
    pthread_mutex_t& mutex_;
    sigset_t before_{};
};

/// An object with descriptors or mappings that a forked child gets copies of.
class Forkable {
public:
    /// Takes the locks that other threads may hold at the moment of a fork. Called before the fork, on the thread that forks.
    virtual void before_fork() noexcept {}
    /// Releases the locks that before_fork() took. Called after the fork, in the parent.
    virtual void after_fork_in_parent() noexcept {}
    /// Closes the child's copies without any effect on the parent's ring. Called after the fork, in the child, whose only
    /// thread is the calling one.
    virtual void after_fork_in_child() noexcept = 0;

protected:
    ~Forkable() = default;

private:
    friend class Forks;
    Forkable* next_ = nullptr;
    Forkable* previous_ = nullptr;
    bool listed_ = false;
};

/// All Forkable objects of the process. A fork waits while one is being opened or closed. So the fork handlers find each object
/// either listed and complete, or absent.
class Forks {
public:
    /// A lock to hold while an object in the list, or one about to be listed, is opened or closed.
    class Lock {
    public:
        Lock() noexcept : lock_(mutex_) {}

    private:
        SignalProofLock lock_;
    };

    /// Adds an object to the list, if it is not listed yet. Throws Error if the fork handlers could not be installed.
    static void add(Forkable& object, const Lock& /*held*/) {
        if (not_installed_ != 0)
            raise(not_installed_, "setting up of what happens at a fork (pthread_atfork)", "Out of memory.");
        if (object.listed_) return;
        object.next_ = first_;
        object.previous_ = nullptr;
        if (first_ != nullptr) first_->previous_ = &object;
        first_ = &object;
        object.listed_ = true;
    }

    /// Removes an object from the list, if it is listed.
    static void remove(Forkable& object, const Lock& /*held*/) noexcept {
        if (!object.listed_) return;
        (object.previous_ != nullptr ? object.previous_->next_ : first_) = object.next_;
        if (object.next_ != nullptr) object.next_->previous_ = object.previous_;
        object.listed_ = false;
    }

    /// Returns the calling thread's id. Only a thread's first call, or its first one after a fork, makes a system call.
    [[nodiscard]] static pid_t thread_id() noexcept {
        pid_t& id = cached_id();
        if (id == 0) [[unlikely]]
            id = ::gettid();
        return id;
    }

private:
    // Returns the cached id, which is 0 if thread_id() was not called since the last fork.
    [[nodiscard]] static pid_t& cached_id() noexcept {
        thread_local constinit pid_t id = 0;
        return id;
    }

    // These variables have no destructors, because threads may still run when a process exits.
    inline static pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
    inline static Forkable* first_ = nullptr;
    inline static bool installed_ = false;
    inline static sigset_t signals_before_{};

    static void before() noexcept {
        sigset_t all;
        sigset_t signals;
        sigfillset(&all);
        ::pthread_sigmask(SIG_BLOCK, &all, &signals);
        ::pthread_mutex_lock(&mutex_);
        signals_before_ = signals;
        for (Forkable* object = first_; object != nullptr; object = object->next_) object->before_fork();
    }

    static void in_parent() noexcept {
        for (Forkable* object = first_; object != nullptr; object = object->next_) object->after_fork_in_parent();
        const sigset_t signals = signals_before_;
        ::pthread_mutex_unlock(&mutex_);
        ::pthread_sigmask(SIG_SETMASK, &signals, nullptr);
    }

    static void in_child() noexcept {
        cached_id() = 0;
        for (Forkable* object = std::exchange(first_, nullptr); object != nullptr;) {
            Forkable* const next = object->next_;
            object->listed_ = false;
            object->after_fork_in_child();
            object = next;
        }
        const sigset_t signals = signals_before_;
        ::pthread_mutex_unlock(&mutex_);  // this thread took it before the fork
        ::pthread_sigmask(SIG_SETMASK, &signals, nullptr);
    }

    static int install() noexcept { return ::pthread_atfork(&before, &in_parent, &in_child); }

    // The errno of installing the fork handlers, or 0. They are installed before main() begins. If the first lock installed
    // them, another thread could fork just then, without the handlers, and its child would inherit a mutex that is locked
    // forever. Handlers that are installed later take their locks first at a fork.
    inline static const int not_installed_ = install();
};

/// Replaces a mapping that is shared with the parent by empty memory, because a mapping alone keeps a ring open.
inline void replace_mapping(void* start, std::size_t size) noexcept {
    if (start == nullptr || size == 0) return;
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    const std::size_t whole = (size + page - 1) / page * page;
    if (::mmap(start, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
        (void)::munmap(start, whole);
}

}  // namespace ringstep::inline v0::detail
