"""From genomes to weights: one fused pass over the bank, tensor by tensor.

weights    materialise, rounded, weigh, write_to, checksum
sums       one tensor as a sum of terms, evaluated piece by piece
fusion     such a sum in one pass over memory
native     the same loop in C++ (`sums.cpp`), compiled where there is a compiler
streaming  a bank in host memory that feeds a GPU
"""
