//! What follows the encoder: pooling, dense, layer norm, truncate, normalize, output quantization.
