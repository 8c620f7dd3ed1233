// The benchmark `kernels` as plain -O2 builds it, for any x86-64 processor.
#include "kernels.cpp"
