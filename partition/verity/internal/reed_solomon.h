// Reed-Solomon codes of 255 symbols in GF(2^8), first root alpha^0, as dm-verity's error correction
// uses them. A codeword is 255 - roots symbols of message, then `roots` of parity.
#ifndef KEELSON_PARTITION_VERITY_INTERNAL_REED_SOLOMON_H_
#define KEELSON_PARTITION_VERITY_INTERNAL_REED_SOLOMON_H_

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "partition/verity/internal/gf256.h"

namespace keelson::partition {

inline constexpr size_t kCodewordSymbols = 255;

// Coefficients of the generator polynomial in the order in which GfKernels::encode takes them.
std::vector<GfFactor> EncoderFactors(int roots);

// Corrects `codeword` in place, given the positions of symbols that are known to be wrong
// (`erasures`, each once). Corrects e errors elsewhere if 2 * e + erasures <= roots.
// Returns how many symbols changed; empty, with `codeword` as it was, if there are too many errors.
// Beyond that number it can also give a wrong answer: check the result by its digest.
std::optional<int> CorrectCodeword(std::span<uint8_t, kCodewordSymbols> codeword, int roots,
                                   std::span<const int> erasures);

// The matrix M of size n * n, by rows, that turns the syndromes 0 to n - 1 of a codeword into what
// must be added to its symbols at `positions` (n of them, each once), if no other is wrong.
std::vector<uint8_t> ErasureSolution(std::span<const int> positions);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_VERITY_INTERNAL_REED_SOLOMON_H_
