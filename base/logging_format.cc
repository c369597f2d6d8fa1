// The three forms of a log line.
#include <charconv>
#include <cmath>

#include "base/check.h"
#include "base/logging.h"

namespace keelson {
namespace {

std::string_view LevelName(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarning:
      return "warn";
    case LogLevel::kError:
      return "error";
  }
  return "error";
}

// Priorities of syslog(3), which the journal reads from `<N>` at a line's start.
char PriorityOf(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return '7';
    case LogLevel::kInfo:
      return '6';
    case LogLevel::kWarning:
      return '4';
    case LogLevel::kError:
      return '3';
  }
  return '3';
}

std::string TimeText(absl::Time now) {
  return absl::FormatTime("%Y-%m-%d%ET%H:%M:%E6SZ", now, absl::UTCTimeZone());
}

// Bytes of the UTF-8 sequence at `text[at]`, 0 when it is not one (Unicode 15, table 3-7).
size_t Utf8Length(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) {
    return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0U;
  };
  const auto tail = [&](size_t i) { return (byte(i) & 0xC0U) == 0x80U; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return tail(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const bool overlong = first == 0xE0 && byte(1) < 0xA0;
    const bool surrogate = first == 0xED && byte(1) > 0x9F;
    return tail(1) && tail(2) && !overlong && !surrogate ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const bool overlong = first == 0xF0 && byte(1) < 0x90;
    const bool above = first == 0xF4 && byte(1) > 0x8F;
    return tail(1) && tail(2) && tail(3) && !overlong && !above ? 4 : 0;
  }
  return 0;
}

// Appends `text` between quotes, as JSON wants it; the other forms use the same escapes.
void AppendQuoted(std::string& out, std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  out += '"';
  for (size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c == '"' || c == '\\') {
      out.append("\\").append(1, text[i++]);
    } else if (c == '\n') {
      out += "\\n";
      ++i;
    } else if (c < 0x20 || c == 0x7F) {
      out.append("\\u00").append(1, kHex[c >> 4]).append(1, kHex[c & 15U]);
      ++i;
    } else if (const size_t length = Utf8Length(text, i); length > 0) {
      out.append(text.substr(i, length));
      i += length;
    } else {
      out += "\xEF\xBF\xBD";  // U+FFFD
      ++i;
    }
  }
  out += '"';
}

bool IsPlain(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c <= ' ' || c == 0x7F || c == '"' || c == '=' || c == '\\') return false;
    const size_t length = Utf8Length(text, i);
    if (length == 0) return false;
    i += length;
  }
  return !text.empty();
}

std::string NumberText(double number) {
  char buffer[32];
  const auto result = std::to_chars(buffer, buffer + sizeof(buffer), number);
  return std::string(buffer, result.ptr);
}

void AppendValue(std::string& out, const LogValue::Value& value, bool json) {
  if (const auto* text = std::get_if<std::string>(&value)) {
    if (json || !IsPlain(*text)) {
      AppendQuoted(out, *text);
    } else {
      out += *text;
    }
  } else if (const auto* number = std::get_if<int64_t>(&value)) {
    out += std::to_string(*number);
  } else if (const auto* count = std::get_if<uint64_t>(&value)) {
    out += std::to_string(*count);
  } else if (const auto* real = std::get_if<double>(&value)) {
    // JSON has no name for these.
    const bool quote = json && !std::isfinite(*real);
    out.append(quote ? "\"" : "").append(NumberText(*real)).append(quote ? "\"" : "");
  } else {
    out += std::get<bool>(value) ? "true" : "false";
  }
}

// Messages are constant text, so this only guards the line against a caller's mistake.
void AppendMessage(std::string& out, std::string_view message) {
  for (const char c : message) out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
}

}  // namespace

std::string FormatLogLine(LogFormat format, absl::Time now, LogLevel level,
                          std::string_view component, std::string_view message,
                          std::initializer_list<LogField> fields) {
  KEELSON_CHECK(format != LogFormat::kAuto);
  std::string out;
  if (format == LogFormat::kJson) {
    out.append("{\"ts\":\"").append(TimeText(now)).append("\",\"level\":\"");
    out.append(LevelName(level)).append("\",\"msg\":");
    AppendQuoted(out, message);
    if (!component.empty()) {
      out += ",\"component\":";
      AppendQuoted(out, component);
    }
    for (const LogField& field : fields) {
      out += ',';
      AppendQuoted(out, field.key);
      out += ':';
      AppendValue(out, field.value.value(), true);
    }
    out += '}';
    return out;
  }

  if (format == LogFormat::kJournal) {
    out.append("<").append(1, PriorityOf(level)).append(">");
  } else {
    out.append(TimeText(now)).append(" ").append(LevelName(level)).append(" ");
    if (!component.empty()) out.append(component).append(": ");
  }
  AppendMessage(out, message);
  for (const LogField& field : fields) {
    out.append(" ").append(field.key).append("=");
    AppendValue(out, field.value.value(), false);
  }
  return out;
}

}  // namespace keelson
