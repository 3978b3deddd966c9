// Threads for work that is divided between the cores: those that torch has, so that nobody competes for the cores.
//
// What a thread gets depends on the number of threads alone, and with it the order of every sum.

#pragma once

#include <cstdint>

// One of the threads that work at the same time
struct Thread {
    int64_t number, of;

    // Calls work(i) for this thread's contiguous share of all i below num
    template <class Work> void share(int64_t num, const Work& work) const {
        int64_t least = num / of, more = num % of;  // the first ones take one more
        int64_t first = number * least + (number < more ? number : more), last = first + least + (number < more);
        for (int64_t i = first; i < last; ++i) work(i);
    }
};

// See threads.cpp
int64_t max_threads();
Thread this_thread();
void on_all_threads(void (*task)(void* data), void* data);

// Calls work(thread) on all threads, which may be fewer than max_threads(), and returns when they are done
template <class Work> void on_each_thread(const Work& work) {
    on_all_threads([](void* data) { (*(const Work*)data)(this_thread()); }, (void*)&work);
}
