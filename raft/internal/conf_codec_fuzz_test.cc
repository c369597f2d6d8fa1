// Any bytes are decoded or refused, and what is decoded survives a round trip.
#include <cstdint>
#include <string>

#include "base/check.h"
#include "raft/core.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace keelson::raft;  // NOLINT: the entry point must be global.
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  for (const EntryType type : {EntryType::kConfChange, EntryType::kConfChangeV2}) {
    Entry entry;
    entry.type = type;
    entry.data = Payload(bytes);
    const auto change = DecodeConfChange(entry);
    if (!change.ok()) continue;
    Entry again;
    again.type = EntryType::kConfChangeV2;
    again.data = Payload(EncodeConfChange(*change));
    const auto back = DecodeConfChange(again);
    KEELSON_CHECK(back.ok() && *back == *change) << "round trip differs";
    // Applying it to some membership must not do more than fail.
    ConfState state;
    state.voters = {1, 2, 3};
    (void)ApplyToConfState(state, *change);
  }
  return 0;
}
