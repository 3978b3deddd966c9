// Work that is divided between the cores, and the sums per channel that batch norm needs of it.
//
// These are sums of values and of their squares or, backward, of gradients g and of g * x. They are taken in float from
// a base that all of them lie near, per channel, and put together in double: the squares of values whose mean is 5,000
// times their deviation have no digit in common with their variance in float, and enough of them in double.

#pragma once

#include "memory.h"
#include "products.h"
#include "threads.h"

namespace {

// Calls work(i) for all i below num; each core has a contiguous share
template <class Work> void in_parallel(int64_t num, Work work) {
    on_each_thread([&](Thread thread) {
        FlushDenormals flush;
        thread.share(num, work);
    });
}

// What `num` values give to the sums of a channel, from those that are taken from `base` on
inline void add_squares(double* sums, int64_t channels, double base, double total, double squares, int64_t num) {
    sums[0] += total + num * base;
    sums[channels] += squares + base * (2 * total + num * base);
}
inline void add_products(double* sums, int64_t channels, double base, double total, double products) {
    sums[0] += total;
    sums[channels] += products + base * total;
}

// The sums of one image, [2][channels]
struct ImageSums {
    const float* base;
    float* sums;
    int64_t channels;

    inline void square(int64_t c, Floats x) const {
        Floats from_base = x - load(base + c);
        add(sums + c, from_base), add(sums + channels + c, from_base * from_base);
    }
    inline void product(int64_t c, Floats gradient, Floats x) const {
        add(sums + c, gradient), add(sums + channels + c, gradient * (x - load(base + c)));
    }
};

// Calls work(image, its sums) for every image, on each core with a copy of `work`, and adds up the sums. Their base is
// the first pixel of an image of x (images, map). num: of squares per image, or 0 where products are summed up.
template <class T, class Work>
void sum_over_images(const T* x, int64_t images, int64_t map, int64_t num, int64_t channels, double* sums, Work work) {
    Zeros<double> of_cores(max_threads() * 2 * channels);
    on_each_thread([&, work](Thread thread) {
        FlushDenormals flush;
        double* mine = of_cores.start + thread.number * 2 * channels;
        Array<float> base(channels);
        Zeros<float> found(2 * channels);
        thread.share(images, [&](int64_t image) {
            for (int64_t c = 0; c < channels; c += LANES) store(base.start + c, load(x + image * map + c));
            found.clear();
            work(image, ImageSums{base.start, found.start, channels});
            for (int64_t c = 0; c < channels; ++c)
                if (num)
                    add_squares(mine + c, channels, base[c], found[c], found[channels + c], num);
                else
                    add_products(mine + c, channels, base[c], found[c], found[channels + c]);
        });
    });
    for (int64_t i = 0; i < of_cores.size; ++i) sums[i % (2 * channels)] += of_cores[i];
}

// The sums of COLUMNS channels_out for what a core writes, from a base: of squares of values, or of products of
// gradients with others
struct ColumnSums {
    Floats base[2] = {}, total[2] = {}, products[2] = {};
    int64_t num = 0;

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

    void add_to(double* sums, int64_t channels_out) const {
        for (int64_t i = 0; i < COLUMNS; ++i) {
            int64_t half = i / LANES, lane = i % LANES;
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
    CoreSums(double* sums, int64_t channels_out)
        : sums(sums), size(2 * channels_out), of_cores(sums ? max_threads() * size : 0) {}
    ~CoreSums() {
        for (int64_t i = 0; i < of_cores.size; ++i) sums[i % size] += of_cores[i];
    }
    double* of(Thread thread) { return sums ? of_cores.start + thread.number * size : nullptr; }

private:
    double* sums;
    int64_t size;
    Zeros<double> of_cores;
};

}  // namespace
