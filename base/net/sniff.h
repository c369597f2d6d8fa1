// Which protocol a client speaks, from the first bytes it sends. Pure.
//
// Plain text: the HTTP/2 preface begins with "PRI " (RFC 9113, section 3.4) and means gRPC;
// all else is HTTP/1.1.
//
// TLS: by the ALPN list of the ClientHello (RFC 8446, section 4.1.2; RFC 7301), which may
// span several records. A list with "http/1.1" means HTTP/1.1: curl and browsers offer it
// beside h2, gRPC clients never do. Else a list with "h2" or "grpc-exp" means gRPC. No list
// and a list of others mean HTTP/1.1, whose server then decides.
#ifndef KEELSON_BASE_NET_SNIFF_H_
#define KEELSON_BASE_NET_SNIFF_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace keelson::net {

// A ClientHello is 200 to 2,000 bytes; nothing needs more than this.
inline constexpr size_t kSniffBytesMax = 16 * 1024;

enum class Sniffed {
  kNeedMore,  // Ask again with the same bytes and more behind them.
  kHttp,
  kGrpc,
  kNeither,  // Close: not TLS where TLS is spoken or the reverse, a broken or overlong ClientHello.
};

// `tls`: whether the port speaks TLS. `bytes`: all that came so far. Never kNeedMore for
// kSniffBytesMax bytes or more.
Sniffed Sniff(std::string_view bytes, bool tls);

// Whether TLS begins so: no plain text that is served here does. `bytes` is not empty.
bool StartsTls(std::string_view bytes);

// What a ClientHello says about ALPN.
struct ClientHello {
  enum class State { kNeedMore, kComplete, kBroken };
  State state = State::kNeedMore;
  std::vector<std::string> alpn = {};  // In the client's order; empty without the extension.
};
ClientHello ParseClientHello(std::string_view bytes);

}  // namespace keelson::net

#endif  // KEELSON_BASE_NET_SNIFF_H_
