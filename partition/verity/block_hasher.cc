#include "partition/verity/block_hasher.h"

#include <openssl/evp.h>

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/openssl_free.h"
#include "base/status.h"
#include "partition/verity/internal/sha256_pair.h"

namespace keelson::partition {
namespace {

using ContextPtr = std::unique_ptr<EVP_MD_CTX, OpenSslFree<EVP_MD_CTX_free>>;

}  // namespace

struct BlockHasher::State {
  std::unique_ptr<EVP_MD, OpenSslFree<EVP_MD_free>> md;
  // With the salt in it where that comes first: copying it is cheaper than to set up a context.
  ContextPtr start;
  ContextPtr work;
  std::string salt_behind;
  uint32_t digest_bytes = 0;
  uint32_t data_block_bytes = 0;
  std::optional<Sha256Pair> pair;  // of data blocks
};

BlockHasher::BlockHasher(std::unique_ptr<State> state) : state_(std::move(state)) {}
BlockHasher::BlockHasher(BlockHasher&&) noexcept = default;
BlockHasher& BlockHasher::operator=(BlockHasher&&) noexcept = default;
BlockHasher::~BlockHasher() = default;

absl::StatusOr<BlockHasher> BlockHasher::Create(const VerityParams& params) {
  KEELSON_RETURN_IF_ERROR(ShapeOf(params).status());
  auto state = std::make_unique<State>();
  state->digest_bytes = DigestBytes(params.algorithm);
  state->data_block_bytes = params.data_block_bytes;
  state->md.reset(EVP_MD_fetch(nullptr, params.algorithm.c_str(), nullptr));
  state->start.reset(EVP_MD_CTX_new());
  state->work.reset(EVP_MD_CTX_new());
  if (state->md == nullptr ||
      EVP_DigestInit_ex2(state->start.get(), state->md.get(), nullptr) != 1) {
    return absl::UnavailableError(
        absl::StrCat("hash algorithm '", params.algorithm, "' is not offered by OpenSSL here"));
  }
  if (params.hash_type == 1) {
    KEELSON_CHECK(EVP_DigestUpdate(state->start.get(), params.salt.data(), params.salt.size()) ==
                  1);
  } else {
    state->salt_behind = params.salt;
  }
  if (params.algorithm == "sha256" && HasSha256Pair()) {
    state->pair.emplace(params.hash_type == 1 ? params.salt : "", params.data_block_bytes,
                        state->salt_behind);
  }
  return BlockHasher(std::move(state));
}

void BlockHasher::Hash(std::string_view block, char* digest) {
  EVP_MD_CTX* work = state_->work.get();
  unsigned int size = 0;
  // Can only fail for want of memory.
  const bool ok =
      EVP_MD_CTX_copy_ex(work, state_->start.get()) == 1 &&
      EVP_DigestUpdate(work, block.data(), block.size()) == 1 &&
      EVP_DigestUpdate(work, state_->salt_behind.data(), state_->salt_behind.size()) == 1 &&
      EVP_DigestFinal_ex(work, reinterpret_cast<unsigned char*>(digest), &size) == 1;
  KEELSON_CHECK(ok && size == state_->digest_bytes) << size;
}

void BlockHasher::HashDataBlocks(std::string_view blocks, char* digests) {
  const size_t block_bytes = state_->data_block_bytes;
  const size_t digest_bytes = state_->digest_bytes;
  KEELSON_CHECK(blocks.size() % block_bytes == 0) << blocks.size();
  if (state_->pair.has_value()) {
    for (; blocks.size() >= 2 * block_bytes; blocks.remove_prefix(2 * block_bytes)) {
      state_->pair->Hash(blocks.data(), blocks.data() + block_bytes, digests,
                         digests + digest_bytes);
      digests += 2 * digest_bytes;
    }
  }
  for (; !blocks.empty(); blocks.remove_prefix(block_bytes), digests += digest_bytes) {
    Hash(blocks.substr(0, block_bytes), digests);
  }
}

std::string BlockHasher::Hash(std::string_view block) {
  std::string digest(state_->digest_bytes, '\0');
  Hash(block, digest.data());
  return digest;
}

}  // namespace keelson::partition
