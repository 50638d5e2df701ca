#include "common/hash.h"

#include <bit>
#include <cstring>

namespace pagoda {
namespace {

static_assert(std::endian::native == std::endian::little, "lanes are read as little-endian");

constexpr uint64_t kPrime1 = 0x9E3779B185EBCA87;
constexpr uint64_t kPrime2 = 0xC2B2AE3D27D4EB4F;
constexpr uint64_t kPrime3 = 0x165667B19E3779F9;
constexpr uint64_t kPrime4 = 0x85EBCA77C2B2AE63;
constexpr uint64_t kPrime5 = 0x27D4EB2F165667C5;

template <class T>
T Read(const char* p) {
  T value;
  std::memcpy(&value, p, sizeof(T));
  return value;
}

uint64_t Round(uint64_t accumulator, uint64_t lane) {
  return std::rotl(accumulator + lane * kPrime2, 31) * kPrime1;
}

uint64_t Merge(uint64_t hash, uint64_t accumulator) {
  return (hash ^ Round(0, accumulator)) * kPrime1 + kPrime4;
}

// Consumes the 32-byte stripes; `*p` is left at the first byte of the tail.
uint64_t HashStripes(const char** p, const char* end, uint64_t seed) {
  uint64_t acc[4] = {seed + kPrime1 + kPrime2, seed + kPrime2, seed, seed - kPrime1};
  for (; end - *p >= 32; *p += 32) {
    for (size_t i = 0; i < 4; ++i) acc[i] = Round(acc[i], Read<uint64_t>(*p + 8 * i));
  }
  uint64_t hash =
      std::rotl(acc[0], 1) + std::rotl(acc[1], 7) + std::rotl(acc[2], 12) + std::rotl(acc[3], 18);
  for (uint64_t a : acc) hash = Merge(hash, a);
  return hash;
}

uint64_t Avalanche(uint64_t hash) {
  hash = (hash ^ (hash >> 33)) * kPrime2;
  hash = (hash ^ (hash >> 29)) * kPrime3;
  return hash ^ (hash >> 32);
}

}  // namespace

uint64_t Hash64(absl::string_view bytes, uint64_t seed) {
  const char* p = bytes.data();
  const char* const end = p + bytes.size();
  uint64_t hash = bytes.size() >= 32 ? HashStripes(&p, end, seed) : seed + kPrime5;
  hash += bytes.size();
  for (; end - p >= 8; p += 8) {
    hash = std::rotl(hash ^ Round(0, Read<uint64_t>(p)), 27) * kPrime1 + kPrime4;
  }
  if (end - p >= 4) {
    hash = std::rotl(hash ^ (Read<uint32_t>(p) * kPrime1), 23) * kPrime2 + kPrime3;
    p += 4;
  }
  for (; p != end; ++p) {
    hash = std::rotl(hash ^ (static_cast<unsigned char>(*p) * kPrime5), 11) * kPrime1;
  }
  return Avalanche(hash);
}

}  // namespace pagoda
