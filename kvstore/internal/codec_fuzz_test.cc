// Any bytes may stand in a row of a damaged database: decoding never reads outside them, and
// what is accepted encodes to the same bytes again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "kvstore/internal/codec.h"

namespace kv = keelson::kvstore::internal;

namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

void CheckDataRow(std::string_view input) {
  std::string_view prefix;
  kv::Revision revision;
  if (!kv::DecodeDataRow(input, &prefix, &revision)) return;
  std::string scratch;
  std::string_view key;
  if (!kv::DecodeRowPrefix(prefix, &scratch, &key)) return;
  std::string row;
  kv::EncodeDataRow(key, revision, &row);
  Require(row == input);
}

void CheckValues(std::string_view input) {
  kv::DataValue data;
  if (kv::DecodeDataValue(input, &data)) {
    Require(std::string(kv::DataHeader(data).view()) + std::string(data.value) == input);
  }
  kv::LogValue log;
  if (kv::DecodeLogValue(input, &log)) {
    Require(std::string(kv::LogHeader(log.deleted, log.previous).view()) +
                std::string(log.user_key) ==
            input);
  }
  kv::StateValue state;
  if (kv::DecodeStateValue(input, &state)) Require(kv::EncodeStateValue(state) == input);
  kv::LeaseValue lease;
  if (kv::DecodeLeaseValue(input, &lease)) Require(kv::EncodeLeaseValue(lease) == input);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  CheckDataRow(input);
  CheckValues(input);
  kv::Revision revision;
  std::string row;
  if (kv::DecodeLogRow(input, &revision)) {
    kv::EncodeLogRow(revision, &row);
    Require(row == input);
  }
  // As a key, anything comes back.
  if (size > 0) {
    std::string_view prefix;
    std::string scratch;
    std::string_view key;
    kv::EncodeDataRow(input, {7, 1}, &row);
    Require(kv::DecodeDataRow(row, &prefix, &revision));
    Require(kv::DecodeRowPrefix(prefix, &scratch, &key) && key == input);
  }
  return 0;
}
