//! The mean of each text's rows, zeros for a text without rows, in float32 whatever the states are. An invocation adds up
//! a column of a text from its first row to its last.

struct Constants { at: u32, width: u32, stride: u32 }
var<immediate> constants: Constants;

@group(0) @binding(0) var<storage, read> uploads: array<u32>;
@group(0) @binding(1) var<storage, read> x: array<Num>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let column = group.y * 64u + lane;
    if (column >= constants.stride) {
        return;
    }
    let first = uploads[constants.at + group.x];
    let end = uploads[constants.at + group.x + 1u];
    var sum = 0.0;
    for (var row = first; row < end; row += 1u) {
        sum += f32(x[row * constants.stride + column]);
    }
    out[group.x * constants.stride + column] = sum / f32(max(end - first, 1u));
}
