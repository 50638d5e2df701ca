#include "worker/model/rope.h"

#include <cmath>
#include <numbers>

namespace pagoda {
namespace {

double ScaleLlama3(const RopeConfig& rope, double frequency) {
  const double context = static_cast<double>(rope.original_max_position_embeddings);
  const double wavelength = 2 * std::numbers::pi / frequency;
  if (wavelength < context / rope.high_freq_factor) return frequency;
  if (wavelength > context / rope.low_freq_factor) return frequency / rope.factor;
  const double smooth = (context / wavelength - rope.low_freq_factor) /
                        (rope.high_freq_factor - rope.low_freq_factor);
  return (1 - smooth) * frequency / rope.factor + smooth * frequency;
}

}  // namespace

std::vector<double> InverseFrequencies(const RopeConfig& rope, int64_t head_dim) {
  std::vector<double> result;
  for (int64_t i = 0; i < head_dim / 2; ++i) {
    const double exponent = static_cast<double>(2 * i) / static_cast<double>(head_dim);
    double frequency = std::pow(rope.theta, -exponent);
    if (rope.kind == RopeConfig::Kind::kLinear) frequency /= rope.factor;
    if (rope.kind == RopeConfig::Kind::kLlama3) frequency = ScaleLlama3(rope, frequency);
    result.push_back(frequency);
  }
  return result;
}

}  // namespace pagoda
