// Sums per channel over all images, divided between the cores.

#pragma once

#include <omp.h>
#include <cstring>
#include <vector>

namespace {

// Calls work(image, its sums) for every image and adds up the 2 * channels sums of all
template <class Work> void sum_over_images(long images, long channels, double* sums, Work work) {
    std::vector<double> partial(omp_get_max_threads() * 2 * channels, 0.0);
#pragma omp parallel
    {
        double* mine = partial.data() + omp_get_thread_num() * 2 * channels;
        std::vector<float> of_image(2 * channels);
#pragma omp for schedule(static)
        for (long image = 0; image < images; ++image) {
            std::memset(of_image.data(), 0, 2 * channels * sizeof(float));
            work(image, of_image.data());
            for (long i = 0; i < 2 * channels; ++i) mine[i] += of_image[i];
        }
    }
    for (size_t i = 0; i < partial.size(); ++i) sums[i % (2 * channels)] += partial[i];
}

}  // namespace
