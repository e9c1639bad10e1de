//! Rows, each times a factor, added to some rows of others. No two go to the same row.

struct Constants { targets: u32, factors: u32, stride: u32 }
var<immediate> constants: Constants;

@group(0) @binding(0) var<storage, read> uploads: array<u32>;
@group(0) @binding(1) var<storage, read> x: array<Num>;
@group(0) @binding(2) var<storage, read_write> out: array<Num>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let target_row = uploads[constants.targets + group.x] * constants.stride;
    let factor = bitcast<f32>(uploads[constants.factors + group.x]);
    for (var column = lane; column < constants.stride; column += 64u) {
        let at = target_row + column;
        out[at] = Num(fma(factor, f32(x[group.x * constants.stride + column]), f32(out[at])));
    }
}
