#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "container_runtime/path/calls.h"
#include "container_runtime/plan/internal/steps.h"

// rtnetlink(7) by hand: the child takes no memory, and of the whole protocol four requests are needed.
namespace keelson::container::steps {
namespace {

const DeviceCall& CallOf(const Step& step) { return *static_cast<const DeviceCall*>(step.data); }

// A request in the making. Everything in it has a known size that fits.
struct Request {
  alignas(nlmsghdr) char bytes[256] = {};

  Request(uint16_t type, uint16_t flags) {
    Header()->nlmsg_type = type;
    Header()->nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags);
    Header()->nlmsg_len = NLMSG_HDRLEN;
  }
  nlmsghdr* Header() { return reinterpret_cast<nlmsghdr*>(bytes); }
  template <typename T>
  void Add(const T& body) {
    std::memcpy(bytes + Header()->nlmsg_len, &body, sizeof(body));
    Header()->nlmsg_len += NLMSG_ALIGN(static_cast<uint32_t>(sizeof(body)));
  }
  void Add(uint16_t type, const void* value, size_t size) {
    Add(rtattr{.rta_len = static_cast<uint16_t>(RTA_LENGTH(size)), .rta_type = type});
    std::memcpy(bytes + Header()->nlmsg_len, value, size);
    Header()->nlmsg_len += RTA_ALIGN(static_cast<uint32_t>(size));
  }
};

int OpenNetlink(Machine& machine) {
  return Named(machine, "socket",
               machine.kernel.Call(SYS_socket, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
}

int Send(Machine& machine, int socket, Request& request, const char* call) {
  return Named(machine, call,
               machine.kernel.Call(SYS_sendto, socket, calls::Pointer(request.bytes),
                                   static_cast<long>(request.Header()->nlmsg_len)));
}

// Calls `take` with each message of the answer, up to the one that ends it. 0 or the kernel's -errno.
template <typename Take>
int Receive(Machine& machine, int socket, const char* call, Take take) {
  alignas(nlmsghdr) char buffer[16384];
  while (true) {
    const long size =
        Named(machine, call,
              machine.kernel.Call(SYS_recvfrom, socket, calls::Pointer(buffer), sizeof(buffer)));
    if (size == -EINTR) continue;
    if (size <= 0) return size == 0 ? -EPROTO : static_cast<int>(size);
    auto left = static_cast<uint32_t>(size);
    for (const auto* message = reinterpret_cast<const nlmsghdr*>(buffer); NLMSG_OK(message, left);
         message = NLMSG_NEXT(message, left)) {
      if (message->nlmsg_type == NLMSG_DONE) return 0;
      if (message->nlmsg_type == NLMSG_ERROR) {
        return message->nlmsg_len < NLMSG_LENGTH(sizeof(nlmsgerr))
                   ? -EPROTO
                   : static_cast<const nlmsgerr*>(NLMSG_DATA(message))->error;
      }
      take(*message);
    }
  }
}

int Ask(Machine& machine, int socket, Request& request, const char* call) {
  const int sent = Send(machine, socket, request, call);
  return sent < 0 ? sent : Receive(machine, socket, call, [](const nlmsghdr&) {});
}

// The number of the device in the network namespace of this process.
int IndexOf(Machine& machine, const char* name) {
  Kernel& kernel = machine.kernel;
  const int fd =
      Named(machine, "socket", kernel.Call(SYS_socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (fd < 0) return fd;
  ifreq request = {};
  std::memcpy(request.ifr_name, name, std::min(std::strlen(name), sizeof(request.ifr_name) - 1));
  const int result = Named(machine, "ioctl SIOCGIFINDEX",
                           kernel.Call(SYS_ioctl, fd, SIOCGIFINDEX, calls::Pointer(&request)));
  (void)calls::Close(kernel, fd);
  return result < 0 ? result : request.ifr_ifindex;
}

// Permanent ones that mean the same elsewhere; the others belong to where they were given.
void NoteAddress(const nlmsghdr& message, DeviceRecord& record) {
  if (message.nlmsg_type != RTM_NEWADDR || message.nlmsg_len < NLMSG_LENGTH(sizeof(ifaddrmsg))) {
    return;
  }
  const auto& body = *static_cast<const ifaddrmsg*>(NLMSG_DATA(&message));
  const bool known = body.ifa_family == AF_INET || body.ifa_family == AF_INET6;
  if (static_cast<int>(body.ifa_index) != record.index || body.ifa_scope != RT_SCOPE_UNIVERSE ||
      !known || record.count == DeviceRecord::kAddressesMax) {
    return;
  }
  DeviceRecord::Address address = {};
  address.family = body.ifa_family;
  address.prefix = body.ifa_prefixlen;
  address.bytes = body.ifa_family == AF_INET ? 4 : 16;
  address.flags = body.ifa_flags;
  bool has_local = false;
  auto left = static_cast<uint32_t>(IFA_PAYLOAD(&message));
  for (const rtattr* part = IFA_RTA(&body); RTA_OK(part, left); part = RTA_NEXT(part, left)) {
    const size_t size = RTA_PAYLOAD(part);
    if (part->rta_type == IFA_FLAGS && size >= sizeof(address.flags)) {
      std::memcpy(&address.flags, RTA_DATA(part), sizeof(address.flags));
    } else if (part->rta_type == IFA_LOCAL && size == address.bytes) {
      std::memcpy(address.local, RTA_DATA(part), size);
      has_local = true;
    } else if (part->rta_type == IFA_ADDRESS && size == address.bytes) {
      std::memcpy(address.peer, RTA_DATA(part), size);
    } else if (part->rta_type == IFA_BROADCAST && size == sizeof(address.broadcast)) {
      std::memcpy(address.broadcast, RTA_DATA(part), size);
      address.has_broadcast = true;
    }
  }
  if ((address.flags & IFA_F_PERMANENT) == 0) return;
  if (!has_local) std::memcpy(address.local, address.peer, sizeof(address.local));
  record.addresses[record.count++] = address;
}

int AddAddress(Machine& machine, int socket, int index, const DeviceRecord::Address& address) {
  Request request(RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
  request.Add(ifaddrmsg{.ifa_family = address.family,
                        .ifa_prefixlen = address.prefix,
                        .ifa_flags = 0,
                        .ifa_scope = RT_SCOPE_UNIVERSE,
                        .ifa_index = static_cast<uint32_t>(index)});
  constexpr uint32_t kKept = IFA_F_NODAD | IFA_F_MANAGETEMPADDR | IFA_F_NOPREFIXROUTE;
  const uint32_t flags = address.flags & kKept;
  if (flags != 0) request.Add(IFA_FLAGS, &flags, sizeof(flags));
  request.Add(IFA_LOCAL, address.local, address.bytes);
  request.Add(IFA_ADDRESS, address.peer, address.bytes);
  if (address.has_broadcast) {
    request.Add(IFA_BROADCAST, address.broadcast, sizeof(address.broadcast));
  }
  const int result = Ask(machine, socket, request, "rtnetlink RTM_NEWADDR");
  return result == -EEXIST ? 0 : result;
}

// The name of a device between two namespaces, which is free in both: that of neither may be.
void PassingName(char* out, int index) {
  std::memcpy(out, "krdl", 4);
  out += 4;
  char digits[12];
  int count = 0;
  for (int n = index; n > 0 || count == 0; n /= 10)
    digits[count++] = static_cast<char>('0' + n % 10);
  while (count > 0) *out++ = digits[--count];
  *out = '\0';
}

int Rename(Machine& machine, int socket, int index, const char* name) {
  Request request(RTM_NEWLINK, NLM_F_ACK);
  request.Add(ifinfomsg{.ifi_family = AF_UNSPEC, .ifi_index = index});
  request.Add(IFLA_IFNAME, name, std::strlen(name) + 1);
  return Ask(machine, socket, request, "rtnetlink RTM_NEWLINK name");
}

int SetUp(Machine& machine, int socket, int index) {
  Request request(RTM_NEWLINK, NLM_F_ACK);
  request.Add(ifinfomsg{
      .ifi_family = AF_UNSPEC, .ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP});
  return Ask(machine, socket, request, "rtnetlink RTM_NEWLINK up");
}

}  // namespace

int LoopbackUp(Machine& machine, const Step&) {
  Kernel& kernel = machine.kernel;
  const int fd =
      Named(machine, "socket", kernel.Call(SYS_socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (fd < 0) return fd;
  ifreq request = {};
  std::memcpy(request.ifr_name, "lo", 3);
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  const int result = Named(machine, "ioctl SIOCSIFFLAGS",
                           kernel.Call(SYS_ioctl, fd, SIOCSIFFLAGS, calls::Pointer(&request)));
  (void)calls::Close(kernel, fd);
  return result;
}

int ReadDevice(Machine& machine, const Step& step) {
  DeviceRecord& record = *CallOf(step).record;
  record = {};
  record.index = IndexOf(machine, CallOf(step).host_name);
  if (record.index < 0) return record.index;
  const int socket = OpenNetlink(machine);
  if (socket < 0) return socket;
  Request request(RTM_GETADDR, NLM_F_DUMP);
  request.Add(ifaddrmsg{.ifa_family = AF_UNSPEC});
  int result = Send(machine, socket, request, "rtnetlink RTM_GETADDR");
  if (result >= 0) {
    result = Receive(machine, socket, "rtnetlink RTM_GETADDR",
                     [&record](const nlmsghdr& message) { NoteAddress(message, record); });
  }
  (void)calls::Close(machine.kernel, socket);
  return result;
}

int CheckDevice(Machine& machine, const Step& step) {
  const char* name = CallOf(step).name;
  if (std::strchr(name, '%') != nullptr) return 0;
  const int index = IndexOf(machine, name);
  if (index == -ENODEV) return 0;
  if (index < 0) return index;
  machine.call = "";
  SetDetail(machine, "the container's network namespace has a device of this name");
  return -EEXIST;
}

int MoveDevice(Machine& machine, const Step& step) {
  const DeviceRecord& record = *CallOf(step).record;
  const int socket = OpenNetlink(machine);
  if (socket < 0) return socket;
  char name[IFNAMSIZ];
  PassingName(name, record.index);
  Request request(RTM_NEWLINK, NLM_F_ACK);
  request.Add(ifinfomsg{.ifi_family = AF_UNSPEC, .ifi_index = record.index});
  request.Add(IFLA_IFNAME, name, std::strlen(name) + 1);
  // The child is ours and not reaped, so its number names it.
  const auto pid = static_cast<uint32_t>(machine.child);
  request.Add(IFLA_NET_NS_PID, &pid, sizeof(pid));
  const int result = Ask(machine, socket, request, "rtnetlink RTM_NEWLINK namespace");
  (void)calls::Close(machine.kernel, socket);
  return result;
}

int SetUpDevice(Machine& machine, const Step& step) {
  const DeviceCall& call = CallOf(step);
  char passing[IFNAMSIZ];
  PassingName(passing, call.record->index);
  const int index = IndexOf(machine, passing);
  if (index < 0) return index;
  const int socket = OpenNetlink(machine);
  if (socket < 0) return socket;
  int result = Rename(machine, socket, index, call.name);
  for (uint32_t i = 0; i < call.record->count && result >= 0; ++i) {
    result = AddAddress(machine, socket, index, call.record->addresses[i]);
  }
  if (result >= 0) result = SetUp(machine, socket, index);
  (void)calls::Close(machine.kernel, socket);
  return result;
}

}  // namespace keelson::container::steps
