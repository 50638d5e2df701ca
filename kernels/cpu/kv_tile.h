// Where an element of K or V lies inside a tile (block_size tokens of one KV head, head_dim
// elements each). Private to the CPU backend: outside, a block is only copied whole.
//
// Both tiles are rows of *cells*: 16 lanes × 2. In a K cell a lane is a token and the pair is two
// neighbouring dimensions; in a V cell a lane is a dimension and the pair is two neighbouring
// tokens. A bf16 cell interleaves the pair, [lane][2], which is one row of an AMX B tile; an f32
// cell is [2][lane]. Hence
//   K, bf16: [block_size / T][head_dim / 2][T][2]      T = min(16, block_size)
//   K, f32:  [block_size / T][head_dim / 2][2][T]
//   V, bf16: [block_size / 2][head_dim][2]
//   V, f32:  [block_size / 2][head_dim / 16][2][16]
// block_size is 8 or a multiple of 16, head_dim a multiple of 16. bf16 is stored as its bits.
// Always inlined: files of different instruction sets include this (kernels/dtype.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace pagoda::cpu {

inline constexpr int kTileLanes = 16;

// Tokens per group of K cells.
[[gnu::always_inline]] constexpr int KGroupTokens(int block_size) {
  return block_size < kTileLanes ? block_size : kTileLanes;
}

template <class T>
[[gnu::always_inline]] constexpr size_t CellIndex(size_t lane, size_t parity, size_t lanes) {
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, uint16_t>);
  return std::is_same_v<T, float> ? parity * lanes + lane : lane * 2 + parity;
}

// The element of K at (`slot` of the tile, dimension `d`).
template <class T>
[[gnu::always_inline]] constexpr size_t KTileIndex(int slot, int d, int head_dim, int block_size) {
  const int lanes = KGroupTokens(block_size);
  const size_t group = size_t{2} * lanes * (head_dim / 2);
  return slot / lanes * group + size_t{2} * lanes * (d / 2) +
         CellIndex<T>(slot % lanes, d % 2, lanes);
}

// The element of V at (`slot` of the tile, dimension `d`).
template <class T>
[[gnu::always_inline]] constexpr size_t VTileIndex(int slot, int d, int head_dim) {
  return size_t{2} * head_dim * (slot / 2) + size_t{2} * kTileLanes * (d / kTileLanes) +
         CellIndex<T>(d % kTileLanes, slot % 2, kTileLanes);
}

// Writes one token's K (head_dim elements) into a tile. Touches no other slot, not even to write it
// back, so threads may store different slots of one tile at the same time.
template <class T>
[[gnu::always_inline]] inline void StoreKToken(T* tile,
                                               int slot,
                                               const T* k,
                                               int head_dim,
                                               int block_size) {
  const int lanes = KGroupTokens(block_size);
  T* cell = tile + KTileIndex<T>(slot, 0, head_dim, block_size);
  const size_t odd = CellIndex<T>(0, 1, lanes);
  for (int d = 0; d < head_dim; d += 2, cell += size_t{2} * lanes) {
    cell[0] = k[d];
    cell[odd] = k[d + 1];
  }
}

// Writes one token's V (head_dim elements) into a tile; as StoreKToken.
template <class T>
[[gnu::always_inline]] inline void StoreVToken(T* tile, int slot, const T* v, int head_dim) {
  T* cell = tile + VTileIndex<T>(slot, 0, head_dim);
  const size_t step = CellIndex<T>(1, 0, kTileLanes);
  for (int d = 0; d < head_dim; d += kTileLanes, cell += size_t{2} * kTileLanes) {
    for (int lane = 0; lane < kTileLanes; ++lane) cell[lane * step] = v[d + lane];
  }
}

}  // namespace pagoda::cpu
