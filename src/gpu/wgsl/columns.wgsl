//! Some columns of rows, to a place in other rows; zeros from there to an end.

struct Constants {
    stride: u32,
    out_stride: u32,
    first: u32,
    count: u32,
    to: u32,
    // Where the zeros end.
    end: u32,
}
var<immediate> constants: Constants;

@group(0) @binding(0) var<storage, read> x: array<Num>;
@group(0) @binding(1) var<storage, read_write> out: array<Num>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    for (var i = lane; constants.to + i < constants.end; i += 64u) {
        var value = Num(0.0);
        if (i < constants.count) {
            value = x[group.x * constants.stride + constants.first + i];
        }
        out[group.x * constants.out_stride + constants.to + i] = value;
    }
}
