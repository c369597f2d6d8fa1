#include "kvstore/client/internal/fate.h"

#include <string>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "kvstore/client/client.h"

namespace keelson::kvstore {
namespace {

constexpr char kPerhapsDone[] = "keelson.kvstore/perhaps-done";
constexpr char kCompacted[] = "keelson.kvstore/compact-revision";

}  // namespace

bool PerhapsDone(const absl::Status& status) { return status.GetPayload(kPerhapsDone).has_value(); }

int64_t CompactRevisionOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kCompacted);
  int64_t revision = 0;
  if (!payload.has_value() || !absl::SimpleAtoi(std::string(*payload), &revision)) return 0;
  return revision;
}

namespace client_internal {

absl::Status MarkPerhapsDone(absl::Status status) {
  status.SetPayload(kPerhapsDone, absl::Cord());
  return status;
}

absl::Status MarkCompacted(absl::Status status, int64_t compact_revision) {
  status.SetPayload(kCompacted, absl::Cord(absl::StrCat(compact_revision)));
  return status;
}

}  // namespace client_internal
}  // namespace keelson::kvstore
