#include "coordinator/transport/group_model.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/hash.h"
#include "common/status.h"

namespace pagoda {
namespace {

absl::Status CheckAlike(const std::vector<v1::ModelInfo>& models) {
  for (size_t rank = 1; rank < models.size(); ++rank) {
    if (models[rank].identity() == models[0].identity()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("rank ",
                     rank,
                     " has loaded another model, dtype or version than rank 0: ",
                     models[rank].architecture(),
                     " in ",
                     models[rank].dtype(),
                     ", ",
                     models[0].architecture(),
                     " in ",
                     models[0].dtype()));
  }
  return absl::OkStatus();
}

std::string Fingerprint(const std::vector<v1::ModelInfo>& models) {
  uint64_t divided = 0;
  for (const v1::ModelInfo& model : models) divided ^= model.divided_hash();
  return absl::StrFormat("%016x", Hash64(absl::StrCat(models[0].identity()), divided));
}

}  // namespace

absl::StatusOr<GroupModel> PutTogether(const std::vector<v1::ModelInfo>& models,
                                       const std::vector<v1::ProfileResponse>& profiles,
                                       const PoolFlags& flags) {
  RETURN_IF_ERROR(CheckAlike(models));
  std::map<std::string, uint64_t> ranks_of_host;
  for (const v1::ProfileResponse& profile : profiles) ++ranks_of_host[profile.host()];
  GroupModel model{.info = models[0], .fingerprint = Fingerprint(models)};
  for (size_t rank = 0; rank < models.size(); ++rank) {
    const PoolLimits limits = {.max_position_embeddings = models[rank].max_position_embeddings(),
                               .kv_bytes_per_token = models[rank].kv_bytes_per_token(),
                               .pool_memory_bytes = profiles[rank].pool_memory_bytes() /
                                                    ranks_of_host[profiles[rank].host()]};
    ASSIGN_OR_RETURN(const core::GroupCapacity capacity, SizePool(flags, limits));
    if (rank == 0 || capacity.num_blocks < model.capacity.num_blocks) model.capacity = capacity;
  }
  return model;
}

}  // namespace pagoda
