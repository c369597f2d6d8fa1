// Requests of each method from JSON, and answers of each to JSON. What is understood can be said again and
// then means the same; bytes that are no message are an error that is JSON.
//
// The first byte chooses the method, the rest is its JSON and its answer's bytes.
#include <google/protobuf/util/json_util.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "base/check.h"
#include "kvstore/server/json_methods.h"

namespace {

using google::protobuf::Message;
using keelson::kvstore::JsonMethod;

std::string Json(const Message& message) {
  std::string json;
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  const auto status = google::protobuf::util::MessageToJsonString(message, &json, options);
  KEELSON_CHECK(status.ok()) << status.ToString();
  return json;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const auto& methods = keelson::kvstore::JsonMethods();
  const JsonMethod& method = methods[data[0] % methods.size()];
  const std::string input(reinterpret_cast<const char*>(data) + 1, size - 1);

  const auto bytes = keelson::kvstore::RequestBytes(method, input);
  if (bytes.ok()) {
    const std::unique_ptr<Message> request(method.request.New());
    KEELSON_CHECK(request->ParseFromString(*bytes));
    const auto again = keelson::kvstore::RequestBytes(method, Json(*request));
    KEELSON_CHECK(again.ok() && *again == *bytes) << Json(*request);
  }

  const std::string json = keelson::kvstore::AnswerJson(method, input);
  KEELSON_CHECK(json.starts_with('{') && json.ends_with('}')) << json;
  const std::unique_ptr<Message> answer(method.response.New());
  if (!answer->ParseFromString(input)) return 0;
  const std::unique_ptr<Message> read(method.response.New());
  const auto status = google::protobuf::util::JsonStringToMessage(json, read.get());
  // Not UTF-8 where text belongs: the answer is an error instead.
  if (!status.ok()) {
    KEELSON_CHECK(json.find("the answer has no JSON form") != std::string::npos) << json;
    return 0;
  }
  KEELSON_CHECK(Json(*read) == json) << json;
  return 0;
}
