// Messages as Go's encoder writes etcd's: members in the order of the .proto file under their names
// there, numbers and enumerations as numbers, bytes in base64, what is zero or empty left out.
#ifndef KEELSON_KVSTORE_CMD_GO_JSON_H_
#define KEELSON_KVSTORE_CMD_GO_JSON_H_

#include <string>

namespace google::protobuf {
class Message;
}

namespace keelson::kvctl {

// Not for messages with a oneof, which Go nests.
std::string GoJson(const google::protobuf::Message& message);

}  // namespace keelson::kvctl

#endif  // KEELSON_KVSTORE_CMD_GO_JSON_H_
