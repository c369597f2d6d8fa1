// The main of a fuzz target outside --config=fuzz: feeds it the files named as
// arguments, each whole, cut at every length up to 4 KiB, and with single bits flipped.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

void Run(const std::string& input) {
  // A copy of exact size, so that a sanitizer sees a read past the end.
  const std::vector<uint8_t> bytes(input.begin(), input.end());
  (void)LLVMFuzzerTestOneInput(bytes.data(), bytes.size());  // The result is reserved: always 0.
}

size_t Replay(const std::string& input) {
  constexpr size_t kMutationBytes = 4096;
  Run(input);
  size_t runs = 1;
  for (size_t n = 0; n < input.size() && n < kMutationBytes; ++n, runs += 2) {
    Run(input.substr(0, n));
    std::string flipped = input;
    flipped[n] = static_cast<char>(flipped[n] ^ (1 << (n % 8)));
    Run(flipped);
  }
  return runs;
}

}  // namespace

int main(int argc, char** argv) {
  size_t runs = Replay("");
  for (int i = 1; i < argc; ++i) {
    std::ifstream file(argv[i], std::ios::binary);
    if (!file) {
      std::fprintf(stderr, "cannot read corpus file '%s'\n", argv[i]);
      return 1;
    }
    runs += Replay(std::string(std::istreambuf_iterator<char>(file), {}));
  }
  std::printf("%zu inputs replayed, none crashed\n", runs);
  return 0;
}
