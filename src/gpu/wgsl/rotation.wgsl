//! Rotary position embedding (Su et al. 2021), where the heads stand: number `i` of a head is turned together with number
//! `i + head_dim / 2`, in float32. A workgroup has a token.

struct Constants {
    // Of the cosines and sines of each token, `head_dim / 2` of either.
    at: u32,
    stride: u32,
    heads: u32,
    // Half of a head.
    pairs: u32,
}
var<immediate> constants: Constants;

@group(0) @binding(0) var<storage, read> uploads: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<Num>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let pairs = constants.pairs;
    let angles = constants.at + group.x * 2u * pairs;
    for (var i = lane; i < constants.heads * pairs; i += 64u) {
        let pair = i % pairs;
        let at = group.x * constants.stride + (i / pairs) * 2u * pairs + pair;
        let cosine = uploads[angles + pair];
        let sine = uploads[angles + pairs + pair];
        let x = f32(out[at]);
        let y = f32(out[at + pairs]);
        out[at] = Num(fma(x, cosine, -y * sine));
        out[at + pairs] = Num(fma(y, cosine, x * sine));
    }
}
