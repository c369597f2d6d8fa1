// Requests, one a line ("METHOD target body"), parsed and applied; the store must come back from
// its rows as it was.
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>

#include "base/check.h"
#include "kvstore/v2/key_store.h"
#include "kvstore/v2/keys_request.h"

namespace {

using keelson::kvstore::v2::KeysRequest;
using keelson::kvstore::v2::KeyStore;

std::string TakeUntil(std::string_view& text, char end) {
  const size_t at = text.find(end);
  std::string taken(text.substr(0, at));
  text.remove_prefix(at == std::string_view::npos ? text.size() : at + 1);
  return taken;
}

std::string All(KeyStore& store) {
  const auto outcome = store.Get("/", true, 0);
  return keelson::kvstore::v2::EventJson(std::get<keelson::kvstore::v2::Event>(outcome), false);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  constexpr size_t kMaxRequests = 64;
  KeyStore store;
  std::map<std::string, std::string> rows;
  for (size_t i = 0; i < kMaxRequests && !input.empty(); ++i) {
    const std::string whole_line = TakeUntil(input, '\n');
    std::string_view line = whole_line;
    keelson::http::Request request;
    request.method = TakeUntil(line, ' ');
    request.target = "/v2/keys" + TakeUntil(line, ' ');
    request.body = std::string(line);
    request.headers.Add("Content-Type", "application/x-www-form-urlencoded");
    const auto parsed = keelson::kvstore::v2::ParseKeysRequest(request, 1'000'000'000'000'000'000);
    const auto* keys = std::get_if<KeysRequest>(&parsed);
    if (keys == nullptr || keys->kind != KeysRequest::Kind::kWrite) continue;
    (void)store.Apply(keys->write);
    for (auto& [row, value] : store.TakeRows()) {
      if (value.has_value()) {
        rows[row] = *value;
      } else {
        rows.erase(row);
      }
    }
  }
  KeyStore again;
  for (const auto& [row, value] : rows) {
    KEELSON_CHECK(again.RestoreRow(row, value)) << "a row that was written is refused";
  }
  KEELSON_CHECK(All(again) == All(store)) << "rows do not bring the tree back";
  return 0;
}
