#include "kvstore/v2/tree.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"

namespace keelson::kvstore::v2 {
namespace {

constexpr int64_t kSecond = 1'000'000'000;
// etcd takes an earlier time, 2000-01-01, as a mistake: such a node stays for ever.
constexpr int64_t kEarliestExpiration = int64_t{946'684'800} * kSecond;

std::vector<std::string> Elements(std::string_view path) {
  return absl::StrSplit(absl::string_view(path.data(), path.size()), '/', absl::SkipEmpty());
}

std::string_view LastElement(std::string_view path) { return path.substr(path.rfind('/') + 1); }

std::string Parent(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string Below(const std::string& parent, std::string_view name) {
  const absl::string_view element(name.data(), name.size());
  return parent == "/" ? absl::StrCat("/", element) : absl::StrCat(parent, "/", element);
}

bool IsHidden(std::string_view path) { return LastElement(path).starts_with('_'); }

}  // namespace

std::string CleanPath(std::string_view path) {
  std::vector<std::string> kept;
  for (std::string& element : Elements(path)) {
    if (element == ".") continue;
    if (element != "..") {
      kept.push_back(std::move(element));
    } else if (!kept.empty()) {
      kept.pop_back();
    }
  }
  std::string clean;
  for (const std::string& element : kept) absl::StrAppend(&clean, "/", element);
  return clean.empty() ? "/" : clean;
}

bool HasHiddenElement(std::string_view path) {
  return path.starts_with('_') || path.find("/_") != std::string_view::npos;
}

struct Tree::Node {
  std::string path;
  Node* parent = nullptr;
  bool directory = false;
  std::string value;
  uint64_t modified_index = 0;
  uint64_t created_index = 0;
  int64_t expiration = 0;  // 0: never
  std::map<std::string, std::unique_ptr<Node>, std::less<>> children;

