#include "kvstore/cmd/go_json.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "kvstore/json_string.h"

namespace keelson::kvctl {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

std::string StringJson(const FieldDescriptor& field, const std::string& value) {
  if (field.type() != FieldDescriptor::TYPE_BYTES) return kvstore::JsonString(value);
  return absl::StrCat("\"", absl::Base64Escape(value), "\"");
}

// One value of a field; `index` is -1 where it is not repeated.
std::string ValueJson(const Message& message, const FieldDescriptor& field, int index) {
  const Reflection& reflection = *message.GetReflection();
  const bool one = index < 0;
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return absl::StrCat(one ? reflection.GetInt32(message, &field)
                              : reflection.GetRepeatedInt32(message, &field, index));
    case FieldDescriptor::CPPTYPE_INT64:
      return absl::StrCat(one ? reflection.GetInt64(message, &field)
                              : reflection.GetRepeatedInt64(message, &field, index));
    case FieldDescriptor::CPPTYPE_UINT32:
      return absl::StrCat(one ? reflection.GetUInt32(message, &field)
                              : reflection.GetRepeatedUInt32(message, &field, index));
    case FieldDescriptor::CPPTYPE_UINT64:
      return absl::StrCat(one ? reflection.GetUInt64(message, &field)
                              : reflection.GetRepeatedUInt64(message, &field, index));
    case FieldDescriptor::CPPTYPE_ENUM:
      return absl::StrCat(one ? reflection.GetEnumValue(message, &field)
                              : reflection.GetRepeatedEnumValue(message, &field, index));
    case FieldDescriptor::CPPTYPE_BOOL:
      return (one ? reflection.GetBool(message, &field)
                  : reflection.GetRepeatedBool(message, &field, index))
                 ? "true"
                 : "false";
    case FieldDescriptor::CPPTYPE_STRING:
      return StringJson(field, one ? reflection.GetString(message, &field)
                                   : reflection.GetRepeatedString(message, &field, index));
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return GoJson(one ? reflection.GetMessage(message, &field)
                        : reflection.GetRepeatedMessage(message, &field, index));
    default:
      return "null";  // etcd's messages have no fractions.
  }
}

}  // namespace

std::string GoJson(const Message& message) {
  const google::protobuf::Descriptor& type = *message.GetDescriptor();
  const Reflection& reflection = *message.GetReflection();
  std::string text;
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    std::string value;
    if (field.is_repeated()) {
      const int count = reflection.FieldSize(message, &field);
      if (count == 0) continue;
      for (int item = 0; item < count; ++item) {
        absl::StrAppend(&value, item == 0 ? "" : ",", ValueJson(message, field, item));
      }
      value = absl::StrCat("[", value, "]");
    } else {
      if (!reflection.HasField(message, &field)) continue;
      value = ValueJson(message, field, -1);
    }
    absl::StrAppend(&text, text.empty() ? "" : ",", "\"", field.name(), "\":", value);
  }
  return absl::StrCat("{", text, "}");
}

}  // namespace keelson::kvctl
