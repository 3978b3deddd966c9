// Sums over all images, divided between the cores.

#pragma once

#include <omp.h>
#include <cstring>
#include <vector>

namespace {

// Calls work(image, its sums) for every image, on each core by a copy of `work`, and adds up the sums of all
template <class Work> void sum_over_images(long images, long num, double* sums, Work work) {
    std::vector<double> partial(omp_get_max_threads() * num, 0.0);
#pragma omp parallel firstprivate(work)
    {
        double* mine = partial.data() + omp_get_thread_num() * num;
        std::vector<float> of_image(num);
#pragma omp for schedule(static)
        for (long image = 0; image < images; ++image) {
            std::memset(of_image.data(), 0, num * sizeof(float));
            work(image, of_image.data());
            for (long i = 0; i < num; ++i) mine[i] += of_image[i];
        }
    }
    for (size_t i = 0; i < partial.size(); ++i) sums[i % num] += partial[i];
}

}  // namespace
