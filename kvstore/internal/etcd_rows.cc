#include "kvstore/internal/etcd_rows.h"

#include <limits>

namespace keelson::kvstore::internal {
namespace {

constexpr size_t kEtcdRevisionBytes = 8 + 1 + 8;
constexpr char kDeletedMark = 't';

}  // namespace

std::string BigEndian64(uint64_t value) {
  std::string out(8, '\0');
  for (size_t i = 8; i-- > 0; value >>= 8) out[i] = static_cast<char>(value & 0xff);
  return out;
}

bool ParseBigEndian64(std::string_view bytes, uint64_t* value) {
  if (bytes.size() != 8) return false;
  *value = 0;
  for (const char byte : bytes) *value = *value << 8 | static_cast<uint8_t>(byte);
  return true;
}

std::string EtcdRevision(Revision revision, bool deleted) {
  std::string out = BigEndian64(static_cast<uint64_t>(revision.main));
  out.push_back('_');
  out += BigEndian64(revision.sub);
  if (deleted) out.push_back(kDeletedMark);
  return out;
}

bool ParseEtcdRevision(std::string_view bytes, Revision* revision, bool* deleted) {
  *deleted = bytes.size() == kEtcdRevisionBytes + 1 && bytes.back() == kDeletedMark;
  if (bytes.size() != kEtcdRevisionBytes + (*deleted ? 1 : 0) || bytes[8] != '_') return false;
  uint64_t main = 0;
  uint64_t sub = 0;
  if (!ParseBigEndian64(bytes.substr(0, 8), &main) || !ParseBigEndian64(bytes.substr(9, 8), &sub) ||
      main > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) ||
      sub > std::numeric_limits<uint32_t>::max()) {
    return false;
  }
  *revision = {.main = static_cast<int64_t>(main), .sub = static_cast<uint32_t>(sub)};
  return true;
}

}  // namespace keelson::kvstore::internal
