// Which tokens top-k and top-p keep, by radix selection over the bits of the scores: no sort, and
// no floating-point sum. Candidates are the entries x[i] > -infinity, all <= 0, in the order (x
// falling, i rising); a filter keeps the shortest prefix that is large enough and sets the rest to
// -infinity. Plain integer code, the same on every machine.
#pragma once

#include <vector>

namespace pagoda::cpu {

// Keeps the first k. REQUIRES: k >= 1.
void KeepTopK(float* x, int n, int k, std::vector<int>* scratch);

// Keeps the shortest prefix with at least top_p (in units of 2^-32, rounded down) of the
// candidates' weight. w[i] = exp(x[i]) in [0, 1], in units of 2^-40, rounded down. REQUIRES: 0 <
// top_p < 1; a candidate of x == 0.
void KeepTopP(float* x, const float* w, int n, float top_p, std::vector<int>* scratch);

}  // namespace pagoda::cpu
