// A call that is answered by many messages, which its caller takes one after the other.
#ifndef KEELSON_KVSTORE_CLIENT_INTERNAL_STREAM_CALL_H_
#define KEELSON_KVSTORE_CLIENT_INTERNAL_STREAM_CALL_H_

#include <memory>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "kvstore/client/internal/core.h"

namespace keelson::kvstore::client_internal {

// Sends `request` to the member in use and gives each message of the answer to `take`, on this thread,
// which may be any but the loop. The member is stopped while `take` works: no more than a few
// messages wait. An error of `take` ends the call and is returned. Nothing is tried again but with a
// new token, before the first message. DEADLINE_EXCEEDED after `timeout`.
absl::Status CallStream(const std::shared_ptr<ClientCore>& core, const std::string& path,
                        std::string request, absl::Duration timeout,
                        absl::FunctionRef<absl::Status(std::string_view message)> take);

}  // namespace keelson::kvstore::client_internal

#endif  // KEELSON_KVSTORE_CLIENT_INTERNAL_STREAM_CALL_H_
