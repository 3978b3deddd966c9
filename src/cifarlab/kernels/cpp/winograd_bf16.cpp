// The convolutions of winograd.cpp in bf16; a file of its own so that both are compiled at the same time.

#define BF16
#include "winograd.cpp"
