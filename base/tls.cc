#include "base/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <cerrno>
#include <cstdio>
#include <string_view>
#include <vector>

#include "base/openssl_free.h"
#include "base/status.h"

namespace keelson {
namespace {

// The suites that gRPC 1.51 allows in TLS 1.2; those of TLS 1.3 are OpenSSL's own.
constexpr char kTls12Ciphers[] =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384";

// ALPN's wire form: a length byte before each name.
constexpr unsigned char kHttp11[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
constexpr unsigned char kHttp2[] = {2, 'h', '2'};

constexpr size_t kFileBytesMax = 1024 * 1024;

using BioPtr = std::unique_ptr<BIO, OpenSslFree<BIO_free_all>>;
using X509Ptr = std::unique_ptr<X509, OpenSslFree<X509_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, OpenSslFree<EVP_PKEY_free>>;

absl::Status Invalid(std::string_view what) {
  const std::string errors = TakeTlsErrors();
  return absl::InvalidArgumentError(std::string(what) + (errors.empty() ? "" : ": " + errors));
}

BioPtr MemoryBio(const std::string& text) {
  return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

// Never asks a terminal for a passphrase.
int NoPassphrase(char*, int, int, void*) { return -1; }

std::vector<X509Ptr> ReadCertificates(const std::string& pem) {
  std::vector<X509Ptr> certificates;
  const BioPtr bio = MemoryBio(pem);
  while (X509* certificate = PEM_read_bio_X509(bio.get(), nullptr, NoPassphrase, nullptr)) {
    certificates.emplace_back(certificate);
  }
  // The loop ends with "no start line"; anything else is a certificate that is broken.
  const unsigned long error = ERR_peek_last_error();
  if (ERR_GET_REASON(error) == PEM_R_NO_START_LINE) {
    ERR_clear_error();
  } else {
    certificates.clear();
  }
  return certificates;
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "re");
  if (file == nullptr) return ErrnoError(errno, "open '" + path + "'");
  std::string text(kFileBytesMax + 1, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), file));
  const int error = std::ferror(file) != 0 ? errno : 0;
  (void)std::fclose(file);  // Opened for reading: nothing to lose.
  if (error != 0) return ErrnoError(error, "read '" + path + "'");
  if (text.size() > kFileBytesMax) {
    return absl::InvalidArgumentError("'" + path + "' is larger than 1 MiB");
  }
  return text;
}

using ContextPtr = std::shared_ptr<SSL_CTX>;

absl::StatusOr<ContextPtr> NewContext(const SSL_METHOD* method) {
  ContextPtr ctx(SSL_CTX_new(method), SSL_CTX_free);
  if (!ctx) return Invalid("TLS context");
  if (SSL_CTX_set_min_proto_version(ctx.get(), TLS1_2_VERSION) != 1 ||
      SSL_CTX_set_cipher_list(ctx.get(), kTls12Ciphers) != 1) {
    return Invalid("TLS policy");
  }
  SSL_CTX_set_options(ctx.get(),
                      SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_session_cache_mode(ctx.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(ctx.get(), 0);
  // Ten thousand idle connections should not hold two record buffers each.
  SSL_CTX_set_mode(ctx.get(), SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  return ctx;
}

absl::Status UseCertificate(SSL_CTX* ctx, const TlsMaterial& material) {
  const std::vector<X509Ptr> chain = ReadCertificates(material.cert_pem);
  if (chain.empty()) return Invalid("no certificate in PEM form");
  const BioPtr bio = MemoryBio(material.key_pem);
  const KeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassphrase, nullptr));
  if (!key) return Invalid("no private key in PEM form");
  if (SSL_CTX_use_certificate(ctx, chain[0].get()) != 1) return Invalid("certificate");
  for (size_t i = 1; i < chain.size(); ++i) {
    if (SSL_CTX_add1_chain_cert(ctx, chain[i].get()) != 1) return Invalid("certificate chain");
  }
  if (SSL_CTX_use_PrivateKey(ctx, key.get()) != 1 || SSL_CTX_check_private_key(ctx) != 1) {
    return Invalid("the private key does not fit the certificate");
  }
  return absl::OkStatus();
}

absl::Status TrustAuthorities(SSL_CTX* ctx, const std::string& ca_pem, bool tell_clients) {
  const std::vector<X509Ptr> authorities = ReadCertificates(ca_pem);
  if (authorities.empty()) return Invalid("no certificate authority in PEM form");
  X509_STORE* store = SSL_CTX_get_cert_store(ctx);
  for (const X509Ptr& authority : authorities) {
    if (X509_STORE_add_cert(store, authority.get()) != 1) return Invalid("certificate authority");
    if (tell_clients && SSL_CTX_add_client_CA(ctx, authority.get()) != 1) {
      return Invalid("certificate authority");
    }
  }
  return absl::OkStatus();
}

template <const auto& kProtocol>
int Select(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* in,
           unsigned in_size, void*) {
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, out_size, kProtocol, sizeof(kProtocol), in, in_size) !=
      OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

std::string Asn1Text(const ASN1_STRING* text) {
  return std::string(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                     static_cast<size_t>(ASN1_STRING_length(text)));
}

std::string IpText(const ASN1_OCTET_STRING* bytes) {
  const int length = ASN1_STRING_length(bytes);
  char buffer[INET6_ADDRSTRLEN] = {};
  if (length != 4 && length != 16) return "";
  const char* text = ::inet_ntop(length == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(bytes),
                                 buffer, sizeof(buffer));
  return text == nullptr ? "" : text;
}

bool IsIpAddress(const std::string& host) {
  unsigned char bytes[16];
  return ::inet_pton(AF_INET, host.c_str(), bytes) == 1 ||
         ::inet_pton(AF_INET6, host.c_str(), bytes) == 1;
}

}  // namespace

std::shared_ptr<const PeerCertificate> ReadPeerCertificate(SSL* ssl) {
  const X509Ptr certificate(SSL_get1_peer_certificate(ssl));
  if (!certificate || SSL_get_verify_result(ssl) != X509_V_OK) return nullptr;
  auto peer = std::make_shared<PeerCertificate>();
  const X509_NAME* subject = X509_get_subject_name(certificate.get());
  // The last CN is the most specific one, and the one that etcd and gRPC look at.
  for (int at = -1; (at = X509_NAME_get_index_by_NID(subject, NID_commonName, at)) >= 0;) {
    peer->common_name = Asn1Text(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
  }
  const std::unique_ptr<GENERAL_NAMES, OpenSslFree<GENERAL_NAMES_free>> names(
      static_cast<GENERAL_NAMES*>(
          X509_get_ext_d2i(certificate.get(), NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type == GEN_DNS) peer->dns_names.push_back(Asn1Text(name->d.dNSName));
    if (name->type == GEN_IPADD) peer->ip_addresses.push_back(IpText(name->d.iPAddress));
    if (name->type == GEN_URI) {
      peer->uris.push_back(Asn1Text(name->d.uniformResourceIdentifier));
    }
  }
  return peer;
}

bool ExpectServerName(SSL* ssl, const std::string& host) {
  X509_VERIFY_PARAM* param = SSL_get0_param(ssl);
  if (IsIpAddress(host)) return X509_VERIFY_PARAM_set1_ip_asc(param, host.c_str()) == 1;
  X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  return X509_VERIFY_PARAM_set1_host(param, host.c_str(), host.size()) == 1 &&
         SSL_set_tlsext_host_name(ssl, host.c_str()) == 1;
}

std::string TakeTlsErrors() {
  std::string text;
  while (const unsigned long error = ERR_get_error()) {
    text.append(text.empty() ? "" : "; ");
    const int reason = ERR_GET_REASON(error);
    // An alert of the other side, in Go's words, which people look for.
    if (ERR_GET_LIB(error) == ERR_LIB_SSL && reason > SSL_AD_REASON_OFFSET &&
        reason < SSL_AD_REASON_OFFSET + 256) {
      text.append("remote error: tls: ");
      text.append(SSL_alert_desc_string_long(reason - SSL_AD_REASON_OFFSET));
      continue;
    }
    char buffer[256];
    ERR_error_string_n(error, buffer, sizeof(buffer));
    text.append(buffer);
  }
  return text;
}

absl::StatusOr<TlsMaterial> LoadTlsMaterial(const TlsFiles& files) {
  if (files.cert_file.empty() != files.key_file.empty()) {
    return absl::InvalidArgumentError(files.cert_file.empty()
                                          ? "key '" + files.key_file + "' without a certificate"
                                          : "certificate '" + files.cert_file + "' without a key");
  }
  if (files.require_client_cert && files.ca_file.empty()) {
    return absl::InvalidArgumentError("client certificates need a file of their authorities");
  }
  TlsMaterial material{.require_client_cert = files.require_client_cert};
  if (!files.cert_file.empty()) {
    KEELSON_ASSIGN_OR_RETURN(material.cert_pem, ReadFile(files.cert_file));
    KEELSON_ASSIGN_OR_RETURN(material.key_pem, ReadFile(files.key_file));
    KEELSON_ASSIGN_OR_RETURN(const ContextPtr scratch, NewContext(TLS_method()));
    KEELSON_RETURN_IF_ERROR(Annotate(UseCertificate(scratch.get(), material),
                                     "'" + files.cert_file + "', '" + files.key_file + "'"));
  }
  if (!files.ca_file.empty()) {
    KEELSON_ASSIGN_OR_RETURN(material.ca_pem, ReadFile(files.ca_file));
    KEELSON_ASSIGN_OR_RETURN(const ContextPtr scratch, NewContext(TLS_method()));
    KEELSON_RETURN_IF_ERROR(Annotate(TrustAuthorities(scratch.get(), material.ca_pem, false),
                                     "'" + files.ca_file + "'"));
  }
  return material;
}

absl::StatusOr<std::shared_ptr<const TlsServerContext>> TlsServerContext::Create(
    const TlsMaterial& material, Protocol protocol) {
  KEELSON_ASSIGN_OR_RETURN(const ContextPtr ctx, NewContext(TLS_server_method()));
  KEELSON_RETURN_IF_ERROR(UseCertificate(ctx.get(), material));
  if (material.require_client_cert && (material.ca_pem.empty() || !material.verify_peer)) {
    return absl::InvalidArgumentError("client certificates need their authorities");
  }
  if (!material.ca_pem.empty() && material.verify_peer) {
    KEELSON_RETURN_IF_ERROR(TrustAuthorities(ctx.get(), material.ca_pem, true));
    const int require = material.require_client_cert ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0;
    SSL_CTX_set_verify(ctx.get(), SSL_VERIFY_PEER | require, nullptr);
  }
  SSL_CTX_set_alpn_select_cb(
      ctx.get(), protocol == Protocol::kHttp2 ? Select<kHttp2> : Select<kHttp11>, nullptr);
  return std::shared_ptr<const TlsServerContext>(new TlsServerContext(ctx));
}

absl::StatusOr<std::shared_ptr<const TlsClientContext>> TlsClientContext::Create(
    const TlsMaterial& material, TlsProtocol protocol) {
  KEELSON_ASSIGN_OR_RETURN(const ContextPtr ctx, NewContext(TLS_client_method()));
  if (!material.cert_pem.empty()) KEELSON_RETURN_IF_ERROR(UseCertificate(ctx.get(), material));
  if (material.verify_peer) {
    if (!material.ca_pem.empty()) {
      KEELSON_RETURN_IF_ERROR(TrustAuthorities(ctx.get(), material.ca_pem, false));
    } else if (SSL_CTX_set_default_verify_paths(ctx.get()) != 1) {
      return Invalid("the system's certificate authorities");
    }
  }
  SSL_CTX_set_verify(ctx.get(), material.verify_peer ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
  // OpenSSL's only call here that returns 0 for success.
  const int failed = protocol == TlsProtocol::kHttp2
                         ? SSL_CTX_set_alpn_protos(ctx.get(), kHttp2, sizeof(kHttp2))
                         : SSL_CTX_set_alpn_protos(ctx.get(), kHttp11, sizeof(kHttp11));
  if (failed != 0) return Invalid("ALPN");
  return std::shared_ptr<const TlsClientContext>(new TlsClientContext(ctx, material.verify_peer));
}

}  // namespace keelson
