// Threads are those of the OpenMP that torch has loaded. Python finds its functions and hands them over, so that no
// OpenMP is linked to, and no compiler need have one.

#include "exported.h"
#include "threads.h"

namespace {

// Where a parallel part stands in a source, as LLVM's OpenMP is told
struct Place {
    int32_t reserved = 0, flags = 2, unused = 0, length = 0;
    const char* text = ";unknown;unknown;0;0;;";
};

struct Task {
    void (*call)(void* data);
    void* data;
};

void run(int32_t*, int32_t*, Task* task) { task->call(task->data); }

// Of the first two, one may be null: LLVM's and Intel's OpenMP have the one, GCC's has the other
struct OpenMP {
    void (*kmpc_fork_call)(Place* place, int32_t num_arguments, void (*run)(int32_t*, int32_t*, Task*), ...);
    void (*gomp_parallel)(void (*call)(void* data), void* data, unsigned num_threads, unsigned flags);
    int (*get_max_threads)();
    int (*get_num_threads)();
    int (*get_thread_num)();
} openmp;

}  // namespace

// Before any kernel is called. Each is the address of the function of this name.
EXPORTED void use_openmp(void* kmpc_fork_call, void* gomp_parallel, void* get_max_threads, void* get_num_threads,
                         void* get_thread_num) {
    openmp = {(decltype(openmp.kmpc_fork_call))kmpc_fork_call, (decltype(openmp.gomp_parallel))gomp_parallel,
              (decltype(openmp.get_max_threads))get_max_threads, (decltype(openmp.get_num_threads))get_num_threads,
              (decltype(openmp.get_thread_num))get_thread_num};
}

int64_t max_threads() { return openmp.get_max_threads(); }

Thread this_thread() { return {openmp.get_thread_num(), openmp.get_num_threads()}; }

void on_all_threads(void (*call)(void* data), void* data) {
    if (!openmp.kmpc_fork_call) return openmp.gomp_parallel(call, data, 0, 0);
    static Place place;
    Task task{call, data};
    openmp.kmpc_fork_call(&place, 1, run, &task);
}