  // Without children.
  [[nodiscard]] NodeView View(int64_t now) const {
    NodeView view;
    if (parent != nullptr) view.key = path;
    view.directory = directory;
    if (!directory) view.value = value;
    view.modified_index = modified_index;
    view.created_index = created_index;
    SetTime(now, &view);
    return view;
  }
  // With the children that are not hidden: all the way down, or only these.
  [[nodiscard]] NodeView ViewWithChildren(bool recursive, int64_t now) const {
    NodeView view = View(now);
    for (const auto& [name, child] : children) {
      if (IsHidden(child->path)) continue;
      view.nodes.push_back(recursive ? child->ViewWithChildren(true, now) : child->View(now));
    }
    return view;
  }
  void SetTime(int64_t now, NodeView* view) const {
    view->expiration = expiration;
    if (expiration == 0) return;
    const int64_t left = expiration - now;
    view->ttl = left / kSecond + (left % kSecond > 0 ? 1 : 0);
  }
};

Tree::Tree() : root_(std::make_unique<Node>()) {
  root_->path = "/";
  root_->directory = true;
}

Tree::~Tree() = default;

Tree::Found Tree::Find(const std::string& path) const {
  Node* node = root_.get();
  for (const std::string& element : Elements(path)) {
    if (!node->directory) return MakeError(ErrorCode::kNotDirectory, node->path);
    const auto it = node->children.find(element);
    if (it == node->children.end()) {
      return MakeError(ErrorCode::kKeyNotFound, Below(node->path, element));
    }
    node = it->second.get();
  }
  return node;
}

Tree::Found Tree::MakeDirectory(const std::string& path) {
  Node* node = root_.get();
  for (const std::string& element : Elements(path)) {
    const auto it = node->children.find(element);
    if (it == node->children.end()) {
      node = &AddChild(*node, Below(node->path, element), /*directory=*/true);
    } else if (it->second->directory) {
      node = it->second.get();
    } else {
      return MakeError(ErrorCode::kNotDirectory, it->second->path);
    }
  }
  return node;
}

Tree::Node& Tree::AddChild(Node& parent, const std::string& path, bool directory) {
  auto node = std::make_unique<Node>();
  node->path = path;
  node->parent = &parent;
  node->directory = directory;
  node->modified_index = index_ + 1;
  node->created_index = index_ + 1;
  touched_.insert(path);
  Node& added = *node;
  parent.children.insert_or_assign(std::string(LastElement(path)), std::move(node));
  return added;
}

void Tree::SetExpiration(Node& node, int64_t expiration) {
  if (node.expiration != 0) expirations_.erase({node.expiration, node.path});
  node.expiration = expiration;
  if (expiration != 0) expirations_.insert({expiration, node.path});
}

void Tree::Remove(Node& node, std::vector<std::string>* removed) {
  while (!node.children.empty()) Remove(*node.children.begin()->second, removed);
  SetExpiration(node, 0);
  touched_.insert(node.path);
  removed->push_back(node.path);
  node.parent->children.erase(node.parent->children.find(LastElement(node.path)));
}

Tree::Change Tree::Apply(const V2Request& request) {
  switch (request.operation()) {
    case V2Request::SET:
      return Set(request);
    case V2Request::CREATE:
    case V2Request::CREATE_IN_ORDER:
      return Create(request);
    case V2Request::UPDATE:
      return Update(request);
    case V2Request::COMPARE_AND_SWAP:
      return CompareAndSwap(request);
    case V2Request::DELETE:
      return Delete(request);
    case V2Request::COMPARE_AND_DELETE:
      return CompareAndDelete(request);
    default:
      return {MakeError(ErrorCode::kRaftInternal, "unknown operation"), {}};
  }
}

// Makes the node `path` and the directories above it.
Tree::Change Tree::Put(const V2Request& request, std::string path, bool replace,
                       std::string_view action) {
  if (path == "/") return {MakeError(ErrorCode::kRootReadOnly, "/"), {}};
  Found found = MakeDirectory(Parent(path));
  if (const Error* error = std::get_if<Error>(&found)) return {*error, {}};
  Node& parent = *std::get<Node*>(found);

  Event event{.action = std::string(action)};
  if (const auto it = parent.children.find(LastElement(path)); it != parent.children.end()) {
    if (!replace) return {MakeError(ErrorCode::kKeyExists, path), {}};
    if (it->second->directory) return {MakeError(ErrorCode::kNotFile, path), {}};
    event.previous = it->second->View(request.time());
    std::vector<std::string> replaced;  // Nobody is told that the old one went.
    Remove(*it->second, &replaced);
  }
  Node& node = AddChild(parent, path, request.directory());
  if (!node.directory) node.value = request.value();
  SetExpiration(node, request.expiration() < kEarliestExpiration ? 0 : request.expiration());
  event.node = node.View(request.time());
  event.etcd_index = ++index_;
  return {std::move(event), {}};
}

Tree::Change Tree::Set(const V2Request& request) {
  const Found found = Find(request.path());
  const Error* const error = std::get_if<Error>(&found);
  if (error != nullptr && error->code != ErrorCode::kKeyNotFound) return {*error, {}};
  if (!request.refresh()) return Put(request, request.path(), /*replace=*/true, "set");
  if (error != nullptr) return {*error, {}};
  V2Request with_value = request;
  with_value.set_value(std::get<Node*>(found)->value);
  Change change = Put(with_value, request.path(), /*replace=*/true, "set");
  if (Event* event = std::get_if<Event>(&change.outcome)) event->refresh = true;
  return change;
}

Tree::Change Tree::Create(const V2Request& request) {
  if (request.operation() == V2Request::CREATE) {
    return Put(request, request.path(), /*replace=*/false, "create");
  }
  return Put(request, Below(request.path(), absl::StrFormat("%020d", index_ + 1)),
             /*replace=*/false, "create");
}

Tree::Change Tree::Update(const V2Request& request) {
  if (request.path() == "/") return {MakeError(ErrorCode::kRootReadOnly, "/"), {}};
  const Found found = Find(request.path());
  if (const Error* error = std::get_if<Error>(&found)) return {*error, {}};
  Node& node = *std::get<Node*>(found);
  if (node.directory && !request.value().empty()) {
    return {MakeError(ErrorCode::kNotFile, request.path()), {}};
  }

  Event event{.action = "update", .previous = node.View(request.time())};
  event.etcd_index = ++index_;
  if (!node.directory) {  // A directory keeps its index, as in etcd.
    if (!request.refresh()) node.value = request.value();
    node.modified_index = index_;
  }
  SetExpiration(node, request.expiration());
  touched_.insert(node.path);
  event.node = node.View(request.time());
  event.node.modified_index = index_;
  event.refresh = request.refresh();
  return {std::move(event), {}};
}

namespace {

// "[wanted != found]" for each condition that does not hold; empty when all do.
std::string Mismatch(const V2Request& request, const std::string& value, uint64_t index) {
  const bool index_differs = request.previous_index() != 0 && request.previous_index() != index;
  const bool value_differs = !request.previous_value().empty() && request.previous_value() != value;
  std::string cause;
  if (value_differs) absl::StrAppend(&cause, "[", request.previous_value(), " != ", value, "]");
  if (value_differs && index_differs) cause += " ";
  if (index_differs) absl::StrAppend(&cause, "[", request.previous_index(), " != ", index, "]");
  return cause;
}

}  // namespace

Tree::Change Tree::CompareAndSwap(const V2Request& request) {
  if (request.path() == "/") return {MakeError(ErrorCode::kRootReadOnly, "/"), {}};
  const Found found = Find(request.path());
  if (const Error* error = std::get_if<Error>(&found)) return {*error, {}};
  Node& node = *std::get<Node*>(found);
  if (node.directory) return {MakeError(ErrorCode::kNotFile, request.path()), {}};
  std::string mismatch = Mismatch(request, node.value, node.modified_index);
  if (!mismatch.empty()) {
    return {MakeError(ErrorCode::kCompareFailed, std::move(mismatch)), {}};
  }

  Event event{.action = "compareAndSwap", .previous = node.View(request.time())};
  event.etcd_index = ++index_;
  if (!request.refresh()) node.value = request.value();
  node.modified_index = index_;
  SetExpiration(node, request.expiration());
  touched_.insert(node.path);
  event.node = node.View(request.time());
  event.refresh = request.refresh();
  return {std::move(event), {}};
}

Tree::Change Tree::Delete(const V2Request& request) {
  if (request.path() == "/") return {MakeError(ErrorCode::kRootReadOnly, "/"), {}};
  const Found found = Find(request.path());
  if (const Error* error = std::get_if<Error>(&found)) return {*error, {}};
  Node& node = *std::get<Node*>(found);
  if (node.directory) {
    if (!request.directory() && !request.recursive()) {
      return {MakeError(ErrorCode::kNotFile, request.path()), {}};
    }
    if (!node.children.empty() && !request.recursive()) {
      return {MakeError(ErrorCode::kDirectoryNotEmpty, request.path()), {}};
    }
  }

  Change change;
  Event event{.action = "delete", .previous = node.View(request.time())};
  event.etcd_index = ++index_;
  event.node = {.key = node.path,
                .directory = node.directory,
                .modified_index = index_,
                .created_index = node.created_index};
  Remove(node, &change.removed);
  change.outcome = std::move(event);
  return change;
}

Tree::Change Tree::CompareAndDelete(const V2Request& request) {
  const Found found = Find(request.path());
  if (const Error* error = std::get_if<Error>(&found)) return {*error, {}};
  Node& node = *std::get<Node*>(found);
  // The root has no name to be told.
  const std::string cause = request.path() == "/" ? "" : request.path();
  if (node.directory) return {MakeError(ErrorCode::kNotFile, cause), {}};
  std::string mismatch = Mismatch(request, node.value, node.modified_index);
  if (!mismatch.empty()) {
    return {MakeError(ErrorCode::kCompareFailed, std::move(mismatch)), {}};
  }
  Change change = Delete(request);
  std::get<Event>(change.outcome).action = "compareAndDelete";
  return change;
}

std::vector<Tree::Change> Tree::Expire(int64_t time) {
  std::vector<Change> changes;
  while (!expirations_.empty() && expirations_.begin()->first <= time) {
    const std::string path = expirations_.begin()->second;
    Node& node = *std::get<Node*>(Find(path));
    Change change;
    Event event{.action = "expire", .previous = node.View(time)};
    event.previous->ttl = 0;  // It is over, by how much does not matter.
    event.etcd_index = ++index_;
    event.node = {.key = node.path,
                  .directory = node.directory,
                  .modified_index = index_,
                  .created_index = node.created_index};
    Remove(node, &change.removed);
    change.outcome = std::move(event);
    changes.push_back(std::move(change));
  }
  return changes;
}

Outcome Tree::Get(const std::string& path, bool recursive, int64_t now) const {
  const Found found = Find(path);
  if (const Error* error = std::get_if<Error>(&found)) return *error;
  Event event{.action = "get", .etcd_index = index_};
  event.node = std::get<Node*>(found)->ViewWithChildren(recursive, now);
  return event;
}

std::optional<int64_t> Tree::NextExpiration() const {
  if (expirations_.empty()) return std::nullopt;
  return expirations_.begin()->first;
}

std::optional<V2Node> Tree::Stored(const std::string& path) const {
  const Found found = Find(path);
  if (!std::holds_alternative<Node*>(found)) return std::nullopt;
  const Node& node = *std::get<Node*>(found);
  V2Node stored;
  stored.set_directory(node.directory);
  stored.set_value(node.value);
  stored.set_modified_index(node.modified_index);
  stored.set_created_index(node.created_index);
  stored.set_expiration(node.expiration);
  return stored;
}

bool Tree::Restore(const std::string& path, const V2Node& stored) {
  if (path.size() < 2 || path != CleanPath(path)) return false;
  const Found found = Find(Parent(path));
  if (!std::holds_alternative<Node*>(found)) return false;
  Node& parent = *std::get<Node*>(found);
  if (!parent.directory || parent.children.contains(LastElement(path))) return false;
  Node& node = AddChild(parent, path, stored.directory());
  node.value = stored.value();
  node.modified_index = stored.modified_index();
  node.created_index = stored.created_index();
  SetExpiration(node, stored.expiration());
  touched_.erase(path);
  return true;
}

}  // namespace keelson::kvstore::v2
