#include "container_runtime/cgroup/unit_control.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <map>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "container_runtime/cgroup/internal/dbus_message.h"

namespace keelson::container {
namespace {

constexpr char kSystemd[] = "org.freedesktop.systemd1";
constexpr char kManager[] = "org.freedesktop.systemd1.Manager";
constexpr size_t kAuthenticationMax = 4096;

absl::Duration Monotonic() {
  timespec now = {};
  (void)::clock_gettime(CLOCK_MONOTONIC, &now);  // cannot fail for this clock
  return absl::DurationFromTimespec(now);
}

// A stream to whoever answers D-Bus on a UNIX socket.
class Stream {
 public:
  static absl::StatusOr<Stream> Connect(const std::string& path) {
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof address.sun_path) {
      return absl::InvalidArgumentError(absl::StrCat("connect '", path, "': no socket's path"));
    }
    path.copy(address.sun_path, path.size());
    Stream stream;
    stream.fd_.Reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!stream.fd_.ok()) return ErrnoError(errno, "make a socket");
    int result = 0;
    do {
      result =
          ::connect(stream.fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
    } while (result < 0 && errno == EINTR);
    if (result < 0) {
      return Annotate(absl::UnavailableError(std::string(ErrnoError(errno, path).message())),
                      "connect");
    }
    return stream;
  }

