// Takes apart a body that holds JSON objects one after another. For json_gateway.cc.
#ifndef KEELSON_KVSTORE_SERVER_JSON_OBJECTS_H_
#define KEELSON_KVSTORE_SERVER_JSON_OBJECTS_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace keelson::kvstore {

// The JSON objects that stand one after another in `body`; one empty object if there is
// nothing. Empty when `body` has anything else between them or ends inside one. Whether they
// are JSON inside, their reader says.
std::optional<std::vector<std::string>> SplitJsonObjects(std::string_view body);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_JSON_OBJECTS_H_
