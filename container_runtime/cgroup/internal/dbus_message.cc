#include "container_runtime/cgroup/internal/dbus_message.h"

#include <cstring>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"

namespace keelson::container {
namespace {

constexpr int kDepthMax = 64;  // of containers within one another, as the specification has it

// Header fields.
enum Field : uint8_t {
  kPath = 1,
  kInterface = 2,
  kMember = 3,
  kErrorName = 4,
  kReplySerial = 5,
  kDestination = 6,
  kSignature = 8,
};

size_t AlignmentOf(char type) {
  switch (type) {
    case 'n':
    case 'q':
      return 2;
    case 'b':
    case 'i':
    case 'u':
    case 'h':
    case 's':
    case 'o':
    case 'a':
      return 4;
    case 'x':
    case 't':
    case 'd':
    case '(':
    case '{':
      return 8;
    default:
      return 1;  // y, g, v
  }
}

const char* SignatureOf(const UnitValue& value) {
  static constexpr const char* kSignatures[] = {"b", "i",  "u",  "x",  "t",    "d",
                                                "s", "as", "au", "ay", "a(ss)"};
  static_assert(std::size(kSignatures) == std::variant_size_v<UnitValue>);
  return kSignatures[value.index()];
}

}  // namespace

void DBusWriter::Align(size_t boundary) {
  while (bytes_.size() % boundary != 0) bytes_ += '\0';
}

void DBusWriter::Uint32(uint32_t value) {
  Align(4);
  for (int shift = 0; shift < 32; shift += 8) Byte(static_cast<uint8_t>(value >> shift));
}

void DBusWriter::Uint64(uint64_t value) {
  Align(8);
  for (int shift = 0; shift < 64; shift += 8) Byte(static_cast<uint8_t>(value >> shift));
}

void DBusWriter::String(std::string_view value) {
  Uint32(static_cast<uint32_t>(value.size()));
  bytes_.append(value);
  bytes_ += '\0';
}

void DBusWriter::Signature(std::string_view value) {
  Byte(static_cast<uint8_t>(value.size()));
  bytes_.append(value);
  bytes_ += '\0';
}

size_t DBusWriter::BeginArray(size_t alignment) {
  Uint32(0);
  const size_t mark = bytes_.size() - 4;
  Align(alignment);  // not counted in the length
  starts_.push_back(bytes_.size());
  return mark;
}

void DBusWriter::EndArray(size_t mark) {
  const auto length = static_cast<uint32_t>(bytes_.size() - starts_.back());
  starts_.pop_back();
  for (int i = 0; i < 4; ++i)
    bytes_[mark + static_cast<size_t>(i)] = static_cast<char>(length >> (8 * i));
}

void DBusWriter::Variant(const UnitValue& value) {
  Signature(SignatureOf(value));
  std::visit(
      [this](const auto& v) {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, bool>) {
          Bool(v);
        } else if constexpr (std::is_same_v<T, double>) {
          uint64_t bits = 0;
          std::memcpy(&bits, &v, sizeof bits);
          Uint64(bits);
        } else if constexpr (std::is_integral_v<T> && sizeof(T) == 4) {
          Uint32(static_cast<uint32_t>(v));
        } else if constexpr (std::is_integral_v<T>) {
          Uint64(static_cast<uint64_t>(v));
        } else if constexpr (std::is_same_v<T, std::string>) {
          String(v);
        } else {
          using Item = typename T::value_type;
          constexpr bool kPairs = std::is_same_v<Item, std::pair<std::string, std::string>>;
          const size_t mark = BeginArray(kPairs ? 8 : std::is_same_v<Item, uint8_t> ? 1 : 4);
          for (const auto& item : v) {
            if constexpr (kPairs) {
              Align(8);
              String(item.first);
              String(item.second);
            } else if constexpr (std::is_same_v<Item, std::string>) {
              String(item);
            } else if constexpr (std::is_same_v<Item, uint32_t>) {
              Uint32(item);
            } else {
              Byte(item);
            }
          }
          EndArray(mark);
        }
      },
      value);
}

