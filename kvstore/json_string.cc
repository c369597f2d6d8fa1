#include "kvstore/json_string.h"

#include "absl/strings/str_format.h"

namespace keelson::kvstore {

std::optional<Rune> DecodeRune(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return Rune{lead, 1};
  size_t size = 0;
  uint32_t code = 0;
  if (lead >= 0xc2 && lead <= 0xdf) {
    size = 2;
    code = lead & 0x1fU;
  } else if (lead >= 0xe0 && lead <= 0xef) {
    size = 3;
    code = lead & 0x0fU;
  } else if (lead >= 0xf0 && lead <= 0xf4) {
    size = 4;
    code = lead & 0x07U;
  } else {
    return std::nullopt;
  }
  if (text.size() < size) return std::nullopt;
  for (size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0U) != 0x80) return std::nullopt;
    code = (code << 6) | (byte(i) & 0x3fU);
  }
  const bool overlong = (size == 3 && code < 0x800) || (size == 4 && code < 0x10000);
  const bool surrogate = code >= 0xd800 && code <= 0xdfff;
  if (overlong || surrogate || code > 0x10ffff) return std::nullopt;
  return Rune{code, size};
}

std::string JsonString(std::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    const std::optional<Rune> rune = DecodeRune(text);
    const char c = text[0];
    if (!rune) {
      out.append("\\ufffd");
    } else if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(c);
    } else if (c == '\n') {
      out.append("\\n");
    } else if (c == '\r') {
      out.append("\\r");
    } else if (c == '\t') {
      out.append("\\t");
    } else if (rune->code < 0x20 || c == '<' || c == '>' || c == '&' || rune->code == 0x2028 ||
               rune->code == 0x2029) {
      absl::StrAppendFormat(&out, "\\u%04x", rune->code);
    } else {
      out.append(text.substr(0, rune->size));
    }
    text.remove_prefix(rune ? rune->size : 1);
  }
  out.push_back('"');
  return out;
}

}  // namespace keelson::kvstore
