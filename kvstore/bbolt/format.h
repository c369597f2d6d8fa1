// The bytes of a bbolt database, version 2: what etcd keeps its data in. All integers are
// little-endian. A file is an array of pages; page 0 and page 1 are metas, of which the valid one
// with the highest transaction counts.
//
//   page     header, then elements, then the keys and values that the elements point to;
//            followed by `overflow` more pages that belong to it
//   header   id:8 flags:2 count:2 overflow:4
//   meta     magic:4 version:4 page size:4 flags:4 root:8 sequence:8 freelist:8 pages:8
//            transaction:8 checksum:8 (FNV-1a of what is before it)
//   branch   pos:4 key size:4 page:8          pos counts from the element's first byte
//   leaf     flags:4 pos:4 key size:4 value size:4
//   bucket   the value of a leaf element with flag 1: root:8 sequence:8; root 0 means that a
//            leaf page follows at once ("inline")
//
// Source: the on-disk structures of go.etcd.io/bbolt 1.3.
#ifndef KEELSON_KVSTORE_BBOLT_FORMAT_H_
#define KEELSON_KVSTORE_BBOLT_FORMAT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace keelson::kvstore::bbolt {

inline constexpr uint32_t kMagic = 0xed0cdaed;
inline constexpr uint32_t kVersion = 2;
inline constexpr size_t kPageBytes = 4096;  // what we write
inline constexpr size_t kPageBytesMin = 1024;
inline constexpr size_t kPageBytesMax = 65536;

inline constexpr size_t kHeaderBytes = 16;
inline constexpr size_t kElementBytes = 16;
inline constexpr size_t kBucketBytes = 16;
inline constexpr size_t kMetaBytes = 64;
inline constexpr size_t kKeyBytesMax = 32768;
inline constexpr size_t kValueBytesMax = (size_t{1} << 31) - 2;

enum PageFlags : uint16_t { kBranch = 0x01, kLeaf = 0x02, kMetaPage = 0x04, kFreelist = 0x10 };
inline constexpr uint32_t kBucketElement = 0x01;

struct PageHeader {
  uint64_t id = 0;
  uint16_t flags = 0;
  uint16_t count = 0;
  uint32_t overflow = 0;
};

struct Meta {
  uint32_t page_bytes = kPageBytes;
  uint64_t root = 0;
  uint64_t freelist = 0;
  uint64_t pages = 0;  // of the whole file
  uint64_t transaction = 0;
};

inline void AppendLittle(uint64_t value, size_t bytes, std::string* out) {
  for (size_t i = 0; i < bytes; ++i, value >>= 8) out->push_back(static_cast<char>(value & 0xff));
}

// Precondition: [offset, offset + size) lies in `bytes`; size is at most 8.
inline uint64_t LoadLittle(std::string_view bytes, size_t offset, size_t size) {
  uint64_t value = 0;
  for (size_t i = size; i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes[offset + i]);
  return value;
}

inline uint64_t Fnv1a64(std::string_view bytes) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char byte : bytes) hash = (hash ^ static_cast<uint8_t>(byte)) * 0x100000001b3;
  return hash;
}

}  // namespace keelson::kvstore::bbolt

#endif  // KEELSON_KVSTORE_BBOLT_FORMAT_H_
