//! Rows that the processor sends, float32 one right behind the other, as states.

struct Constants { at: u32, width: u32, stride: u32 }
var<immediate> constants: Constants;

@group(0) @binding(0) var<storage, read> uploads: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<Num>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    for (var column = lane; column < constants.stride; column += 64u) {
        var value = 0.0;
        if (column < constants.width) {
            value = uploads[constants.at + group.x * constants.width + column];
        }
        out[group.x * constants.stride + column] = Num(value);
    }
}
