#include "kvstore/v2/keys_request.h"

#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "kvstore/v2/tree.h"

namespace keelson::kvstore::v2 {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

// The fields of a request, with the first thing that is wrong with them.
class Fields {
 public:
  explicit Fields(std::vector<http::Header> fields) : fields_(std::move(fields)) {}

  [[nodiscard]] const std::string* Find(std::string_view name) const {
    for (const http::Header& field : fields_) {
      if (field.name == name) return &field.value;
    }
    return nullptr;
  }
  [[nodiscard]] std::string ValueOf(std::string_view name) const {
    const std::string* value = Find(name);
    return value == nullptr ? "" : *value;
  }

  // 0 and false when there is none.
  uint64_t Number(std::string_view name, ErrorCode code) {
    const std::string* text = Find(name);
    uint64_t number = 0;
    if (text == nullptr) return 0;
    const bool digits =
        !text->empty() && text->find_first_not_of("0123456789") == std::string::npos;
    if (!digits || !absl::SimpleAtoi(*text, &number)) Invalid(code, name, /*quoted=*/true);
    return number;
  }
  // The spellings of Go's strconv.ParseBool.
  std::optional<bool> Bool(std::string_view name, bool quoted = true) {
    const std::string* text = Find(name);
    if (text == nullptr) return std::nullopt;
    for (const char* yes : {"1", "t", "T", "TRUE", "true", "True"}) {
      if (*text == yes) return true;
    }
    for (const char* no : {"0", "f", "F", "FALSE", "false", "False"}) {
      if (*text == no) return false;
    }
    Invalid(ErrorCode::kInvalidField, name, quoted);
    return std::nullopt;
  }

  void Fail(ErrorCode code, std::string cause) {
    if (!error_.has_value()) error_ = Error{.code = code, .cause = std::move(cause)};
  }
  [[nodiscard]] const std::optional<Error>& error() const { return error_; }

 private:
  void Invalid(ErrorCode code, std::string_view name, bool quoted) {
    const absl::string_view text(name.data(), name.size());
    const char* const quote = quoted ? "\"" : "";
    Fail(code, absl::StrCat("invalid value for ", quote, text, quote));
  }

  const std::vector<http::Header> fields_;
  std::optional<Error> error_;
};

std::optional<std::vector<http::Header>> FieldsOf(const http::Request& request) {
  std::vector<http::Header> fields;
  const std::string type(request.headers.Find("Content-Type").value_or(""));
  const bool has_form = (request.method == "PUT" || request.method == "POST") &&
                        type.starts_with("application/x-www-form-urlencoded");
  if (has_form) {
    auto body = http::ParseForm(request.body);
    if (!body.has_value()) return std::nullopt;
    fields = *std::move(body);
  }
  auto query = http::ParseForm(request.Query());
  if (!query.has_value()) return std::nullopt;
  fields.insert(fields.end(), query->begin(), query->end());
  return fields;
}

V2Request::Operation OperationOf(const std::string& method, std::optional<bool> prev_exist,
                                 bool compares) {
  if (method == "POST") return V2Request::CREATE_IN_ORDER;
  if (method == "DELETE") return compares ? V2Request::COMPARE_AND_DELETE : V2Request::DELETE;
  if (prev_exist.has_value() && !*prev_exist) return V2Request::CREATE;
  if (compares) return V2Request::COMPARE_AND_SWAP;
  return prev_exist.has_value() ? V2Request::UPDATE : V2Request::SET;
}

// `seconds` from `now`, or the end of time.
int64_t ExpirationAfter(int64_t now, uint64_t seconds) {
  const int64_t most = (std::numeric_limits<int64_t>::max() - now) / kSecond;
  return seconds > static_cast<uint64_t>(most) ? std::numeric_limits<int64_t>::max()
                                               : now + static_cast<int64_t>(seconds) * kSecond;
}

}  // namespace

std::variant<KeysRequest, Error> ParseKeysRequest(const http::Request& request, int64_t now) {
  const auto invalid_form = [](std::string cause) {
    return Error{.code = ErrorCode::kInvalidForm, .cause = std::move(cause)};
  };
  const std::string_view target = request.Path();
  const std::optional<std::string> decoded = http::PercentDecode(target);
  if (!decoded.has_value() || !decoded->starts_with(kKeysPrefix)) {
    return invalid_form("incorrect key prefix");
  }
  std::optional<std::vector<http::Header>> found = FieldsOf(request);
  if (!found.has_value()) return invalid_form("invalid URL escape");
  Fields fields(*std::move(found));

  KeysRequest keys;
  keys.path = CleanPath(std::string_view(*decoded).substr(kKeysPrefix.size()));
  if (keys.path.starts_with(kAuthFolder)) return invalid_form("incorrect key prefix");
  // In etcd's order, for the first error counts.
  const uint64_t prev_index = fields.Number("prevIndex", ErrorCode::kIndexNotNumber);
  keys.since = fields.Number("waitIndex", ErrorCode::kIndexNotNumber);
  keys.recursive = fields.Bool("recursive").value_or(false);
  (void)fields.Bool("sorted");  // Children always are.
  const bool wait = fields.Bool("wait").value_or(false);
  const bool directory = fields.Bool("dir").value_or(false);
  keys.quorum = fields.Bool("quorum").value_or(false);
  keys.stream = fields.Bool("stream").value_or(false);
  if (wait && request.method != "GET") {
    fields.Fail(ErrorCode::kInvalidField, "\"wait\" can only be used with GET requests");
  }
  const std::string* const prev_value = fields.Find("prevValue");
  if (prev_value != nullptr && prev_value->empty()) {
    fields.Fail(ErrorCode::kPrevValueRequired, "\"prevValue\" cannot be empty");
  }
  keys.action_only = fields.Bool("noValueOnSuccess").value_or(false);
  const bool has_ttl = !fields.ValueOf("ttl").empty();
  const uint64_t ttl = has_ttl ? fields.Number("ttl", ErrorCode::kTtlNotNumber) : 0;
  const std::optional<bool> prev_exist = fields.Bool("prevExist", /*quoted=*/false);
  const bool refresh = fields.Bool("refresh", /*quoted=*/false).value_or(false);
  if (refresh && !fields.ValueOf("value").empty()) {
    fields.Fail(ErrorCode::kRefreshValue, "A value was provided on a refresh");
  }
  if (refresh && !has_ttl) fields.Fail(ErrorCode::kRefreshTtlRequired, "No TTL value set");
  if (fields.error().has_value()) return *fields.error();

  if (request.method == "GET" || request.method == "HEAD") {
    // A quorum read does not wait, as in etcd.
    keys.kind = wait && !keys.quorum ? KeysRequest::Kind::kWatch : KeysRequest::Kind::kGet;
    return keys;
  }
  keys.kind = KeysRequest::Kind::kWrite;
  V2Request& write = keys.write;
  const bool compares = prev_value != nullptr || prev_index != 0;
  write.set_operation(OperationOf(request.method, prev_exist, compares));
  write.set_path(keys.path);
  write.set_value(fields.ValueOf("value"));
  write.set_directory(directory);
  write.set_recursive(keys.recursive);
  if (prev_value != nullptr) write.set_previous_value(*prev_value);
  write.set_previous_index(prev_index);
  if (has_ttl) write.set_expiration(ExpirationAfter(now, ttl));
  write.set_refresh(refresh);
  write.set_time(now);
  return keys;
}

}  // namespace keelson::kvstore::v2
