// How messages reach the other members.
#ifndef KEELSON_RAFT_TRANSPORT_H_
#define KEELSON_RAFT_TRANSPORT_H_

#include <vector>

#include "raft/types.h"

namespace keelson::raft {

// Where a transport delivers. Called from any thread.
class MessageSink {
 public:
  virtual ~MessageSink() = default;
  virtual void Receive(std::vector<Message> messages) = 0;
  virtual void ReportUnreachable(NodeId peer) = 0;
  // The outcome of a Snap message given to Transport::Send.
  virtual void ReportSnapshot(NodeId peer, bool ok) = 0;
  // The same with the message's group, for a sink of many.
  virtual void ReportGroupSnapshot(GroupId /*group*/, NodeId peer, bool ok) {
    ReportSnapshot(peer, ok);
  }
};

// Best effort: messages may be lost, repeated or reordered; Raft copes. Never blocks:
// what does not fit the queue of a peer is dropped and reported as unreachable.
//
// A Snap message carries only metadata. The transport reads the state itself from the
// sender's SnapshotStore, puts it into the receiver's, and delivers the message to the
// receiving sink only when it is complete and durable there.
class Transport {
 public:
  virtual ~Transport() = default;
  // Sends each message to its `to`. Thread-safe.
  virtual void Send(std::vector<Message> messages) = 0;
};

}  // namespace keelson::raft

#endif  // KEELSON_RAFT_TRANSPORT_H_