void DBusWriter::Properties(const std::vector<UnitProperty>& properties) {
  const size_t mark = BeginArray(8);
  for (const UnitProperty& property : properties) {
    Align(8);
    String(property.name);
    Variant(property.value);
  }
  EndArray(mark);
}

std::string EncodeCall(const DBusCall& call, uint32_t serial, const DBusWriter& body) {
  DBusWriter head;
  head.Byte('l');
  head.Byte(DBusMessage::kCall);
  head.Byte(0);
  head.Byte(1);  // version of the protocol
  head.Uint32(static_cast<uint32_t>(body.bytes().size()));
  head.Uint32(serial);
  const size_t mark = head.BeginArray(8);
  const auto field = [&head](Field code, const char* signature, const std::string& value) {
    if (value.empty()) return;
    head.Align(8);
    head.Byte(code);
    head.Signature(signature);
    if (signature[0] == 'g') {
      head.Signature(value);
    } else {
      head.String(value);
    }
  };
  field(kPath, "o", call.path);
  field(kInterface, "s", call.interface);
  field(kMember, "s", call.member);
  field(kDestination, "s", call.destination);
  field(kSignature, "g", call.signature);
  head.EndArray(mark);
  head.Align(8);
  return head.bytes() + body.bytes();
}

bool DBusReader::Need(size_t bytes) {
  if (ok_ && bytes_.size() - at_ < bytes) ok_ = false;
  return ok_;
}

void DBusReader::Align(size_t boundary) {
  const size_t padding = (boundary - at_ % boundary) % boundary;
  if (Need(padding)) at_ += padding;
}

uint8_t DBusReader::Byte() {
  if (!Need(1)) return 0;
  return static_cast<uint8_t>(bytes_[at_++]);
}

uint32_t DBusReader::Uint32() {
  Align(4);
  if (!Need(4)) return 0;
  uint32_t value = 0;
  for (int shift = 0; shift < 32; shift += 8) value |= static_cast<uint32_t>(Byte()) << shift;
  return value;
}

uint64_t DBusReader::Uint64() {
  Align(8);
  if (!Need(8)) return 0;
  uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 8) value |= static_cast<uint64_t>(Byte()) << shift;
  return value;
}

std::string DBusReader::String() {
  const size_t size = Uint32();
  if (!Need(size + 1)) return "";
  std::string value(bytes_.substr(at_, size));
  at_ += size;
  if (Byte() != 0) ok_ = false;
  return value;
}

std::string DBusReader::Signature() {
  const size_t size = Byte();
  if (!Need(size + 1)) return "";
  std::string value(bytes_.substr(at_, size));
  at_ += size;
  if (Byte() != 0) ok_ = false;
  return value;
}

void DBusReader::Skip(std::string_view& signature, int depth) {
  if (!ok_ || signature.empty() || depth > kDepthMax) {
    ok_ = false;
    return;
  }
  const char type = signature.front();
  signature.remove_prefix(1);
  switch (type) {
    case 'y':
      (void)Byte();
      return;
    case 'n':
    case 'q':
      Align(2);
      if (Need(2)) at_ += 2;
      return;
    case 'b':
    case 'i':
    case 'u':
    case 'h':
      (void)Uint32();
      return;
    case 'x':
    case 't':
    case 'd':
      (void)Uint64();
      return;
    case 's':
    case 'o':
      (void)String();
      return;
    case 'g':
      (void)Signature();
      return;
    case 'v': {
      const std::string inner = Signature();
      std::string_view rest = inner;
      Skip(rest, depth + 1);
      if (!rest.empty()) ok_ = false;
      return;
    }
    case '(':
    case '{':
      return SkipStruct(type == '(' ? ')' : '}', signature, depth);
    case 'a':
      return SkipArray(signature, depth);
    default:
      ok_ = false;
  }
}

