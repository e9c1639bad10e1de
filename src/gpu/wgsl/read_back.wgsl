//! The numbers of a pass that are read back: rows as float32, one right behind the other.

struct Constants { rows: u32, width: u32, stride: u32 }
var<immediate> constants: Constants;

@group(0) @binding(0) var<storage, read> x: array<Num>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    for (var column = lane; column < constants.width; column += 64u) {
        out[group.x * constants.width + column] = f32(x[group.x * constants.stride + column]);
    }
}
