// One file of a SimFileSystem: what reads see, what is on the platter, and the changes between.
#ifndef KEELSON_BASE_TESTING_SIM_FILE_SYSTEM_IMAGE_H_
#define KEELSON_BASE_TESTING_SIM_FILE_SYSTEM_IMAGE_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"

namespace keelson {

// Not thread-safe.
class SimFileImage {
 public:
  // What became of pending changes.
  struct Fates {
    uint64_t lost = 0;
    uint64_t kept = 0;
    uint64_t torn = 0;
  };

  [[nodiscard]] const std::string& live() const { return live_; }
  [[nodiscard]] const std::string& durable() const { return durable_; }
  [[nodiscard]] bool pending() const { return !changes_.empty(); }

  // Changes what reads see; pending.
  void Write(uint64_t offset, std::string_view data);
  void Resize(uint64_t size);

  // Everything pending reaches the platter.
  void Sync();

  // Each pending change meets its fate: the platter gets the outcome, nothing is pending any
  // more, and reads see what they saw before.
  Fates Settle(Random& random);

  // Reads see the platter again. Nothing may be pending.
  void DropCache() { live_ = durable_; }

  // Flips a bit in both images; `offset` is below the size of at least one of them.
  void FlipBit(uint64_t offset, int bit);

 private:
  // Whole sectors as they were right after a change: `data`, then `zeros` zero bytes.
  struct Change {
    uint64_t offset = 0;  // a multiple of the sector size
    std::string data;
    uint64_t zeros = 0;
    uint64_t size_after = 0;  // of the file

    [[nodiscard]] uint64_t length() const { return data.size() + zeros; }
    // Puts bytes [first, first + count) of the change into `image`, which is long enough.
    void CopyTo(std::string& image, uint64_t first, uint64_t count) const;
  };

  std::string live_;
  std::string durable_;
  std::vector<Change> changes_;
};

}  // namespace keelson

#endif  // KEELSON_BASE_TESTING_SIM_FILE_SYSTEM_IMAGE_H_