// Of a struct or a dictionary entry, after its opening bracket.
void DBusReader::SkipStruct(char end, std::string_view& signature, int depth) {
  Align(8);
  while (ok_ && !signature.empty() && signature.front() != end) Skip(signature, depth + 1);
  if (signature.empty()) ok_ = false;
  if (ok_) signature.remove_prefix(1);
}

void DBusReader::SkipArray(std::string_view& signature, int depth) {
  const size_t size = Uint32();
  if (signature.empty()) ok_ = false;
  if (ok_) Align(AlignmentOf(signature.front()));
  if (!Need(size)) return;
  // Of an empty array, too, the type has to be passed over.
  if (size == 0) return SkipType(signature, depth + 1);
  const size_t end = at_ + size;
  std::string_view after = signature;
  while (ok_ && at_ < end) {
    const size_t before = at_;
    after = signature;
    Skip(after, depth + 1);
    if (at_ == before) ok_ = false;  // "a()": there is no empty struct, and no end to them
  }
  if (at_ != end) ok_ = false;
  signature = after;
}

void DBusReader::SkipType(std::string_view& signature, int depth) {
  if (signature.empty() || depth > kDepthMax) {
    ok_ = false;
    return;
  }
  const char type = signature.front();
  signature.remove_prefix(1);
  if (type == 'a') {
    SkipType(signature, depth + 1);
  } else if (type == '(' || type == '{') {
    const char end = type == '(' ? ')' : '}';
    while (ok_ && !signature.empty() && signature.front() != end) SkipType(signature, depth + 1);
    if (signature.empty()) {
      ok_ = false;
    } else {
      signature.remove_prefix(1);
    }
  }
}

absl::StatusOr<size_t> DBusMessageSize(std::string_view head) {
  if (head.size() < kDBusHeadBytes || head[0] != 'l' || head[3] != 1) {
    return absl::InvalidArgumentError("D-Bus: no little-endian message of version 1");
  }
  DBusReader reader(head);
  (void)reader.Uint32();
  const uint64_t body = reader.Uint32();
  (void)reader.Uint32();
  const uint64_t fields = reader.Uint32();
  const uint64_t size = (kDBusHeadBytes + fields + 7) / 8 * 8 + body;
  if (size > kDBusMessageMax) {
    return absl::ResourceExhaustedError(absl::StrCat("D-Bus: a message of ", size, " bytes"));
  }
  return static_cast<size_t>(size);
}

absl::StatusOr<DBusMessage> DecodeDBusMessage(std::string_view bytes) {
  absl::StatusOr<size_t> size = DBusMessageSize(bytes);
  if (!size.ok()) return size.status();
  if (*size != bytes.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("D-Bus: a message of ", bytes.size(), " bytes says it has ", *size));
  }
  DBusReader reader(bytes);
  DBusMessage message;
  (void)reader.Byte();
  message.type = reader.Byte();
  (void)reader.Byte();
  (void)reader.Byte();
  const size_t body_size = reader.Uint32();
  (void)reader.Uint32();
  const size_t fields_end = reader.Uint32() + kDBusHeadBytes;
  while (reader.ok() && reader.position() < fields_end) {
    reader.Align(8);
    const uint8_t code = reader.Byte();
    const std::string type = reader.Signature();
    std::string_view signature = type;
    std::string* text = code == kPath        ? &message.path
                        : code == kInterface ? &message.interface
                        : code == kMember    ? &message.member
                        : code == kErrorName ? &message.error_name
                                             : nullptr;
    if (text != nullptr && (type == "s" || type == "o")) {
      *text = reader.String();
    } else if (code == kSignature && type == "g") {
      message.signature = reader.Signature();
    } else if (code == kReplySerial && type == "u") {
      message.reply_serial = reader.Uint32();
    } else {
      reader.Skip(signature);
    }
  }
  if (!reader.ok() || reader.position() != fields_end) {
    return absl::InvalidArgumentError(
        absl::StrCat("D-Bus: malformed header fields at byte ", reader.position()));
  }
  message.body = std::string(bytes.substr(bytes.size() - body_size));
  return message;
}

}  // namespace keelson::container
