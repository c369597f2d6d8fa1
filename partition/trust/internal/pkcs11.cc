// Debian 12 has an engine for PKCS#11 and no provider, and OpenSSL 3.0 calls engines deprecated.
#define OPENSSL_SUPPRESS_DEPRECATED

#include "partition/trust/internal/pkcs11.h"

#include <openssl/engine.h>
#include <openssl/err.h>
#include <openssl/store.h>

#include <memory>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace keelson::partition {
namespace {

using EnginePtr = std::unique_ptr<ENGINE, OpenSslFree<ENGINE_free>>;
using StoreContextPtr = std::unique_ptr<OSSL_STORE_CTX, OpenSslFree<OSSL_STORE_close>>;
using StoreInfoPtr = std::unique_ptr<OSSL_STORE_INFO, OpenSslFree<OSSL_STORE_INFO_free>>;

// The URI without its query, which may hold the PIN.
std::string WithoutSecrets(const std::string& uri) { return uri.substr(0, uri.find('?')); }

// Initialised: holds a functional reference that ends with the process, since keys need it.
absl::StatusOr<EnginePtr> OpenEngine(const std::string& module) {
  ENGINE_load_dynamic();
  EnginePtr engine(ENGINE_by_id("pkcs11"));
  if (engine == nullptr) return OpenSslError(absl::StatusCode::kUnavailable, "PKCS#11 engine");
  // Otherwise it prints URIs that it does not find, with the PIN. One without the command has none.
  (void)ENGINE_ctrl_cmd_string(engine.get(), "QUIET", nullptr, /*cmd_optional=*/1);
  if (!module.empty() &&
      ENGINE_ctrl_cmd_string(engine.get(), "MODULE_PATH", module.c_str(), 0) != 1) {
    return OpenSslError(absl::StatusCode::kInvalidArgument,
                        absl::StrCat("PKCS#11 module '", module, "'"));
  }
  if (ENGINE_init(engine.get()) != 1) {
    return OpenSslError(absl::StatusCode::kUnavailable, "initialise the PKCS#11 engine");
  }
  return engine;
}

// By a provider that openssl.cnf activates.
KeyPtr OpenByProvider(const std::string& uri) {
  const StoreContextPtr store(OSSL_STORE_open(uri.c_str(), nullptr, nullptr, nullptr, nullptr));
  if (store == nullptr) return nullptr;
  while (OSSL_STORE_eof(store.get()) == 0) {
    const StoreInfoPtr info(OSSL_STORE_load(store.get()));
    if (info == nullptr) break;
    if (OSSL_STORE_INFO_get_type(info.get()) == OSSL_STORE_INFO_PKEY) {
      return KeyPtr(OSSL_STORE_INFO_get1_PKEY(info.get()));
    }
  }
  return nullptr;
}

}  // namespace

absl::StatusOr<KeyPtr> OpenPkcs11Key(const std::string& uri, const std::string& module) {
  ERR_clear_error();
  const absl::StatusOr<EnginePtr> engine = OpenEngine(module);
  if (!engine.ok()) {
    if (KeyPtr key = OpenByProvider(uri)) return key;
    ERR_clear_error();
    return Annotate(engine.status(),
                    absl::StrCat("'", WithoutSecrets(uri),
                                 "': OpenSSL has no PKCS#11 provider and no engine (Debian package "
                                 "libengine-pkcs11-openssl)"));
  }
  KeyPtr key(ENGINE_load_private_key(engine->get(), uri.c_str(), nullptr, nullptr));
  if (key == nullptr) {
    return OpenSslError(absl::StatusCode::kNotFound,
                        absl::StrCat("no private key '", WithoutSecrets(uri), "'"));
  }
  return key;
}

}  // namespace keelson::partition
