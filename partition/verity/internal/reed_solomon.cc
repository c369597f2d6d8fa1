#include "partition/verity/internal/reed_solomon.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace keelson::partition {
namespace {

// Coefficients, that of x^0 first.
using Polynomial = std::vector<uint8_t>;

uint8_t Evaluate(const Polynomial& polynomial, uint8_t x) {
  uint8_t sum = 0;
  for (size_t i = polynomial.size(); i-- > 0;) sum = GfMultiply(sum, x) ^ polynomial[i];
  return sum;
}

// polynomial * (1 + root * x)
void MultiplyByLocator(Polynomial& polynomial, uint8_t root) {
  polynomial.push_back(0);
  for (size_t i = polynomial.size() - 1; i > 0; --i) {
    polynomial[i] ^= GfMultiply(polynomial[i - 1], root);
  }
}

// The symbol at `position` is the coefficient of x^(254 - position).
uint8_t Locator(int position) {
  return GfAlphaPower(static_cast<uint32_t>(kCodewordSymbols) - 1 - position);
}

Polynomial Syndromes(std::span<const uint8_t> codeword, int roots) {
  Polynomial syndromes(roots);
  for (int t = 0; t < roots; ++t) {
    uint8_t sum = 0;
    for (const uint8_t symbol : codeword) sum = GfMultiply(sum, GfAlphaPower(t)) ^ symbol;
    syndromes[t] = sum;
  }
  return syndromes;
}

// Berlekamp and Massey's algorithm, which starts from the locators of the erasures. Returns the
// polynomial whose roots are the inverse locators of all wrong symbols.
Polynomial ErrorLocator(const Polynomial& syndromes, std::span<const int> erasures) {
  Polynomial locator = {1};
  for (const int position : erasures) MultiplyByLocator(locator, Locator(position));
  Polynomial before = locator;
  const size_t known = erasures.size();
  size_t errors = known;
  for (size_t n = known; n < syndromes.size(); ++n) {
    uint8_t discrepancy = 0;
    for (size_t i = 0; i < locator.size() && i <= n; ++i) {
      discrepancy ^= GfMultiply(locator[i], syndromes[n - i]);
    }
    before.insert(before.begin(), 0);
    if (discrepancy == 0) continue;
    Polynomial next = locator;
    next.resize(std::max(next.size(), before.size()));
    for (size_t i = 0; i < before.size(); ++i) next[i] ^= GfMultiply(before[i], discrepancy);
    if (2 * errors <= n + known) {
      errors = n + 1 + known - errors;
      const uint8_t inverse = GfInverse(discrepancy);
      before = locator;
      for (uint8_t& coefficient : before) coefficient = GfMultiply(coefficient, inverse);
    }
    locator = std::move(next);
  }
  while (locator.size() > 1 && locator.back() == 0) locator.pop_back();
  return locator;
}

// Forney's algorithm: what to add to the symbol with `locator` (first root alpha^0).
std::optional<uint8_t> ErrorValue(const Polynomial& locator, const Polynomial& evaluator,
                                  uint8_t symbol_locator) {
  const uint8_t inverse = GfInverse(symbol_locator);
  Polynomial derivative(locator.size() - 1);
  for (size_t i = 1; i < locator.size(); i += 2) derivative[i - 1] = locator[i];
  const uint8_t slope = Evaluate(derivative, inverse);
  if (slope == 0) return std::nullopt;
  return GfMultiply(symbol_locator, GfMultiply(Evaluate(evaluator, inverse), GfInverse(slope)));
}

}  // namespace

std::vector<GfFactor> EncoderFactors(int roots) {
  // The product of (x - alpha^t); the leading coefficient is 1 and is left out.
  Polynomial generator = {1};
  for (int t = 0; t < roots; ++t) MultiplyByLocator(generator, GfAlphaPower(t));
  std::vector<GfFactor> factors;
  for (int t = 1; t <= roots; ++t) factors.push_back(MakeGfFactor(generator[t]));
  return factors;
}

std::optional<int> CorrectCodeword(std::span<uint8_t, kCodewordSymbols> codeword, int roots,
                                   std::span<const int> erasures) {
  if (erasures.size() > static_cast<size_t>(roots)) return std::nullopt;
  const Polynomial syndromes = Syndromes(codeword, roots);
  if (std::all_of(syndromes.begin(), syndromes.end(), [](uint8_t s) { return s == 0; })) return 0;

  const Polynomial locator = ErrorLocator(syndromes, erasures);
  const size_t wrong = locator.size() - 1;
  if (2 * wrong > static_cast<size_t>(roots) + erasures.size()) return std::nullopt;
  Polynomial evaluator(roots);
  for (size_t i = 0; i < evaluator.size(); ++i) {
    for (size_t j = 0; j <= i && j < locator.size(); ++j) {
      evaluator[i] ^= GfMultiply(locator[j], syndromes[i - j]);
    }
  }
  std::vector<std::pair<int, uint8_t>> corrections;
  for (int position = 0; position < static_cast<int>(kCodewordSymbols); ++position) {
    if (Evaluate(locator, GfInverse(Locator(position))) != 0) continue;
    const std::optional<uint8_t> value = ErrorValue(locator, evaluator, Locator(position));
    if (!value.has_value()) return std::nullopt;
    corrections.emplace_back(position, *value);
  }
  if (corrections.size() != wrong) return std::nullopt;
  int changed = 0;
  for (const auto& [position, value] : corrections) {
    codeword[position] ^= value;
    changed += value != 0 ? 1 : 0;
  }
  return changed;
}

std::vector<uint8_t> ErasureSolution(std::span<const int> positions) {
  // Syndrome t is the sum of value_e * locator_e^t: inverts that matrix by elimination.
  const size_t n = positions.size();
  std::vector<uint8_t> left(n * n);
  std::vector<uint8_t> right(n * n);
  for (size_t t = 0; t < n; ++t) {
    right[t * n + t] = 1;
    for (size_t e = 0; e < n; ++e) {
      const auto exponent = static_cast<uint32_t>(kCodewordSymbols) - 1 - positions[e];
      left[t * n + e] = GfAlphaPower(exponent * static_cast<uint32_t>(t));
    }
  }
  const auto scale = [n](std::vector<uint8_t>& m, size_t row, uint8_t by) {
    for (size_t i = 0; i < n; ++i) m[row * n + i] = GfMultiply(m[row * n + i], by);
  };
  const auto add = [n](std::vector<uint8_t>& m, size_t to, size_t from, uint8_t by) {
    for (size_t i = 0; i < n; ++i) m[to * n + i] ^= GfMultiply(m[from * n + i], by);
  };
  for (size_t column = 0; column < n; ++column) {
    size_t pivot = column;
    while (pivot < n && left[pivot * n + column] == 0) ++pivot;
    KEELSON_CHECK(pivot < n) << "a position was given twice";
    if (pivot != column) {
      add(left, column, pivot, 1);
      add(right, column, pivot, 1);
    }
    const uint8_t inverse = GfInverse(left[column * n + column]);
    scale(left, column, inverse);
    scale(right, column, inverse);
    for (size_t row = 0; row < n; ++row) {
      const uint8_t by = left[row * n + column];
      if (row == column || by == 0) continue;
      add(left, row, column, by);
      add(right, row, column, by);
    }
  }
  return right;
}

}  // namespace keelson::partition
