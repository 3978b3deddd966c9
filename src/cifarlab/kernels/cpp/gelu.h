// GELU and its slope.

#pragma once

#include "lanes.h"

namespace {

// exp(x) for x <= 0: 2^n by the exponent bits, the rest by its series; relative error below 3e-7. 0 below 2^-115, so
// that no product with it is a denormal number.
inline Floats exp_negative(Floats x) {
    Floats y = x * 1.44269504f;
    Ints is_0 = y < -115.f;
    y = is_0 ? Floats{} : y;
    Ints whole = __builtin_convertvector(y - 0.5f, Ints);
    Floats f = (y - __builtin_convertvector(whole, Floats)) * 0.69314718f;
    Floats p = 1.f + f * (1.f + f * (0.5f + f * (1.f / 6 + f * (1.f / 24 + f * (1.f / 120 + f * (1.f / 720))))));
    return is_0 ? Floats{} : (Floats)((Ints)p + (whole << 23));
}

struct Normal {
    Floats below, density;
};

// The normal distribution's P(Z <= z), Abramowitz and Stegun 7.1.26 (error below 1e-7), and its density at z
inline Normal normal(Floats z) {
    Floats size = (Floats)((Ints)z & 0x7fffffff);
    Floats bell = exp_negative(-0.5f * z * z);
    Floats t = 1.f / (1.f + 0.3275911f * 0.70710678f * size);
    Floats poly =
        t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f))));
    Floats tail = 0.5f * poly * bell;
    return {z < 0.f ? tail : 1.f - tail, 0.39894228f * bell};
}

inline Floats gelu(Floats z) { return z * normal(z).below; }

inline Floats gelu_slope(Floats z) {
    Normal at = normal(z);
    return at.below + z * at.density;
}

}  // namespace
