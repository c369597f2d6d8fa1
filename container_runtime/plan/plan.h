// A plan: everything that will be done to make a container, worked out and allocated before the
// first process is.
//
//   KEELSON_ASSIGN_OR_RETURN(Plan plan, CompileContainer(spec, options));
//   std::fputs(PlanToText(plan).c_str(), stdout);
//
// Lists of a plan, in the order in which they run:
//   outside  by the process that runs the plan, in its own namespaces, before the clone
//   bridge   by a process that joins namespaces so that the child is born in them; often empty
//   child    by the container's first process (or the one that `exec` adds)
//   network  by the process that runs the plan, at SyncPoint::kNetwork; most often empty
//   ready    by the process that runs the plan, on the child, at SyncPoint::kReady
//
// A plan owns what its steps point to and may be moved but not copied. Not thread-safe.
#ifndef KEELSON_CONTAINER_RUNTIME_PLAN_PLAN_H_
#define KEELSON_CONTAINER_RUNTIME_PLAN_PLAN_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "container_runtime/config/spec.h"
#include "container_runtime/plan/step.h"

namespace keelson::container {

class Plan {
 public:
  Plan() = default;
  Plan(Plan&&) = default;
  Plan& operator=(Plan&&) = default;
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  std::vector<Step> outside, bridge, child, network, ready;
  uint64_t clone_flags = 0;  // CLONE_NEW* of the child
  // The register of a process in whose PID namespace the child is born.
  int16_t pid_namespace_of = kNone;
  // User namespaces with these maps go into registers before anything runs (id-mapped mounts).
  struct IdMap {
    int16_t out = kNone;
    std::vector<IdMapping> uids, gids;
  };
  std::vector<IdMap> id_maps;
  // What was asked for and will be left out, one line each: for the log.
  std::vector<std::string> warnings;
  int16_t registers = kFirstFree;

  [[nodiscard]] int16_t NewRegister() { return registers++; }

  // Copies that live as long as the plan.
  const char* Text(std::string_view text);
  const char* const* Texts(const std::vector<std::string>& texts);  // ended by a null pointer
  template <typename T>
  const T* Array(const std::vector<T>& values) {
    auto owned = std::make_shared<std::vector<T>>(values);
    const T* data = owned->data();
    objects_.push_back(std::move(owned));
    return data;
  }

 private:
  // Addresses of a deque's elements stay when it grows and when it is moved.
  std::deque<std::string> texts_;
  std::vector<std::shared_ptr<void>> objects_;
};

// The step's op as users see it, such as "move-mount".
std::string_view OpName(Op op);
std::string_view SyncPointName(SyncPoint point);

// One step a line; equal plans give equal text.
std::string PlanToText(const Plan& plan);
// {"cloneFlags": [...], "outside": [{"op": ..., ...}], "bridge": [...], "child": ..., "network": ..., "ready": ...}
std::string PlanToJson(const Plan& plan);
// Lines of PlanToText that differ, marked "-" and "+", in order; empty when the plans are equal.
std::string DiffPlans(const Plan& a, const Plan& b);

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_PLAN_PLAN_H_
