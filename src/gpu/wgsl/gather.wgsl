//! Some rows, in the order of their numbers; zeros where the number is that of none.

struct Constants { at: u32, stride: u32 }
var<immediate> constants: Constants;

@group(0) @binding(0) var<storage, read> uploads: array<u32>;
@group(0) @binding(1) var<storage, read> x: array<Num>;
@group(0) @binding(2) var<storage, read_write> out: array<Num>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = uploads[constants.at + group.x];
    for (var column = lane; column < constants.stride; column += 64u) {
        var value = Num(0.0);
        if (row != 0xffffffffu) {
            value = x[row * constants.stride + column];
        }
        out[group.x * constants.stride + column] = value;
    }
}