  absl::Status Send(std::string_view bytes, absl::Duration end) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n > 0) {
        bytes.remove_prefix(static_cast<size_t>(n));
      } else if (errno == EAGAIN) {
        KEELSON_RETURN_IF_ERROR(Poll(POLLOUT, end));
      } else if (errno != EINTR) {
        return ErrnoError(errno, "send to systemd");
      }
    }
    return absl::OkStatus();
  }

  // Adds what comes to `buffer`.
  absl::Status Receive(std::string& buffer, absl::Duration end) {
    char bytes[4096];
    while (true) {
      const ssize_t n = ::recv(fd_.get(), bytes, sizeof bytes, 0);
      if (n > 0) {
        buffer.append(bytes, static_cast<size_t>(n));
        return absl::OkStatus();
      }
      if (n == 0) return absl::UnavailableError("systemd closed the connection");
      if (errno == EAGAIN) {
        KEELSON_RETURN_IF_ERROR(Poll(POLLIN, end));
      } else if (errno != EINTR) {
        return ErrnoError(errno, "receive from systemd");
      }
    }
  }

 private:
  absl::Status Poll(short events, absl::Duration end) {
    const absl::Duration left = end - Monotonic();
    if (left <= absl::ZeroDuration()) return absl::DeadlineExceededError("systemd does not answer");
    pollfd p = {.fd = fd_.get(), .events = events, .revents = 0};
    const int64_t ms = absl::ToInt64Milliseconds(left) + 1;
    if (::poll(&p, 1, static_cast<int>(std::min<int64_t>(ms, 60'000))) < 0 && errno != EINTR) {
      return ErrnoError(errno, "poll");
    }
    return absl::OkStatus();
  }

  UniqueFd fd_;
};

// The authentication EXTERNAL: the kernel tells the other end who we are. BEGIN goes with it and not
// after the answer, as in sd-bus: systemd 252 leaves a call that arrives together with BEGIN in its
// buffer until something else arrives, and would not answer it.
absl::Status Authenticate(Stream& stream, absl::Duration end) {
  const std::string uid = absl::BytesToHexString(absl::StrCat(::geteuid()));
  KEELSON_RETURN_IF_ERROR(stream.Send(
      std::string(1, '\0') + absl::StrCat("AUTH EXTERNAL ", uid, "\r\nBEGIN\r\n"), end));
  std::string answer;
  while (!absl::EndsWith(answer, "\r\n")) {
    KEELSON_RETURN_IF_ERROR(stream.Receive(answer, end));
    if (answer.size() > kAuthenticationMax)
      return absl::InvalidArgumentError("D-Bus: no answer to AUTH");
  }
  if (!absl::StartsWith(answer, "OK ")) {
    return absl::PermissionDeniedError(
        absl::StrCat("D-Bus: authentication refused: ", absl::StripSuffix(answer, "\r\n")));
  }
  return absl::OkStatus();
}

absl::Status ErrorOf(const DBusMessage& message, const std::string& what) {
  std::string text;
  if (absl::StartsWith(message.signature, "s")) text = DBusReader(message.body).String();
  const std::string full = absl::StrCat(what, ": ", text, " (", message.error_name, ")");
  static const std::map<std::string, absl::StatusCode> kCodes = {
      {"org.freedesktop.systemd1.UnitExists", absl::StatusCode::kAlreadyExists},
      {"org.freedesktop.systemd1.NoSuchUnit", absl::StatusCode::kNotFound},
      {"org.freedesktop.DBus.Error.AccessDenied", absl::StatusCode::kPermissionDenied},
      {"org.freedesktop.DBus.Error.InteractiveAuthorizationRequired",
       absl::StatusCode::kPermissionDenied},
      {"org.freedesktop.DBus.Error.InvalidArgs", absl::StatusCode::kInvalidArgument},
  };
  const auto it = kCodes.find(message.error_name);
  return absl::Status(it == kCodes.end() ? absl::StatusCode::kAborted : it->second, full);
}

class Control final : public UnitControl {
 public:
  Control(Stream stream, bool bus, absl::Duration limit)
      : stream_(std::move(stream)), bus_(bus), limit_(limit) {}

  // On a bus we need a name and have to ask for signals; a manager sends them to its private connections anyway.
  absl::Status Greet() {
    KEELSON_RETURN_IF_ERROR(Authenticate(stream_, Monotonic() + limit_));
    if (!bus_) return absl::OkStatus();
    const DBusCall hello = {.destination = "org.freedesktop.DBus",
                            .path = "/org/freedesktop/DBus",
                            .interface = "org.freedesktop.DBus",
                            .member = "Hello"};
    KEELSON_RETURN_IF_ERROR(Call(hello, {}, "Hello"));
    DBusCall match = hello;
    match.member = "AddMatch";
    match.signature = "s";
    DBusWriter body;
    body.String(absl::StrCat("type='signal',interface='", kManager, "',member='JobRemoved'"));
    KEELSON_RETURN_IF_ERROR(Call(match, body, "AddMatch"));
    return Call(ToManager("Subscribe", ""), {}, "Subscribe").status();
  }

  absl::Status Start(const std::string& unit,
                     const std::vector<UnitProperty>& properties) override {
    DBusWriter body;
    body.String(unit);
    body.String("replace");
    body.Properties(properties);
    body.EndArray(body.BeginArray(8));  // no auxiliary units
    return Job(ToManager("StartTransientUnit", "ssa(sv)a(sa(sv))"), body,
               absl::StrCat("start unit '", unit, "'"));
  }

  absl::Status Stop(const std::string& unit) override {
    DBusWriter body;
    body.String(unit);
    body.String("replace");
    const absl::Status status =
        Job(ToManager("StopUnit", "ss"), body, absl::StrCat("stop unit '", unit, "'"));
    // A scope goes away with its last process; one that ended badly waits to be looked at.
    (void)ResetFailed(unit);
    return absl::IsNotFound(status) ? absl::OkStatus() : status;
  }

  absl::Status Set(const std::string& unit, const std::vector<UnitProperty>& properties) override {
    DBusWriter body;
    body.String(unit);
    body.Bool(true);
    body.Properties(properties);
    return Call(ToManager("SetUnitProperties", "sba(sv)"), body,
                absl::StrCat("set properties of unit '", unit, "'"))
        .status();
  }

  absl::Status AttachProcesses(const std::string& unit, const std::string& sub,
                               const std::vector<uint32_t>& pids) override {
    DBusWriter body;
    body.String(unit);
    body.String(sub);
    const size_t mark = body.BeginArray(4);
    for (const uint32_t pid : pids) body.Uint32(pid);
    body.EndArray(mark);
    return Call(ToManager("AttachProcessesToUnit", "ssau"), body,
                absl::StrCat("attach to unit '", unit, "'"))
        .status();
  }

  absl::Status ResetFailed(const std::string& unit) override {
    DBusWriter body;
    body.String(unit);
    return Call(ToManager("ResetFailedUnit", "s"), body, absl::StrCat("reset unit '", unit, "'"))
        .status();
  }

  absl::StatusOr<std::string> ManagerCgroup() override {
    DBusCall call = ToManager("Get", "ss");
    call.interface = "org.freedesktop.DBus.Properties";
    DBusWriter body;
    body.String(kManager);
    body.String("ControlGroup");
    KEELSON_ASSIGN_OR_RETURN(const DBusMessage answer, Call(call, body, "get ControlGroup"));
    DBusReader reader(answer.body);
    const std::string type = reader.Signature();
    std::string value = type == "s" ? reader.String() : "";
    if (type != "s" || !reader.ok()) {
      return absl::InvalidArgumentError("get ControlGroup: the answer is no string");
    }
    return value;
  }

 private:
  [[nodiscard]] DBusCall ToManager(std::string member, std::string signature) const {
    DBusCall call;
    if (bus_) call.destination = kSystemd;
    call.member = std::move(member);
    call.signature = std::move(signature);
    return call;
  }

  absl::StatusOr<DBusMessage> Next(absl::Duration end) {
    while (true) {
      if (buffer_.size() >= kDBusHeadBytes) {
        KEELSON_ASSIGN_OR_RETURN(const size_t size, DBusMessageSize(buffer_));
        if (buffer_.size() >= size) {
          absl::StatusOr<DBusMessage> message = DecodeDBusMessage(buffer_.substr(0, size));
          buffer_.erase(0, size);
          return message;
        }
      }
      KEELSON_RETURN_IF_ERROR(stream_.Receive(buffer_, end));
    }
  }

  // Keeps the results of jobs that end meanwhile: a job can end before the answer that names it is read.
  void Note(const DBusMessage& message) {
    if (message.type != DBusMessage::kSignal || message.member != "JobRemoved" ||
        message.signature != "uoss") {
      return;
    }
    DBusReader reader(message.body);
    (void)reader.Uint32();
    const std::string job = reader.String();
    (void)reader.String();
    const std::string result = reader.String();
    if (reader.ok()) ended_jobs_[job] = result;
  }

  absl::StatusOr<DBusMessage> Call(const DBusCall& call, const DBusWriter& body,
                                   const std::string& what) {
    const absl::Duration end = Monotonic() + limit_;
    const uint32_t serial = ++serial_;
    absl::Status sent = stream_.Send(EncodeCall(call, serial, body), end);
    if (!sent.ok()) return Annotate(sent, what);
    while (true) {
      absl::StatusOr<DBusMessage> message = Next(end);
      if (!message.ok()) return Annotate(message.status(), what);
      Note(*message);
      if (message->reply_serial != serial) continue;
      if (message->type == DBusMessage::kError) return ErrorOf(*message, what);
      if (message->type == DBusMessage::kReturn) return message;
    }
  }

  // A call that answers with a job, and the end of that job.
  absl::Status Job(const DBusCall& call, const DBusWriter& body, const std::string& what) {
    ended_jobs_.clear();
    KEELSON_ASSIGN_OR_RETURN(const DBusMessage answer, Call(call, body, what));
    const std::string job = DBusReader(answer.body).String();
    const absl::Duration end = Monotonic() + limit_;
    while (ended_jobs_.count(job) == 0) {
      absl::StatusOr<DBusMessage> message = Next(end);
      if (!message.ok()) return Annotate(message.status(), absl::StrCat(what, ": wait for ", job));
      Note(*message);
    }
    const std::string& result = ended_jobs_[job];
    if (result == "done") return absl::OkStatus();
    return absl::AbortedError(absl::StrCat(what, ": its job ended with '", result, "'"));
  }

  Stream stream_;
  const bool bus_;
  const absl::Duration limit_;
  uint32_t serial_ = 0;
  std::string buffer_;
  std::map<std::string, std::string> ended_jobs_;  // path -> result
};

// "unix:path=/run/dbus/system_bus_socket" of an environment variable, or empty.
std::string SocketOfAddress(const char* address) {
  if (address == nullptr) return "";
  absl::string_view text = address;
  if (!absl::ConsumePrefix(&text, "unix:path=")) return "";
  return std::string(text.substr(0, text.find_first_of(",;")));
}

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

struct Endpoint {
  std::string socket;
  bool bus = false;
};

std::vector<Endpoint> Endpoints(const UnitControlOptions& options) {
  if (!options.socket.empty()) return {{options.socket, options.bus}};
  if (!options.user) {
    std::string bus = SocketOfAddress(std::getenv("DBUS_SYSTEM_BUS_ADDRESS"));
    if (bus.empty()) bus = "/run/dbus/system_bus_socket";
    return {{"/run/systemd/private"}, {bus, true}};
  }
  std::string runtime = Environment("XDG_RUNTIME_DIR");
  if (runtime.empty()) runtime = absl::StrCat("/run/user/", ::getuid());
  std::string bus = SocketOfAddress(std::getenv("DBUS_SESSION_BUS_ADDRESS"));
  if (bus.empty()) bus = runtime + "/bus";
  return {{runtime + "/systemd/private"}, {bus, true}};
}

}  // namespace

absl::StatusOr<std::unique_ptr<UnitControl>> ConnectUnitControl(const UnitControlOptions& options) {
  std::string tried;
  for (const Endpoint& endpoint : Endpoints(options)) {
    absl::StatusOr<Stream> stream = Stream::Connect(endpoint.socket);
    absl::Status status = stream.status();
    if (stream.ok()) {
      auto control =
          std::make_unique<Control>(*std::move(stream), endpoint.bus, options.call_limit);
      status = control->Greet();
      if (status.ok()) return std::unique_ptr<UnitControl>(std::move(control));
    }
    absl::StrAppend(&tried, tried.empty() ? "" : "; ", endpoint.socket, ": ",
                    std::string(status.message()));
  }
  return absl::UnavailableError(
      absl::StrCat("cannot reach systemd", options.user ? "'s user manager" : "", ": ", tried));
}

}  // namespace keelson::container
