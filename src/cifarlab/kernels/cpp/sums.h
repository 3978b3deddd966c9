// Work that is divided between the cores, and the sums per channel that batch norm needs of it.
//
// These are sums of values and of their squares or, backward, of gradients g and of g * x. They are taken in float from
// a base that all of them lie near, per channel, and put together in double: the squares of values whose mean is 5,000
// times their deviation have no digit in common with their variance in float, and enough of them in double.

#pragma once

#include "products.h"

#include <omp.h>
#include <vector>

namespace {

// Calls work(i) for all i below num; each core has a contiguous share
template <class Work> void in_parallel(long num, Work work) {
#pragma omp parallel
    {
        FlushDenormals flush;
#pragma omp for schedule(static)
        for (long i = 0; i < num; ++i) work(i);
    }
}

// What `num` values give to the sums of a channel, from those that are taken from `base` on
inline void add_squares(double* sums, long channels, double base, double total, double squares, long num) {
    sums[0] += total + num * base;
    sums[channels] += squares + base * (2 * total + num * base);
}
inline void add_products(double* sums, long channels, double base, double total, double products) {
    sums[0] += total;
    sums[channels] += products + base * total;
}

// The sums of one image, [2][channels]
struct ImageSums {
    const float* base;
    float* sums;
    long channels;

    inline void square(long c, Floats x) const {
        Floats from_base = x - load(base + c);
        add(sums + c, from_base), add(sums + channels + c, from_base * from_base);
    }
    inline void product(long c, Floats gradient, Floats x) const {
        add(sums + c, gradient), add(sums + channels + c, gradient * (x - load(base + c)));
    }
};

// Calls work(image, its sums) for every image, on each core with a copy of `work`, and adds up the sums. Their base is
// the first pixel of an image of x (images, map). num: of squares per image, or 0 where products are summed up.
template <class T, class Work>
void sum_over_images(const T* x, long images, long map, long num, long channels, double* sums, Work work) {
    std::vector<double> of_cores(omp_get_max_threads() * 2 * channels, 0.0);
#pragma omp parallel firstprivate(work)
    {
        FlushDenormals flush;
        double* mine = of_cores.data() + omp_get_thread_num() * 2 * channels;
        std::vector<float> base(channels), found(2 * channels);
#pragma omp for schedule(static)
        for (long image = 0; image < images; ++image) {
            for (long c = 0; c < channels; c += LANES) store(&base[c], load(x + image * map + c));
            std::memset(found.data(), 0, found.size() * sizeof(float));
            work(image, ImageSums{base.data(), found.data(), channels});
            for (long c = 0; c < channels; ++c)
                if (num)
                    add_squares(mine + c, channels, base[c], found[c], found[channels + c], num);
                else
                    add_products(mine + c, channels, base[c], found[c], found[channels + c]);
        }
    }
    for (size_t i = 0; i < of_cores.size(); ++i) sums[i % (2 * channels)] += of_cores[i];
}

// The sums of COLUMNS channels_out for what a core writes, from a base: of squares of values, or of products of
// gradients with others
struct ColumnSums {
    Floats base[2] = {}, total[2] = {}, products[2] = {};
    long num = 0;

    inline void square(const Floats* values) {
        ++num;
        for (int half = 0; half < 2; ++half) {
            Floats from_base = values[half] - base[half];
            total[half] += from_base, products[half] += from_base * from_base;
        }
    }
    inline void product(const Floats* gradients, const Floats* others) {
        for (int half = 0; half < 2; ++half)
            total[half] += gradients[half], products[half] += gradients[half] * (others[half] - base[half]);
    }

    void add_to(double* sums, long channels_out) const {
        for (long i = 0; i < COLUMNS; ++i) {
            long half = i / LANES, lane = i % LANES;
            if (num)
                add_squares(sums + i, channels_out, base[half][lane], total[half][lane], products[half][lane], num);
            else
                add_products(sums + i, channels_out, base[half][lane], total[half][lane], products[half][lane]);
        }
    }
};

// The sums that each core has for itself, until they are added up; none where `sums` is null
class CoreSums {
public:
    CoreSums(double* sums, long channels_out)
        : sums(sums), size(2 * channels_out), of_cores(sums ? omp_get_max_threads() * size : 0, 0.0) {}
    ~CoreSums() {
        for (size_t i = 0; i < of_cores.size(); ++i) sums[i % size] += of_cores[i];
    }
    double* mine() { return sums ? of_cores.data() + omp_get_thread_num() * size : nullptr; }

private:
    double* sums;
    long size;
    std::vector<double> of_cores;
};

}  // namespace
